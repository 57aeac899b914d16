/* SPDX-License-Identifier: Apache-2.0
 * Copyright The Graft Authors */
/* info.c: 'graft info': what this host is and what Graft makes of it. */
#include "graft/host.h"
#include "graft/mmu.h"
#include "hypervisor/monitor.h"

#include <stdio.h>
#include <string.h>

static void print_features(void) {
    printf("processor    ");
    for (enum host_feature f = 0; f < HOST_FEATURES; f++)
        if (host_has(f))
            printf(" %s", host_feature_name(f));
    printf("\n");
    if (host_lacks() == HOST_FEATURES)
        return;
    printf("             too old: there is no");
    for (enum host_feature f = 0; f < HOST_FEATURES; f++)
        if (host_feature_needed(f) && !host_has(f))
            printf(" %s", host_feature_name(f));
    printf("\n");
}

static void print_kvm(void) {
    char err[ERR_BYTES];
    const char *flavour = kvm_flavour();
    if (!vm_kvm_usable(err))
        printf("kvm           none (%s)\n", err);
    else if (!strcmp(flavour, "pvm"))
        printf("kvm           pvm: shadow page tables, ring 0 interpreted, lower half only\n");
    else if (!strcmp(flavour, "hw"))
        printf("kvm           hw: VMX or SVM, both halves\n");
    else
        printf("kvm           usable, but a small program did not run in it\n");
}

/* The default first. */
static void print_layout(bool kvm, enum abi_layout best) {
    static const char *const layouts[] = {[ABI_LAYOUT_FLAT] =
                                              "flat: engine and guest code in ring 3 of a VM, ring 0 only flushes",
                                          [ABI_LAYOUT_RING0] = "ring0: engine in ring 0 of a VM, guest code in ring 3"};
    static const enum abi_mmu mmu[] = {ABI_MMU_DIRECT, ABI_MMU_WINDOW};
    char text[ERR_BYTES];
    if (!kvm) {
        printf("layout        in-process: engine and guest code in this process\n");
        return;
    }
    printf("layout        %s (default)\n              %s\n", layouts[best], layouts[!best]);
    for (unsigned i = 0; i < ARRAY_LEN(mmu); i++) {
        bool has = kvm_has_ring0(mmu[i], text);
        printf("              ring0 with --mmu %s: %s: %s\n", mmu_strategies[mmu[i]]->name,
               has ? "runs here" : "not here", text);
    }
}

/* What a strategy cannot be used without, in a VM of that layout by default. */
static const char *needs(const struct mmu_ops *s, bool kvm, enum abi_layout layout) {
    bool ring0 = kvm && layout == ABI_LAYOUT_RING0;
    return s->needs_process ? (kvm ? " (needs --vm inproc)" : "")
           : s->needs_ring3 ? (ring0 ? "" : " (needs --layout ring0)")
                            : (ring0 && !s->shown_bytes ? " (in the layout flat)" : "");
}

int info_main(const struct options *o) {
    bool kvm = strcmp(kvm_flavour(), "none") != 0;
    printf("graft         " GRAFT_VERSION ", ABI %u\n", ABI_VERSION);
    print_kvm();
    print_features();
    printf("tsc           %.3f GHz\n", (double)run_tsc_hz() * 1e-9);
    enum abi_layout layout = ABI_LAYOUT_FLAT;
    enum abi_mmu best = kvm ? kvm_best(&layout) : machine_default_mmu(false, layout);
    print_layout(kvm, layout);
    for (unsigned i = 0; i < ABI_MMU_COUNT; i++) {
        const struct mmu_ops *s = mmu_strategies[i];
        bool is_default = i == best;
        printf("%s  %-8s %s%s%s\n", i ? "            " : "strategies  ", s->name, s->about,
               is_default ? " (default)" : "", needs(s, kvm, layout));
    }
    if (o->probe && kvm)
        probe_print();
    if (o->probe)
        probe_process_print();
    return 0;
}
