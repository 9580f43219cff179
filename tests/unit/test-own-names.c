/* SPDX-License-Identifier: ISC */
/*
 * Rules, schemes and addresses of a program's own: what becomes of a target.
 *
 * A row is a set of rules and a URI; what is checked is where the target leads ("tcp db 5432") and
 * that it is otherwise as it was. Nothing is resolved or dialled here.
 */
#include "../../src/context.h"
#include "../../src/rules.h"
#include "../../src/transport.h"
#include "conduit/conduit.h"
#include "conduit/memory.h"
#include "support.h"
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define LENGTH(rows) (sizeof(rows) / sizeof((rows)[0]))

static conduit_ctx *ctx;

static void begin(void)
{
    ctx = conduit_ctx_new(NULL);
    cr_assert_not_null(ctx);
}

static void end(void)
{
    conduit_ctx_free(ctx);
}

static const char *text(void)
{
    return conduit_error_text(conduit_ctx_error(ctx));
}

/* "PATTERN TARGET, PATTERN TARGET" */
static void add_all(const char *rules)
{
    char *copy = strdup(rules), *rest = copy, *rule;
    while (*copy != '\0' && (rule = strsep(&rest, ",")) != NULL) {
        rule += strspn(rule, " ");
        char *target = strchr(rule, ' ');
        *target++ = '\0';
        cr_assert_eq(conduit_ctx_add_rule(ctx, rule, target), 0, "%s: %s", rule, text());
    }
    free(copy);
}

/* Where `uri` leads: "tcp db 5432", or "CODE text". */
static const char *lead(const char *uri, const conduit_connect_options *options)
{
    static char said[1024];
    struct cdt_target target;
    const conduit_error *error = NULL;
    int code = cdt_target_make(ctx, &target, uri, false, options, &error);
    if (code < 0)
        snprintf(said, sizeof(said), "%s %s", conduit_code_name(code), conduit_error_text(error));
    else
        snprintf(said, sizeof(said), "%s %s %u", target.transport->name, target.host, target.port);
    conduit_error_unref(error);
    cdt_target_clear(&target);
    return said;
}

/* ---- which rule ---- */

CDT_TEST(rewrite, the_longest_match_counts)
{
    static const struct {
        const char *rules, *uri, *place;
    } rows[] = {
        {"", "http://a.example/", "tcp a.example 80"},
        {"a.example tcp://10.0.0.7:8443", "http://a.example/", "tcp 10.0.0.7 8443"},
        {"a.example tcp://10.0.0.7:8443", "http://A.EXAMPLE/", "tcp 10.0.0.7 8443"},
        {"A.Example tcp://10.0.0.7:8443", "http://a.example/", "tcp 10.0.0.7 8443"},
        {"a.example tcp://10.0.0.7:8443", "http://a.example./", "tcp 10.0.0.7 8443"},
        {"a.example. tcp://10.0.0.7:8443", "http://a.example/", "tcp 10.0.0.7 8443"},
        {"a.example tcp://10.0.0.7:8443", "http://b.a.example/", "tcp b.a.example 80"},
        {"a.example tcp://10.0.0.7:8443", "http://example/", "tcp example 80"},
        {"a.example tcp://10.0.0.7:8443", "http://aa.example/", "tcp aa.example 80"},
        {"*.internal tcp://10.0.0.1", "http://web.internal/", "tcp 10.0.0.1 80"},
        {"*.internal tcp://10.0.0.1", "http://a.b.c.internal/", "tcp 10.0.0.1 80"},
        {"*.internal tcp://10.0.0.1", "http://internal/", "tcp internal 80"},
        {"*.internal tcp://10.0.0.1", "http://notinternal/", "tcp notinternal 80"},
        {"*.internal tcp://10.0.0.1", "http://x.notinternal/", "tcp x.notinternal 80"},
        {"*.internal tcp://10.0.0.1", "http://internal.example/", "tcp internal.example 80"},
        {"*.INTERNAL. tcp://10.0.0.1", "http://WEB.internal./", "tcp 10.0.0.1 80"},
        {"* tcp://10.0.0.1", "http://web/", "tcp 10.0.0.1 80"},
        {"* tcp://10.0.0.1", "http://a.b.c/", "tcp 10.0.0.1 80"},
        {"* tcp://10.0.0.1", "http://192.0.2.1/", "tcp 10.0.0.1 80"},
        {"* tcp://10.0.0.1", "http://[2001:db8::1]/", "tcp 10.0.0.1 80"},
        {"* tcp://10.0.0.1, *.b tcp://10.0.0.2", "http://a.b/", "tcp 10.0.0.2 80"},
        {"*.b tcp://10.0.0.2, * tcp://10.0.0.1", "http://a.b/", "tcp 10.0.0.2 80"},
        {"*.b tcp://10.0.0.2, * tcp://10.0.0.1", "http://b/", "tcp 10.0.0.1 80"},
        {"*.b.c tcp://10.0.0.2, *.c tcp://10.0.0.1", "http://a.b.c/", "tcp 10.0.0.2 80"},
        {"*.b.c tcp://10.0.0.2, *.c tcp://10.0.0.1", "http://b.c/", "tcp 10.0.0.1 80"},
        {"*.b.c tcp://10.0.0.2, *.c tcp://10.0.0.1", "http://x.a.b.c/", "tcp 10.0.0.2 80"},
        {"*.c tcp://10.0.0.1, b.c tcp://10.0.0.2", "http://b.c/", "tcp 10.0.0.2 80"},
        {"b.c tcp://10.0.0.2, *.c tcp://10.0.0.1", "http://a.c/", "tcp 10.0.0.1 80"},
        {"*.b.c tcp://10.0.0.1, a.b.c tcp://10.0.0.2", "http://a.b.c/", "tcp 10.0.0.2 80"},
        {"a tcp://10.0.0.1, a tcp://10.0.0.2", "http://a/", "tcp 10.0.0.2 80"},
        {"192.0.2.1 tcp://10.0.0.1", "http://192.0.2.1/", "tcp 10.0.0.1 80"},
        {"192.0.2.1 tcp://10.0.0.1", "http://192.0.2.2/", "tcp 192.0.2.2 80"},
        {"2001:db8::1 tcp://10.0.0.1", "http://[2001:DB8:0::1]/", "tcp 10.0.0.1 80"},
        {"[2001:db8::1] tcp://10.0.0.1", "http://[2001:db8::1]/", "tcp 10.0.0.1 80"},
        {"a_b.example tcp://10.0.0.1", "http://a_b.example/", "tcp 10.0.0.1 80"},
        {"* tcp://10.0.0.1", "unix:/run/x.sock", "unix /run/x.sock 0"},
        {"* tcp://10.0.0.1", "inproc://a", "inproc a 0"},
    };
    for (size_t i = 0; i < LENGTH(rows); i++) {
        begin();
        add_all(rows[i].rules);
        cr_expect_str_eq(lead(rows[i].uri, NULL), rows[i].place, "%s: %s: %s", rows[i].rules,
                         rows[i].uri, lead(rows[i].uri, NULL));
        end();
    }
}

/* ---- where to ---- */

CDT_TEST(rewrite, the_place_of_the_target_counts)
{
    static const struct {
        const char *rules, *uri, *place;
    } rows[] = {
        {"a tcp://10.0.0.7", "tcp://a:99", "tcp 10.0.0.7 99"},
        {"a tcp4://10.0.0.7:1", "tcp://a:99", "tcp 10.0.0.7 1"},
        {"a tcp://[2001:db8::1]:1", "tcp://a:99", "tcp 2001:db8::1 1"},
        {"a http://b", "tcp://a:99", "tcp b 80"},
        {"a https://b", "https://a:99/", "tcp b 443"},
        {"a tls://b", "tls://a:99", "tcp b 99"},
        {"a https://b:1/x?y#z", "https://a/", "tcp b 1"},
        {"a inproc://here", "http://a/", "inproc here 0"},
        {"a unix:/run/a.sock", "http://a/", "unix /run/a.sock 0"},
        {"a redis+unix:/run/c.sock", "redis://a", "unix /run/c.sock 6379"},
        {"a http+unix://%2Frun%2Fc.sock/v1", "http://a/", "unix /run/c.sock 80"},
        {"a tls+unix:/run/c.sock", "https://a/", "unix /run/c.sock 0"},
        {"*.i unix:/run/{host}.sock", "http://a.b.i/", "unix /run/a.b.i.sock 0"},
        {"*.i unix:/run/{host}.sock", "http://A.b.i./", "unix /run/a.b.i.sock 0"},
        {"*.i unix:/run/{label}.sock", "http://a.b.i/", "unix /run/a.sock 0"},
        {"*.i unix:/run/{scheme}/{label}-{port}", "http://a.i:8/", "unix /run/http/a-8 0"},
        {"*.i tcp://{label}.example:{port}", "http://a.i:8/", "tcp a.example 8"},
        {"* tcp://{host}:1", "http://a/", "tcp a 1"},
        {"* tcp://{host}:1", "http://192.0.2.7/", "tcp 192.0.2.7 1"},
        {"* tcp://{host}:1", "http://[2001:db8::1]/", "tcp 2001:db8::1 1"},
        /* a name is looked up again, an address is not, and the same name is the end */
        {"a tcp://b, b tcp://10.0.0.1:1", "http://a/", "tcp 10.0.0.1 1"},
        {"a tcp://10.0.0.1:1, 10.0.0.1 tcp://10.0.0.2", "http://a/", "tcp 10.0.0.1 1"},
        {"a tcp://a:8443", "http://a/", "tcp a 8443"},
        {"* tcp://proxy:3128", "http://a/", "tcp proxy 3128"},
        {"* tcp://10.0.0.1:1", "http://10.0.0.1/", "tcp 10.0.0.1 1"},
        {"*.a tcp://{label}.b, *.b unix:/run/{host}", "http://x.a/", "unix /run/x.b 0"},
        {"a tcp://b:1, b tcp://c, c tcp://10.0.0.1", "http://a/", "tcp 10.0.0.1 1"},
    };
    for (size_t i = 0; i < LENGTH(rows); i++) {
        begin();
        add_all(rows[i].rules);
        cr_expect_str_eq(lead(rows[i].uri, NULL), rows[i].place, "%s: %s: %s", rows[i].rules,
                         rows[i].uri, lead(rows[i].uri, NULL));
        end();
    }
}

CDT_TEST(rewrite, what_leads_nowhere_is_an_error)
{
    static const struct {
        const char *rules, *uri, *error;
    } rows[] = {
        {"a tcp://b, b tcp://a", "http://a/", "EINVAL uri: http://a/: rule loop: a -> b -> a"},
        {"a tcp://b, b tcp://c, c tcp://b", "http://a/", "rule loop: a -> b -> c -> b"},
        {"* tcp://b, b tcp://c", "http://a/", "rule loop: a -> b -> c -> b"},
        {"*.i tcp://x.{host}", "http://a.i/", "more than 8 rules in a row: a.i -> x.a.i -> "},
        {"a tls+unix:/run/s", "http://a/", "has other layers"},
        {"a https://b", "http://a/", "has other layers"},
        {"* unix:/run/{host}-"
         "12345678901234567890123456789012345678901234567890123456789012345678901234567890",
         "http://aaaaaaaaaaaaaaaaaaaaaaaaaa/", "socket's may have 107"},
    };
    for (size_t i = 0; i < LENGTH(rows); i++) {
        begin();
        add_all(rows[i].rules);
        const char *said = lead(rows[i].uri, NULL);
        cr_expect_not_null(strstr(said, rows[i].error), "%s: %s", rows[i].rules, said);
        end();
    }
}

CDT_TEST(rewrite, eight_rules_in_a_row_are_not_too_many)
{
    begin();
    for (int i = 0; i < 9; i++) {
        char from[16], to[32];
        snprintf(from, sizeof(from), "h%d", i);
        snprintf(to, sizeof(to), "tcp://h%d", i + 1);
        cr_assert_eq(conduit_ctx_add_rule(ctx, from, to), 0);
    }
    cr_expect_str_eq(lead("http://h1/", NULL), "tcp h9 80");
    cr_expect_not_null(strstr(lead("http://h0/", NULL), "more than 8 rules"));
    end();
}

CDT_TEST(rewrite, identity_and_stack_stay_those_of_the_uri)
{
    struct cdt_target target;
    begin();
    add_all("*.example unix:/run/{host}.sock");
    cr_assert_eq(cdt_target_make(ctx, &target, "https://a.example./", false, NULL, NULL), 0);
    cr_expect_str_eq(target.steps[0].name, "a.example");
    cr_expect_str_eq(target.alpn, "http/1.1");
    cr_expect_eq(target.n_steps, 1);
    cr_expect_str_eq(target.transport->name, "unix");
    cr_expect_str_eq(target.rules, "a.example -> unix:/run/a.example.sock");
    cdt_target_clear(&target);
    end();
}

CDT_TEST(rewrite, not_for_listening_and_not_where_connect_to_is_given)
{
    const conduit_connect_options options = {.connect_to = "tcp://b:1"};
    struct cdt_target target;
    begin();
    add_all("* unix:/run/x");
    cr_expect_str_eq(lead("http://a/", &options), "tcp b 1");
    cr_assert_eq(cdt_target_make(ctx, &target, "tcp://localhost:0", true, NULL, NULL), 0);
    cr_expect_str_eq(target.transport->name, "tcp");
    cdt_target_clear(&target);
    end();
}

/* ---- adding and removing ---- */

CDT_TEST(rewrite, a_bad_rule_is_refused_when_it_is_added)
{
    static const struct {
        const char *pattern, *target;
        conduit_code code;
    } rows[] = {
        {"", "tcp://b:1", CONDUIT_EINVAL},
        {"*.", "tcp://b:1", CONDUIT_EINVAL},
        {"**", "tcp://b:1", CONDUIT_EINVAL},
        {"*a", "tcp://b:1", CONDUIT_EINVAL},
        {"*.*", "tcp://b:1", CONDUIT_EINVAL},
        {"a.*", "tcp://b:1", CONDUIT_EINVAL},
        {"a..b", "tcp://b:1", CONDUIT_EINVAL},
        {".a", "tcp://b:1", CONDUIT_EINVAL},
        {"a b", "tcp://b:1", CONDUIT_EINVAL},
        {"a:80", "tcp://b:1", CONDUIT_EINVAL},
        {"a/x", "tcp://b:1", CONDUIT_EINVAL},
        {"u@a", "tcp://b:1", CONDUIT_EINVAL},
        {"%2Frun", "tcp://b:1", CONDUIT_EINVAL},
        {"1.2.3", "tcp://b:1", CONDUIT_EINVAL},
        {"*.10.0.0.7", "tcp://b:1", CONDUIT_EINVAL},
        {"*.[::1]", "tcp://b:1", CONDUIT_EINVAL},
        {"b\xc3\xbc", "tcp://b:1", CONDUIT_EINVAL},
        {"a", "", CONDUIT_EURI},
        {"a", "b", CONDUIT_EURI},
        {"a", "tcp://", CONDUIT_EURI},
        {"a", "tcp://*:1", CONDUIT_EURI},
        {"a", "tcp://b:0", CONDUIT_EURI},
        {"a", "tcp://b:1/x", CONDUIT_EURI},
        {"a", "unix:", CONDUIT_EURI},
        {"a", "nothing://b", CONDUIT_ENOTSUP},
        {"a", "unix:/run/x?mode=0600", CONDUIT_EINVAL},
        {"a", "tls://b?name=c", CONDUIT_EINVAL},
        {"a", "unix:/run/{x}", CONDUIT_EINVAL},
        {"a", "unix:/run/{}", CONDUIT_EINVAL},
        {"a", "unix:/run/{host", CONDUIT_EINVAL},
        {"a", "unix:/run/host}", CONDUIT_EINVAL},
        {"a", "unix:/run/{{host}}", CONDUIT_EINVAL},
        {"a", "unix:/run/{HOST}", CONDUIT_EINVAL},
    };
    begin();
    for (size_t i = 0; i < LENGTH(rows); i++)
        cr_expect_eq(conduit_ctx_add_rule(ctx, rows[i].pattern, rows[i].target), rows[i].code,
                     "%s = %s: %s", rows[i].pattern, rows[i].target, text());
    cr_expect_str_eq(lead("http://a/", NULL), "tcp a 80");
    end();
}

CDT_TEST(rewrite, a_value_that_could_leave_its_place_is_refused)
{
    struct cdt_rule rule = {.host = NULL, .wild = true, .target = strdup("unix:/run/{label}")};
    static const char *const hosts[] = {"", "..", "../x", "a..b", "a/b", ".a"};
    for (size_t i = 0; i < LENGTH(hosts); i++) {
        const struct cdt_rule_values values = {.host = hosts[i], .port = 1, .scheme = "tcp"};
        char *to;
        const char *why = NULL;
        cr_expect_eq(cdt_rule_expand(&rule, &values, &to, &why), CONDUIT_EINVAL, "%s", hosts[i]);
        cr_expect_null(to, "%s", hosts[i]);
        cr_expect_not_null(why);
    }
    free(rule.target);
}

CDT_TEST(rewrite, rules_are_removed_by_their_pattern)
{
    begin();
    add_all("*.b tcp://10.0.0.1, a.b tcp://10.0.0.2, * tcp://10.0.0.3, b tcp://10.0.0.4");
    cr_expect_eq(conduit_ctx_remove_rule(ctx, "c"), CONDUIT_ENONAME);
    cr_expect_eq(conduit_ctx_remove_rule(ctx, "not a pattern"), CONDUIT_ENONAME);
    cr_expect_eq(conduit_ctx_remove_rule(ctx, "A.b."), 0);
    cr_expect_str_eq(lead("http://a.b/", NULL), "tcp 10.0.0.1 80");
    cr_expect_eq(conduit_ctx_remove_rule(ctx, "*.B"), 0);
    cr_expect_str_eq(lead("http://a.b/", NULL), "tcp 10.0.0.3 80");
    cr_expect_str_eq(lead("http://b/", NULL), "tcp 10.0.0.4 80");
    cr_expect_eq(conduit_ctx_remove_rule(ctx, "*"), 0);
    cr_expect_eq(conduit_ctx_remove_rule(ctx, "*"), CONDUIT_ENONAME);
    cr_expect_str_eq(lead("http://a.b/", NULL), "tcp a.b 80");
    end();
}

/* ---- a file of rules ---- */

static int load(const char *content, size_t n)
{
    const char *path = cdt_test_path("rules");
    FILE *stream = fopen(path, "we");
    cr_assert_not_null(stream);
    fwrite(content, 1, n, stream);
    fclose(stream);
    return conduit_ctx_load_rules(ctx, path);
}

CDT_TEST(rewrite, a_file_has_a_rule_a_line)
{
    static const char content[] = "# where things are\n"
                                  "a.example = tcp://10.0.0.1:1\n"
                                  "b.example=tcp://10.0.0.2:2\t# moved\r\n"
                                  " # none\n"
                                  " \n"
                                  "\t *.c  =  unix:/run/{host}  \n"
                                  "a.example = tcp://10.0.0.3:3";
    static const char fragment[] = "d = unix:/run/d#x\n";
    begin();
    cr_expect_eq(load("", 0), 0);
    cr_expect_eq(load(content, strlen(content)), 0, "%s", text());
    cr_expect_eq(load(fragment, strlen(fragment)), CONDUIT_EURI, "no comment without a blank");
    cr_expect_str_eq(lead("http://a.example/", NULL), "tcp 10.0.0.3 3");
    cr_expect_str_eq(lead("http://b.example/", NULL), "tcp 10.0.0.2 2");
    cr_expect_str_eq(lead("http://x.c/", NULL), "unix /run/x.c 0");
    end();
}

CDT_TEST(rewrite, of_a_file_with_a_mistake_nothing_is_kept)
{
    static char endless[20000];
    memset(endless, 'a', sizeof(endless));
    static const struct {
        const char *content, *error;
        size_t n;
    } rows[] = {
        {"a = tcp://c:1\nb\n", "/rules:2: a rule is written PATTERN = TARGET", 0},
        {"a = tcp://c:1\n\n# x\nb = \n", "/rules:4: ", 0},
        {"a = tcp://c:1\n= tcp://b:1\n", "/rules:2: \"\" is no pattern", 0},
        {"a = tcp://c:1\nb = tcp://{x}:1\n", "/rules:2: ", 0},
        {"a = tcp://c:1\nb = tcp://d:1\0e\n", "/rules:2: the line holds a NUL", 30},
        {"a = tcp://c:1\nb = tcp://d:1\0", "/rules:2: the line holds a NUL", 28},
        {endless, "/rules:1: the line is too long", sizeof(endless)},
    };
    begin();
    add_all("a tcp://10.0.0.1");
    for (size_t i = 0; i < LENGTH(rows); i++) {
        size_t n = rows[i].n != 0 ? rows[i].n : strlen(rows[i].content);
        cr_expect_lt(load(rows[i].content, n), 0);
        cr_expect_not_null(strstr(text(), rows[i].error), "%s", text());
        cr_expect_str_eq(lead("http://a/", NULL), "tcp 10.0.0.1 80");
    }
    end();
}

CDT_TEST(rewrite, a_file_that_cannot_be_read_says_so)
{
    begin();
    cr_expect_eq(conduit_ctx_load_rules(ctx, cdt_test_path("none")), CONDUIT_EINVAL);
    cr_expect_not_null(strstr(text(), "/none: open: No such file"), "%s", text());
    cr_expect_lt(conduit_ctx_load_rules(ctx, "/"), 0);
    cr_expect_not_null(strstr(text(), "Is a directory"), "%s", text());
    cr_expect_eq(conduit_ctx_load_rules(ctx, "/dev/zero"), CONDUIT_EINVAL);
    end();
}

CDT_TEST(rewrite, ten_thousand_rules_are_found_and_forgotten)
{
    char pattern[64], target[64], uri[64];
    begin();
    for (unsigned i = 0; i < 10000; i++) {
        snprintf(pattern, sizeof(pattern), i % 2 != 0 ? "*.d%u.example" : "d%u.example", i);
        snprintf(target, sizeof(target), "tcp://10.0.%u.%u:1", i / 256, i % 256);
        cr_assert_eq(conduit_ctx_add_rule(ctx, pattern, target), 0);
    }
    for (unsigned i = 0; i < 10000; i += 37) {
        snprintf(uri, sizeof(uri), i % 2 != 0 ? "http://x.d%u.example" : "http://d%u.example", i);
        snprintf(target, sizeof(target), "tcp 10.0.%u.%u 1", i / 256, i % 256);
        cr_expect_str_eq(lead(uri, NULL), target);
    }
    end();
}

/* ---- schemes ---- */

CDT_TEST(schemes, one_that_is_added_counts)
{
    const conduit_scheme gemini = {.name = "Gemini2", .port = 1965, .tls = true, .alpn = "g/1,g/2"};
    const conduit_scheme local = {.name = "docker", .transport = "unix"};
    const conduit_scheme http = {.name = "http", .port = 8080};
    const conduit_scheme portless = {.name = "mine"};
    struct cdt_target target;
    begin();
    cr_expect_eq(strncmp(lead("gemini2://a/", NULL), "ENOTSUP", 7), 0);
    cr_expect_eq(strncmp(lead("gemini2://a:1/", NULL), "ENOTSUP", 7), 0);
    cr_expect_eq(conduit_ctx_add_scheme(ctx, &gemini), 0, "%s", text());
    cr_assert_eq(cdt_target_make(ctx, &target, "gemini2://a/", false, NULL, NULL), 0);
    cr_expect_eq(target.n_steps, 1);
    cr_expect_str_eq(target.alpn, "g/1,g/2");
    cr_expect_eq(target.port, 1965);
    cr_expect_eq(conduit_ctx_add_scheme(ctx, &(conduit_scheme){.name = "gemini2", .port = 1}), 0);
    cr_expect_str_eq(target.alpn, "g/1,g/2", "what is under way goes on");
    cdt_target_clear(&target);
    cr_expect_str_eq(lead("gemini2://a/", NULL), "tcp a 1");
    cr_expect_eq(conduit_ctx_add_scheme(ctx, &local), 0);
    cr_expect_str_eq(lead("docker://%2Frun%2Fd.sock/x", NULL), "unix /run/d.sock 0");
    cr_expect_eq(conduit_ctx_add_scheme(ctx, &http), 0);
    cr_expect_str_eq(lead("http://a/", NULL), "tcp a 8080");
    cr_expect_eq(conduit_ctx_add_scheme(ctx, &portless), 0);
    cr_expect_eq(strncmp(lead("mine://a/", NULL), "EURI", 4), 0);
    cr_expect_str_eq(lead("mine://a:7/", NULL), "tcp a 7");
    end();
}

CDT_TEST(schemes, a_bad_one_is_refused)
{
    static const struct {
        conduit_scheme scheme;
        conduit_code code;
    } rows[] = {
        {{.name = NULL}, CONDUIT_EINVAL},
        {{.name = "", .port = 1}, CONDUIT_EINVAL},
        {{.name = "1a", .port = 1}, CONDUIT_EINVAL},
        {{.name = "a+b", .port = 1}, CONDUIT_EINVAL},
        {{.name = "a:b", .port = 1}, CONDUIT_EINVAL},
        {{.name = "tcp", .port = 1}, CONDUIT_EINVAL},
        {{.name = "tcp4", .port = 1}, CONDUIT_EINVAL},
        {{.name = "tls", .port = 1}, CONDUIT_EINVAL},
        {{.name = "unix", .port = 1}, CONDUIT_EINVAL},
        {{.name = "https", .port = 80}, CONDUIT_EINVAL},
        {{.name = "HTTPS", .port = 80}, CONDUIT_EINVAL},
        {{.name = "rediss", .port = 1}, CONDUIT_EINVAL},
        {{.name = "new", .port = 1, .alpn = "x"}, CONDUIT_EINVAL},
        {{.name = "new", .port = 1, .tls = true, .alpn = "x,,y"}, CONDUIT_EINVAL},
        {{.name = "new", .port = 1, .transport = "pigeon"}, CONDUIT_ENOTSUP},
    };
    begin();
    for (size_t i = 0; i < LENGTH(rows); i++)
        cr_expect_eq(conduit_ctx_add_scheme(ctx, &rows[i].scheme), rows[i].code, "%s: %s",
                     rows[i].scheme.name, text());
    end();
}

/* ---- memory of which one piece is not to be had */

static unsigned pieces_before;

static bool is_there(void)
{
    return pieces_before-- != 0;
}

static void *take(size_t size)
{
    return is_there() ? malloc(size) : NULL;
}

static void *take_zeroed(size_t n, size_t size)
{
    return is_there() ? calloc(n, size) : NULL;
}

static void *take_again(void *memory, size_t size)
{
    return is_there() ? realloc(memory, size) : NULL;
}

/* Whichever is missing: that is not the list's fault. */
CDT_TEST(schemes, short_of_memory_is_no_mistake_in_a_list)
{
    static const conduit_allocator scarce = {take, take_zeroed, take_again, free};
    const conduit_scheme scheme = {.name = "mine", .port = 7, .tls = true, .alpn = "m/1,m/2"};
    int code = CONDUIT_ENOMEM;
    unsigned n = 0;
    pieces_before = UINT_MAX;
    cr_assert_eq(conduit_set_allocator(&scarce), 0);
    begin();
    for (; code == CONDUIT_ENOMEM && n < 100; n++) {
        pieces_before = n;
        code = conduit_ctx_add_scheme(ctx, &scheme);
    }
    cr_expect_eq(code, 0, "without piece %u: %s", n, text());
    cr_expect_gt(n, 5, "the list is read in pieces");
    end();
    conduit_set_allocator(NULL);
}

CDT_TEST(schemes, a_parameter_may_say_which_service_to_look_for)
{
    begin();
    cr_expect_str_eq(lead("tcp://a?srv=imaps", NULL), "tcp a 0");
    cr_expect_str_eq(lead("tls://a:7?svcb=foo", NULL), "tcp a 7");
    cr_expect_str_eq(lead("tcp://a?srv=b&svcb=c", NULL),
                     "EURI uri: tcp://a?srv=b&svcb=c: srv or svcb, and not both");
    cr_expect_str_eq(lead("tcp://192.0.2.1?srv=b", NULL),
                     "EURI uri: tcp://192.0.2.1?srv=b: a port is missing");
    cr_expect_eq(strncmp(lead("tcp://a?srv=_b._tcp", NULL), "EURI", 4), 0);
    cr_expect_eq(strncmp(lead("tcp://a?srv=", NULL), "EURI", 4), 0);
    cr_expect_eq(strncmp(lead("unix:/a?srv=b", NULL), "EURI", 4), 0);
    cr_expect_eq(conduit_ctx_add_rule(ctx, "*.internal", "tcp://192.0.2.1"), 0);
    cr_expect_str_eq(lead("tcp://a.internal:5?srv=b", NULL), "tcp 192.0.2.1 5");
    cr_expect_eq(strncmp(lead("tcp://a.internal?srv=b", NULL), "EURI", 4), 0);
    end();
}

/* Of what /etc/services has these are everywhere, and not in our table. */
CDT_TEST(schemes, a_service_of_the_system_is_one_in_the_clear)
{
    begin();
    if (access("/etc/services", R_OK) == 0) {
        cr_expect_str_eq(lead("kerberos://a/", NULL), "tcp a 88");
        cr_expect_str_eq(lead("kerberos://a:99/", NULL), "tcp a 99");
        cr_expect_str_eq(lead("snntp://a/", NULL),
                         "ENOTSUP uri: snntp://a/: \"snntp\" is a service over TLS by its name: "
                         "add it as a scheme, with TLS");
    }
    cr_expect_eq(strncmp(lead("no-such-service://a:1/", NULL), "ENOTSUP", 7), 0);
    cr_expect_eq(conduit_ctx_add_scheme(ctx, &(conduit_scheme){.name = "kerberos", .port = 9}), 0);
    cr_expect_str_eq(lead("kerberos://a/", NULL), "tcp a 9");
    end();
}

CDT_TEST(schemes, every_built_in_one_that_is_tls_stays_so)
{
    static const char *const names[] = {"https", "wss",     "rediss", "imaps",  "ldaps",     "ftps",
                                        "nntps", "telnets", "sips",   "gemini", "syslog-tls"};
    begin();
    for (size_t i = 0; i < LENGTH(names); i++) {
        struct cdt_target target;
        char uri[64];
        snprintf(uri, sizeof(uri), "%s://a:8080/", names[i]);
        cr_assert_eq(cdt_target_make(ctx, &target, uri, false, NULL, NULL), 0);
        cr_expect_eq(target.n_steps, 1, "%s", names[i]);
        cdt_target_clear(&target);
    }
    end();
}

/* ---- addresses of the program's own ---- */

static char story[512];

static void on_resolved(conduit_resolution *resolution, const conduit_answer *answers, size_t n,
                        const conduit_error *why, void *user)
{
    for (size_t i = 0; i < n; i++) {
        size_t at = strlen(story);
        snprintf(story + at, sizeof(story) - at, "%s %s ", answers[i].source,
                 conduit_endpoint_uri(answers[i].endpoint));
    }
    if (why != NULL)
        snprintf(story, sizeof(story), "%s", conduit_error_text(why));
}

static const char *resolve(const char *uri, int family)
{
    const conduit_connect_options options = {.family = family};
    *story = '\0';
    cr_assert_eq(conduit_resolve(ctx, uri, &options, on_resolved, NULL, NULL), 0);
    conduit_run(ctx);
    return story;
}

CDT_TEST(hosts, own_addresses_stand_for_a_name)
{
    begin();
    cr_expect_eq(conduit_ctx_add_host(ctx, "DB.example.", "192.0.2.7"), 0, "%s", text());
    cr_expect_str_eq(resolve("tcp://db.example:1", 0), "static tcp://192.0.2.7:1 ");
    cr_expect_eq(conduit_ctx_add_host(ctx, "db.example", "2001:db8::7"), 0);
    cr_expect_str_eq(resolve("tcp://db.example.:1", AF_INET6), "static tcp://[2001:db8::7]:1 ");
    cr_expect_not_null(strstr(resolve("tcp://db.example:1", 0), "tcp://[2001:db8::7]:1"));
    cr_expect_not_null(strstr(resolve("tcp://db.example:1", 0), "tcp://192.0.2.7:1"));
    cr_expect_eq(conduit_ctx_remove_host(ctx, "db.Example"), 0);
    cr_expect_eq(conduit_ctx_remove_host(ctx, "db.example"), CONDUIT_ENONAME);
    cr_expect_eq(conduit_ctx_add_host(ctx, "db.example", "[2001:db8::7]"), 0);
    cr_expect_str_eq(resolve("tcp://db.example:1", AF_INET),
                     "resolve: db.example: its addresses are of the other family");
    cr_expect_eq(conduit_ctx_add_rule(ctx, "a.example", "tcp://db.example:9"), 0);
    cr_expect_str_eq(resolve("tcp://a.example:1", 0), "static tcp://[2001:db8::7]:9 ");
    end();
}

CDT_TEST(hosts, what_is_no_name_or_no_address_is_refused)
{
    static const struct {
        const char *name, *address;
    } rows[] = {
        {"", "192.0.2.7"},    {"*", "192.0.2.7"},
        {"*.a", "192.0.2.7"}, {"192.0.2.1", "192.0.2.7"},
        {"a b", "192.0.2.7"}, {"a", ""},
        {"a", "b"},           {"a", "192.0.2.7:80"},
        {"a", "192.0.2.07"},  {"a", "192.0.2"},
        {"a", "127.1"},       {"a", "::1::"},
        {"a", "unix:/run/x"}, {"a", "192.0.2.7/24"},
    };
    begin();
    for (size_t i = 0; i < LENGTH(rows); i++)
        cr_expect_eq(conduit_ctx_add_host(ctx, rows[i].name, rows[i].address), CONDUIT_EINVAL,
                     "%s %s", rows[i].name, rows[i].address);
    end();
}
