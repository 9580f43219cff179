/* SPDX-License-Identifier: ISC */
/*
 * Standard input and output beside a loop.
 *
 * They may be anything (a file, a pipe, a terminal, a socket, closed) and are shared with other
 * programs, for whom O_NONBLOCK would be set as well. So they are read and written with ordinary
 * blocking calls, one at a time and each on one of libuv's worker threads: one that stalls never
 * holds up the loop.
 *
 * Both structs start as zero but for the callback, which runs on the loop, and live until the loop
 * has run dry.
 */
#ifndef TOOLS_STANDARD_H
#define TOOLS_STANDARD_H

#include <stdbool.h>
#include <sys/types.h>
#include <uv.h>

enum { INPUT_PIECE = 64 * 1024 };

struct input {
    /* The piece that was asked for is there. */
    void (*on_piece)(struct input *input);
    ssize_t n; /* bytes of it; 0: the end; -errno */
    char bytes[INPUT_PIECE];

    bool reading;
    uv_work_t work;
    int wake[2]; /* a pipe that calls the thread back */
};

/* 0 or an errno. */
int input_open(struct input *input);
/* Read one piece. Asking again before it is there changes nothing. */
void input_read(struct input *input, uv_loop_t *loop);
/* For good: the read that is under way, and each one after it, is -ECANCELED. Idempotent. */
void input_stop(struct input *input);
void input_close(struct input *input);

struct output_block {
    char *bytes;
    size_t n, room;
};

struct output {
    /* Some of what waited has been written, or none of it can be: `error` is an errno, and what
     * waited is dropped. */
    void (*on_written)(struct output *output, int error);

    bool busy;
    int error;
    struct output_block filling; /* what comes in meanwhile */
    struct output_block writing; /* the thread's, while busy */
    uv_work_t work;
};

/* Copy `data`, and write it after what is there already. 0 or an errno. */
int output_put(struct output *output, uv_loop_t *loop, const void *data, size_t n);
/* Bytes that were put and are not yet written. */
size_t output_waiting(const struct output *output);
/* Let who reads standard output see its end, now. */
void output_end(void);
void output_close(struct output *output);

#endif
