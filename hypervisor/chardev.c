/* SPDX-License-Identifier: Apache-2.0
 * Copyright The Graft Authors */
/*
 * chardev.c: character back ends: the terminal (with the Ctrl-A keys), a file, a pseudo-terminal, nothing.
 *
 * Each has a thread that reads and one that writes, which may block as long as they like: between them and the device
 * are two queues. A queue that is full stops the one side, and the other side's bell tells when it is not any
 * more. */
#include "hypervisor/monitor.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <termios.h>
#include <time.h>
#include <unistd.h>

#define OUT_BYTES 65536
#define OUT_PIECE 4096
#define IN_PIECE 4096
#define IN_FILE_BYTES 65536 /* of a file no more is read ahead, */
#define IN_BYTES (4u << 20) /* of a terminal or pipe enough to see Ctrl-A X behind what the guest does not take */
#define AWAY_MS 100 /* how often to look whether someone has opened the pseudo-terminal, or given us the terminal */
#define FLUSH_NS 150000000 /* for the rest of the output, once the user has asked for the end */
#define LINGER_MS 1000     /* for the last bytes in a pseudo-terminal, which its end would discard */
#define END_TRIES 10
#define CTRL_A 1

struct chardev {
    const char *name; /* "serial", "console" */
    int in, out;      /* -1: none */
    bool stdio, is_pty, is_private, has_window, escape;
    size_t in_max;
    char pty_name[64];
    int bell;               /* eventfd: the device is to look */
    int leave;              /* eventfd: threads are to leave what they are waiting for */
    struct event_fd *event; /* of the bell, while there is a machine */
    void (*ready)(void *arg);
    void *ready_arg;
    struct machine *machine;
    struct console_line line; /* that the guest prints */
    struct thread *reader, *writer;
    _Atomic uint32_t size;   /* of the window: columns << 16 | rows, 0: unknown */
    _Atomic size_t out_used; /* out_len, and 0 where nobody has to wait for room */
    _Atomic bool unflushed;  /* the writer sleeps, though there is something to write */
    pthread_mutex_t lock;    /* of what follows; held for moments, and no other is taken under it */
    pthread_cond_t more_out, more_room, ended;
    bool ending, drop; /* no more comes to be written; what is left is not to be written, either, and nothing read */
    bool reader_ended, writer_ended;
    bool gone;         /* nobody will read the output any more */
    bool away;         /* nobody reads it at present: the last OUT_BYTES are kept */
    bool writer_idle;  /* in more_out */
    bool reader_waits; /* in more_room */
    bool want_room;    /* ring the bell when there is some */
    uint8_t out_buf[OUT_BYTES];
    size_t out_first, out_len;
    uint8_t *in_buf;
    bool held; /* it is not for the device yet */
    size_t in_first, in_len, in_room;
};

static void ring(int fd) {
    uint64_t one = 1;
    while (write(fd, &one, sizeof(one)) < 0 && errno == EINTR)
        continue;
}

/* --- the terminal ----------------------------------------------------------------------------- */
static struct termios saved, raw;
static volatile sig_atomic_t have_terminal;
static pthread_mutex_t window_lock = PTHREAD_MUTEX_INITIALIZER;
static struct chardev *window_of; /* whose window size follows the terminal's */

/* A process in the background is stopped if it touches the terminal. */
static bool in_foreground(void) {
    pid_t group = tcgetpgrp(STDIN_FILENO);
    return group < 0 || group == getpgrp();
}

void chardev_raw(void) {
    if (have_terminal && in_foreground())
        tcsetattr(STDIN_FILENO, TCSANOW, &raw);
}

void chardev_restore(void) {
    if (have_terminal && in_foreground())
        tcsetattr(STDIN_FILENO, TCSANOW, &saved);
    have_terminal = false;
}

void chardev_take_terminal(bool lines) {
    if (!isatty(STDIN_FILENO) || tcgetattr(STDIN_FILENO, &saved))
        return;
    raw = saved;
    cfmakeraw(&raw);
    if (lines)
        raw.c_oflag |= OPOST; /* our own messages have plain line ends */
    have_terminal = true;
    chardev_raw();
}

static void look_at_size(struct chardev *c) {
    struct winsize w;
    if (ioctl(c->out, TIOCGWINSZ, &w) && ioctl(c->in, TIOCGWINSZ, &w))
        return;
    c->has_window = true;
    uint32_t size = (uint32_t)w.ws_col << 16 | w.ws_row;
    if (atomic_exchange(&c->size, size) != size)
        ring(c->bell);
}

void chardev_resized(void) {
    pthread_mutex_lock(&window_lock);
    if (window_of)
        look_at_size(window_of);
    pthread_mutex_unlock(&window_lock);
}

static void follow_window(struct chardev *c) {
    pthread_mutex_lock(&window_lock);
    window_of = c;
    pthread_mutex_unlock(&window_lock);
}

bool chardev_has_size(const struct chardev *c) { return c->has_window; }

void chardev_size(const struct chardev *c, uint16_t *columns, uint16_t *rows) {
    uint32_t size = c->size;
    *columns = (uint16_t)(size >> 16);
    *rows = (uint16_t)size;
}

/* --- waiting, in the threads of a back end ---------------------------------------------------- */
/* wait_for(): poll()'s answer for fd; 0: it is time to leave, or ms are over. */
static short wait_for(struct chardev *c, int fd, short events, int ms) {
    struct pollfd p[] = {{.fd = c->leave, .events = POLLIN}, {.fd = fd, .events = events}};
    thread_expect(THREADS(THREAD_CONSOLE), "wait for a console");
    if (poll(p, ARRAY_LEN(p), ms) <= 0 || p[0].revents)
        return 0;
    return p[1].revents;
}

static void pause_for(struct chardev *c, int ms) { wait_for(c, -1, 0, ms); }

/* --- output: the device's side ---------------------------------------------------------------- */
/* The lock is held. */
static void note_used(struct chardev *c) { c->out_used = c->gone || c->away ? 0 : c->out_len; }

static void put_out(struct chardev *c, const uint8_t *b, size_t len) {
    size_t end = (c->out_first + c->out_len) % OUT_BYTES, first = len < OUT_BYTES - end ? len : OUT_BYTES - end;
    memcpy(c->out_buf + end, b, first);
    memcpy(c->out_buf, b + first, len - first);
    c->out_len += len;
}

static size_t queue_output(struct chardev *c, const void *buf, size_t len) {
    const uint8_t *b = buf;
    size_t taken = len;
    pthread_mutex_lock(&c->lock);
    if (c->out < 0 || c->gone) {
        pthread_mutex_unlock(&c->lock);
        return len;
    }
    if (c->away && len > OUT_BYTES - c->out_len) { /* forget the oldest */
        size_t kept = len < OUT_BYTES ? OUT_BYTES - len : 0, lost = c->out_len > kept ? c->out_len - kept : 0;
        c->out_first = (c->out_first + lost) % OUT_BYTES;
        c->out_len -= lost;
        b += len - (OUT_BYTES - kept);
        len = OUT_BYTES - kept;
    } else if (len > OUT_BYTES - c->out_len) {
        taken = len = OUT_BYTES - c->out_len;
    }
    put_out(c, b, len);
    note_used(c);
    if (c->writer_idle && c->out_len)
        c->unflushed = true;
    pthread_mutex_unlock(&c->lock);
    return taken;
}

size_t chardev_write(struct chardev *c, const void *buf, size_t len) {
    size_t taken = queue_output(c, buf, len);
    if (c->is_private)
        return taken;
    panic_look(c->machine, &c->line, buf, taken);
    save_look(c->machine, buf, taken);
    return taken;
}

size_t chardev_room(struct chardev *c) {
    size_t room = OUT_BYTES - c->out_used;
    if (room >= CHARDEV_FULL)
        return room;
    pthread_mutex_lock(&c->lock);
    room = OUT_BYTES - c->out_used;
    c->want_room = room < CHARDEV_FULL;
    pthread_mutex_unlock(&c->lock);
    return room;
}

void chardev_flush(struct chardev *c) {
    if (!c->unflushed)
        return;
    c->unflushed = false;
    pthread_cond_signal(&c->more_out);
}

/* --- output: the thread ----------------------------------------------------------------------- */
/* The lock is held: who waits for room may look again. */
static void offer_room(struct chardev *c) {
    note_used(c);
    if (c->want_room && c->out_used <= OUT_BYTES / 2) {
        c->want_room = false;
        ring(c->bell);
    }
}

/* Waits for something to write; 0: that was all. */
static size_t take_out(struct chardev *c, uint8_t piece[OUT_PIECE]) {
    pthread_mutex_lock(&c->lock);
    while (!c->out_len && !c->ending) {
        c->writer_idle = true;
        pthread_cond_wait(&c->more_out, &c->lock);
    }
    c->writer_idle = false;
    size_t len = c->drop ? 0 : c->out_len < OUT_PIECE ? c->out_len : OUT_PIECE;
    size_t first = len < OUT_BYTES - c->out_first ? len : OUT_BYTES - c->out_first;
    memcpy(piece, c->out_buf + c->out_first, first);
    memcpy(piece + first, c->out_buf, len - first);
    c->out_first = (c->out_first + len) % OUT_BYTES;
    c->out_len -= len;
    offer_room(c);
    pthread_mutex_unlock(&c->lock);
    return len;
}

static void set_away(struct chardev *c, bool away) {
    pthread_mutex_lock(&c->lock);
    c->away = away;
    offer_room(c);
    pthread_mutex_unlock(&c->lock);
}

static void set_gone(struct chardev *c, int why) {
    pthread_mutex_lock(&c->lock);
    c->gone = true;
    c->out_len = 0;
    offer_room(c);
    pthread_mutex_unlock(&c->lock);
    if (!c->is_private)
        log_printf("graft: %s: %s: what the guest writes there is lost from now on\n", c->name, strerror(why));
}

/* Is there no point in waiting for a reader? */
static bool given_up(struct chardev *c) {
    pthread_mutex_lock(&c->lock);
    bool up = c->drop || (c->ending && c->away);
    pthread_mutex_unlock(&c->lock);
    return up;
}

/* Writes what a descriptor that is ready takes. False: nobody will ever take more. */
static bool write_some(struct chardev *c, const uint8_t **b, size_t *len) {
    ssize_t n = write(c->out, *b, *len);
    if (n >= 0) {
        *b += n;
        *len -= (size_t)n;
        return true;
    }
    if (errno == EAGAIN || (errno == EIO && c->is_pty))
        pause_for(c, 1); /* not ready after all */
    else if (errno != EINTR)
        return false;
    return true;
}

static bool write_piece(struct chardev *c, const uint8_t *b, size_t len) {
    while (len && !given_up(c)) {
        short events = wait_for(c, c->out, POLLOUT, -1);
        if (c->is_pty && events & POLLHUP) { /* nobody has it open */
            set_away(c, true);
            pause_for(c, AWAY_MS);
            continue;
        }
        if (c->is_pty)
            set_away(c, false);
        if (events && !write_some(c, &b, &len))
            return false;
    }
    return true;
}

static void write_out(void *arg) {
    struct chardev *c = arg;
    uint8_t piece[OUT_PIECE];
    size_t len;
    while ((len = take_out(c, piece)) != 0) {
        if (write_piece(c, piece, len))
            continue;
        set_gone(c, errno);
        break;
    }
    pthread_mutex_lock(&c->lock);
    c->writer_ended = true;
    pthread_cond_signal(&c->ended);
    pthread_mutex_unlock(&c->lock);
}

/* --- input: the thread ------------------------------------------------------------------------ */
/* To stderr, not to the log: -D may have it in a file. And only if it takes it, or Ctrl-A X would be waited for,
 * too. */
static void show_help(void) {
    static const char text[] = "\nCtrl-A H   this help\nCtrl-A X   end the guest\nCtrl-A S   save it, with --save\n"
                               "Ctrl-A Ctrl-A   send Ctrl-A\n";
    struct pollfd p = {.fd = STDERR_FILENO, .events = POLLOUT};
    if (poll(&p, 1, 0) == 1 && write(STDERR_FILENO, text, sizeof(text) - 1) < 0)
        return; /* nobody reads it */
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
        else if (b[i] == 's' || b[i] == 'S')
            supervise_save();
        else if (b[i] == 'h' || b[i] == 'H' || b[i] == '?')
            show_help();
        else if (b[i] == CTRL_A)
            b[kept++] = b[i];
    }
    return kept;
}

/* The lock is held. What is there is moved only if that is less than what was taken, so not often. */
static bool make_in_room(struct chardev *c, size_t len) {
    if (c->in_first + c->in_len + len <= c->in_room)
        return true;
    if (c->in_first > c->in_len + len) {
        memmove(c->in_buf, c->in_buf + c->in_first, c->in_len);
        c->in_first = 0;
        return true;
    }
    size_t room = c->in_room ? 2 * c->in_room : 2 * IN_PIECE;
    uint8_t *p = realloc(c->in_buf, room);
    if (p) {
        c->in_buf = p;
        c->in_room = room;
    }
    return p != NULL;
}

/* Waits for room in the queue. False: leave. */
static bool wait_in_room(struct chardev *c) {
    pthread_mutex_lock(&c->lock);
    while (!c->drop && (c->in_len > c->in_max - IN_PIECE || !make_in_room(c, IN_PIECE))) {
        c->reader_waits = true;
        pthread_cond_wait(&c->more_room, &c->lock);
    }
    c->reader_waits = false;
    bool go_on = !c->drop;
    pthread_mutex_unlock(&c->lock);
    return go_on;
}

/* There is room for a piece. */
static void put_in(struct chardev *c, const uint8_t *b, size_t len) {
    pthread_mutex_lock(&c->lock);
    memcpy(c->in_buf + c->in_first + c->in_len, b, len);
    bool first = !c->in_len;
    c->in_len += len;
    pthread_mutex_unlock(&c->lock);
    if (first && len)
        ring(c->bell);
}

/* Is the terminal someone else's at present? */
static bool is_behind(const struct chardev *c) { return c->stdio && have_terminal && !in_foreground(); }

/* Reads what is there. False: no more will come. */
static bool read_some(struct chardev *c) {
    uint8_t piece[IN_PIECE];
    ssize_t n = read(c->in, piece, sizeof(piece));
    if (n < 0 && (errno == EINTR || errno == EAGAIN || is_behind(c)))
        return true;
    if (n <= 0 && c->is_pty) { /* nobody has it open */
        pause_for(c, AWAY_MS);
        return true;
    }
    if (n <= 0)
        return false;
    if (c->is_pty)
        look_at_size(c);
    put_in(c, piece, c->stdio ? take_escapes(c, piece, (size_t)n) : (size_t)n);
    return true;
}

static void read_in(void *arg) {
    struct chardev *c = arg;
    bool was_behind = false;
    while (wait_in_room(c)) {
        if (is_behind(c)) {
            was_behind = true;
            pause_for(c, AWAY_MS);
            continue;
        }
        if (was_behind)
            chardev_raw();
        was_behind = false;
        if (wait_for(c, c->in, POLLIN, -1) && !is_behind(c) && !read_some(c))
            break;
    }
    pthread_mutex_lock(&c->lock);
    c->reader_ended = true;
    pthread_cond_signal(&c->ended);
    pthread_mutex_unlock(&c->lock);
}

/* --- input: the device's side ----------------------------------------------------------------- */
size_t chardev_read(struct chardev *c, void *buf, size_t len) {
    pthread_mutex_lock(&c->lock);
    if (len > c->in_len)
        len = c->in_len;
    if (c->held)
        len = 0;
    if (len)
        memcpy(buf, c->in_buf + c->in_first, len);
    c->in_first += len;
    c->in_len -= len;
    if (!c->in_len)
        c->in_first = 0;
    if (c->reader_waits && c->in_len <= c->in_max / 2)
        pthread_cond_signal(&c->more_room);
    pthread_mutex_unlock(&c->lock);
    return len;
}

void chardev_hold_input(struct chardev *c, bool held) {
    pthread_mutex_lock(&c->lock);
    c->held = held;
    pthread_mutex_unlock(&c->lock);
}

bool chardev_ended(struct chardev *c) {
    pthread_mutex_lock(&c->lock);
    bool ended = !c->in_len && (!c->reader || c->reader_ended);
    pthread_mutex_unlock(&c->lock);
    return ended;
}

/* --- with a machine --------------------------------------------------------------------------- */
void chardev_listen(struct chardev *c, void (*ready)(void *arg), void *arg) {
    c->ready = ready;
    c->ready_arg = arg;
}

static void on_bell(void *arg, uint32_t events) {
    struct chardev *c = arg;
    uint64_t count;
    while (read(c->bell, &count, sizeof(count)) < 0 && errno == EINTR)
        continue;
    if (c->ready)
        c->ready(c->ready_arg);
    machine_room(c->machine);
}

bool chardev_attach(struct chardev *c, struct machine *m) {
    if (c->event)
        event_del_fd(c->event);
    c->event = NULL;
    c->ready = NULL;
    c->machine = m;
    if (m)
        c->event = event_add_fd(m, c->bell, EPOLLIN, on_bell, c);
    if (c->event)
        ring(c->bell); /* what was typed before */
    return !m || c->event;
}

/* --- opening ---------------------------------------------------------------------------------- */
static bool failed(char err[ERR_BYTES], const char *what) {
    snprintf(err, ERR_BYTES, "%.180s: %s", what, strerror(errno));
    return false;
}

static bool open_file(struct chardev *c, const char *path, char err[ERR_BYTES]) {
    c->out = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
    return c->out >= 0 || failed(err, path);
}

/* Its other end is closed again at once: from then on the system says whether someone has it open. */
static bool open_pty(struct chardev *c, char err[ERR_BYTES]) {
    struct termios t;
    int other;
    c->is_pty = true;
    c->in = c->out = posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC | O_NONBLOCK);
    if (c->out < 0 || grantpt(c->out) || unlockpt(c->out) || ptsname_r(c->out, c->pty_name, sizeof(c->pty_name)) ||
        (other = open(c->pty_name, O_RDWR | O_NOCTTY | O_CLOEXEC)) < 0)
        return failed(err, "cannot make a pseudo-terminal");
    if (!tcgetattr(other, &t)) {
        cfmakeraw(&t);
        tcsetattr(other, TCSANOW, &t);
    }
    close(other);
    c->away = true;
    look_at_size(c);
    fprintf(stderr, "graft: %s on %s\n", c->name, c->pty_name); /* for the user, so not to the log of -D */
    return true;
}

static void open_stdio(struct chardev *c) {
    c->stdio = true;
    c->in = STDIN_FILENO;
    c->out = STDOUT_FILENO;
}

static bool open_ends(struct chardev *c, const char *spec, char err[ERR_BYTES]) {
    if (!strcmp(spec, "stdio"))
        open_stdio(c);
    else if (!strncmp(spec, "file:", 5))
        return open_file(c, spec + 5, err);
    else if (!strcmp(spec, "pty"))
        return open_pty(c, err);
    else if (!strcmp(spec, "stderr"))
        return (c->out = fcntl(STDERR_FILENO, F_DUPFD_CLOEXEC, 3)) >= 0 || failed(err, spec);
    return true;
}

static size_t in_max(int fd) {
    struct stat st;
    bool waits = !fstat(fd, &st) && (S_ISFIFO(st.st_mode) || S_ISSOCK(st.st_mode) || isatty(fd));
    return waits ? IN_BYTES : IN_FILE_BYTES;
}

bool chardev_start(struct chardev *c) {
    char name[16];
    if (c->stdio) {
        chardev_take_terminal(true);
        look_at_size(c);
        follow_window(c);
    }
    c->in_max = in_max(c->in);
    snprintf(name, sizeof(name), "%s-in", c->name);
    if (c->in >= 0 && !(c->reader = thread_start(THREAD_CONSOLE, name, read_in, c)))
        return false;
    snprintf(name, sizeof(name), "%s-out", c->name);
    return c->out < 0 || (c->writer = thread_start(THREAD_CONSOLE, name, write_out, c));
}

static void init_lock(struct chardev *c) {
    pthread_condattr_t a;
    pthread_mutex_init(&c->lock, NULL);
    pthread_condattr_init(&a);
    pthread_condattr_setclock(&a, CLOCK_MONOTONIC);
    pthread_cond_init(&c->more_out, NULL);
    pthread_cond_init(&c->more_room, NULL);
    pthread_cond_init(&c->ended, &a);
    pthread_condattr_destroy(&a);
}

/* spec: NULL: fd is both ends. */
static struct chardev *open_any(const char *name, const char *spec, int fd, char err[ERR_BYTES]) {
    struct chardev *c = calloc(1, sizeof(*c));
    if (!c) {
        snprintf(err, ERR_BYTES, "out of memory");
        return NULL;
    }
    init_lock(c);
    c->name = name;
    c->is_private = !spec;
    c->in = c->out = fd;
    c->bell = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    c->leave = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (c->bell < 0 || c->leave < 0)
        failed(err, name);
    else if (!spec || open_ends(c, spec, err))
        return c;
    chardev_close(c);
    return NULL;
}

struct chardev *chardev_open(const char *name, const char *spec, char err[ERR_BYTES]) {
    return open_any(name, spec, -1, err);
}

struct chardev *chardev_open_socket(const char *name, int fd, char err[ERR_BYTES]) {
    return open_any(name, NULL, fd, err);
}

/* --- closing ---------------------------------------------------------------------------------- */
static bool all_ended(const struct chardev *c) {
    return (!c->reader || c->reader_ended) && (!c->writer || c->writer_ended);
}

/* The lock is held. Waits until a thread has ended, or ms are over. */
static void wait_ended(struct chardev *c, unsigned ms) {
    uint64_t at = event_now_ns() + ms * UINT64_C(1000000);
    struct timespec ts = {.tv_sec = (time_t)(at / 1000000000), .tv_nsec = (long)(at % 1000000000)};
    pthread_cond_timedwait(&c->ended, &c->lock, &ts);
}

/* As long as someone takes the output, but not for long once the user has asked for the end. */
static void flush_all(struct chardev *c) {
    uint64_t until = UINT64_MAX;
    pthread_mutex_lock(&c->lock);
    c->ending = true;
    pthread_cond_signal(&c->more_out);
    while (c->writer && !c->writer_ended && event_now_ns() < until) {
        if (until == UINT64_MAX && supervise_stopping())
            until = event_now_ns() + FLUSH_NS;
        wait_ended(c, 20);
    }
    pthread_mutex_unlock(&c->lock);
}

/* Ends the threads. False: one cannot be had out of its system call. */
static bool end_threads(struct chardev *c) {
    pthread_mutex_lock(&c->lock);
    c->drop = true;
    pthread_cond_signal(&c->more_out);
    pthread_cond_signal(&c->more_room);
    ring(c->leave);
    for (unsigned tries = 0; tries < END_TRIES && !all_ended(c); tries++) {
        wait_ended(c, 10);
        if (c->reader && !c->reader_ended)
            thread_kick(c->reader);
        if (c->writer && !c->writer_ended)
            thread_kick(c->writer);
    }
    bool ended = all_ended(c);
    pthread_mutex_unlock(&c->lock);
    if (ended && c->reader)
        thread_join(c->reader);
    if (ended && c->writer)
        thread_join(c->writer);
    return ended;
}

/* What was written to a pseudo-terminal is lost with it: whoever has it open gets a moment to read the rest. */
static void linger(const struct chardev *c) {
    int flags = O_RDWR | O_NOCTTY | O_CLOEXEC | O_NONBLOCK, left;
    int other = c->is_pty && !c->away ? ioctl(c->out, TIOCGPTPEER, flags) : -1; /* no name can be opened any more */
    if (other < 0)
        return;
    for (unsigned ms = 0; ms < LINGER_MS && !supervise_stopping() && !ioctl(other, FIONREAD, &left) && left; ms += 10)
        usleep(10000);
    close(other);
}

static void close_ends(struct chardev *c) {
    int fds[] = {c->bell, c->leave, c->stdio ? -1 : c->out, c->in == c->out || c->stdio ? -1 : c->in};
    for (unsigned i = 0; i < ARRAY_LEN(fds); i++)
        if (fds[i] >= 0)
            close(fds[i]);
}

void chardev_close(struct chardev *c) {
    flush_all(c);
    if (c->stdio) {
        follow_window(NULL);
        chardev_restore();
    }
    if (!end_threads(c))
        return; /* they still use it */
    linger(c);
    close_ends(c);
    pthread_mutex_destroy(&c->lock);
    pthread_cond_destroy(&c->more_out);
    pthread_cond_destroy(&c->more_room);
    pthread_cond_destroy(&c->ended);
    free(c->in_buf);
    free(c);
}
