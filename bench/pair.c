/* SPDX-License-Identifier: ISC */
/*
 * Two processes, one connection: how fast do they talk? One line of JSON.
 *
 *   pair --over vchan    our library over shared memory: --spin, --ring are its parameters
 *   pair --over unix     our library over a Unix socket
 *   pair --over socket   a bare Unix socket, blocking
 *   pair --over pipe     two bare pipes, blocking
 *   pair --over ring     a bare ring in shared memory, with the same way to wait: ring.h
 *   pair --over futex    the same, asleep on a futex in place of an eventfd
 *
 *   pair --work pingpong a message of --size bytes, and the next when it has come back
 *   pair --work bulk     as much as goes through, one way, written --size bytes at a time
 *
 * The parent is the client. It tells the child when it has had enough, and the child, by its last
 * answer, how much there was; so what is counted has arrived. Each has a processor of its own, or
 * both have the same.
 */
#include "ring.h"
#include <conduit/conduit.h>
#include <err.h>
#include <getopt.h>
#include <sched.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>
#include <uv.h>

enum { MOST_SIZE = 1 << 20 };

static struct {
    const char *over;
    bool bulk;
    size_t size;
    double seconds;
    unsigned spin_us;
    unsigned ring;
    int cpus[2];
} option = {.over = "vchan", .size = 64, .seconds = 1, .spin_us = 100, .ring = 256 * 1024};

static char bytes[MOST_SIZE];
static uint64_t started_ns, deadline_ns, moved, n_messages;

static void pin(int cpu)
{
    cpu_set_t set;
    CPU_ZERO(&set);
    CPU_SET(cpu, &set);
    if (sched_setaffinity(0, sizeof(set), &set) < 0)
        err(1, "processor %d", cpu);
}

static void start_clock(void)
{
    started_ns = uv_hrtime();
    deadline_ns = started_ns + (uint64_t)(option.seconds * 1e9);
}

static double cpu_seconds(int who)
{
    struct rusage usage;
    getrusage(who, &usage);
    return (double)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) +
           (double)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) / 1e6;
}

static void report(void)
{
    double seconds = (double)(uv_hrtime() - started_ns) / 1e9;
    double rate = option.bulk ? (double)moved / seconds / 1e6 : (double)n_messages / seconds;
    printf("{\"over\": \"%s\", \"work\": \"%s\", \"size\": %zu, \"spin\": %u, \"ring\": %u, "
           "\"rate\": %.1f, \"unit\": \"%s\", \"cpu\": %.3f}\n",
           option.over, option.bulk ? "bulk" : "pingpong", option.size, option.spin_us, option.ring,
           rate, option.bulk ? "MB/s" : "/s", cpu_seconds(RUSAGE_SELF) / seconds);
}

/* ---- through the library ---- */

static conduit_ctx *ctx;
static size_t pending; /* of the message that is coming back */

static void send_message(conduit_conn *conn)
{
    pending = option.size;
    if (conduit_write(conn, bytes, option.size) < 0)
        errx(1, "a message was not taken");
}

static void pump(conduit_conn *conn)
{
    int code = 0;
    while (code == 0 && uv_hrtime() < deadline_ns)
        code = conduit_write(conn, bytes, option.size);
    if (code == 0)
        conduit_end(conn);
}

static void on_client_open(conduit_conn *conn, void *user)
{
    start_clock();
    if (option.bulk)
        pump(conn);
    else
        send_message(conn);
}

static void on_client_data(conduit_conn *conn, const void *data, size_t n, void *user)
{
    if (option.bulk) {
        memcpy(&moved, data, sizeof(moved));
        return;
    }
    pending -= n;
    if (pending > 0)
        return;
    n_messages++;
    if (uv_hrtime() < deadline_ns)
        send_message(conn);
    else
        conduit_end(conn);
}

static void on_client_drain(conduit_conn *conn, void *user)
{
    if (option.bulk)
        pump(conn);
}

static void on_client_close(conduit_conn *conn, const conduit_error *why, void *user)
{
    if (why != NULL)
        errx(1, "%s", conduit_error_text(why));
    report();
}

static void on_server_data(conduit_conn *conn, const void *data, size_t n, void *user)
{
    moved += n;
    if (!option.bulk)
        conduit_write(conn, data, n);
}

static void on_server_end(conduit_conn *conn, void *user)
{
    if (option.bulk)
        conduit_write(conn, &moved, sizeof(moved));
    conduit_end(conn);
    conduit_listener_close(user);
}

static const conduit_handler client = {.on_open = on_client_open,
                                       .on_data = on_client_data,
                                       .on_drain = on_client_drain,
                                       .on_close = on_client_close};

static void uri_of(char *buf, size_t size, const char *directory)
{
    if (strcmp(option.over, "unix") == 0)
        snprintf(buf, size, "unix:%s/s", directory);
    else
        snprintf(buf, size, "vchan://bench/pair?spin=%u&read=%u&write=%u", option.spin_us,
                 option.ring, option.ring);
}

static void serve(const char *uri, int ready)
{
    static conduit_listener *listener;
    static const conduit_handler handler = {.on_data = on_server_data, .on_end = on_server_end};
    ctx = conduit_ctx_new(NULL);
    if (conduit_listen(ctx, uri, NULL, &handler, NULL, &listener) < 0)
        exit(conduit_ctx_perror(ctx, "server"));
    if (write(ready, "", 1) != 1)
        err(1, "ready");
    conduit_run(ctx);
    conduit_ctx_free(ctx);
}

static void call(const char *uri)
{
    ctx = conduit_ctx_new(NULL);
    if (conduit_connect(ctx, uri, NULL, &client, NULL, NULL) < 0)
        exit(conduit_ctx_perror(ctx, "client"));
    conduit_run(ctx);
    conduit_ctx_free(ctx);
}

/* ---- without it: anything that moves bytes and waits ---- */

struct bare {
    size_t (*get)(void *to, size_t most); /* 0 at the end */
    void (*put)(const void *from, size_t n);
    void (*end)(void);
};

static int fd_in, fd_out;
static struct ring_end ring;

static size_t get_from_file(void *to, size_t most)
{
    ssize_t n = read(fd_in, to, most);
    if (n < 0)
        err(1, "read");
    return (size_t)n;
}

static void put_into_file(const void *from, size_t n)
{
    while (n > 0) {
        ssize_t done = write(fd_out, from, n);
        if (done < 0)
            err(1, "write");
        from = (const char *)from + done;
        n -= (size_t)done;
    }
}

static void end_file(void)
{
    if (shutdown(fd_out, SHUT_WR) < 0)
        close(fd_out); /* a pipe */
}

static size_t get_from_ring(void *to, size_t most)
{
    return ring_get(&ring, to, most);
}

static void put_into_ring(const void *from, size_t n)
{
    ring_put(&ring, from, n);
}

static void end_ring(void)
{
    ring_finish(&ring);
}

static void serve_bare(const struct bare *bare)
{
    static char buffer[64 * 1024];
    size_t n;
    while ((n = bare->get(buffer, sizeof(buffer))) > 0) {
        moved += n;
        if (!option.bulk)
            bare->put(buffer, n);
    }
    if (option.bulk)
        bare->put(&moved, sizeof(moved));
    bare->end();
}

static void call_bare(const struct bare *bare)
{
    static char buffer[MOST_SIZE];
    start_clock();
    while (uv_hrtime() < deadline_ns) {
        bare->put(bytes, option.size);
        for (size_t n = 0; !option.bulk && n < option.size;)
            n += bare->get(buffer, option.size - n);
        n_messages++;
    }
    bare->end();
    if (option.bulk && bare->get(&moved, sizeof(moved)) != sizeof(moved))
        errx(1, "no answer");
    report();
}

/* Two descriptors for each end: [server ? 1 : 0]. */
static void open_files(int in[2], int out[2])
{
    int there[2], back[2];
    if (strcmp(option.over, "pipe") == 0) {
        if (pipe(there) < 0 || pipe(back) < 0)
            err(1, "pipe");
        in[0] = back[0], out[0] = there[1];
        in[1] = there[0], out[1] = back[1];
        return;
    }
    if (socketpair(AF_UNIX, SOCK_STREAM, 0, there) < 0)
        err(1, "socketpair");
    for (int i = 0; i < 2; i++)
        in[i] = out[i] = there[i];
}

static void run_bare(void)
{
    static const struct bare over_file = {get_from_file, put_into_file, end_file};
    static const struct bare over_ring = {get_from_ring, put_into_ring, end_ring};
    bool futex = strcmp(option.over, "futex") == 0;
    bool file = !futex && strcmp(option.over, "ring") != 0;
    int in[2] = {-1, -1}, out[2] = {-1, -1};
    struct ring_pair *pair = file ? NULL : ring_make(option.ring, option.spin_us, futex);
    if (file)
        open_files(in, out);
    pid_t child = fork();
    int own = child == 0 ? 1 : 0;
    fd_in = in[own];
    fd_out = out[own];
    if (!file)
        ring = ring_end_of(pair, child == 0);
    pin(option.cpus[child == 0 ? 0 : 1]);
    close(in[1 - own]);
    close(out[1 - own]);
    if (child == 0) {
        serve_bare(file ? &over_file : &over_ring);
        _exit(0);
    }
    call_bare(file ? &over_file : &over_ring);
    waitpid(child, NULL, 0);
}

static void run_ours(void)
{
    char directory[] = "/tmp/conduit-pair-XXXXXX", uri[256], byte;
    int ready[2];
    if (mkdtemp(directory) == NULL || pipe(ready) < 0)
        err(1, "%s", directory);
    setenv("XDG_RUNTIME_DIR", directory, 1);
    uri_of(uri, sizeof(uri), directory);
    pid_t child = fork();
    /* With its affinity a process says how many processors it may count on; with two in it the
     * kernel still leaves a busy process where it is. */
    pin(option.cpus[child == 0 ? 0 : 1]);
    if (child == 0) {
        serve(uri, ready[1]);
        _exit(0);
    }
    if (read(ready[0], &byte, 1) == 1)
        call(uri);
    kill(child, SIGTERM);
    waitpid(child, NULL, 0);
    char inner[64];
    snprintf(inner, sizeof(inner), "%s/conduit", directory);
    rmdir(inner);
    rmdir(directory);
}

static void read_options(int argc, char **argv)
{
    static const struct option options[] = {
        {"over", required_argument, NULL, 'o'}, {"work", required_argument, NULL, 'w'},
        {"size", required_argument, NULL, 's'}, {"seconds", required_argument, NULL, 't'},
        {"spin", required_argument, NULL, 'p'}, {"ring", required_argument, NULL, 'r'},
        {"cpus", required_argument, NULL, 'c'}, {0},
    };
    option.cpus[1] = 1;
    for (int c; (c = getopt_long(argc, argv, "", options, NULL)) != -1;) {
        if (c == 'o')
            option.over = optarg;
        else if (c == 'w')
            option.bulk = strcmp(optarg, "bulk") == 0;
        else if (c == 's')
            option.size = strtoul(optarg, NULL, 10);
        else if (c == 't')
            option.seconds = strtod(optarg, NULL);
        else if (c == 'p')
            option.spin_us = (unsigned)strtoul(optarg, NULL, 10);
        else if (c == 'r')
            option.ring = (unsigned)strtoul(optarg, NULL, 10);
        else if (c != 'c' || sscanf(optarg, "%d,%d", &option.cpus[0], &option.cpus[1]) != 2)
            exit(2);
    }
    if (option.size == 0 || option.size > MOST_SIZE)
        errx(2, "--size: 1 to %d", MOST_SIZE);
}

int main(int argc, char **argv)
{
    read_options(argc, argv);
    memset(bytes, 'x', sizeof(bytes));
    signal(SIGPIPE, SIG_IGN);
    if (strcmp(option.over, "vchan") == 0 || strcmp(option.over, "unix") == 0)
        run_ours();
    else
        run_bare();
    return 0;
}
