/* SPDX-License-Identifier: ISC */
/* What was compiled in: the crunch script made it of the directory www. */
#ifndef EXAMPLES_HTTP_ASSETS_H
#define EXAMPLES_HTTP_ASSETS_H

#include "files.h"

extern const struct http_asset http_assets[];
extern const size_t http_n_assets;

#endif
