/* SPDX-License-Identifier: Apache-2.0
 * Copyright The Graft Authors */
/* info.c: 'graft info': what this host is and what Graft makes of it. */
#include "graft/mmu.h"
#include "hypervisor/monitor.h"

#include <cpuid.h>
#include <stdio.h>
#include <string.h>

static void print_features(void) {
    static const struct {
        const char *name;
        uint8_t leaf, reg, bit; /* reg: 0 EBX, 1 ECX */
    } features[] = {{"sse4.1", 1, 1, 19},  {"sse4.2", 1, 1, 20}, {"popcnt", 1, 1, 23}, {"cx16", 1, 1, 13},
                    {"aes", 1, 1, 25},     {"pclmul", 1, 1, 1},  {"f16c", 1, 1, 29},   {"fma", 1, 1, 12},
                    {"avx", 1, 1, 28},     {"bmi1", 7, 0, 3},    {"avx2", 7, 0, 5},    {"bmi2", 7, 0, 8},
                    {"avx512f", 7, 0, 16}, {"sha", 7, 0, 29},    {"fsgsbase", 7, 0, 0}};
    printf("processor    ");
    for (unsigned i = 0; i < ARRAY_LEN(features); i++) {
        unsigned a, b, c, d;
        if (__get_cpuid_count(features[i].leaf, 0, &a, &b, &c, &d) &&
            ((features[i].reg ? c : b) >> features[i].bit & 1))
            printf(" %s", features[i].name);
    }
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

int info_main(const struct options *o) {
    bool kvm = strcmp(kvm_flavour(), "none") != 0;
    printf("graft         " GRAFT_VERSION ", ABI %u\n", ABI_VERSION);
    print_kvm();
    print_features();
    printf("tsc           %.3f GHz\n", (double)run_tsc_hz() * 1e-9);
    printf("layout        %s\n", kvm ? "flat: engine and guest code in ring 3 of a VM, ring 0 only flushes"
                                     : "in-process: engine and guest code in this process");
    for (unsigned i = 0; i < ABI_MMU_COUNT; i++) {
        const struct mmu_ops *s = mmu_strategies[i];
        bool is_default = i == machine_default_mmu(kvm);
        printf("%s  %-8s %s%s%s\n", i ? "            " : "strategies  ", s->name, s->about,
               is_default ? " (default)" : "", s->needs_process && kvm ? " (needs --vm inproc)" : "");
    }
    if (o->probe)
        probe_print();
    return 0;
}
