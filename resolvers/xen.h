/* SPDX-License-Identifier: ISC */
/* What NAME.xen means, for the resolvers of such names: xenstore.c knows which domain that is,
 * where there is a Xen; xen.c has the last word. */
#ifndef CDT_XEN_NAMES_H
#define CDT_XEN_NAMES_H

#include "names.h"

extern const conduit_resolver cdt_resolver_xenstore;

/* The domain's name: what stands before ".xen". False if the host is none of those. */
bool cdt_domain_of_query(const conduit_query *query, char domain[CDT_NAME_SIZE]);
/* 0 and the vchan that leads to `domain`, a reference; or a negative code: there can be none of
 * that name and port. */
int cdt_vchan_of_query(const conduit_query *query, const char *domain,
                       const conduit_endpoint **ret);

#endif
