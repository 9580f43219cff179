/* SPDX-License-Identifier: ISC */
/*
 * What a connection can tell of itself: conduit_conn_info(), gathered from its layers when it is
 * first asked for, so that who does not ask does not pay.
 */
#include "connection.h"
#include "endpoint.h"
#include <conduit/memory.h>
#include <stdio.h>
#include <string.h>

struct cdt_conn_info {
    conduit_info info;
    conduit_tls_info tls;
    struct cdt_facts facts;
};

void cdt_conn_info_free(struct cdt_conn_info *info)
{
    if (info != NULL)
        conduit_free(info->facts.tls_chain);
    conduit_free(info);
}

/* Who was told of by a proxy is the peer, and the proxy is whom the transport sees. */
static void describe(const struct cdt_path *path, struct cdt_facts *facts)
{
    facts->peer_pid = facts->peer_uid = facts->peer_gid = -1;
    facts->wants_chain = true;
    cdt_endpoint_stack(path->endpoint, facts->stack, sizeof(facts->stack));
    cdt_layer_describe(path->top, facts);
    if (path->peer == NULL)
        return;
    memcpy(facts->via, facts->peer, sizeof(facts->via));
    snprintf(facts->peer, sizeof(facts->peer), "%s", path->peer);
}

static double between_ms(uint64_t from_ns, uint64_t to_ns)
{
    return to_ns > from_ns ? (double)(to_ns - from_ns) / 1e6 : 0;
}

static struct cdt_conn_info *make_info(const struct conduit_conn *conn)
{
    struct cdt_conn_info *made = conduit_calloc(1, sizeof(*made));
    if (made == NULL)
        return NULL;
    struct cdt_facts *facts = &made->facts;
    describe(conn->path, facts);
    made->tls = (conduit_tls_info){
        .version = facts->tls_version,
        .cipher = facts->tls_cipher,
        .alpn = facts->tls_alpn,
        .name = facts->tls_name,
        .peer = facts->tls_peer,
        .verify = facts->tls_verify,
        .resumed = facts->tls_resumed,
        .early = facts->tls_early,
        .peer_names = facts->tls_peer_names,
        .fingerprint = facts->tls_fingerprint,
        .chain = facts->tls_chain != NULL ? facts->tls_chain : "",
        .ocsp = facts->tls_ocsp,
    };
    made->info = (conduit_info){
        .uri = conn->uri != NULL ? conn->uri : conduit_endpoint_uri(conn->accepted_at),
        .endpoint = conduit_endpoint_uri(conn->path->endpoint),
        .peer = facts->peer,
        .local = facts->local,
        .stack = facts->stack,
        .tls = facts->has_tls ? &made->tls : NULL,
        .failed = conn->failed,
        .resolve_ms = conn->resolve_ms,
        .dial_ms = conn->reused ? 0 : between_ms(conn->path->begun_ns, conn->path->connected_ns),
        .handshake_ms =
            conn->reused ? 0 : between_ms(conn->path->connected_ns, conn->path->opened_ns),
        .open_ms = conn->open_ms,
        .peer_pid = facts->peer_pid,
        .peer_uid = facts->peer_uid,
        .peer_gid = facts->peer_gid,
        .via = facts->via,
    };
    return made;
}

const conduit_info *conduit_conn_info(conduit_conn *conn)
{
    if (conn->path == NULL)
        return NULL;
    if (conn->info != NULL &&
        conn->info->info.endpoint != cdt_conn_where(conn)) { /* TLS has begun */
        cdt_conn_info_free(conn->info);
        conn->info = NULL;
    }
    if (conn->info == NULL)
        conn->info = make_info(conn);
    if (conn->info == NULL)
        return NULL;
    conn->info->info.bytes_in = conn->bytes_in;
    conn->info->info.bytes_out = conn->bytes_out;
    return &conn->info->info;
}
