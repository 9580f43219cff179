/* SPDX-License-Identifier: ISC */
/*
 * The hosts file: what stands in it, in what shape it may be, and when it is looked at again.
 */
#include "lone.h"
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

static const char *write_hosts(const char *text)
{
    const char *path = cdt_test_path("hosts");
    lone_write_file(path, text, strlen(text));
    return path;
}

static void *attach_hosts(const char *path)
{
    conduit_ctx_options options = {.hosts_file = path};
    void *state = NULL;
    cr_assert_eq(cdt_resolver_hosts.attach(NULL, &options, &state), 0);
    return state;
}

static void expect_hosts(void *state, const char *host, const char *story)
{
    conduit_query like = {.transport = "tcp", .host = host};
    lone_expect_story("hosts", host, lone_ask_at_once(&cdt_resolver_hosts, state, &like), story);
}

CDT_TEST(hosts, reads_hosts_5)
{
    static const struct row rows[] = {
        {"tcp", "one", 0, false, "192.0.2.1=-1 code 0"},
        {"tcp", "ONE.example.", 0, true, "192.0.2.1=-1 code 0"},
        {"tcp", "two.example", 0, false, "192.0.2.2=-1 2001:db8::2=-1 code 0"},
        {"tcp", "two", AF_INET6, false, "2001:db8::2=-1 code 0"},
        {"tcp", "one", AF_INET6, false, "code 1"},
        {"tcp", "tabs", 0, false, "192.0.2.3=-1 code 0"},
        {"tcp", "zone", 0, false, "fe80::1%1=-1 code 0"},
        {"tcp", "last", 0, false, "192.0.2.9=-1 code 0"},
        {"tcp", "comment", 0, false, "code 1"},
        {"tcp", "bad", 0, false, "code 1"},
        {"tcp", "192.0.2.5", 0, false, "code 1"},
        {"tcp", "dot", 0, false, "192.0.2.6=-1 code 0"},
        {"tcp", "missing.example", 0, false, "code 1"},
        {"tcp", "", 0, true, "-"},
        {"unix", "one", 0, false, "-"},
    };
    const char *path = write_hosts("# comment\n\n"
                                   "192.0.2.1 one One.Example # comment\n"
                                   "192.0.2.2 two.example TWO\n"
                                   "2001:db8::2 two two.example\n"
                                   "192.0.2.2 two\n"
                                   "\t192.0.2.3 \t tabs\r\n"
                                   "fe80::1%lo zone\n"
                                   "fe80::1%none0 bad\n"
                                   "999.0.2.4 bad\n"
                                   "name bad\n"
                                   "192.0.2.5\n"
                                   "192.0.2.6 dot. . \n"
                                   "#192.0.2.7 comment\n"
                                   "192.0.2.9 last");
    void *state = attach_hosts(path);
    lone_expect_rows(&cdt_resolver_hosts, state, rows, sizeof(rows) / sizeof(rows[0]));
    cdt_resolver_hosts.detach(state);
}

CDT_TEST(hosts, sees_a_change_within_a_second_and_looks_no_more_often)
{
    const char *path = write_hosts("192.0.2.1 one\n");
    void *state = attach_hosts(path);
    expect_hosts(state, "one", "192.0.2.1=-1 code 0");
    write_hosts("192.0.2.22 one\n");
    expect_hosts(state, "one", "192.0.2.1=-1 code 0");
    lone_let_a_second_pass();
    expect_hosts(state, "one", "192.0.2.22=-1 code 0");
    cr_assert_eq(unlink(path), 0);
    lone_let_a_second_pass();
    expect_hosts(state, "one", "code 1");
    write_hosts("192.0.2.3 one\n");
    lone_let_a_second_pass();
    expect_hosts(state, "one", "192.0.2.3=-1 code 0");
    cdt_resolver_hosts.detach(state);
}

CDT_TEST(hosts, never_waits_for_what_is_not_a_file)
{
    const char *path = cdt_test_path("hosts");
    cr_assert_eq(mkfifo(path, 0600), 0);
    void *state = attach_hosts(path);
    expect_hosts(state, "one", "code 1");
    cdt_resolver_hosts.detach(state);
    state = attach_hosts(cdt_test_path(""));
    expect_hosts(state, "one", "code 1");
    cdt_resolver_hosts.detach(state);
    state = attach_hosts(cdt_test_path("none"));
    expect_hosts(state, "one", "code 1");
    cdt_resolver_hosts.detach(state);
    state = attach_hosts("");
    expect_hosts(state, "one", "-");
    cdt_resolver_hosts.detach(state);
}

CDT_TEST(hosts, reads_a_megabyte_and_no_half_line)
{
    enum { SIZE = (1 << 20) + 4096 };
    static char text[SIZE];
    size_t n = (size_t)snprintf(text, sizeof(text), "192.0.2.1 first\n");
    memset(text + n, '#', sizeof(text) - n);
    text[(1 << 20) - 20] = '\n';
    memcpy(text + (1 << 20) - 19, "192.0.2.2 cut.example\n", 22); /* cut after "cut.examp" */
    const char *path = cdt_test_path("hosts");
    lone_write_file(path, text, sizeof(text));
    void *state = attach_hosts(path);
    expect_hosts(state, "first", "192.0.2.1=-1 code 0");
    expect_hosts(state, "cut.examp", "code 1");
    expect_hosts(state, "cut.example", "code 1");
    cdt_resolver_hosts.detach(state);
}

CDT_TEST(hosts, takes_binary_rubbish_without_harm)
{
    static char text[65536];
    unsigned seed = 1;
    for (size_t i = 0; i < sizeof(text); i++) {
        seed = seed * 1103515245 + 12345;
        text[i] = seed >> 24 < 40 ? '\n' : (char)(seed >> 16);
    }
    memcpy(text, "192.0.2.1 a\0b\n192.0.2.2 c\n", 26);
    const char *path = cdt_test_path("hosts");
    lone_write_file(path, text, sizeof(text));
    void *state = attach_hosts(path);
    expect_hosts(state, "a", "192.0.2.1=-1 code 0");
    expect_hosts(state, "c", "192.0.2.2=-1 code 0");
    cdt_resolver_hosts.detach(state);
}
