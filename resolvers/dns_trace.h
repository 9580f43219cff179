/* SPDX-License-Identifier: ISC */
/*
 * What dns tells who traces: each question, each record that came back, in the words of a zone
 * file, and what was remembered of it. Nothing is done when nobody traces.
 */
#ifndef CDT_DNS_TRACE_H
#define CDT_DNS_TRACE_H

#include "dns_client.h"

/* The event query. */
void cdt_dns_trace_question(conduit_query *query, const struct cdt_dns_question *question);
/* The events answer and cache. */
void cdt_dns_trace_answer(conduit_query *query, const struct cdt_dns_question *question);

#endif
