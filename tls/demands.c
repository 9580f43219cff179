/* SPDX-License-Identifier: ISC */
/* Words for demands, and demands that do not go together: demands.h. What contradicts itself is
 * refused when it is first used, for keys may come in any order. */
#include "demands.h"
#include "tls.h"
#include <string.h>

static const char *const verify_words[] = {[CDT_VERIFY_FULL] = "full",
                                           [CDT_VERIFY_CHAIN] = "chain",
                                           [CDT_VERIFY_PIN] = "pin",
                                           [CDT_VERIFY_DANE] = "dane",
                                           [CDT_VERIFY_INSECURE] = "insecure"};

const char *cdt_tls_verify_word(enum cdt_tls_verify verify)
{
    return verify_words[verify];
}

int cdt_tls_parse_verify(const char *value, const conduit_error **reterr)
{
    for (int i = CDT_VERIFY_FULL; i <= CDT_VERIFY_INSECURE; i++)
        if (strcmp(value, verify_words[i]) == 0)
            return i;
    return cdt_tls_refuse(CONDUIT_TLS_BAD_VALUE, reterr,
                          "verify: \"%s\" is neither full, chain, pin, dane nor insecure", value);
}

int cdt_tls_parse_demand(const char *value, const conduit_error **reterr)
{
    static const char *const words[] = {[CDT_DEMAND_DEFAULT] = "",
                                        [CDT_DEMAND_NONE] = "none",
                                        [CDT_DEMAND_ASK] = "ask",
                                        [CDT_DEMAND_REQUIRE] = "require"};
    size_t len = strcspn(value, "@");
    for (int i = CDT_DEMAND_NONE; i <= CDT_DEMAND_REQUIRE; i++)
        if (strlen(words[i]) == len && memcmp(words[i], value, len) == 0)
            return i;
    return cdt_tls_refuse_demand(value, reterr);
}

int cdt_tls_refuse_demand(const char *value, const conduit_error **reterr)
{
    return cdt_tls_refuse(CONDUIT_TLS_BAD_VALUE, reterr,
                          "client_cert: \"%s\" is neither none, ask nor require, alone or before "
                          "@NAME or @*.NAME",
                          value);
}

static int contradict(const conduit_error **reterr, const char *text)
{
    return cdt_tls_refuse(CONDUIT_TLS_CONTRADICTION, reterr, "%s", text);
}

bool cdt_tls_demands_clients(const struct cdt_tls_demands *demands)
{
    return demands->anchors || demands->pins || demands->clients > CDT_DEMAND_NONE;
}

/* Clients that have to prove who they are have to be measured by something. */
static int check_clients(const struct cdt_tls_demands *demands, const conduit_error **reterr)
{
    if (demands->verify == CDT_VERIFY_DANE)
        return contradict(reterr, "verify=dane is for who connects: a client has no TLSA records");
    if (!cdt_tls_demands_clients(demands))
        return 0;
    if (demands->verify == CDT_VERIFY_INSECURE)
        return contradict(reterr, "on a listener \"ca\" and \"client_cert\" demand verified "
                                  "clients, and \"verify=insecure\" takes that back");
    if (!demands->anchors && demands->verify != CDT_VERIFY_PIN)
        return cdt_tls_refuse(CONDUIT_TLS_NO_ANCHORS, reterr,
                              "client certificates are to be verified, and there is no authority "
                              "to do it by (ca)");
    return 0;
}

static int check_verify(const struct cdt_tls_demands *demands, const conduit_error **reterr)
{
    if (demands->verify == CDT_VERIFY_PIN && !demands->pins)
        return contradict(reterr, "verify=pin accepts pinned keys alone, and there is none (pin)");
    if (demands->verify != CDT_VERIFY_DANE && demands->tlsa)
        return contradict(reterr, "tlsa records count with verify=dane alone");
    if (demands->verify == CDT_VERIFY_INSECURE && demands->pins)
        return contradict(reterr, "verify=insecure checks nothing, pins either: say verify=pin");
    if (demands->crl_chain && !demands->crls)
        return contradict(reterr, "crl_check=chain, and there is no revocation list (crl)");
    return demands->server ? check_clients(demands, reterr) : 0;
}

int cdt_tls_check_demands(const struct cdt_tls_demands *demands, const conduit_error **reterr)
{
    if (demands->waits_for_key)
        return cdt_tls_refuse(CONDUIT_TLS_KEY_MISSING, reterr, "a cert has no key");
    if (demands->no_version)
        return cdt_tls_refuse(CONDUIT_TLS_NO_VERSION, reterr,
                              "min 1.3 and max 1.2 leave no TLS version");
    if (demands->server && !demands->identity)
        return cdt_tls_refuse(CONDUIT_TLS_NO_IDENTITY, reterr, "a TLS listener needs cert and key");
    return check_verify(demands, reterr);
}
