/* SPDX-License-Identifier: ISC */
/* New certificates for a listener that stays: renewal.h says how. */
#include "renewal.h"
#include "context.h"
#include "error.h"
#include "secure.h"
#include "util.h"
#include <string.h>

enum { RETRY_MS = 250, RETRIES = 20 };

static void on_timer(struct cdt_timer *timer);

/* The most impatient configuration counts. 0: nobody watches. */
static uint32_t interval_s(const struct cdt_target *target)
{
    uint32_t least = 0;
    for (size_t i = 0; i < target->n_steps; i++) {
        const conduit_tls *tls = target->steps[i].tls;
        uint32_t watch = tls != NULL ? cdt_tls_watch_s(tls) : 0;
        if (watch > 0 && (least == 0 || watch < least))
            least = watch;
    }
    return least;
}

static void look_again(struct cdt_renewal *renewal)
{
    uint64_t delay_ms = (uint64_t)interval_s(renewal->target) * 1000;
    if (renewal->tries > 0)
        delay_ms = RETRY_MS;
    if (delay_ms > 0)
        cdt_timer_start(renewal->ctx, &renewal->timer, delay_ms, on_timer);
    else
        cdt_timer_stop(renewal->ctx, &renewal->timer);
}

static void drop_all(conduit_tls **made, size_t n)
{
    for (size_t i = 0; i < n; i++)
        conduit_tls_unref(made[i]);
}

static int reread_all(struct cdt_target *target, const conduit_error **reterr)
{
    conduit_tls *made[CDT_MAX_LAYERS] = {NULL};
    for (size_t i = 0; i < target->n_steps; i++) {
        const conduit_tls *old = target->steps[i].tls;
        int code = old != NULL ? cdt_tls_reread(old, &made[i], reterr) : 0;
        if (code < 0) {
            drop_all(made, i);
            return code;
        }
    }
    for (size_t i = 0; i < target->n_steps; i++) {
        conduit_tls_unref(target->steps[i].tls);
        target->steps[i].tls = made[i];
    }
    return 0;
}

static void forget(struct cdt_renewal *renewal)
{
    conduit_error_unref(renewal->last);
    renewal->last = NULL;
    renewal->tries = 0;
}

int cdt_renewal_now(struct cdt_renewal *renewal, const conduit_error **reterr)
{
    const conduit_error *error = NULL;
    int code = reread_all(renewal->target, &error);
    forget(renewal);
    if (code < 0) {
        renewal->tries = RETRIES;
        renewal->last = conduit_error_ref(error);
        cdt_error_give(error, reterr);
    }
    look_again(renewal);
    return code;
}

int cdt_renewal_replace(struct cdt_renewal *renewal, conduit_tls *tls, const conduit_error **reterr)
{
    struct cdt_target *target = renewal->target;
    for (size_t i = 0; i < target->n_steps; i++) {
        if (target->steps[i].tls == NULL)
            continue;
        int code = cdt_tls_seal(tls, true, reterr);
        if (code < 0)
            return code;
        conduit_tls_ref(tls);
        conduit_tls_unref(target->steps[i].tls);
        target->steps[i].tls = tls;
        forget(renewal);
        look_again(renewal);
        return 0;
    }
    return cdt_error_give(cdt_error_new(CONDUIT_EINVAL, CONDUIT_STAGE_TLS, NULL, NULL, 0,
                                        "this listener does not speak TLS"),
                          reterr);
}

static bool has_changed(const struct cdt_target *target)
{
    for (size_t i = 0; i < target->n_steps; i++)
        if (target->steps[i].tls != NULL && cdt_tls_changed(target->steps[i].tls))
            return true;
    return false;
}

/* Half of a pair may be there already: that is news only if it stays so. */
static void tell(struct cdt_renewal *renewal, const conduit_error *error)
{
    bool known = renewal->last != NULL &&
                 strcmp(conduit_error_text(renewal->last), conduit_error_text(error)) == 0;
    conduit_error_unref(renewal->last);
    renewal->last = error;
    if (known)
        return;
    conduit_error_ref(error);
    renewal->failed(renewal, error); /* may be the end of `renewal` */
    conduit_error_unref(error);
}

static void on_timer(struct cdt_timer *timer)
{
    struct cdt_renewal *renewal = CDT_CONTAINER(timer, struct cdt_renewal, timer);
    const conduit_error *error = NULL;
    bool commanded = renewal->tries > 0;
    int code = 0;
    if (commanded || has_changed(renewal->target))
        code = reread_all(renewal->target, &error);
    if (code == 0)
        forget(renewal);
    else if (commanded)
        renewal->tries--;
    look_again(renewal);
    if (code < 0)
        tell(renewal, error);
}

void cdt_renewal_start(struct cdt_renewal *renewal, conduit_ctx *ctx, struct cdt_target *target,
                       void (*failed)(struct cdt_renewal *, const conduit_error *))
{
    renewal->ctx = ctx;
    renewal->target = target;
    renewal->failed = failed;
    look_again(renewal);
}

void cdt_renewal_stop(struct cdt_renewal *renewal)
{
    if (renewal->ctx != NULL)
        cdt_timer_stop(renewal->ctx, &renewal->timer);
    forget(renewal);
}
