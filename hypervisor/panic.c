/* SPDX-License-Identifier: Apache-2.0
 * Copyright The Graft Authors */
/*
 * panic.c: notices that the guest's Linux has panicked, from what it prints on its consoles.
 *
 * The line alone does not tell: a guest may show the log of another. A panic it is if, within as many lines as a report
 * has, either the last one comes ("---[ end Kernel panic ...") and nothing after it for a while, or the machine is
 * reset.
 */
#include "hypervisor/vmcore.h"

#include <string.h>

#define REPORT_LINES 100
#define QUIET_NS UINT64_C(1000000000)

static bool starts(const char *text, const char *with) { return !strncmp(text, with, strlen(with)); }

/* A line without the time, and the thread, that the kernel puts in front of it. */
static const char *after_prefix(const char *text) {
    while (*text == '[') {
        const char *end = strchr(text, ']');
        if (!end)
            break;
        text = end + 1;
        while (*text == ' ')
            text++;
    }
    return text;
}

static void found(struct machine *m) {
    bool pause = m->options->on_panic == PANIC_PAUSE;
    if (m->state == MACHINE_RUNNING)
        log_printf("graft: the guest's kernel has panicked%s\n", pause ? "; it is held as it is until you end it" : "");
    m->panic.found = true;
    machine_stop(m, m->options->on_panic == PANIC_REBOOT ? MACHINE_RESET : MACHINE_PANICKED);
}

static void on_quiet(void *arg) {
    struct machine *m = arg;
    if (m->panic.ended)
        found(m);
}

static void end_line(struct machine *m, struct console_line *l) {
    struct panic *p = &m->panic;
    l->text[l->len] = 0;
    l->len = 0;
    const char *text = after_prefix(l->text);
    if (starts(text, "Kernel panic - not syncing")) {
        if (!p->lines)
            vmcore_request(m);
        p->lines = REPORT_LINES;
    } else if (p->lines && starts(text, "---[ end Kernel panic - not syncing")) {
        p->ended = true;
        event_set_timer(&p->quiet, event_now_ns() + QUIET_NS);
    } else if (p->lines) {
        p->lines--;
    }
}

void panic_look(struct machine *m, struct console_line *l, const uint8_t *buf, size_t len) {
    for (; len; len--, buf++) {
        if (*buf == '\n') {
            end_line(m, l);
        } else if (*buf != '\r') {
            m->panic.ended = false;
            if (l->len < sizeof(l->text) - 1)
                l->text[l->len++] = (char)*buf;
        }
    }
}

void panic_start(struct machine *m) { event_add_timer(m, &m->panic.quiet, on_quiet, m); }

void panic_reset(struct machine *m) {
    machine_lock(m);
    machine_drain_posted(m); /* what the kernel has printed last */
    bool panicked = m->panic.lines > 0;
    machine_unlock(m);
    if (panicked)
        found(m);
    else
        machine_stop(m, MACHINE_RESET);
}
