/* SPDX-License-Identifier: Apache-2.0
 * Copyright The Graft Authors */
/* chardev.c: character back ends: the terminal (with the Ctrl-A keys), a file, a pseudo-terminal, nothing. */
#include "hypervisor/monitor.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <termios.h>
#include <unistd.h>

#define OUT_BYTES 65536
#define IN_BYTES 4096
#define OUT_PIECE 4096    /* what a descriptor that is ready for output takes without blocking */
#define FULL_WAIT_MS 2000 /* how long a full queue holds up the guest before output is lost */
#define CTRL_A 1

struct chardev {
    struct machine *machine;
    int in, out; /* -1: none */
    int keep;    /* the other end of a pty: held open so that it does not hang up */
    bool stdio, escape, in_ended;
    bool in_file; /* input that cannot be waited for */
    bool lossy;   /* there may be nobody who reads the output */
    struct event_fd *in_event, *out_event;
    size_t (*input)(void *arg, const uint8_t *buf, size_t len);
    void *input_arg;
    uint8_t in_buf[IN_BYTES];
    size_t in_len;
    uint8_t out_buf[OUT_BYTES];
    size_t out_first, out_len;
};

/* --- the terminal ----------------------------------------------------------------------------------------- */
static struct termios saved, raw;
static volatile bool have_terminal;

void chardev_raw(void) {
    if (have_terminal)
        tcsetattr(STDIN_FILENO, TCSANOW, &raw);
}

void chardev_restore(void) {
    if (have_terminal)
        tcsetattr(STDIN_FILENO, TCSANOW, &saved);
}

static void take_terminal(void) {
    if (!isatty(STDIN_FILENO) || tcgetattr(STDIN_FILENO, &saved))
        return;
    raw = saved;
    cfmakeraw(&raw);
    raw.c_oflag |= OPOST; /* our own messages have plain line ends */
    have_terminal = true;
    chardev_raw();
}

/* --- output ------------------------------------------------------------------------------------------------- */
static bool out_ready(struct chardev *c, int timeout_ms) {
    struct pollfd p = {.fd = c->out, .events = POLLOUT};
    return poll(&p, 1, timeout_ms) > 0;
}

static bool write_piece(struct chardev *c) {
    size_t n = c->out_len;
    if (n > OUT_PIECE)
        n = OUT_PIECE;
    if (n > OUT_BYTES - c->out_first)
        n = OUT_BYTES - c->out_first;
    ssize_t done = c->out < 0 ? (ssize_t)n : write(c->out, c->out_buf + c->out_first, n);
    if (done < 0 && (errno == EAGAIN || errno == EINTR))
        return false;
    if (done < 0)
        done = (ssize_t)n; /* nobody can read it any more */
    c->out_first = (c->out_first + (size_t)done) % OUT_BYTES;
    c->out_len -= (size_t)done;
    return true;
}

/* Events exist only while they are waited for: a descriptor that was hung up reports that all the time. */
static void drop_event(struct event_fd **e) {
    if (*e)
        event_del_fd(*e);
    *e = NULL;
}

static void on_output(void *arg, uint32_t events) {
    struct chardev *c = arg;
    drop_event(&c->out_event); /* machine_unlock() flushes */
}

void chardev_flush(struct chardev *c, bool wait) {
    while (c->out_len && (wait || !c->out_event)) {
        if (c->out >= 0 && !out_ready(c, wait && !c->lossy ? FULL_WAIT_MS : 0)) {
            if (!wait)
                c->out_event = event_add_fd(c->machine, c->out, EPOLLOUT, on_output, c);
            return;
        }
        if (!write_piece(c) && !wait)
            return;
    }
}

size_t chardev_write(struct chardev *c, const void *buf, size_t len) {
    const uint8_t *b = buf;
    size_t taken = 0;
    while (taken < len) {
        if (c->out_len == OUT_BYTES) {
            if (c->out >= 0 && !out_ready(c, c->lossy ? 0 : FULL_WAIT_MS))
                return taken;
            write_piece(c);
            continue;
        }
        c->out_buf[(c->out_first + c->out_len++) % OUT_BYTES] = b[taken++];
    }
    return taken;
}

/* --- input ----------------------------------------------------------------------------------------------------- */
static void show_help(void) {
    static const char text[] = "\nCtrl-A H   this help\nCtrl-A X   end the guest\nCtrl-A Ctrl-A   send Ctrl-A\n";
    fputs(text, stderr); /* not to the log: -D may have it in a file */
}

/* The keys behind Ctrl-A, which the guest does not see. Returns how many of the n bytes are left. */
static size_t take_escapes(struct chardev *c, uint8_t *b, size_t n) {
    size_t kept = 0;
    for (size_t i = 0; i < n; i++) {
        if (!c->escape) {
            c->escape = b[i] == CTRL_A;
            if (!c->escape)
                b[kept++] = b[i];
            continue;
        }
        c->escape = false;
        if (b[i] == 'x' || b[i] == 'X')
            supervise_stop(0);
        else if (b[i] == 'h' || b[i] == 'H' || b[i] == '?')
            show_help();
        else if (b[i] == CTRL_A)
            b[kept++] = b[i];
    }
    return kept;
}

static void offer(struct chardev *c) {
    if (!c->input || !c->in_len)
        return;
    size_t n = c->input(c->input_arg, c->in_buf, c->in_len);
    c->in_len -= n;
    memmove(c->in_buf, c->in_buf + n, c->in_len);
}

static bool read_input(struct chardev *c) {
    size_t room = IN_BYTES - c->in_len;
    if (!room || c->in_ended)
        return false;
    ssize_t n = read(c->in, c->in_buf + c->in_len, room);
    if (n < 0 && (errno == EINTR || errno == EAGAIN))
        return false;
    if (n <= 0) {
        c->in_ended = true;
        return false;
    }
    c->in_len += c->stdio ? take_escapes(c, c->in_buf + c->in_len, (size_t)n) : (size_t)n;
    return true;
}

/* A regular file cannot be waited for: it is read as the guest takes its bytes. */
static void pump_file(struct chardev *c) {
    size_t before;
    do {
        read_input(c);
        before = c->in_len;
        offer(c);
    } while (c->in_len < before && !c->in_ended);
}

static void on_input(void *arg, uint32_t events) {
    struct chardev *c = arg;
    read_input(c);
    offer(c);
    if (c->in_ended || c->in_len == IN_BYTES) /* in the second case until the guest has taken some */
        drop_event(&c->in_event);
}

static void watch_input(struct chardev *c) {
    if (c->in >= 0 && !c->in_ended && !c->in_event && c->in_len < IN_BYTES) {
        c->in_event = event_add_fd(c->machine, c->in, EPOLLIN, on_input, c);
        c->in_file = !c->in_event;
    }
}

void chardev_listen(struct chardev *c, size_t (*input)(void *arg, const uint8_t *buf, size_t len), void *arg) {
    c->input = input;
    c->input_arg = arg;
}

void chardev_more(struct chardev *c) {
    if (c->in_file) {
        pump_file(c);
        return;
    }
    offer(c);
    watch_input(c);
}

/* --- opening ----------------------------------------------------------------------------------------------------- */
static bool open_file(struct chardev *c, const char *path, char err[ERR_BYTES]) {
    c->out = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
    if (c->out < 0)
        snprintf(err, ERR_BYTES, "%.180s: %s", path, strerror(errno));
    return c->out >= 0;
}

static bool open_pty(struct chardev *c, char err[ERR_BYTES]) {
    char name[64];
    struct termios t;
    int fd = posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0 || grantpt(fd) || unlockpt(fd) || ptsname_r(fd, name, sizeof(name)) ||
        (c->keep = open(name, O_RDWR | O_NOCTTY | O_CLOEXEC)) < 0) {
        snprintf(err, ERR_BYTES, "cannot make a pseudo-terminal: %s", strerror(errno));
        if (fd >= 0)
            close(fd);
        return false;
    }
    if (!tcgetattr(c->keep, &t)) {
        cfmakeraw(&t);
        tcsetattr(c->keep, TCSANOW, &t);
    }
    c->in = fd;
    c->out = dup(fd); /* another number, so that both can be watched */
    c->lossy = true;
    fprintf(stderr, "graft: console on %s\n", name); /* for the user, so not to the log of -D */
    return true;
}

struct chardev *chardev_open(const char *spec, char err[ERR_BYTES]) {
    struct chardev *c = calloc(1, sizeof(*c));
    bool ok = true;
    if (!c) {
        snprintf(err, ERR_BYTES, "out of memory");
        return NULL;
    }
    c->in = c->out = c->keep = -1;
    if (!strcmp(spec, "stdio")) {
        c->stdio = true;
        c->in = STDIN_FILENO;
        c->out = STDOUT_FILENO;
        take_terminal();
    } else if (!strncmp(spec, "file:", 5)) {
        ok = open_file(c, spec + 5, err);
    } else if (!strcmp(spec, "pty")) {
        ok = open_pty(c, err);
    }
    if (ok)
        return c;
    free(c);
    return NULL;
}

void chardev_attach(struct chardev *c, struct machine *m) {
    drop_event(&c->in_event);
    drop_event(&c->out_event);
    c->input = NULL;
    c->machine = m;
    if (m)
        watch_input(c);
}

void chardev_close(struct chardev *c) {
    if (c->stdio) {
        chardev_restore();
    } else {
        int fds[] = {c->in, c->out, c->keep};
        for (unsigned i = 0; i < ARRAY_LEN(fds); i++)
            if (fds[i] >= 0)
                close(fds[i]);
    }
    free(c);
}
