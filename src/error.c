/* SPDX-License-Identifier: ISC */
/*
 * Errors: immutable counted values, with one child per attempt of a race.
 *
 * An error is one allocation: the struct, then its strings. It must be possible to say "out of
 * memory" when there is none, so that one is static and ignores its count.
 */
#include "error.h"
#include <conduit/memory.h>
#include <errno.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

enum { MAX_TEXT = 1024 };

struct conduit_error {
    atomic_uint refs;
    bool fixed;
    conduit_code code;
    conduit_stage stage;
    long number;
    int reason;
    const char *endpoint, *source, *text;
    const conduit_error **children;
    size_t n_children;
};

static const conduit_error no_memory = {
    .fixed = true,
    .code = CONDUIT_ENOMEM,
    .stage = CONDUIT_STAGE_IO,
    .endpoint = "",
    .source = "",
    .text = "out of memory",
};

static char *put(char **at, const char *text)
{
    char *start = *at;
    size_t n = strlen(text) + 1;
    memcpy(start, text, n);
    *at += n;
    return start;
}

static const conduit_error *make(int code, conduit_stage stage, const char *endpoint,
                                 const char *source, long number, const char *text)
{
    conduit_error *error =
        conduit_malloc(sizeof(*error) + strlen(endpoint) + strlen(source) + strlen(text) + 3);
    if (error == NULL)
        return &no_memory;
    *error = (conduit_error){.code = (conduit_code)code, .stage = stage, .number = number};
    atomic_init(&error->refs, 1);
    char *at = (char *)(error + 1);
    error->endpoint = put(&at, endpoint);
    error->source = put(&at, source);
    error->text = put(&at, text);
    return error;
}

const conduit_error *cdt_error_newv(int code, conduit_stage stage, const char *endpoint,
                                    const char *source, long number, const char *format,
                                    va_list args)
{
    char text[MAX_TEXT];
    endpoint = endpoint != NULL ? endpoint : "";
    int n = snprintf(text, sizeof(text), "%s: %s%s", conduit_stage_name(stage), endpoint,
                     *endpoint != '\0' ? ": " : "");
    if (n > 0 && (size_t)n < sizeof(text))
        vsnprintf(text + n, sizeof(text) - (size_t)n, format, args);
    return make(code, stage, endpoint, source != NULL ? source : "", number, text);
}

const conduit_error *cdt_error_new(int code, conduit_stage stage, const char *endpoint,
                                   const char *source, long number, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    const conduit_error *error =
        cdt_error_newv(code, stage, endpoint, source, number, format, args);
    va_end(args);
    return error;
}

int cdt_code_from_errno(int number)
{
    switch (number) {
    case ECONNREFUSED:
    case ENOENT: /* a unix path where nobody is */
        return CONDUIT_EREFUSED;
    case ENETUNREACH:
    case EHOSTUNREACH:
    case ENETDOWN:
    case EHOSTDOWN:
    case EADDRNOTAVAIL:
        return CONDUIT_EUNREACH;
    case EADDRINUSE:
        return CONDUIT_EADDRINUSE;
    case EACCES:
    case EPERM:
        return CONDUIT_EACCESS;
    case ETIMEDOUT:
        return CONDUIT_ETIMEDOUT;
    case ECONNRESET:
    case ECONNABORTED:
    case EPIPE:
        return CONDUIT_ERESET;
    case EMFILE:
    case ENFILE:
    case ENOBUFS:
        return CONDUIT_ELIMIT;
    case ENOMEM:
        return CONDUIT_ENOMEM;
    case EAFNOSUPPORT:
    case EPROTONOSUPPORT:
    case EOPNOTSUPP:
        return CONDUIT_ENOTSUP;
    default:
        return CONDUIT_EIO;
    }
}

/* What a person can do about it, where that is known. */
static const char *advice(int number)
{
    switch (number) {
    case ECONNREFUSED:
        return " (nothing listens there)";
    case EMFILE:
        return " (this process has used up its descriptors: see ulimit -n)";
    case ENFILE:
        return " (the system has used up its descriptors)";
    case EADDRINUSE:
        return " (somebody else listens there)";
    case ENETUNREACH:
        return " (no route: is this network configured here?)";
    default:
        return "";
    }
}

const conduit_error *cdt_error_errno(conduit_stage stage, const char *endpoint, int number,
                                     const char *call)
{
    return cdt_error_new(cdt_code_from_errno(number), stage, endpoint, "errno", number, "%s: %s%s",
                         call, strerror(number), advice(number));
}

/* How much an error tells, among those that got equally far: a peer that is not who it should be
 * more than one that only waited or was given up. */
static int weight(conduit_code code)
{
    switch (code) {
    case CONDUIT_ETRUST:
        return 3;
    case CONDUIT_EUNREACH:
        return 1;
    case CONDUIT_ETIMEDOUT:
    case CONDUIT_ECANCELED:
        return 0;
    default:
        return 2;
    }
}

/* Which of two attempts tells more: the one that got further, whatever came after it. */
static bool outranks(const conduit_error *a, const conduit_error *b)
{
    return a->stage != b->stage ? a->stage > b->stage : weight(a->code) > weight(b->code);
}

/* For what changes in an error: its count, and its reason and children while it is being made. */
static conduit_error *writable(const conduit_error *error)
{
    union {
        const conduit_error *in;
        conduit_error *out;
    } same = {.in = error};
    return same.out;
}

const conduit_error *cdt_error_because(const conduit_error *error, int reason)
{
    if (!error->fixed)
        writable(error)->reason = reason;
    return error;
}

const conduit_error *cdt_error_tree(const conduit_error **children, size_t n)
{
    size_t best = 0;
    for (size_t i = 1; i < n; i++)
        if (outranks(children[i], children[best]))
            best = i;
    const conduit_error *head = children[best];
    char text[MAX_TEXT];
    if (n > 1)
        snprintf(text, sizeof(text), "%s (%zu attempts failed)", head->text, n);
    else
        snprintf(text, sizeof(text), "%s", head->text);
    const conduit_error *made =
        make(head->code, head->stage, head->endpoint, head->source, head->number, text);
    const conduit_error **kept = conduit_malloc(n * sizeof(*kept));
    if (made == &no_memory || kept == NULL) {
        conduit_free(kept);
        for (size_t i = 0; i < n; i++)
            conduit_error_unref(children[i]);
        return made;
    }
    memcpy(kept, children, n * sizeof(*kept));
    conduit_error *tree = writable(made);
    tree->reason = head->reason;
    tree->children = kept;
    tree->n_children = n;
    return tree;
}

int cdt_error_give(const conduit_error *error, const conduit_error **reterr)
{
    int code = conduit_error_code(error);
    if (reterr != NULL)
        *reterr = error;
    else
        conduit_error_unref(error);
    return code;
}

int cdt_error_no_memory(const conduit_error **reterr)
{
    return cdt_error_give(
        cdt_error_new(CONDUIT_ENOMEM, CONDUIT_STAGE_URI, NULL, NULL, 0, "out of memory"), reterr);
}

conduit_code conduit_error_code(const conduit_error *error)
{
    return error != NULL ? error->code : CONDUIT_OK;
}

conduit_stage conduit_error_stage(const conduit_error *error)
{
    return error->stage;
}

const char *conduit_error_endpoint(const conduit_error *error)
{
    return error->endpoint;
}

const char *conduit_error_source(const conduit_error *error)
{
    return error->source;
}

long conduit_error_number(const conduit_error *error)
{
    return error->number;
}

int conduit_error_reason(const conduit_error *error)
{
    return error->reason;
}

const char *conduit_error_text(const conduit_error *error)
{
    return error->text;
}

size_t conduit_error_count(const conduit_error *error)
{
    return error->n_children;
}

const conduit_error *conduit_error_child(const conduit_error *error, size_t i)
{
    return i < error->n_children ? error->children[i] : NULL;
}

const conduit_error *conduit_error_ref(const conduit_error *error)
{
    if (error != NULL && !error->fixed)
        atomic_fetch_add_explicit(&writable(error)->refs, 1, memory_order_relaxed);
    return error;
}

void conduit_error_unref(const conduit_error *error)
{
    if (error == NULL || error->fixed ||
        atomic_fetch_sub_explicit(&writable(error)->refs, 1, memory_order_acq_rel) != 1)
        return;
    for (size_t i = 0; i < error->n_children; i++)
        conduit_error_unref(error->children[i]);
    conduit_free(error->children);
    conduit_free(writable(error));
}

const char *conduit_code_name(int code)
{
    switch (code) {
    case CONDUIT_OK:
        return "OK";
#define CODE_NAME(name, number, text)                                                              \
    case CONDUIT_##name:                                                                           \
        return #name;
        CONDUIT_CODE_MAP(CODE_NAME)
#undef CODE_NAME
    default:
        return "unknown";
    }
}

bool cdt_is_error_code(int code)
{
    switch (code) {
#define CODE_CASE(name, number, text) case CONDUIT_##name:
        CONDUIT_CODE_MAP(CODE_CASE)
#undef CODE_CASE
        return true;
    default:
        return false;
    }
}

const char *conduit_code_text(int code)
{
    switch (code) {
    case CONDUIT_OK:
        return "success";
#define CODE_TEXT(name, number, text)                                                              \
    case CONDUIT_##name:                                                                           \
        return text;
        CONDUIT_CODE_MAP(CODE_TEXT)
#undef CODE_TEXT
    default:
        return "unknown code";
    }
}

const char *conduit_stage_name(conduit_stage stage)
{
    static const char *const names[] = {"?", "uri", "resolve", "dial", "layer", "tls", "io"};
    return stage >= CONDUIT_STAGE_URI && stage <= CONDUIT_STAGE_IO ? names[stage] : names[0];
}
