/* SPDX-License-Identifier: ISC */
/* The access log: log.h says what is in a line. */
#include "log.h"
#include <string.h>
#include <time.h>

enum { QUOTED = 1024 };

static void quote(char buf[QUOTED], const char *text)
{
    size_t n = 0;
    buf[n++] = '"';
    for (; *text != '\0' && n < QUOTED - 8; text++) {
        unsigned char c = (unsigned char)*text;
        if (c < ' ' || c >= 0x7f || c == '"' || c == '\\')
            n += (size_t)snprintf(buf + n, QUOTED - n, "\\x%02x", c);
        else
            buf[n++] = (char)c;
    }
    buf[n++] = '"';
    buf[n] = '\0';
}

static void identify(char buf[QUOTED], const conduit_info *info)
{
    if (info != NULL && info->tls != NULL && *info->tls->peer != '\0')
        quote(buf, info->tls->peer);
    else if (info != NULL && info->peer_uid >= 0)
        snprintf(buf, QUOTED, "uid=%ld,pid=%ld", info->peer_uid, info->peer_pid);
    else
        snprintf(buf, QUOTED, "-");
}

static void print_date(char buf[40])
{
    time_t now = time(NULL);
    struct tm tm;
    if (gmtime_r(&now, &tm) == NULL || strftime(buf, 40, "%d/%b/%Y:%H:%M:%S +0000", &tm) == 0)
        *buf = '\0';
}

static double since_ms(double began_ms)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec * 1e3 + (double)t.tv_nsec / 1e6 - began_ms;
}

void http_log_trouble(FILE *file, conduit_conn *conn, const char *what)
{
    char identity[QUOTED], quoted[QUOTED], date[40];
    const conduit_info *info = conduit_conn_info(conn);
    identify(identity, info);
    print_date(date);
    quote(quoted, what);
    fprintf(file, "%s %s [%s] given up: %s\n", info != NULL ? info->peer : "-", identity, date,
            quoted);
}

void http_log(FILE *file, const struct http_exchange *x)
{
    char identity[QUOTED], request[QUOTED], first[QUOTED], agent[QUOTED], date[40];
    const struct http_head *head = x->request;
    const conduit_info *info = conduit_conn_info(x->conn);
    const char *said = http_head_find(head, "user-agent");
    identify(identity, info);
    print_date(date);
    snprintf(first, sizeof(first), "%.20s %.900s %.10s", http_head_at(head, head->method),
             http_head_at(head, head->target), x->version);
    quote(request, first);
    quote(agent, said != NULL ? said : "-");
    fprintf(file, "%s %s [%s] %s %d %llu%s %.1f %s\n", info != NULL ? info->peer : "-", identity,
            date, request, x->response.status, (unsigned long long)x->sent, x->failed ? "!" : "",
            since_ms(x->began_ms), agent);
}
