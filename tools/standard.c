/* SPDX-License-Identifier: ISC */
/* Standard input and output on worker threads: standard.h says why. */
#include "standard.h"
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

/* ---- input ---- */

int input_open(struct input *input)
{
    /* A reader and a writer that may both stall, and the system's resolver must find a thread even
     * so. */
    if (setenv("UV_THREADPOOL_SIZE", "4", 1) != 0)
        return errno;
    return pipe2(input->wake, O_CLOEXEC) == 0 ? 0 : errno;
}

/* Bytes, 0 for the end, or -errno; -EAGAIN and -EINTR are worth another try. */
static ssize_t read_when_ready(struct input *input)
{
    struct pollfd fds[] = {{.fd = STDIN_FILENO, .events = POLLIN},
                           {.fd = input->wake[0], .events = POLLIN}};
    if (poll(fds, 2, -1) < 0)
        return -errno;
    if (fds[1].revents != 0)
        return -ECANCELED;
    ssize_t n = read(STDIN_FILENO, input->bytes, INPUT_PIECE);
    return n >= 0 ? n : -errno;
}

static void read_piece(uv_work_t *work)
{
    struct input *input = work->data;
    do {
        input->n = read_when_ready(input);
    } while (input->n == -EAGAIN || input->n == -EINTR);
}

static void after_read(uv_work_t *work, int status)
{
    struct input *input = work->data;
    input->reading = false;
    input->on_piece(input);
}

void input_read(struct input *input, uv_loop_t *loop)
{
    if (input->reading)
        return;
    input->reading = true;
    input->work.data = input;
    uv_queue_work(loop, &input->work, read_piece, after_read);
}

void input_stop(struct input *input)
{
    if (input->wake[1] > 0)
        close(input->wake[1]); /* the other end becomes readable, and stays so */
    input->wake[1] = 0;
}

void input_close(struct input *input)
{
    input_stop(input);
    if (input->wake[0] > 0)
        close(input->wake[0]);
    input->wake[0] = 0;
}

/* ---- output ---- */

static void write_block(uv_work_t *work)
{
    struct output *output = work->data;
    struct pollfd fd = {.fd = STDOUT_FILENO, .events = POLLOUT};
    for (size_t done = 0; done < output->writing.n;) {
        ssize_t n = write(STDOUT_FILENO, output->writing.bytes + done, output->writing.n - done);
        if (n >= 0) {
            done += (size_t)n;
        } else if (errno == EAGAIN) {
            poll(&fd, 1, -1); /* somebody else has made it non-blocking */
        } else if (errno != EINTR) {
            output->error = errno;
            return;
        }
    }
}

static void after_write(uv_work_t *work, int status);

static void start_writing(struct output *output, uv_loop_t *loop)
{
    struct output_block empty = output->writing;
    output->writing = output->filling;
    output->filling = empty;
    output->filling.n = 0;
    output->busy = true;
    output->work.data = output;
    uv_queue_work(loop, &output->work, write_block, after_write);
}

static void after_write(uv_work_t *work, int status)
{
    struct output *output = work->data;
    output->busy = false;
    output->writing.n = 0;
    if (output->error != 0)
        output->filling.n = 0;
    else if (output->filling.n > 0)
        start_writing(output, work->loop);
    output->on_written(output, output->error);
}

static bool make_room(struct output_block *block, size_t n)
{
    if (n <= block->room - block->n)
        return true;
    size_t room = block->n + n + INPUT_PIECE;
    char *bytes = realloc(block->bytes, room);
    if (bytes == NULL)
        return false;
    block->bytes = bytes;
    block->room = room;
    return true;
}

int output_put(struct output *output, uv_loop_t *loop, const void *data, size_t n)
{
    struct output_block *filling = &output->filling;
    if (output->error != 0)
        return output->error;
    if (!make_room(filling, n))
        return ENOMEM;
    memcpy(filling->bytes + filling->n, data, n);
    filling->n += n;
    if (!output->busy)
        start_writing(output, loop);
    return 0;
}

size_t output_waiting(const struct output *output)
{
    return output->filling.n + output->writing.n;
}

void output_end(void)
{
    /* A socket that is standard input too (as inetd and socat give one) would not see the close. */
    shutdown(STDOUT_FILENO, SHUT_WR);
    /* Not just closed: the next socket would get its number. */
    int null = open("/dev/null", O_RDONLY | O_CLOEXEC);
    if (null < 0)
        return;
    dup2(null, STDOUT_FILENO);
    close(null);
}

void output_close(struct output *output)
{
    free(output->filling.bytes);
    free(output->writing.bytes);
}
