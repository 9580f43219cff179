/* SPDX-License-Identifier: ISC */
/* Heads, dates and bodies: message.h says what they are. */
#include "message.h"
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

/* ---- heads ---- */

enum { FIRST_ROOM = 512, ROOM_KEPT = 2048 }; /* between messages, for there may be many heads */

void http_head_clear(struct http_head *head)
{
    if (head->room > ROOM_KEPT) {
        free(head->text);
        head->text = NULL;
        head->room = 0;
    }
    head->n = 0;
    head->n_fields = 0;
    head->method = head->scheme = head->authority = head->target = 0;
    head->status = 0;
    head->overflow = false;
}

void http_head_done(struct http_head *head)
{
    free(head->text);
    *head = (struct http_head){0};
}

static bool make_room(struct http_head *head, size_t n)
{
    if (n > HTTP_HEAD_MAX || head->n + n > HTTP_HEAD_MAX)
        head->overflow = true;
    if (head->overflow)
        return false;
    if (head->n + n <= head->room)
        return true;
    size_t room = head->room > 0 ? head->room : FIRST_ROOM;
    while (room < head->n + n)
        room *= 2;
    char *text = realloc(head->text, room);
    if (text == NULL) {
        head->overflow = true;
        return false;
    }
    head->text = text;
    head->room = room;
    return true;
}

uint32_t http_head_put(struct http_head *head, const char *text, size_t n)
{
    if (!make_room(head, n + 2))
        return 0;
    if (head->n == 0)
        head->text[head->n++] = '\0';
    size_t at = head->n;
    memcpy(head->text + at, text, n);
    head->text[at + n] = '\0';
    head->n = at + n + 1;
    return (uint32_t)at;
}

bool http_head_more(struct http_head *head, const char *text, size_t n)
{
    if (head->n == 0 || !make_room(head, n))
        return false;
    memcpy(head->text + head->n - 1, text, n);
    head->n += n;
    head->text[head->n - 1] = '\0';
    return true;
}

const char *http_head_at(const struct http_head *head, uint32_t offset)
{
    return head->text != NULL && head->n > 0 ? head->text + offset : "";
}

bool http_head_add_n(struct http_head *head, const char *name, size_t n_name, const char *value,
                     size_t n_value)
{
    if (head->n_fields == HTTP_FIELDS_MAX)
        head->overflow = true;
    uint32_t name_at = http_head_put(head, name, n_name);
    uint32_t value_at = http_head_put(head, value, n_value);
    if (head->overflow)
        return false;
    head->fields[head->n_fields].name = name_at;
    head->fields[head->n_fields++].value = value_at;
    return true;
}

bool http_head_add(struct http_head *head, const char *name, const char *value)
{
    return http_head_add_n(head, name, strlen(name), value, strlen(value));
}

bool http_head_addf(struct http_head *head, const char *name, const char *format, ...)
{
    char value[1024];
    va_list args;
    va_start(args, format);
    int n = vsnprintf(value, sizeof(value), format, args);
    va_end(args);
    if (n < 0 || n >= (int)sizeof(value)) {
        head->overflow = true;
        return false;
    }
    return http_head_add_n(head, name, strlen(name), value, (size_t)n);
}

bool http_head_add_number(struct http_head *head, const char *name, uint64_t value)
{
    char digits[20];
    size_t at = sizeof(digits);
    do
        digits[--at] = (char)('0' + value % 10);
    while ((value /= 10) > 0);
    return http_head_add_n(head, name, strlen(name), digits + at, sizeof(digits) - at);
}

const char *http_head_name(const struct http_head *head, unsigned i)
{
    return http_head_at(head, head->fields[i].name);
}

const char *http_head_value(const struct http_head *head, unsigned i)
{
    return http_head_at(head, head->fields[i].value);
}

const char *http_head_find(const struct http_head *head, const char *name)
{
    for (unsigned i = 0; i < head->n_fields; i++)
        if (strcasecmp(http_head_name(head, i), name) == 0)
            return http_head_value(head, i);
    return NULL;
}

unsigned http_head_count(const struct http_head *head, const char *name)
{
    unsigned n = 0;
    for (unsigned i = 0; i < head->n_fields; i++)
        n += strcasecmp(http_head_name(head, i), name) == 0;
    return n;
}

bool http_is_name(const char *text)
{
    static const char token[] = "!#$%&'*+-.^_`|~0123456789"
                                "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ";
    return *text != '\0' && text[strspn(text, token)] == '\0';
}

bool http_is_value(const char *text)
{
    for (const unsigned char *c = (const unsigned char *)text; *c != '\0'; c++)
        if ((*c < ' ' && *c != '\t') || *c == 0x7f)
            return false;
    return true;
}

const char *http_reason(int status)
{
    static const struct {
        int status;
        const char *reason;
    } rows[] = {
        {100, "Continue"},
        {200, "OK"},
        {204, "No Content"},
        {206, "Partial Content"},
        {301, "Moved Permanently"},
        {302, "Found"},
        {303, "See Other"},
        {304, "Not Modified"},
        {307, "Temporary Redirect"},
        {308, "Permanent Redirect"},
        {400, "Bad Request"},
        {403, "Forbidden"},
        {404, "Not Found"},
        {405, "Method Not Allowed"},
        {408, "Request Timeout"},
        {412, "Precondition Failed"},
        {413, "Content Too Large"},
        {414, "URI Too Long"},
        {416, "Range Not Satisfiable"},
        {417, "Expectation Failed"},
        {431, "Request Header Fields Too Large"},
        {500, "Internal Server Error"},
        {501, "Not Implemented"},
        {503, "Service Unavailable"},
        {505, "HTTP Version Not Supported"},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
        if (rows[i].status == status)
            return rows[i].reason;
    return "";
}

/* ---- dates: not strftime(), whose words depend on the locale ---- */

static const char days[] = "SunMonTueWedThuFriSat";
static const char months[] = "JanFebMarAprMayJunJulAugSepOctNovDec";

void http_date(char buf[HTTP_DATE_SIZE], time_t when)
{
    struct tm tm;
    if (gmtime_r(&when, &tm) == NULL || tm.tm_year > 9999 - 1900)
        tm = (struct tm){.tm_mday = 1, .tm_year = 70, .tm_wday = 4};
    snprintf(buf, HTTP_DATE_SIZE, "%.3s, %02u %.3s %04u %02u:%02u:%02u GMT",
             days + 3 * (unsigned)tm.tm_wday, (unsigned)tm.tm_mday % 100,
             months + 3 * (unsigned)tm.tm_mon, (unsigned)(tm.tm_year + 1900) % 10000,
             (unsigned)tm.tm_hour % 100, (unsigned)tm.tm_min % 100, (unsigned)tm.tm_sec % 100);
}

time_t http_date_parse(const char *text)
{
    struct tm tm = {0};
    char month[4];
    int end = 0;
    if (sscanf(text, "%*3[A-Za-z], %2d %3[A-Za-z] %4d %2d:%2d:%2d GMT%n", &tm.tm_mday, month,
               &tm.tm_year, &tm.tm_hour, &tm.tm_min, &tm.tm_sec, &end) != 6 ||
        end == 0 || text[end] != '\0')
        return -1;
    const char *found = strstr(months, month);
    if (found == NULL || (found - months) % 3 != 0 || strlen(month) != 3)
        return -1;
    tm.tm_mon = (int)(found - months) / 3;
    tm.tm_year -= 1900;
    return timegm(&tm);
}

/* ---- bodies ---- */

struct http_body http_body_static(const char *bytes, size_t n)
{
    return (struct http_body){.bytes = bytes, .left = n};
}

struct http_body http_body_owned(char *bytes, size_t n)
{
    return http_body_lent(bytes, n, free, bytes);
}

struct http_body http_body_lent(const char *bytes, size_t n, void (*release)(void *), void *held)
{
    return (struct http_body){.bytes = bytes, .release = release, .held = held, .left = n};
}

struct http_body http_body_file(int fd, uint64_t at, uint64_t n)
{
    return (struct http_body){.file = fd + 1, .at = at, .left = n};
}

struct http_body http_body_pipe(int fd)
{
    return (struct http_body){.file = fd + 1, .stream = true};
}

struct http_body http_body_fed(void)
{
    return (struct http_body){.stream = true, .fed = true, .release = free};
}

/* What is left goes to the front, so that the buffer is no larger than what waits in it. */
bool http_body_feed(struct http_body *body, const char *data, size_t n)
{
    body->stream = n > 0;
    if (n == 0)
        return true;
    if (body->left > 0)
        memmove(body->held, body->bytes, body->left);
    char *bytes = realloc(body->held, body->left + n);
    if (bytes == NULL)
        return false;
    memcpy(bytes + body->left, data, n);
    body->held = bytes;
    body->bytes = bytes;
    body->left += n;
    return true;
}

bool http_body_is_file(const struct http_body *body)
{
    return body->file != 0 && !body->stream;
}

bool http_body_waits(const struct http_body *body)
{
    return body->fed && body->stream && body->left == 0;
}

static ssize_t read_memory(struct http_body *body, char *buf, size_t n)
{
    memcpy(buf, body->bytes, n);
    body->bytes += n;
    body->left -= n;
    return (ssize_t)n;
}

ssize_t http_body_read(struct http_body *body, char *buf, size_t n)
{
    if (body->stream && !body->fed) {
        ssize_t got = read(body->file - 1, buf, n);
        body->stream = got > 0;
        return got;
    }
    n = n < body->left ? n : (size_t)body->left;
    if (n == 0 || body->file == 0)
        return n == 0 ? 0 : read_memory(body, buf, n);
    ssize_t got = pread(body->file - 1, buf, n, (off_t)body->at);
    if (got <= 0)
        return -1; /* it has shrunk since we said how long it is */
    body->at += (uint64_t)got;
    body->left -= (uint64_t)got;
    return got;
}

bool http_body_is_over(const struct http_body *body)
{
    return body->left == 0 && !body->stream;
}

void http_body_close(struct http_body *body)
{
    if (body->file > 0)
        close(body->file - 1);
    if (body->release != NULL)
        body->release(body->held);
    *body = (struct http_body){0};
}
