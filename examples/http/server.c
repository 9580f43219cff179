/* SPDX-License-Identifier: ISC */
/* Listeners, connections, turns and the end: server.h. What is spoken is server1.c and
 * server2.c. */
#include "serve.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <time.h>

static const char preface[] = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
enum { PREFACE_TELLS = 4 }; /* "PRI ": no method of HTTP/1 */

static double now_ms(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec * 1e3 + (double)t.tv_nsec / 1e6;
}

/* ---- the buffer ---- */

/* What the connection says to what it was given. */
static bool note(struct http_conn *conn, int taken, size_t n)
{
    conn->turn -= n < conn->turn ? n : conn->turn;
    conn->congested = taken > 0;
    if (taken >= 0)
        return true;
    conn->closing = true;
    if (taken != CONDUIT_ECLOSED)
        conduit_abort(conn->conn); /* a stream with a gap is none */
    return false;
}

bool http_flush(struct http_conn *conn)
{
    struct http_server *server = conn->server;
    size_t n = server->n_out;
    server->n_out = 0;
    return n == 0 || note(conn, conduit_write(conn->conn, server->out, n), n);
}

bool http_send_file(struct http_conn *conn, struct http_body *body)
{
    size_t n = body->left < HTTP_TURN ? (size_t)body->left : HTTP_TURN;
    if (!http_flush(conn) ||
        !note(conn, conduit_write_file(conn->conn, body->file - 1, body->at, n), n))
        return false;
    body->at += n;
    body->left -= n;
    return true;
}

void http_break_off(struct http_conn *conn)
{
    conn->server->n_out = 0;
    conn->closing = true;
    conduit_abort(conn->conn);
}

char *http_room(struct http_conn *conn, size_t n, size_t *room)
{
    struct http_server *server = conn->server;
    if (HTTP_OUT_SIZE - server->n_out < n && !http_flush(conn))
        return NULL;
    *room = HTTP_OUT_SIZE - server->n_out;
    return server->out + server->n_out;
}

void http_wrote(struct http_conn *conn, size_t n)
{
    conn->server->n_out += n;
}

void http_close(struct http_conn *conn)
{
    if (!http_flush(conn) || conn->closing)
        return;
    conn->closing = true;
    conduit_close(conn->conn);
}

/* ---- turns: who has written a lot lets the others go first ---- */

static void give_turn(struct http_conn *conn)
{
    conn->turn = HTTP_TURN;
    if (!conn->closing && conn->protocol != NULL)
        conn->protocol->write(conn->state);
    http_flush(conn);
}

bool http_may_write(struct http_conn *conn)
{
    if (conn->closing || conn->congested)
        return false;
    if (conn->turn > conn->server->n_out)
        return true;
    conduit_wake(conn->conn);
    return false;
}

/* ---- clients that do not keep up, or keep to the rules ---- */

/* Who is late is told; who does not let us, because the queue is full, is not. */
void http_deadline(struct http_conn *conn, uint32_t ms)
{
    if (ms == 0 ? conn->late_ms == 0 : conn->closing)
        return;
    conn->late_ms = ms != 0 ? now_ms() + ms : 0;
    conduit_set_timeout(conn->conn, CONDUIT_TIMEOUT_WAKE, ms);
    conduit_set_timeout(conn->conn, CONDUIT_TIMEOUT_LIFETIME, ms + ms / 4);
}

/* The loop's clock has whole milliseconds, and may be ahead of ours by one. */
static bool is_late(const struct http_conn *conn)
{
    return conn->late_ms != 0 && now_ms() + 2 >= conn->late_ms && !conn->closing;
}

static void end_late(struct http_conn *conn)
{
    http_trouble(conn, "late: what was due did not come, or was not taken");
    http_deadline(conn, 0);
    if (conn->protocol != NULL)
        conn->protocol->late(conn->state);
    http_close(conn);
}

void http_trouble(struct http_conn *conn, const char *what)
{
    const struct http_server_options *options = &conn->server->options;
    if (!conn->told && options->on_trouble != NULL)
        options->on_trouble(conn->conn, what, options->user);
    conn->told = true;
}

/* ---- exchanges ---- */

void http_answer(struct http_exchange *x, int status, const char *text)
{
    char *line;
    int n = asprintf(&line, "%d %s%s%s\n", status, http_reason(status), *text != '\0' ? ": " : "",
                     text);
    http_body_close(&x->body);
    http_head_clear(&x->response);
    x->response.status = status;
    http_head_add(&x->response, "content-type", "text/plain; charset=utf-8");
    if (n >= 0)
        x->body = http_body_owned(line, (size_t)n);
}

bool http_exchange_has_body(const struct http_exchange *x)
{
    int status = x->response.status;
    bool head = strcmp(http_head_at(x->request, x->request->method), "HEAD") == 0;
    return !head && status >= 200 && status != 204 && status != 304;
}

static const char *date_now(struct http_server *server)
{
    struct timespec now;
    clock_gettime(CLOCK_REALTIME_COARSE, &now);
    if (server->date_at != now.tv_sec)
        http_date(server->date, now.tv_sec);
    server->date_at = now.tv_sec;
    return server->date;
}

void http_exchange_begin(struct http_conn *conn, struct http_exchange *x, const char *version,
                         const struct http_head *request)
{
    x->server = conn->server;
    x->conn = conn->conn;
    x->version = version;
    x->request = request;
    x->on_body = NULL;
    x->received = x->sent = x->length = 0;
    x->failed = false;
    if (x->server->options.on_done != NULL)
        x->began_ms = now_ms();
}

void http_exchange_handle(struct http_exchange *x)
{
    x->server->options.handler(x, x->server->options.user);
}

bool http_exchange_take(struct http_exchange *x, const char *data, size_t n)
{
    x->received += n;
    if (x->on_body == NULL)
        return x->received <= HTTP_DISCARD_MAX;
    x->on_body(x, data, n);
    return x->body.fed || x->response.status == 0;
}

void http_feed(struct http_exchange *x, const char *data, size_t n)
{
    if (!x->body.fed)
        return; /* there is none: it was a HEAD */
    x->failed |= !http_body_feed(&x->body, data, n);
    x->fed(x);
}

void http_exchange_answer(struct http_exchange *x)
{
    if (x->response.status == 0)
        http_answer(x, 500, "nobody has answered");
    int status = x->response.status;
    http_head_add(&x->response, "date", date_now(x->server));
    if (!x->body.stream && status != 204 && status != 304)
        http_head_add_number(&x->response, "content-length", x->body.left);
    if (x->response.overflow) {
        http_answer(x, 500, "the head of the answer is too large");
        http_head_add_number(&x->response, "content-length", x->body.left);
    }
    x->length = x->body.left;
    if (!http_exchange_has_body(x)) {
        http_body_close(&x->body);
        x->length = 0;
    }
}

void http_exchange_done(struct http_exchange *x)
{
    struct http_server *server = x->server;
    if (server != NULL && server->options.on_done != NULL)
        server->options.on_done(x, server->options.user);
    http_body_close(&x->body);
    http_head_clear(&x->response);
    x->server = NULL;
    x->mine = NULL;
}

/* ---- connections ---- */

static void enter(struct http_server *server, struct http_conn *conn)
{
    conn->next = server->conns;
    if (conn->next != NULL)
        conn->next->prev = conn;
    server->conns = conn;
}

static void leave(struct http_conn *conn)
{
    if (conn->next != NULL)
        conn->next->prev = conn->prev;
    if (conn->prev != NULL)
        conn->prev->next = conn->next;
    else
        conn->server->conns = conn->next;
}

static void speak(struct http_conn *conn, const struct http_protocol *protocol)
{
    conn->state = protocol->open(conn);
    conn->protocol = conn->state != NULL ? protocol : NULL;
    if (conn->state == NULL) {
        conn->closing = true;
        conduit_abort(conn->conn);
    } else if (conn->server->draining) {
        protocol->drain(conn->state);
    }
}

static void on_open(conduit_conn *c, void *user)
{
    struct http_conn *conn = calloc(1, sizeof(*conn));
    conduit_conn_set_user(c, conn);
    if (conn == NULL) {
        conduit_abort(c);
        return;
    }
    conn->server = user;
    conn->conn = c;
    enter(conn->server, conn);
    const char *alpn = conduit_conn_alpn(c);
    conn->turn = HTTP_TURN;
    if (*alpn != '\0')
        speak(conn, strcmp(alpn, "h2") == 0 ? &http_server2 : &http_server1);
    if (!conn->closing)
        http_flush(conn);
}

/* Nobody has said what is spoken: HTTP/2 begins with words of its own. Returns how many bytes of
 * `data` were looked at; the protocol gets them again, from `preface`. */
static size_t guess(struct http_conn *conn, const char *data, size_t n)
{
    size_t i = 0;
    while (i < n && conn->n_preface < PREFACE_TELLS && data[i] == preface[conn->n_preface]) {
        i++;
        conn->n_preface++;
    }
    if (conn->n_preface < PREFACE_TELLS && i == n) {
        http_deadline(conn, conn->server->options.request_timeout_ms);
        return n;
    }
    speak(conn, conn->n_preface == PREFACE_TELLS ? &http_server2 : &http_server1);
    if (conn->protocol != NULL && conn->n_preface > 0)
        conn->protocol->data(conn->state, preface, conn->n_preface);
    return i;
}

static void on_data(conduit_conn *c, const void *bytes, size_t n, void *user)
{
    struct http_conn *conn = user;
    const char *data = bytes;
    conn->turn = HTTP_TURN;
    size_t seen = conn->protocol == NULL && !conn->closing ? guess(conn, data, n) : 0;
    if (conn->protocol != NULL && !conn->closing && n > seen)
        conn->protocol->data(conn->state, data + seen, n - seen);
    http_flush(conn);
}

static void on_drain(conduit_conn *c, void *user)
{
    struct http_conn *conn = user;
    conn->congested = false;
    if (is_late(conn))
        end_late(conn);
    else
        give_turn(conn);
}

static void on_end(conduit_conn *c, void *user)
{
    struct http_conn *conn = user;
    conn->turn = HTTP_TURN;
    if (conn->protocol != NULL && !conn->closing)
        conn->protocol->end(conn->state);
    else
        http_close(conn);
    http_flush(conn);
}

static void on_close(conduit_conn *c, const conduit_error *why, void *user)
{
    struct http_conn *conn = user;
    if (conn == NULL)
        return;                                       /* there was no memory for it */
    bool due = conn->late_ms != 0 || conn->congested; /* else it was merely idle */
    if (conduit_error_code(why) == CONDUIT_ETIMEDOUT && due)
        http_trouble(conn, conduit_error_text(why));
    if (conn->protocol != NULL)
        conn->protocol->close(conn->state);
    leave(conn);
    free(conn);
}

/* ---- the server ---- */

static const conduit_handler handler = {
    .on_open = on_open,
    .on_data = on_data,
    .on_drain = on_drain,
    .on_end = on_end,
    .on_close = on_close,
};

static uint32_t or_else(uint32_t value, uint32_t otherwise)
{
    return value != 0 ? value : otherwise;
}

struct http_server *http_server_new(conduit_ctx *ctx, const struct http_server_options *options)
{
    struct http_server *server = calloc(1, sizeof(*server));
    if (server == NULL)
        return NULL;
    server->ctx = ctx;
    server->options = *options;
    struct http_server_options *o = &server->options;
    o->request_timeout_ms = or_else(o->request_timeout_ms, 20000);
    o->idle_timeout_ms = or_else(o->idle_timeout_ms, 75000);
    o->write_timeout_ms = or_else(o->write_timeout_ms, 30000);
    o->max_streams = or_else(o->max_streams, 128);
    return server;
}

int http_server_listen(struct http_server *server, const char *uri,
                       const conduit_listen_options *options, conduit_listener **ret)
{
    conduit_listen_options how = options != NULL ? *options : (conduit_listen_options){0};
    how.conn.idle_timeout_ms = server->options.idle_timeout_ms;
    how.conn.write_timeout_ms = server->options.write_timeout_ms;
    return conduit_listen(server->ctx, uri, &how, &handler, server, ret);
}

void http_server_drain(struct http_server *server, uint32_t deadline_ms)
{
    server->draining = true;
    struct http_conn *next;
    for (struct http_conn *conn = server->conns; conn != NULL; conn = next) {
        next = conn->next;
        if (conn->protocol != NULL && !conn->closing) {
            conn->protocol->drain(conn->state);
            http_flush(conn);
        }
    }
    conduit_ctx_drain(server->ctx, deadline_ms);
}

void http_server_free(struct http_server *server)
{
    if (server != NULL)
        http_server2_done(server);
    free(server);
}
