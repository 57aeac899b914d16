/* SPDX-License-Identifier: Apache-2.0
 * Copyright The Graft Authors */
/* command.c: what people type to a running machine. See gdb.h. */
#include "graft/guest.h"
#include "hypervisor/gdb.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void help(FILE *f, struct machine *m, unsigned vcpu);

static void info_status(FILE *f, struct machine *m, unsigned vcpu) {
    fprintf(f, "VM status: %s\n", pause_is_held(m) ? "paused" : "running");
}

static void info_version(FILE *f, struct machine *m, unsigned vcpu) { fputs("graft " GRAFT_VERSION "\n", f); }

static bool get_reg(struct machine *m, unsigned vcpu, unsigned n, uint64_t value[2]) {
    value[0] = value[1] = 0;
    return pause_ask(m, vcpu, ABI_ORDER_READ_REGISTER, n, value);
}

static const struct guest_debug *debug_of(const struct machine *m) { return guest_table[m->boot->guest]->debug; }

static bool is_held(FILE *f, struct machine *m) {
    bool held = pause_is_held(m);
    if (!held)
        fputs("the machine is running: stop it first\n", f);
    return held;
}

static void info_cpus(FILE *f, struct machine *m, unsigned vcpu) {
    uint64_t value[2];
    for (unsigned i = 0; is_held(f, m) && i < m->vcpu_count; i++)
        if (get_reg(m, i, debug_of(m)->pc, value))
            fprintf(f, "%c CPU #%u: pc=%016llx\n", i == vcpu ? '*' : ' ', i, (unsigned long long)value[0]);
}

static void info_registers(FILE *f, struct machine *m, unsigned vcpu) {
    const struct guest_debug *d = debug_of(m);
    uint64_t value[2];
    if (!is_held(f, m))
        return;
    for (unsigned n = 0; n < d->reg_count && get_reg(m, vcpu, n, value); n++)
        if (d->regs[n].bits > 64)
            fprintf(f, "%-18s %016llx%016llx\n", d->regs[n].name, (unsigned long long)value[1],
                    (unsigned long long)value[0]);
        else
            fprintf(f, "%-18s %0*llx\n", d->regs[n].name, d->regs[n].bits / 4, (unsigned long long)value[0]);
}

static void reset(FILE *f, struct machine *m, unsigned vcpu) { machine_stop(m, MACHINE_RESET); }
static void quit(FILE *f, struct machine *m, unsigned vcpu) { supervise_stop(0); }

static const struct command {
    const char *name, *what;
    void (*run)(FILE *f, struct machine *m, unsigned vcpu);
} commands[] = {
    {"help", "this", help},
    {"info status", "does the machine run?", info_status},
    {"info cpus", "where each processor is", info_cpus},
    {"info registers", "of one processor", info_registers},
    {"info version", "of Graft", info_version},
    {"system_reset", "resets the machine; also: reset", reset},
    {"reset", NULL, reset},
    {"quit", "ends the run", quit},
};

static void help(FILE *f, struct machine *m, unsigned vcpu) {
    for (const struct command *c = commands; c < commands + ARRAY_LEN(commands); c++)
        if (c->what)
            fprintf(f, "%-16s %s\n", c->name, c->what);
}

char *command_run(struct machine *m, unsigned vcpu, const char *line) {
    char *text = NULL;
    size_t len;
    FILE *f = open_memstream(&text, &len);
    if (!f)
        return NULL;
    const struct command *c = commands;
    while (c < commands + ARRAY_LEN(commands) && strcmp(c->name, line))
        c++;
    if (c < commands + ARRAY_LEN(commands))
        c->run(f, m, vcpu);
    else
        fprintf(f, "unknown command: '%s'; there is help\n", line);
    return fclose(f) ? NULL : text;
}
