/* SPDX-License-Identifier: Apache-2.0
 * Copyright The Graft Authors */
/*
 * exec.c: carries what a command in the guest reads and writes, its signals and its end, between the agent
 * (agent/agent.c) and whoever runs `graft exec`. A thread of its own does it, at one end of a socket whose other end is
 * a virtio console's. It never waits for one reader while another, or the agent, has something: the agent sends no more
 * than there is room for here.
 */
#include "hypervisor/exec.h"
#include "graft/agent.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define STREAMS 3
#define PIECE 4000
#define INSIST 3 /* so often a signal is sent to the command; then it is for us */

struct stream {
    uint8_t data[AGENT_WINDOW];
    uint32_t first, len;
    bool deaf; /* nobody reads it any more */
};

struct exec {
    int socket, bell;
    struct thread *thread;
    struct exec_kept *kept;
    const struct frames *setup; /* what it has to do before the command starts */
    struct frames out;          /* to the agent */
    size_t sent;                /* of out */
    uint8_t in[sizeof(struct agent_frame) + 8 + AGENT_PIECE];
    size_t in_len;
    struct stream stream[STREAMS]; /* 1 and 2 */
    uint32_t credit;               /* of standard input */
    bool terminal, started, input_over;
    bool greeted;        /* the agent has said hello */
    bool over;           /* the agent has said its last word, or is not to be listened to */
    int status;          /* -1: none */
    _Atomic bool gone;   /* the machine */
    _Atomic bool closed; /* and all that its guest has said is in the socket */
    _Atomic uint64_t signals;
    _Atomic bool resized, listening;
    _Atomic bool ready; /* the machine has been saved, or loaded */
};
static struct exec *signalled; /* for supervise.c */
static unsigned insisted;      /* main's own */

static void ring(struct exec *e) {
    uint64_t one = 1;
    while (write(e->bell, &one, sizeof(one)) < 0 && errno == EINTR)
        continue;
}

/* --- to the agent ----------------------------------------------------------------------------- */
static void say_numbers(struct exec *e, uint32_t type, uint32_t one, uint32_t two) {
    uint32_t numbers[2] = {one, two};
    frames_add(&e->out, type, numbers, sizeof(numbers));
}

static void say_time(struct frames *f) {
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    uint64_t seconds = (uint64_t)now.tv_sec;
    frames_begin(f, AGENT_TIME);
    frames_put(f, &seconds, sizeof(seconds));
    frames_number(f, (uint32_t)now.tv_nsec);
}

static struct winsize window(void) {
    struct winsize w = {0};
    ioctl(STDOUT_FILENO, TIOCGWINSZ, &w);
    return w;
}

static void say_entropy(struct frames *f) {
    uint8_t bytes[64];
    f->failed |= getrandom(bytes, sizeof(bytes), 0) != sizeof(bytes);
    frames_add(f, AGENT_ENTROPY, bytes, sizeof(bytes));
}

/* The agent is there: the command may start. */
static void start_command(struct exec *e) {
    struct winsize w = window();
    say_entropy(&e->out);
    say_time(&e->out);
    frames_copy(&e->out, e->setup);
    frames_begin(&e->out, AGENT_START);
    frames_number(&e->out, e->terminal);
    frames_number(&e->out, w.ws_col);
    frames_number(&e->out, w.ws_row);
    e->started = true;
    e->credit = AGENT_WINDOW;
    atomic_store(&e->listening, true);
}

/* Before that, the guest is kept for later runs as it is. */
static void greet(struct exec *e) {
    e->greeted = true;
    if (e->kept->save)
        supervise_save();
    else
        start_command(e);
}

static void on_ready(void *arg, const char *why) {
    struct exec *e = arg;
    atomic_store(&e->ready, true);
    ring(e);
}

static void pass_signals(struct exec *e) {
    uint64_t signals = atomic_exchange(&e->signals, 0);
    for (uint32_t n = 1; n < 64; n++)
        if (signals >> n & 1)
            frames_add(&e->out, AGENT_SIGNAL, &n, sizeof(n));
    if (atomic_exchange(&e->resized, false) && e->terminal) {
        struct winsize w = window();
        say_numbers(e, AGENT_SIZE, w.ws_col, w.ws_row);
    }
}

static void pass_input(struct exec *e) {
    uint8_t piece[PIECE];
    ssize_t n = read(STDIN_FILENO, piece, e->credit < sizeof(piece) ? e->credit : sizeof(piece));
    if (n < 0 && (errno == EINTR || errno == EAGAIN))
        return;
    e->input_over = n <= 0;
    if (n > 0) {
        frames_add(&e->out, AGENT_INPUT, piece, (size_t)n);
        e->credit -= (uint32_t)n;
    } else {
        frames_add(&e->out, AGENT_INPUT_END, NULL, 0);
    }
}

static void send_out(struct exec *e) {
    ssize_t n = write(e->socket, e->out.data + e->sent, e->out.len - e->sent);
    if (n > 0)
        e->sent += (size_t)n;
    else if (n < 0 && errno != EAGAIN && errno != EINTR)
        e->over = true;
    if (e->sent == e->out.len)
        e->out.len = e->sent = 0;
    e->over |= e->out.failed;
}

/* --- from the agent --------------------------------------------------------------------------- */
static void stop(struct exec *e, int status) {
    if (e->status < 0)
        e->status = status;
    e->over = true;
}

/* What the guest says may be anything. */
static void distrust(struct exec *e) {
    chardev_restore();
    log_printf("graft: the guest's agent says something that it must not\n");
    stop(e, EXEC_FAILED);
}

static void take_output(struct exec *e, const uint8_t *data, uint32_t len) {
    uint32_t n;
    memcpy(&n, data, 4);
    struct stream *s = n < STREAMS ? &e->stream[n] : NULL;
    data += 4;
    len -= 4;
    if (!n || !s || (!s->deaf && len > AGENT_WINDOW - s->len)) {
        distrust(e);
        return;
    }
    if (s->deaf)
        return;
    for (uint32_t i = 0; i < len; i++)
        s->data[(s->first + s->len + i) % AGENT_WINDOW] = data[i];
    s->len += len;
}

/* Text of the guest's, for a terminal. */
static void make_plain(char *text) {
    for (; *text; text++)
        if ((unsigned char)*text < 32 || *text == 127)
            *text = '?';
}

static void take_failure(struct exec *e, const uint8_t *data, uint32_t len) {
    uint32_t numbers[2];
    char text[200];
    memcpy(numbers, data, sizeof(numbers));
    snprintf(text, sizeof(text), "%.*s", (int)(len - sizeof(numbers)), (const char *)data + sizeof(numbers));
    make_plain(text);
    chardev_restore();
    log_printf("graft: in the guest: %s: %s\n", text, strerror((int)numbers[1]));
    stop(e, (int)(numbers[0] & 0xff));
}

static void take_frame(struct exec *e, uint32_t type, const uint8_t *data, uint32_t len) {
    uint32_t numbers[2] = {0};
    memcpy(numbers, data, len < sizeof(numbers) ? len : sizeof(numbers));
    if (type == AGENT_HELLO && len == 4 && numbers[0] == AGENT_VERSION && !e->greeted)
        greet(e);
    else if (type == AGENT_OUTPUT && len >= 4 && e->started)
        take_output(e, data, len);
    else if (type == AGENT_CREDIT && len == 8 && numbers[0] == 0 && numbers[1] <= AGENT_WINDOW - e->credit)
        e->credit += numbers[1];
    else if (type == AGENT_EXIT && len == 4)
        stop(e, (int)(numbers[0] & 0xff));
    else if (type == AGENT_FAILED && len >= 8)
        take_failure(e, data, len);
    else
        distrust(e);
}

/* True if there was something. */
static bool receive(struct exec *e) {
    ssize_t n = read(e->socket, e->in + e->in_len, sizeof(e->in) - e->in_len);
    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return false;
    if (n <= 0) {
        e->over = true;
        return false;
    }
    e->in_len += (size_t)n;
    struct agent_frame f;
    size_t at = 0;
    while (!e->over && e->in_len - at >= sizeof(f)) {
        memcpy(&f, e->in + at, sizeof(f));
        if (f.bytes > sizeof(e->in) - sizeof(f)) {
            distrust(e);
            return false;
        }
        if (e->in_len - at < sizeof(f) + f.bytes)
            break;
        take_frame(e, f.type, e->in + at + sizeof(f), f.bytes);
        at += sizeof(f) + f.bytes;
    }
    memmove(e->in, e->in + at, e->in_len - at);
    e->in_len -= at;
    return true;
}

/* --- to the user ------------------------------------------------------------------------------ */
static void write_stream(struct exec *e, uint32_t n) {
    struct stream *s = &e->stream[n];
    uint32_t len = AGENT_WINDOW - s->first < s->len ? AGENT_WINDOW - s->first : s->len;
    ssize_t done = write((int)n, s->data + s->first, len < PIECE ? len : PIECE);
    if (done < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    if (done < 0) { /* the command is to notice, as if it had written there itself */
        s->deaf = true;
        s->len = 0;
        frames_add(&e->out, AGENT_DEAF, &n, sizeof(n));
        return;
    }
    s->first = (s->first + (uint32_t)done) % AGENT_WINDOW;
    s->len -= (uint32_t)done;
    if (!e->over)
        say_numbers(e, AGENT_CREDIT, n, (uint32_t)done);
}

/* --- the thread ------------------------------------------------------------------------------- */
static void clear_bell(struct exec *e) {
    uint64_t count;
    while (read(e->bell, &count, sizeof(count)) < 0 && errno == EINTR)
        continue;
}

/* Is there anything left to do? all: what the guest of a machine that is gone had said has been read. */
static bool is_busy(const struct exec *e, bool all) {
    bool left = e->stream[1].len || e->stream[2].len;
    return left ? !(e->gone && supervise_stopping() && supervise_signal()) : !e->over && !all;
}

static void relay(void *arg) {
    struct exec *e = arg;
    bool all = false;
    while (is_busy(e, all)) {
        bool reads = e->started && !e->over && !e->input_over && e->credit && e->out.len < sizeof(e->in);
        struct pollfd p[] = {{.fd = e->bell, .events = POLLIN},
                             {.fd = e->over ? -1 : e->socket, .events = POLLIN | (e->out.len ? POLLOUT : 0)},
                             {.fd = reads ? STDIN_FILENO : -1, .events = POLLIN},
                             {.fd = e->stream[1].len ? STDOUT_FILENO : -1, .events = POLLOUT},
                             {.fd = e->stream[2].len ? STDERR_FILENO : -1, .events = POLLOUT}};
        if (poll(p, ARRAY_LEN(p), -1) < 0)
            continue;
        if (p[0].revents)
            clear_bell(e);
        if (atomic_load(&e->ready) && !e->started)
            start_command(e);
        if (e->started)
            pass_signals(e);
        if (p[2].revents)
            pass_input(e);
        if (p[1].revents & POLLOUT)
            send_out(e);
        all = atomic_load(&e->closed);
        if (p[1].revents & (POLLIN | POLLHUP | POLLERR))
            receive(e);
        while (all && !e->over && receive(e)) /* the status comes last of all */
            continue;
        if (p[3].revents)
            write_stream(e, 1);
        if (p[4].revents)
            write_stream(e, 2);
    }
    close(e->socket); /* or what the guest goes on to say would be waited for */
    e->socket = -1;
    atomic_store(&e->listening, false);
    if (e->status >= 0 && !e->gone)
        supervise_stop(0);
}

/* --- signals: in the main thread -------------------------------------------------------------- */
static bool take_signal(int signal) {
    struct exec *e = signalled;
    if (!e || !atomic_load(&e->listening) || signal == SIGALRM)
        return false;
    if (signal == SIGWINCH) {
        atomic_store(&e->resized, true);
    } else {
        if (++insisted > INSIST)
            return false;
        atomic_fetch_or(&e->signals, BIT(signal));
    }
    ring(e);
    return true;
}

/* --- beginning and end ------------------------------------------------------------------------ */
static void close_all(struct exec *e) {
    if (e->socket >= 0)
        close(e->socket);
    if (e->bell >= 0)
        close(e->bell);
    free(e->out.data);
    free(e);
}

struct exec *exec_open(const struct exec_plan *p, struct exec_kept *k, int *fd, char err[ERR_BYTES]) {
    struct exec *e = calloc(1, sizeof(*e));
    int ends[2];
    if (!e || socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends)) {
        snprintf(err, ERR_BYTES, "cannot make a connection: %s", strerror(errno));
        free(e);
        return NULL;
    }
    e->setup = &p->setup;
    e->kept = k;
    e->greeted = k->snapshot != NULL;
    k->target.done = on_ready;
    k->target.arg = e;
    if (k->snapshot) {
        k->snapshot->done = on_ready;
        k->snapshot->arg = e;
    }
    e->status = -1;
    e->socket = ends[0];
    e->bell = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    e->terminal = isatty(STDIN_FILENO) && isatty(STDOUT_FILENO);
    *fd = ends[1];
    if (e->bell >= 0 && !fcntl(e->socket, F_SETFL, O_NONBLOCK))
        return e;
    snprintf(err, ERR_BYTES, "cannot make a connection: %s", strerror(errno));
    close(ends[1]);
    close_all(e);
    return NULL;
}

bool exec_start(struct exec *e) {
    if (!(e->thread = thread_start(THREAD_EXEC, "exec", relay, e)))
        return false;
    if (e->terminal)
        chardev_take_terminal(false);
    signalled = e;
    supervise_signals(take_signal);
    return true;
}

int exec_end(struct exec *e, struct chardev *console, int status) {
    supervise_signals(NULL);
    signalled = NULL;
    atomic_store(&e->gone, true);
    chardev_close(console);
    atomic_store(&e->closed, true);
    ring(e);
    if (e->thread)
        thread_join(e->thread);
    chardev_restore();
    bool by_user = supervise_signal() != 0;
    if (e->status >= 0 && !by_user)
        status = e->status;
    else if (status == 0 && !by_user)
        log_printf("graft: the guest has ended before the command has%s\n",
                   e->started
                       ? ""
                       : ": its kernel needs virtio_mmio, virtio_console, virtiofs and overlay (-v shows its console)");
    if (e->status < 0 && !by_user && status < 124)
        status = EXEC_FAILED;
    close_all(e);
    return status;
}
