/* SPDX-License-Identifier: ISC */
/* The byte path as an object: layer.h says what it is. */
#include "layer.h"
#include "context.h"
#include "error.h"
#include <conduit/memory.h>
#include <uv.h>

struct cdt_path *cdt_path_new(conduit_ctx *ctx, const conduit_endpoint *endpoint)
{
    struct cdt_path *path = cdt_spare_take(&ctx->spares, CDT_SPARE_PATH, sizeof(*path));
    if (path == NULL)
        return NULL;
    path->ctx = ctx;
    path->stage = CONDUIT_STAGE_DIAL;
    path->begun_ns = uv_hrtime();
    path->endpoint = conduit_endpoint_ref(endpoint);
    return path;
}

void cdt_path_free(struct cdt_path *path, bool reset)
{
    if (path == NULL)
        return;
    if (path->top != NULL)
        path->top->ops->close(path->top, reset);
    conduit_endpoint_unref(path->endpoint);
    conduit_error_unref(path->error);
    conduit_free(path->peer);
    cdt_spare_give(&path->ctx->spares, CDT_SPARE_PATH, path);
}

void cdt_path_push(struct cdt_path *path, struct cdt_layer *layer)
{
    layer->path = path;
    layer->below = path->top;
    path->top = layer;
}

void cdt_path_drop(struct cdt_path *path, const struct cdt_layer *layer)
{
    struct cdt_layer **at = &path->top;
    while (*at != layer)
        at = &(*at)->below;
    *at = layer->below;
}

void cdt_layer_describe(const struct cdt_layer *layer, struct cdt_facts *facts)
{
    if (layer->below != NULL)
        cdt_layer_describe(layer->below, facts);
    if (layer->ops->describe != NULL)
        layer->ops->describe(layer, facts);
}

int cdt_path_fail(struct cdt_path *path, int code, conduit_stage stage, const char *source,
                  long number, const char *format, ...)
{
    if (path->error != NULL)
        return conduit_error_code(path->error);
    va_list args;
    va_start(args, format);
    path->error = cdt_error_newv(code, stage, conduit_endpoint_uri(path->endpoint), source, number,
                                 format, args);
    va_end(args);
    return conduit_error_code(path->error);
}

int cdt_path_fail_errno(struct cdt_path *path, conduit_stage stage, int number, const char *call)
{
    if (path->error == NULL)
        path->error = cdt_error_errno(stage, conduit_endpoint_uri(path->endpoint), number, call);
    return conduit_error_code(path->error);
}
