/* SPDX-License-Identifier: ISC */
/*
 * Two generations of one parser of HTTP/1: http-parser, and llhttp, which took its place. What is
 * here is what both can do, under one name. The members that callers read (method, http_major,
 * http_minor, status_code, flags, upgrade, data) are called the same in both.
 */
#ifndef EXAMPLES_HTTP_PARSER_H
#define EXAMPLES_HTTP_PARSER_H

#include <stddef.h>

#ifdef USE_LLHTTP
#include <llhttp.h>
typedef llhttp_t parser;
typedef llhttp_settings_t parser_settings;
enum { PARSER_REQUEST = HTTP_REQUEST, PARSER_RESPONSE = HTTP_RESPONSE };

static inline void parser_start(parser *p, const parser_settings *settings, int type)
{
    llhttp_init(p, (llhttp_type_t)type, settings);
}

/* Returns how many bytes it took: fewer than n if it was paused, or found them wrong. */
static inline size_t parser_feed(parser *p, const parser_settings *settings, const char *data,
                                 size_t n)
{
    llhttp_errno_t wrong = llhttp_execute(p, data, n);
    return wrong == HPE_OK ? n : (size_t)(llhttp_get_error_pos(p) - data);
}

static inline void parser_end(parser *p, const parser_settings *settings)
{
    llhttp_errno_t wrong = llhttp_finish(p);
    if (wrong != HPE_OK)
        p->error = wrong;
}

/* To be returned from on_message_complete, to stop there. */
static inline int parser_pause(parser *p)
{
    return HPE_PAUSED;
}

static inline void parser_go_on(parser *p)
{
    llhttp_resume(p);
}

/* NULL while all is well. */
static inline const char *parser_error(const parser *p)
{
    llhttp_errno_t wrong = llhttp_get_errno(p);
    return wrong == HPE_OK || wrong == HPE_PAUSED ? NULL : llhttp_errno_name(wrong);
}

static inline int parser_keeps_alive(const parser *p)
{
    return llhttp_should_keep_alive(p);
}

static inline const char *parser_method(const parser *p)
{
    return llhttp_method_name((llhttp_method_t)p->method);
}
#else
#include <http_parser.h>
typedef http_parser parser;
typedef http_parser_settings parser_settings;
enum { PARSER_REQUEST = HTTP_REQUEST, PARSER_RESPONSE = HTTP_RESPONSE };

static inline void parser_start(parser *p, const parser_settings *settings, int type)
{
    http_parser_init(p, (enum http_parser_type)type);
}

/* Returns how many bytes it took: fewer than n if it was paused, or found them wrong. */
static inline size_t parser_feed(parser *p, const parser_settings *settings, const char *data,
                                 size_t n)
{
    return http_parser_execute(p, settings, data, n);
}

static inline void parser_end(parser *p, const parser_settings *settings)
{
    http_parser_execute(p, settings, NULL, 0);
}

/* To be returned from on_message_complete, to stop there. */
static inline int parser_pause(parser *p)
{
    http_parser_pause(p, 1);
    return 0;
}

static inline void parser_go_on(parser *p)
{
    http_parser_pause(p, 0);
}

/* NULL while all is well. */
static inline const char *parser_error(const parser *p)
{
    enum http_errno wrong = HTTP_PARSER_ERRNO(p);
    return wrong == HPE_OK || wrong == HPE_PAUSED ? NULL : http_errno_description(wrong);
}

static inline int parser_keeps_alive(const parser *p)
{
    return http_should_keep_alive(p);
}

static inline const char *parser_method(const parser *p)
{
    return http_method_str((enum http_method)p->method);
}
#endif

#endif
