/* SPDX-License-Identifier: ISC */
/*
 * HTTP/2, the client's side: each call is a stream, and nghttp2 keeps those back that the server
 * has no room for yet. A server that goes away (GOAWAY) says which streams it has looked at; the
 * others begin again elsewhere.
 */
#include "link.h"
#include <nghttp2/nghttp2.h>
#include <stdlib.h>
#include <string.h>

enum {
    WINDOW = 1024 * 1024,       /* of a stream, and of the connection: bytes on their way to us */
    FRAME_MAX = 16 * 1024 + 256 /* with its head */
};

struct client2 {
    struct http_link *link;
    nghttp2_session *session;
    struct http_head head; /* of the answer that is coming in: one at a time, says the protocol */
    bool within;           /* a call of nghttp2, which must not be called again from there */
};

static struct http_call *find(nghttp2_session *session, int32_t id)
{
    return nghttp2_session_get_stream_user_data(session, id);
}

/* ---- out ---- */

/* What nghttp2 has to say, many frames in one write. Returns how many bytes, or its error. */
static ssize_t gather(struct client2 *h2, char *buf, size_t size)
{
    size_t n = 0;
    ssize_t got = 1;
    const uint8_t *data;
    h2->within = true;
    while (size - n >= FRAME_MAX && (got = nghttp2_session_mem_send(h2->session, &data)) > 0) {
        memcpy(buf + n, data, (size_t)got);
        n += (size_t)got;
    }
    h2->within = false;
    return got < 0 ? got : (ssize_t)n;
}

static void write2(void *state)
{
    struct client2 *h2 = state;
    struct http_link *link = h2->link;
    char buf[2 * FRAME_MAX];
    ssize_t n = 1;
    if (h2->within)
        return;
    while (n > 0 && !link->congested && !link->closing) {
        n = gather(h2, buf, sizeof(buf));
        if (n > 0)
            http_link_write(link, buf, (size_t)n);
    }
    if (n < 0)
        http_link_fail(link, nghttp2_strerror((int)n));
    else if (!nghttp2_session_want_read(h2->session) && !nghttp2_session_want_write(h2->session))
        http_link_close(link, false);
}

static ssize_t next_bytes(nghttp2_session *session, int32_t id, uint8_t *buf, size_t length,
                          uint32_t *flags, nghttp2_data_source *source, void *user)
{
    struct http_call *call = source->ptr;
    call->started = true;
    ssize_t n = http_body_read(&call->body, (char *)buf, length);
    if (n < 0) {
        call->what = "the body of the request cannot be read";
        return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE;
    }
    if (http_body_is_over(&call->body))
        *flags |= NGHTTP2_DATA_FLAG_EOF;
    return n;
}

static nghttp2_nv pair(const char *name, const char *value)
{
    return (nghttp2_nv){.name = (uint8_t *)(uintptr_t)name,
                        .value = (uint8_t *)(uintptr_t)value,
                        .namelen = strlen(name),
                        .valuelen = strlen(value)};
}

static bool submit2(void *state, struct http_call *call)
{
    struct client2 *h2 = state;
    const struct http_head *head = &call->request;
    const nghttp2_data_provider body = {.source.ptr = call, .read_callback = next_bytes};
    nghttp2_nv pairs[HTTP_FIELDS_MAX + 4];
    size_t n = 0;
    pairs[n++] = pair(":method", http_head_at(head, head->method));
    pairs[n++] = pair(":scheme", http_head_at(head, head->scheme));
    pairs[n++] = pair(":authority", http_head_at(head, head->authority));
    pairs[n++] = pair(":path", http_head_at(head, head->target));
    for (unsigned i = 0; i < head->n_fields; i++)
        pairs[n++] = pair(http_head_name(head, i), http_head_value(head, i));
    call->stream =
        nghttp2_submit_request(h2->session, NULL, pairs, n, call->has_body ? &body : NULL, call);
    write2(h2);
    return call->stream > 0;
}

/* ---- in ---- */

static int on_begin_headers(nghttp2_session *session, const nghttp2_frame *frame, void *user)
{
    http_head_clear(&((struct client2 *)user)->head);
    return 0;
}

static int on_header(nghttp2_session *session, const nghttp2_frame *frame, const uint8_t *name,
                     size_t n_name, const uint8_t *value, size_t n_value, uint8_t flags, void *user)
{
    struct client2 *h2 = user;
    struct http_call *call = find(session, frame->hd.stream_id);
    if (strcmp((const char *)name, ":status") == 0)
        h2->head.status = atoi((const char *)value);
    else
        http_head_add_n(&h2->head, (const char *)name, n_name, (const char *)value, n_value);
    if (!h2->head.overflow || call == NULL)
        return 0;
    call->what = "the head of the answer is too large";
    return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE;
}

static void give_up(nghttp2_session *session, const struct http_call *call)
{
    nghttp2_submit_rst_stream(session, NGHTTP2_FLAG_NONE, call->stream, NGHTTP2_CANCEL);
}

/* Neither what is before the answer (1xx) nor what is after it (a trailer). */
static bool is_answer(const struct client2 *h2, const nghttp2_frame *frame)
{
    return frame->hd.type == NGHTTP2_HEADERS && h2->head.status >= 200;
}

static int on_frame(nghttp2_session *session, const nghttp2_frame *frame, void *user)
{
    struct client2 *h2 = user;
    struct http_call *call = find(session, frame->hd.stream_id);
    if (frame->hd.type == NGHTTP2_GOAWAY)
        conduit_pool_share(h2->link->conn, false);
    if (call == NULL)
        return 0;
    if (is_answer(h2, frame) && !http_call_head(call, &h2->head))
        give_up(session, call);
    bool of_answer = frame->hd.type == NGHTTP2_HEADERS || frame->hd.type == NGHTTP2_DATA;
    if (of_answer && (frame->hd.flags & NGHTTP2_FLAG_END_STREAM) != 0)
        call->complete = true;
    return 0;
}

static int on_chunk(nghttp2_session *session, uint8_t flags, int32_t id, const uint8_t *data,
                    size_t n, void *user)
{
    struct http_call *call = find(session, id);
    if (call != NULL && !call->stopped && !http_call_data(call, (const char *)data, n))
        give_up(session, call);
    return 0;
}

static int on_stream_close(nghttp2_session *session, int32_t id, uint32_t code, void *user)
{
    struct http_call *call = find(session, id);
    if (call == NULL)
        return 0;
    nghttp2_session_set_stream_user_data(session, id, NULL);
    if (code != NGHTTP2_NO_ERROR && call->what == NULL && !call->complete)
        call->what = nghttp2_http2_strerror(code);
    http_call_done(call, code == NGHTTP2_REFUSED_STREAM);
    return 0;
}

static int on_sent(nghttp2_session *session, const nghttp2_frame *frame, void *user)
{
    struct http_call *call =
        frame->hd.type == NGHTTP2_HEADERS ? find(session, frame->hd.stream_id) : NULL;
    if (call != NULL)
        call->sent = true;
    return 0;
}

/* A request that nghttp2 could not send: streams have run out, or the server goes away. */
static int on_unsent(nghttp2_session *session, const nghttp2_frame *frame, int code, void *user)
{
    struct http_call *call =
        frame->hd.type == NGHTTP2_HEADERS ? find(session, frame->hd.stream_id) : NULL;
    if (call == NULL)
        return 0;
    nghttp2_session_set_stream_user_data(session, frame->hd.stream_id, NULL);
    http_call_done(call, true);
    return 0;
}

static void data2(void *state, const char *data, size_t n)
{
    struct client2 *h2 = state;
    h2->within = true;
    ssize_t taken = nghttp2_session_mem_recv(h2->session, (const uint8_t *)data, n);
    h2->within = false;
    write2(h2);
    if (taken < 0)
        http_link_fail(h2->link, nghttp2_strerror((int)taken));
}

/* ---- a link ---- */

static nghttp2_session_callbacks *new_callbacks(void)
{
    nghttp2_session_callbacks *callbacks;
    if (nghttp2_session_callbacks_new(&callbacks) != 0)
        return NULL;
    nghttp2_session_callbacks_set_on_begin_headers_callback(callbacks, on_begin_headers);
    nghttp2_session_callbacks_set_on_header_callback(callbacks, on_header);
    nghttp2_session_callbacks_set_on_data_chunk_recv_callback(callbacks, on_chunk);
    nghttp2_session_callbacks_set_on_frame_recv_callback(callbacks, on_frame);
    nghttp2_session_callbacks_set_on_frame_send_callback(callbacks, on_sent);
    nghttp2_session_callbacks_set_on_frame_not_send_callback(callbacks, on_unsent);
    nghttp2_session_callbacks_set_on_stream_close_callback(callbacks, on_stream_close);
    return callbacks;
}

static bool begin(struct client2 *h2)
{
    const nghttp2_settings_entry settings[] = {
        {NGHTTP2_SETTINGS_ENABLE_PUSH, 0},
        {NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, WINDOW},
        {NGHTTP2_SETTINGS_MAX_HEADER_LIST_SIZE, HTTP_HEAD_MAX},
    };
    nghttp2_session_callbacks *callbacks = new_callbacks();
    bool begun = callbacks != NULL && nghttp2_session_client_new(&h2->session, callbacks, h2) == 0;
    nghttp2_session_callbacks_del(callbacks);
    return begun &&
           nghttp2_submit_settings(h2->session, NGHTTP2_FLAG_NONE, settings,
                                   sizeof(settings) / sizeof(settings[0])) == 0 &&
           nghttp2_session_set_local_window_size(h2->session, NGHTTP2_FLAG_NONE, 0, WINDOW) == 0;
}

static void close2(void *state)
{
    struct client2 *h2 = state;
    nghttp2_session_del(h2->session);
    http_head_done(&h2->head);
    free(h2);
}

static void *open2(struct http_link *link)
{
    struct client2 *h2 = calloc(1, sizeof(*h2));
    if (h2 == NULL)
        return NULL;
    h2->link = link;
    if (begin(h2))
        return h2;
    close2(h2);
    return NULL;
}

/* The calls that are left end with the link. */
static void end2(void *state) {}

const struct http_link_protocol http_client2 = {
    .version = "HTTP/2",
    .open = open2,
    .submit = submit2,
    .data = data2,
    .write = write2,
    .end = end2,
    .close = close2,
};
