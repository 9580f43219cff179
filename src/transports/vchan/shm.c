/* SPDX-License-Identifier: ISC */
/*
 * vchan in the shared memory of one machine: a sealed memfd that the server makes, and an eventfd
 * each way.
 *
 *   client   connect to the place, check whose it is     hello: the sizes it would like
 *   server   accept, check who it is                     welcome: the shape; memfd, two eventfds
 *   both     map; the socket stays: when it hangs up the peer is dead, however it died
 *
 * The memfd is libxenvchan's page, then the pages of the left ring and of the right one; what would
 * be grants are their numbers in it. It is sealed before anybody else sees it, so that a peer
 * cannot shrink it under us, and a client takes none that is not.
 *
 * Between users there are no eventfds: whoever holds one can make the other's write to it block, or
 * read it empty. There a wake-up is a byte through the socket, slower and nobody's to spoil.
 */
#include "endpoint.h"
#include "error.h"
#include "transports/socket.h"
#include "transports/unix_node.h"
#include "transports/vchan/backing.h"
#include "transports/vchan/end.h"
#include "transports/vchan/place.h"
#include "util.h"
#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

enum {
    DEFAULT_SIZE = 256 * 1024,
    MOST_DESCRIPTORS = 3, /* of a welcome: memory, the server's bell, the client's bell */
    MOST_RINGS = 16,      /* bytes of the socket taken in at a time */
};

static const char magic[8] = "vchan 1";

/* Where an end runs. */
struct spot {
    uint32_t processor, thread;
};

struct hello {
    char magic[8];
    uint32_t bells;       /* 1: eventfds are welcome: both ends are one user's */
    uint32_t read, write; /* as the client sees them; 0: whatever is good */
    struct spot spot;
};

struct welcome {
    char magic[8];
    uint32_t left_order, right_order;
    struct spot spot;
};

struct shm_end {
    struct cdt_vchan_end end;
    struct cdt_watch link, bell;
    int link_fd, bell_fd, their_bell_fd; /* the bells: -1 between users */
    bool has_bell;                       /* ... and it is watched */
    bool rung;                           /* ... and has been reported, and not been silenced */
    bool server, greeted;
    struct ucred peer;
    uint32_t read, write; /* the sizes that we would like */
    void *memory;
    size_t length;
};

struct shm_acceptor {
    struct cdt_socket_acceptor socket; /* its accept is ours */
    const struct cdt_acceptor_ops *socket_ops;
    struct cdt_vchan_settings settings;
    struct cdt_place place;
    struct cdt_node node;
};

static struct shm_end *of(struct cdt_vchan_end *end)
{
    return CDT_CONTAINER(end, struct shm_end, end);
}

static struct cdt_path *path_of(struct shm_end *s)
{
    return s->end.layer.path;
}

/* ---- wake-ups ---- */

static void notify(struct cdt_ring *ring)
{
    static const uint64_t one = 1;
    struct shm_end *s = CDT_CONTAINER(ring, struct shm_end, end.ring);
    ssize_t n;
    if (ring->gone)
        return;
    do /* when there is no room for one more it has been woken often enough */
        n = s->their_bell_fd >= 0 ? write(s->their_bell_fd, &one, sizeof(one))
                                  : send(s->link_fd, "", 1, MSG_DONTWAIT | MSG_NOSIGNAL);
    while (n < 0 && errno == EINTR);
}

/* The bell is silenced after what it rang for has been served: so an answer is on its way before
 * there is a call that nobody waits for. */
static void on_bell(struct cdt_watch *watch, unsigned events)
{
    struct shm_end *s = CDT_CONTAINER(watch, struct shm_end, bell);
    s->rung = true;
    cdt_vchan_end_woken(&s->end);
}

static void silence(struct cdt_vchan_end *end)
{
    struct shm_end *s = of(end);
    uint64_t count;
    if (s->rung && read(s->bell_fd, &count, sizeof(count)) < 0 && errno == EAGAIN)
        cdt_watch_missed(end->ctx);
    s->rung = false;
}

/* Bytes are wake-ups between users; the end of them is the end of the peer's process, or of its
 * interest. */
static bool hangs_up(struct shm_end *s)
{
    char byte;
    for (int i = 0; i < MOST_RINGS; i++) {
        ssize_t n = recv(s->link_fd, &byte, 1, MSG_DONTWAIT);
        if (n == 0 || (n < 0 && errno != EAGAIN && errno != EINTR))
            return true;
        if (n < 0)
            return false;
    }
    return false;
}

static void on_link(struct cdt_watch *watch, unsigned events)
{
    struct shm_end *s = CDT_CONTAINER(watch, struct shm_end, link);
    if (!s->end.open) { /* whatever it is, the next step of the rendezvous finds out */
        path_of(s)->ready(path_of(s), CDT_READ);
        return;
    }
    if (hangs_up(s)) {
        s->end.ring.gone = true;
        cdt_watch_want(watch, 0);
    }
    cdt_vchan_end_woken(&s->end);
}

static void watch(struct cdt_vchan_end *end, bool on)
{
    struct shm_end *s = of(end);
    if (s->bell_fd >= 0) /* the link is watched anyhow */
        cdt_watch_want(&s->bell, on ? CDT_READ : 0);
}

/* ---- memory ---- */

static size_t length_of(struct cdt_ring_shape shape)
{
    size_t own =
        (size_t)cdt_ring_own_pages(shape.left_order) + cdt_ring_own_pages(shape.right_order);
    return (1 + own) * CDT_RING_PAGE;
}

static int map_memory(struct shm_end *s, int fd, struct cdt_ring_shape shape)
{
    s->length = length_of(shape);
    s->memory = mmap(NULL, s->length, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (s->memory != MAP_FAILED)
        return 0;
    s->memory = NULL;
    return errno;
}

static struct spot own_spot(void)
{
    return (struct spot){cdt_vchan_only_processor(), (uint32_t)gettid()};
}

/* A peer in one's own thread, or on the one processor that both have, cannot get on while this end
 * looks for what it has written. */
static bool in_each_others_way(const struct shm_end *s, struct spot peers)
{
    struct spot own = own_spot();
    bool same_thread = s->peer.pid == getpid() && peers.thread == own.thread;
    return same_thread || (own.processor != UINT32_MAX && own.processor == peers.processor);
}

static void attach(struct shm_end *s, struct cdt_ring_shape shape, struct spot peers)
{
    if (in_each_others_way(s, peers))
        s->end.spin_us = 0;
    unsigned char *left = (unsigned char *)s->memory + CDT_RING_PAGE;
    unsigned char *right = left + (size_t)cdt_ring_own_pages(shape.left_order) * CDT_RING_PAGE;
    s->end.ring.notify = notify;
    cdt_ring_attach(&s->end.ring, s->server, s->memory, shape, left, right);
    if (!s->server)
        cdt_ring_join(&s->end.ring);
}

/* A sealed memfd of this shape, mapped and formatted; 0 or an errno. */
static int make_memory(struct shm_end *s, struct cdt_ring_shape shape, int *ret)
{
    int fd = memfd_create("conduit-vchan", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    int number = fd < 0 ? errno : 0;
    if (number == 0 && ftruncate(fd, (off_t)length_of(shape)) < 0)
        number = errno;
    if (number == 0 && fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) < 0)
        number = errno;
    if (number == 0)
        number = map_memory(s, fd, shape);
    if (number != 0) {
        if (fd >= 0)
            close(fd);
        return number;
    }
    struct cdt_ring_page *page = s->memory;
    for (uint32_t i = 1; i < s->length / CDT_RING_PAGE; i++)
        atomic_store_explicit(&page->grants[i - 1], i, memory_order_relaxed);
    cdt_ring_format(page, shape);
    *ret = fd;
    return 0;
}

/* Memory that could vanish under us is none: reading it would kill the process. So it is sealed,
 * and not of huge pages: of a hole in those nobody knows whether it can be filled again. */
static bool is_sound(int fd, struct cdt_ring_shape shape)
{
    struct stat info;
    struct statfs system;
    int seals = fcntl(fd, F_GET_SEALS);
    return seals >= 0 && (seals & F_SEAL_SHRINK) && fstat(fd, &info) == 0 &&
           info.st_size >= (off_t)length_of(shape) && fstatfs(fd, &system) == 0 &&
           system.f_type == TMPFS_MAGIC;
}

/* An eventfd has no type, as whatever has no place in a file system. Of all that has one a write may
 * block or raise SIGPIPE, and the peer's own end of the link would keep its death from being seen.
 */
static bool is_bell(int fd)
{
    struct stat info;
    return fstat(fd, &info) == 0 && (info.st_mode & S_IFMT) == 0;
}

/* ---- the rendezvous ---- */

static int fail(struct shm_end *s, int number, const char *call)
{
    return cdt_path_fail_errno(path_of(s), CONDUIT_STAGE_DIAL, number, call);
}

static int fail_protocol(struct shm_end *s, const char *what)
{
    return cdt_path_fail(path_of(s), CONDUIT_EIO, CONDUIT_STAGE_DIAL, NULL, 0, "%s", what);
}

static bool same_user(const struct shm_end *s)
{
    return s->peer.uid == geteuid();
}

/* The link has been watched since the end was made. */
static int start_bell(struct shm_end *s)
{
    if (s->bell_fd < 0)
        return 0;
    int number = 0;
    if (fcntl(s->bell_fd, F_SETFL, O_NONBLOCK) < 0 || /* whoever made them */
        fcntl(s->their_bell_fd, F_SETFL, O_NONBLOCK) < 0)
        number = errno;
    if (number == 0)
        number = cdt_watch_start(&s->bell, s->end.ctx, s->bell_fd, CDT_READ, on_bell);
    s->has_bell = number == 0;
    return s->has_bell ? 0 : fail(s, number, "poll");
}

/* Where both say a size the smaller one counts. */
static uint32_t agree(uint32_t one, uint32_t other)
{
    uint32_t least = one == 0 || (other != 0 && other < one) ? other : one;
    return least != 0 ? least : DEFAULT_SIZE;
}

static ssize_t send_welcome(struct shm_end *s, struct cdt_ring_shape shape, const int *fds,
                            size_t n_fds)
{
    struct welcome welcome = {
        .left_order = shape.left_order, .right_order = shape.right_order, .spot = own_spot()};
    union {
        struct cmsghdr head;
        char bytes[CMSG_SPACE(MOST_DESCRIPTORS * sizeof(int))];
    } control = {0};
    struct iovec v = {&welcome, sizeof(welcome)};
    struct msghdr message = {
        .msg_iov = &v,
        .msg_iovlen = 1,
        .msg_control = &control,
        .msg_controllen = CMSG_SPACE(n_fds * sizeof(int)),
    };
    memcpy(welcome.magic, magic, sizeof(magic));
    control.head.cmsg_level = SOL_SOCKET;
    control.head.cmsg_type = SCM_RIGHTS;
    control.head.cmsg_len = CMSG_LEN(n_fds * sizeof(int));
    memcpy(CMSG_DATA(&control.head), fds, n_fds * sizeof(int));
    return sendmsg(s->link_fd, &message, MSG_DONTWAIT | MSG_NOSIGNAL);
}

/* Make all there is to share, and hand the client its part. 0 or a negative code. */
static int give(struct shm_end *s, struct cdt_ring_shape shape, bool bells)
{
    int memory_fd = -1;
    int number = make_memory(s, shape, &memory_fd);
    if (number != 0)
        return fail(s, number, "memfd");
    if (bells) {
        s->bell_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
        s->their_bell_fd = s->bell_fd < 0 ? -1 : eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    }
    int code = 0;
    const int fds[] = {memory_fd, s->bell_fd, s->their_bell_fd};
    if (bells && s->their_bell_fd < 0)
        code = fail(s, errno, "eventfd");
    else if (send_welcome(s, shape, fds, bells ? 3 : 1) < 0)
        code = fail(s, errno, "send");
    close(memory_fd);
    return code;
}

static int open_server(struct shm_end *s)
{
    struct hello hello;
    struct cdt_ring_shape shape;
    ssize_t n = recv(s->link_fd, &hello, sizeof(hello), MSG_DONTWAIT);
    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return CONDUIT_EAGAIN;
    if (n <= 0)
        return fail(s, n == 0 ? ECONNRESET : errno, "hello");
    if (n != sizeof(hello) || memcmp(hello.magic, magic, sizeof(magic)) != 0)
        return fail_protocol(s, "the client does not speak this protocol");
    if (!cdt_ring_choose(agree(s->read, hello.write), agree(s->write, hello.read), &shape))
        return fail_protocol(s, "the client asks for a ring that is larger than any");
    int code = give(s, shape, hello.bells == 1 && same_user(s));
    if (code == 0)
        code = start_bell(s);
    if (code == 0)
        attach(s, shape, hello.spot);
    return code;
}

/* What came with a message: at most `most`, -1 for those that did not. False if there were more. */
static bool take_descriptors(struct msghdr *message, int *fds, size_t most)
{
    bool fits = (message->msg_flags & (MSG_CTRUNC | MSG_TRUNC)) == 0;
    size_t n = 0;
    for (struct cmsghdr *c = CMSG_FIRSTHDR(message); c != NULL; c = CMSG_NXTHDR(message, c)) {
        if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS)
            continue;
        size_t n_here = (c->cmsg_len - CMSG_LEN(0)) / sizeof(int);
        for (size_t i = 0; i < n_here; i++) {
            int fd;
            memcpy(&fd, CMSG_DATA(c) + i * sizeof(int), sizeof(fd));
            if (n < most)
                fds[n++] = fd;
            else
                close(fd);
            fits &= n <= most;
        }
    }
    return fits;
}

static void close_if_open(int fd)
{
    if (fd >= 0)
        close(fd);
}

/* -1 and EMFILE if this process has no room for what came. */
static ssize_t receive_welcome(struct shm_end *s, struct welcome *welcome, int *fds, bool *fits)
{
    union {
        struct cmsghdr head;
        char bytes[CMSG_SPACE(MOST_DESCRIPTORS * sizeof(int))];
    } control = {0};
    struct iovec v = {welcome, sizeof(*welcome)};
    struct msghdr message = {
        .msg_iov = &v,
        .msg_iovlen = 1,
        .msg_control = &control,
        .msg_controllen = sizeof(control),
    };
    ssize_t n = recvmsg(s->link_fd, &message, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
    *fits = n >= 0 && take_descriptors(&message, fds, MOST_DESCRIPTORS);
    if (n < 0 || !(message.msg_flags & MSG_CTRUNC) || fds[MOST_DESCRIPTORS - 1] >= 0)
        return n;
    for (size_t i = 0; i < MOST_DESCRIPTORS; i++) /* cut, though there was room: not by the peer */
        close_if_open(fds[i]);
    errno = EMFILE;
    return -1;
}

/* None between users, and otherwise both or none. */
static bool bells_possible(const struct shm_end *s)
{
    if (s->bell_fd < 0 || s->their_bell_fd < 0)
        return s->bell_fd == s->their_bell_fd;
    return same_user(s) && is_bell(s->bell_fd) && is_bell(s->their_bell_fd);
}

/* fds[1] is the server's bell, fds[2] ours; the memory's is closed here, mapped or not. */
static int take(struct shm_end *s, const struct welcome *welcome, int *fds)
{
    struct cdt_ring_shape shape = {welcome->left_order, welcome->right_order};
    int memory_fd = fds[0], number = 0;
    s->their_bell_fd = fds[1];
    s->bell_fd = fds[2];
    bool possible = memcmp(welcome->magic, magic, sizeof(magic)) == 0 && memory_fd >= 0 &&
                    bells_possible(s) && cdt_ring_shape_possible(shape) &&
                    is_sound(memory_fd, shape);
    if (possible)
        number = map_memory(s, memory_fd, shape);
    if (memory_fd >= 0)
        close(memory_fd);
    if (!possible)
        return fail_protocol(s, "the server does not speak this protocol");
    if (number != 0)
        return fail(s, number, "mmap");
    int code = start_bell(s);
    if (code == 0)
        attach(s, shape, welcome->spot);
    return code;
}

static int open_client(struct shm_end *s)
{
    struct welcome welcome = {0};
    int fds[MOST_DESCRIPTORS] = {-1, -1, -1};
    bool fits;
    ssize_t n = receive_welcome(s, &welcome, fds, &fits);
    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return CONDUIT_EAGAIN;
    if (n > 0 && (!fits || n != sizeof(welcome)))
        memset(&welcome, 0, sizeof(welcome));
    if (n > 0)
        return take(s, &welcome, fds);
    if (n == 0 || errno == ECONNRESET)
        return cdt_path_fail(path_of(s), CONDUIT_EREFUSED, CONDUIT_STAGE_DIAL, NULL, 0,
                             "the listener hung up: it turned us away, or has ended");
    return fail(s, errno, "welcome");
}

/* The link is asked at once, and then each time that it has something to say. */
static int open_shm(struct cdt_vchan_end *end)
{
    struct shm_end *s = of(end);
    if (path_of(s)->error != NULL)
        return conduit_error_code(path_of(s)->error);
    int code = s->server ? open_server(s) : open_client(s);
    if (!s->greeted && (code == 0 || code == CONDUIT_EAGAIN)) {
        s->greeted = true;
        cdt_watch_want(&s->link, CDT_READ);
    }
    return code;
}

/* ---- the end of an end ---- */

static void close_shm(struct cdt_vchan_end *end)
{
    struct shm_end *s = of(end);
    cdt_watch_stop(&s->link);
    if (s->has_bell)
        cdt_watch_stop(&s->bell);
    if (s->memory != NULL)
        munmap(s->memory, s->length);
    close_if_open(s->link_fd);
    close_if_open(s->bell_fd);
    close_if_open(s->their_bell_fd);
    conduit_free(s);
}

static void describe(const struct cdt_vchan_end *end, struct cdt_facts *facts)
{
    const struct shm_end *s = CDT_CONTAINER(cdt_bytes(end), struct shm_end, end);
    facts->peer_pid = s->peer.pid;
    facts->peer_uid = s->peer.uid;
    facts->peer_gid = s->peer.gid;
}

static const struct cdt_vchan_end_ops end_ops = {
    .open = open_shm,
    .watch = watch,
    .silence = silence,
    .close = close_shm,
    .describe = describe,
};

/* ---- the beginning of one ---- */

/* Put a connected `fd` (taken over) at the bottom of `path`. NULL and an errno if that fails. */
static struct shm_end *push(struct cdt_path *path, int fd, bool server,
                            const struct cdt_vchan_settings *settings, int *number)
{
    struct shm_end *s = conduit_calloc(1, sizeof(*s));
    socklen_t len = sizeof(s->peer);
    *number = s == NULL ? ENOMEM : 0;
    if (s != NULL && getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &s->peer, &len) < 0)
        *number = errno;
    if (*number == 0)
        *number = cdt_watch_start(&s->link, path->ctx, fd, CDT_READ, on_link);
    if (*number != 0) {
        conduit_free(s);
        close(fd);
        return NULL;
    }
    s->link.exact = true;
    s->link_fd = fd;
    s->bell_fd = s->their_bell_fd = -1;
    s->server = server;
    s->read = settings->read;
    s->write = settings->write;
    cdt_vchan_end_push(&s->end, &end_ops, path, settings->spin_us);
    return s;
}

/* A listener admits its own user and those that it names; who dials named one listener's. */
static bool admits(const struct cdt_vchan_settings *settings, bool server, uid_t user)
{
    if (settings->share_all || (user == geteuid() && (server || !settings->share)))
        return true;
    for (size_t i = 0; i < settings->n_shared; i++)
        if (settings->shared[i] == user)
            return true;
    return false;
}

/* One that may not be there fails when it is opened, where somebody hears of it. */
static void check_user(struct shm_end *s, const struct cdt_vchan_settings *settings)
{
    if (admits(settings, s->server, s->peer.uid))
        return;
    cdt_path_fail(path_of(s), CONDUIT_EACCESS, CONDUIT_STAGE_DIAL, NULL, 0,
                  "user %u is at the other end, who is not one to share with", s->peer.uid);
}

/* ---- dialling ---- */

static int say_hello(struct shm_end *s)
{
    struct hello hello = {
        .bells = same_user(s), .read = s->read, .write = s->write, .spot = own_spot()};
    memcpy(hello.magic, magic, sizeof(magic));
    if (send(s->link_fd, &hello, sizeof(hello), MSG_DONTWAIT | MSG_NOSIGNAL) < 0)
        return fail(s, errno, "hello");
    return 0;
}

static int refused(struct cdt_path *path, const struct cdt_place *place, int number)
{
    if (number == EAGAIN) /* a Unix socket does not tell when it has room again */
        return cdt_path_fail(path, CONDUIT_EREFUSED, CONDUIT_STAGE_DIAL, "errno", number,
                             "connect: the listener's backlog is full");
    if (number == ENOENT || number == ECONNREFUSED)
        return cdt_path_fail(path, CONDUIT_EREFUSED, CONDUIT_STAGE_DIAL, "errno", number,
                             "nobody listens there (%s)", place->address.sun_path);
    return cdt_path_fail_errno(path, CONDUIT_STAGE_DIAL, number, "connect");
}

/* A connected socket, or -1 after cdt_path_fail(). */
static int connect_to(struct cdt_path *path, const struct cdt_place *place)
{
    const char *what;
    int number = cdt_place_check(place, &what);
    if (number != 0 && number != ENOENT) {
        cdt_path_fail(path, cdt_code_from_errno(number), CONDUIT_STAGE_DIAL, "errno", number,
                      "%s (%s)", what, place->directory);
        return -1;
    }
    int fd = number == 0 ? socket(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK | SOCK_CLOEXEC, 0) : -1;
    if (number == 0 && fd < 0) {
        cdt_path_fail_errno(path, CONDUIT_STAGE_DIAL, errno, "socket");
        return -1;
    }
    const struct sockaddr *to = (const struct sockaddr *)&place->address;
    if (number == 0 && connect(fd, to, sizeof(place->address)) < 0)
        number = errno;
    if (number == 0)
        return fd;
    close_if_open(fd);
    refused(path, place, number);
    return -1;
}

static int dial(struct cdt_path *path, const conduit_endpoint *to,
                const struct cdt_vchan_settings *settings)
{
    struct cdt_place place;
    const char *what;
    int number = cdt_place_find(conduit_endpoint_host(to), settings->share, settings->shared[0],
                                &place, &what);
    if (number != 0)
        return cdt_path_fail(path, CONDUIT_EINVAL, CONDUIT_STAGE_DIAL, "errno", number, "%s", what);
    int fd = connect_to(path, &place);
    if (fd < 0)
        return conduit_error_code(path->error);
    struct shm_end *s = push(path, fd, false, settings, &number);
    if (s == NULL)
        return cdt_path_fail_errno(path, CONDUIT_STAGE_DIAL, number, "connect");
    check_user(s, settings);
    return path->error != NULL ? conduit_error_code(path->error) : say_hello(s);
}

/* ---- listening ---- */

static struct shm_acceptor *acceptor_of(struct cdt_acceptor *acceptor)
{
    return CDT_CONTAINER(acceptor, struct shm_acceptor, socket.acceptor);
}

static int accept_shm(struct cdt_acceptor *acceptor, struct cdt_path *path, int *number)
{
    struct shm_acceptor *a = acceptor_of(acceptor);
    int fd = accept4(a->socket.watch.fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (fd < 0) {
        *number = errno;
        if (errno == EAGAIN)
            return CONDUIT_EAGAIN;
        return errno == ECONNABORTED || errno == EINTR ? CONDUIT_ERESET
                                                       : cdt_code_from_errno(errno);
    }
    struct shm_end *s = push(path, fd, true, &a->settings, number);
    if (s == NULL)
        return cdt_code_from_errno(*number);
    check_user(s, &a->settings);
    return 0;
}

/* As of a Unix socket: limits count both together. */
static bool who_of(const struct cdt_path *path, struct cdt_who *who)
{
    const struct shm_end *s = CDT_CONTAINER(cdt_bytes(path->top), struct shm_end, end.layer);
    *who = (struct cdt_who){.family = AF_UNIX};
    memcpy(who->bytes, &s->peer.uid, sizeof(s->peer.uid));
    return true;
}

static void want_connections(struct cdt_acceptor *acceptor, bool on)
{
    acceptor_of(acceptor)->socket_ops->want(acceptor, on);
}

static void close_acceptor(struct cdt_acceptor *acceptor)
{
    acceptor_of(acceptor)->socket_ops->close(acceptor);
}

static const struct cdt_acceptor_ops acceptor_ops = {
    .accept = accept_shm,
    .who = who_of,
    .want = want_connections,
    .close = close_acceptor,
};

static void remove_place(struct cdt_socket_acceptor *acceptor)
{
    const struct shm_acceptor *a = CDT_CONTAINER(acceptor, struct shm_acceptor, socket);
    cdt_node_remove(acceptor->acceptor.ctx, &a->place.address, &a->node);
}

/* Watch over `fd`, which listens at the place. 0 or an errno; then both are still the caller's. */
static int start_acceptor(struct shm_acceptor *a, conduit_ctx *ctx, int fd,
                          const conduit_endpoint *at)
{
    struct stat info;
    if (lstat(a->place.address.sun_path, &info) < 0)
        return errno;
    int number = cdt_socket_acceptor_start(&a->socket, ctx, fd, at);
    if (number != 0)
        return number;
    conduit_endpoint_ref(at);
    a->socket_ops = a->socket.acceptor.ops;
    a->socket.acceptor.ops = &acceptor_ops;
    a->socket.closed = remove_place;
    a->node = (struct cdt_node){.device = info.st_dev, .inode = info.st_ino};
    return 0;
}

static int bind_shm(conduit_ctx *ctx, const conduit_endpoint *at,
                    const struct cdt_vchan_settings *settings, int backlog,
                    struct cdt_acceptor **ret, const conduit_error **reterr)
{
    struct shm_acceptor *a = conduit_calloc(1, sizeof(*a));
    const char *what = "bind";
    int fd = -1, number = a != NULL ? 0 : ENOMEM;
    if (number == 0) {
        a->settings = *settings;
        number =
            cdt_place_find(conduit_endpoint_host(at), settings->share, geteuid(), &a->place, &what);
    }
    if (number == 0)
        number = cdt_place_bind(&a->place, backlog, &fd, &what);
    if (number == 0) {
        what = "poll";
        number = start_acceptor(a, ctx, fd, at);
        if (number != 0) {
            unlink(a->place.address.sun_path);
            close(fd);
        }
    }
    if (number == 0) {
        *ret = &a->socket.acceptor;
        return 0;
    }
    conduit_free(a);
    return cdt_error_give(
        cdt_error_errno(CONDUIT_STAGE_DIAL, conduit_endpoint_uri(at), number, what), reterr);
}

/* ---- the row ---- */

static bool present(void)
{
    return true;
}

static const char *refuses(const struct cdt_vchan_settings *settings, bool listening)
{
    if (settings->has_peer)
        return "peer= is for domains of a Xen (backing=xen)";
    if (!listening && settings->share && settings->n_shared != 1)
        return "share= of a connect is one user: whose listener it is";
    return NULL;
}

static void explain(const conduit_endpoint *endpoint, const struct cdt_vchan_settings *settings,
                    char *buf, size_t size)
{
    static const char *const states[] = {
        [CDT_PLACE_EMPTY] = "nobody listens there",
        [CDT_PLACE_STALE] = "left behind by a process that is gone",
        [CDT_PLACE_TAKEN] = "somebody listens there",
    };
    struct cdt_place place;
    const char *what;
    int number = cdt_place_find(conduit_endpoint_host(endpoint), settings->share,
                                settings->shared[0], &place, &what);
    if (number != 0) {
        snprintf(buf, size, "%s", what);
        return;
    }
    number = cdt_place_check(&place, &what);
    if (number != 0 && number != ENOENT)
        snprintf(buf, size, "%s: %s", place.directory, what);
    else
        snprintf(buf, size, "%s: %s", place.address.sun_path, states[cdt_place_look(&place)]);
}

static bool taken(const conduit_endpoint *endpoint, const struct cdt_vchan_settings *settings)
{
    struct cdt_place place;
    const char *what;
    return cdt_place_find(conduit_endpoint_host(endpoint), settings->share, settings->shared[0],
                          &place, &what) == 0 &&
           cdt_place_check(&place, &what) == 0 && cdt_place_look(&place) == CDT_PLACE_TAKEN;
}

const struct cdt_vchan_backing cdt_vchan_shm = {
    .name = "shm",
    .present = present,
    .refuses = refuses,
    .dial = dial,
    .bind = bind_shm,
    .explain = explain,
    .taken = taken,
};
