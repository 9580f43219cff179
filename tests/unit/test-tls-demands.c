/* SPDX-License-Identifier: ISC */
/* What a TLS configuration demands, and demands that contradict each other: refused where they are
 * used, whatever the order of the keys, and in the same words whichever library does TLS. */
#include "meeting.h"
#include <string.h>

enum { CLIENT, SERVER };

#define NEEDS_CERT "a TLS listener needs cert and key"
#define TAKEN_BACK                                                                                 \
    "on a listener \"ca\" and \"client_cert\" demand verified clients, and \"verify=insecure\" "   \
    "takes that back"
#define NO_AUTHORITY                                                                               \
    "client certificates are to be verified, and there is no authority to do it by (ca)"
#define NO_PIN "verify=pin accepts pinned keys alone, and there is none (pin)"
#define PINS_UNCHECKED "verify=insecure checks nothing, pins either: say verify=pin"
#define ANY_PIN "sha256//AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="

static const struct demand {
    int role;
    const char *identity, *ca; /* files; NULL */
    const char *keys[9];       /* key, value, ... */
    int reason;                /* 0: they go together */
    const char *text;
} demands[] = {
    {CLIENT, NULL, NULL, {NULL}, 0, NULL},
    {CLIENT, NULL, "ca.pem", {"verify", "insecure"}, 0, NULL},
    {CLIENT, NULL, NULL, {"client_cert", "require", "verify", "insecure"}, 0, NULL},
    {CLIENT, NULL, NULL, {"verify", "pin"}, CONDUIT_TLS_CONTRADICTION, NO_PIN},
    {CLIENT, NULL, NULL, {"verify", "pin", "pin", ANY_PIN}, 0, NULL},
    {CLIENT, NULL, NULL, {"pin", ANY_PIN, "verify", "full"}, 0, NULL},
    {CLIENT,
     NULL,
     NULL,
     {"pin", ANY_PIN, "verify", "insecure"},
     CONDUIT_TLS_CONTRADICTION,
     PINS_UNCHECKED},
    {CLIENT,
     NULL,
     NULL,
     {"verify", "insecure", "pin", ANY_PIN},
     CONDUIT_TLS_CONTRADICTION,
     PINS_UNCHECKED},
    {CLIENT, NULL, NULL, {"verify", "insecure", "pin", ANY_PIN, "verify", "chain"}, 0, NULL},
    {CLIENT,
     NULL,
     NULL,
     {"min", "1.3", "max", "1.2"},
     CONDUIT_TLS_NO_VERSION,
     "min 1.3 and max 1.2 leave no TLS version"},
    {CLIENT,
     NULL,
     NULL,
     {"tlsa", "3 1 0 00"},
     CONDUIT_TLS_CONTRADICTION,
     "tlsa records count with verify=dane alone"},
    {CLIENT,
     NULL,
     NULL,
     {"crl_check", "chain"},
     CONDUIT_TLS_CONTRADICTION,
     "crl_check=chain, and there is no revocation list (crl)"},

    {SERVER, NULL, NULL, {NULL}, CONDUIT_TLS_NO_IDENTITY, NEEDS_CERT},
    {SERVER, NULL, "ca.pem", {"verify", "insecure"}, CONDUIT_TLS_NO_IDENTITY, NEEDS_CERT},
    {SERVER, "server", NULL, {NULL}, 0, NULL},
    {SERVER, "server", NULL, {"verify", "insecure"}, 0, NULL},
    {SERVER, "server", NULL, {"verify", "chain", "client_cert", "none"}, 0, NULL},
    {SERVER,
     "server",
     NULL,
     {"verify", "dane"},
     CONDUIT_TLS_CONTRADICTION,
     "verify=dane is for who connects: a client has no TLSA records"},
    {SERVER, "server", "ca.pem", {NULL}, 0, NULL},
    {SERVER, "server", "ca.pem", {"client_cert", "ask"}, 0, NULL},
    {SERVER, "server", "ca.pem", {"verify", "insecure"}, CONDUIT_TLS_CONTRADICTION, TAKEN_BACK},
    {SERVER,
     "server",
     NULL,
     {"ca_system", "yes", "verify", "insecure"},
     CONDUIT_TLS_CONTRADICTION,
     TAKEN_BACK},
    {SERVER,
     "server",
     NULL,
     {"client_cert", "ask", "verify", "insecure"},
     CONDUIT_TLS_CONTRADICTION,
     TAKEN_BACK},
    {SERVER,
     "server",
     NULL,
     {"client_cert", "ask@x.example", "verify", "insecure"},
     CONDUIT_TLS_CONTRADICTION,
     TAKEN_BACK},
    {SERVER, "server", NULL, {"client_cert", "require"}, CONDUIT_TLS_NO_ANCHORS, NO_AUTHORITY},
    {SERVER,
     "server",
     NULL,
     {"client_cert", "require", "verify", "chain"},
     CONDUIT_TLS_NO_ANCHORS,
     NO_AUTHORITY},
    {SERVER, "server", NULL, {"client_cert", "require", "client_cert", "none"}, 0, NULL},
    {SERVER,
     "server",
     NULL,
     {"client_cert", "none", "client_cert", "ask"},
     CONDUIT_TLS_NO_ANCHORS,
     NO_AUTHORITY},
    {SERVER,
     "server",
     NULL,
     {"client_cert", "ask@X.example", "client_cert", "none@x.example."},
     0,
     NULL},
    {SERVER, "server", NULL, {"pin", ANY_PIN}, CONDUIT_TLS_NO_ANCHORS, NO_AUTHORITY},
    {SERVER, "server", NULL, {"pin", ANY_PIN, "verify", "pin"}, 0, NULL},
    {SERVER,
     "server",
     NULL,
     {"client_cert", "require", "verify", "pin"},
     CONDUIT_TLS_CONTRADICTION,
     NO_PIN},
    {SERVER,
     "server",
     NULL,
     {"pin", ANY_PIN, "verify", "insecure"},
     CONDUIT_TLS_CONTRADICTION,
     PINS_UNCHECKED},
};

/* NULL: this library lacks one of the keys, and says so. */
static conduit_tls *configure(const struct demand *demand)
{
    conduit_tls *tls = make_config(demand->ca, demand->identity, NULL, NULL);
    for (size_t i = 0; demand->keys[i] != NULL; i += 2) {
        int code = conduit_tls_set(tls, demand->keys[i], demand->keys[i + 1], NULL);
        if (code == CONDUIT_ENOTSUP && strstr(conduit_version(), "OpenSSL") == NULL) {
            conduit_tls_unref(tls);
            return NULL;
        }
        cr_assert_eq(code, 0, "%s=%s", demand->keys[i], demand->keys[i + 1]);
    }
    return tls;
}

static void expect_verdict(const struct demand *demand, size_t row)
{
    const conduit_error *error = NULL;
    conduit_tls *tls = configure(demand);
    if (tls == NULL)
        return;
    int code = cdt_tls_seal(tls, demand->role == SERVER, &error);
    const char *said = error != NULL ? conduit_error_text(error) : "";
    cr_expect_eq(code < 0, demand->reason != 0, "row %zu: %d %s", row, code, said);
    cr_expect_eq(error != NULL ? conduit_error_reason(error) : 0, demand->reason, "row %zu: %s",
                 row, said);
    cr_expect(demand->text == NULL || strstr(said, demand->text) != NULL, "row %zu: %s", row, said);
    conduit_error_unref(error);
    conduit_tls_unref(tls);
}

CDT_TEST(tls_demands, what_contradicts_itself_is_refused_in_the_same_words)
{
    for (size_t i = 0; i < sizeof(demands) / sizeof(demands[0]); i++)
        expect_verdict(&demands[i], i);
}

CDT_TEST(tls_demands, words_that_are_none)
{
    conduit_tls *tls = conduit_tls_new();
    refuse(tls, "verify", "", CONDUIT_EINVAL,
           "verify: \"\" is neither full, chain, pin, dane nor insecure");
    refuse(tls, "verify", "Full", CONDUIT_EINVAL, "neither full, chain, pin, dane nor insecure");
    refuse(tls, "client_cert", "", CONDUIT_EINVAL,
           "client_cert: \"\" is neither none, ask nor require, alone or before @NAME or @*.NAME");
    refuse(tls, "client_cert", "requir", CONDUIT_EINVAL, "neither none, ask nor require");
    refuse(tls, "client_cert", "required", CONDUIT_EINVAL, "neither none, ask nor require");
    refuse(tls, "client_cert", "@x.example", CONDUIT_EINVAL, "neither none, ask nor require");
    conduit_tls_unref(tls);
}
