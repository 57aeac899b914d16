/* SPDX-License-Identifier: Apache-2.0
 * Copyright The Graft Authors */
/* helper.c: see helper.h. */
#include "hypervisor/helper.h"
#include "hypervisor/sandbox.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
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

/* --- sockets -------------------------------------------------------------------------------------------------------- */
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

/* --- the process ------------------------------------------------------------------------------------------------------ */
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

/* Signals of the terminal are for the machine; what it reads and writes is none of this one's business. */
void helper_be(const char *name, int channel, int input) {
    static const int ignored[] = {SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGALRM, SIGTSTP, SIGTTIN, SIGTTOU, SIGPIPE};
    for (unsigned i = 0; i < ARRAY_LEN(ignored); i++)
        signal(ignored[i], SIG_IGN);
    prctl(PR_SET_NAME, name);
    int null = open("/dev/null", O_RDWR | O_CLOEXEC);
    dup2(input < 0 ? null : input, STDIN_FILENO);
    dup2(null, STDOUT_FILENO);
    log_keep(channel);
    sandbox_forget_inherited();
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

void helper_failed(pid_t pid, int log, char why[ERR_BYTES]) {
    helper_end(pid);
    last_words(log, why);
    close(log);
}

void helper_end(pid_t pid) {
    uint64_t until = event_now_ns() + END_NS, leave_at = supervise_leave_at();
    if (leave_at && leave_at < until)
        until = leave_at;
    do {
        if (waitpid(pid, NULL, WNOHANG))
            return;
        usleep(1000);
    } while (event_now_ns() < until);
    if (!kill(pid, SIGKILL)) /* who was root once may not do that any more (sandbox.c) */
        waitpid(pid, NULL, 0);
}
