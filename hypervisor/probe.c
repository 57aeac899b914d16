/* SPDX-License-Identifier: Apache-2.0
 * Copyright The Graft Authors */
/* probe.c: runs the host probe (dbt/rt/vm/probe.c) in a small VM, and prints what it found. */
#include "graft/vm.h"
#include "hypervisor/monitor.h"

#include <stdio.h>
#include <string.h>

/* run_probe(): false if there is no VM in which it runs. */
static bool run_probe(uint64_t result[VM_PROBE_COUNT], uint64_t *tsc_hz, bool all, enum options_layout layout,
                      enum abi_mmu mmu, char err[ERR_BYTES]) {
    struct options o = {.memory = 32u << 20, .smp = 1, .gic = 3, .log_topics = all, .layout = layout, .mmu = mmu};
    struct machine *m = vm_kvm_usable(err) ? machine_create_probe(&o, err) : NULL;
    if (!m)
        return false;
    snprintf(err, ERR_BYTES, "a small program did not run in a virtual machine");
    if (all) /* memory that the host has not given us yet would be measured, too */
        memset(m->ram, 1, m->ram_size);
    bool ok = machine_run(m) == MACHINE_STOPPED;
    memcpy(result, m->vcpu[0].abi->stats, VM_PROBE_COUNT * sizeof(result[0]));
    *tsc_hz = m->tsc_hz;
    machine_destroy(m);
    return ok;
}

const char *kvm_flavour(void) {
    uint64_t result[VM_PROBE_COUNT], tsc_hz;
    char err[ERR_BYTES];
    if (!vm_kvm_usable(err))
        return "none";
    if (!run_probe(result, &tsc_hz, false, LAYOUT_FLAT, ABI_MMU_WINDOW, err))
        return "unknown";
    return result[VM_PROBE_UPPER_HALF] ? "hw" : "pvm";
}

static const char *const checks[] = {
#define VM_CHECK(name, what) what,
    VM_CHECKS(VM_CHECK)
#undef VM_CHECK
};

/* What came of trying the engine's ring 0 with a strategy. */
struct ring0 {
    char text[ERR_BYTES];
    uint64_t refused;    /* of VM_CHECKS */
    bool tried, checked; /* checked: it got as far as those */
    bool has;
};

static void try_ring0(enum abi_mmu mmu, struct ring0 *r) {
    uint64_t result[VM_PROBE_COUNT] = {0}, tsc_hz;
    bool ran = run_probe(result, &tsc_hz, false, LAYOUT_RING0, mmu, r->text);
    if (!result[VM_PROBE_RING0]) /* it did not get as far as to say so */
        return;
    if (result[VM_PROBE_RING0] > VM_PROBE_LOOPS_MAX) {
        snprintf(r->text, ERR_BYTES, "this KVM interprets ring 0: %llu TSC ticks for one round of a short loop",
                 (unsigned long long)result[VM_PROBE_RING0] / VM_PROBE_LOOPS);
        return;
    }
    r->refused = result[VM_PROBE_REFUSED];
    r->checked = true;
    r->has = ran && !r->refused;
    if (r->refused)
        snprintf(r->text, ERR_BYTES, "this is not so: %s", checks[__builtin_ctzll(r->refused)]);
    else if (ran)
        snprintf(r->text, ERR_BYTES, "to ring 3 and back in %llu TSC ticks, with a fault there %llu, CR3 reload %llu%s",
                 (unsigned long long)result[VM_PROBE_CROSSING], (unsigned long long)result[VM_PROBE_FAULT3],
                 (unsigned long long)result[VM_PROBE_CR3], result[VM_PROBE_SMAP] ? "" : "; no SMAP");
}

static const struct ring0 *ring0_with(enum abi_mmu mmu) {
    static struct ring0 found[ABI_MMU_COUNT];
    struct ring0 *r = &found[mmu];
    if (!r->tried && (mmu != ABI_MMU_DIRECT || vm_kvm_has_la57(r->text)))
        try_ring0(mmu, r);
    r->tried = true;
    return r;
}

bool kvm_has_ring0(enum abi_mmu mmu, char text[ERR_BYTES]) {
    const struct ring0 *r = ring0_with(mmu);
    memcpy(text, r->text, ERR_BYTES);
    return r->has;
}

enum abi_mmu kvm_best(enum abi_layout *layout) {
    char text[ERR_BYTES];
    bool direct = kvm_has_ring0(ABI_MMU_DIRECT, text);
    *layout = direct || kvm_has_ring0(ABI_MMU_WINDOW, text) ? ABI_LAYOUT_RING0 : ABI_LAYOUT_FLAT;
    return direct ? ABI_MMU_DIRECT : ABI_MMU_WINDOW;
}

/* Each check, where ring 0 executes code at all. */
static void print_checks(enum abi_mmu mmu, const char *with) {
    const struct ring0 *r = ring0_with(mmu);
    if (!r->checked)
        return;
    printf("\n%-50s %12s\n", "the engine in ring 0 relies on, with", with);
    for (unsigned i = 0; i < VM_CHECK_COUNT; i++)
        printf("%-50s %12s\n", checks[i], r->refused & BIT(i) ? "no" : "yes");
}

void probe_print(void) {
    static const struct {
        enum vm_probe what;
        const char *text;
    } rows[] = {
        {VM_PROBE_FAULT, "page fault to the ring 3 handler and on"},
        {VM_PROBE_FLUSH_PAGE, "flush of one page: #BP, INVLPG, IRETQ"},
        {VM_PROBE_FLUSH_8, "the same with eight pages"},
        {VM_PROBE_FLUSH_ALL, "flush of everything: #BP, CR3 reload, IRETQ"},
        {VM_PROBE_FLUSH_100, "the same after 100 leaf tables were written to"},
        {VM_PROBE_CALL, "exit to the monitor and back"},
        {VM_PROBE_DOORBELL, "doorbell (ioeventfd), no exit to the monitor"},
        {VM_PROBE_TOUCH_4K, "first touch of a new 4 KiB mapping"},
        {VM_PROBE_TOUCH_2M, "first touch of each 4 KiB in new 2 MiB mappings"},
        {VM_PROBE_PTE, "writing a page-table entry"},
        {VM_PROBE_VIEW, "WRGSBASE"},
    };
    uint64_t result[VM_PROBE_COUNT], tsc_hz;
    char err[ERR_BYTES];
    if (!run_probe(result, &tsc_hz, true, LAYOUT_FLAT, ABI_MMU_WINDOW, err)) {
        printf("\nno VM to measure in\n");
        return;
    }
    printf("\n%-50s %12s\n", "operation in a virtual machine", "cost");
    for (unsigned i = 0; i < ARRAY_LEN(rows); i++) {
        double ns = (double)result[rows[i].what] * 1e9 / (double)tsc_hz;
        if (ns >= 1000)
            printf("%-50s %9.1f us\n", rows[i].text, ns / 1000);
        else
            printf("%-50s %9.0f ns\n", rows[i].text, ns);
    }
    print_checks(ABI_MMU_WINDOW, "window");
    print_checks(ABI_MMU_DIRECT, "direct");
}
