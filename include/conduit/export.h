/* SPDX-License-Identifier: ISC */
/* What every public header wears: C linkage, and which symbols leave the shared library. */
#ifndef CONDUIT_EXPORT_H
#define CONDUIT_EXPORT_H

#if defined(__GNUC__)
#define CONDUIT_API __attribute__((visibility("default")))
#define CONDUIT_PRINTF(text, first) __attribute__((format(printf, text, first)))
#else
#define CONDUIT_API
#define CONDUIT_PRINTF(text, first)
#endif

#ifdef __cplusplus
#define CONDUIT_BEGIN extern "C" {
#define CONDUIT_END }
#else
#define CONDUIT_BEGIN
#define CONDUIT_END
#endif

#endif
