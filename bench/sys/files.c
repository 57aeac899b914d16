/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright The Graft Authors */

/* files - create, look up, rename and remove many small files: files DIRECTORY. */

#include "sys.h"

int main(int argc, char **argv) {
    enum { COUNT = 600 };
    char name[64], other[64];
    uint64_t sum = 0;
    if (argc != 2)
        bench_fail("usage: files DIRECTORY");
    checked(chdir(argv[1]), "chdir");
    checked(mkdir("files.d", 0700), "mkdir");
    bench_begin();
    for (int i = 0; i < COUNT; i++) {
        snprintf(name, sizeof name, "files.d/f%d", i * 7919 % COUNT);
        int fd = (int)checked(open(name, O_WRONLY | O_CREAT | O_EXCL, 0600), "open");
        checked(write(fd, name, strlen(name)), "write");
        close(fd);
    }
    for (int i = 0; i < 10 * COUNT; i++) {
        struct stat st;
        snprintf(name, sizeof name, "files.d/f%d", i % (COUNT + 100));
        if (!stat(name, &st))
            sum = bench_mix(sum, (uint64_t)st.st_size);
    }
    for (int i = 0; i < COUNT; i++) {
        snprintf(name, sizeof name, "files.d/f%d", i);
        snprintf(other, sizeof other, "files.d/g%d", i);
        checked(rename(name, other), "rename");
        checked(unlink(other), "unlink");
    }
    bench_end("files", sum);
    checked(rmdir("files.d"), "rmdir");
    return 0;
}
