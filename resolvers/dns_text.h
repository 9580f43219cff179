/* SPDX-License-Identifier: ISC */
/*
 * What dns says to people: of questions and answers in traces, and of failures in errors.
 */
#ifndef CDT_DNS_TEXT_H
#define CDT_DNS_TEXT_H

#include "dns_client.h"

enum { CDT_WHY_SIZE = 384 };

/* The code for a status of c-ares's. */
int cdt_dns_code(int status);
/* What it says, with the servers if it is theirs. */
void cdt_dns_print_failure(char text[CDT_WHY_SIZE], int status, const char *servers);
/* For who traces: the event query, or the event answer. */
void cdt_dns_trace_question(conduit_query *query, const struct cdt_dns_question *question);
void cdt_dns_trace_answer(conduit_query *query, const struct cdt_dns_question *question);

#endif
