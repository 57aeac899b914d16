/* SPDX-License-Identifier: Apache-2.0
 * Copyright The Graft Authors */
/* gdb.c: see gdb.h. Packets are named as in GDB's manual, appendix E. */
#include "hypervisor/gdb.h"
#include "graft/guest.h"
#include "hypervisor/gdb_packet.h"
#include "hypervisor/stream.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define ALL_THREADS ~0u
#define SIGNAL_INT 2
#define SIGNAL_TRAP 5
#define MEMORY_MAX (GDB_PACKET / 2 - 16) /* bytes of memory in one packet */

struct point {
    unsigned kind; /* of Z packets: 0 and 1 breakpoints, 2 writes, 3 reads, 4 both */
    uint64_t address, len;
};
#define POINTS (ABI_BREAKPOINTS + ABI_WATCHPOINTS)

static struct gdb {
    struct stream *stream;
    struct machine *machine;
    struct gdb_parser in;
    bool connected, no_ack;
    bool waits;            /* for the reply that something has stopped */
    bool interrupted;      /* it has asked for that */
    bool physical;         /* addresses are, in packets about memory */
    unsigned general, run; /* vCPUs: of Hg and Hc; run may be ALL_THREADS */
    unsigned stopped;      /* that the last reply was about */
    struct point point[POINTS];
    unsigned points;
    char *description; /* target.xml */
    char reply[GDB_PACKET + 1];
    size_t reply_len;
    char frame[2 * GDB_PACKET + 8];
    size_t frame_len;
} g;

static const struct guest_debug *guest(void) { return guest_table[g.machine->boot->guest]->debug; }

/* --- replies ---------------------------------------------------------------------------------- */
static void send_bytes(const char *text, size_t len) {
    g.frame_len = gdb_frame(g.frame, text, len);
    stream_write(g.stream, g.frame, g.frame_len);
}

static void send_text(const char *text) { send_bytes(text, strlen(text)); }

static void send_error(unsigned number) {
    char text[8];
    snprintf(text, sizeof(text), "E%02x", number & 255);
    send_text(text);
}

static void send_done(bool ok) {
    if (ok)
        send_text("OK");
    else
        send_error(1);
}

__attribute__((format(printf, 1, 2))) static void add(const char *fmt, ...) {
    va_list ap;
    va_start(ap, fmt);
    int n = vsnprintf(g.reply + g.reply_len, sizeof(g.reply) - g.reply_len, fmt, ap);
    va_end(ap);
    size_t room = sizeof(g.reply) - 1 - g.reply_len;
    g.reply_len += n < 0 ? 0 : (size_t)n < room ? (size_t)n : room;
}

static void send_reply(void) {
    send_bytes(g.reply, g.reply_len);
    g.reply_len = 0;
}

/* --- the machine ------------------------------------------------------------------------------ */
static unsigned vcpus(void) { return g.machine->vcpu_count; }

/* What it is to look for, as the engine is told. */
static void set_points(void) {
    struct abi_debug *d = &g.machine->shared->debug;
    struct abi_debug now = {0};
    for (unsigned i = 0; i < g.points; i++) {
        const struct point *p = &g.point[i];
        if (p->kind < 2)
            now.breakpoint[now.breakpoints++] = p->address;
        else
            now.watchpoint[now.watchpoints++] =
                (struct abi_watch){.va = p->address, .bytes = p->len, .read = p->kind != 2, .write = p->kind != 3};
    }
    *d = now;
}

static unsigned count_points(bool watch) {
    unsigned n = 0;
    for (unsigned i = 0; i < g.points; i++)
        n += (g.point[i].kind >= 2) == watch;
    return n;
}

static struct point *find_point(unsigned kind, uint64_t address, uint64_t len) {
    for (unsigned i = 0; i < g.points; i++)
        if (g.point[i].kind == kind && g.point[i].address == address && (kind < 2 || g.point[i].len == len))
            return &g.point[i];
    return NULL;
}

static bool add_point(unsigned kind, uint64_t address, uint64_t len) {
    bool watch = kind >= 2;
    if (find_point(kind, address, len))
        return true;
    if (count_points(watch) == (watch ? ABI_WATCHPOINTS : ABI_BREAKPOINTS) || (watch && !len))
        return false;
    g.point[g.points++] = (struct point){kind, address, len};
    return true;
}

static void drop_point(unsigned kind, uint64_t address, uint64_t len) {
    struct point *p = find_point(kind, address, len);
    if (p)
        *p = g.point[--g.points];
}

/* Every order needs all vCPUs to be held: a client that asks too early gets an error. */
static bool held(void) { return !g.waits && pause_is_held(g.machine); }

static void go(uint32_t run, uint32_t step) {
    set_points();
    g.waits = true;
    pause_go(g.machine, run, step);
}

/* --- why it has stopped ----------------------------------------------------------------------- */
static const struct point *watchpoint(uint64_t number) {
    for (unsigned i = 0; i < g.points; i++)
        if (g.point[i].kind >= 2 && !number--)
            return &g.point[i];
    return NULL;
}

static uint64_t pc_of(unsigned vcpu) {
    uint64_t value[2] = {0};
    pause_ask(g.machine, vcpu, ABI_ORDER_READ_REGISTER, guest()->pc, value);
    return value[0];
}

static void add_reason(unsigned vcpu, enum abi_held why, uint64_t va, uint64_t number) {
    const struct point *w = watchpoint(number);
    if (why == ABI_HELD_BREAKPOINT)
        add("%s:;", find_point(1, pc_of(vcpu), 0) ? "hwbreak" : "swbreak");
    else if (why >= ABI_HELD_READ && why <= ABI_HELD_WRITE && w)
        add("%s:%" PRIx64 ";", w->kind == 2 ? "watch" : w->kind == 3 ? "rwatch" : "awatch", va);
}

/* The vCPU that has come to something, or else the one that was stopped last. */
static void send_stop(void) {
    uint64_t va = 0, number = 0;
    enum abi_held why = ABI_HELD_ASKED;
    unsigned vcpu = g.stopped < vcpus() ? g.stopped : 0;
    for (unsigned i = 0; i < vcpus() && why == ABI_HELD_ASKED; i++)
        if ((why = pause_why(g.machine, i, &va, &number)) != ABI_HELD_ASKED)
            vcpu = i;
    g.stopped = g.general = vcpu;
    g.run = ALL_THREADS;
    add("T%02xthread:%x;", why == ABI_HELD_ASKED && g.interrupted ? SIGNAL_INT : SIGNAL_TRAP, vcpu + 1);
    add_reason(vcpu, why, va, number);
    g.waits = g.interrupted = false;
    send_reply();
}

static void on_held(struct machine *m, bool held, void *arg) {
    if (held && g.connected && g.waits)
        send_stop();
}

/* --- registers -------------------------------------------------------------------------------- */
static bool get_reg(unsigned vcpu, unsigned n, uint8_t bytes[16]) {
    uint64_t value[2] = {0};
    bool ok = pause_ask(g.machine, vcpu, ABI_ORDER_READ_REGISTER, n, value);
    memcpy(bytes, value, sizeof(value));
    return ok;
}

static bool set_reg(unsigned vcpu, unsigned n, const char *digits) {
    uint64_t value[2] = {0};
    return gdb_unhex((uint8_t *)value, digits, guest()->regs[n].bits / 8) &&
           pause_ask(g.machine, vcpu, ABI_ORDER_WRITE_REGISTER, n, value);
}

static void add_reg(unsigned n) {
    uint8_t bytes[16];
    unsigned len = guest()->regs[n].bits / 8;
    if (g.reply_len + 2 * len > GDB_PACKET)
        return;
    bool ok = get_reg(g.general, n, bytes);
    if (ok)
        gdb_put_hex(g.reply + g.reply_len, bytes, len);
    else
        memset(g.reply + g.reply_len, 'x', 2 * (size_t)len);
    g.reply_len += 2 * (size_t)len;
}

static void read_general(void) {
    for (unsigned n = 0; n < guest()->general; n++)
        add_reg(n);
    send_reply();
}

static void write_general(const char *digits) {
    size_t left = strlen(digits);
    bool ok = true;
    for (unsigned n = 0; n < guest()->general && ok && left; n++) {
        size_t len = guest()->regs[n].bits / 4;
        ok = left >= len && set_reg(g.general, n, digits);
        digits += len;
        left -= len;
    }
    send_done(ok);
}

static void read_reg(const char *args) {
    uint64_t n;
    if (gdb_hex(&args, &n) && n < guest()->reg_count)
        add_reg((unsigned)n);
    if (g.reply_len)
        send_reply();
    else
        send_error(1);
}

static void write_reg(const char *args) {
    uint64_t n;
    bool ok = gdb_hex(&args, &n) && *args++ == '=' && n < guest()->reg_count;
    send_done(ok && strlen(args) == guest()->regs[n].bits / 4u && set_reg(g.general, (unsigned)n, args));
}

/* --- memory ----------------------------------------------------------------------------------- */
/* How much of len bytes at address lie at *gpa, one behind the other. 0: there is nothing. */
static uint64_t piece(uint64_t address, uint64_t len, uint64_t *gpa) {
    uint64_t left = PAGE_SIZE - (address & PAGE_MASK), value[2] = {0};
    *gpa = address;
    if (!g.physical) {
        if (!pause_ask(g.machine, g.general, ABI_ORDER_TRANSLATE, address, value))
            return 0;
        *gpa = value[0];
    }
    return left < len ? left : len;
}

/* How many bytes could be read: up to the first that is not memory. Devices are not touched. */
static size_t read_memory(uint64_t address, uint8_t *to, size_t len) {
    size_t done = 0;
    while (done < len) {
        uint64_t gpa, n = piece(address + done, len - done, &gpa);
        const void *from = n ? guest_ram(g.machine, gpa, n) : NULL;
        if (!from)
            break;
        memcpy(to + done, from, n);
        done += n;
    }
    return done;
}

static bool write_memory(uint64_t address, const uint8_t *from, size_t len) {
    while (len) {
        uint64_t gpa, n = piece(address, len, &gpa);
        void *to = n ? guest_ram_write_begin(g.machine, gpa, n) : NULL;
        if (!to)
            return false;
        memcpy(to, from, n);
        guest_ram_write_end(g.machine, gpa, n);
        address += n;
        from += n;
        len -= n;
    }
    return true;
}

/* ADDRESS,LENGTH; what follows is left in *args. */
static bool take_range(const char **args, uint64_t *address, uint64_t *len) {
    return gdb_hex(args, address) && *(*args)++ == ',' && gdb_hex(args, len);
}

static void send_memory(const char *args, bool binary) {
    static uint8_t bytes[MEMORY_MAX];
    uint64_t address, len;
    bool ok = take_range(&args, &address, &len) && !*args;
    size_t got = ok ? read_memory(address, bytes, len < MEMORY_MAX ? len : MEMORY_MAX) : 0;
    if (!ok || (!got && len)) {
        send_error(14); /* EFAULT */
        return;
    }
    if (binary) {
        add("b");
        memcpy(g.reply + g.reply_len, bytes, got);
        g.reply_len += got;
    } else {
        g.reply_len = (size_t)(gdb_put_hex(g.reply, bytes, got) - g.reply);
    }
    send_reply();
}

static void take_memory(const char *args, const char *end, bool binary) {
    static uint8_t bytes[GDB_PACKET];
    uint64_t address, len;
    bool ok = take_range(&args, &address, &len) && *args++ == ':';
    size_t given = ok ? (size_t)(end - args) : 0;
    ok = ok && len == (binary ? given : given / 2) && len <= sizeof(bytes);
    if (ok && binary)
        memcpy(bytes, args, len);
    else
        ok = ok && gdb_unhex(bytes, args, len);
    send_done(ok && write_memory(address, bytes, len));
}

/* --- target description ----------------------------------------------------------------------- */
static char *describe(void) {
    const struct guest_debug *d = guest();
    char *text = NULL;
    size_t len;
    FILE *f = open_memstream(&text, &len);
    if (!f)
        return NULL;
    fprintf(f,
            "<?xml version=\"1.0\"?><!DOCTYPE target SYSTEM \"gdb-target.dtd\"><target "
            "version=\"1.0\"><architecture>%s</architecture>",
            d->architecture);
    for (unsigned i = 0; i < d->feature_count; i++) {
        fprintf(f, "<feature name=\"%s\">%s", d->features[i].name, d->features[i].types);
        for (unsigned n = 0; n < d->reg_count; n++)
            if (d->regs[n].feature == i)
                fprintf(f, "<reg name=\"%s\" bitsize=\"%u\" type=\"%s\" regnum=\"%u\"%s/>", d->regs[n].name,
                        d->regs[n].bits, d->regs[n].type, n, n >= d->general ? " save-restore=\"no\"" : "");
        fputs("</feature>", f);
    }
    fputs("</target>", f);
    return fclose(f) ? NULL : text;
}

static void send_description(const char *range) {
    uint64_t offset, len;
    if (!g.description)
        g.description = describe();
    if (!g.description || !take_range(&range, &offset, &len)) {
        send_error(1);
        return;
    }
    size_t all = strlen(g.description), left = offset < all ? all - offset : 0;
    size_t n = len < left ? len : left;
    n = n < GDB_PACKET / 2 ? n : GDB_PACKET / 2; /* escapes */
    add("%c", n < left ? 'm' : 'l');
    memcpy(g.reply + g.reply_len, g.description + (left ? offset : 0), n);
    g.reply_len += n;
    send_reply();
}

/* --- threads ---------------------------------------------------------------------------------- */
/* -1: all; 0: any. */
static bool take_thread(const char **args, unsigned *vcpu) {
    uint64_t n;
    if (!strncmp(*args, "-1", 2)) {
        *args += 2;
        *vcpu = ALL_THREADS;
        return true;
    }
    if (!gdb_hex(args, &n) || n > vcpus())
        return false;
    *vcpu = n ? (unsigned)n - 1 : g.stopped;
    return true;
}

static void set_thread(const char *args) {
    char which = *args++;
    unsigned vcpu;
    if ((which != 'g' && which != 'c') || !take_thread(&args, &vcpu)) {
        send_error(1);
        return;
    }
    if (which == 'c')
        g.run = vcpu;
    else
        g.general = vcpu == ALL_THREADS ? g.stopped : vcpu;
    send_text("OK");
}

static void list_threads(void) {
    for (unsigned i = 0; i < vcpus(); i++)
        add("%c%x", i ? ',' : 'm', i + 1);
    send_reply();
}

static void describe_thread(const char *args) {
    unsigned vcpu;
    char text[32];
    if (!take_thread(&args, &vcpu) || vcpu == ALL_THREADS) {
        send_error(1);
        return;
    }
    int n = snprintf(text, sizeof(text), "vCPU %u", vcpu);
    g.reply_len = (size_t)(gdb_put_hex(g.reply, text, (size_t)n) - g.reply);
    send_reply();
}

/* --- going on --------------------------------------------------------------------------------- */
static uint32_t bit_of(unsigned vcpu) { return vcpu == ALL_THREADS ? ~0u : 1u << vcpu; }

/* vCont;ACTION[:THREAD]...: for each vCPU the first action that names it. */
static void go_each(const char *args) {
    uint32_t run = 0, step = 0, named = 0;
    while (*args == ';') {
        char action = args[1];
        uint64_t signal;
        unsigned vcpu = ALL_THREADS;
        args += 2;
        if ((action == 'C' || action == 'S') && !gdb_hex(&args, &signal))
            break;
        if (*args == ':') {
            args++;
            if (!take_thread(&args, &vcpu))
                break;
        }
        uint32_t now = bit_of(vcpu) & ~named;
        named |= now;
        if (action == 's' || action == 'S')
            step |= now;
        else if (action == 'c' || action == 'C')
            run |= now;
        else
            break;
    }
    uint32_t all = (1u << vcpus()) - 1;
    if (*args || !((run | step) & all))
        send_error(1);
    else
        go(run & all, step & all);
}

/* c and s, with an address where to go on. */
static void go_simply(const char *args, bool step) {
    uint64_t value[2] = {0};
    bool ok = !*args || (gdb_hex(&args, &value[0]) &&
                         pause_ask(g.machine, g.general, ABI_ORDER_WRITE_REGISTER, guest()->pc, value));
    if (!ok)
        send_error(1);
    else if (step)
        go(0, bit_of(g.run == ALL_THREADS ? g.general : g.run));
    else
        go(~0u, 0);
}

static void leave(void) {
    g.points = 0;
    g.waits = g.physical = false;
    g.general = g.stopped = 0;
    g.run = ALL_THREADS;
    if (!g.machine)
        return;
    set_points();
    pause_continue(g.machine);
}

static void take_point(const char *args, bool wanted) {
    uint64_t kind = (uint64_t)(*args - '0'), address, len;
    const char *at = *args ? args + 1 : args;
    if (!*args || *at++ != ',' || kind > 4) {
        send_text("");
        return;
    }
    bool ok = take_range(&at, &address, &len);
    if (ok && wanted)
        ok = add_point((unsigned)kind, address, len);
    else if (ok)
        drop_point((unsigned)kind, address, len);
    send_done(ok);
}

/* --- queries ---------------------------------------------------------------------------------- */
/* "monitor ...": the output in pieces, as many as it takes. */
static void run_command(const char *digits) {
    static char line[256];
    size_t len = strlen(digits) / 2;
    if (len >= sizeof(line) || !gdb_unhex((uint8_t *)line, digits, len)) {
        send_error(1);
        return;
    }
    line[len] = 0;
    char *text = command_run(g.machine, g.general, line);
    for (size_t at = 0, all = text ? strlen(text) : 0, n; at < all; at += n) {
        n = all - at < MEMORY_MAX ? all - at : MEMORY_MAX;
        add("O");
        g.reply_len = (size_t)(gdb_put_hex(g.reply + 1, text + at, n) - g.reply);
        send_reply();
    }
    free(text);
    send_text("OK");
}

static bool begins(const char *text, const char *with, const char **rest) {
    size_t len = strlen(with);
    *rest = text + len;
    return !strncmp(text, with, len);
}

static void query(const char *text) {
    const char *rest;
    if (begins(text, "Supported", &rest))
        add("PacketSize=%x;QStartNoAckMode+;qXfer:features:read+;vContSupported+;swbreak+;hwbreak+;binary-upload+",
            GDB_PACKET - 1);
    else if (!strcmp(text, "C"))
        add("QC%x", g.stopped + 1);
    else if (!strcmp(text, "Attached") || begins(text, "Attached:", &rest))
        add("1");
    else if (!strcmp(text, "sThreadInfo"))
        add("l");
    else if (!strcmp(text, "qemu.PhyMemMode"))
        add("%d", g.physical);
    send_reply(); /* else it is empty: not supported */
}

static void on_query(const char *text) {
    const char *rest;
    if (begins(text, "Xfer:features:read:target.xml:", &rest))
        send_description(rest);
    else if (!strcmp(text, "fThreadInfo"))
        list_threads();
    else if (begins(text, "ThreadExtraInfo,", &rest))
        describe_thread(rest);
    else if (begins(text, "Rcmd,", &rest))
        run_command(rest);
    else
        query(text);
}

static void on_setting(const char *text) {
    const char *rest;
    if (!strcmp(text, "StartNoAckMode")) {
        send_text("OK");
        g.no_ack = true;
    } else if (begins(text, "qemu.PhyMemMode:", &rest)) {
        g.physical = *rest == '1';
        send_text("OK");
    } else {
        send_text("");
    }
}

/* --- packets ---------------------------------------------------------------------------------- */
static void on_verbose(const char *text) {
    const char *rest;
    if (!strcmp(text, "Cont?"))
        send_text("vCont;c;C;s;S");
    else if (begins(text, "Cont", &rest))
        go_each(rest);
    else if (begins(text, "Kill;", &rest)) {
        send_text("OK");
        supervise_stop(0);
    } else
        send_text("");
}

static void is_alive(const char *args) {
    unsigned vcpu;
    send_done(take_thread(&args, &vcpu));
}

static void on_command(const char *text, size_t len) {
    const char *args = text + (len > 0);
    switch (*text) {
    case '?':
        g.waits = true;
        if (pause_is_held(g.machine))
            send_stop();
        break;
    case 'g': read_general(); break;
    case 'G': write_general(args); break;
    case 'p': read_reg(args); break;
    case 'P': write_reg(args); break;
    case 'm': send_memory(args, false); break;
    case 'x': send_memory(args, true); break;
    case 'M': take_memory(args, text + len, false); break;
    case 'X': take_memory(args, text + len, true); break;
    case 'Z': take_point(args, true); break;
    case 'z': take_point(args, false); break;
    case 'H': set_thread(args); break;
    case 'T': is_alive(args); break;
    case 'c': go_simply(args, false); break;
    case 's': go_simply(args, true); break;
    case 'v': on_verbose(args); break;
    case 'q': on_query(args); break;
    case 'Q': on_setting(args); break;
    case 'D':
        send_text("OK");
        leave();
        break;
    case 'k': supervise_stop(0); break;
    default: send_text("");
    }
}

/* While the machine runs there is nothing to ask of it. The connection may come before the machine has stopped: what
 * comes then waits for the first reply, so GDB does not ask either. */
static void on_packet(const char *text, size_t len) {
    bool anytime = strchr("qQvHT?kD", *text) && *text;
    if (anytime ? !(*text == 'v' && !strncmp(text, "vCont;", 6)) || held() : held())
        on_command(text, len);
    else
        send_error(16); /* EBUSY */
}

static void on_byte(uint8_t byte) {
    enum gdb_event event = gdb_parse(&g.in, byte);
    if (!g.no_ack && (event == GDB_COMMAND || event == GDB_BAD))
        stream_write(g.stream, event == GDB_COMMAND ? "+" : "-", 1);
    if (event == GDB_COMMAND)
        on_packet(g.in.text, g.in.len);
    else if (event == GDB_RESEND && !g.no_ack)
        stream_write(g.stream, g.frame, g.frame_len);
    else if (event == GDB_INTERRUPT) {
        g.interrupted = true;
        pause_hold(g.machine);
    }
}

static void on_data(void *arg, const uint8_t *data, size_t len) {
    for (; len && g.connected && g.machine; len--)
        on_byte(*data++);
}

static void on_opened(void *arg) {
    g.in.state = GDB_OUTSIDE;
    g.no_ack = g.waits = g.physical = g.interrupted = false;
    g.frame_len = 0;
    g.general = g.stopped = 0;
    g.run = ALL_THREADS;
    g.connected = true;
    pause_hold(g.machine);
}

static void on_closed(void *arg) {
    g.connected = false;
    leave();
}

/* --- the run ---------------------------------------------------------------------------------- */
bool gdb_open(const struct options *o, char err[ERR_BYTES]) {
    static const struct stream_ops ops = {on_opened, on_data, on_closed};
    if (!o->gdb)
        return true;
    g.run = ALL_THREADS;
    return (g.stream = stream_open("--gdb", o->gdb, &ops, NULL, err)) != NULL;
}

bool gdb_attach(struct machine *m) {
    if (!g.stream)
        return true;
    g.machine = m;
    if (m) {
        pause_listen(m, on_held, NULL);
        set_points();
        if (g.connected && !g.waits) /* it was stopped when it was reset */
            pause_hold(m);
    }
    return stream_attach(g.stream, m);
}

void gdb_ended(int status) {
    if (!g.stream)
        return;
    if (g.connected) {
        add("W%02x", (unsigned)status & 255);
        send_reply();
    }
    stream_close(g.stream);
    free(g.description);
    g = (struct gdb){0};
}
