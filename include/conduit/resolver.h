/* SPDX-License-Identifier: ISC */
/*
 * Resolvers: from a name to endpoints, as they come in.
 *
 * Two faces: conduit_resolve() for who wants to know where a URI leads, and `struct
 * conduit_resolver` for who brings a way of finding out. The resolvers in resolvers/ use exactly
 * this interface.
 *
 * The chain. A query goes to the first resolver whose accepts() says yes; if that one passes (done
 * with CONDUIT_PASS), on to the next. A resolver adds transport endpoints; which layers go over
 * them (TLS for https) is the scheme's affair, not the resolver's.
 */
#ifndef CONDUIT_RESOLVER_H
#define CONDUIT_RESOLVER_H

#include <conduit/connection.h>
#include <conduit/scheme.h>

CONDUIT_BEGIN

/* ---- asking ---- */

typedef struct conduit_resolution conduit_resolution;

/* One endpoint that a URI leads to. */
typedef struct conduit_answer {
    const conduit_endpoint *endpoint; /* the whole stack */
    const char *source;               /* the resolver's name: "literal", "hosts", "dns" */
    int32_t ttl;                      /* seconds it may be kept; -1: it has none */
} conduit_answer;

/* The terminal event: `n` answers in the order in which a connect would try them, or why there are
 * none. The answers are valid during the call. */
typedef void (*conduit_resolved_fn)(conduit_resolution *resolution, const conduit_answer *answers,
                                    size_t n, const conduit_error *why, void *user);

/* Where does `uri` lead? The same way as conduit_connect() would find out, rules included; of
 * `options` (may be NULL) it heeds resolve_timeout_ms, family, name, connect_to, prefer_local and
 * tls. Returns 0 (on_done comes once) or a negative code. */
CONDUIT_API int conduit_resolve(conduit_ctx *ctx, const char *uri,
                                const conduit_connect_options *options, conduit_resolved_fn on_done,
                                void *user, conduit_resolution **ret);

/* Stop: on_done is not called; the pointer is invalid. NULL is fine. Not from within on_done, where
 * it is over. */
CONDUIT_API void conduit_resolution_cancel(conduit_resolution *resolution);

/* ---- answering ---- */

typedef struct conduit_query conduit_query;

/* For conduit_query_done(): "not mine after all", the next resolver is asked. */
#define CONDUIT_PASS 1

typedef struct conduit_resolver {
    /* For answers, traces and errors. */
    const char *name;
    /* Answers within start(), from memory: may be asked for listening too, where there is no
     * waiting. */
    bool immediate;
    /* Called once, when the resolver joins a context; may set *state (any memory, passed to all
     * below). Returns 0 or a negative code, which fails conduit_ctx_new(). May be NULL. */
    int (*attach)(conduit_ctx *ctx, const conduit_ctx_options *options, void **state);
    /* Called once, when the context ends and no query is left; handles on the loop are closed here
     * (uv_close), and the state is freed, now or in the last close callback. May be NULL. */
    void (*detach)(void *state);
    /* Is this query for us? Pure and quick. Neither it nor start() may end what asks (a connection,
     * the context). */
    bool (*accepts)(const conduit_query *query, void *state);
    /* Answer: conduit_query_add() any number of times and then conduit_query_done() once, within
     * this call or later. */
    void (*start)(conduit_query *query, void *state);
    /* The answer is no longer wanted: do not touch `query` after this. Not called after done. May
     * be NULL if start() always answers at once. Never called from within start(). */
    void (*cancel)(conduit_query *query, void *state);
    /* Forget what was remembered of names: what is asked next is asked anew. May be NULL. */
    void (*flush)(void *state);
    void *reserved[3]; /* room to grow: keep zero */
} conduit_resolver;

/* What is asked. Strings live as long as the query. */
CONDUIT_API conduit_ctx *conduit_query_ctx(const conduit_query *query);
CONDUIT_API const conduit_uri *conduit_query_uri(const conduit_query *query);
/* The name of the transport below: "tcp", "unix", "inproc", "vchan". */
CONDUIT_API const char *conduit_query_transport(const conduit_query *query);
/* Has the transport numeric addresses (tcp), or paths and names of its own (unix, inproc,
 * vchan)? */
CONDUIT_API bool conduit_query_by_address(const conduit_query *query);
/* The host to look up (a name or numeric address; a path for unix, "name/port" for
 * vchan), never NULL. */
CONDUIT_API const char *conduit_query_host(const conduit_query *query);
/* 0: there is none but what records say. */
CONDUIT_API uint16_t conduit_query_port(const conduit_query *query);
/* Is it the port that the scheme has anyway, or none? */
CONDUIT_API bool conduit_query_at_usual_port(const conduit_query *query);
/* AF_UNSPEC, AF_INET or AF_INET6: only that family is wanted. */
CONDUIT_API int conduit_query_family(const conduit_query *query);
/* Is the answer for binding? Then an empty host is every address of this machine. */
CONDUIT_API bool conduit_query_listening(const conduit_query *query);

/* What to look for beside the addresses of the host, and by what name: the scheme's, "imaps", or
 * what the parameter srv or svcb says; "" if for nothing. */
CONDUIT_API conduit_records conduit_query_records(const conduit_query *query);
CONDUIT_API const char *conduit_query_service(const conduit_query *query);
/* The protocols that TLS will offer, "h2,http/1.1"; "": none. */
CONDUIT_API const char *conduit_query_alpn(const conduit_query *query);

/* Whose TLSA records TLS will go by, "_443._tcp.example.org"; "": nobody's. They have to be
 * authentic, and to be added before anything else. A resolver that knows of none adds none, and TLS
 * then fails. */
CONDUIT_API const char *conduit_query_tlsa(const conduit_query *query);
/* One of them (RFC 6698, section 2.1). */
CONDUIT_API void conduit_query_add_tlsa(conduit_query *query, unsigned usage, unsigned selector,
                                        unsigned type, const void *data, size_t n);

/* An address of the host; the port is set to the query's by the callee. `ttl` as in
 * conduit_answer. */
CONDUIT_API void conduit_query_add_address(conduit_query *query, const struct sockaddr *address,
                                           int32_t ttl);
/* The same at another port: a service's. */
CONDUIT_API void conduit_query_add_address_port(conduit_query *query,
                                                const struct sockaddr *address, uint16_t port,
                                                int32_t ttl);
/* The place that a transport without addresses has: the path, the name. */
CONDUIT_API void conduit_query_add_place(conduit_query *query, const char *place, int32_t ttl);
/* What is added from here on is tried after all that was added with a lower rank. It is 0 at
 * first. */
CONDUIT_API void conduit_query_set_rank(conduit_query *query, int rank);
/* Any transport's endpoint. One with layers is left out: those are the scheme's. Not consumed. */
CONDUIT_API void conduit_query_add(conduit_query *query, const conduit_endpoint *endpoint,
                                   int32_t ttl);
/* No more addresses of `family` will come (while others may): the race need not wait for them. */
CONDUIT_API void conduit_query_settled(conduit_query *query, int family);
/*
 * The end of the answer: 0 (also with nothing added: no such name), CONDUIT_PASS, or a negative
 * code. `source` and `number` are as in conduit_error; `why` is one line for a person, without the
 * host's name; both may be NULL.
 */
CONDUIT_API void conduit_query_done(conduit_query *query, int code, const char *source, long number,
                                    const char *why);
/* Something worth telling who traces; see conduit_trace_fn. */
CONDUIT_API void conduit_query_trace(conduit_query *query, const char *event, const char *format,
                                     ...) CONDUIT_PRINTF(3, 4);
/* Is there anybody to tell? To leave out the work for a text that nobody reads. */
CONDUIT_API bool conduit_query_traced(const conduit_query *query);
/* The resolver's own pointer for this query; NULL at first. */
CONDUIT_API void *conduit_query_data(const conduit_query *query);
CONDUIT_API void conduit_query_set_data(conduit_query *query, void *data);

/* Put a resolver (kept, not copied: it is a constant) before the built-in ones; the last added is
 * asked first. Returns 0 or the code of its attach(). */
CONDUIT_API int conduit_ctx_add_resolver(conduit_ctx *ctx, const conduit_resolver *resolver);

/* Have every resolver forget what it remembers of names, as after a change of network, and the
 * context what it keeps for lookups to come. What is under way goes on. */
CONDUIT_API void conduit_ctx_flush_names(conduit_ctx *ctx);

CONDUIT_END
#endif
