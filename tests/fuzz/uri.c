/* SPDX-License-Identifier: ISC */
/* URIs: any text is one or is refused with a reason; an endpoint prints to what parses back. */
#include "fuzz.h"
#include <conduit/endpoint.h>
#include <conduit/uri.h>
#include <string.h>

static void check_uri(const char *text)
{
    const conduit_uri *uri = NULL;
    const conduit_error *why = NULL;
    if (conduit_uri_parse(text, &uri, &why) < 0) {
        FUZZ_CHECK(uri == NULL && why != NULL && *conduit_error_text(why) != '\0');
        conduit_error_unref(why);
        return;
    }
    FUZZ_CHECK(why == NULL && strcmp(conduit_uri_text(uri), text) == 0);
    FUZZ_CHECK(*conduit_uri_scheme(uri) != '\0' && conduit_uri_port(uri) <= UINT16_MAX);
    conduit_uri_unref(uri);
}

static void check_endpoint(const char *text)
{
    const conduit_endpoint *endpoint = NULL, *again = NULL;
    const conduit_error *why = NULL;
    if (conduit_endpoint_parse(text, &endpoint, &why) < 0) {
        FUZZ_CHECK(endpoint == NULL && why != NULL);
        conduit_error_unref(why);
        return;
    }
    FUZZ_CHECK(conduit_endpoint_parse(conduit_endpoint_uri(endpoint), &again, NULL) == 0);
    FUZZ_CHECK(conduit_endpoint_equal(endpoint, again));
    conduit_endpoint_unref(endpoint);
    conduit_endpoint_unref(again);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char *text = malloc(size + 1);
    FUZZ_CHECK(text != NULL);
    memcpy(text, data, size);
    text[size] = '\0';
    check_uri(text);
    check_endpoint(text);
    free(text);
    return 0;
}
