/* SPDX-License-Identifier: ISC */
/*
 * A xenstore that is a table in this process: the calls of libxenstore, in place of the library's,
 * for whoever is linked with it. Nodes have owners and permissions, transactions fail when somebody
 * else has written meanwhile, watches fire.
 *
 * There is one of it, and each test begins it anew. Whatever is written is written by the domain
 * that was chosen last: first our own, later whom the test would like to play.
 */
#ifndef CDT_FAKE_STORE_H
#define CDT_FAKE_STORE_H

#include <stdbool.h>
#include <stddef.h>

enum { FAKE_NODES = 256, FAKE_PATH = 512 };

/* Empty, and we are `domain`. */
void fake_store_begin(unsigned domain);
/* Frees everything; how many watches were left. */
unsigned fake_store_end(void);

/* From now on reads and writes are that domain's. */
void fake_store_be(unsigned domain);
/* As `owner`: a node, and who else may do what (XS_PERM_*): everybody if `other` is -1. */
void fake_store_put(unsigned owner, const char *path, const void *value, size_t n, int other,
                    unsigned may);
void fake_store_remove(const char *path);
/* NULL: there is none. */
const char *fake_store_value(const char *path);
unsigned fake_store_nodes(void);

/* Called before the next reading, which is counted from 1; NULL: nobody is. */
extern void (*fake_store_meanwhile)(unsigned reading);
/* So many transactions are refused from now on. */
extern unsigned fake_store_busy;
/* xenstored is gone. */
extern bool fake_store_gone;
/* Values that were read, so far. */
extern unsigned fake_store_readings;

#endif
