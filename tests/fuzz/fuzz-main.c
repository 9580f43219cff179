/* SPDX-License-Identifier: ISC */
/*
 * Feed a fuzz target with the files of a folder: whole, and cut short at every length. Each input
 * is in memory of its own size, for a sanitizer to watch.
 */
#include "fuzz.h"
#include <dirent.h>
#include <string.h>

enum { MOST = 65536 };

static void feed(const uint8_t *data, size_t size)
{
    uint8_t *copy = malloc(size > 0 ? size : 1);
    FUZZ_CHECK(copy != NULL);
    memcpy(copy, data, size);
    LLVMFuzzerTestOneInput(copy, size);
    free(copy);
}

static void feed_file(const char *path)
{
    static uint8_t data[MOST];
    FILE *file = fopen(path, "rb");
    FUZZ_CHECK(file != NULL);
    size_t size = fread(data, 1, sizeof(data), file);
    fclose(file);
    for (size_t n = 0; n <= size; n++)
        feed(data, n);
}

static int feed_folder(const char *folder)
{
    int n_files = 0;
    struct dirent *entry;
    DIR *listing = opendir(folder);
    FUZZ_CHECK(listing != NULL);
    while ((entry = readdir(listing)) != NULL) {
        char path[4096];
        if (entry->d_name[0] == '.')
            continue;
        int n = snprintf(path, sizeof(path), "%s/%s", folder, entry->d_name);
        FUZZ_CHECK(n > 0 && n < (int)sizeof(path));
        feed_file(path);
        n_files++;
    }
    closedir(listing);
    return n_files;
}

int main(int argc, char **argv)
{
    int n_files = 0;
    for (int i = 1; i < argc; i++)
        n_files += feed_folder(argv[i]);
    printf("%d files\n", n_files);
    return n_files > 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
