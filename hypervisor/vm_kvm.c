/* SPDX-License-Identifier: Apache-2.0
 * Copyright The Graft Authors */
/*
 * vm_kvm.c: the engine in a KVM virtual machine. In long mode, and in the layout's
 * ring, from the first instruction on; the descriptor and page tables are made by vm_tables.c.
 * The only file that knows KVM's interface.
 */
#include "graft/host.h"
#include "graft/rt.h"
#include "graft/vm.h"
#include "hypervisor/monitor.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/kvm.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#define CPUID_ENTRIES 256
#define CPUID_XSAVE BIT(26)     /* leaf 1, ECX */
#define SHADOW_PAGES (1u << 18) /* KVM's own limit is too low where it shadows page tables */
#define MSR_TSC 0x10
#define MSR_STAR 0xc0000081
#define MSR_LSTAR 0xc0000082
#define MSR_SFMASK 0xc0000084
#define STAR_BITS ((uint64_t)VM_SEL_CODE0 << 32 | (uint64_t)VM_SEL_DATA0 << 48)
#define SFMASK_BITS UINT64_C(0x47700) /* TF IF DF IOPL NT AC */

#define CR0_BITS (BIT(0) | BIT(1) | BIT(4) | BIT(5) | BIT(16) | BIT(31)) /* PE MP ET NE WP PG */
#define CR4_BITS (BIT(5) | BIT(7) | BIT(9) | BIT(10))                    /* PAE PGE OSFXSR OSXMMEXCPT */
#define CR4_UMIP BIT(11)
#define CR4_LA57 BIT(12)
#define CR4_FSGSBASE BIT(16)
#define CR4_OSXSAVE BIT(18)
#define CR4_SMEP BIT(20)
#define CR4_SMAP BIT(21)
#define EFER_BITS (BIT(0) | BIT(8) | BIT(10) | BIT(11)) /* SCE LME LMA NXE */
/* Flat: IOPL 3, for calls of the monitor. The I/O permission bitmap (vm_tables.c) allows them, too: KVM's pvm module
 * does not keep IOPL, and QEMU's emulation of SVM does not look at the bitmap. */
#define RFLAGS_BITS BIT(1)
#define RFLAGS_IOPL3 (BIT(12) | BIT(13))

struct kvm_cpu {
    int fd;
    struct kvm_run *run;
};
struct kvm_vm {
    int sys, vm;
    size_t run_bytes;
    struct kvm_cpu cpu[ABI_MAX_VCPUS];
    struct vm_tables tables;
    struct kvm_cpuid2 *cpuid;
    uint64_t xcr0;
    uint64_t cr4; /* what the processor has of it */
    bool has_xsave;
};

const struct vm_request vm_kvm_requests[] = {
#define DEVICES (1u << THREAD_DEVICES) /* makes and destroys the VM */
#define VCPU (1u << THREAD_VCPU)
    {VCPU, KVM_RUN},
    {VCPU, KVM_GET_REGS},
    {VCPU, KVM_GET_SREGS},
    {DEVICES, KVM_GET_API_VERSION},
    {DEVICES, KVM_CREATE_VM},
    {DEVICES, KVM_GET_VCPU_MMAP_SIZE},
    {DEVICES, KVM_SET_TSS_ADDR},
    {DEVICES, KVM_SET_USER_MEMORY_REGION},
    {DEVICES, KVM_SET_NR_MMU_PAGES},
    {DEVICES, KVM_GET_SUPPORTED_CPUID},
    {DEVICES, KVM_CREATE_VCPU},
    {DEVICES, KVM_SET_CPUID2},
    {DEVICES, KVM_SET_SREGS},
    {DEVICES, KVM_SET_REGS},
    {DEVICES, KVM_SET_XCRS},
    {DEVICES, KVM_SET_MSRS},
    {DEVICES, KVM_SET_DEVICE_ATTR},
    {DEVICES, KVM_IOEVENTFD},
    {DEVICES, KVM_GET_TSC_KHZ},
#undef DEVICES
#undef VCPU
};
const unsigned vm_kvm_request_count = ARRAY_LEN(vm_kvm_requests);

/* Opened once: later, and when the machine resets, that may not be allowed any more (sandbox.c). */
static int kvm_device(void) {
    static int fd = -1, error;
    if (fd < 0 && !error && (fd = open("/dev/kvm", O_RDWR | O_CLOEXEC)) < 0)
        error = errno;
    errno = error;
    return fd < 0 ? -1 : fcntl(fd, F_DUPFD_CLOEXEC, 0);
}

static int kvm_open(char err[ERR_BYTES]) {
    int fd = kvm_device();
    if (fd < 0) {
        snprintf(err, ERR_BYTES, "/dev/kvm: %s", strerror(errno));
        return -1;
    }
    if (ioctl(fd, KVM_GET_API_VERSION, 0) != KVM_API_VERSION) {
        snprintf(err, ERR_BYTES, "/dev/kvm: not the interface that is expected");
        close(fd);
        return -1;
    }
    return fd;
}

bool vm_kvm_usable(char err[ERR_BYTES]) {
    int fd = kvm_open(err);
    if (fd >= 0)
        close(fd);
    return fd >= 0;
}

static uint8_t *kvm_arena_alloc(struct machine *m, uint64_t size, char err[ERR_BYTES]) {
    m->vm_base = m->mmu == ABI_MMU_DIRECT ? VM_DIRECT_VA : 0;
    m->arena_va = m->vm_base + ABI_VA_ENGINE;
    return machine_alloc_pages(size);
}

static uint8_t *kvm_ram_alloc(struct machine *m) { return machine_alloc_pages(m->memory); }

static void kvm_arena_free(struct machine *m, uint64_t size) { munmap(m->arena, size); }

static int failed(char err[ERR_BYTES], const char *what) {
    snprintf(err, ERR_BYTES, "KVM: %s: %s", what, strerror(errno));
    return -1;
}

static int add_memory(struct kvm_vm *k, unsigned slot, uint64_t pa, void *at, uint64_t size, char err[ERR_BYTES]) {
    struct kvm_userspace_memory_region r = {
        .slot = slot, .guest_phys_addr = pa, .memory_size = size, .userspace_addr = (uint64_t)at};
    return ioctl(k->vm, KVM_SET_USER_MEMORY_REGION, &r) ? failed(err, "memory") : 0;
}

/* KVM's pvm module lists little more than SSE2, though ring 3 runs on the processor itself; depending on its version
 * CPUID in the VM is answered by the processor or from the table that it was given. No hypervisor can take away what is
 * asked for here but by XCR0 and CR4, so the table shows what this process has. */
static void show_features(struct kvm_cpuid2 *cpuid) {
    static const struct {
        uint32_t leaf, reg, bits;
        enum host_feature feature;
    } shown[] = {
#define EBX offsetof(struct kvm_cpuid_entry2, ebx)
#define ECX offsetof(struct kvm_cpuid_entry2, ecx)
#define HOST_FEATURE(id, name, needed, leaf, reg, bit, state) {leaf, reg, 1u << (bit), HOST_##id},
#include "graft/host_features.def"
#undef HOST_FEATURE
        {1, ECX, CPUID_XSAVE, HOST_AVX},
#undef ECX
#undef EBX
    };
    for (unsigned i = 0; i < cpuid->nent; i++) {
        struct kvm_cpuid_entry2 *e = &cpuid->entries[i];
        for (unsigned n = 0; n < ARRAY_LEN(shown); n++)
            if (e->function == shown[n].leaf && e->index == 0 && host_has(shown[n].feature))
                *(uint32_t *)((char *)e + shown[n].reg) |= shown[n].bits;
    }
}

static int get_cpuid(struct kvm_vm *k, char err[ERR_BYTES]) {
    k->cpuid = calloc(1, sizeof(*k->cpuid) + CPUID_ENTRIES * sizeof(k->cpuid->entries[0]));
    if (!k->cpuid)
        return failed(err, "memory");
    k->cpuid->nent = CPUID_ENTRIES;
    if (ioctl(k->sys, KVM_GET_SUPPORTED_CPUID, k->cpuid))
        return failed(err, "KVM_GET_SUPPORTED_CPUID");
    show_features(k->cpuid);
    for (unsigned i = 0; i < k->cpuid->nent; i++) {
        const struct kvm_cpuid_entry2 *e = &k->cpuid->entries[i];
        if (e->function == 1)
            k->has_xsave = e->ecx & CPUID_XSAVE;
        if (e->function == 7 && e->index == 0)
            k->cr4 = (e->ebx & BIT(0) ? CR4_FSGSBASE : 0) | (e->ebx & BIT(7) ? CR4_SMEP : 0) |
                     (e->ebx & BIT(20) ? CR4_SMAP : 0) | (e->ecx & BIT(2) ? CR4_UMIP : 0) |
                     (e->ecx & BIT(16) ? CR4_LA57 : 0);
        if (e->function == 13 && e->index == 0)
            k->xcr0 = (uint64_t)e->edx << 32 | e->eax;
    }
    return 0;
}

bool vm_kvm_has_la57(char err[ERR_BYTES]) {
    struct kvm_vm k = {.sys = kvm_open(err)};
    if (k.sys < 0)
        return false;
    bool known = !get_cpuid(&k, err);
    close(k.sys);
    free(k.cpuid);
    if (known && !(k.cr4 & CR4_LA57))
        snprintf(err, ERR_BYTES, "the processor has no 57-bit addresses");
    return known && k.cr4 & CR4_LA57;
}

static struct kvm_segment segment(uint16_t selector, uint8_t type, bool code) {
    return (struct kvm_segment){.selector = selector,
                                .limit = 0xffffffff,
                                .type = type,
                                .present = 1,
                                .dpl = selector & 3,
                                .s = 1,
                                .g = 1,
                                .l = code,
                                .db = !code};
}

static int set_sregs(struct machine *m, struct kvm_vm *k, unsigned i, char err[ERR_BYTES]) {
    struct kvm_sregs s;
    const struct vm_tables *t = &k->tables;
    if (ioctl(k->cpu[i].fd, KVM_GET_SREGS, &s))
        return failed(err, "KVM_GET_SREGS");
    s.cr0 = CR0_BITS;
    s.cr3 = t->root[i];
    bool ring0 = m->boot->layout == ABI_LAYOUT_RING0;
    uint64_t without = (ring0 ? 0 : ~CR4_FSGSBASE) | (m->boot->mmu == ABI_MMU_DIRECT ? 0 : CR4_LA57);
    s.cr4 = CR4_BITS | (k->has_xsave ? CR4_OSXSAVE : 0) | (k->cr4 & ~without);
    s.efer = EFER_BITS;
    s.cs = segment(ring0 ? VM_SEL_CODE0 : VM_SEL_CODE3, 11, true);
    s.ds = s.es = s.fs = s.gs = s.ss = segment(ring0 ? VM_SEL_DATA0 : VM_SEL_DATA3, 3, false);
    s.tr = (struct kvm_segment){.base = m->arena_va + t->tss[i],
                                .limit = t->tss_limit,
                                .selector = (uint16_t)(VM_SEL_TSS + 16 * i),
                                .type = 11,
                                .present = 1};
    s.ldt = (struct kvm_segment){.unusable = 1};
    s.gdt = (struct kvm_dtable){.base = m->arena_va + t->gdt, .limit = t->gdt_limit};
    s.idt = (struct kvm_dtable){.base = m->arena_va + t->idt, .limit = t->idt_limit};
    if (!ioctl(k->cpu[i].fd, KVM_SET_SREGS, &s))
        return 0;
    /* Some KVM does not take what it does not list; ring 3 may have the host's own setting there. */
    s.cr4 &= ~(CR4_OSXSAVE | CR4_FSGSBASE);
    return ioctl(k->cpu[i].fd, KVM_SET_SREGS, &s) ? failed(err, "KVM_SET_SREGS") : 0;
}

static void set_xcr0(struct kvm_vm *k, unsigned i) {
    struct kvm_xcrs x = {.nr_xcrs = 1};
    if (!k->has_xsave)
        return;
    /* x87, SSE, AVX and AVX-512, as far as there are such. Where this fails, the host's own setting is in force. */
    x.xcrs[0].value = k->xcr0 & 0xe7;
    ioctl(k->cpu[i].fd, KVM_SET_XCRS, &x);
}

static int set_msrs(struct kvm_vm *k, unsigned i, const struct kvm_msr_entry *entries, unsigned count) {
    union { /* room behind the head */
        struct kvm_msrs msrs;
        uint8_t bytes[sizeof(struct kvm_msrs) + 4 * sizeof(struct kvm_msr_entry)];
    } u = {.msrs.nmsrs = count};
    memcpy(u.msrs.entries, entries, count * sizeof(*entries));
    return ioctl(k->cpu[i].fd, KVM_SET_MSRS, &u) == (int)count ? 0 : -1;
}

static int set_syscall(struct kvm_vm *k, unsigned i, char err[ERR_BYTES]) {
    const struct kvm_msr_entry entries[] = {
        {.index = MSR_STAR, .data = STAR_BITS},
        {.index = MSR_LSTAR, .data = k->tables.syscalls + i * VM_SYSCALL_BYTES},
        {.index = MSR_SFMASK, .data = SFMASK_BITS},
    };
    return set_msrs(k, i, entries, ARRAY_LEN(entries)) ? failed(err, "KVM_SET_MSRS") : 0;
}

/* The engine and the monitor exchange TSC values, so both have to read the same counter. */
static void set_tsc(struct kvm_vm *k, unsigned i) {
    uint64_t offset = 0;
    struct kvm_device_attr attr = {.group = KVM_VCPU_TSC_CTRL, .attr = KVM_VCPU_TSC_OFFSET, .addr = (uint64_t)&offset};
    if (!ioctl(k->cpu[i].fd, KVM_SET_DEVICE_ATTR, &attr))
        return;
    set_msrs(k, i, &(struct kvm_msr_entry){.index = MSR_TSC, .data = run_tsc()}, 1);
}

static int create_vcpu(struct machine *m, struct kvm_vm *k, unsigned i, char err[ERR_BYTES]) {
    struct kvm_cpu *c = &k->cpu[i];
    bool ring0 = m->boot->layout == ABI_LAYOUT_RING0;
    struct kvm_regs r = {.rip = k->tables.entry,
                         .rflags = RFLAGS_BITS | (ring0 ? 0 : RFLAGS_IOPL3),
                         .rdi = m->arena_va + m->layout.boot,
                         .rsi = i,
                         .rsp = m->arena_va + m->layout.stack[i] + VM_STACK_BYTES - VM_STACK_CPU};
    c->fd = ioctl(k->vm, KVM_CREATE_VCPU, i);
    if (c->fd < 0)
        return failed(err, "KVM_CREATE_VCPU");
    c->run = mmap(NULL, k->run_bytes, PROT_READ | PROT_WRITE, MAP_SHARED, c->fd, 0);
    if (c->run == MAP_FAILED) {
        c->run = NULL;
        return failed(err, "mmap");
    }
    if (ioctl(c->fd, KVM_SET_CPUID2, k->cpuid))
        return failed(err, "KVM_SET_CPUID2");
    if (set_sregs(m, k, i, err) || (ring0 && set_syscall(k, i, err)))
        return -1;
    set_xcr0(k, i);
    set_tsc(k, i);
    return ioctl(c->fd, KVM_SET_REGS, &r) ? failed(err, "KVM_SET_REGS") : 0;
}

static int add_doorbells(struct machine *m, struct kvm_vm *k, char err[ERR_BYTES]) {
    for (unsigned n = 0; n < ABI_DB_COUNT; n++) {
        struct kvm_ioeventfd e = {.addr = VM_DOORBELL_PA + 8 * n, .len = 4, .fd = events_doorbell_fd(m, n)};
        if (ioctl(k->vm, KVM_IOEVENTFD, &e))
            return failed(err, "KVM_IOEVENTFD");
    }
    return 0;
}

static int kvm_create(struct machine *m, char err[ERR_BYTES]) {
    struct kvm_vm *k = calloc(1, sizeof(*k));
    if (!k)
        return failed(err, "memory");
    m->vm_data = k;
    k->vm = -1;
    for (unsigned i = 0; i < ABI_MAX_VCPUS; i++)
        k->cpu[i].fd = -1;
    if ((k->sys = kvm_open(err)) < 0 || vm_tables_build(m, &k->tables, err))
        return -1;
    if ((k->vm = ioctl(k->sys, KVM_CREATE_VM, 0)) < 0)
        return failed(err, "KVM_CREATE_VM");
    int bytes = ioctl(k->sys, KVM_GET_VCPU_MMAP_SIZE, 0);
    if (bytes < (int)sizeof(struct kvm_run))
        return failed(err, "KVM_GET_VCPU_MMAP_SIZE");
    k->run_bytes = (size_t)bytes;
    ioctl(k->vm, KVM_SET_TSS_ADDR, 0xfffbd000ul); /* Intel wants it; elsewhere it fails and does not matter */
    if (add_memory(k, 0, 0, m->arena, m->layout.total, err) || add_memory(k, 1, VM_RAM_PA, m->ram, m->memory, err))
        return -1;
    ioctl(k->vm, KVM_SET_NR_MMU_PAGES, (unsigned long)SHADOW_PAGES);
    if (get_cpuid(k, err) || add_doorbells(m, k, err))
        return -1;
    for (unsigned i = 0; i < m->vcpu_count; i++)
        if (create_vcpu(m, k, i, err))
            return -1;
    return 0;
}

static void kvm_destroy(struct machine *m) {
    struct kvm_vm *k = m->vm_data;
    if (!k)
        return;
    for (unsigned i = 0; i < ABI_MAX_VCPUS; i++) {
        if (k->cpu[i].run)
            munmap(k->cpu[i].run, k->run_bytes);
        if (k->cpu[i].fd >= 0)
            close(k->cpu[i].fd);
    }
    if (k->vm >= 0)
        close(k->vm);
    if (k->sys >= 0)
        close(k->sys);
    free(k->cpuid);
    free(k);
    m->vm_data = NULL;
}

static uint64_t kvm_tsc_hz(struct machine *m) {
    struct kvm_vm *k = m->vm_data;
    int khz = ioctl(k->cpu[0].fd, KVM_GET_TSC_KHZ, 0);
    return khz > 0 ? (uint64_t)khz * 1000 : 0;
}

static void report_broken(struct machine *m, struct vcpu *v, const struct kvm_run *run, const char *what) {
    struct kvm_vm *k = m->vm_data;
    struct kvm_regs r = {0};
    struct kvm_sregs s = {0};
    if (m->probe) { /* whoever asked says what that means */
        machine_stop(m, MACHINE_BROKEN);
        return;
    }
    ioctl(k->cpu[v->index].fd, KVM_GET_REGS, &r);
    ioctl(k->cpu[v->index].fd, KVM_GET_SREGS, &s);
    log_printf("graft: vCPU %u: %s (KVM exit %u, %llx %llx)\n"
               "  rip %016llx cs %04x rflags %08llx cr2 %016llx cr3 %llx gs %llx\n"
               "  rax %016llx rbx %016llx rcx %016llx rdx %016llx\n  rsi %016llx rdi %016llx rbp %016llx rsp %016llx\n",
               v->index, what, run->exit_reason, (unsigned long long)run->internal.suberror,
               (unsigned long long)run->internal.data[0], r.rip, s.cs.selector, r.rflags, s.cr2, s.cr3, s.gs.base,
               r.rax, r.rbx, r.rcx, r.rdx, r.rsi, r.rdi, r.rbp, r.rsp);
    machine_stop(m, MACHINE_BROKEN);
}

/* serve_exit(): false when the vCPU's life is over. */
static bool serve_exit(struct machine *m, struct vcpu *v, const struct kvm_run *run) {
    switch (run->exit_reason) {
    case KVM_EXIT_IO:
        if (run->io.port == RT_PORT_CALL && run->io.direction == KVM_EXIT_IO_OUT)
            return run_call(m, v);
        report_broken(m, v, run, "unexpected port");
        return false;
    case KVM_EXIT_INTR: v->exits_signal++; return true;
    case KVM_EXIT_MMIO:
        /* A doorbell that KVM's ioeventfd did not take. */
        if (run->mmio.is_write && run->mmio.phys_addr - VM_DOORBELL_PA < 8 * ABI_DB_COUNT) {
            v->exits_doorbell++;
            events_doorbell(m, (unsigned)(run->mmio.phys_addr - VM_DOORBELL_PA) / 8);
            return true;
        }
        report_broken(m, v, run, "access to memory that is not there");
        return false;
    case KVM_EXIT_SHUTDOWN: report_broken(m, v, run, "triple fault"); return false;
    default: report_broken(m, v, run, "the virtual machine failed"); return false;
    }
}

static void sample(struct kvm_vm *k, struct vcpu *v) {
    struct kvm_regs r;
    if (!ioctl(k->cpu[v->index].fd, KVM_GET_REGS, &r))
        profile_sample(v, r.rip);
    errno = EINTR;
}

static void kvm_run(struct machine *m, struct vcpu *v) {
    struct kvm_vm *k = m->vm_data;
    struct kvm_cpu *c = &k->cpu[v->index];
    while (!m->force) {
        int r = ioctl(c->fd, KVM_RUN, 0);
        v->exits++;
        if (v->profile && r < 0 && errno == EINTR)
            sample(k, v);
        if (r < 0 && errno != EINTR && errno != EAGAIN) {
            log_printf("graft: vCPU %u: KVM_RUN: %s\n", v->index, strerror(errno));
            report_broken(m, v, c->run, "KVM_RUN failed");
            return;
        }
        if (r < 0)
            v->exits_signal++;
        if (r == 0 && !serve_exit(m, v, c->run))
            return;
    }
    report_broken(m, v, c->run, "did not stop when told to");
}

const struct vm_ops vm_kvm = {
    .name = "kvm",
    .in_vm = true,
    .arena_alloc = kvm_arena_alloc,
    .ram_alloc = kvm_ram_alloc,
    .arena_free = kvm_arena_free,
    .create = kvm_create,
    .run = kvm_run,
    .destroy = kvm_destroy,
    .tsc_hz = kvm_tsc_hz,
};
