/* SPDX-License-Identifier: ISC */
/*
 * GnuTLS as an engine: sessions.
 *
 * A gnutls_session_t reads by cdt_tls_pull() and writes by cdt_tls_push(). That one of them failed,
 * or came to an end, is kept beside it, for GnuTLS would make one number of it all. What it leaves
 * to its caller is done here: alerts when something fails, saying goodbye once, refusing to
 * renegotiate, and measuring a resumed peer once more.
 */
#include "gnutls.h"
#include "tls.h"
#include <conduit/memory.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

/* ---- the path of bytes ---- */

/* A negative count with errno, as GnuTLS wants it. */
static ssize_t answer(struct cdt_gnutls_session *session, ssize_t n)
{
    if (n >= 0)
        return n;
    if (n == CONDUIT_EAGAIN)
        session->waits = true;
    else
        session->broken = (int)n;
    gnutls_transport_set_errno(session->tls_session, n == CONDUIT_EAGAIN ? EAGAIN : EIO);
    return -1;
}

/* The first bytes are remembered, for one who speaks no TLS. */
static ssize_t pull(gnutls_transport_ptr_t arg, void *buf, size_t len)
{
    struct cdt_gnutls_session *session = arg;
    ssize_t n = cdt_tls_pull(session->tls, buf, len);
    session->ended |= n == 0;
    for (ssize_t i = 0; i < n && session->n_first < sizeof(session->first); i++)
        session->first[session->n_first++] = ((const unsigned char *)buf)[i];
    return answer(session, n);
}

static ssize_t push(gnutls_transport_ptr_t arg, const void *buf, size_t len)
{
    struct cdt_gnutls_session *session = arg;
    return answer(session, cdt_tls_push(session->tls, buf, len));
}

/* ---- what a context's sessions share ---- */

static void *make_shared(void)
{
    return conduit_calloc(1, sizeof(struct cdt_gnutls_shared));
}

static void free_shared(void *arg)
{
    struct cdt_gnutls_shared *shared = arg;
    if (shared->system != NULL)
        gnutls_x509_trust_list_deinit(shared->system, 1);
    conduit_free(shared);
}

static void load_system(void *arg)
{
    struct cdt_gnutls_shared *shared = arg;
    if (gnutls_x509_trust_list_init(&shared->system, 0) < 0)
        shared->system = NULL;
    else
        shared->n_system = gnutls_x509_trust_list_add_system_trust(shared->system, 0, 0);
}

/* ---- resumption ---- */

/* What a client keeps: no longer than the certificate is good. */
struct resumable {
    gnutls_datum_t data;
    time_t until;
};

static void free_resumable(void *arg)
{
    struct resumable *resumable = arg;
    gnutls_memset(resumable->data.data, 0, resumable->data.size);
    gnutls_free(resumable->data.data);
    conduit_free(resumable);
}

static bool may_resume(const struct cdt_gnutls_session *session)
{
    return !session->start.server && !session->kept && !session->credentials->no_resumption;
}

static void keep(struct cdt_gnutls_session *session)
{
    time_t until = gnutls_certificate_expiration_time_peers(session->tls_session);
    struct resumable *resumable = conduit_calloc(1, sizeof(*resumable));
    session->kept = true;
    if (resumable == NULL)
        return;
    resumable->until = until;
    if (gnutls_session_get_data2(session->tls_session, &resumable->data) < 0)
        conduit_free(resumable);
    else
        cdt_tls_keep_session(session->tls, resumable);
}

/* In TLS 1.2 there is something to keep after the handshake, in 1.3 when a ticket has come. */
static void keep_session(struct cdt_gnutls_session *session)
{
    gnutls_session_t tls_session = session->tls_session;
    if (!may_resume(session))
        return;
    if (gnutls_protocol_get_version(tls_session) == GNUTLS_TLS1_2 ||
        (gnutls_session_get_flags(tls_session) & GNUTLS_SFLAGS_SESSION_TICKET) != 0)
        keep(session);
}

static void offer_session(struct cdt_gnutls_session *session)
{
    struct resumable *resumable =
        session->credentials->no_resumption ? NULL : cdt_tls_take_session(session->tls);
    if (resumable == NULL)
        return;
    if (resumable->until > time(NULL))
        gnutls_session_set_data(session->tls_session, resumable->data.data, resumable->data.size);
    free_resumable(resumable);
}

/* ---- what a listener makes of a hello ---- */

/* Of gnutls_ext_raw_parse(): what the client offers, if nothing of it is ours. */
static int look_at_extension(void *arg, unsigned id, const unsigned char *data, unsigned len)
{
    enum { ALPN = 16, LIST = 2, VERSIONS = 43 };
    struct cdt_gnutls_session *session = arg;
    session->speaks_new |= id == VERSIONS;
    const struct cdt_tls_start *start = &session->start;
    if (id == ALPN && len > LIST && start->alpn_len > 0 &&
        cdt_alpn_choose(start->alpn, start->alpn_len, data + LIST, len - LIST) == NULL)
        cdt_alpn_print(data + LIST, len - LIST, session->alpn_offer, sizeof(session->alpn_offer));
    return 0;
}

static int look_at_hello(gnutls_session_t tls_session, unsigned type, unsigned when,
                         unsigned incoming, const gnutls_datum_t *message)
{
    struct cdt_gnutls_session *session = gnutls_session_get_ptr(tls_session);
    int error = gnutls_ext_raw_parse(session, look_at_extension, message,
                                     GNUTLS_EXT_RAW_FLAG_TLS_CLIENT_HELLO);
    if (error >= 0 && session->credentials->only_new && !session->speaks_new)
        return GNUTLS_E_UNSUPPORTED_VERSION_PACKET; /* GnuTLS would speak of cipher suites */
    return 0;                                       /* what is malformed it refuses by itself */
}

/* The name as it is compared: lower-cased, without the root's dot. */
static void read_name(struct cdt_gnutls_session *session)
{
    unsigned type;
    size_t size = sizeof(session->asked) - 1;
    if (gnutls_server_name_get(session->tls_session, session->asked, &size, &type, 0) < 0 ||
        type != GNUTLS_NAME_DNS)
        size = 0;
    if (size > 1 && session->asked[size - 1] == '.')
        size--;
    session->asked[size] = '\0';
    for (char *c = session->asked; *c != '\0'; c++)
        *c = (char)(*c >= 'A' && *c <= 'Z' ? *c + ('a' - 'A') : *c);
}

/* Is this a second hello, after a HelloRetryRequest, that asks for another name than the first? It
 * must not (RFC 8446, 4.1.2), and what was chosen was chosen for the first. */
static bool changes_name(struct cdt_gnutls_session *session)
{
    char before[sizeof(session->asked)];
    bool again = session->greeted;
    memcpy(before, session->asked, sizeof(before));
    session->greeted = true;
    read_name(session);
    return again && strcmp(before, session->asked) != 0;
}

/* Among several identities, those for the name that was asked for. */
static int on_hello(gnutls_session_t tls_session)
{
    struct cdt_gnutls_session *session = gnutls_session_get_ptr(tls_session);
    const struct cdt_gnutls_credentials *credentials = session->credentials;
    if (changes_name(session))
        return GNUTLS_E_RECEIVED_ILLEGAL_PARAMETER;
    if (session->asked[0] == '\0' || (credentials->n_identities == 1 && !credentials->sni_strict))
        return 0;
    int error = session->chosen == NULL
                    ? cdt_gnutls_choose(credentials, session->asked, &session->chosen)
                    : 0;
    if (error < 0)
        return error;
    if (session->chosen == NULL)
        return credentials->sni_strict ? GNUTLS_E_UNRECOGNIZED_NAME : 0;
    return gnutls_credentials_set(tls_session, GNUTLS_CRD_CERTIFICATE, session->chosen);
}

/* ---- starting ---- */

static int set_alpn(gnutls_session_t tls_session, const struct cdt_tls_start *start)
{
    enum { MAX_PROTOCOLS = CDT_ALPN_MAX / 2 };
    union {
        const unsigned char *in;
        unsigned char *out;
    } at = {.in = start->alpn};
    gnutls_datum_t protocols[MAX_PROTOCOLS];
    unsigned n = 0;
    for (const unsigned char *end = start->alpn + start->alpn_len; at.in < end;
         at.in += 1 + at.in[0])
        protocols[n++] = (gnutls_datum_t){.data = at.out + 1, .size = at.in[0]};
    unsigned flags = start->server ? GNUTLS_ALPN_SERVER_PRECEDENCE | GNUTLS_ALPN_MANDATORY : 0;
    return n == 0 ? 0 : gnutls_alpn_set_protocols(tls_session, protocols, n, flags);
}

static int set_up_server(struct cdt_gnutls_session *session)
{
    gnutls_session_t tls_session = session->tls_session;
    const struct cdt_gnutls_credentials *credentials = session->credentials;
    static const gnutls_certificate_request_t requests[] = {
        [CDT_DEMAND_NONE] = GNUTLS_CERT_IGNORE,
        [CDT_DEMAND_ASK] = GNUTLS_CERT_REQUEST,
        [CDT_DEMAND_REQUIRE] = GNUTLS_CERT_REQUIRE,
    };
    gnutls_certificate_server_set_request(tls_session, requests[cdt_gnutls_demand_of(session)]);
    gnutls_handshake_set_post_client_hello_function(tls_session, on_hello);
    gnutls_handshake_set_hook_function(tls_session, GNUTLS_HANDSHAKE_CLIENT_HELLO, GNUTLS_HOOK_PRE,
                                       look_at_hello);
    return credentials->no_resumption
               ? 0
               : gnutls_session_ticket_enable_server(tls_session, &credentials->ticket_key);
}

static int set_up_client(struct cdt_gnutls_session *session)
{
    const struct cdt_tls_start *start = &session->start;
    if (*start->name != '\0' && !start->numeric) {
        int error = gnutls_server_name_set(session->tls_session, GNUTLS_NAME_DNS, start->name,
                                           strlen(start->name));
        if (error < 0)
            return error;
    }
    offer_session(session);
    return 0;
}

static int set_up(struct cdt_gnutls_session *session)
{
    gnutls_session_t tls_session = session->tls_session;
    const struct cdt_gnutls_credentials *credentials = session->credentials;
    gnutls_session_set_ptr(tls_session, session);
    gnutls_transport_set_ptr(tls_session, session);
    gnutls_transport_set_pull_function(tls_session, pull);
    gnutls_transport_set_push_function(tls_session, push);
    if (cdt_gnutls_demand_of(session) != CDT_DEMAND_NONE)
        gnutls_session_set_verify_function(tls_session, cdt_gnutls_on_certs);
    int error = gnutls_priority_set(tls_session, credentials->priority);
    if (error == 0)
        error = gnutls_credentials_set(tls_session, GNUTLS_CRD_CERTIFICATE, credentials->all);
    if (error == 0)
        error = set_alpn(tls_session, &session->start);
    if (error < 0)
        return error;
    return session->start.server ? set_up_server(session) : set_up_client(session);
}

static void stop(void *arg)
{
    struct cdt_gnutls_session *session = arg;
    if (session->tls_session != NULL)
        gnutls_deinit(session->tls_session);
    if (session->chosen != NULL)
        gnutls_certificate_free_credentials(session->chosen);
    conduit_free(session);
}

static int check_name(const struct cdt_gnutls_session *session)
{
    const struct cdt_tls_start *start = &session->start;
    if (start->server || *start->name != '\0' || session->credentials->verify != CDT_VERIFY_FULL)
        return 0;
    return cdt_tls_fail(session->tls, CONDUIT_TLS_NO_NAME, NULL, 0,
                        "whom is the peer to prove to be? Say so (name), or do not verify "
                        "(verify=insecure)");
}

static int start(struct cdt_tls *tls, const struct cdt_tls_start *start, void **ret)
{
    struct cdt_gnutls_session *session = conduit_calloc(1, sizeof(*session));
    if (session == NULL)
        return cdt_tls_fail(tls, CONDUIT_TLS_MEMORY, NULL, 0, "out of memory");
    session->tls = tls;
    session->start = *start;
    session->credentials = start->credentials;
    session->shared = start->shared;
    unsigned flags = (start->server ? GNUTLS_SERVER : GNUTLS_CLIENT | GNUTLS_FORCE_CLIENT_CERT) |
                     GNUTLS_NONBLOCK | GNUTLS_NO_SIGNAL;
    if (session->credentials->no_resumption)
        flags |= GNUTLS_NO_TICKETS;
    int code = check_name(session);
    int error = code == 0 ? gnutls_init(&session->tls_session, flags) : 0;
    if (code == 0 && error == 0)
        error = set_up(session);
    if (error < 0)
        code =
            cdt_tls_fail(tls, CONDUIT_TLS_PROTOCOL, "GnuTLS", error, "%s", gnutls_strerror(error));
    if (code < 0)
        stop(session);
    else
        *ret = session;
    return code;
}

/* ---- running ---- */

static bool is_passing(int error)
{
    return error == GNUTLS_E_INTERRUPTED || error == GNUTLS_E_WARNING_ALERT_RECEIVED;
}

static int check_system(struct cdt_gnutls_session *session)
{
    const struct cdt_gnutls_credentials *credentials = session->credentials;
    if (credentials->own_trust || session->shared->n_system > 0 ||
        !cdt_gnutls_wants_system(credentials, session->start.server))
        return 0;
    return cdt_tls_fail(session->tls, CONDUIT_TLS_NO_ANCHORS, NULL, 0,
                        "the system has no trust store: say which authorities to trust (ca)");
}

static size_t agreed_on(const void *arg, const unsigned char **name)
{
    const struct cdt_gnutls_session *session = arg;
    gnutls_datum_t chosen = {0};
    gnutls_alpn_get_selected_protocol(session->tls_session, &chosen);
    *name = chosen.data;
    return chosen.size;
}

static int check_alpn(struct cdt_gnutls_session *session)
{
    const struct cdt_tls_start *start = &session->start;
    gnutls_datum_t chosen = {0};
    if (start->server || gnutls_alpn_get_selected_protocol(session->tls_session, &chosen) < 0)
        return 0;
    return cdt_tls_check_alpn(session->tls, start->alpn, start->alpn_len, chosen.data, chosen.size);
}

static int handshake(void *arg)
{
    struct cdt_gnutls_session *session = arg;
    int code = check_system(session);
    if (code < 0)
        return code;
    int error;
    do
        error = gnutls_handshake(session->tls_session);
    while (is_passing(error));
    if (error == GNUTLS_E_AGAIN)
        return CONDUIT_EAGAIN;
    if (error < 0)
        return cdt_gnutls_fail(session, error);
    code = cdt_gnutls_accept(session);
    if (code == 0)
        code = check_alpn(session);
    session->open = code == 0;
    if (session->open)
        keep_session(session);
    return code;
}

/* After a ticket or a key update GnuTLS says "again" although there may be more. */
static ssize_t read_plain(void *arg, void *buf, size_t len)
{
    struct cdt_gnutls_session *session = arg;
    ssize_t n;
    session->waits = false;
    do
        n = gnutls_record_recv(session->tls_session, buf, len);
    while (is_passing((int)n) || (n == GNUTLS_E_AGAIN && !session->waits));
    keep_session(session);
    if (n >= 0)
        return n;
    return n == GNUTLS_E_AGAIN ? CONDUIT_EAGAIN : cdt_gnutls_fail(session, (int)n);
}

static ssize_t write_plain(void *arg, const void *buf, size_t len)
{
    struct cdt_gnutls_session *session = arg;
    ssize_t n;
    do
        n = gnutls_record_send(session->tls_session, buf, len);
    while (is_passing((int)n));
    if (n >= 0)
        return n;
    return n == GNUTLS_E_AGAIN ? CONDUIT_EAGAIN : cdt_gnutls_fail(session, (int)n);
}

static bool is_pending(const void *arg)
{
    const struct cdt_gnutls_session *session = arg;
    return gnutls_record_check_pending(session->tls_session) > 0;
}

static int finish(void *arg)
{
    struct cdt_gnutls_session *session = arg;
    if (session->said_goodbye)
        return 0;
    int error = gnutls_bye(session->tls_session, GNUTLS_SHUT_WR);
    session->said_goodbye = error == 0;
    if (error == GNUTLS_E_AGAIN || error == GNUTLS_E_INTERRUPTED)
        return CONDUIT_EAGAIN;
    return error < 0 ? cdt_gnutls_fail(session, error) : 0;
}

/* ---- what there is to know ---- */

/* `text` (NULL: none yet) and one more; or what there was, without memory. */
static char *add_pem(char *text, gnutls_x509_crt_t cert)
{
    gnutls_datum_t pem;
    if (gnutls_x509_crt_export2(cert, GNUTLS_X509_FMT_PEM, &pem) < 0)
        return text;
    size_t len = text != NULL ? strlen(text) : 0;
    char *grown = conduit_realloc(text, len + pem.size + 1);
    if (grown != NULL) {
        memcpy(grown + len, pem.data, pem.size);
        grown[len + pem.size] = '\0';
    }
    gnutls_free(pem.data);
    return grown != NULL ? grown : text;
}

static char *print_chain(const struct cdt_gnutls_session *session, const gnutls_x509_crt_t *certs,
                         unsigned n)
{
    char *text = NULL;
    for (unsigned i = 0; i < n; i++)
        text = add_pem(text, certs[i]);
    gnutls_x509_crt_t anchor = cdt_gnutls_find_anchor(session, certs[n - 1]);
    return anchor != NULL ? add_pem(text, anchor) : text;
}

/* Whether the peer showed a certificate. */
static bool describe_peer(const struct cdt_gnutls_session *session, struct cdt_facts *facts)
{
    gnutls_x509_crt_t certs[CDT_GNUTLS_CHAIN];
    unsigned n = cdt_gnutls_peer_certs(session->tls_session, certs);
    if (n > 0) {
        cdt_gnutls_print_subject(certs[0], facts->tls_peer, sizeof(facts->tls_peer));
        cdt_gnutls_print_sans(certs[0], false, facts->tls_peer_names,
                              sizeof(facts->tls_peer_names));
        cdt_gnutls_print_digest(certs[0], facts->tls_fingerprint);
    }
    if (n > 0 && facts->wants_chain) {
        conduit_free(facts->tls_chain); /* that of TLS below this one */
        facts->tls_chain = print_chain(session, certs, n);
    }
    for (unsigned i = 0; i < n; i++)
        gnutls_x509_crt_deinit(certs[i]);
    return n > 0;
}

static void describe_verify(const struct cdt_gnutls_session *session, bool shown,
                            struct cdt_facts *facts)
{
    enum cdt_tls_verify verify = session->credentials->verify;
    bool demanded = cdt_gnutls_demand_of(session) != CDT_DEMAND_NONE;
    bool none = verify != CDT_VERIFY_INSECURE && (!demanded || !shown);
    const char *name = session->asked;
    if (!session->start.server)
        name = verify == CDT_VERIFY_FULL ? session->start.name : "";
    snprintf(facts->tls_verify, sizeof(facts->tls_verify), "%s",
             none ? "none" : cdt_tls_verify_word(verify));
    cdt_tls_printable(facts->tls_name, sizeof(facts->tls_name), name, strlen(name));
}

static void describe(const void *arg, struct cdt_facts *facts)
{
    const struct cdt_gnutls_session *session = arg;
    gnutls_session_t tls_session = session->tls_session;
    bool new = gnutls_protocol_get_version(tls_session) == GNUTLS_TLS1_3;
    const char *suite = gnutls_ciphersuite_get(tls_session);
    snprintf(facts->tls_version, sizeof(facts->tls_version), "TLSv%s", new ? "1.3" : "1.2");
    snprintf(facts->tls_cipher, sizeof(facts->tls_cipher), "%s", suite != NULL ? suite : "");
    describe_verify(session, describe_peer(session, facts), facts);
    facts->tls_ocsp[0] = '\0';
    facts->tls_resumed = gnutls_session_is_resumed(tls_session) != 0;
}

const struct cdt_tls_backend cdt_tls_gnutls = {
    .name = "gnutls",
    .config_new = cdt_gnutls_config_new,
    .config_free = cdt_gnutls_config_free,
    .config_set = cdt_gnutls_config_set,
    .config_check = cdt_gnutls_config_check,
    .config_wants_system = cdt_gnutls_wants_system,
    .shared_new = make_shared,
    .shared_free = free_shared,
    .shared_load = load_system,
    .resumable_free = free_resumable,
    .start = start,
    .handshake = handshake,
    .read = read_plain,
    .write = write_plain,
    .pending = is_pending,
    .finish = finish,
    .alpn = agreed_on,
    .describe = describe,
    .stop = stop,
};
