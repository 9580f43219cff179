/* SPDX-License-Identifier: ISC */
/*
 * vchan in shared memory: where processes meet, who is let in, what a rendezvous with a stranger
 * comes to, what a killed process leaves behind, and who stays awake.
 *
 * What a connection does is the contract's affair (contract/test-path.c). Here the other end is
 * often another process: a child that is forked before the loop is made, and killed in the end.
 *
 * CONDUIT_KILLS is how many processes are killed: 40, or 1,000 for the deep run.
 */
#include "harness.h"
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

enum { NOBODY = 65534, LATE_MS = 100, PIECE = 10000 };

static struct cdt_side client, server;
static conduit_listener *listener;
static int n_failed;
static bool has_failed;
static char why_failed[256];

/* ---- where ---- */

static void use_directory(void)
{
    setenv("XDG_RUNTIME_DIR", cdt_test_directory(), 1);
}

static const char *place_of(const char *name)
{
    static char path[100];
    snprintf(path, sizeof(path), "%s/conduit/%s.vchan", cdt_test_directory(), name);
    return path;
}

static bool is_there(const char *name)
{
    struct stat info;
    return lstat(place_of(name), &info) == 0;
}

static struct sockaddr_un address_of(const char *name)
{
    struct sockaddr_un un = {.sun_family = AF_UNIX};
    memcpy(un.sun_path, place_of(name), strlen(place_of(name)));
    return un;
}

static int raw_socket(void)
{
    int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
    cr_assert_geq(fd, 0);
    return fd;
}

static int raw_bind(const char *name)
{
    struct sockaddr_un un = address_of(name);
    int fd = raw_socket();
    mkdir(cdt_test_path("conduit"), 0700);
    cr_assert_eq(bind(fd, (struct sockaddr *)&un, sizeof(un)), 0, "%s", strerror(errno));
    cr_assert_eq(listen(fd, 8), 0);
    return fd;
}

static int raw_connect(const char *name)
{
    struct sockaddr_un un = address_of(name);
    int fd = raw_socket();
    cr_assert_eq(connect(fd, (struct sockaddr *)&un, sizeof(un)), 0, "%s", strerror(errno));
    return fd;
}

static void on_failed(conduit_listener *at, const conduit_error *error, void *user)
{
    n_failed++;
    has_failed = true;
    snprintf(why_failed, sizeof(why_failed), "%s", conduit_error_text(error));
}

static int try_to_listen(const char *uri)
{
    const conduit_listen_options options = {.on_failed = on_failed};
    listener = NULL;
    return conduit_listen(cdt_ctx, uri, &options, &cdt_side_handler, &server, &listener);
}

static void serve(const char *uri)
{
    cr_assert_eq(try_to_listen(uri), 0, "%s", conduit_error_text(conduit_ctx_error(cdt_ctx)));
}

static void call(const char *uri)
{
    cr_assert_eq(conduit_connect(cdt_ctx, uri, NULL, &cdt_side_handler, &client, &client.conn), 0,
                 "%s", conduit_error_text(conduit_ctx_error(cdt_ctx)));
}

static void clear(void)
{
    cdt_side_clear(&client);
    cdt_side_clear(&server);
}

static void expect_it_works(const char *uri)
{
    call(uri);
    cdt_await(&client.opened);
    cdt_await(&server.opened);
    cdt_side_expect(&server, 100);
    cdt_side_send(&client, 100);
    cdt_await(&server.complete);
    conduit_end(client.conn);
    cdt_await(&client.closed);
    cdt_await(&server.closed);
    clear();
}

CDT_TEST(shm, the_socket_is_in_the_users_own_directory_while_somebody_listens)
{
    struct stat info;
    use_directory();
    cdt_open_ctx(NULL);
    serve("vchan://web.example/http");
    cr_expect(is_there("web.example.http"));
    cr_assert_eq(stat(cdt_test_path("conduit"), &info), 0);
    cr_expect_eq(info.st_mode & 0777, 0700);
    expect_it_works("vchan://web.example/http");
    conduit_listener_close(listener);
    cr_expect(!is_there("web.example.http"));
    cdt_close_ctx();
}

CDT_TEST(shm, a_directory_that_others_can_enter_is_not_used)
{
    use_directory();
    cdt_open_ctx(NULL);
    cr_assert_eq(mkdir(cdt_test_path("conduit"), 0700), 0);
    cr_assert_eq(chmod(cdt_test_path("conduit"), 0755), 0);
    cr_expect_eq(try_to_listen("vchan://web/http"), CONDUIT_EACCESS);
    call("vchan://web/http");
    cdt_await(&client.closed);
    cr_expect_eq(cdt_side_code(&client), CONDUIT_EACCESS, "%s", cdt_side_text(&client));
    clear();
    cdt_close_ctx();
}

/* Whoever has a directory has what is in it. */
CDT_TEST(shm, a_directory_of_somebody_else_is_not_used)
{
    if (getuid() != 0)
        cr_skip_test("needs to be root, to give it away");
    char theirs[64];
    use_directory();
    cdt_open_ctx(NULL);
    cr_assert_eq(mkdir(cdt_test_path("conduit"), 0700), 0);
    cr_assert_eq(chown(cdt_test_path("conduit"), NOBODY, NOBODY), 0);
    cr_expect_eq(try_to_listen("vchan://web/http"), CONDUIT_EACCESS);
    call("vchan://web/http");
    cdt_await(&client.closed);
    cr_expect_eq(cdt_side_code(&client), CONDUIT_EACCESS, "%s", cdt_side_text(&client));
    clear();
    int user = 100000 + getpid(); /* whose place somebody has been quicker to take */
    snprintf(theirs, sizeof(theirs), "/tmp/conduit-%d.shared", user);
    cr_assert_eq(mkdir(theirs, 0711), 0);
    cr_assert_eq(chown(theirs, NOBODY, NOBODY), 0);
    char uri[64];
    snprintf(uri, sizeof(uri), "vchan://web/http?share=%d", user);
    call(uri);
    cdt_await(&client.closed);
    cr_expect_eq(cdt_side_code(&client), CONDUIT_EACCESS, "%s", cdt_side_text(&client));
    rmdir(theirs);
    clear();
    cdt_close_ctx();
}

CDT_TEST(shm, a_link_in_the_directorys_place_is_not_followed)
{
    use_directory();
    cdt_open_ctx(NULL);
    cr_assert_eq(mkdir(cdt_test_path("elsewhere"), 0700), 0);
    cr_assert_eq(symlink("elsewhere", cdt_test_path("conduit")), 0);
    cr_expect_eq(try_to_listen("vchan://web/http"), CONDUIT_EACCESS);
    cdt_close_ctx();
}

CDT_TEST(shm, what_the_dead_left_goes_with_the_next_listener_and_the_living_stay)
{
    use_directory();
    close(raw_bind("gone.a"));
    close(raw_bind("gone.b"));
    int living = raw_bind("living.a");
    cdt_open_ctx(NULL);
    cr_expect(is_there("gone.a") && is_there("gone.b"));
    serve("vchan://gone/a");
    cr_expect(is_there("gone.a") && !is_there("gone.b") && is_there("living.a"));
    expect_it_works("vchan://gone/a");
    cr_expect_eq(try_to_listen("vchan://living/a"), CONDUIT_EADDRINUSE);
    fcntl(living, F_SETFL, O_NONBLOCK);
    cr_expect_eq(accept(living, NULL, NULL), -1, "it felt that");
    close(living);
    cdt_close_ctx();
}

CDT_TEST(shm, what_is_no_socket_is_not_taken_for_what_the_dead_left)
{
    use_directory();
    close(raw_bind("gone.a"));
    close(open(place_of("note.a"), O_CREAT | O_WRONLY | O_CLOEXEC, 0600));
    cr_assert_eq(mkfifo(place_of("pipe.a"), 0600), 0);
    cr_assert_eq(symlink("gone.a.vchan", place_of("link.a")), 0);
    cdt_open_ctx(NULL);
    serve("vchan://other/a");
    cr_expect(is_there("note.a") && is_there("pipe.a") && is_there("link.a"));
    cr_expect(!is_there("gone.a"));
    cr_expect_eq(try_to_listen("vchan://note/a"), CONDUIT_EADDRINUSE);
    cr_expect(is_there("note.a"));
    cdt_close_ctx();
}

/* Another thread waits for it; and the context, which is freed, for the thread. */
CDT_TEST(shm, a_name_goes_though_somebody_holds_the_directory)
{
    use_directory();
    cdt_open_ctx(NULL);
    serve("vchan://web/http");
    int held = open(cdt_test_path("conduit"), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    cr_assert_eq(flock(held, LOCK_EX), 0);
    cr_expect_lt(try_to_listen("vchan://other/http"), 0);
    cr_expect_not_null(strstr(conduit_error_text(conduit_ctx_error(cdt_ctx)), "the lock on"), "%s",
                       conduit_error_text(conduit_ctx_error(cdt_ctx)));
    cdt_close_ctx();
    cr_expect(!is_there("web.http"));
    close(held);
}

CDT_TEST(shm, a_name_too_long_for_a_socket_is_told)
{
    char uri[300];
    use_directory();
    cdt_open_ctx(NULL);
    snprintf(uri, sizeof(uri), "vchan://%060d.%060d/port", 1, 1);
    memset(uri + strlen("vchan://"), 'a', 60);
    memset(uri + strlen("vchan://") + 61, 'b', 60);
    cr_expect_lt(try_to_listen(uri), 0);
    cr_expect_not_null(strstr(conduit_error_text(conduit_ctx_error(cdt_ctx)), "too long"), "%s",
                       conduit_error_text(conduit_ctx_error(cdt_ctx)));
    cdt_close_ctx();
}

/* ---- clients that are none ---- */

struct hello {
    char magic[8];
    uint32_t bells, read, write, processor, thread;
};

static struct hello good_hello(void)
{
    return (struct hello){.magic = "vchan 1", .bells = 1, .processor = UINT32_MAX};
}

static void await_failure(const char *what)
{
    has_failed = false;
    cr_assert(cdt_test_run_until(&cdt_loop, &has_failed), "nobody heard of %s", what);
}

CDT_TEST(shm, strangers_at_the_door_fail_and_the_listener_goes_on)
{
    struct hello bad = good_hello(), huge = good_hello();
    bad.magic[0] = 'V';
    huge.read = 1 << 21;
    const struct {
        const void *bytes;
        size_t n;
    } rows[] = {{"x", 1}, {&bad, sizeof(bad)}, {&huge, sizeof(huge)}, {&bad, 0}, {&bad, 20}};
    use_directory();
    cdt_open_ctx(NULL);
    serve("vchan://door/a");
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        int fd = raw_connect("door.a");
        if (rows[i].n > 0)
            cr_assert_eq(send(fd, rows[i].bytes, rows[i].n, MSG_NOSIGNAL), (ssize_t)rows[i].n);
        else
            shutdown(fd, SHUT_WR);
        await_failure("a stranger");
        close(fd);
        expect_it_works("vchan://door/a");
    }
    cr_expect_eq(n_failed, 5);
    cdt_close_ctx();
}

/* The descriptors of a welcome, at most three. Returns how many there are. */
static size_t receive_welcome(int fd, int fds[3])
{
    union {
        struct cmsghdr head;
        char bytes[CMSG_SPACE(3 * sizeof(int))];
    } control;
    char bytes[64];
    struct iovec v = {bytes, sizeof(bytes)};
    struct msghdr message = {
        .msg_iov = &v, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof(control)};
    cdt_turn(20);
    cr_assert_gt(recvmsg(fd, &message, MSG_DONTWAIT | MSG_CMSG_CLOEXEC), 0);
    size_t n = (control.head.cmsg_len - CMSG_LEN(0)) / sizeof(int);
    memcpy(fds, CMSG_DATA(&control.head), n * sizeof(int));
    return n;
}

CDT_TEST(shm, the_memory_cannot_be_taken_away_again)
{
    struct hello hello = good_hello();
    int fds[3];
    use_directory();
    cdt_open_ctx(NULL);
    serve("vchan://memory/a");
    int fd = raw_connect("memory.a");
    cr_assert_eq(send(fd, &hello, sizeof(hello), 0), (ssize_t)sizeof(hello));
    cr_assert_eq(receive_welcome(fd, fds), 3);
    cr_expect(ftruncate(fds[0], 0) < 0 && errno == EPERM, "it can be shrunk");
    cr_expect(fcntl(fds[0], F_ADD_SEALS, F_SEAL_FUTURE_WRITE) < 0, "the seals are not sealed");
    cdt_await(&server.opened);
    for (int i = 0; i < 3; i++)
        close(fds[i]);
    close(fd);
    cdt_await(&server.closed);
    cr_expect_eq(cdt_side_code(&server), CONDUIT_ERESET, "%s", cdt_side_text(&server));
    clear();
    cdt_close_ctx();
}

/* Bytes on the socket of an open connection are wake-ups without a reason. */
CDT_TEST(shm, noise_on_the_socket_is_no_end_and_no_data)
{
    struct hello hello = good_hello();
    int fds[3];
    use_directory();
    cdt_open_ctx(NULL);
    serve("vchan://noise/a");
    int fd = raw_connect("noise.a");
    cr_assert_eq(send(fd, &hello, sizeof(hello), 0), (ssize_t)sizeof(hello));
    cr_assert_eq(receive_welcome(fd, fds), 3);
    cdt_await(&server.opened);
    for (int i = 0; i < 100; i++) {
        send(fd, "nonsense", 8, MSG_DONTWAIT | MSG_NOSIGNAL);
        cdt_turn(1);
    }
    cr_expect(!server.closed && server.received == 0);
    for (int i = 0; i < 3; i++)
        close(fds[i]);
    close(fd);
    cdt_await(&server.closed);
    clear();
    cdt_close_ctx();
}

/* ---- servers that are none ---- */

enum fault {
    SILENT,
    SHORT,
    BAD_MAGIC,
    BAD_ORDERS,
    ONE_PLACE,
    FAR_ORDERS,
    NO_MEMORY,
    UNSEALED,
    HUGE_PAGES,
    TOO_SMALL,
    TOO_MANY,
    PIPES,
    OWN_END,
    N_FAULTS,
    NO_BELLS /* which is well */
};

struct welcome {
    char magic[8];
    uint32_t left_order, right_order, processor, thread;
};

static int make_memory(enum fault fault)
{
    unsigned huge = fault == HUGE_PAGES ? MFD_HUGETLB : 0;
    int fd = memfd_create("test", MFD_CLOEXEC | MFD_ALLOW_SEALING | huge);
    if (fd < 0 && huge != 0) /* a machine that has none can be given none */
        fd = memfd_create("test", MFD_CLOEXEC);
    cr_assert_eq(ftruncate(fd, fault == TOO_SMALL ? 4096 : 1 << 21), 0);
    if (fault >= N_FAULTS) /* srv_live: somebody is there */
        cr_assert_eq(pwrite(fd, "\1", 1, 21), 1);
    if (fault != UNSEALED)
        cr_assert(fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK) == 0 || fault == HUGE_PAGES);
    return fd;
}

/* A good one is full and not told not to block: a write to it would wait for ever. */
static int make_bell(int to, enum fault fault)
{
    const uint64_t most = UINT64_MAX - 1;
    int ends[2], fd;
    if (fault == OWN_END)
        return fcntl(to, F_DUPFD_CLOEXEC, 0);
    if (fault == PIPES) { /* whose write is a SIGPIPE */
        cr_assert_eq(pipe2(ends, O_CLOEXEC), 0);
        close(ends[0]);
        return ends[1];
    }
    fd = eventfd(0, EFD_CLOEXEC);
    cr_assert_eq(write(fd, &most, sizeof(most)), (ssize_t)sizeof(most));
    return fd;
}

static void welcome_badly(int to, enum fault fault)
{
    struct welcome welcome = {.magic = "vchan 1", .left_order = 12, .right_order = 12};
    union {
        struct cmsghdr head;
        char bytes[CMSG_SPACE(5 * sizeof(int))];
    } control = {0};
    size_t n_fds = fault == NO_MEMORY ? 0 : fault == NO_BELLS ? 1 : fault == TOO_MANY ? 5 : 3;
    int fds[5];
    for (size_t i = 0; i < 5; i++)
        fds[i] = i == 0 ? make_memory(fault) : make_bell(to, fault);
    welcome.magic[0] = fault == BAD_MAGIC ? 'V' : 'v';
    if (fault == BAD_ORDERS)
        welcome.left_order = 25;
    if (fault == ONE_PLACE) /* in the page, both */
        welcome.left_order = welcome.right_order = 10;
    if (fault == FAR_ORDERS) /* of no more pages, if 1U << 32 is 1 */
        welcome.left_order = 44;
    struct iovec v = {&welcome, fault == SHORT ? 10 : sizeof(welcome)};
    struct msghdr message = {.msg_iov = &v, .msg_iovlen = 1};
    if (n_fds > 0) {
        message.msg_control = &control;
        message.msg_controllen = CMSG_SPACE(n_fds * sizeof(int));
        control.head.cmsg_level = SOL_SOCKET;
        control.head.cmsg_type = SCM_RIGHTS;
        control.head.cmsg_len = CMSG_LEN(n_fds * sizeof(int));
        memcpy(CMSG_DATA(&control.head), fds, n_fds * sizeof(int));
    }
    cr_assert_gt(sendmsg(to, &message, 0), 0);
    for (size_t i = 0; i < 5; i++)
        close(fds[i]);
}

CDT_TEST(shm, a_server_that_offers_nonsense_is_left_without_a_trace)
{
    use_directory();
    int listening = raw_bind("odd.a");
    cdt_open_ctx(NULL);
    for (int fault = SILENT; fault < N_FAULTS; fault++) {
        call("vchan://odd/a");
        cdt_turn(10);
        int fd = accept(listening, NULL, NULL);
        cr_assert_geq(fd, 0);
        if (fault != SILENT)
            welcome_badly(fd, (enum fault)fault);
        else
            close(fd);
        cdt_await(&client.closed);
        cr_expect_eq(cdt_side_code(&client), fault == SILENT ? CONDUIT_EREFUSED : CONDUIT_EIO,
                     "fault %d: %s", fault, cdt_side_text(&client));
        cr_expect_eq(conduit_error_stage(client.why), CONDUIT_STAGE_DIAL);
        cr_expect(!client.opened);
        if (fault != SILENT)
            close(fd);
        clear();
    }
    close(listening);
    cdt_close_ctx();
}

CDT_TEST(shm, a_bell_that_is_full_keeps_nobody_waiting)
{
    use_directory();
    int listening = raw_bind("full.a");
    cdt_open_ctx(NULL);
    call("vchan://full/a");
    cdt_turn(10);
    int fd = accept(listening, NULL, NULL);
    welcome_badly(fd, N_FAULTS); /* not at all badly */
    cdt_await(&client.opened);
    close(fd);
    cdt_await(&client.closed);
    cr_expect_eq(cdt_side_code(&client), CONDUIT_ERESET, "%s", cdt_side_text(&client));
    clear();
    close(listening);
    cdt_close_ctx();
}

CDT_TEST(shm, a_client_without_room_for_descriptors_does_not_blame_the_server)
{
    struct rlimit before;
    use_directory();
    int listening = raw_bind("good.a");
    cdt_open_ctx(NULL);
    call("vchan://good/a");
    cdt_turn(10);
    int fd = accept(listening, NULL, NULL);
    welcome_badly(fd, N_FAULTS); /* not at all badly */
    int lowest = dup(fd);
    close(lowest);
    cr_assert_eq(getrlimit(RLIMIT_NOFILE, &before), 0);
    const struct rlimit tight = {(rlim_t)lowest + 2, before.rlim_max}; /* two of three */
    cr_assert_eq(setrlimit(RLIMIT_NOFILE, &tight), 0);
    cdt_await(&client.closed);
    cr_assert_eq(setrlimit(RLIMIT_NOFILE, &before), 0);
    cr_expect_eq(cdt_side_code(&client), CONDUIT_ELIMIT, "%s", cdt_side_text(&client));
    clear();
    close(fd);
    close(listening);
    cdt_close_ctx();
}

/* ---- other processes ---- */

/* An echo server, or a client that talks without end, until it is killed. */
static void echo_data(conduit_conn *conn, const void *data, size_t n, void *user)
{
    if (conduit_write(conn, data, n) > 0)
        conduit_pause(conn);
}

static void echo_drain(conduit_conn *conn, void *user)
{
    conduit_resume(conn);
}

static void talk(conduit_conn *conn, void *user)
{
    static const char bytes[PIECE];
    while (conduit_write(conn, bytes, sizeof(bytes)) == 0)
        continue;
}

static void stop_at_once(conduit_conn *conn, const conduit_error *why, void *user)
{
    _exit(why != NULL ? 1 : 0);
}

static const conduit_handler echo = {.on_data = echo_data, .on_drain = echo_drain};
static const conduit_handler talker = {.on_open = talk, .on_drain = talk, .on_close = stop_at_once};

static void run_child(const char *uri, bool serves, int ready)
{
    conduit_ctx *ctx = conduit_ctx_new(NULL);
    conduit_listener *at;
    int code = serves ? conduit_listen(ctx, uri, NULL, &echo, NULL, &at)
                      : conduit_connect(ctx, uri, NULL, &talker, NULL, NULL);
    if (code < 0 || write(ready, "", 1) != 1)
        _exit(2);
    conduit_run(ctx);
    _exit(0);
}

static void pin(int processor)
{
    cpu_set_t set;
    CPU_ZERO(&set);
    CPU_SET(processor, &set);
    cr_assert_eq(sched_setaffinity(0, sizeof(set), &set), 0);
}

/* Returns when it listens, or has begun to connect. `user`: as whom; -1: as whom we are. */
static pid_t start_child(const char *uri, bool serves, long user)
{
    int ready[2];
    char byte;
    cr_assert_eq(pipe(ready), 0);
    pid_t parent = getpid(), child = fork();
    if (child == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        if (getppid() != parent || (user >= 0 && setresuid((uid_t)user, (uid_t)user, (uid_t)user)))
            _exit(3);
        run_child(uri, serves, ready[1]);
    }
    close(ready[1]);
    cr_assert_eq(read(ready[0], &byte, 1), 1, "the child came to nothing");
    close(ready[0]);
    return child;
}

static void kill_child(pid_t child)
{
    kill(child, SIGKILL);
    waitpid(child, NULL, 0);
}

/* ---- between users ---- */

CDT_TEST(shm, other_users_meet_when_both_say_so)
{
    char uri[64];
    if (getuid() != 0)
        cr_skip_test("needs to be root, to be somebody else");
    snprintf(uri, sizeof(uri), "vchan://shared%d/a", getpid());
    char wide[96], narrow[96], theirs[96];
    snprintf(wide, sizeof(wide), "%s?share=%d", uri, NOBODY);
    snprintf(narrow, sizeof(narrow), "%s?share=12345", uri);
    snprintf(theirs, sizeof(theirs), "%s?share=0", uri);
    use_directory();
    cdt_open_ctx(NULL);
    serve(narrow);
    pid_t child = start_child(theirs, false, NOBODY);
    await_failure("a user who is not named");
    cr_expect_not_null(strstr(why_failed, "user 65534"), "%s", why_failed);
    kill_child(child);
    conduit_listener_close(listener);
    serve(wide);
    child = start_child(theirs, false, NOBODY);
    cdt_await(&server.opened);
    cr_expect_eq(conduit_conn_info(server.conn)->peer_uid, NOBODY);
    cdt_side_expect(&server, 3 * 1024 * 1024); /* past all that fits: both have woken each other */
    cdt_await(&server.complete);
    kill_child(child);
    cdt_await(&server.closed);
    cr_expect_eq(cdt_side_code(&server), CONDUIT_ERESET);
    clear();
    cdt_close_ctx();
}

static struct sockaddr_un shared_address(uid_t owner, const char *name)
{
    struct sockaddr_un un = {.sun_family = AF_UNIX};
    snprintf(un.sun_path, sizeof(un.sun_path), "/tmp/conduit-%u.shared/%s%d.a.vchan", owner, name,
             getpid());
    return un;
}

/* How many descriptors come with a welcome. */
static size_t count_welcome(int fd)
{
    int fds[3];
    size_t n = receive_welcome(fd, fds);
    for (size_t i = 0; i < n; i++)
        close(fds[i]);
    return n;
}

/* An eventfd in another user's hands can make a write of ours wait for ever. */
CDT_TEST(shm, another_user_is_given_no_bells_however_it_asks)
{
    if (getuid() != 0)
        cr_skip_test("needs to be root, to be somebody else");
    char uri[64];
    const struct hello hello = good_hello();
    const struct sockaddr_un un = shared_address(0, "bells");
    snprintf(uri, sizeof(uri), "vchan://bells%d/a?share=*", getpid());
    cdt_open_ctx(NULL);
    serve(uri);
    for (int same = 0; same < 2; same++) {
        int fd = raw_socket();
        cr_assert_eq(seteuid(same ? 0 : NOBODY), 0);
        cr_assert_eq(connect(fd, (const struct sockaddr *)&un, sizeof(un)), 0, "%s",
                     strerror(errno));
        cr_assert_eq(seteuid(0), 0);
        cr_assert_eq(send(fd, &hello, sizeof(hello), 0), (ssize_t)sizeof(hello));
        cr_expect_eq(count_welcome(fd), same ? 3 : 1);
        close(fd);
        cdt_await(&server.closed);
        clear();
    }
    cdt_close_ctx();
}

CDT_TEST(shm, bells_from_another_user_are_not_taken)
{
    if (getuid() != 0)
        cr_skip_test("needs to be root, to be somebody else");
    char uri[64];
    const struct sockaddr_un un = shared_address(NOBODY, "theirs");
    int listening = raw_socket();
    cr_assert_eq(seteuid(NOBODY), 0);
    mkdir("/tmp/conduit-65534.shared", 0711);
    cr_assert_eq(bind(listening, (const struct sockaddr *)&un, sizeof(un)), 0, "%s",
                 strerror(errno));
    cr_assert_eq(listen(listening, 8), 0);
    cr_assert_eq(seteuid(0), 0);
    snprintf(uri, sizeof(uri), "vchan://theirs%d/a?share=%d", getpid(), NOBODY);
    cdt_open_ctx(NULL);
    for (int bells = 0; bells < 2; bells++) {
        call(uri);
        cdt_turn(10);
        int fd = accept(listening, NULL, NULL);
        cr_assert_geq(fd, 0);
        welcome_badly(fd, bells ? N_FAULTS : NO_BELLS);
        cdt_await(bells ? &client.closed : &client.opened);
        close(fd);
        cdt_await(&client.closed);
        cr_expect_eq(cdt_side_code(&client), bells ? CONDUIT_EIO : CONDUIT_ERESET, "%s",
                     cdt_side_text(&client));
        clear();
    }
    close(listening);
    unlink(un.sun_path);
    cdt_close_ctx();
}

/* Who could read it could hold the lock on it, and nobody could listen there any more. */
CDT_TEST(shm, nobody_else_can_hold_the_directory_that_is_shared)
{
    if (getuid() != 0)
        cr_skip_test("needs to be root, to be somebody else");
    char uri[64];
    snprintf(uri, sizeof(uri), "vchan://held%d/a?share=*", getpid());
    cdt_open_ctx(NULL);
    serve(uri);
    cr_assert_eq(seteuid(NOBODY), 0);
    int held = open("/tmp/conduit-0.shared", O_RDONLY | O_DIRECTORY | O_CLOEXEC), number = errno;
    cr_assert_eq(seteuid(0), 0);
    cr_expect_eq(held, -1);
    cr_expect_eq(number, EACCES, "%s", strerror(number));
    cdt_close_ctx();
}

CDT_TEST(shm, a_listener_that_is_not_shared_is_not_found_by_others)
{
    if (getuid() != 0)
        cr_skip_test("needs to be root, to be somebody else");
    use_directory();
    cdt_open_ctx(NULL);
    serve("vchan://private/a");
    pid_t child = start_child("vchan://private/a", false, NOBODY);
    int status = 0;
    waitpid(child, &status, 0);
    cr_expect(WIFEXITED(status) && WEXITSTATUS(status) == 1, "it got somewhere: %d", status);
    cdt_turn(10);
    cr_expect(!server.opened && n_failed == 0);
    cdt_close_ctx();
}

CDT_TEST(shm, a_limit_for_each_peer_is_one_for_all_processes_of_a_user)
{
    const conduit_listen_options single = {.max_per_peer = 1};
    int status = -1;
    use_directory();
    cdt_open_ctx(NULL);
    cr_assert_eq(
        conduit_listen(cdt_ctx, "vchan://limit/a", &single, &cdt_side_handler, &server, &listener),
        0);
    pid_t first = start_child("vchan://limit/a", false, -1);
    cdt_await(&server.opened);
    pid_t second = start_child("vchan://limit/a", false, -1);
    for (int i = 0; i < 3000 && waitpid(second, &status, WNOHANG) == 0; i++)
        cdt_turns_within(1);
    cr_expect(WIFEXITED(status) && WEXITSTATUS(status) == 1, "the second: %d", status);
    kill(second, SIGKILL);
    kill_child(first);
    cdt_await(&server.closed);
    clear();
    cdt_close_ctx();
}

/* ---- sudden death ---- */

static uint64_t killed_ns;
static double noticed_ms;

static void note_time(struct cdt_side *side, char event)
{
    if (event == 'c' && killed_ns != 0)
        noticed_ms = (double)(uv_hrtime() - killed_ns) / 1e6;
}

static int n_kills(void)
{
    const char *text = getenv("CONDUIT_KILLS");
    return text != NULL ? atoi(text) : 40;
}

/* Some turns of the loop, so that death comes at any point: before it is open, in mid-flight. */
static void run_a_while(void)
{
    for (int i = rand() % 60; i > 0; i--) {
        cdt_turn(1);
        if (i % 8 == 0)
            usleep((useconds_t)(rand() % 200));
    }
}

/* How long it took to notice, in milliseconds. */
static double kill_a_server(void)
{
    pid_t child = start_child("vchan://victim/a", true, -1);
    cdt_open_ctx(NULL);
    client.react = note_time;
    client.stays_open = true;
    call("vchan://victim/a");
    cdt_side_send(&client, 64 * 1024 * 1024);
    run_a_while();
    bool opened = client.opened;
    killed_ns = uv_hrtime();
    kill(child, SIGKILL);
    cdt_await(&client.closed);
    cr_expect(cdt_side_code(&client) != CONDUIT_OK && !client.ended, "death looks like an end");
    if (opened)
        cr_expect_eq(cdt_side_code(&client), CONDUIT_ERESET, "%s", cdt_side_text(&client));
    waitpid(child, NULL, 0);
    clear();
    cdt_close_ctx();
    return noticed_ms;
}

static double kill_a_client(void)
{
    pid_t child = 0;
    cdt_open_ctx(NULL);
    serve("vchan://killer/a");
    server.react = note_time;
    server.stays_open = true;
    child = start_child("vchan://killer/a", false, -1);
    has_failed = false;
    run_a_while();
    killed_ns = uv_hrtime();
    kill(child, SIGKILL);
    waitpid(child, NULL, 0);
    while (!server.closed && !has_failed && !(cdt_turn(50), !server.opened))
        continue;
    if (server.opened && !server.closed)
        cdt_await(&server.closed);
    cr_expect(!server.opened || cdt_side_code(&server) == CONDUIT_ERESET, "%s",
              cdt_side_text(&server));
    conduit_listener_close(listener);
    clear();
    cdt_close_ctx();
    return noticed_ms;
}

/* A busy machine may keep everybody waiting now and then; nobody waits for long. */
CDT_TEST(shm, a_killed_process_is_noticed_at_once_and_leaves_nothing)
{
    int n = n_kills(), n_late = 0;
    double worst = 0;
    use_directory();
    srand((unsigned)getpid());
    for (int i = 0; i < n; i++) {
        killed_ns = 0;
        noticed_ms = 0;
        double ms = i % 2 == 0 ? kill_a_server() : kill_a_client();
        worst = ms > worst ? ms : worst;
        n_late += ms > LATE_MS;
    }
    printf("# %d killed, noticed after %.1f ms at the latest, %d after more than %d ms\n", n, worst,
           n_late, LATE_MS);
    cr_expect(n_late <= n / 50, "%d of %d were noticed late", n_late, n);
    cdt_open_ctx(NULL);
    serve("vchan://after/a");
    cr_expect(!is_there("victim.a"), "a dead server's name");
    cdt_close_ctx();
}

/* ---- who stays awake ---- */

static void exchange(size_t n)
{
    client.complete = false;
    cdt_side_expect(&client, client.received + n);
    cdt_side_send(&client, n);
    cdt_await(&client.complete);
}

/* Turns of the loop in the moment after a message, of the best of some tries: the machine may have
 * taken the processor away for all of a moment. */
static unsigned turns_after_traffic(void)
{
    unsigned most = 0;
    for (int i = 0; i < 20; i++) {
        exchange(64);
        unsigned turns = cdt_turns_within(2);
        most = turns > most ? turns : most;
    }
    return most;
}

static unsigned turns_with(const char *uri, bool one_processor)
{
    use_directory();
    if (one_processor)
        pin(0);
    pid_t child = start_child("vchan://awake/a", true, -1);
    cdt_open_ctx(NULL);
    call(uri);
    cdt_await(&client.opened);
    unsigned turns = turns_after_traffic();
    conduit_conn_free(client.conn);
    clear();
    cdt_close_ctx();
    kill_child(child);
    return turns;
}

static bool have_two_processors(void)
{
    cpu_set_t set;
    return sched_getaffinity(0, sizeof(set), &set) == 0 && CPU_COUNT(&set) > 1;
}

CDT_TEST(shm, an_end_stays_awake_after_traffic_when_there_are_two_processors)
{
    if (!have_two_processors())
        cr_skip_test("there is one processor");
    cr_expect_gt(turns_with("vchan://awake/a?spin=10000", false), 20);
}

CDT_TEST(shm, nobody_stays_awake_who_is_told_not_to)
{
    cr_expect_lt(turns_with("vchan://awake/a?spin=0", false), 20);
}

/* Each message comes when the moment after the last one is over. */
CDT_TEST(shm, staying_awake_is_tried_less_often_when_it_is_for_nothing)
{
    enum { MESSAGES = 64, MOST_TRIES = 12 };
    int tries = 0;
    if (!have_two_processors())
        cr_skip_test("there is one processor");
    use_directory();
    pid_t child = start_child("vchan://seldom/a", true, -1);
    cdt_open_ctx(NULL);
    call("vchan://seldom/a?spin=2000");
    cdt_await(&client.opened);
    for (int i = 0; i < MESSAGES; i++) {
        exchange(64);
        tries += cdt_turns_within(5) > 20;
    }
    cr_expect(tries > 0 && tries <= MOST_TRIES, "%d of %d", tries, MESSAGES);
    conduit_conn_free(client.conn);
    clear();
    cdt_close_ctx();
    kill_child(child);
}

CDT_TEST(shm, nobody_stays_awake_with_one_processor)
{
    cr_expect_lt(turns_with("vchan://awake/a?spin=10000", true), 20);
}

CDT_TEST(shm, an_idle_connection_costs_no_processor_time)
{
    use_directory();
    pid_t child = start_child("vchan://idle/a", true, -1);
    cdt_open_ctx(NULL);
    call("vchan://idle/a");
    cdt_await(&client.opened);
    exchange(1024 * 1024);
    cdt_turns_within(20);
    double before = cdt_cpu_seconds();
    unsigned turns = cdt_turns_within(400);
    double spent = cdt_cpu_seconds() - before;
    cr_expect_lt(turns, 10, "%u turns", turns);
    cr_expect_lt(spent, 0.01, "%.3f s", spent);
    conduit_conn_free(client.conn);
    clear();
    cdt_close_ctx();
    kill_child(child);
}
