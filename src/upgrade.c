/* SPDX-License-Identifier: ISC */
/* From cleartext to TLS on an open connection: upgrade.h says in which steps. */
#include "upgrade.h"
#include "builtin.h"
#include "connection.h"
#include "error.h"
#include "secure.h"
#include "util.h"
#include <conduit/memory.h>
#include <string.h>

enum { DEFAULT_TIMEOUT_MS = 10000 };

void cdt_upgrade_free(struct cdt_upgrade *upgrade)
{
    if (upgrade == NULL)
        return;
    cdt_opening_leave(&upgrade->opening);
    cdt_queue_clear(&upgrade->later);
    conduit_endpoint_unref(upgrade->endpoint);
    conduit_tls_unref(upgrade->how.tls);
    conduit_free(upgrade);
}

static void on_opened(struct cdt_opening *opening, int code)
{
    struct cdt_upgrade *upgrade = CDT_CONTAINER(opening, struct cdt_upgrade, opening);
    cdt_conn_upgraded(upgrade->conn, code);
}

/* A server has nothing to say between its yes and our hello. What came all the same was meant to be
 * taken for something that TLS protects (CVE-2011-0411). */
static int check_silence(struct conduit_conn *conn)
{
    struct cdt_path *path = conn->path;
    ssize_t n = cdt_layer_read(path->top, conn->ctx->buffer, CDT_BUFFER_SIZE);
    if (n == CONDUIT_EAGAIN)
        return 0;
    if (n == 0)
        return cdt_path_fail(path, CONDUIT_ETRUNCATED, CONDUIT_STAGE_TLS, NULL, 0,
                             "the peer ended the connection instead of going on with TLS");
    if (n < 0)
        return (int)n;
    return cdt_path_fail(path, CONDUIT_ETLS, CONDUIT_STAGE_TLS, NULL, 0,
                         "the peer went on in the clear after it had agreed to TLS");
}

int cdt_upgrade_begin(struct cdt_upgrade *upgrade)
{
    struct cdt_path *path = upgrade->conn->path;
    int code = upgrade->how.server ? 0 : check_silence(upgrade->conn);
    if (code < 0)
        return code;
    conduit_endpoint_unref(path->endpoint);
    path->endpoint = conduit_endpoint_ref(upgrade->endpoint);
    path->stage = CONDUIT_STAGE_TLS;
    code = upgrade->endpoint->layer->push(path, upgrade->endpoint, &upgrade->how);
    if (code < 0)
        return code;
    upgrade->shaking = true;
    return cdt_opening_start(&upgrade->opening, path, upgrade->timeout_ms, on_opened);
}

/* ---- what the user calls ---- */

static bool is_server(const struct conduit_conn *conn, const conduit_upgrade_options *options)
{
    if (options->role == CONDUIT_ROLE_AS_MADE)
        return !conn->dialled;
    return options->role == CONDUIT_ROLE_SERVER;
}

/* The whole endpoint, or NULL and *code. */
static const conduit_endpoint *name_endpoint(const struct conduit_conn *conn, const char *name,
                                             const char *alpn, int *code)
{
    const conduit_uri *uri = NULL;
    *code = CONDUIT_ENOMEM;
    if (name == NULL && conn->uri != NULL && conduit_uri_parse(conn->uri, &uri, NULL) == 0)
        name = conduit_uri_host(uri);
    const conduit_endpoint *made = NULL;
    if (name == NULL || *name == '\0' || *name == '/')
        *code = CONDUIT_EINVAL;
    else
        made = conduit_endpoint_tls(name, alpn, conn->path->endpoint);
    conduit_uri_unref(uri);
    return made;
}

static int prepare(struct cdt_upgrade *upgrade, const conduit_upgrade_options *options)
{
    struct conduit_conn *conn = upgrade->conn;
    const conduit_error *error = NULL;
    bool server = upgrade->how.server = is_server(conn, options);
    conduit_tls *tls = options->tls != NULL ? options->tls : cdt_ctx_tls(conn->ctx);
    if (tls == NULL)
        return cdt_ctx_refuse(conn->ctx, CONDUIT_ENOMEM, "out of memory");
    if (cdt_tls_seal(tls, server, &error) < 0)
        return cdt_ctx_fail(conn->ctx, error);
    int code = CONDUIT_ENOMEM;
    upgrade->how.tls = conduit_tls_ref(tls);
    if (server)
        upgrade->endpoint = conduit_endpoint_tls("", cdt_tls_alpn(tls), conn->path->endpoint);
    else
        upgrade->endpoint = name_endpoint(conn, options->name, cdt_tls_alpn(tls), &code);
    if (upgrade->endpoint != NULL)
        return 0;
    return cdt_ctx_refuse(conn->ctx, code,
                          code == CONDUIT_EINVAL ? "TLS needs to be told whom to verify: a name"
                                                 : "out of memory");
}

static const char *objection(const struct conduit_conn *conn,
                             const conduit_upgrade_options *options)
{
    if (options->unread > 0)
        return "what came in the clear behind the last command must not count under TLS";
    if (conn->state != CDT_OPEN || conn->upgrade != NULL)
        return "only an open connection can begin with TLS, and one time after the other";
    if (conn->ending || conn->peer_ended || conn->broken)
        return "a connection that ends cannot begin with TLS";
    return NULL;
}

int conduit_upgrade(conduit_conn *conn, const conduit_upgrade_options *options)
{
    static const conduit_upgrade_options defaults;
    options = options != NULL ? options : &defaults;
    const char *wrong = objection(conn, options);
    if (wrong != NULL)
        return cdt_ctx_refuse(conn->ctx, CONDUIT_EINVAL, wrong);
    struct cdt_upgrade *upgrade = conduit_calloc(1, sizeof(*upgrade));
    if (upgrade == NULL)
        return cdt_ctx_refuse(conn->ctx, CONDUIT_ENOMEM, "out of memory");
    upgrade->conn = conn;
    upgrade->timeout_ms = options->timeout_ms != 0 ? options->timeout_ms : DEFAULT_TIMEOUT_MS;
    int code = prepare(upgrade, options);
    if (code < 0) {
        cdt_upgrade_free(upgrade);
        return code;
    }
    conn->upgrade = upgrade;
    cdt_defer(conn->ctx, &conn->task);
    return 0;
}
