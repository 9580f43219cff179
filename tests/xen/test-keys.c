/* SPDX-License-Identifier: ISC */
/*
 * What stands in xenstore: who is believed, what is read strictly, what belongs together, what is
 * left behind. All that another domain may write is hostile here, and changes while it is read.
 */
#include "fake-store.h"
#include "support.h"
#include "transports/vchan/xen/keys.h"
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

enum { US = 3, PEER = 5, STRANGER = 7 };

#define RING "/local/domain/5/data/vchan/3/echo"

static struct cdt_xen xen;

static void begin(unsigned domain)
{
    fake_store_begin(domain);
    xen = (struct cdt_xen){.domain = domain, .store = xs_open(0)};
}

static void end(void)
{
    xs_close(xen.store);
    cr_expect_eq(fake_store_end(), 0);
}

static void put(unsigned owner, const char *path, const char *value)
{
    fake_store_put(owner, path, value, strlen(value), -1, XS_PERM_READ);
}

/* ---- offers ---- */

static void offer(const char *path, const char *page, const char *channel)
{
    char key[128];
    snprintf(key, sizeof(key), "%s/ring-ref", path);
    put(PEER, key, page);
    snprintf(key, sizeof(key), "%s/event-channel", path);
    put(PEER, key, channel);
}

CDT_TEST(xenkeys, an_offer_is_its_clients_and_leaves_nothing)
{
    char path[CDT_XEN_PATH];
    struct cdt_xen_offer got;
    begin(PEER);
    unsigned before = fake_store_nodes();
    cdt_xen_ring_path(path, PEER, US, "echo", NULL);
    cr_assert_str_eq(path, RING);
    cr_assert_eq(cdt_xen_offer_publish(&xen, path, US, (struct cdt_xen_offer){4294967295, 9}), 0);
    fake_store_be(US);
    cr_assert_eq(cdt_xen_offer_read(&xen, path, &got), 0);
    cr_expect(got.page == 4294967295 && got.channel == 9);
    cr_expect(cdt_xen_offer_there(&xen, path));
    fake_store_be(STRANGER);
    cr_expect_eq(cdt_xen_offer_read(&xen, path, &got), ENOENT);
    cr_expect(!cdt_xen_offer_there(&xen, path));
    fake_store_be(PEER);
    cdt_xen_offer_withdraw(&xen, path);
    cr_expect_eq(fake_store_nodes(), before);
    end();
}

CDT_TEST(xenkeys, an_offer_is_read_strictly)
{
    static const struct {
        const char *page, *channel;
        int number;
    } rows[] = {
        {"8", "9", 0},
        {"4294967295", "2147483647", 0},
        {"4294967296", "9", EPROTO},
        {"8", "2147483648", EPROTO},
        {"8", "4294967305", EPROTO},
        {"", "9", EPROTO},
        {"8", "", EPROTO},
        {"-1", "9", EPROTO},
        {"+8", "9", EPROTO},
        {" 8", "9", EPROTO},
        {"8 ", "9", EPROTO},
        {"8\n", "9", EPROTO},
        {"0x8", "9", EPROTO},
        {"8", "9.0", EPROTO},
        {"99999999999999999999999999999999999999999999999999999999999999999999", "9", EPROTO},
    };
    struct cdt_xen_offer got;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        begin(US);
        offer(RING, rows[i].page, rows[i].channel);
        cr_expect_eq(cdt_xen_offer_read(&xen, RING, &got), rows[i].number, "\"%s\" \"%s\"",
                     rows[i].page, rows[i].channel);
        offer(RING "@0123456789abcdef", rows[i].page, rows[i].channel);
        cr_expect_eq(cdt_xen_offer_read(&xen, RING "@0123456789abcdef", &got), rows[i].number);
        end();
    }
    begin(US);
    fake_store_put(PEER, RING "/ring-ref", "8\0009", 3, -1, XS_PERM_READ);
    put(PEER, RING "/event-channel", "9");
    cr_expect_eq(cdt_xen_offer_read(&xen, RING, &got), EPROTO, "a NUL in it");
    end();
}

/* Three offers, one after another; the first and the last have the same grant. */
static void offer_again(unsigned reading)
{
    if (reading == 2)
        offer(RING, "12", "22");
    if (reading == 3)
        offer(RING, "11", "23");
}

CDT_TEST(xenkeys, keys_that_are_read_belong_together)
{
    struct cdt_xen_offer got;
    begin(US);
    offer(RING, "11", "21");
    fake_store_meanwhile = offer_again;
    cr_assert_eq(cdt_xen_offer_read(&xen, RING, &got), 0);
    cr_expect((got.page == 11 && (got.channel == 21 || got.channel == 23)) ||
                  (got.page == 12 && got.channel == 22),
              "grant %u of one and channel %u of another", got.page, got.channel);
    end();
}

static void offer_for_ever(unsigned reading)
{
    offer(RING, reading % 2 == 0 ? "12" : "11", "21");
}

CDT_TEST(xenkeys, who_never_stops_writing_and_a_busy_store_end_it)
{
    struct cdt_xen_offer got;
    begin(US);
    offer(RING, "11", "21");
    fake_store_meanwhile = offer_for_ever;
    cr_expect_eq(cdt_xen_offer_read(&xen, RING, &got), EAGAIN);
    cr_expect_leq(fake_store_readings, 100);
    fake_store_meanwhile = NULL;
    fake_store_busy = 100;
    cr_expect_eq(cdt_xen_offer_read(&xen, RING, &got), EAGAIN, "its ten transactions are taken");
    fake_store_busy = 0;
    fake_store_gone = true;
    cr_expect_eq(cdt_xen_offer_read(&xen, RING, &got), EIO);
    fake_store_gone = false;
    end();
}

static pid_t dead_process(void)
{
    pid_t child = fork();
    if (child == 0)
        _exit(0);
    waitpid(child, NULL, 0);
    return child;
}

CDT_TEST(xenkeys, what_the_dead_have_offered_is_removed_and_nothing_else)
{
    static const char *const rings[] = {"5/echo", "5/echo@0123456789abcdef", "9/echo", "9/echo2",
                                        "9/other"};
    const char *values[5];
    char path[128], dead[16], living[16];
    begin(US);
    snprintf(dead, sizeof(dead), "%d", dead_process());
    snprintf(living, sizeof(living), "%d", getpid());
    for (int of_dead = 0; of_dead < 2; of_dead++) {
        for (size_t i = 0; i < 5; i++) {
            snprintf(path, sizeof(path), "/local/domain/3/data/vchan/%s/process", rings[i]);
            put(US, path, of_dead ? dead : living);
        }
        cdt_xen_offers_clean(&xen, "echo");
        for (size_t i = 0; i < 5; i++) {
            snprintf(path, sizeof(path), "/local/domain/3/data/vchan/%s/process", rings[i]);
            values[i] = fake_store_value(path);
            cr_expect_eq(values[i] == NULL, of_dead && i < 3, "%s", rings[i]);
        }
    }
    end();
}

/* ---- names ---- */

CDT_TEST(xenkeys, a_name_is_dom0s_word_or_the_domains_own)
{
    static const struct {
        unsigned owner;
        const char *value;
        int number;
        unsigned domain;
    } rows[] = {
        {0, "5", 0, 5},          {5, "5", 0, 5},       {7, "5", EPERM, 5},
        {7, "7", 0, 7},          {5, "0", EPERM, 0},   {0, "32751", 0, 32751},
        {0, "32752", EPROTO, 0}, {0, "", EPROTO, 0},   {0, "five", EPROTO, 0},
        {0, "5 ", EPROTO, 0},    {0, "-5", EPROTO, 0}, {0, "5/6", EPROTO, 0},
    };
    struct cdt_xen_name found;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        begin(US);
        put(rows[i].owner, "/conduit/web", rows[i].value);
        cr_expect_eq(cdt_xen_name_find(&xen, "web", &found), rows[i].number, "%u says \"%s\"",
                     rows[i].owner, rows[i].value);
        if (rows[i].number != EPROTO)
            cr_expect_eq(found.domain, rows[i].domain);
        cr_expect_eq(cdt_xen_name_find(&xen, "nobody", &found), ENOENT);
        cr_expect_eq(cdt_xen_name_find(&xen, "a.b", &found), EINVAL);
        cr_expect_eq(cdt_xen_name_find(&xen, "32752", &found), EINVAL);
        cr_expect(cdt_xen_name_find(&xen, "17", &found) == 0 && found.domain == 17);
        end();
    }
}

/* dom0's node, until somebody else's stands there, and dom0's again. */
static void borrow_name(unsigned reading)
{
    fake_store_meanwhile = NULL;
    put(STRANGER, "/conduit/web", "5");
}

CDT_TEST(xenkeys, a_name_that_changes_hands_while_it_is_read_is_nobodys_word)
{
    struct cdt_xen_name found;
    begin(US);
    put(0, "/conduit/web", "6");
    fake_store_meanwhile = borrow_name;
    cr_expect_eq(cdt_xen_name_find(&xen, "web", &found), EPERM);
    end();
}

CDT_TEST(xenkeys, a_name_is_taken_if_it_is_free_and_dropped_if_it_is_ours)
{
    bool made;
    begin(US);
    cr_assert_eq(cdt_xen_name_take(&xen, "web", &made), 0);
    cr_expect(made);
    cr_expect_str_eq(fake_store_value("/conduit/web"), "3");
    cr_assert_eq(cdt_xen_name_take(&xen, "web", &made), 0);
    cr_expect(!made, "it was there");
    put(0, "/local/domain/5", "");
    fake_store_put(PEER, "/conduit/web", "5", 1, -1, XS_PERM_READ | XS_PERM_WRITE);
    cr_expect_eq(cdt_xen_name_take(&xen, "web", &made), EADDRINUSE);
    cdt_xen_name_drop(&xen, "web");
    cr_expect_str_eq(fake_store_value("/conduit/web"), "5", "another's by now");
    fake_store_remove("/local/domain/5");
    fake_store_be(0);
    xen.domain = 0;
    cr_expect_eq(cdt_xen_name_take(&xen, "web", &made), 0, "of a domain that is no more");
    cdt_xen_name_drop(&xen, "web");
    cr_expect_null(fake_store_value("/conduit/web"));
    end();
}

/* ---- doors ---- */

#define DOOR "/local/domain/3/data/conduit/echo"

CDT_TEST(xenkeys, who_asks_is_who_owns_the_request)
{
    char nonce[CDT_XEN_NONCE];
    struct cdt_xen_request request;
    begin(US);
    cr_assert_eq(cdt_xen_door_open(&xen, DOOR, NULL), 0);
    fake_store_be(PEER);
    xen.domain = PEER;
    cr_assert_eq(cdt_xen_request_make(&xen, DOOR, US, nonce, 4096, 0), 0);
    cr_expect(cdt_xen_is_nonce(nonce), "%s", nonce);
    fake_store_be(US);
    xen.domain = US;
    cr_assert_eq(cdt_xen_request_read(&xen, DOOR, nonce, &request), 0);
    cr_expect(request.client == PEER && request.read == 4096 && request.write == 0);
    cr_expect(cdt_xen_request_waits(&xen, DOOR, nonce));
    cr_expect_eq(cdt_xen_request_remove(&xen, DOOR, nonce), 0);
    cr_expect(!cdt_xen_request_waits(&xen, DOOR, nonce));
    cr_expect_eq(cdt_xen_request_remove(&xen, DOOR, nonce), 0, "it is gone already");
    end();
}

CDT_TEST(xenkeys, nobody_is_asked_where_there_is_no_door)
{
    char nonce[CDT_XEN_NONCE];
    begin(US);
    unsigned before = fake_store_nodes();
    cr_expect_eq(cdt_xen_request_make(&xen, DOOR, PEER, nonce, 0, 0), ENOENT);
    cr_expect_eq(fake_store_nodes(), before);
    end();
}

CDT_TEST(xenkeys, requests_are_read_strictly)
{
    static const struct {
        const char *value;
        int number;
    } rows[] = {
        {"0 0", 0},
        {"1048576 1048576", 0},
        {"1048577 0", EPROTO},
        {"0 1048577", EPROTO},
        {"", EPROTO},
        {"0", EPROTO},
        {"0 ", EPROTO},
        {" 0 0", EPROTO},
        {"0  0", EPROTO},
        {"0 0 ", EPROTO},
        {"0 0 0", EPROTO},
        {"-1 0", EPROTO},
        {"0\t0", EPROTO},
        {"99999999999999999999999 0", EPROTO},
    };
    struct cdt_xen_request request;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        begin(US);
        put(PEER, DOOR "/0123456789abcdef", rows[i].value);
        cr_expect_eq(cdt_xen_request_read(&xen, DOOR, "0123456789abcdef", &request), rows[i].number,
                     "\"%s\"", rows[i].value);
        end();
    }
    begin(US);
    put(40000, DOOR "/0123456789abcdef", "0 0");
    cr_expect_eq(cdt_xen_request_read(&xen, DOOR, "0123456789abcdef", &request), EPROTO,
                 "no domain has that number");
    end();
}

CDT_TEST(xenkeys, a_nonce_is_sixteen_digits)
{
    static const char *const no[] = {"",
                                     "x",
                                     "0123456789abcde",
                                     "0123456789abcdef0",
                                     "0123456789ABCDEF",
                                     "0123456789abcdeg",
                                     "../../../../5/x"};
    cr_expect(cdt_xen_is_nonce("0123456789abcdef"));
    for (size_t i = 0; i < sizeof(no) / sizeof(no[0]); i++)
        cr_expect(!cdt_xen_is_nonce(no[i]), "%s", no[i]);
}
