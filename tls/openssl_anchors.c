/* SPDX-License-Identifier: ISC */
/*
 * Whom to believe: trust anchors and revocation lists.
 *
 * Those of a configuration are in its SSL_CTX. The system's are loaded once for a context, on a
 * worker thread, when its first client needs them, from where this OpenSSL was built to look, and
 * from nowhere that the environment says unasked. A store without anchors is an error of its own:
 * with it every peer would seem a fraud.
 */
#include "openssl.h"
#include "tls.h"
#include <conduit/memory.h>
#include <dirent.h>
#include <errno.h>
#include <limits.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

/* ---- a configuration's own ---- */

/* "ca.pem" (1 anchor), added to what is told when nobody of them signed. */
static void note_source(char *sources, size_t size, const char *what, int n)
{
    size_t at = strlen(sources);
    const char *separator = at > 0 ? ", " : "";
    if (size - at < strlen(what) + sizeof(" (1000000 anchors), ...")) {
        if (size - at > sizeof(", ...") && (at < 3 || strcmp(sources + at - 3, "...") != 0))
            snprintf(sources + at, size - at, "%s...", separator);
        return;
    }
    snprintf(sources + at, size - at, "%s%s (%d anchor%s)", separator, what, n, n == 1 ? "" : "s");
}

static bool note_certs(struct cdt_openssl_credentials *credentials, const cdt_openssl_certs *certs)
{
    for (int i = 0; i < sk_X509_num(certs); i++) {
        unsigned char *der = NULL;
        int len = i2d_X509(sk_X509_value(certs, i), &der);
        bool fine = len > 0 && cdt_openssl_note_trust(credentials, der, (size_t)len);
        OPENSSL_free(der);
        if (!fine)
            return false;
    }
    return true;
}

/* They replace the system's. On a listener their names are what clients are told to choose by. What
 * the caller names is an anchor, root or not; the system's store is not ours to read that way. */
static void use_own_trust(struct cdt_openssl_credentials *credentials)
{
    X509_VERIFY_PARAM_set_flags(SSL_CTX_get0_param(credentials->ctx), X509_V_FLAG_PARTIAL_CHAIN);
    credentials->own_trust = true;
}

/* OpenSSL reads a certificate's extensions when it first needs them, and one that it could not read
 * then, for want of memory, is invalid for good. So that is now, where it can be told. */
static bool read_extensions(X509 *cert)
{
    if (X509_check_purpose(cert, -1, 0) == 1)
        return true;
    unsigned long error = ERR_peek_last_error();
    return error != 0 && ERR_GET_REASON(error) != ERR_R_MALLOC_FAILURE;
}

/* So is a key that could not be decoded: the certificate is there, and has signed nothing. A second
 * copy tells a shortage from an algorithm that OpenSSL does not know. */
static bool read_key(const X509 *cert)
{
    if (X509_get0_pubkey(cert) != NULL)
        return true;
    X509 *again = X509_dup(cert);
    bool was_short = again == NULL || X509_get0_pubkey(again) != NULL;
    X509_free(again);
    if (was_short)
        ERR_raise(ERR_LIB_X509, ERR_R_MALLOC_FAILURE);
    return !was_short;
}

static bool add_anchors(struct cdt_openssl_credentials *credentials, const cdt_openssl_certs *certs)
{
    X509_STORE *store = SSL_CTX_get_cert_store(credentials->ctx);
    for (int i = 0; i < sk_X509_num(certs); i++)
        if (!read_extensions(sk_X509_value(certs, i)) || !read_key(sk_X509_value(certs, i)) ||
            X509_STORE_add_cert(store, sk_X509_value(certs, i)) != 1 ||
            SSL_CTX_add_client_CA(credentials->ctx, sk_X509_value(certs, i)) != 1)
            return false;
    return note_certs(credentials, certs);
}

static int take_anchors(struct cdt_openssl_credentials *credentials, const char *what,
                        const char *from, const char *text, size_t len,
                        const conduit_error **reterr)
{
    cdt_openssl_certs *certs;
    int code = cdt_openssl_parse_certs(what, from, text, len, &certs, reterr);
    if (code < 0)
        return code;
    int n = sk_X509_num(certs);
    bool fine = add_anchors(credentials, certs);
    sk_X509_pop_free(certs, X509_free);
    if (!fine)
        return cdt_openssl_refuse(CONDUIT_TLS_FILE_DAMAGED, what, from, reterr);
    note_source(credentials->sources, sizeof(credentials->sources), from, n);
    use_own_trust(credentials);
    return 0;
}

int cdt_openssl_set_ca(struct cdt_openssl_credentials *credentials, const char *value,
                       const conduit_error **reterr)
{
    struct cdt_file file;
    int code = cdt_file_read("ca", value, false, &file, reterr);
    if (code < 0)
        return code;
    code = take_anchors(credentials, "ca", value, file.bytes, file.len, reterr);
    cdt_file_done(&file);
    return code;
}

int cdt_openssl_set_ca_pem(struct cdt_openssl_credentials *credentials, const char *value,
                           const conduit_error **reterr)
{
    return take_anchors(credentials, "ca_pem", "(text)", value, strlen(value), reterr);
}

/* ---- directories ---- */

/* OpenSSL finds certificates in a directory by the hash of their subject: "062cdee6.0". */
static int is_hashed_name(const struct dirent *entry)
{
    const char *name = entry->d_name;
    return strspn(name, "0123456789abcdef") == 8 && name[8] == '.' && name[9] >= '0' &&
           name[9] <= '9';
}

/* OpenSSL reads it when it looks for it; which one it is now, its node and its time tell. */
static bool note_entry(struct cdt_openssl_credentials *credentials, const char *path,
                       const char *name)
{
    char file[PATH_MAX + NAME_MAX + 2];
    struct stat at = {0};
    snprintf(file, sizeof(file), "%s/%s", path, name);
    if (stat(file, &at) < 0)
        at.st_size = -1;
    const int64_t which[] = {(int64_t)at.st_dev, (int64_t)at.st_ino, at.st_size, at.st_mtim.tv_sec,
                             at.st_mtim.tv_nsec};
    return cdt_openssl_note_trust(credentials, name, strlen(name)) &&
           cdt_openssl_note_trust(credentials, which, sizeof(which));
}

/* How many are there, all of them noted if somebody keeps notes. 0: none, or no such directory.
 * Negative: no memory. */
static int count_certs(const char *path, struct cdt_openssl_credentials *noting)
{
    struct dirent **list = NULL;
    int n = scandir(path, &list, is_hashed_name, alphasort);
    bool fine = true;
    if (n < 0)
        return errno == ENOMEM ? -1 : 0;
    for (int i = 0; i < n; i++) {
        if (noting != NULL)
            fine = fine && note_entry(noting, path, list[i]->d_name);
        free(list[i]);
    }
    free(list);
    return fine ? n : -1;
}

int cdt_openssl_set_ca_dir(struct cdt_openssl_credentials *credentials, const char *value,
                           const conduit_error **reterr)
{
    int n = count_certs(value, credentials);
    if (n == 0)
        return cdt_tls_refuse(CONDUIT_TLS_NO_ANCHORS, reterr,
                              "ca_dir \"%s\": no certificate is there under the hash of its "
                              "subject (run: openssl rehash)",
                              value);
    if (n < 0 || X509_STORE_load_path(SSL_CTX_get_cert_store(credentials->ctx), value) != 1)
        return cdt_openssl_refuse(CONDUIT_TLS_FILE_UNREADABLE, "ca_dir", value, reterr);
    note_source(credentials->sources, sizeof(credentials->sources), value, n);
    use_own_trust(credentials);
    return 0;
}

/* ---- the system's ---- */

int cdt_openssl_set_ca_system(struct cdt_openssl_credentials *credentials, const char *value,
                              const conduit_error **reterr)
{
    bool yes = strcmp(value, "yes") == 0;
    if (!yes && strcmp(value, "no") != 0)
        return cdt_tls_refuse(CONDUIT_TLS_BAD_VALUE, reterr,
                              "ca_system: \"%s\" is neither yes nor no", value);
    credentials->system_trust = yes;
    return cdt_openssl_note_trust(credentials, value, strlen(value))
               ? 0
               : cdt_openssl_refuse_memory(reterr);
}

/* Where the bundle lies in that directory (Debian) it is the same certificates once more, and
 * reading all of them takes longer than a connect. */
static bool lies_in(const char *file, const char *dir)
{
    char *real_file = realpath(file, NULL), *real_dir = realpath(dir, NULL);
    size_t len = real_dir != NULL ? strlen(real_dir) : 0;
    bool in = real_file != NULL && len > 0 && strncmp(real_file, real_dir, len) == 0 &&
              real_file[len] == '/' && strchr(real_file + len + 1, '/') == NULL;
    free(real_file);
    free(real_dir);
    return in;
}

static int count_objects(X509_STORE *store)
{
    return sk_X509_OBJECT_num(X509_STORE_get0_objects(store));
}

void cdt_openssl_load_system(void *arg)
{
    struct cdt_openssl_shared *shared = arg;
    const char *file = X509_get_default_cert_file();
    const char *dir = X509_get_default_cert_dir();
    X509_STORE *store = X509_STORE_new();
    if (store == NULL)
        return;
    int in_dir = count_certs(dir, NULL);
    bool from_dir = in_dir > 0 && X509_STORE_load_path(store, dir) == 1;
    bool enough = from_dir && lies_in(file, dir);
    bool from_file = !enough && X509_STORE_load_file(store, file) == 1;
    ERR_clear_error();
    if (!from_dir && !from_file) {
        X509_STORE_free(store);
        return;
    }
    snprintf(shared->system_sources, sizeof(shared->system_sources),
             "system store (%s, %d anchors)", from_dir ? dir : file,
             (from_dir ? in_dir : 0) + count_objects(store));
    shared->system = store;
}

bool cdt_openssl_wants_system(const void *arg, bool server)
{
    const struct cdt_openssl_credentials *credentials = arg;
    bool chain = credentials->verify == CDT_VERIFY_FULL ||
                 credentials->verify == CDT_VERIFY_CHAIN || credentials->verify == CDT_VERIFY_DANE;
    if (credentials->system_trust)
        return chain;
    return chain && !server && !credentials->own_trust;
}

/* ---- revocation ---- */

static bool parse_crls(BIO *pem, cdt_openssl_crls *crls)
{
    X509_CRL *crl;
    int before = sk_X509_CRL_num(crls);
    while ((crl = PEM_read_bio_X509_CRL(pem, NULL, NULL, NULL)) != NULL) {
        if (sk_X509_CRL_push(crls, crl) > 0)
            continue;
        X509_CRL_free(crl);
        return false;
    }
    return ERR_GET_REASON(ERR_peek_last_error()) == PEM_R_NO_START_LINE &&
           sk_X509_CRL_num(crls) > before;
}

int cdt_openssl_set_crl(struct cdt_openssl_credentials *credentials, const char *value,
                        const conduit_error **reterr)
{
    struct cdt_file file;
    int code = cdt_file_read("crl", value, false, &file, reterr);
    if (code < 0)
        return code;
    if (credentials->crls == NULL)
        credentials->crls = sk_X509_CRL_new_null();
    BIO *pem = BIO_new_mem_buf(file.bytes, (int)file.len);
    bool fine = pem != NULL && credentials->crls != NULL && parse_crls(pem, credentials->crls) &&
                cdt_openssl_note_trust(credentials, file.bytes, file.len);
    BIO_free(pem);
    cdt_file_done(&file);
    if (!fine)
        return cdt_tls_refuse(CONDUIT_TLS_FILE_DAMAGED, reterr,
                              "crl \"%s\": holds no revocation list in PEM form", value);
    X509_VERIFY_PARAM_set_flags(SSL_CTX_get0_param(credentials->ctx), X509_V_FLAG_CRL_CHECK);
    return 0;
}
