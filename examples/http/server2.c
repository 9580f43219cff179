/* SPDX-License-Identifier: ISC */
/*
 * HTTP/2, the server's side (RFC 9113): nghttp2 knows the frames, the streams and the windows, and
 * what a client may not do; here requests come out of it and answers go in. A stream lives from its
 * first header to on_stream_close, or as long as the connection. Bodies are read straight into the
 * server's buffer, one frame at a time, as windows and the connection's queue have room.
 */
#include "serve.h"
#include <nghttp2/nghttp2.h>
#include <stdlib.h>
#include <string.h>

struct stream {
    struct stream *prev, *next;
    struct server2 *h2;
    struct http_exchange x;
    struct http_head head;
    char *body_in;
    int32_t id;
    int wrong; /* the status that says what is: the request is answered as soon as possible */
    bool answered;
    bool heard; /* all of the request is there */
};

struct server2 {
    struct http_conn *conn;
    nghttp2_session *session;
    struct stream *streams;
    bool ended; /* the client has no more to say */
};

enum { MOST_SPARE = 512 };

/* ---- streams ---- */

/* A stream that is over makes room for the next one, with the buffers of its heads. */
static struct stream *make_stream(struct server2 *h2)
{
    struct http_server *server = h2->conn->server;
    struct stream *stream = server->spare;
    if (stream == NULL)
        return calloc(1, sizeof(*stream));
    server->spare = stream->next;
    server->n_spare--;
    stream->prev = stream->next = NULL;
    stream->wrong = 0;
    stream->answered = stream->heard = false;
    stream->x.failed = false;
    stream->x.sent = stream->x.length = 0;
    stream->x.n_body_in = 0;
    return stream;
}

static struct stream *new_stream(struct server2 *h2, int32_t id)
{
    struct stream *stream = make_stream(h2);
    if (stream == NULL)
        return NULL;
    stream->h2 = h2;
    stream->id = id;
    stream->next = h2->streams;
    if (stream->next != NULL)
        stream->next->prev = stream;
    h2->streams = stream;
    return stream;
}

static void discard(struct stream *stream)
{
    http_head_done(&stream->x.response);
    http_head_done(&stream->head);
    free(stream);
}

static void keep(struct stream *stream)
{
    struct http_server *server = stream->h2->conn->server;
    http_head_clear(&stream->x.response);
    http_head_clear(&stream->head);
    stream->next = server->spare;
    server->spare = stream;
    server->n_spare++;
}

static void free_stream(struct stream *stream)
{
    if (stream->next != NULL)
        stream->next->prev = stream->prev;
    if (stream->prev != NULL)
        stream->prev->next = stream->next;
    else
        stream->h2->streams = stream->next;
    if (stream->answered) {
        stream->x.failed |= stream->x.sent < stream->x.length;
        http_exchange_done(&stream->x);
    }
    free(stream->body_in);
    stream->body_in = NULL;
    if (stream->h2->conn->server->n_spare < MOST_SPARE)
        keep(stream);
    else
        discard(stream);
}

void http_server2_done(struct http_server *server)
{
    struct stream *next;
    for (struct stream *stream = server->spare; stream != NULL; stream = next) {
        next = stream->next;
        discard(stream);
    }
}

static struct stream *find(nghttp2_session *session, int32_t id)
{
    return nghttp2_session_get_stream_user_data(session, id);
}

/* ---- answers ---- */

/* How long the next frame is: its bytes are asked for later, by send_data(). Those of a stream are
 * not known before they are read. */
static ssize_t next_frame(nghttp2_session *session, int32_t id, uint8_t *buf, size_t length,
                          uint32_t *flags, nghttp2_data_source *source, void *user)
{
    struct stream *stream = source->ptr;
    struct http_body *body = &stream->x.body;
    if (body->stream) {
        ssize_t n = http_body_read(body, (char *)buf, length);
        *flags |= n == 0 ? NGHTTP2_DATA_FLAG_EOF : 0;
        stream->x.sent += n > 0 ? (uint64_t)n : 0;
        return n >= 0 ? n : NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE;
    }
    size_t n = length < body->left ? length : (size_t)body->left;
    *flags |= NGHTTP2_DATA_FLAG_NO_COPY;
    if (n == body->left)
        *flags |= NGHTTP2_DATA_FLAG_EOF;
    return (ssize_t)n;
}

static bool read_exactly(struct http_body *body, char *buf, size_t n)
{
    while (n > 0) {
        ssize_t got = http_body_read(body, buf, n);
        if (got <= 0)
            return false;
        buf += got;
        n -= (size_t)got;
    }
    return true;
}

static int send_data(nghttp2_session *session, nghttp2_frame *frame, const uint8_t *head,
                     size_t length, nghttp2_data_source *source, void *user)
{
    enum { FRAME_HEAD = 9 };
    struct stream *stream = source->ptr;
    struct http_conn *conn = stream->h2->conn;
    size_t room;
    if (!http_may_write(conn))
        return NGHTTP2_ERR_WOULDBLOCK;
    char *at = http_room(conn, FRAME_HEAD + length, &room);
    if (at == NULL)
        return NGHTTP2_ERR_CALLBACK_FAILURE;
    memcpy(at, head, FRAME_HEAD);
    if (!read_exactly(&stream->x.body, at + FRAME_HEAD, length))
        return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE; /* the stream is reset, the rest goes on */
    http_wrote(conn, FRAME_HEAD + length);
    stream->x.sent += length;
    return 0;
}

static nghttp2_nv pair(const char *name, const char *value)
{
    return (nghttp2_nv){.name = (uint8_t *)(uintptr_t)name,
                        .value = (uint8_t *)(uintptr_t)value,
                        .namelen = strlen(name),
                        .valuelen = strlen(value)};
}

static int submit(struct stream *stream)
{
    const struct http_head *response = &stream->x.response;
    const nghttp2_data_provider body = {.source.ptr = stream, .read_callback = next_frame};
    nghttp2_nv pairs[HTTP_FIELDS_MAX + 1];
    const char status[] = {(char)('0' + response->status / 100 % 10),
                           (char)('0' + response->status / 10 % 10),
                           (char)('0' + response->status % 10), '\0'};
    size_t n = 0;
    pairs[n++] = pair(":status", status);
    for (unsigned i = 0; i < response->n_fields; i++, n++) {
        pairs[n] = pair(http_head_name(response, i), http_head_value(response, i));
        pairs[n].flags = NGHTTP2_NV_FLAG_NO_COPY_NAME | NGHTTP2_NV_FLAG_NO_COPY_VALUE;
    }
    return nghttp2_submit_response(stream->h2->session, stream->id, pairs, n,
                                   http_body_is_over(&stream->x.body) ? NULL : &body);
}

static int answer(struct stream *stream)
{
    stream->answered = true;
    stream->x.request = &stream->head;
    stream->x.body_in = stream->body_in;
    if (stream->wrong == 431)
        http_answer(&stream->x, 431, "the head is too large");
    else if (stream->wrong != 0)
        http_answer(&stream->x, stream->wrong, "the body is too large");
    http_exchange_answer(stream->h2->conn, &stream->x, "HTTP/2");
    return submit(stream) == 0 ? 0 : NGHTTP2_ERR_CALLBACK_FAILURE;
}

/* ---- requests ---- */

static int on_begin_headers(nghttp2_session *session, const nghttp2_frame *frame, void *user)
{
    if (frame->hd.type != NGHTTP2_HEADERS || frame->headers.cat != NGHTTP2_HCAT_REQUEST)
        return 0;
    struct stream *stream = new_stream(user, frame->hd.stream_id);
    if (stream == NULL)
        return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE;
    nghttp2_session_set_stream_user_data(session, stream->id, stream);
    return 0;
}

static uint32_t *pseudo_field(struct http_head *head, const char *name)
{
    if (strcmp(name, ":method") == 0)
        return &head->method;
    if (strcmp(name, ":scheme") == 0)
        return &head->scheme;
    return strcmp(name, ":authority") == 0 ? &head->authority : &head->target;
}

/* What is in a trailer nobody here asked for. */
static int on_header(nghttp2_session *session, const nghttp2_frame *frame, const uint8_t *name,
                     size_t n_name, const uint8_t *value, size_t n_value, uint8_t flags, void *user)
{
    struct stream *stream = find(session, frame->hd.stream_id);
    if (stream == NULL || frame->headers.cat != NGHTTP2_HCAT_REQUEST || stream->wrong != 0)
        return 0;
    struct http_head *head = &stream->head;
    if (*name == ':')
        *pseudo_field(head, (const char *)name) = http_head_put(head, (const char *)value, n_value);
    else
        http_head_add_n(head, (const char *)name, n_name, (const char *)value, n_value);
    if (head->overflow)
        stream->wrong = 431;
    return 0;
}

static int on_chunk(nghttp2_session *session, uint8_t flags, int32_t id, const uint8_t *data,
                    size_t n, void *user)
{
    struct stream *stream = find(session, id);
    if (stream == NULL || stream->answered)
        return 0;
    char *body = NULL;
    if (n <= stream->h2->conn->server->options.max_body - stream->x.n_body_in)
        body = realloc(stream->body_in, stream->x.n_body_in + n);
    if (body == NULL) {
        stream->wrong = 413;
        return answer(stream);
    }
    memcpy(body + stream->x.n_body_in, data, n);
    stream->body_in = body;
    stream->x.n_body_in += n;
    return 0;
}

static int on_frame(nghttp2_session *session, const nghttp2_frame *frame, void *user)
{
    bool of_request = frame->hd.type == NGHTTP2_HEADERS || frame->hd.type == NGHTTP2_DATA;
    struct stream *stream = of_request ? find(session, frame->hd.stream_id) : NULL;
    if (stream == NULL)
        return 0;
    stream->heard = (frame->hd.flags & NGHTTP2_FLAG_END_STREAM) != 0;
    bool enough = stream->heard || stream->wrong != 0;
    return enough && !stream->answered ? answer(stream) : 0;
}

/* Who has its answer need not send the rest of its request. */
static int on_sent(nghttp2_session *session, const nghttp2_frame *frame, void *user)
{
    bool ends = (frame->hd.type == NGHTTP2_HEADERS || frame->hd.type == NGHTTP2_DATA) &&
                (frame->hd.flags & NGHTTP2_FLAG_END_STREAM) != 0;
    struct stream *stream = ends ? find(session, frame->hd.stream_id) : NULL;
    if (stream != NULL && !stream->heard)
        nghttp2_submit_rst_stream(session, NGHTTP2_FLAG_NONE, stream->id, NGHTTP2_NO_ERROR);
    return 0;
}

static int on_stream_close(nghttp2_session *session, int32_t id, uint32_t code, void *user)
{
    struct stream *stream = find(session, id);
    if (stream != NULL)
        free_stream(stream);
    return 0;
}

/* ---- a connection ---- */

static void close_if_done(struct server2 *h2)
{
    bool wants = nghttp2_session_want_read(h2->session) || nghttp2_session_want_write(h2->session);
    if (!wants || (h2->ended && h2->streams == NULL))
        http_close(h2->conn);
}

/* What nghttp2 has to say, as long as there is room for it. */
static void write2(void *state)
{
    struct server2 *h2 = state;
    struct http_conn *conn = h2->conn;
    ssize_t n = 1;
    while (n > 0 && http_may_write(conn)) {
        const uint8_t *data;
        size_t room;
        n = nghttp2_session_mem_send(h2->session, &data);
        char *at = n > 0 ? http_room(conn, (size_t)n, &room) : NULL;
        if (at != NULL) {
            memcpy(at, data, (size_t)n);
            http_wrote(conn, (size_t)n);
        }
    }
    if (n < 0)
        http_close(conn);
    else if (!conn->closing && !conn->congested)
        close_if_done(h2);
}

/* A client that breaks the rules: nghttp2 has a GOAWAY for it, which says why. */
static void data2(void *state, const char *data, size_t n)
{
    struct server2 *h2 = state;
    ssize_t taken = nghttp2_session_mem_recv(h2->session, (const uint8_t *)data, n);
    write2(h2);
    if (taken < 0)
        http_close(h2->conn);
}

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
    nghttp2_session_callbacks_set_on_stream_close_callback(callbacks, on_stream_close);
    nghttp2_session_callbacks_set_send_data_callback(callbacks, send_data);
    return callbacks;
}

static bool begin(struct server2 *h2)
{
    const nghttp2_settings_entry settings[] = {
        {NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS, h2->conn->server->options.max_streams},
        {NGHTTP2_SETTINGS_MAX_HEADER_LIST_SIZE, HTTP_HEAD_MAX},
    };
    nghttp2_session_callbacks *callbacks = new_callbacks();
    bool begun = callbacks != NULL && nghttp2_session_server_new(&h2->session, callbacks, h2) == 0;
    nghttp2_session_callbacks_del(callbacks);
    return begun && nghttp2_submit_settings(h2->session, NGHTTP2_FLAG_NONE, settings,
                                            sizeof(settings) / sizeof(settings[0])) == 0;
}

static void close2(void *state)
{
    struct server2 *h2 = state;
    while (h2->streams != NULL)
        free_stream(h2->streams);
    nghttp2_session_del(h2->session);
    free(h2);
}

static void *open2(struct http_conn *conn)
{
    struct server2 *h2 = calloc(1, sizeof(*h2));
    if (h2 == NULL)
        return NULL;
    h2->conn = conn;
    if (begin(h2)) {
        write2(h2);
        return h2;
    }
    close2(h2);
    return NULL;
}

static void end2(void *state)
{
    struct server2 *h2 = state;
    h2->ended = true;
    write2(h2);
}

static void drain2(void *state)
{
    struct server2 *h2 = state;
    nghttp2_submit_goaway(h2->session, NGHTTP2_FLAG_NONE,
                          nghttp2_session_get_last_proc_stream_id(h2->session), NGHTTP2_NO_ERROR,
                          NULL, 0);
    write2(h2);
}

const struct http_protocol http_server2 = {
    .open = open2,
    .data = data2,
    .write = write2,
    .end = end2,
    .drain = drain2,
    .close = close2,
};
