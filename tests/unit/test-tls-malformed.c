/* SPDX-License-Identifier: ISC */
/*
 * Handshakes that are damaged on the way, thousands of them: bytes flipped, cut out, put in, said
 * twice, lengths that lie, in every flight of either end, full and resumed, with client
 * certificates and without. Each has to come to a verdict when no more comes; who finds fault has
 * to say so; and if both ends open all the same, they have to agree.
 *
 * CONDUIT_MALFORMED is their number, 2,000 unless it says otherwise; each is the same every time.
 */
#include "meeting.h"
#include <stdlib.h>
#include <string.h>

enum { USUAL = 2000, BATCH = 500 };

/* ---- damage ---- */

static size_t pick(unsigned *seed, size_t n)
{
    return n > 0 ? (size_t)rand_r(seed) % n : 0;
}

static void cut_out(struct pipe *pipe, size_t at, size_t n)
{
    n = n < pipe->n - at ? n : pipe->n - at;
    memmove(pipe->bytes + at, pipe->bytes + at + n, pipe->n - at - n);
    pipe->n -= n;
}

/* A copy of what stands there, or noise. */
static void put_in(struct pipe *pipe, size_t at, size_t n, bool copy, unsigned *seed)
{
    if (pipe->n + n > PIPE_SIZE || at + n > pipe->n)
        return;
    memmove(pipe->bytes + at + n, pipe->bytes + at, pipe->n - at);
    pipe->n += n;
    for (size_t i = 0; !copy && i < n; i++)
        pipe->bytes[at + i] = (unsigned char)pick(seed, 256);
}

static void damage(struct pipe *pipe, unsigned *seed)
{
    static const unsigned char telling[] = {0, 1, 0x7f, 0x80, 0xff};
    if (pipe->n == 0)
        return;
    size_t at = pick(seed, pick(seed, 2) == 0 ? pipe->n : pipe->n < 64 ? pipe->n : 64);
    size_t n = 1 + pick(seed, 40);
    switch (pick(seed, 7)) {
    case 0:
        pipe->bytes[at] ^= (unsigned char)(1 << pick(seed, 8));
        return;
    case 1:
        pipe->bytes[at] = telling[pick(seed, sizeof(telling))];
        return;
    case 2:
        cut_out(pipe, at, n);
        return;
    case 3:
        put_in(pipe, at, n, true, seed);
        return;
    case 4:
        put_in(pipe, at, n, false, seed);
        return;
    case 5:
        pipe->n = at; /* the rest never comes */
        return;
    default:
        for (size_t i = 0; i < n; i++)
            pipe->bytes[(at + i) % pipe->n] = (unsigned char)pick(seed, 256);
    }
}

/* ---- one handshake ---- */

static conduit_tls *client_tls, *server_tls;
static struct meeting *first;
static int n_open, n_refused;

/* What was wrong is told (an alert is on its way), unless it was the other who said so or left, or
 * who would not understand. */
static void expect_told(const struct end *end, size_t said_before, unsigned number)
{
    int why_not = reason(end);
    if (why_not == CONDUIT_TLS_CLOSED || why_not == CONDUIT_TLS_ALERT ||
        why_not == CONDUIT_TLS_TRUNCATED || why_not == CONDUIT_TLS_NOT_TLS)
        return;
    cr_expect(end->fake.out->total > said_before, "%u: %s, and no alert", number, why(end));
}

static void step(struct end *end, unsigned number)
{
    bool was_waiting = end->code == CONDUIT_EAGAIN;
    size_t said = end->fake.out->total;
    step_open(end);
    if (was_waiting && end->code < 0 && end->code != CONDUIT_EAGAIN)
        expect_told(end, said, number);
}

static void judge(struct meeting *meeting, unsigned number)
{
    const struct end *ends[] = {&meeting->client, &meeting->server};
    for (int i = 0; i < 2; i++)
        cr_expect(ends[i]->code == 0 || ends[i]->code == CONDUIT_ETLS ||
                      ends[i]->code == CONDUIT_ETRUST,
                  "%u: %d %s", number, ends[i]->code, why(ends[i]));
    bool both = meeting->client.code == 0 && meeting->server.code == 0;
    if (both)
        cr_expect_str_eq(facts_of(ends[0]).tls_cipher, facts_of(ends[1]).tls_cipher);
    n_open += both;
    n_refused += !both;
}

/* Damage to the first, second or third flight. */
static void meet_damaged(unsigned number)
{
    unsigned seed = number;
    unsigned flight = (unsigned)pick(&seed, 3);
    struct meeting *meeting = meet_again(first, client_tls, server_tls, "a.example");
    meeting->client.code = meeting->server.code = CONDUIT_EAGAIN;
    for (unsigned i = 0; i < 6; i++) {
        struct end *end = i % 2 == 0 ? &meeting->client : &meeting->server;
        step(end, number);
        if (i == flight)
            damage(end->fake.out, &seed);
    }
    meeting->up.ended = meeting->down.ended = true; /* a length that grew is waited for */
    for (int i = 0; i < 3; i++) {
        step(&meeting->server, number);
        step(&meeting->client, number);
    }
    judge(meeting, number);
    part_again(meeting);
}

static void meet_many(bool resume, bool client_certs, unsigned from, unsigned n)
{
    client_tls =
        make_config("ca.pem", client_certs ? "client" : NULL, "resume", resume ? "yes" : "no");
    server_tls = make_config(client_certs ? "ca.pem" : NULL, "server", NULL, NULL);
    first = open_with(client_tls, server_tls, "a.example");
    exchange(first, 100, 100, 4096);
    for (unsigned i = 0; i < n; i++)
        meet_damaged(from + i);
    conduit_tls_unref(client_tls);
    conduit_tls_unref(server_tls);
    part(first);
}

static unsigned wanted(void)
{
    const char *said = getenv("CONDUIT_MALFORMED");
    return said != NULL ? (unsigned)strtoul(said, NULL, 10) : USUAL;
}

CDT_TEST(tls_malformed, each_comes_to_a_verdict_and_who_finds_fault_says_so)
{
    for (unsigned i = 0; i * BATCH < wanted(); i++)
        meet_many(i % 2 != 0, i / 2 % 2 != 0, 1 + i * BATCH, BATCH);
    cr_expect_gt(n_refused, n_open, "%d refused, %d open", n_refused, n_open);
    cr_log_info("%d refused, %d open\n", n_refused, n_open);
}
