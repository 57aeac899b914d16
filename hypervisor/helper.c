/* SPDX-License-Identifier: Apache-2.0
 * Copyright The Graft Authors */
/* helper.c: see helper.h. */
#include "hypervisor/helper.h"
#include "hypervisor/sandbox.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#define END_NS UINT64_C(1000000000)
#define CHANNEL_BYTES (4 << 20) /* as far as the host allows */

const char *helper_find(const char *variable, const char *const *paths) {
    const char *given = getenv(variable);
    if (given)
        return given;
    while (*paths && access(*paths, X_OK))
        paths++;
    return *paths;
}

/* --- sockets ---------------------------------------------------------------------------------- */
static bool connect_all(const struct sockaddr_un *a, int *connection, unsigned connections) {
    bool ok = true;
    for (unsigned i = 0; i < connections; i++) {
        connection[i] = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
        ok = ok && connection[i] >= 0 && !connect(connection[i], (const struct sockaddr *)a, sizeof(*a));
    }
    return ok;
}

/* In a folder that is nobody else's, and is gone once the connections are made. */
bool helper_sockets(int *listener, int *connection, unsigned connections) {
    struct sockaddr_un a = {.sun_family = AF_UNIX, .sun_path = "/tmp/graft-XXXXXX"};
    char *name = a.sun_path + strlen(a.sun_path);
    *listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (*listener < 0 || !mkdtemp(a.sun_path))
        return false;
    strcpy(name, "/socket");
    bool ok = !bind(*listener, (struct sockaddr *)&a, sizeof(a)) && !listen(*listener, (int)connections) &&
              connect_all(&a, connection, connections);
    int why = errno;
    unlink(a.sun_path);
    *name = 0;
    rmdir(a.sun_path);
    errno = why;
    return ok;
}

bool helper_channel(int ends[2]) {
    int bytes = CHANNEL_BYTES;
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, ends))
        return false;
    for (unsigned i = 0; i < 2; i++)
        if (setsockopt(ends[i], SOL_SOCKET, SO_SNDBUFFORCE, &bytes, sizeof(bytes)))
            setsockopt(ends[i], SOL_SOCKET, SO_SNDBUF, &bytes, sizeof(bytes));
    return true;
}

/* --- the process ------------------------------------------------------------------------------ */
static void become_helper(int listener, int log) {
    int null = open("/dev/null", O_RDWR | O_CLOEXEC);
    setsid();
    dup2(null, STDIN_FILENO);
    dup2(null, STDOUT_FILENO);
    dup2(log, STDERR_FILENO);
    if (listener == HELPER_LISTEN_FD)
        fcntl(listener, F_SETFD, 0);
    else
        dup2(listener, HELPER_LISTEN_FD);
    close_range(HELPER_LISTEN_FD + 1, ~0u, 0);
}

/* Signals of the terminal are for the machine. */
static void ignore_terminal(void) {
    static const int ignored[] = {SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGALRM, SIGTSTP, SIGTTIN, SIGTTOU, SIGPIPE};
    for (unsigned i = 0; i < ARRAY_LEN(ignored); i++)
        signal(ignored[i], SIG_IGN);
}

/* What the machine's terminal reads and writes is none of this one's business. */
void helper_be(const char *name, int channel, int input) {
    setsid();
    ignore_terminal();
    prctl(PR_SET_NAME, name);
    int null = open("/dev/null", O_RDWR | O_CLOEXEC);
    dup2(input < 0 ? null : input, STDIN_FILENO);
    dup2(null, STDOUT_FILENO);
    log_keep(channel);
    sandbox_forget_inherited();
}

/* All that have not ended. */
static struct helper {
    pid_t pid;
    bool awaited;
} helpers[OPTIONS_MAX_DRIVES + OPTIONS_MAX_SHARES + 3];
static unsigned helper_count;

static void add(pid_t pid, bool awaited) {
    if (helper_count < ARRAY_LEN(helpers))
        helpers[helper_count++] = (struct helper){pid, awaited};
}

void helper_note(pid_t pid) { add(pid, false); }

bool helpers_are_awaited(void) {
    for (unsigned i = 0; i < helper_count; i++)
        if (helpers[i].awaited)
            return true;
    return false;
}

static void forget(pid_t pid) {
    for (unsigned i = 0; i < helper_count; i++)
        if (helpers[i].pid == pid)
            helpers[i--] = helpers[--helper_count];
}

pid_t helper_fork(int listener, int *log) {
    int ends[2];
    pid_t pid = pipe2(ends, O_CLOEXEC | O_NONBLOCK) ? -1 : fork();
    if (pid == 0) {
        become_helper(listener, ends[1]);
        return 0;
    }
    close(listener);
    if (pid < 0)
        return -1;
    close(ends[1]);
    *log = ends[0];
    add(pid, true);
    return pid;
}

/* The last line of what it said, if it did. */
static void last_words(int log, char why[ERR_BYTES]) {
    char text[4096];
    ssize_t n = read(log, text, sizeof(text) - 1);
    if (n <= 0)
        return;
    while (n && text[n - 1] == '\n')
        n--;
    text[n] = 0;
    char *line = strrchr(text, '\n');
    snprintf(why, ERR_BYTES, "%.200s", line ? line + 1 : text);
}

/* --- their end -------------------------------------------------------------------------------- */
static void forget_ended(void) {
    for (unsigned i = helper_count; i--;)
        if (!helpers[i].awaited || waitpid(helpers[i].pid, NULL, WNOHANG))
            helpers[i] = helpers[--helper_count];
}

/* Who was root once may not do that any more (sandbox.c). Each has its own group. */
static void kill_group(pid_t pid) {
    if (kill(-pid, SIGKILL))
        kill(pid, SIGKILL);
}

void helpers_end(void) {
    uint64_t until = event_now_ns() + END_NS, leave_at = supervise_leave_at();
    if (leave_at && leave_at < until)
        until = leave_at;
    for (forget_ended(); helper_count && event_now_ns() < until; forget_ended())
        usleep(1000);
    while (helper_count)
        kill_group(helpers[--helper_count].pid);
}

void helper_failed(pid_t pid, int log, char why[ERR_BYTES]) {
    uint64_t until = event_now_ns() + END_NS;
    bool ended = waitpid(pid, NULL, WNOHANG) != 0;
    for (; !ended && event_now_ns() < until; ended = waitpid(pid, NULL, WNOHANG) != 0)
        usleep(1000);
    if (!ended)
        kill_group(pid);
    forget(pid);
    last_words(log, why);
    close(log);
}

/* A group is killed only while its leader is there: then no other has its number. */
static void end_those_left(struct pollfd *p, unsigned count) {
    uint64_t until = event_now_ns() + END_NS, now;
    for (unsigned i = 0; i < count; i++) {
        now = event_now_ns();
        if (poll(&p[i], 1, now < until ? (int)((until - now) / 1000000 + 1) : 0) == 0)
            kill_group(helpers[i].pid);
    }
}

/* Its parent's child as they are, but not its heir: that one may be anybody's by then. */
static _Noreturn void be_watcher(int parent) {
    struct pollfd p[ARRAY_LEN(helpers)], end = {.fd = parent, .events = POLLIN};
    ignore_terminal();
    prctl(PR_SET_NAME, "graft-watch");
    setsid();
    if (parent)
        close_range(0, (unsigned)parent - 1, 0);
    close_range((unsigned)parent + 1, ~0u, 0);
    sandbox_forget_inherited();
    for (unsigned i = 0; i < helper_count; i++)
        p[i] = (struct pollfd){.fd = (int)syscall(SYS_pidfd_open, helpers[i].pid, 0), .events = POLLIN};
    sandbox_enter_watcher();
    while (poll(&end, 1, -1) < 0)
        continue;
    end_those_left(p, helper_count);
    _exit(0);
}

void helpers_watch(void) {
    int self = helper_count ? (int)syscall(SYS_pidfd_open, getpid(), 0) : -1; /* Linux 5.3 */
    if (self < 0)
        return;
    if (fork() == 0)
        be_watcher(self);
    close(self);
}
