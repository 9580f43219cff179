/* SPDX-License-Identifier: ISC */
/*
 * Descriptors passed over Unix sockets: both ways, in order, and from peers that pass too many.
 *
 * What is passed is the writing end of a pipe: who got it writes, and when the last holder has
 * closed it, the reading end ends. So no descriptor can be kept, or lost, without being seen.
 * CDT_TEST looks whether any is left.
 */
#include "harness.h"
#include "proxy.h"
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

enum { MOST = 64, KERNEL_MOST = 253 };

struct end {
    struct cdt_side side; /* first: it is the `user` of the callbacks */
    int fds[300];
    int n;
    size_t received_before[300]; /* bytes, when each came */
    bool got_one;
    void (*react)(struct end *end);
};

static struct end client, server;
static conduit_listener *listener;
static conduit_handler taking;

static void on_fd(conduit_conn *conn, int fd, void *user)
{
    struct end *end = user;
    cr_assert_eq(conn, end->side.conn);
    cr_assert(!end->side.closed);
    cr_expect(fcntl(fd, F_GETFD) & FD_CLOEXEC, "a descriptor would leak into children");
    end->received_before[end->n] = end->side.received;
    end->fds[end->n++] = fd;
    end->got_one = true;
    if (end->react != NULL)
        end->react(end);
}

static const char *path_uri(void)
{
    static char uri[256];
    snprintf(uri, sizeof(uri), "unix:%s", cdt_test_path("s"));
    return uri;
}

static void open_ctx(void)
{
    taking = cdt_side_handler;
    taking.on_fd = on_fd;
    cdt_open_ctx(NULL);
}

static void serve(const char *uri, const conduit_listen_options *options)
{
    cr_assert_eq(conduit_listen(cdt_ctx, uri, options, &taking, &server, &listener), 0, "%s",
                 conduit_error_text(conduit_ctx_error(cdt_ctx)));
}

static void call(const conduit_connect_options *options)
{
    cr_assert_eq(conduit_connect(cdt_ctx, conduit_listener_uri(listener, 0), options, &taking,
                                 &client, &client.side.conn),
                 0, "%s", conduit_error_text(conduit_ctx_error(cdt_ctx)));
}

static void meet(const char *uri)
{
    open_ctx();
    serve(uri, NULL);
    call(NULL);
    cdt_await(&client.side.opened);
    cdt_await(&server.side.opened);
}

static void drop_fds(struct end *end)
{
    while (end->n > 0)
        close(end->fds[--end->n]);
}

static void finish(void)
{
    cdt_close_ctx();
    cdt_side_clear(&client.side);
    cdt_side_clear(&server.side);
    drop_fds(&client);
    drop_fds(&server);
}

/* ---- what is passed ---- */

static int reading = -1, writing = -1;

static void make_pipe(void)
{
    int fds[2];
    cr_assert_eq(pipe2(fds, O_CLOEXEC), 0);
    reading = fds[0];
    writing = fds[1];
}

/* Nobody holds the writing end any more, we least of all. */
static void expect_pipe_ended(void)
{
    char byte;
    struct pollfd poll_fd = {.fd = reading, .events = POLLIN};
    close(writing);
    writing = -1;
    cr_assert_eq(poll(&poll_fd, 1, 5000), 1, "somebody keeps a descriptor");
    cr_expect_eq(read(reading, &byte, 1), 0);
    close(reading);
    reading = -1;
}

static void expect_leads_to_pipe(int fd)
{
    char byte = '-';
    cr_expect_eq(write(fd, "x", 1), 1);
    cr_expect_eq(read(reading, &byte, 1), 1);
    cr_expect_eq(byte, 'x');
}

/* `n` bytes of the pattern that a side sends, from where it is. */
static int pass(struct end *from, int fd, size_t n)
{
    unsigned char bytes[1024];
    cdt_pattern(bytes, from->side.sent, n);
    int code = conduit_send_fd(from->side.conn, fd, bytes, n);
    if (code >= 0) {
        from->side.sent += n;
        from->side.to_send += n;
    }
    return code;
}

/* A peer that is a bare socket, connected to the server. */
static int raw_peer(void)
{
    struct sockaddr_storage at;
    socklen_t len = sizeof(at);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    cr_assert_eq(getsockname(conduit_listener_fd(listener, 0), (struct sockaddr *)&at, &len), 0);
    cr_assert_eq(connect(fd, (struct sockaddr *)&at, len), 0);
    cdt_await(&server.side.opened);
    return fd;
}

static void raw_pass(int to, int fd, int times, const void *data, size_t n)
{
    union {
        struct cmsghdr head;
        char bytes[CMSG_SPACE(KERNEL_MOST * sizeof(int))];
    } control = {.bytes = {0}};
    struct iovec piece = {.iov_base = (void *)(uintptr_t)data, .iov_len = n};
    const size_t size = (size_t)times * sizeof(int);
    struct msghdr message = {.msg_iov = &piece,
                             .msg_iovlen = 1,
                             .msg_control = &control,
                             .msg_controllen = CMSG_SPACE(size)};
    control.head = (struct cmsghdr){
        .cmsg_len = CMSG_LEN(size), .cmsg_level = SOL_SOCKET, .cmsg_type = SCM_RIGHTS};
    for (int i = 0; i < times; i++)
        memcpy(CMSG_DATA(&control.head) + (size_t)i * sizeof(int), &fd, sizeof(fd));
    cr_assert_eq(sendmsg(to, &message, MSG_NOSIGNAL), (ssize_t)n, "%s", strerror(errno));
}

/* ---- both ways ---- */

static void exchange(void)
{
    make_pipe();
    cdt_side_expect(&server.side, 3);
    cdt_side_expect(&client.side, 1);
    cr_assert_eq(pass(&client, writing, 3), 0);
    cdt_await(&server.side.complete);
    cr_assert_eq(server.n, 1);
    expect_leads_to_pipe(server.fds[0]);
    cr_assert_eq(pass(&server, server.fds[0], 1), 0);
    cdt_await(&client.side.complete);
    cr_assert_eq(client.n, 1);
    expect_leads_to_pipe(client.fds[0]);
    cr_expect(!server.side.garbled && !client.side.garbled);
    drop_fds(&client);
    drop_fds(&server);
    expect_pipe_ended();
}

CDT_TEST(descriptors, pass_both_ways_over_a_path)
{
    meet(path_uri());
    exchange();
    cr_expect_eq(conduit_conn_info(client.side.conn)->bytes_out, 3);
    cr_expect_eq(conduit_conn_info(server.side.conn)->bytes_in, 3);
    finish();
}

CDT_TEST(descriptors, pass_both_ways_over_a_name)
{
    char uri[128];
    snprintf(uri, sizeof(uri), "unix-abstract:conduit-test-fds-%ld", (long)getpid());
    meet(uri);
    exchange();
    finish();
}

CDT_TEST(descriptors, pass_both_ways_over_a_pair_that_was_adopted)
{
    int fds[2];
    open_ctx();
    cr_assert_eq(socketpair(AF_UNIX, SOCK_STREAM, 0, fds), 0);
    cr_assert_eq(conduit_adopt(cdt_ctx, fds[0], NULL, &taking, &client, &client.side.conn), 0);
    cr_assert_eq(conduit_adopt(cdt_ctx, fds[1], NULL, &taking, &server, &server.side.conn), 0);
    cdt_await(&client.side.opened);
    cdt_await(&server.side.opened);
    exchange();
    finish();
}

CDT_TEST(descriptors, come_in_order_and_not_after_the_bytes_they_were_sent_with)
{
    enum { TIMES = 50 };
    int tens[TIMES];
    meet(path_uri());
    cdt_side_expect(&server.side, TIMES * 10);
    for (int i = 0; i < TIMES; i++) { /* each is told from the others by its offset */
        tens[i] = open("/proc/self/exe", O_RDONLY | O_CLOEXEC);
        cr_assert_eq(lseek(tens[i], i, SEEK_SET), i);
        cr_assert_eq(pass(&client, tens[i], 4), 0);
        cdt_side_send(&client.side, 6);
    }
    cdt_await(&server.side.complete);
    cr_assert_eq(server.n, TIMES);
    for (int i = 0; i < TIMES; i++) {
        cr_expect_eq(lseek(server.fds[i], 0, SEEK_CUR), i);
        cr_expect_leq(server.received_before[i], (size_t)i * 10);
        close(tens[i]);
    }
    cr_expect(!server.side.garbled);
    finish();
}

CDT_TEST(descriptors, that_nobody_takes_are_dropped_and_the_bytes_are_not)
{
    taking = cdt_side_handler;
    cdt_open_ctx(NULL);
    make_pipe();
    serve(path_uri(), NULL);
    call(NULL);
    cdt_await(&client.side.opened);
    cdt_await(&server.side.opened);
    cdt_side_expect(&server.side, 5);
    cr_assert_eq(pass(&client, writing, 5), 0);
    cdt_await(&server.side.complete);
    cr_expect(!server.side.garbled && server.n == 0);
    expect_pipe_ended();
    finish();
}

/* ---- peers that pass too many ---- */

CDT_TEST(descriptors, as_many_as_are_allowed_come_all)
{
    unsigned char bytes[3];
    open_ctx();
    make_pipe();
    serve(path_uri(), NULL);
    int peer = raw_peer();
    cdt_pattern(bytes, 0, sizeof(bytes));
    cdt_side_expect(&server.side, sizeof(bytes));
    raw_pass(peer, writing, MOST, bytes, sizeof(bytes));
    cdt_await(&server.side.complete);
    cr_expect_eq(server.n, MOST);
    drop_fds(&server);
    expect_pipe_ended();
    close(peer);
    finish();
}

CDT_TEST(descriptors, more_than_are_allowed_end_the_connection_and_none_is_kept)
{
    static const int counts[] = {MOST + 1, MOST + 8, MOST + 9, KERNEL_MOST};
    for (size_t i = 0; i < sizeof(counts) / sizeof(counts[0]); i++) {
        open_ctx();
        make_pipe();
        serve(path_uri(), NULL);
        int peer = raw_peer();
        raw_pass(peer, writing, counts[i], "abc", 3);
        cdt_await(&server.side.closed);
        cr_expect_eq(cdt_side_code(&server.side), CONDUIT_ELIMIT, "%d: %s", counts[i],
                     cdt_side_text(&server.side));
        cr_expect_not_null(strstr(cdt_side_text(&server.side), "more than 64 descriptors"));
        cr_expect_eq(server.n, 0);
        cr_expect_eq(server.side.received, 0);
        expect_pipe_ended();
        close(peer);
        finish();
    }
}

CDT_TEST(descriptors, for_which_there_is_no_room_end_the_connection_and_none_is_kept)
{
    struct rlimit before, tight;
    open_ctx();
    make_pipe();
    serve(path_uri(), NULL);
    int peer = raw_peer();
    raw_pass(peer, writing, 40, "abc", 3);
    int next = dup(peer);
    close(next);
    cr_assert_eq(getrlimit(RLIMIT_NOFILE, &before), 0);
    tight = (struct rlimit){.rlim_cur = (rlim_t)next + 7, .rlim_max = before.rlim_max};
    cr_assert_eq(setrlimit(RLIMIT_NOFILE, &tight), 0);
    cdt_await(&server.side.closed);
    cr_assert_eq(setrlimit(RLIMIT_NOFILE, &before), 0);
    cr_expect_eq(cdt_side_code(&server.side), CONDUIT_ELIMIT, "%s", cdt_side_text(&server.side));
    cr_expect_not_null(strstr(cdt_side_text(&server.side), "no room"));
    cr_expect_eq(server.n, 0);
    expect_pipe_ended();
    close(peer);
    finish();
}

/* ---- connections that end meanwhile ---- */

static void free_now(struct end *end)
{
    conduit_conn_free(end->side.conn);
    end->side.closed = true;
}

static void close_now(struct end *end)
{
    conduit_close(end->side.conn);
}

static void pass_ten_to(void (*react)(struct end *end))
{
    open_ctx();
    make_pipe();
    serve(path_uri(), NULL);
    server.react = react;
    int peer = raw_peer();
    raw_pass(peer, writing, 10, "abc", 3);
    cdt_await(&server.got_one);
    raw_pass(peer, writing, 10, "def", 3);
    cdt_turn(5);
    cr_expect_eq(server.n, 1, "%d came after the end", server.n);
    cr_expect_eq(server.side.received, 0);
    close(peer);
    cdt_await(&server.side.closed);
    drop_fds(&server);
    expect_pipe_ended();
    finish();
}

CDT_TEST(descriptors, of_a_connection_that_is_closed_meanwhile_are_closed)
{
    pass_ten_to(close_now);
}

/* The peer may write on: it has a socket that nobody reads. */
CDT_TEST(descriptors, of_a_connection_that_is_freed_meanwhile_are_closed)
{
    open_ctx();
    make_pipe();
    serve(path_uri(), NULL);
    server.react = free_now;
    int peer = raw_peer();
    raw_pass(peer, writing, 10, "abc", 3);
    cdt_await(&server.side.closed);
    cr_expect_eq(server.n, 1);
    drop_fds(&server);
    expect_pipe_ended();
    close(peer);
    finish();
}

/* ---- what cannot be ---- */

CDT_TEST(descriptors, that_are_none_and_bytes_that_are_none_are_refused)
{
    meet(path_uri());
    int gone = dup(0);
    close(gone);
    cr_expect_eq(conduit_send_fd(client.side.conn, 0, "", 0), CONDUIT_EINVAL);
    cr_expect_eq(conduit_send_fd(client.side.conn, -1, "x", 1), CONDUIT_EINVAL);
    cr_expect_eq(conduit_send_fd(client.side.conn, gone, "x", 1), CONDUIT_EINVAL);
    exchange(); /* all of it left the connection as it was */
    conduit_end(client.side.conn);
    cr_expect_eq(conduit_send_fd(client.side.conn, 0, "x", 1), CONDUIT_ECLOSED);
    cdt_await(&client.side.closed);
    finish();
}

static void expect_unsupported(void)
{
    cdt_await(&client.side.opened);
    cdt_await(&server.side.opened);
    cr_expect_eq(conduit_send_fd(client.side.conn, 0, "x", 1), CONDUIT_ENOTSUP);
    cr_expect_eq(conduit_send_fd(server.side.conn, 0, "x", 1), CONDUIT_ENOTSUP);
    cdt_turn(5);
    cr_expect(server.side.received == 0 && server.n == 0);
}

CDT_TEST(descriptors, do_not_go_over_other_transports)
{
    static const char *const uris[] = {"tcp://127.0.0.1:0", "inproc://x"};
    for (size_t i = 0; i < 2; i++) {
        meet(uris[i]);
        expect_unsupported();
        finish();
    }
}

CDT_TEST(descriptors, do_not_go_through_tls)
{
    char uri[280];
    CDT_SKIP_WITHOUT_TLS();
    const conduit_listen_options listening = {.tls = cdt_server_tls()};
    const conduit_connect_options dialling = {.tls = cdt_client_tls(), .name = "a.example"};
    open_ctx();
    snprintf(uri, sizeof(uri), "tls+%s", path_uri());
    serve(uri, &listening);
    call(&dialling);
    expect_unsupported();
    finish();
    conduit_tls_unref(listening.tls);
    conduit_tls_unref(dialling.tls);
}

/* One is on its way when TLS begins, and belongs to neither. */
CDT_TEST(descriptors, do_not_go_through_tls_that_begins_later)
{
    CDT_SKIP_WITHOUT_TLS();
    const conduit_upgrade_options ours = {.tls = cdt_client_tls(), .name = "a.example"};
    const conduit_upgrade_options theirs = {.tls = cdt_server_tls()};
    meet(path_uri());
    exchange();
    cr_assert_eq(conduit_upgrade(client.side.conn, &ours), 0);
    cr_expect_eq(conduit_send_fd(client.side.conn, 0, "x", 1), CONDUIT_ENOTSUP);
    cr_assert_eq(conduit_upgrade(server.side.conn, &theirs), 0);
    cdt_side_expect(&server.side, 3 + 5);
    cdt_side_send(&client.side, 5);
    cdt_await(&server.side.complete);
    cr_expect_eq(conduit_send_fd(client.side.conn, 0, "x", 1), CONDUIT_ENOTSUP);
    cr_expect_eq(server.n, 0);
    finish();
    conduit_tls_unref(ours.tls);
    conduit_tls_unref(theirs.tls);
}

CDT_TEST(descriptors, do_not_go_through_a_proxy)
{
    struct cdt_proxy proxy = {0};
    char via[280];
    open_ctx();
    snprintf(via, sizeof(via), "socks5+%s", cdt_proxy_listen(&proxy, path_uri(), NULL));
    const conduit_connect_options dialling = {.via = via};
    serve("tcp://127.0.0.1:0", NULL);
    call(&dialling);
    expect_unsupported();
    finish();
}

/* ---- when there is no room just now ---- */

static bool went;

static void pass_when_drained(struct cdt_side *side, char event)
{
    if (event == 'r' && !went)
        went = pass(&client, writing, 1) >= 0;
}

CDT_TEST(descriptors, wait_until_the_connection_is_open)
{
    open_ctx();
    serve(path_uri(), NULL);
    call(NULL);
    cr_expect_eq(conduit_send_fd(client.side.conn, 0, "x", 1), CONDUIT_EAGAIN);
    cdt_await(&client.side.opened);
    cr_expect_eq(pass(&client, 0, 1), 0);
    cdt_await(&server.got_one);
    finish();
}

CDT_TEST(descriptors, do_not_overtake_bytes_that_are_queued)
{
    enum { LOTS = 1000 * 1000 };
    meet(path_uri());
    make_pipe();
    went = false;
    conduit_pause(server.side.conn);
    cdt_side_send(&client.side, LOTS);
    cr_assert_gt(conduit_queued(client.side.conn), 0);
    cr_expect_eq(pass(&client, writing, 1), CONDUIT_EAGAIN);
    client.side.react = pass_when_drained;
    cdt_side_expect(&server.side, LOTS + 1);
    conduit_resume(server.side.conn);
    cdt_await(&server.side.complete);
    cr_expect(!server.side.garbled);
    cr_expect_eq(server.n, 1);
    cr_expect_gt(server.received_before[0], LOTS / 2);
    drop_fds(&server);
    expect_pipe_ended();
    finish();
}

/* Nothing is queued here, but the kernel takes no more. */
CDT_TEST(descriptors, that_the_kernel_has_no_room_for_can_be_passed_when_it_has)
{
    int code = 0, passed = 0;
    meet(path_uri());
    make_pipe();
    went = false;
    conduit_pause(server.side.conn);
    cdt_turn(2);
    while (passed < 280 && (code = pass(&client, writing, 1024)) == 0)
        passed++;
    cr_assert_eq(conduit_queued(client.side.conn), 0);
    cr_assert_eq(code, CONDUIT_EAGAIN, "after %d: %s", passed, conduit_code_name(code));
    client.side.react = pass_when_drained;
    unsigned turns = cdt_turns_within(50);
    cr_expect_lt(turns, 20, "%u turns while there is no room", turns);
    cr_expect(!went);
    cdt_side_expect(&server.side, (size_t)passed * 1024 + 1);
    conduit_resume(server.side.conn);
    cdt_await(&went);
    cdt_await(&server.side.complete);
    cr_expect_eq(server.n, passed + 1);
    drop_fds(&server);
    expect_pipe_ended();
    finish();
}

CDT_TEST(descriptors, for_a_peer_that_has_gone_end_the_connection)
{
    meet(path_uri());
    conduit_pause(client.side.conn);
    conduit_abort(server.side.conn);
    cdt_await(&server.side.closed);
    cr_expect_eq(pass(&client, 0, 1), CONDUIT_ECLOSED);
    cdt_await(&client.side.closed);
    cr_expect_eq(cdt_side_code(&client.side), CONDUIT_ERESET);
    finish();
}

/* ---- a peer that is not ours ---- */

/* It takes a descriptor, writes to it, and passes another one back, with the bytes 0 1 2 of our
 * pattern. */
static const char python_peer[] = "import os, socket, sys\n"
                                  "s = socket.socket(socket.AF_UNIX)\n"
                                  "s.connect(sys.argv[1])\n"
                                  "data, fds, flags, _ = socket.recv_fds(s, 100, 4)\n"
                                  "assert data == b'take' and len(fds) == 1, (data, fds)\n"
                                  "os.write(fds[0], b'x')\n"
                                  "socket.send_fds(s, [bytes((0, 7, 14))], [fds[0], fds[0]])\n"
                                  "assert s.recv(1) == b''\n";

static void start_python(const char *path, pid_t *child)
{
    *child = fork();
    if (*child == 0) {
        execlp("python3", "python3", "-c", python_peer, path, (char *)NULL);
        _exit(127);
    }
}

CDT_TEST(descriptors, go_to_and_come_from_python)
{
    char path[256], byte = '-';
    pid_t child;
    int status = -1;
    open_ctx();
    make_pipe();
    serve(path_uri(), NULL);
    snprintf(path, sizeof(path), "%s", cdt_test_path("s"));
    start_python(path, &child);
    cdt_await(&server.side.opened);
    cr_assert_eq(conduit_send_fd(server.side.conn, writing, "take", 4), 0);
    cdt_side_expect(&server.side, 3);
    cdt_await(&server.side.complete);
    cr_expect(!server.side.garbled);
    cr_assert_eq(server.n, 2);
    cr_expect_eq(read(reading, &byte, 1), 1);
    cr_expect_eq(byte, 'x');
    expect_leads_to_pipe(server.fds[1]);
    conduit_close(server.side.conn);
    cdt_await(&server.side.closed);
    cr_assert_eq(waitpid(child, &status, 0), child);
    cr_expect_eq(status, 0, "python ended with %d", status);
    drop_fds(&server);
    expect_pipe_ended();
    finish();
}
