/* SPDX-License-Identifier: ISC */
/*
 * HTTP/2, the server's side (RFC 9113): nghttp2 knows the frames, the streams and the windows, and
 * what a client may not do; here requests come out of it and answers go in. A stream lives from its
 * first header to on_stream_close, or as long as the connection. Bodies are read straight into the
 * server's buffer, one frame at a time, as windows and the connection's queue have room. What a
 * request brings opens the window again when it has gone where it was to go.
 *
 * A client may keep us busy without asking for anything: frames that lead nowhere are counted until
 * a request has been answered or 16 KiB of a body have come through, and who owes us something, be
 * it the rest of a frame, of a request or a window to answer through, has a deadline for as much.
 */
#include "serve.h"
#include <nghttp2/nghttp2.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct stream {
    struct stream *prev, *next;
    struct server2 *h2;
    struct http_exchange x;
    struct http_head head;
    size_t owed; /* of the window, for what was received */
    int32_t id;
    bool too_large; /* its head: that is all that is wrong with a stream that lives on */
    bool answered;
    bool heard; /* all of the request is there */
};

/* What a client may send in a row without getting anywhere; a reset costs RESET of them. */
enum { MOST_IDLE_FRAMES = 10000, RESET = 10 };
enum { PREFACE = 24, FRAME_HEAD = 9 };

struct server2 {
    struct http_conn *conn;
    nghttp2_session *session;
    struct stream *streams;
    unsigned n_unheard;   /* of the streams: requests that go on */
    unsigned idle_frames; /* since something was done */
    uint64_t moved;       /* bytes of all bodies so far */
    uint64_t due;         /* ... that have to be at the deadline */
    /* Of the frame that is coming in, for nghttp2 does not say that it has half of one: bytes of
     * its head that are there, and of the rest that are not. */
    unsigned n_head;
    size_t n_left;
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
    stream->too_large = stream->answered = stream->heard = false;
    stream->owed = 0;
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
    h2->n_unheard++;
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
    stream->h2->n_unheard -= !stream->heard;
    if (stream->x.server != NULL) {
        stream->x.failed |= !stream->answered || !http_body_is_over(&stream->x.body);
        http_exchange_done(&stream->x);
    }
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

/* ---- what was done, and what is due ---- */

static void note(struct server2 *h2, size_t n)
{
    h2->moved += n;
    if (h2->moved > h2->due)
        h2->idle_frames = 0;
}

static void follow(struct server2 *h2, const char *data, size_t n)
{
    while (n > 0) {
        size_t now = 1;
        if (h2->n_head < 3) {
            h2->n_left = h2->n_left << 8 | (unsigned char)*data;
        } else if (h2->n_head == FRAME_HEAD) {
            now = n < h2->n_left ? n : h2->n_left;
            h2->n_left -= now;
        }
        h2->n_head += h2->n_head < FRAME_HEAD;
        if (h2->n_head == FRAME_HEAD && h2->n_left == 0) {
            h2->n_head = 0;
            h2->idle_frames++;
        }
        data += now;
        n -= now;
    }
}

static void watch(struct server2 *h2)
{
    const struct http_server_options *options = &h2->conn->server->options;
    bool unheard = h2->n_head > 0 || h2->n_unheard > 0;
    if (!unheard && h2->streams == NULL)
        http_deadline(h2->conn, 0);
    else if (h2->conn->late_ms == 0 || h2->moved > h2->due)
        http_deadline(h2->conn, unheard ? options->request_timeout_ms : options->write_timeout_ms);
    else
        return;
    h2->due = h2->moved + HTTP_PROGRESS;
}

/* The window is for as much as is on its way; what waits to be echoed counts. */
static void open_window(struct stream *stream)
{
    size_t owed = stream->owed;
    if (owed == 0 || (stream->x.body.fed && stream->x.body.left > 0))
        return;
    stream->owed = 0;
    nghttp2_session_consume(stream->h2->session, stream->id, owed);
}

/* ---- answers ---- */

/* How long the next frame is: its bytes are asked for later, by send_data(). Those of a stream are
 * not known before they are read. */
static ssize_t next_frame(nghttp2_session *session, int32_t id, uint8_t *buf, size_t length,
                          uint32_t *flags, nghttp2_data_source *source, void *user)
{
    struct stream *stream = source->ptr;
    struct http_body *body = &stream->x.body;
    if (http_body_waits(body))
        return NGHTTP2_ERR_DEFERRED;
    if (body->stream && !body->fed) {
        ssize_t n = http_body_read(body, (char *)buf, length);
        *flags |= n == 0 ? NGHTTP2_DATA_FLAG_EOF : 0;
        stream->x.sent += n > 0 ? (uint64_t)n : 0;
        return n >= 0 ? n : NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE;
    }
    size_t n = length < body->left ? length : (size_t)body->left;
    *flags |= NGHTTP2_DATA_FLAG_NO_COPY;
    if (n == body->left && !body->stream)
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
    note(stream->h2, length);
    open_window(stream);
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
    http_exchange_answer(&stream->x);
    return submit(stream) == 0 ? 0 : NGHTTP2_ERR_CALLBACK_FAILURE;
}

static void on_fed(struct http_exchange *x)
{
    struct stream *stream = (struct stream *)(void *)((char *)x - offsetof(struct stream, x));
    nghttp2_session *session = stream->h2->session;
    if (x->failed)
        nghttp2_submit_rst_stream(session, NGHTTP2_FLAG_NONE, stream->id, NGHTTP2_INTERNAL_ERROR);
    else if (stream->answered)
        nghttp2_session_resume_data(session, stream->id);
}

/* ---- requests ---- */

/* A stream that was passed over is closed; nghttp2 ignores what comes on it, and is to say that it
 * may not (RFC 9113, 5.1.1). Of those that were open it knows the last ones. */
static int on_begin_frame(nghttp2_session *session, const nghttp2_frame_hd *hd, void *user)
{
    if (hd->type != NGHTTP2_HEADERS || hd->stream_id % 2 == 0 ||
        hd->stream_id >= nghttp2_session_get_last_proc_stream_id(session) ||
        nghttp2_session_find_stream(session, hd->stream_id) != NULL)
        return 0;
    return nghttp2_session_terminate_session(session, NGHTTP2_PROTOCOL_ERROR);
}

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
    if (stream == NULL || frame->headers.cat != NGHTTP2_HCAT_REQUEST || stream->too_large)
        return 0;
    struct http_head *head = &stream->head;
    if (*name == ':')
        *pseudo_field(head, (const char *)name) = http_head_put(head, (const char *)value, n_value);
    else
        http_head_add_n(head, (const char *)name, n_name, (const char *)value, n_value);
    stream->too_large |= head->overflow;
    return 0;
}

static int on_chunk(nghttp2_session *session, uint8_t flags, int32_t id, const uint8_t *data,
                    size_t n, void *user)
{
    struct stream *stream = find(session, id);
    if (stream == NULL || (stream->answered && !stream->x.body.fed))
        return nghttp2_session_consume(session, id, n);
    note(user, n);
    stream->owed += n;
    bool wanted = http_exchange_take(&stream->x, (const char *)data, n);
    open_window(stream);
    return wanted || stream->answered ? 0 : answer(stream);
}

/* Who asks before sending a body is told to go on, if anybody wants it; else the answer says it. */
static int invite(struct stream *stream)
{
    nghttp2_nv status = pair(":status", "100");
    return nghttp2_submit_headers(stream->h2->session, NGHTTP2_FLAG_NONE, stream->id, NULL, &status,
                                  1, NULL);
}

static int on_head(struct stream *stream)
{
    struct http_exchange *x = &stream->x;
    http_exchange_begin(stream->h2->conn, x, "HTTP/2", &stream->head);
    x->fed = on_fed;
    if (stream->too_large)
        http_answer(x, 431, "the head is too large");
    else
        http_exchange_handle(x);
    bool asks = http_head_find(&stream->head, "expect") != NULL && !stream->heard;
    bool wanted = x->on_body != NULL && (x->body.fed || x->response.status == 0);
    if (wanted && asks && invite(stream) != 0)
        return NGHTTP2_ERR_CALLBACK_FAILURE;
    return x->body.fed || stream->too_large || (asks && !wanted) ? answer(stream) : 0;
}

static int on_whole(struct stream *stream)
{
    struct http_exchange *x = &stream->x;
    if (x->on_body != NULL && (x->body.fed || x->response.status == 0))
        x->on_body(x, NULL, 0);
    return stream->answered ? 0 : answer(stream);
}

static int on_request(struct stream *stream, const nghttp2_frame *frame)
{
    bool whole = (frame->hd.flags & NGHTTP2_FLAG_END_STREAM) != 0;
    stream->h2->n_unheard -= whole && !stream->heard;
    stream->heard |= whole;
    int failed = stream->x.server == NULL ? on_head(stream) : 0;
    return failed == 0 && whole ? on_whole(stream) : failed;
}

static int on_frame(nghttp2_session *session, const nghttp2_frame *frame, void *user)
{
    struct server2 *h2 = user;
    h2->idle_frames += frame->hd.type == NGHTTP2_RST_STREAM ? RESET : 0;
    bool of_request = frame->hd.type == NGHTTP2_HEADERS || frame->hd.type == NGHTTP2_DATA;
    struct stream *stream = of_request ? find(session, frame->hd.stream_id) : NULL;
    return stream != NULL ? on_request(stream, frame) : 0;
}

/* What nghttp2 has found out about the client. */
static void tell(struct server2 *h2, const nghttp2_goaway *goaway)
{
    char text[200];
    snprintf(text, sizeof(text), "HTTP/2: %s%s%.*s", nghttp2_http2_strerror(goaway->error_code),
             goaway->opaque_data_len > 0 ? ": " : "", (int)goaway->opaque_data_len,
             (const char *)goaway->opaque_data);
    if (goaway->error_code != NGHTTP2_NO_ERROR)
        http_trouble(h2->conn, text);
}

/* Who has its answer need not send the rest of its request. */
static int on_sent(nghttp2_session *session, const nghttp2_frame *frame, void *user)
{
    bool ends = (frame->hd.type == NGHTTP2_HEADERS || frame->hd.type == NGHTTP2_DATA) &&
                (frame->hd.flags & NGHTTP2_FLAG_END_STREAM) != 0;
    struct stream *stream = ends ? find(session, frame->hd.stream_id) : NULL;
    if (frame->hd.type == NGHTTP2_GOAWAY)
        tell(user, &frame->goaway);
    if (stream != NULL && !stream->heard)
        nghttp2_submit_rst_stream(session, NGHTTP2_FLAG_NONE, stream->id, NGHTTP2_NO_ERROR);
    return 0;
}

static int on_stream_close(nghttp2_session *session, int32_t id, uint32_t code, void *user)
{
    struct stream *stream = find(session, id);
    if (stream == NULL)
        return 0;
    if (stream->answered && code == NGHTTP2_NO_ERROR)
        ((struct server2 *)user)->idle_frames = 0;
    if (stream->owed > 0)
        nghttp2_session_consume_connection(session, stream->owed);
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
    watch(h2);
}

/* Nothing that nghttp2 would mind, but too much of it. */
static void calm(struct server2 *h2)
{
    http_trouble(h2->conn, "HTTP/2: frame after frame, and no request that comes to anything");
    nghttp2_session_terminate_session(h2->session, NGHTTP2_ENHANCE_YOUR_CALM);
}

/* A client that breaks the rules: nghttp2 has a GOAWAY for it, which says why. */
static void data2(void *state, const char *data, size_t n)
{
    struct server2 *h2 = state;
    follow(h2, data, n);
    ssize_t taken = nghttp2_session_mem_recv(h2->session, (const uint8_t *)data, n);
    if (taken < 0)
        http_trouble(h2->conn, nghttp2_strerror((int)taken));
    else if (h2->idle_frames >= MOST_IDLE_FRAMES)
        calm(h2);
    write2(h2);
    if (taken < 0)
        http_close(h2->conn);
}

static nghttp2_session_callbacks *new_callbacks(void)
{
    nghttp2_session_callbacks *callbacks;
    if (nghttp2_session_callbacks_new(&callbacks) != 0)
        return NULL;
    nghttp2_session_callbacks_set_on_begin_frame_callback(callbacks, on_begin_frame);
    nghttp2_session_callbacks_set_on_begin_headers_callback(callbacks, on_begin_headers);
    nghttp2_session_callbacks_set_on_header_callback(callbacks, on_header);
    nghttp2_session_callbacks_set_on_data_chunk_recv_callback(callbacks, on_chunk);
    nghttp2_session_callbacks_set_on_frame_recv_callback(callbacks, on_frame);
    nghttp2_session_callbacks_set_on_frame_send_callback(callbacks, on_sent);
    nghttp2_session_callbacks_set_on_stream_close_callback(callbacks, on_stream_close);
    nghttp2_session_callbacks_set_send_data_callback(callbacks, send_data);
    return callbacks;
}

/* Windows open when what came has gone its way, not when it has come. */
static nghttp2_option *new_option(void)
{
    nghttp2_option *option;
    if (nghttp2_option_new(&option) != 0)
        return NULL;
    nghttp2_option_set_no_auto_window_update(option, 1);
    return option;
}

static bool begin(struct server2 *h2)
{
    const nghttp2_settings_entry settings[] = {
        {NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS, h2->conn->server->options.max_streams},
        {NGHTTP2_SETTINGS_MAX_HEADER_LIST_SIZE, HTTP_HEAD_MAX},
    };
    nghttp2_session_callbacks *callbacks = new_callbacks();
    nghttp2_option *option = new_option();
    bool begun = callbacks != NULL && option != NULL &&
                 nghttp2_session_server_new2(&h2->session, callbacks, h2, option) == 0;
    nghttp2_option_del(option);
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
    h2->n_head = FRAME_HEAD;
    h2->n_left = PREFACE;
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

static void late2(void *state)
{
    struct server2 *h2 = state;
    nghttp2_session_terminate_session(h2->session, NGHTTP2_NO_ERROR);
    write2(h2);
}

const struct http_protocol http_server2 = {
    .open = open2,
    .data = data2,
    .write = write2,
    .end = end2,
    .drain = drain2,
    .late = late2,
    .close = close2,
};
