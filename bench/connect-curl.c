/* SPDX-License-Identifier: ISC */
/* Connecting by name with curl's connection layer alone (CURLOPT_CONNECT_ONLY), a new connection
 * each time, no TLS session kept. */
#include "connect.h"

#include <curl/curl.h>
#include <err.h>
#include <stdio.h>

static CURL *curl;
static CURLSH *shared;
static char url[256], entry[256];
static struct curl_slist *known;
static const char *anchor;

void connect_begin(const struct connect_to *to)
{
    curl_global_init(CURL_GLOBAL_DEFAULT);
    curl = curl_easy_init();
    shared = curl_share_init();
    if (curl == NULL || shared == NULL)
        errx(1, "no curl");
    curl_share_setopt(shared, CURLSHOPT_SHARE, CURL_LOCK_DATA_DNS);
    snprintf(url, sizeof url, "%s://%s:%u/", to->tls ? "https" : "http", to->host, to->port);
    anchor = to->anchor;
    if (*to->address == '\0')
        return;
    snprintf(entry, sizeof entry, "%s:%u:%s", to->host, to->port, to->address);
    known = curl_slist_append(NULL, entry);
}

/* A transfer that only connects keeps its connection until its handle is reset or gone: what a
 * user of curl_easy does to have another one. The names stay, they are shared. */
void connect_once(void)
{
    CURL *easy = curl_easy_duphandle(curl);
    curl_easy_setopt(easy, CURLOPT_URL, url);
    curl_easy_setopt(easy, CURLOPT_CONNECT_ONLY, 1L);
    curl_easy_setopt(easy, CURLOPT_SHARE, shared);
    curl_easy_setopt(easy, CURLOPT_CAINFO, anchor);
    curl_easy_setopt(easy, CURLOPT_SSL_SESSIONID_CACHE, 0L);
    curl_easy_setopt(easy, CURLOPT_RESOLVE, known);
    CURLcode code = curl_easy_perform(easy);
    if (code != CURLE_OK)
        errx(1, "%s: %s", url, curl_easy_strerror(code));
    curl_easy_cleanup(easy);
}

int main(int argc, char **argv)
{
    return connect_main(argc, argv);
}
