/* SPDX-License-Identifier: ISC */
/*
 * NAME.xen by a xenstore that is a table in this process: who is believed, what is remembered and
 * for how long, and what becomes of it when xenstored ends.
 */
#include "fake-store.h"
#include "harness.h"
#include <conduit/resolver.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>
#include <xenstore.h>

enum { US = 3 };

static char found[256];

/* The library's question whether there is a xenstore at all: here is one. */
int access(const char *path, int mode)
{
    if (strcmp(path, "/dev/xen/xenbus") == 0)
        return 0;
    return faccessat(AT_FDCWD, path, mode, 0);
}

static void begin(void)
{
    fake_store_begin(US);
    cdt_open_ctx(NULL);
}

static void end(void)
{
    cdt_close_ctx();
    cr_expect_eq(fake_store_end(), 0, "a watch is left");
}

static void name(unsigned owner, const char *path, const char *value)
{
    fake_store_put(owner, path, value, strlen(value), -1, XS_PERM_READ);
}

static void on_resolved(conduit_resolution *resolution, const conduit_answer *answers, size_t n,
                        const conduit_error *why, void *user)
{
    snprintf(found, sizeof(found), "%s",
             n > 0 ? conduit_endpoint_uri(answers[0].endpoint) : conduit_error_text(why));
}

/* What `uri` leads to, or why to nothing. The loop runs for this question only. */
static const char *ask(const char *uri)
{
    *found = '\0';
    cr_assert_eq(conduit_resolve(cdt_ctx, uri, NULL, on_resolved, NULL, NULL), 0);
    while (*found == '\0')
        cdt_turn(1);
    return found;
}

/* How often xenstore was read for it. */
static unsigned readings_for(const char *uri)
{
    unsigned before = fake_store_readings;
    ask(uri);
    return fake_store_readings - before;
}

CDT_TEST(xenstore, a_name_is_remembered_until_something_changes)
{
    begin();
    name(0, "/conduit/www", "5");
    cr_expect_str_eq(ask("http://www.xen/"), "vchan://5/http");
    ask("http://www.xen/"); /* the watch fires when it is set */
    cr_expect_eq(readings_for("http://www.xen/"), 0);
    cr_expect_eq(readings_for("http://WWW.Xen:8080/"), 0);
    cr_expect_str_eq(found, "vchan://5/8080");
    name(0, "/conduit/other", "6");
    cr_expect_eq(readings_for("http://www.xen/"), 1, "which of them has changed is not looked at");
    name(0, "/conduit/www", "6");
    cr_expect_str_eq(ask("http://www.xen/"), "vchan://6/http", "the loop has not run since");
    fake_store_remove("/conduit/www");
    cr_expect_not_null(strstr(ask("http://www.xen/"), "no domain of this name"), "%s", found);
    name(US, "/conduit/www", "3");
    cdt_turns_within(20);
    cr_expect_str_eq(ask("http://www.xen/"), "vchan://3/http", "there is a no that is remembered");
    end();
}

CDT_TEST(xenstore, what_another_domain_says_of_a_name_is_not_believed)
{
    static const struct {
        unsigned owner;
        const char *value, *found;
    } rows[] = {
        {0, "5", "vchan://5/http"},
        {5, "5", "vchan://5/http"},
        {7, "5", "not believed"},
        {5, "0", "not believed"},
        {0, "", "no domain"},
        {0, "five", "no domain"},
        {0, "5\n", "no domain"},
        {0, "-5", "no domain"},
        {0, "32751", "vchan://32751/http"},
        {0, "32752", "no domain"},
        {0, "4294967301", "no domain"},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        begin();
        name(rows[i].owner, "/conduit/www", rows[i].value);
        cr_expect_not_null(strstr(ask("http://www.xen/"), rows[i].found), "%u says \"%s\": %s",
                           rows[i].owner, rows[i].value, found);
        cr_expect_not_null(strstr(ask("http://www.xen/"), rows[i].found), "again: %s", found);
        end();
    }
}

CDT_TEST(xenstore, what_it_has_said_does_not_outlive_it)
{
    begin();
    name(0, "/conduit/www", "5");
    ask("http://www.xen/");
    cr_expect_str_eq(ask("http://www.xen/"), "vchan://5/http");
    fake_store_gone = true;
    cr_expect_not_null(strstr(ask("http://www.xen/"), "no domain"), "%s", found);
    cr_expect_not_null(strstr(ask("http://www.xen/"), "no domain"), "%s", found);
    end();
}
