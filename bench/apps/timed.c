/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright The Graft Authors */

/*
 * timed - runs another program, for the suite of applications: timed NAME ROOT INPUT COMMAND [ARGUMENT...]
 *
 * ROOT is the directory to chroot() into, or "-"; INPUT is the program's standard input within it, or "-". The time is
 * that of fork, exec, run and wait; the checksum is that of its standard output and its status, which has to be
 * 0. */

#include "../sys/sys.h"

static void child_main(char **argv, int out) {
    if (strcmp(argv[2], "-") && (chroot(argv[2]) || chdir("/")))
        _exit(125);
    int in = open(strcmp(argv[3], "-") ? argv[3] : "/dev/null", O_RDONLY);
    if (in < 0 || dup2(in, 0) < 0 || dup2(out, 1) < 0)
        _exit(126);
    execvp(argv[4], argv + 4);
    _exit(127);
}

static char *read_all(int fd, size_t *size) {
    size_t room = 1 << 20;
    char *data = bench_alloc(room);
    long n;
    *size = 0;
    while ((n = checked(read(fd, data + *size, room - *size), "read")) > 0) {
        *size += (size_t)n;
        if (*size == room && !(data = realloc(data, room *= 2)))
            bench_fail("realloc");
    }
    return data;
}

int main(int argc, char **argv) {
    int fds[2], status;
    size_t size;
    if (argc < 5)
        bench_fail("usage: timed NAME ROOT INPUT COMMAND [ARGUMENT...]");
    setenv("PATH", "/usr/bin:/bin", 1);
    setenv("LC_ALL", "C", 1);
    checked(pipe2(fds, O_CLOEXEC), "pipe");
    bench_begin();
    pid_t child = fork();
    if (!child)
        child_main(argv, fds[1]);
    checked(child, "fork");
    close(fds[1]);
    char *output = read_all(fds[0], &size);
    checked(waitpid(child, &status, 0), "waitpid");
    uint64_t end = bench_ns(), sum = size;
    if (!WIFEXITED(status) || WEXITSTATUS(status)) {
        fprintf(stderr, "failed: %s: status %#x\n", argv[4], status);
        return 1;
    }
    if (!size)
        bench_fail("the program printed nothing");
    for (size_t i = 0; i < size; i++)
        sum = bench_mix(sum, (uint8_t)output[i]);
    printf("%s checksum=%016llx time_ns=%llu total_ns=%llu\n", argv[1], (unsigned long long)sum,
           (unsigned long long)(end - bench_work_start), (unsigned long long)(bench_ns() - bench_process_start));
    return 0;
}
