/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright The Graft Authors */

/* filecopy - writes a file, copies it, reads the copy back: filecopy DIRECTORY. */

#include "sys.h"

enum { SIZE = 16 << 20, CHUNK = 1 << 16 };

static char buffer[CHUNK];

static void write_all(int fd, const char *data, size_t size) {
    while (size) {
        long n = checked(write(fd, data, size), "write");
        data += n;
        size -= (size_t)n;
    }
}

int main(int argc, char **argv) {
    char first[256], second[256];
    uint64_t seed = 4, sum = 0;
    long n;
    if (argc != 2)
        bench_fail("usage: filecopy DIRECTORY");
    snprintf(first, sizeof first, "%s/filecopy.1", argv[1]);
    snprintf(second, sizeof second, "%s/filecopy.2", argv[1]);
    bench_begin();
    int out = (int)checked(open(first, O_RDWR | O_CREAT | O_TRUNC, 0600), "open");
    for (size_t at = 0; at < SIZE; at += CHUNK) {
        for (size_t i = 0; i < CHUNK; i += 4) {
            uint32_t r = bench_random(&seed);
            memcpy(buffer + i, &r, 4);
        }
        write_all(out, buffer, CHUNK);
    }
    checked(fsync(out), "fsync");
    checked(lseek(out, 0, SEEK_SET), "lseek");
    int copy = (int)checked(open(second, O_RDWR | O_CREAT | O_TRUNC, 0600), "open");
    while ((n = checked(read(out, buffer, CHUNK), "read")) > 0)
        write_all(copy, buffer, (size_t)n);
    checked(fsync(copy), "fsync");
    checked(posix_fadvise(copy, 0, 0, POSIX_FADV_DONTNEED), "posix_fadvise");
    checked(lseek(copy, 0, SEEK_SET), "lseek");
    while ((n = checked(read(copy, buffer, CHUNK), "read")) > 0)
        for (long i = 0; i < n; i += 512)
            sum = bench_mix(sum, (uint8_t)buffer[i]);
    checked(unlink(first), "unlink");
    checked(unlink(second), "unlink");
    bench_end("filecopy", sum);
    return 0;
}
