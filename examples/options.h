/* SPDX-License-Identifier: ISC */
/*
 * The command line of the clients here: how to connect, one URI, and what to say when it fails.
 *
 * A struct options starts as zero and ends with options_done().
 */
#ifndef EXAMPLES_OPTIONS_H
#define EXAMPLES_OPTIONS_H

#include <conduit/conduit.h>

enum { OPTIONS_RULES = 64 };

struct options {
    conduit_ctx_options ctx;
    conduit_connect_options connect;
    struct {
        bool file; /* --rules, and not --rule */
        char *value;
    } rules[OPTIONS_RULES];
    size_t n_rules;
    const char *uri;
    /* For a program with more options, or more than one URI. `letters` is what getopt() calls short
     * options; `read_more` gets what is not known here, and returns as options_read() does. */
    const struct option *more;
    const char *letters;
    int (*read_more)(int c, const char *name);
    bool many;
    char **uris;
    size_t n_uris;
};

/* clang-format off */
#define OPTIONS_HELP                                                                            \
    "  --ca FILE, --cert FILE, --key FILE, --alpn LIST, --tls-min 1.2|1.3, --ciphers LIST,\n"   \
    "  --tls KEY=VALUE        TLS: trust, identity, protocols, all the rest (docs/tls.md)\n"     \
    "  --insecure             do not verify the peer\n"                                         \
    "  --name NAME            who the peer must prove to be (the URI's host)\n"                 \
    "  --connect-to ENDPOINT  dial there; the URI's host is still what is verified\n"           \
    "  --rule PATTERN=URI     dial there for HOST, *.DOMAIN or *; up to 64 of them\n"            \
    "  --rules FILE           ... a rule a line\n"                                              \
    "  --via URI,...          through these proxies: socks5://, http://, https://; or env\n"      \
    "  --server ADDR[:PORT]   ask this DNS server; several are separated by commas\n"           \
    "Exit codes: 0 fine, 1 no such name or as said above, 2 usage or malformed URI, 3 resolving\n" \
    "failed for now, 4 not connected or broken off, 5 TLS or verification failed.\n"
/* clang-format on */

/* First thing in main(): read the command line. Returns -1 to go on, or what to exit with. `help`
 * is for --help. */
int options_read(struct options *options, const char *help, int argc, char **argv);
/* A context as the options say; NULL: why has been printed, and *code is what to exit with. */
conduit_ctx *options_ctx(const struct options *options, int *code);
void options_done(struct options *options);

/* Print why, and return what to exit with. */
int complain(const conduit_error *why);

#endif
