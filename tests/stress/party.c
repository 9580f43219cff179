/* SPDX-License-Identifier: ISC */
/* The checker: party.h says what it checks. */
#include "party.h"
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct cdt_party cdt_parties[CDT_MOST_PARTIES];
unsigned cdt_n_parties;
int cdt_calling;
bool cdt_all_end, cdt_scarce, cdt_tell;

/* ---- saying so ---- */

void cdt_say(const char *format, ...)
{
    if (!cdt_tell)
        return;
    va_list args;
    va_start(args, format);
    vfprintf(stderr, format, args);
    va_end(args);
    fputc('\n', stderr);
}

static void describe(const struct cdt_party *p)
{
    const struct cdt_party *peer = cdt_party_peer(p);
    fprintf(stderr, "  %u%s road %u peer %d:%s%s%s%s%s%s%s%s%s%s%s sent %zu got %zu queued %zu\n",
            p->id, p->robot ? " robot" : "", p->road, peer != NULL ? (int)peer->id : -1,
            p->accepted ? " accepted" : "", p->opened ? " open" : "", p->ended ? " ended" : "",
            p->closed ? " closed" : "", p->end_called ? " end()" : "",
            p->close_called ? " close()" : "", p->aborted ? " abort()" : "",
            p->freed ? " free()" : "", p->paused ? " paused" : "", p->deaf ? " deaf" : "",
            p->owed_drain ? " full" : "", p->sent, p->got,
            cdt_party_live(p) ? conduit_queued(p->conn) : 0);
}

void cdt_broken(const char *format, ...)
{
    va_list args;
    fprintf(stderr, "broken: ");
    va_start(args, format);
    vfprintf(stderr, format, args);
    va_end(args);
    fprintf(stderr, "\n");
    for (unsigned i = 0; i < cdt_n_parties; i++)
        describe(&cdt_parties[i]);
    abort();
}

/* ---- parties ---- */

void cdt_parties_clear(void)
{
    memset(cdt_parties, 0, sizeof(cdt_parties));
    cdt_n_parties = 0;
}

struct cdt_party *cdt_party_new(unsigned road)
{
    if (cdt_n_parties == CDT_MOST_PARTIES)
        return NULL;
    struct cdt_party *party = &cdt_parties[cdt_n_parties];
    party->id = cdt_n_parties++;
    party->road = road;
    return party;
}

void *cdt_party_user(struct cdt_party *party)
{
    return &party->tags[party->tag];
}

static struct cdt_party *of(void *user)
{
    char *at = user, *first = (char *)cdt_parties;
    if (at < first || at >= first + sizeof(cdt_parties))
        return NULL;
    return &cdt_parties[(size_t)(at - first) / sizeof(*cdt_parties)];
}

bool cdt_party_live(const struct cdt_party *party)
{
    return party->conn != NULL && !party->closed && !party->freed;
}

struct cdt_party *cdt_party_peer(const struct cdt_party *party)
{
    unsigned id = party->head[0] + 256U * party->head[1];
    bool heard = party->got >= sizeof(party->head) && !cdt_walk_leads_astray(party->road);
    return heard && id < cdt_n_parties ? &cdt_parties[id] : NULL;
}

/* ---- the bytes ---- */

static unsigned char byte_of(unsigned id, size_t i)
{
    if (i < 4)
        return (unsigned char)(i < 2 ? id >> (8 * i) : 0x55);
    return (unsigned char)(id * 31 + i * 7 + (i >> 8));
}

void cdt_party_speak(const struct cdt_party *party, unsigned char *bytes, size_t n)
{
    for (size_t i = 0; i < n; i++)
        bytes[i] = byte_of(party->id, party->sent + i);
}

void cdt_party_hear(struct cdt_party *party, const unsigned char *bytes, size_t n)
{
    if (cdt_walk_leads_astray(party->road)) {
        party->got += n;
        return;
    }
    for (size_t i = 0; i < n; i++, party->got++) {
        if (party->got < sizeof(party->head)) {
            party->head[party->got] = bytes[i];
            continue;
        }
        const struct cdt_party *peer = cdt_party_peer(party);
        CDT_RULE(peer != NULL, "%u was sent bytes by nobody (%u)", party->id,
                 party->head[0] + 256U * party->head[1]);
        CDT_RULE(bytes[i] == byte_of(peer->id, party->got), "%u: byte %zu is not what %u sent",
                 party->id, party->got, peer->id);
    }
    const struct cdt_party *peer = cdt_party_peer(party);
    CDT_RULE(peer == NULL || party->got <= peer->sent, "%u got %zu bytes of %zu that %u sent",
             party->id, party->got, peer->sent, peer->id);
}

void cdt_party_hear_end(struct cdt_party *party)
{
    const struct cdt_party *peer = cdt_party_peer(party);
    if (peer == NULL || !cdt_walk_breaks_show(party->road))
        return;
    CDT_RULE(party->got == peer->sent, "%u saw an end after %zu of the %zu bytes that %u sent",
             party->id, party->got, peer->sent, peer->id);
    bool meant = peer->end_called || peer->close_called || peer->deaf || cdt_all_end ||
                 peer->why == CONDUIT_ETIMEDOUT || (cdt_scarce && peer->why == CONDUIT_ENOMEM);
    CDT_RULE(meant, "%u saw an end that %u never made", party->id, peer->id);
}

/* ---- the events ---- */

static void note(struct cdt_party *party, conduit_conn *conn, void *user, const char *event)
{
    cdt_say("  [%u] %s", party->id, event);
    CDT_RULE(cdt_calling == 0, "%s of %u came inside a call", event, party->id);
    CDT_RULE(!party->freed, "%s of %u came after conduit_conn_free()", event, party->id);
    CDT_RULE(!party->closed, "%s of %u came after on_close", event, party->id);
    CDT_RULE(party->conn == NULL || party->conn == conn, "%s of %u: another connection", event,
             party->id);
    CDT_RULE(user == cdt_party_user(party), "%s of %u: another user", event, party->id);
}

/* Of all but on_close. */
static void note_open(struct cdt_party *party, const char *event)
{
    CDT_RULE(party->opened, "%s of %u came before on_open", event, party->id);
    CDT_RULE(!party->aborted, "%s of %u came after conduit_abort()", event, party->id);
    CDT_RULE(!party->close_called, "%s of %u came after conduit_close()", event, party->id);
}

static struct cdt_party *accept_party(conduit_conn *conn, const struct cdt_place *place)
{
    struct cdt_party *party = cdt_party_new(place->road);
    if (party == NULL)
        return NULL;
    party->accepted = true;
    party->deaf = place->deaf;
    party->options = place->options;
    party->conn = conn;
    conduit_conn_set_user(conn, cdt_party_user(party));
    return party;
}

static void on_open(conduit_conn *conn, void *user)
{
    struct cdt_party *party = of(user);
    if (party == NULL) {
        party = accept_party(conn, user);
        user = party != NULL ? cdt_party_user(party) : NULL;
    }
    if (party == NULL) {
        conduit_conn_free(conn);
        return;
    }
    note(party, conn, user, "on_open");
    CDT_RULE(!party->opened, "on_open of %u came twice", party->id);
    party->opened = true;
    party->open_by_ms = 0;
    note_open(party, "on_open");
    CDT_RULE(cdt_scarce || conduit_conn_info(conn) != NULL, "%u is open and has no info",
             party->id);
    cdt_walk_react(party);
}

static void on_data(conduit_conn *conn, const void *data, size_t n, void *user)
{
    struct cdt_party *party = of(user);
    note(party, conn, user, "on_data");
    note_open(party, "on_data");
    CDT_RULE(n > 0, "on_data of %u: nothing", party->id);
    CDT_RULE(!party->paused, "on_data of %u came while it was paused", party->id);
    CDT_RULE(!party->ended, "on_data of %u came after on_end", party->id);
    cdt_party_hear(party, data, n);
    cdt_walk_react(party);
}

static void on_drain(conduit_conn *conn, void *user)
{
    struct cdt_party *party = of(user);
    note(party, conn, user, "on_drain");
    note_open(party, "on_drain");
    CDT_RULE(party->owed_drain, "on_drain of %u: it had not been full", party->id);
    CDT_RULE(conduit_queued(conn) <= party->options.high_water / 2,
             "on_drain of %u: %zu bytes are queued", party->id, conduit_queued(conn));
    party->owed_drain = false;
    cdt_walk_react(party);
}

static void on_end(conduit_conn *conn, void *user)
{
    struct cdt_party *party = of(user);
    note(party, conn, user, "on_end");
    note_open(party, "on_end");
    CDT_RULE(!party->ended, "on_end of %u came twice", party->id);
    CDT_RULE(!party->paused, "on_end of %u came while it was paused", party->id);
    party->ended = true;
    cdt_party_hear_end(party);
    cdt_walk_react(party);
}

static void check_why(const struct cdt_party *party, const conduit_error *why)
{
    bool both = party->ended && party->end_called;
    CDT_RULE(why != NULL || party->close_called || both || party->deaf || cdt_all_end,
             "%u closed without a reason", party->id);
    CDT_RULE(why == NULL || *conduit_error_text(why) != '\0', "%u: a reason without words",
             party->id);
    CDT_RULE(why != NULL || party->opened, "%u closed before it opened, and nobody says why",
             party->id);
    if (party->canceled)
        CDT_RULE(party->why == CONDUIT_ECANCELED || (cdt_scarce && party->why == CONDUIT_ENOMEM),
                 "%u: a cancel is told as %s", party->id, conduit_code_name(party->why));
}

static void on_close(conduit_conn *conn, const conduit_error *why, void *user)
{
    struct cdt_party *party = of(user);
    CDT_RULE(party != NULL, "on_close of what was never open");
    note(party, conn, user, "on_close");
    cdt_say("      %s", why != NULL ? conduit_error_text(why) : "clean");
    party->why = conduit_error_code(why);
    check_why(party, why);
    CDT_RULE(cdt_scarce || party->opened == (conduit_conn_info(conn) != NULL),
             "%u: info and open differ", party->id);
    cdt_walk_react(party);
    party->closed = true;
}

const conduit_handler cdt_party_handler = {
    .on_open = on_open,
    .on_data = on_data,
    .on_drain = on_drain,
    .on_end = on_end,
    .on_close = on_close,
};

/* ---- later ---- */

void cdt_parties_check_time(void)
{
    uint64_t now_ms = cdt_walk_now_ms();
    for (unsigned i = 0; i < cdt_n_parties; i++) {
        const struct cdt_party *party = &cdt_parties[i];
        if (!cdt_party_live(party))
            continue;
        CDT_RULE(party->open_by_ms == 0 || now_ms <= party->open_by_ms,
                 "%u is past its deadline to open", party->id);
        CDT_RULE(party->close_by_ms == 0 || now_ms <= party->close_by_ms,
                 "%u is past its deadline to close", party->id);
    }
}

void cdt_parties_check_over(void)
{
    for (unsigned i = 0; i < cdt_n_parties; i++) {
        const struct cdt_party *party = &cdt_parties[i];
        CDT_RULE(!cdt_party_live(party), "%u never had its end", party->id);
    }
}
