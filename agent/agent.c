/* SPDX-License-Identifier: Apache-2.0
 * Copyright The Graft Authors */
/*
 * agent.c: the first process of a guest of `graft exec`. It is all that the initial RAM disk has beside kernel modules:
 * it loads those, says hello to the monitor, mounts what it is told to, runs the command, and carries its input, output
 * and end. There is no C library below it (sys.h), so a compiler for the guest's processor is all that building it
 * takes.
 */
#include "agent/sys.h"
#include "graft/agent.h"

#define CHANNEL "/dev/hvc0"
#define MODULES "/modules/list" /* names of files beside it, one in a line, in the order to load them in */
#define MAX_WORDS 4096          /* arguments, and environment */
#define CHANNEL_TRIES 5000      /* of a millisecond */

/* --- what compilers expect -------------------------------------------------------------------- */
void *memcpy(void *to, const void *from, size_t n) {
    for (size_t i = 0; i < n; i++) {
        ((char *)to)[i] = ((const char *)from)[i];
        __asm__ volatile(""); /* a loop, not a call of memcpy() */
    }
    return to;
}

void *memset(void *to, int value, size_t n) {
    for (size_t i = 0; i < n; i++) {
        ((char *)to)[i] = (char)value;
        __asm__ volatile("");
    }
    return to;
}

static size_t length(const char *s) {
    size_t n = 0;
    while (s[n])
        n++;
    return n;
}

/* --- the connection --------------------------------------------------------------------------- */
static int channel = -1;
static struct {
    char *arg[MAX_WORDS + 1], *env[MAX_WORDS + 1];
    unsigned args, envs;
    const char *cwd;
} command;
static struct {
    long pid;
    int in, out[3], signals; /* out[1], out[2]; with a terminal out[1] is all */
    int terminal;
    int ended;
    uint32_t status;
    uint32_t credit[3];
    char input[AGENT_WINDOW];
    uint32_t input_len;
    int input_over;
} run = {.in = -1, .out = {-1, -1, -1}};

static _Noreturn void end(void) {
    CALL(SYS_REBOOT, 0xfee1deadu, 672274793, 0x4321fedc, 0); /* power off */
    for (;;)
        CALL(SYS_EXIT_GROUP, 1);
}

static void write_all(const void *data, size_t len) {
    for (size_t done = 0; done < len;) {
        long n = CALL(SYS_WRITE, channel, (const char *)data + done, len - done);
        if (n > 0)
            done += (size_t)n;
        else if (n != -E_INTR && n != -E_AGAIN)
            end();
    }
}

static void read_all(void *data, size_t len) {
    for (size_t done = 0; done < len;) {
        long n = CALL(SYS_READ, channel, (char *)data + done, len - done);
        if (n > 0)
            done += (size_t)n;
        else if (n != -E_INTR && n != -E_AGAIN)
            end();
    }
}

/* A frame of one or two numbers, and bytes. */
static void say(uint32_t type, const uint32_t *numbers, uint32_t count, const void *data, uint32_t len) {
    static char frame[sizeof(struct agent_frame) + 8 + AGENT_PIECE];
    struct agent_frame head = {type, 4 * count + len};
    memcpy(frame, &head, sizeof(head));
    memcpy(frame + sizeof(head), numbers, 4 * count);
    memcpy(frame + sizeof(head) + 4 * count, data, len);
    write_all(frame, sizeof(head) + head.bytes);
}

static _Noreturn void finish(void) {
    CALL(SYS_SYNC);
    end();
}

/* The monitor says what error means. */
static _Noreturn void fail(uint32_t status, long error, const char *text) {
    uint32_t numbers[2] = {status, (uint32_t)-error};
    size_t len = length(text) + 1;
    say(AGENT_FAILED, numbers, 2, text, (uint32_t)(len < AGENT_PIECE ? len : AGENT_PIECE));
    finish();
}

static void need(long result, const char *text) {
    if (result < 0)
        fail(125, result, text);
}

/* --- starting --------------------------------------------------------------------------------- */
static long open_file(const char *path, int flags) { return CALL(SYS_OPENAT, AT_CWD, path, flags | O_CLOSE, 0644); }

static void load_module(const char *name, size_t len) {
    char path[300] = "/modules/";
    if (len >= sizeof(path) - 9)
        return;
    memcpy(path + 9, name, len);
    path[9 + len] = 0;
    long fd = open_file(path, O_READ);
    if (fd < 0)
        return;
    CALL(SYS_FINIT_MODULE, fd, "", 0); /* what it was for will be missed if that fails */
    CALL(SYS_CLOSE, fd);
}

static void load_modules(void) {
    static char list[8192];
    long fd = open_file(MODULES, O_READ), n = fd < 0 ? 0 : CALL(SYS_READ, fd, list, sizeof(list));
    for (long at = 0, start = 0; at < n; at++) {
        if (list[at] != '\n')
            continue;
        load_module(list + start, (size_t)(at - start));
        start = at + 1;
    }
    if (fd >= 0)
        CALL(SYS_CLOSE, fd);
}

static void pause_ms(void) {
    long time[2] = {0, 1000000};
    CALL(SYS_NANOSLEEP, time, 0);
}

struct termios {
    uint32_t in, out, control, local;
    uint8_t line, chars[19];
};
enum {
    TCGETS = 0x5401,
    TCSETS = 0x5402,
    TIOCSCTTY = 0x540e,
    TIOCSWINSZ = 0x5414,
    TIOCSPTLCK = 0x40045431,
    TIOCGPTPEER = 0x5441
};

/* The console is to carry bytes. */
static void open_channel(void) {
    struct termios t;
    for (unsigned i = 0; channel < 0 && i < CHANNEL_TRIES; i++) {
        channel = (int)open_file(CHANNEL, O_BOTH | O_NO_TERMINAL);
        if (channel < 0)
            pause_ms();
    }
    if (channel < 0 || CALL(SYS_IOCTL, channel, TCGETS, &t))
        end();
    t.in = t.out = t.local = 0;
    t.chars[6] = 1; /* VMIN */
    t.chars[5] = 0;
    CALL(SYS_IOCTL, channel, TCSETS, &t);
}

/* --- what the monitor wants done -------------------------------------------------------------- */
static char *allocate(size_t bytes) {
    long p = CALL(SYS_MMAP, 0, bytes, 3, 0x22, -1, 0);
    return p < 0 && p > -4096 ? NULL : (char *)p;
}

/* The next text of a frame. */
static const char *take_text(const char **at, const char *past) {
    const char *s = *at;
    while (*at < past && **at)
        ++*at;
    if (*at == past)
        fail(125, -E_PROTO, "the agent was told something that it does not understand");
    ++*at;
    return s;
}

static uint32_t number(const char *at) {
    uint32_t n;
    memcpy(&n, at, 4);
    return n;
}

static void make_folders(const char *path) {
    char part[4096];
    for (size_t i = 0; path[i] && i + 1 < sizeof(part); i++) {
        part[i] = path[i];
        part[i + 1] = 0;
        if (i && (path[i + 1] == '/' || !path[i + 1]))
            CALL(SYS_MKDIRAT, AT_CWD, part, 0755);
    }
}

static void mount(const char *at, const char *past) {
    uint32_t flags = number(at);
    at += 4;
    const char *type = take_text(&at, past), *source = take_text(&at, past), *target = take_text(&at, past),
               *data = take_text(&at, past);
    make_folders(target);
    long result = CALL(SYS_MOUNT, source, target, type, flags, data);
    if (result < 0)
        fail(125, result, target);
}

static void write_file(const char *at, const char *past) {
    const char *path = take_text(&at, past), *content = take_text(&at, past);
    long fd = open_file(path, O_WRITE | O_CREATE | O_TRUNCATE);
    if (fd < 0)
        return;
    CALL(SYS_WRITE, fd, content, length(content));
    CALL(SYS_CLOSE, fd);
}

static void link_file(const char *at, const char *past) {
    const char *path = take_text(&at, past), *target = take_text(&at, past);
    CALL(SYS_SYMLINKAT, target, AT_CWD, path);
}

/* As switch_root(8). */
static void change_root(const char *path) {
    need(CALL(SYS_CHDIR, path), path);
    need(CALL(SYS_MOUNT, ".", "/", 0, 8192 /* MS_MOVE */, 0), "moving the root");
    need(CALL(SYS_CHROOT, "."), path);
    need(CALL(SYS_CHDIR, "/"), path);
}

struct ifreq {
    char name[16];
    union {
        struct {
            uint16_t family, port;
            uint32_t address;
            char rest[16];
        } in;
        uint16_t flags;
        char room[24];
    } u;
};
struct rtentry {
    unsigned long pad1;
    struct {
        uint16_t family, port;
        uint32_t address;
        char rest[8];
    } to, via, mask;
    uint16_t flags;
    int16_t pad2;
    unsigned long pad3;
    void *pad4;
    int16_t metric;
    char *device;
    unsigned long mtu, window;
    uint16_t irtt;
};
enum { SIOCADDRT = 0x890b, SIOCSIFFLAGS = 0x8914, SIOCSIFADDR = 0x8916, SIOCSIFNETMASK = 0x891c };

static void set_up(long s, const char *name) {
    struct ifreq r = {.u.flags = 0x41}; /* IFF_UP, IFF_RUNNING */
    memcpy(r.name, name, length(name));
    CALL(SYS_IOCTL, s, SIOCSIFFLAGS, &r);
}

static void set_address(long s, unsigned request, uint32_t address) {
    struct ifreq r = {.name = "eth0", .u.in = {.family = 2, .address = address}};
    CALL(SYS_IOCTL, s, request, &r);
}

static void start_net(const char *at, const char *past) {
    long s = CALL(SYS_SOCKET, 2, 2 | O_CLOSE, 0);
    set_up(s, "lo");
    if (past - at == 12) {
        struct rtentry route = {.to.family = 2, .mask.family = 2, .flags = 3 /* RTF_UP, RTF_GATEWAY */};
        route.via.family = 2;
        route.via.address = number(at + 8);
        set_address(s, SIOCSIFADDR, number(at));
        set_address(s, SIOCSIFNETMASK, number(at + 4));
        set_up(s, "eth0");
        CALL(SYS_IOCTL, s, SIOCADDRT, &route);
    }
    CALL(SYS_CLOSE, s);
}

static void add_word(char **words, unsigned *count, const char *text) {
    if (*count == MAX_WORDS)
        fail(125, -E_NOMEM, "too many arguments or variables");
    words[(*count)++] = (char *)(uintptr_t)text;
}

static void set_time(const char *at) {
    long time[2] = {0, (long)number(at + 8)};
    memcpy(&time[0], at, 8);
    CALL(SYS_CLOCK_SETTIME, 0, time);
}

/* Random numbers of the kernel's are made from these from now on, too, and at once. */
static void add_entropy(const char *at, uint32_t len) {
    enum { RNDADDENTROPY = 0x40085203, RNDRESEEDCRNG = 0x5207, MOST = 256 };
    struct {
        int32_t bits, bytes;
        char data[MOST];
    } e;
    long fd = open_file("/dev/urandom", O_WRITE);
    len = len < MOST ? len : MOST;
    e.bits = (int32_t)(8 * len);
    e.bytes = (int32_t)len;
    memcpy(e.data, at, len);
    need(fd, "/dev/urandom");
    need(CALL(SYS_IOCTL, fd, RNDADDENTROPY, &e), "random numbers");
    CALL(SYS_IOCTL, fd, RNDRESEEDCRNG, 0); /* kernels that do not know that take them at once */
    CALL(SYS_CLOSE, fd);
}

/* --- the command ------------------------------------------------------------------------------ */
static void set_size(const char *at) {
    uint16_t size[4] = {(uint16_t)number(at + 4), (uint16_t)number(at)};
    if (run.terminal)
        CALL(SYS_IOCTL, run.out[1], TIOCSWINSZ, size);
}

/* Everything as a program expects it: no signal blocked or ignored. */
static void reset_signals(void) {
    uint64_t none = 0;
    struct {
        void *handler;
        unsigned long flags, mask;
    } normal = {0};
    for (int n = 1; n <= SIGNALS; n++)
        CALL(SYS_SIGACTION, n, &normal, 0, 8);
    CALL(SYS_SIGPROCMASK, 2, &none, 0, 8);
}

static long try_exec(const char *path) { return CALL(SYS_EXECVE, path, command.arg, command.env); }

/* As execvp(). */
static long execute(void) {
    const char *name = command.arg[0], *search = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
    long worst = -E_NOENT;
    for (const char *c = name; *c; c++)
        if (*c == '/')
            return try_exec(name);
    for (unsigned i = 0; i < command.envs; i++)
        if (command.env[i][0] == 'P' && command.env[i][1] == 'A' && command.env[i][2] == 'T' &&
            command.env[i][3] == 'H' && command.env[i][4] == '=')
            search = command.env[i] + 5;
    while (*search) {
        char path[4096];
        size_t n = 0, len = length(name);
        while (search[n] && search[n] != ':')
            n++;
        if (n + len + 2 <= sizeof(path)) {
            memcpy(path, search, n);
            path[n] = '/';
            memcpy(path + n + 1, name, len + 1);
            long result = try_exec(path);
            if (result != -E_NOENT)
                worst = result;
        }
        search += n + (search[n] == ':');
    }
    return worst;
}

static _Noreturn void become_command(const int ends[3], int report) {
    CALL(SYS_SETSID);
    for (int fd = 0; fd < 3; fd++)
        CALL(SYS_DUP3, ends[fd], fd, 0);
    if (run.terminal)
        CALL(SYS_IOCTL, 0, TIOCSCTTY, 0);
    reset_signals();
    int32_t error = (int32_t)CALL(SYS_CHDIR, command.cwd ? command.cwd : "/");
    if (!error)
        error = (int32_t)execute();
    CALL(SYS_WRITE, report, &error, sizeof(error));
    CALL(SYS_EXIT_GROUP, 127);
    for (;;)
        ;
}

/* ends: what the command has as 0, 1 and 2. */
static void make_pipes(int ends[3]) {
    int p[3][2];
    for (int i = 0; i < 3; i++)
        need(CALL(SYS_PIPE2, p[i], O_CLOSE), "a pipe");
    run.in = p[0][1];
    run.out[1] = p[1][0];
    run.out[2] = p[2][0];
    ends[0] = p[0][0];
    ends[1] = p[1][1];
    ends[2] = p[2][1];
    CALL(SYS_FCNTL, run.in, 4 /* F_SETFL */, O_NO_WAIT);
}

static void make_terminal(int ends[3], const char *at) {
    int zero = 0;
    long master = open_file("/dev/ptmx", O_BOTH | O_NO_TERMINAL | O_NO_WAIT);
    need(master, "/dev/ptmx");
    need(CALL(SYS_IOCTL, master, TIOCSPTLCK, &zero), "a terminal");
    long peer = CALL(SYS_IOCTL, master, TIOCGPTPEER, O_BOTH | O_NO_TERMINAL | O_CLOSE);
    need(peer, "a terminal");
    run.terminal = 1;
    run.in = run.out[1] = (int)master;
    ends[0] = ends[1] = ends[2] = (int)peer;
    set_size(at + 4);
}

static void start_command(const char *at) {
    uint64_t children = 1u << (SIGNAL_CHILD - 1);
    int ends[3], report[2];
    int32_t error;
    if (number(at))
        make_terminal(ends, at);
    else
        make_pipes(ends);
    need(CALL(SYS_PIPE2, report, O_CLOSE), "a pipe");
    CALL(SYS_SIGPROCMASK, 0, &children, 0, 8);
    run.signals = (int)CALL(SYS_SIGNALFD4, -1, &children, 8, O_CLOSE | O_NO_WAIT);
    run.pid = CALL(SYS_CLONE, SIGNAL_CHILD, 0, 0, 0, 0);
    if (run.pid == 0)
        become_command(ends, report[1]);
    need(run.pid, "a process");
    CALL(SYS_CLOSE, report[1]);
    for (int fd = 0; fd < (run.terminal ? 1 : 3); fd++)
        CALL(SYS_CLOSE, ends[fd]);
    if (CALL(SYS_READ, report[0], &error, sizeof(error)) ==
        (long)sizeof(error)) /* it is closed when the command has begun */
        fail(error == -E_NOENT ? 127 : 126, error, command.arg[0]);
    CALL(SYS_CLOSE, report[0]);
    run.credit[1] = run.credit[2] = AGENT_WINDOW;
}

/* --- while it runs ---------------------------------------------------------------------------- */
static void close_out(int stream) {
    CALL(SYS_CLOSE, run.out[stream]);
    run.out[stream] = -1;
}

/* At most as many bytes as there is credit for. */
static void pass_output(int stream) {
    static char piece[AGENT_PIECE];
    uint32_t len = run.credit[stream] < sizeof(piece) ? run.credit[stream] : (uint32_t)sizeof(piece),
             number = (uint32_t)stream;
    long n = CALL(SYS_READ, run.out[stream], piece, len);
    if (n > 0) {
        run.credit[stream] -= (uint32_t)n;
        say(AGENT_OUTPUT, &number, 1, piece, (uint32_t)n);
    } else if (n != -E_AGAIN &&
               n != -E_INTR) { /* all who could write there have ended; a terminal says that by an error */
        close_out(stream);
    }
}

static void close_input(void) {
    static const char end_of_file = 4; /* Ctrl-D */
    if (run.in >= 0 && run.terminal)
        CALL(SYS_WRITE, run.in, &end_of_file, 1);
    else if (run.in >= 0)
        CALL(SYS_CLOSE, run.in);
    run.in = -1;
    run.input_len = 0;
}

static void pass_input(void) {
    long n = CALL(SYS_WRITE, run.in, run.input, run.input_len);
    if (n > 0) {
        uint32_t credit[2] = {0, (uint32_t)n};
        run.input_len -= (uint32_t)n;
        for (uint32_t i = 0; i < run.input_len; i++)
            run.input[i] = run.input[(uint32_t)n + i];
        say(AGENT_CREDIT, credit, 2, NULL, 0);
    } else if (n != -E_AGAIN && n != -E_INTR) {
        close_input();
    }
    if (!run.input_len && run.input_over)
        close_input();
}

static void take_input(const char *data, uint32_t len) {
    if (run.in < 0 || len > sizeof(run.input) - run.input_len)
        return;
    memcpy(run.input + run.input_len, data, len);
    run.input_len += len;
}

/* Whoever is left when the command has ended ends with it. */
static void reap(void) {
    char drop[128];
    int status;
    long pid;
    while (CALL(SYS_READ, run.signals, drop, sizeof(drop)) > 0)
        ;
    while ((pid = CALL(SYS_WAIT4, -1, &status, 1 /* WNOHANG */, 0)) > 0) {
        if (pid != run.pid || run.ended)
            continue;
        run.ended = 1;
        run.status = (uint32_t)(status & 0x7f ? 128 + (status & 0x7f) : status >> 8 & 0xff);
        CALL(SYS_KILL, -1, SIGNAL_KILL);
    }
}

static void send_signal(uint32_t signal) {
    if (run.pid && !run.ended && signal && signal <= SIGNALS)
        CALL(SYS_KILL, -run.pid, signal); /* the whole group, as a terminal does it */
}

static void obey(const struct agent_frame *f, const char *at) {
    const char *past = at + f->bytes;
    switch (f->type) {
    case AGENT_FOLDER: make_folders(take_text(&at, past)); break;
    case AGENT_MOUNT: mount(at, past); break;
    case AGENT_FILE: write_file(at, past); break;
    case AGENT_LINK: link_file(at, past); break;
    case AGENT_NET: start_net(at, past); break;
    case AGENT_ROOT: change_root(take_text(&at, past)); break;
    case AGENT_CWD: command.cwd = take_text(&at, past); break;
    case AGENT_ENV: add_word(command.env, &command.envs, take_text(&at, past)); break;
    case AGENT_ARG: add_word(command.arg, &command.args, take_text(&at, past)); break;
    case AGENT_TIME: set_time(at); break;
    case AGENT_ENTROPY: add_entropy(at, f->bytes); break;
    case AGENT_START: start_command(at); break;
    case AGENT_INPUT: take_input(at, f->bytes); break;
    case AGENT_INPUT_END: run.input_over = 1; break;
    case AGENT_SIGNAL: send_signal(number(at)); break;
    case AGENT_SIZE: set_size(at); break;
    case AGENT_DEAF:
        if ((number(at) == 1 || number(at) == 2) && run.out[number(at)] >= 0)
            close_out((int)number(at));
        break;
    case AGENT_CREDIT:
        if (number(at) == 1 || number(at) == 2)
            run.credit[number(at)] += number(at + 4);
        break;
    default: fail(125, -E_PROTO, "the agent was told something that it does not know");
    }
}

/* What is kept of a frame lies there for good; the others have one place. */
static void take_frame(void) {
    static char *scratch;
    struct agent_frame f;
    read_all(&f, sizeof(f));
    int kept = f.type == AGENT_CWD || f.type == AGENT_ENV || f.type == AGENT_ARG;
    if (!scratch)
        scratch = allocate(AGENT_MAX_BYTES + 16);
    char *data = kept ? allocate(f.bytes + 16) : scratch;
    if (f.bytes > AGENT_MAX_BYTES || !data)
        fail(125, -E_NOMEM, "the agent");
    read_all(data, f.bytes);
    memset(data + f.bytes, 0, 16);
    obey(&f, data);
}

struct pollfd {
    int fd;
    short events, revents;
};
enum { IN = 1, OUT = 4 };

static int want(struct pollfd *p, int fd, short events) {
    *p = (struct pollfd){.fd = events ? fd : -1, .events = events};
    return events != 0;
}

static void attend(void) {
    struct pollfd p[5];
    want(&p[0], channel, IN);
    want(&p[1], run.signals, IN);
    want(&p[2], run.out[1], run.out[1] >= 0 && run.credit[1] ? IN : 0);
    want(&p[3], run.out[2], run.out[2] >= 0 && run.credit[2] ? IN : 0);
    want(&p[4], run.in, run.in >= 0 && (run.input_len || run.input_over) ? OUT : 0);
    if (CALL(SYS_PPOLL, p, 5, 0, 0, 8) < 0)
        return;
    if (p[1].revents)
        reap();
    if (p[2].revents)
        pass_output(1);
    if (p[3].revents)
        pass_output(2);
    if (p[4].revents && run.in >= 0)
        pass_input();
    if (p[0].revents)
        take_frame();
}

__attribute__((used)) void agent_main(void) {
    uint32_t version = AGENT_VERSION;
    CALL(SYS_MKDIRAT, AT_CWD, "/dev", 0755);
    CALL(SYS_MOUNT, "dev", "/dev", "devtmpfs", 0, 0);
    load_modules();
    open_channel();
    say(AGENT_HELLO, &version, 1, NULL, 0);
    while (!run.pid)
        take_frame();
    while (!run.ended || run.out[1] >= 0 || run.out[2] >= 0)
        attend();
    CALL(SYS_SYNC);
    say(AGENT_EXIT, &run.status, 1, NULL, 0);
    finish();
}

__asm__(".globl _start\n_start:\n" SYS_START);
