/* SPDX-License-Identifier: ISC */
/*
 * What dns says to people when it fails, in errors and in traces.
 */
#ifndef CDT_DNS_TEXT_H
#define CDT_DNS_TEXT_H

#include <conduit/resolver.h>

enum { CDT_WHY_SIZE = 384 };

/* The code for a status of c-ares's. */
int cdt_dns_code(int status);
/* What it says, with the servers if it is theirs. */
void cdt_dns_print_failure(char text[CDT_WHY_SIZE], int status, const char *servers);

#endif
