/* SPDX-License-Identifier: ISC */
/*
 * What the programs that connect have in common: the options that say how to connect, what a
 * failure looks like on standard error, and what exit code it leads to.
 *
 * A program puts CLIENT_OPTIONS in its getopt_long() table and CLIENT_HELP in its help, and hands
 * what it does not know to client_option(). A struct client starts as zero and ends with
 * client_free().
 */
#ifndef TOOLS_COMMON_H
#define TOOLS_COMMON_H

#include <conduit/conduit.h>
#include <getopt.h>
#include <stdio.h>

/* Of every program; the highest that happened wins. */
enum {
    CODE_OK = 0,
    CODE_NO_NAME = 1,   /* no such name, or no endpoint for it */
    CODE_USAGE = 2,     /* wrong options, malformed URI, unknown scheme */
    CODE_TEMPORARY = 3, /* resolving failed, and may work later */
    CODE_CONNECT = 4,   /* not connected, or the connection broke */
    CODE_TLS = 5,       /* TLS or verification failed, or the stream was truncated */
};

/* --rule PATTERN=URI or --rules FILE. */
struct client_rule {
    bool file;
    const char *value;
};

struct client {
    conduit_ctx_options ctx;
    conduit_connect_options connect;
    char *params;  /* "KEY=VALUE&...", what connect.endpoint_params points to */
    char *servers; /* "ADDR,ADDR:PORT,...", what ctx.dns_servers points to */
    struct client_rule *rules;
    size_t n_rules;
};

enum {
    OPT_CA = 256,
    OPT_CERT,
    OPT_KEY,
    OPT_ALPN,
    OPT_TLS_MIN,
    OPT_CIPHERS,
    OPT_TLS,
    OPT_INSECURE,
    OPT_NAME,
    OPT_CONNECT_TO,
    OPT_VIA,
    OPT_PARAM,
    OPT_RULE,
    OPT_RULES,
    OPT_SERVER,
    OPT_TRUST_AD,
    OPT_SYSTEM,
    OPT_TIMEOUT,
    OPT_HELP,
    OPT_VERSION,
    OPT_FIRST_OWN, /* a program's own options start here */
};

/* clang-format off */
#define CLIENT_OPTIONS                                     \
    {"ca",         required_argument, NULL, OPT_CA},         \
    {"cert",       required_argument, NULL, OPT_CERT},       \
    {"key",        required_argument, NULL, OPT_KEY},        \
    {"alpn",       required_argument, NULL, OPT_ALPN},       \
    {"tls-min",    required_argument, NULL, OPT_TLS_MIN},    \
    {"ciphers",    required_argument, NULL, OPT_CIPHERS},    \
    {"tls",        required_argument, NULL, OPT_TLS},        \
    {"insecure",   no_argument,       NULL, OPT_INSECURE},   \
    {"name",       required_argument, NULL, OPT_NAME},       \
    {"connect-to", required_argument, NULL, OPT_CONNECT_TO}, \
    {"via",        required_argument, NULL, OPT_VIA},        \
    {"param",      required_argument, NULL, OPT_PARAM},      \
    {"rule",       required_argument, NULL, OPT_RULE},       \
    {"rules",      required_argument, NULL, OPT_RULES},      \
    {"server",     required_argument, NULL, OPT_SERVER},     \
    {"trust-ad",   no_argument,       NULL, OPT_TRUST_AD},   \
    {"system",     no_argument,       NULL, OPT_SYSTEM},     \
    {"timeout",    required_argument, NULL, OPT_TIMEOUT},    \
    {"help",       no_argument,       NULL, OPT_HELP},       \
    {"version",    no_argument,       NULL, OPT_VERSION}

#define TLS_HELP                                                                          \
    "  --ca FILE              trust these CAs instead of the system's (PEM; repeatable)\n" \
    "  --cert FILE            our certificate and its chain (PEM; repeatable) ...\n"       \
    "  --key FILE             ... and its private key, after its --cert\n"                 \
    "  --alpn LIST            application protocols, \"h2,http/1.1\"\n"                    \
    "  --tls-min 1.2|1.3      oldest version that will do (1.2)\n"                         \
    "  --ciphers LIST         TLS 1.2 suites (ECDHE with AEAD)\n"                          \
    "  --tls KEY=VALUE        any key of docs/tls.md: verify=chain, pkcs12=FILE, ...\n"

#define CLIENT_HELP                                                                       \
    TLS_HELP                                                                              \
    "  --insecure             do not verify the peer\n"                                   \
    "  --name NAME            who the peer must prove to be (the URI's host)\n"           \
    "  --connect-to ENDPOINT  dial there; the URI's host is still what is verified\n"     \
    "  --via PROXY,...        go through socks5://, http:// or https://[USER:PASS@]HOST:PORT,\n" \
    "                         the first first; \"env\": as http_proxy, ... say\n"             \
    "  --param KEY=VALUE      any key of docs/transports.md: prefer_local=1 (repeatable)\n"   \
    "  --rule PATTERN=URI     dial there for HOST, *.DOMAIN or * (repeatable)\n"          \
    "  --rules FILE           ... a rule a line (repeatable)\n"                           \
    "  --server ADDR[:PORT]   ask this DNS server (repeatable)\n"                         \
    "  --trust-ad             believe it when it says that DNSSEC vouches for an answer\n"        \
    "  --system               ask the system's resolver (getaddrinfo)\n"                  \
    "  -4, -6                 IPv4 or IPv6 only\n"                                        \
    "  --timeout SECONDS      give up resolving and connecting after that\n"              \
    "  --help, --version\n"

#define CODES_HELP                                                                        \
    "Exit codes: 0 fine, 1 no such name, 2 usage or malformed URI, 3 resolving failed\n"  \
    "for now (timeout, SERVFAIL), 4 not connected or broken off, 5 TLS or verification\n" \
    "failed.\n"
/* clang-format on */

/* First thing in main(): a broken pipe is an error and not the end, and descriptors 0 to 2 are
 * taken. */
void start_program(char **argv);

/* Heed option `c`, one of CLIENT_OPTIONS, '4', '6' or '?'. CODE_OK, or what to exit with: the
 * mistake has been printed. */
int client_option(struct client *client, int c, const char *value);
/* A context as the options say, rules included. NULL: why has been printed, and *code is what to
 * exit with. */
conduit_ctx *client_ctx(const struct client *client, int *code);
void client_free(struct client *client);

int exit_code(const conduit_error *error);
/* One line on standard error, one more for each attempt if there were several. Returns
 * exit_code(error). */
int report(const conduit_error *error);
/* "PROGRAM: ..." and a hint at --help. Returns CODE_USAGE. */
int usage_error(const char *format, ...) CONDUIT_PRINTF(1, 2);
/* For --help and --version: print `text` on standard output, with a newline if it lacks one.
 * Returns CODE_OK. */
int tell(const char *text);
/* "PROGRAM: WHAT: strerror" for something of this machine's. Returns CODE_CONNECT. */
int failure(const char *what, int number);
/* Print text that a peer or a user may have had a hand in: control and non-ASCII bytes as %XX. */
void put_clean(FILE *stream, const char *text);

#endif
