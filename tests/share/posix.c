/* SPDX-License-Identifier: Apache-2.0
 * Copyright The Graft Authors */
/*
 * posix.c: what builds want of a file system, in a guest, on a folder that its host shares with it.
 *
 * usage: share-posix DIR SEED
 *
 * Prints "CHECK name ok" or "CHECK name FAIL line" for each part. Leaves DIR/fsx and DIR/stamp for the host to look
 * at. */
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

static int failed_line, failed_errno;
#define NEED(x)                                                                                                        \
    do {                                                                                                               \
        errno = 0;                                                                                                     \
        if (!(x)) {                                                                                                    \
            failed_line = __LINE__, failed_errno = errno;                                                              \
            return;                                                                                                    \
        }                                                                                                              \
    } while (0)

static uint64_t state;
static uint32_t random_below(uint32_t n) {
    state = state * 6364136223846793005u + 1442695040888963407u;
    return (uint32_t)(state >> 33) % n;
}

static int put(const char *path, const char *text) {
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0644);
    ssize_t len = (ssize_t)strlen(text);
    return fd >= 0 && write(fd, text, (size_t)len) == len && !close(fd);
}

static int holds(const char *path, const char *text) {
    char buf[100];
    int fd = open(path, O_RDONLY);
    ssize_t n = fd < 0 ? -1 : read(fd, buf, sizeof(buf));
    close(fd);
    return n == (ssize_t)strlen(text) && !memcmp(buf, text, (size_t)n);
}

static int is_gone(const char *path) {
    struct stat st;
    return lstat(path, &st) && errno == ENOENT;
}

/* --- names ------------------------------------------------------------------------------------ */
static void renames(void) {
    NEED(put("a", "one") && put("b", "two"));
    NEED(renameat2(AT_FDCWD, "a", AT_FDCWD, "b", RENAME_NOREPLACE) && errno == EEXIST);
    NEED(!renameat2(AT_FDCWD, "a", AT_FDCWD, "b", RENAME_EXCHANGE) && holds("a", "two") && holds("b", "one"));
    NEED(!rename("a", "b") && is_gone("a") && holds("b", "two"));
    NEED(!mkdir("d", 0755) && !mkdir("d/e", 0755) && put("d/e/f", "deep"));
    NEED(rename("d", "d/e/g") && errno == EINVAL);
    NEED(!rename("d/e", "moved") && holds("moved/f", "deep") && !rmdir("d"));
    NEED(rmdir("moved") && errno == ENOTEMPTY);
    NEED(!unlink("moved/f") && !rmdir("moved") && !unlink("b"));
}

static void links(void) {
    char buf[300];
    struct stat a, b;
    NEED(put("file", "text") && !symlink("file", "soft") && holds("soft", "text"));
    NEED(readlink("soft", buf, sizeof(buf)) == 4 && !memcmp(buf, "file", 4));
    NEED(open("soft", O_RDONLY | O_NOFOLLOW) < 0 && errno == ELOOP);
    memset(buf, 'x', 255);
    buf[255] = 0;
    NEED(!symlink(buf, "long") && readlink("long", buf, sizeof(buf)) == 255 && !unlink("long"));
    NEED(!link("file", "hard") && !stat("file", &a) && !stat("hard", &b));
    NEED(a.st_ino == b.st_ino && a.st_nlink == 2 && b.st_nlink == 2);
    NEED(!unlink("file") && holds("hard", "text") && stat("soft", &a) && errno == ENOENT);
    NEED(!unlink("hard") && !unlink("soft"));
}

static void opens(void) {
    NEED(put("o", "0123"));
    NEED(open("o", O_CREAT | O_EXCL | O_RDWR, 0600) < 0 && errno == EEXIST);
    NEED(open("o", O_RDONLY | O_DIRECTORY) < 0 && errno == ENOTDIR);
    NEED(open("none", O_RDONLY) < 0 && errno == ENOENT);
    int fd = open("o", O_WRONLY | O_APPEND);
    NEED(fd >= 0 && write(fd, "45", 2) == 2 && !close(fd) && holds("o", "012345"));
    /* Flags that have other numbers on other processors. */
    fd = open(".", O_RDONLY | O_DIRECTORY | O_NOFOLLOW);
    NEED(fd >= 0 && !close(fd));
    fd = open("o", O_RDWR | O_NOFOLLOW | O_SYNC);
    NEED(fd >= 0 && write(fd, "x", 1) == 1 && !close(fd) && holds("o", "x12345"));
    fd = open("o", O_RDONLY | O_DIRECT);
    NEED(fd >= 0 || errno == EINVAL);
    if (fd >= 0)
        NEED(!close(fd));
    fd = open("o", O_WRONLY | O_TRUNC);
    NEED(fd >= 0 && !close(fd) && holds("o", "") && !unlink("o"));
}

/* Temporary files are open when they have no name any more. */
static void unlinked(void) {
    struct stat st;
    char buf[4];
    int fd = open("tmp", O_RDWR | O_CREAT | O_EXCL, 0600);
    NEED(fd >= 0 && !unlink("tmp") && is_gone("tmp"));
    NEED(write(fd, "abcd", 4) == 4 && !fstat(fd, &st) && st.st_size == 4 && st.st_nlink == 0);
    NEED(!fchmod(fd, 0640) && !ftruncate(fd, 3) && pread(fd, buf, 4, 0) == 3 && !memcmp(buf, "abc", 3));
    NEED(!close(fd));
}

static void folders(void) {
    enum { FILES = 300 };
    static unsigned char seen[FILES];
    char name[40];
    NEED(!mkdir("many", 0755));
    for (int i = 0; i < FILES; i++) {
        snprintf(name, sizeof(name), "many/entry-%d", i);
        NEED(put(name, ""));
    }
    DIR *d = opendir("many");
    struct dirent *e;
    int n, count = 0;
    NEED(d);
    while ((e = readdir(d)))
        if (sscanf(e->d_name, "entry-%d", &n) == 1 && n >= 0 && n < FILES && e->d_type == DT_REG)
            count += !seen[n]++;
    NEED(count == FILES && !closedir(d));
    for (int i = 0; i < FILES; i++) {
        snprintf(name, sizeof(name), "many/entry-%d", i);
        NEED(seen[i] == 1 && !unlink(name));
    }
    NEED(!rmdir("many"));
}

/* --- what is refused, and by which error: programs and their configure scripts ask for these --- */
static int fails(long result, int error) { return result < 0 && errno == error; }

static void errors_of_files(void) {
    char name[257];
    memset(name, 'n', 256);
    name[256] = 0;
    NEED(fails(open(name, O_CREAT | O_WRONLY, 0600), ENAMETOOLONG) && fails(mkdir(name, 0700), ENAMETOOLONG));
    name[255] = 0;
    NEED(put(name, "long") && holds(name, "long") && !unlink(name));
    NEED(put("f", "text") && fails(open("f/x", O_RDONLY), ENOTDIR) && fails(mkdir("f/x", 0700), ENOTDIR));
    NEED(fails(unlink("f/x"), ENOTDIR) && fails(rename("f/x", "y"), ENOTDIR) && fails(rmdir("f"), ENOTDIR));
    NEED(fails(open("", O_RDONLY), ENOENT) && fails(unlink("none"), ENOENT) && fails(rename("none", "y"), ENOENT));
    NEED(fails(link("f", "f"), EEXIST) && fails(symlink("x", "f"), EEXIST) && fails(mkdir("f", 0700), EEXIST));
    NEED(fails(truncate("f", -1), EINVAL) && fails(truncate("none", 0), ENOENT));
    NEED(!symlink("self", "self") && fails(open("self", O_RDONLY), ELOOP) && !unlink("self"));
    /* Two names of one file: nothing is renamed. */
    NEED(!link("f", "g") && !rename("f", "g") && holds("f", "text") && holds("g", "text"));
    NEED(!unlink("f") && !unlink("g"));
}

static void errors_of_folders(void) {
    NEED(!mkdir("d", 0755) && !mkdir("e", 0755) && put("f", "") && put("e/f", ""));
    NEED(fails(open("d", O_WRONLY), EISDIR) && fails(unlink("d"), EISDIR) && fails(truncate("d", 0), EISDIR));
    NEED(fails(rename("f", "d"), EISDIR) && fails(rename("d", "f"), ENOTDIR) && fails(link("d", "h"), EPERM));
    NEED(fails(rename("d", "e"), ENOTEMPTY) && fails(rmdir("e"), ENOTEMPTY) && fails(mkdir("d", 0755), EEXIST));
    NEED(fails(rmdir("d/."), EINVAL) && fails(rmdir("d/.."), ENOTEMPTY));
    NEED(!unlink("e/f") && put("d/f", "x") && !rename("d", "e") && is_gone("d") && holds("e/f", "x"));
    NEED(!unlink("e/f") && !rmdir("e") && !unlink("f"));
}

static void errors(void) {
    errors_of_files();
    if (!failed_line)
        errors_of_folders();
}

/* --- files that are none ---------------------------------------------------------------------- */
static void specials(void) {
    struct sockaddr_un a = {.sun_family = AF_UNIX, .sun_path = "socket"};
    struct stat st;
    char buf[6];
    NEED(!mkfifo("fifo", 0640) && !stat("fifo", &st) && S_ISFIFO(st.st_mode) && (st.st_mode & 0777) == 0640);
    pid_t pid = fork();
    if (!pid)
        _exit(!put("fifo", "piped"));
    int fd = open("fifo", O_RDONLY);
    NEED(fd >= 0 && read(fd, buf, 6) == 5 && !memcmp(buf, "piped", 5) && !close(fd) && waitpid(pid, NULL, 0) == pid);
    fd = socket(AF_UNIX, SOCK_STREAM, 0);
    int other = socket(AF_UNIX, SOCK_STREAM, 0);
    NEED(!bind(fd, (struct sockaddr *)&a, sizeof(a)) && !listen(fd, 1) &&
         !connect(other, (struct sockaddr *)&a, sizeof(a)));
    NEED(!stat("socket", &st) && S_ISSOCK(st.st_mode) && !close(fd) && !close(other));
    NEED(!unlink("fifo") && !unlink("socket"));
}

/* --- what is known of files ------------------------------------------------------------------- */
static void times(void) {
    struct timespec t[2] = {{1000000000, 123456789}, {1234567890, 987654321}};
    struct stat st;
    NEED(put("stamp", "time") && !utimensat(AT_FDCWD, "stamp", t, 0) && !stat("stamp", &st));
    NEED(st.st_mtim.tv_sec == t[1].tv_sec && st.st_mtim.tv_nsec == t[1].tv_nsec);
    NEED(st.st_atim.tv_sec == t[0].tv_sec && st.st_atim.tv_nsec == t[0].tv_nsec);
    /* make(1) asks which of two files is the newer one. */
    struct stat later;
    NEED(put("older", "") && !usleep(20000) && put("newer", "") && !stat("older", &st) && !stat("newer", &later));
    NEED(later.st_mtim.tv_sec > st.st_mtim.tv_sec ||
         (later.st_mtim.tv_sec == st.st_mtim.tv_sec && later.st_mtim.tv_nsec > st.st_mtim.tv_nsec));
    NEED(!unlink("older") && !unlink("newer"));
}

static struct timespec time_of(const char *path, int changed) {
    struct stat st = {0};
    stat(path, &st);
    return changed ? st.st_ctim : st.st_mtim;
}

static int is_later(struct timespec a, struct timespec b) {
    return a.tv_sec > b.tv_sec || (a.tv_sec == b.tv_sec && a.tv_nsec > b.tv_nsec);
}

static int is_same(struct timespec a, struct timespec b) { return a.tv_sec == b.tv_sec && a.tv_nsec == b.tv_nsec; }

/* Which of the times changes by what. */
static void changes(void) {
    struct timespec keep[2] = {{0, UTIME_OMIT}, {0, UTIME_OMIT}}, now[2] = {{0, UTIME_OMIT}, {0, UTIME_NOW}}, m, c;
    NEED(!mkdir("in", 0755) && put("in/f", "1"));
    m = time_of("in/f", 0), c = time_of("in/f", 1), usleep(20000);
    NEED(!utimensat(AT_FDCWD, "in/f", keep, 0) && is_same(time_of("in/f", 0), m));
    NEED(!chmod("in/f", 0600) && is_same(time_of("in/f", 0), m) && is_later(time_of("in/f", 1), c));
    c = time_of("in/f", 1), usleep(20000);
    NEED(!link("in/f", "in/g") && is_same(time_of("in/f", 0), m) && is_later(time_of("in/f", 1), c));
    NEED(!utimensat(AT_FDCWD, "in/f", now, 0) && is_later(time_of("in/f", 0), m) &&
         is_same(time_of("in/f", 0), time_of("in/g", 0)));
    m = time_of("in/f", 0), usleep(20000);
    NEED(put("in/f", "2") && is_later(time_of("in/f", 0), m) && holds("in/g", "2"));
    m = time_of("in", 0), usleep(20000);
    NEED(put("in/f", "3") && is_same(time_of("in", 0), m) && !unlink("in/g") && is_later(time_of("in", 0), m));
    m = time_of("in", 0), usleep(20000);
    NEED(!rename("in/f", "in/h") && is_later(time_of("in", 0), m) && !unlink("in/h") && !rmdir("in"));
}

static void modes(void) {
    struct stat st;
    NEED(put("mode", "") && !chmod("mode", 0751) && !stat("mode", &st) && (st.st_mode & 07777) == 0751);
    umask(027);
    int fd = open("masked", O_CREAT | O_WRONLY, 0666);
    NEED(fd >= 0 && !close(fd) && !stat("masked", &st) && (st.st_mode & 07777) == 0640);
    umask(022);
    NEED(!unlink("mode") && !unlink("masked"));
}

static void holes(void) {
    struct stat st;
    char c = 1;
    int fd = open("holes", O_RDWR | O_CREAT | O_TRUNC, 0600);
    NEED(fd >= 0 && pwrite(fd, "end", 3, 10 << 20) == 3 && !fstat(fd, &st) && st.st_size == (10 << 20) + 3);
    NEED(pread(fd, &c, 1, 5 << 20) == 1 && c == 0 && st.st_blocks < 4096);
    NEED(!ftruncate(fd, 100) && !ftruncate(fd, 200) && pread(fd, &c, 1, 150) == 1 && c == 0);
    NEED(!posix_fallocate(fd, 0, 65536) && !fstat(fd, &st) && st.st_size == 65536);
    NEED(!close(fd) && !unlink("holes"));
}

/* Lines that several processes append are all there, each in one piece. */
static void appends(void) {
    enum { LINES = 100, PROCESSES = 4 };
    static int count[PROCESSES];
    char line[20];
    int who, n, status;
    NEED(put("log", ""));
    for (who = 0; who < PROCESSES; who++)
        if (!fork()) {
            int fd = open("log", O_WRONLY | O_APPEND);
            for (n = 0; n < LINES; n++)
                if (write(fd, line, (size_t)snprintf(line, sizeof(line), "%d %d\n", who, n)) < 4)
                    _exit(1);
            _exit(0);
        }
    for (who = 0; who < PROCESSES; who++)
        NEED(wait(&status) > 0 && !status);
    FILE *f = fopen("log", "r");
    NEED(f);
    while (fgets(line, sizeof(line), f))
        NEED(sscanf(line, "%d %d", &who, &n) == 2 && who >= 0 && who < PROCESSES && n == count[who]++);
    for (who = 0; who < PROCESSES; who++)
        NEED(count[who] == LINES);
    NEED(!fclose(f) && !unlink("log"));
}

/* As cp and install do it. */
static void copies(void) {
    static char data[300000], back[300000];
    loff_t from = 1000, to = 0;
    off_t at = 0;
    for (size_t i = 0; i < sizeof(data); i++)
        data[i] = (char)random_below(256);
    int in = open("in", O_RDWR | O_CREAT | O_TRUNC, 0600), out = open("out", O_RDWR | O_CREAT | O_TRUNC, 0600);
    NEED(in >= 0 && out >= 0 && write(in, data, sizeof(data)) == sizeof(data));
    while (at < (off_t)sizeof(data))
        NEED(sendfile(out, in, &at, sizeof(data)) > 0);
    NEED(pread(out, back, sizeof(back), 0) == sizeof(back) && !memcmp(data, back, sizeof(back)));
    NEED(!ftruncate(out, 0));
    ssize_t n = copy_file_range(in, &from, out, &to, 200000, 0);
    NEED(n > 0 || errno == EXDEV || errno == EOPNOTSUPP || errno == ENOSYS || errno == EINVAL);
    NEED(n <= 0 || (pread(out, back, (size_t)n, 0) == n && !memcmp(data + 1000, back, (size_t)n)));
    NEED(!close(in) && !close(out) && !unlink("in") && !unlink("out"));
}

/* --- locks: what another process has ---------------------------------------------------------- */
static int child_says(int (*question)(int fd), int fd) {
    int status;
    pid_t pid = fork();
    if (!pid)
        _exit(question(fd));
    return waitpid(pid, &status, 0) == pid && WIFEXITED(status) && WEXITSTATUS(status) == 1;
}

static int cannot_flock(int fd) {
    int own = open("lock", O_RDWR);
    (void)fd;
    return own >= 0 && flock(own, LOCK_EX | LOCK_NB) && errno == EWOULDBLOCK;
}

static int cannot_lock(int fd) {
    struct flock l = {.l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = 15, .l_len = 10};
    struct flock other = {.l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = 30, .l_len = 1};
    return fcntl(fd, F_SETLK, &l) && (errno == EAGAIN || errno == EACCES) && !fcntl(fd, F_SETLK, &other);
}

static void locks(void) {
    struct flock l = {.l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = 10, .l_len = 10};
    NEED(put("lock", ""));
    int fd = open("lock", O_RDWR);
    NEED(fd >= 0 && !flock(fd, LOCK_EX) && child_says(cannot_flock, fd) && !flock(fd, LOCK_UN));
    NEED(!child_says(cannot_flock, fd));
    NEED(!fcntl(fd, F_SETLK, &l) && child_says(cannot_lock, fd));
    NEED(!close(fd) && !unlink("lock"));
}

/* --- mappings --------------------------------------------------------------------------------- */
static void mappings(void) {
    enum { BYTES = 300000 };
    int fd = open("map", O_RDWR | O_CREAT | O_TRUNC, 0600);
    char buf[8];
    NEED(fd >= 0 && !ftruncate(fd, BYTES));
    char *p = mmap(NULL, BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    NEED(p != MAP_FAILED);
    for (int i = 0; i < BYTES; i++)
        p[i] = (char)(i * 7);
    NEED(!msync(p, BYTES, MS_SYNC) && pread(fd, buf, 8, 200000) == 8 && !memcmp(buf, p + 200000, 8));
    NEED(pwrite(fd, "written", 7, 100000) == 7 && !memcmp(p + 100000, "written", 7));
    char *own = mmap(NULL, BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE, fd, 0);
    NEED(own != MAP_FAILED);
    own[5] = 99;
    NEED(p[5] == 35 && !munmap(own, BYTES) && !munmap(p, BYTES) && !close(fd) && !unlink("map"));
}

/* Code that is executed from the share, written, executed again. */
static void programs(void) {
    for (int round = 0; round < 20; round++) {
        char text[60];
        int status;
        snprintf(text, sizeof(text), "#!/bin/sh\nexit %d\n", round + 1);
        NEED(put("program.new", text) && !chmod("program.new", 0755) && !rename("program.new", "program"));
        pid_t pid = fork();
        if (!pid) {
            execl("./program", "program", (char *)NULL);
            _exit(99);
        }
        NEED(waitpid(pid, &status, 0) == pid && WIFEXITED(status) && WEXITSTATUS(status) == round + 1);
    }
    NEED(!unlink("program"));
}

/* --- like fsx: one file, all ways to change and read it, against a model ---------------------- */
#define FSX_BYTES (400u << 10)
static uint8_t model[FSX_BYTES], seen[FSX_BYTES];
static uint32_t model_size;

static void fsx_write(int fd, uint32_t at, uint32_t len, int mapped) {
    uint8_t value = (uint8_t)random_below(256);
    for (uint32_t i = 0; i < len; i++)
        seen[i] = (uint8_t)(value + i);
    if (at + len > model_size)
        model_size = at + len;
    memcpy(model + at, seen, len);
    if (!mapped) {
        NEED(pwrite(fd, seen, len, at) == (ssize_t)len);
        return;
    }
    NEED(!ftruncate(fd, model_size));
    uint8_t *p = mmap(NULL, model_size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    NEED(p != MAP_FAILED);
    memcpy(p + at, seen, len);
    NEED(!munmap(p, model_size));
}

static void fsx_read(int fd, uint32_t at, uint32_t len, int mapped) {
    uint32_t wanted = at >= model_size ? 0 : model_size - at < len ? model_size - at : len;
    if (!mapped) {
        NEED(pread(fd, seen, len, at) == (ssize_t)wanted && !memcmp(seen, model + at, wanted));
    } else if (model_size) {
        uint8_t *p = mmap(NULL, model_size, PROT_READ, MAP_SHARED, fd, 0);
        NEED(p != MAP_FAILED && !memcmp(p + (wanted ? at : 0), model + (wanted ? at : 0), wanted));
        NEED(!munmap(p, model_size));
    }
}

static void fsx_truncate(int fd, uint32_t size) {
    if (size > model_size)
        memset(model + model_size, 0, size - model_size);
    else
        memset(model + size, 0, model_size - size);
    model_size = size;
    NEED(!ftruncate(fd, size));
}

/* A hole in the middle of it, where the host's file system can do that. */
static void fsx_punch(int fd, uint32_t at, uint32_t len) {
    len = at >= model_size ? 0 : model_size - at < len ? model_size - at : len;
    if (!len)
        return;
    int error = fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, at, len);
    NEED(!error || errno == EOPNOTSUPP || errno == ENOSYS);
    if (!error)
        memset(model + at, 0, len);
}

static void fsx(void) {
    int fd[2] = {open("fsx", O_RDWR | O_CREAT | O_TRUNC, 0600), open("fsx", O_RDWR)};
    struct stat st;
    NEED(fd[0] >= 0 && fd[1] >= 0);
    for (int i = 0; i < 1500 && !failed_line; i++) {
        uint32_t at = random_below(FSX_BYTES), len = 1 + random_below(i % 16 ? 9000 : FSX_BYTES);
        len = len < FSX_BYTES - at ? len : FSX_BYTES - at;
        int one = fd[random_below(2)];
        switch (random_below(9)) {
        case 0:
        case 1: fsx_write(one, at, len, 0); break;
        case 2: fsx_write(one, at, len, 1); break;
        case 3:
        case 4: fsx_read(one, at, len, 0); break;
        case 5: fsx_read(one, at, len, 1); break;
        case 6: fsx_truncate(one, random_below(FSX_BYTES)); break;
        case 7: fsx_punch(one, at, len); break;
        default: NEED(random_below(4) || !fsync(one)); NEED(!fstat(one, &st) && st.st_size == model_size);
        }
    }
    NEED(!failed_line);
    NEED(!close(fd[0]) && !close(fd[1]));
}

/* --- like fsstress: processes that make, move and remove files and folders; each knows what its own have to be --- */
enum { STRESS_PROCESSES = 4, STRESS_FILES = 24, STRESS_STEPS = 300 };

static void stress_step(char (*text)[16], int n, int step) {
    char name[40], other[40], new[16];
    int k = (int)random_below(STRESS_FILES);
    struct stat st;
    snprintf(name, sizeof(name), "%d/f%d", n % 2, n);
    snprintf(other, sizeof(other), "%d/f%d", k % 2, k);
    switch (random_below(5)) {
    case 0:
        snprintf(new, sizeof(new), "%d", step);
        NEED(put(name, new));
        memcpy(text[n], new, sizeof(new));
        break;
    case 1:
        NEED(text[n][0] ? !unlink(name) : unlink(name) && errno == ENOENT);
        text[n][0] = 0;
        break;
    case 2:
        if (!text[n][0] || n == k)
            break;
        NEED(!rename(name, other));
        memcpy(text[k], text[n], sizeof(text[n]));
        text[n][0] = 0;
        break;
    case 3: NEED(text[n][0] ? holds(name, text[n]) : is_gone(name)); break;
    default: NEED(text[n][0] ? !stat(name, &st) && st.st_size == (off_t)strlen(text[n]) : is_gone(name));
    }
}

static void stress_process(int who) {
    char text[STRESS_FILES][16] = {{0}}, name[20];
    state += (uint64_t)who * 977;
    snprintf(name, sizeof(name), "stress%d", who);
    NEED(!mkdir(name, 0755) && !chdir(name) && !mkdir("0", 0755) && !mkdir("1", 0755));
    for (int step = 1; step <= STRESS_STEPS && !failed_line; step++)
        stress_step(text, (int)random_below(STRESS_FILES), step);
}

static void stress(void) {
    int status;
    for (int who = 0; who < STRESS_PROCESSES; who++) {
        if (fork() == 0) {
            stress_process(who);
            _exit(failed_line ? failed_line % 250 + 1 : 0);
        }
    }
    for (int who = 0; who < STRESS_PROCESSES; who++)
        NEED(wait(&status) > 0 && WIFEXITED(status) && WEXITSTATUS(status) == 0);
    NEED(!system("rm -r stress?"));
}

int main(int argc, char **argv) {
    static const struct {
        const char *name;
        void (*run)(void);
    } parts[] = {{"renames", renames}, {"links", links},   {"opens", opens},       {"unlinked", unlinked},
                 {"folders", folders}, {"errors", errors}, {"specials", specials}, {"times", times},
                 {"changes", changes}, {"modes", modes},   {"holes", holes},       {"appends", appends},
                 {"copies", copies},   {"locks", locks},   {"mappings", mappings}, {"programs", programs},
                 {"fsx", fsx},         {"stress", stress}};
    if (argc != 3 || chdir(argv[1]))
        return 2;
    state = strtoull(argv[2], NULL, 0);
    umask(022);
    setvbuf(stdout, NULL, _IONBF, 0);
    for (unsigned i = 0; i < sizeof(parts) / sizeof(parts[0]); i++) {
        failed_line = 0;
        parts[i].run();
        if (failed_line)
            printf("CHECK %s FAIL line %d: %s\n", parts[i].name, failed_line, strerror(failed_errno));
        else
            printf("CHECK %s ok\n", parts[i].name);
    }
    sync();
    return 0;
}
