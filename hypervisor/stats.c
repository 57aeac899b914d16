/* SPDX-License-Identifier: Apache-2.0
 * Copyright The Graft Authors */
/* stats.c: --stats: the engine's counters, and what they mean in seconds, as JSON. */
#include "hypervisor/monitor.h"

#include <cjson/cJSON.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define ABI_STAT(name, text) #name,
static const char *const names[] = {
#include "graft/abi_stats.def"
};
#undef ABI_STAT
#define ABI_STAT(name, text) false,
#define ABI_STAT_COUNTED(name, text) true,
static const bool counted[] = {
/* kept only if translated code counts */
#include "graft/abi_stats.def"
};
#undef ABI_STAT

static void put(cJSON *o, const char *name, double v) { cJSON_AddNumberToObject(o, name, v); }

static double seconds(const struct machine *m, const uint64_t *stats, enum abi_stat stat) {
    return (double)stats[stat] / (double)m->tsc_hz;
}

/* Where the time went: idle, monitor and translation are measured always, translated code only if it counts. */
static void put_seconds(cJSON *o, const struct machine *m, const uint64_t *stats) {
    double total = seconds(m, stats, ABI_STAT_ticks_total), wait = seconds(m, stats, ABI_STAT_ticks_wait);
    double translate = seconds(m, stats, ABI_STAT_ticks_translate), monitor = seconds(m, stats, ABI_STAT_ticks_monitor);
    put(o, "seconds_total", total);
    put(o, "seconds_wait", wait);
    put(o, "seconds_translate", translate);
    put(o, "seconds_monitor", monitor);
    put(o, "seconds_host_faults", seconds(m, stats, ABI_STAT_ticks_host_faults));
    put(o, "seconds_guest", total - wait - translate - monitor);
    if (m->options->count) {
        put(o, "seconds_code", seconds(m, stats, ABI_STAT_ticks_code));
        put(o, "seconds_engine", seconds(m, stats, ABI_STAT_ticks_engine) - wait - translate - monitor);
    }
}

static cJSON *counters(const struct machine *m, const uint64_t *stats) {
    cJSON *o = cJSON_CreateObject();
    for (unsigned i = 0; o && i < ABI_STAT_COUNT; i++)
        if (m->options->count || !counted[i])
            put(o, names[i], (double)stats[i]);
    put_seconds(o, m, stats);
    return o;
}

/* Exits to the monitor by reason: the engine's calls, and what ends KVM_RUN otherwise. */
static void put_exits(cJSON *o, const struct vcpu *v, unsigned count) {
    static const char *const calls[] = {[ABI_CALL_MMIO_READ] = "mmio_read", [ABI_CALL_MMIO_WRITE] = "mmio_write",
                                        [ABI_CALL_WAIT] = "wait",           [ABI_CALL_KICK] = "kick",
                                        [ABI_CALL_POWEROFF] = "poweroff",   [ABI_CALL_RESET] = "reset",
                                        [ABI_CALL_STOPPED] = "stopped",     [ABI_CALL_LOG] = "log",
                                        [ABI_CALL_PANIC] = "panic",         [ABI_CALL_DUMP] = "dump",
                                        [ABI_CALL_PERFMAP] = "perfmap",     [ABI_CALL_YIELD] = "yield",
                                        [ABI_CALL_SEMIHOST] = "semihost",   [ABI_CALL_PAUSED] = "paused",
                                        [ABI_CALL_REUSE] = "reuse"};
    cJSON *c = cJSON_AddObjectToObject(o, "exits");
    uint64_t sum[ARRAY_LEN(calls)] = {0}, all = 0, signal = 0, doorbell = 0;
    for (; count; count--, v++) {
        for (unsigned i = 0; i < ARRAY_LEN(calls); i++)
            sum[i] += v->calls[i];
        all += v->exits;
        signal += v->exits_signal;
        doorbell += v->exits_doorbell;
    }
    for (unsigned i = 0; c && i < ARRAY_LEN(calls); i++)
        if (calls[i])
            put(c, calls[i], (double)sum[i]);
    put(c, "signal", (double)signal);
    put(c, "doorbell", (double)doorbell);
    put(o, "vm_exits", (double)all);
}

static void put_machine(cJSON *o, const struct machine *m) {
    cJSON_AddStringToObject(o, "version", GRAFT_VERSION);
    cJSON_AddStringToObject(o, "vm", m->vm->name);
    cJSON_AddStringToObject(o, "host", m->vm->in_vm ? kvm_flavour() : "none");
    cJSON_AddStringToObject(o, "layout", m->layout_kind == ABI_LAYOUT_RING0 ? "ring0" : "flat");
    cJSON_AddStringToObject(o, "mmu", options_mmu_names[m->mmu]);
    cJSON_AddStringToObject(o, "cpu", board_cpu(m->board, m->options->cpu));
    cJSON_AddBoolToObject(o, "count", m->options->count);
    put(o, "gic", m->options->gic);
    put(o, "vcpus", m->vcpu_count);
    put(o, "memory", (double)m->ram_size);
    put(o, "tsc_hz", (double)m->tsc_hz);
    put(o, "memory_ahead", (double)m->ahead.bytes);
    put(o, "seconds", (double)(m->ended_ns - m->started_ns) * 1e-9);
}

static cJSON *document(struct machine *m) {
    uint64_t total[ABI_STAT_COUNT] = {0};
    cJSON *o = cJSON_CreateObject(), *list;
    put_machine(o, m);
    list = cJSON_AddArrayToObject(o, "vcpu");
    for (unsigned i = 0; i < m->vcpu_count; i++) {
        struct vcpu *v = &m->vcpu[i];
        cJSON *c = counters(m, v->abi->stats);
        put(c, "seconds_cpu", (double)v->cpu_ns * 1e-9);
        put_exits(c, v, 1);
        cJSON_AddItemToArray(list, c);
        for (unsigned s = 0; s < ABI_STAT_COUNT; s++)
            total[s] += v->abi->stats[s];
    }
    cJSON *all = counters(m, total);
    put_exits(all, m->vcpu, m->vcpu_count);
    cJSON_AddItemToObject(o, "total", all);
    return o;
}

int stats_write(struct machine *m, struct output *to, char err[ERR_BYTES]) {
    cJSON *o = document(m);
    char *text = cJSON_Print(o);
    bool ok = text != NULL;
    if (text)
        fputs(text, to->stream);
    else
        snprintf(err, ERR_BYTES, "statistics: out of memory");
    ok = output_close(to, err) && ok;
    free(text);
    cJSON_Delete(o);
    return ok ? 0 : -1;
}
