/* SPDX-License-Identifier: ISC */
/* Text printed together piece by piece: text.h says how. */
#include "text.h"
#include <conduit/memory.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

FILE *cdt_text_open(struct cdt_text *text)
{
    text->raw = NULL;
    text->to = open_memstream(&text->raw, &text->size);
    return text->to;
}

char *cdt_text_close(struct cdt_text *text)
{
    if (text->to == NULL)
        return NULL;
    bool whole = !ferror(text->to);
    whole = fclose(text->to) == 0 && whole;
    char *ours = whole ? conduit_strdup(text->raw) : NULL;
    if (text->raw != NULL)
        explicit_bzero(text->raw, text->size);
    free(text->raw);
    return ours;
}

void cdt_wipe(char *secret)
{
    if (secret != NULL)
        explicit_bzero(secret, strlen(secret));
    conduit_free(secret);
}
