/* SPDX-License-Identifier: Apache-2.0
 * Copyright The Graft Authors */
/*
 * ring3.c: random host code in ring 3, in the page tables of EL0's view and of EL1's (U-mode's and S-mode's): what is
 * left when translated code has gone wrong altogether (--layout ring0).
 *
 *   ring3 GUEST SECONDS MMU [SEED]
 *
 * MMU: window or direct. In between it looks at what the page tables of the VM allow (tables.h), with window before
 * that for the layout where all runs in ring 3, too.
 *
 * Runs the guest (guest.c or guest_rv64.c), and takes its vCPU away whenever it is found in ring 3. Two kinds of
 * attempts, in turn:
 *
 *   code    a page of random and of spiteful host code. Any exception ends it, since the IDT is taken away
 *           meanwhile, and SYSCALL is one: code that strays into translated code must not get a request served by
 *           accident. The pages of the VM that were written to (KVM's dirty log) have to be among those that the
 *           level owns, which are put back. The log has pages that were not written to, too: those that the
 *           processor walked, or that KVM mapped. They are compared.
 *   requests  SYSCALL with random registers, with the engine as it is. It may serve, refuse (a panic, which ends
 *             nothing here) or give the guest an exception; it may not fault in ring 0. All that it did is undone,
 *             in memory, too: a request that was served may well have taken the guest to its other level.
 *
 * Status 0: nothing got out; 1: something did; 77: there is no KVM, or none that runs ring 0.
 */
#include "hypervisor/vm_kvm.c" /* for its files: this is another vm_ops.run */

#include "hypervisor/boot.h"
#include "graft/guest.h"
#include "tests/isolation/tables.h"

#include <sys/time.h>
#include <sys/wait.h>
#include <time.h>

#define TRY_US 3000
#define EFER_SCE 1
#define CODE_BYTES 4096
#define RAM_BYTES (16u << 20)
#define GUEST_MAGIC 0x20534920454e4f20ul
#define CR4_PGE BIT(7)

static struct machine *m;
static struct kvm_vm *k;
static struct vcpu *v;
static struct cpu *cpu;
static uint64_t seed = 88172645463325252u, tries[2][2], shutdowns, refused, written;
static unsigned failures;

static uint64_t next(void) {
    seed ^= seed << 13;
    seed ^= seed >> 7;
    return seed ^= seed << 17;
}

static void fail(const char *what, uint64_t which) {
    printf("FAIL %s: %llx (EL%u)\n", what, (unsigned long long)which, cpu->regime ? 1 : 0);
    failures++;
}

static void die(const char *what) {
    perror(what);
    exit(1);
}

/* The monitor's address of the engine's. */
static void *here(const void *engine_va) { return m->arena + ((uint64_t)engine_va - m->arena_va); }

/* --- what the VM was before an attempt -------------------------------------------------------- */
static struct part {
    uint8_t *at, *copy;
    uint64_t pa, bytes, *bits; /* VM-physical; KVM's dirty log */
} parts[2];                    /* in the order of KVM's slots: the arena, RAM */

static void part_keep(const struct part *p, uint64_t from, uint64_t bytes) {
    memcpy(p->copy + from, p->at + from, bytes);
}

static void dirty_log(unsigned slot) {
    struct kvm_dirty_log log = {.slot = slot, .dirty_bitmap = parts[slot].bits};
    if (ioctl(k->vm, KVM_GET_DIRTY_LOG, &log))
        die("KVM_GET_DIRTY_LOG");
}

/* The first page from there on that the log has; p->bytes or more: none. */
static uint64_t next_dirty(const struct part *p, uint64_t from) {
    for (uint64_t page = from / PAGE_SIZE; page < p->bytes / PAGE_SIZE; page = ALIGN_DOWN(page, 64) + 64) {
        uint64_t bits = p->bits[page / 64] >> page % 64;
        if (bits)
            return (page + (unsigned)__builtin_ctzll(bits)) * PAGE_SIZE;
    }
    return p->bytes;
}

static uint64_t code_offset(void) { return ALIGN_DOWN(m->layout.code_size / 2, PAGE_SIZE); }

/* The VM did not run since the last time, or wrote what the log has. What the monitor writes is not there. */
static void keep(void) {
    for (unsigned i = 0; i < ARRAY_LEN(parts); i++) {
        dirty_log(i);
        for (uint64_t at = next_dirty(&parts[i], 0); at < parts[i].bytes; at = next_dirty(&parts[i], at + PAGE_SIZE))
            part_keep(&parts[i], at, PAGE_SIZE);
    }
    part_keep(&parts[0], m->layout.cpu[0], ABI_CPU_BYTES);
    part_keep(&parts[0], m->layout.shared, sizeof(struct abi_shared));
    part_keep(&parts[0], m->layout.code[0] + code_offset(), CODE_BYTES);
}

/* seen_page(): is told of each page that is not as it was, before it is put back; NULL: no need to. */
static void put_back(void (*seen_page)(uint64_t pa)) {
    for (unsigned i = 0; i < ARRAY_LEN(parts); i++) {
        const struct part *p = &parts[i];
        dirty_log(i);
        for (uint64_t at = next_dirty(p, 0); at < p->bytes; at = next_dirty(p, at + PAGE_SIZE)) {
            if (!memcmp(p->at + at, p->copy + at, PAGE_SIZE))
                continue;
            if (seen_page)
                seen_page(p->pa + at);
            memcpy(p->at + at, p->copy + at, PAGE_SIZE);
        }
    }
    memcpy(m->arena + m->layout.cpu[0], parts[0].copy + m->layout.cpu[0], ABI_CPU_BYTES);
    memcpy(m->arena + m->layout.shared, parts[0].copy + m->layout.shared, sizeof(struct abi_shared));
}

/* --- what a level owns ------------------------------------------------------------------------ */
static uint64_t user_page;     /* VM-physical: the one that EL0 writes */
static struct kvm_sregs tried; /* with what the code in progress was entered */

/* Is that a page of the bytes at an address of the arena? */
static bool is_of(uint64_t pa, const void *at, size_t bytes) {
    return pa - (uint64_t)((const uint8_t *)at - m->arena) < bytes;
}

static bool is_own(uint64_t pa) {
    const uint8_t *hot = m->arena + m->layout.cpu[0];
    const size_t cold = sizeof(struct cpu) - PAGE_SIZE;
    const struct guest_ops *guest = guest_table[m->boot->guest];
    if (pa >= VM_RAM_PA) /* EL1 owns all of RAM */
        return cpu->regime || pa == user_page;
    const struct view *view = here(cpu->views[cpu->regime]);
    return is_of(pa, hot + cold, guest->own_bytes[cpu->regime] - cold) ||
           is_of(pa, hot + VM_USER_STACK(guest_level(guest, cpu->regime)), PAGE_SIZE) ||
           is_of(pa, view->jump_cache, sizeof(*view) - offsetof(struct view, jump_cache) + PAGE_SIZE);
}

/* What of the arena it is, and what has changed in it. */
static void describe(uint64_t pa) {
    const struct layout *l = &m->layout;
    const struct {
        const char *name;
        uint64_t at;
    } kinds[] = {{"image", l->image},
                 {"system", l->system},
                 {"boot", l->boot},
                 {"shared", l->shared},
                 {"code pages", l->code_pages},
                 {"heap", l->heap},
                 {"cpu", l->cpu[0]},
                 {"vCPU's heap", l->vcpu_heap[0]},
                 {"code", l->code[0]},
                 {"stack", l->stack[0]},
                 {"fault stack", l->fault_stack[0]},
                 {"page tables", l->pt_pool}};
    unsigned best = 0, i = 0;
    for (unsigned n = 1; n < ARRAY_LEN(kinds); n++)
        if (kinds[n].at <= pa && kinds[n].at > kinds[best].at)
            best = n;
    const uint8_t *now = parts[0].at + pa, *was = parts[0].copy + pa;
    while (i < PAGE_SIZE - 8 && !memcmp(now + i, was + i, 8))
        i += 8;
    printf("  %s + %llx, CR3 %llx, view %llx; at %x: %016llx, was %016llx\n", kinds[best].name,
           (unsigned long long)(pa - kinds[best].at), (unsigned long long)tried.cr3,
           (unsigned long long)((const uint8_t *)here(cpu->views[cpu->regime]) - m->arena), i,
           *(const unsigned long long *)(now + i), *(const unsigned long long *)(was + i));
}

static void check_page(uint64_t pa) {
    written++;
    if (is_own(pa))
        return;
    fail("a page was written", pa);
    if (pa < VM_RAM_PA)
        describe(pa);
}

/* --- the vCPU --------------------------------------------------------------------------------- */
struct state {
    struct kvm_regs regs;
    struct kvm_sregs sregs;
    struct kvm_fpu fpu;
};

static void state_get(struct state *s) {
    int fd = k->cpu[0].fd;
    if (ioctl(fd, KVM_GET_REGS, &s->regs) || ioctl(fd, KVM_GET_SREGS, &s->sregs) || ioctl(fd, KVM_GET_FPU, &s->fpu))
        die("get state");
}

static void state_set(struct state *s) {
    char err[ERR_BYTES];
    struct kvm_vcpu_events none = {.flags = 0};
    int fd = k->cpu[0].fd;
    if (ioctl(fd, KVM_SET_SREGS, &s->sregs) || ioctl(fd, KVM_SET_REGS, &s->regs) || ioctl(fd, KVM_SET_FPU, &s->fpu) ||
        ioctl(fd, KVM_SET_VCPU_EVENTS, &none) || set_syscall(k, 0, err))
        die("set state");
    set_xcr0(k, 0);
}

/* An address that is worth a try. */
static uint64_t target(void) {
    uint64_t r = next(), offset = r >> 20;
    switch (r & 15) {
    case 0: return m->arena_va + offset % m->layout.total;
    case 1: return m->arena_va + m->layout.system + offset % m->layout.system_size;
    case 2: return m->arena_va + m->layout.pt_pool + offset % m->layout.pt_pool_size;
    case 3: return m->vm_base + ABI_VA_RAM + offset % m->ram_size;
    case 4: return VM_USER_CODE(m->boot->user_va, 0) + offset % m->layout.code_size;
    case 5: return VM_USER_PAGES(m->boot->user_va) + offset % (64 * PAGE_SIZE);
    case 6: return m->arena_va + m->layout.cpu[0] + offset % ABI_CPU_BYTES;
    case 7: return m->vm_base + ABI_VA_DOORBELL + offset % 256;
    case 8: return m->boot->windows_va | (VM_WINDOW_FIRST + offset % 250) << 39 | (next() & MASK(39));
    case 9: return m->arena_va + m->layout.boot + offset % PAGE_SIZE;
    case 10:
        return m->boot->windows_va | (VM_WINDOW_FIRST + 2 * (offset % 8)) << 39 |
               (m->board->ram + next() % m->ram_size);
    case 11: return UINT64_C(0xfee00000) + offset % PAGE_SIZE;
    case 12: return offset & 0xffff;
    default: return next();
    }
}

static void random_registers(struct kvm_regs *r) {
    __u64 *reg[] = {&r->rax, &r->rbx, &r->rcx, &r->rdx, &r->rsi, &r->rdi, &r->rbp, &r->r8,
                    &r->r9,  &r->r10, &r->r11, &r->r12, &r->r13, &r->r14, &r->r15};
    for (unsigned i = 0; i < ARRAY_LEN(reg); i++)
        *reg[i] = target();
    if (next() & 1)
        r->rsp = target();
    r->rflags = 2 | (next() & 0x40cd5); /* AC, DF and the arithmetic ones */
}

/* Instructions that are not for ring 3, or that write somewhere. */
static const struct {
    uint8_t len, code[7];
} spite[] = {
    {3, {0x48, 0x89, 0x03}},             /* mov [rbx], rax */
    {3, {0x48, 0x89, 0x16}},             /* mov [rsi], rdx */
    {4, {0x4d, 0x89, 0x45, 0}},          /* mov [r13], r8 */
    {3, {0x48, 0x8b, 0x03}},             /* mov rax, [rbx] */
    {3, {0xf3, 0x48, 0xab}},             /* rep stosq */
    {3, {0xf3, 0x48, 0xa5}},             /* rep movsq */
    {4, {0xf0, 0x48, 0x0f, 0xb1}},       /* lock cmpxchg ... */
    {3, {0x0f, 0x22, 0xd8}},             /* mov cr3, rax */
    {3, {0x0f, 0x20, 0xdb}},             /* mov rbx, cr3 */
    {3, {0x0f, 0x22, 0xe0}},             /* mov cr4, rax */
    {2, {0x0f, 0x30}},                   /* wrmsr */
    {2, {0x0f, 0x32}},                   /* rdmsr */
    {3, {0x0f, 0x01, 0x13}},             /* lgdt [rbx] */
    {3, {0x0f, 0x01, 0x03}},             /* sgdt [rbx] */
    {3, {0x0f, 0x01, 0x3b}},             /* invlpg [rbx] */
    {3, {0x0f, 0x01, 0xf8}},             /* swapgs */
    {3, {0x0f, 0x01, 0xd1}},             /* xsetbv */
    {3, {0x0f, 0x01, 0xcb}},             /* stac */
    {3, {0x0f, 0x01, 0xd9}},             /* vmmcall */
    {3, {0x0f, 0x01, 0xd8}},             /* vmrun */
    {3, {0x0f, 0x01, 0xc1}},             /* vmcall */
    {2, {0x0f, 0x06}},                   /* clts */
    {2, {0x0f, 0x09}},                   /* wbinvd */
    {1, {0xf4}},                         /* hlt */
    {1, {0xfa}},                         /* cli */
    {1, {0xfb}},                         /* sti */
    {2, {0xe6, 0x10}},                   /* out 0x10, al */
    {1, {0xee}},                         /* out dx, al */
    {5, {0x66, 0xba, 0x10, 0x05, 0xee}}, /* mov dx, RT_PORT_CALL; out dx, al */
    {1, {0xec}},                         /* in al, dx */
    {2, {0x48, 0xcf}},                   /* iretq */
    {3, {0x48, 0x0f, 0x07}},             /* sysretq */
    {2, {0x0f, 0x35}},                   /* sysexit */
    {2, {0x0f, 0x34}},                   /* sysenter */
    {2, {0xcd, 0x80}},                   /* int 0x80 */
    {2, {0xcd, 0x0e}},                   /* int 14 */
    {1, {0xcc}},                         /* int3 */
    {5, {0xf3, 0x48, 0x0f, 0xae, 0xdb}}, /* wrgsbase rbx */
    {5, {0xf3, 0x48, 0x0f, 0xae, 0xd3}}, /* wrfsbase rbx */
    {3, {0x0f, 0x00, 0xd8}},             /* ltr ax */
    {2, {0x8e, 0xd8}},                   /* mov ds, eax */
    {2, {0xff, 0xe3}},                   /* jmp rbx */
    {2, {0xff, 0xd6}},                   /* call rsi */
    {1, {0xc3}},                         /* ret */
    {1, {0x9d}},                         /* popfq */
    {2, {0x0f, 0xa2}},                   /* cpuid */
};

static void write_code(uint8_t *at) {
    for (size_t i = 0; i < CODE_BYTES; i += 8) {
        uint64_t r = next();
        memcpy(at + i, &r, 8);
    }
    for (size_t i = 0; i + 8 < 512;) {
        if (next() & 1) {
            i += next() & 7;
            continue;
        }
        unsigned n = next() % ARRAY_LEN(spite);
        memcpy(at + i, spite[n].code, spite[n].len);
        i += spite[n].len;
    }
}

/* --- page tables ------------------------------------------------------------------------------ */
#define LOOKS 20
#define LOOK_SECONDS 60
static struct tables_seen seen;

static void look_at_tables(void) {
    struct kvm_sregs s;
    if (ioctl(k->cpu[0].fd, KVM_GET_SREGS, &s))
        die("KVM_GET_SREGS");
    failures += tables_check(m, &k->tables, s.cr3, &seen);
    for (unsigned i = 0; i < m->vcpu_count; i++)
        failures += tables_check(m, &k->tables, k->tables.root[i], &seen);
}

static void judge_tables(const char *layout) {
    printf("%s: leaves of page tables: %lu with code, %lu in windows, %lu of them of 2 MiB\n", layout, seen.code,
           seen.window, seen.huge);
    if (!seen.code || !seen.window)
        fail("a kind of page was never seen", 0);
}

/* --- attempts --------------------------------------------------------------------------------- */
static volatile sig_atomic_t rang;
static void on_alarm(int signal) { rang = 1; }
/* Again and again: the first one may come before the vCPU runs. */
static void alarm_in(unsigned us) {
    rang = 0;
    setitimer(ITIMER_REAL, &(struct itimerval){.it_value = {.tv_usec = us}, .it_interval = {.tv_usec = us}}, NULL);
}

static void try_code(const struct state *before) {
    struct state s = *before, after;
    write_code(m->arena + m->layout.code[0] + code_offset());
    random_registers(&s.regs);
    s.regs.rip = VM_USER_CODE(m->boot->user_va, 0) + code_offset() + (next() & 15);
    s.sregs.idt.limit = 0;
    s.sregs.efer &= ~(uint64_t)EFER_SCE;
    keep();
    tried = s.sregs;
    state_set(&s);
    alarm_in(TRY_US);
    int r = ioctl(k->cpu[0].fd, KVM_RUN, 0);
    const struct kvm_run *run = k->cpu[0].run;
    if (r == 0 && run->exit_reason == KVM_EXIT_SHUTDOWN) {
        shutdowns++;
    } else if (r < 0 && errno == EINTR) {
        state_get(&after);
        if (after.sregs.cs.selector != VM_SEL_CODE3)
            fail("it is in ring 0", after.regs.rip);
        if (after.sregs.cr3 != s.sregs.cr3 || after.sregs.cr4 != s.sregs.cr4 || after.sregs.cr0 != s.sregs.cr0 ||
            after.sregs.efer != s.sregs.efer || after.sregs.gdt.base != s.sregs.gdt.base ||
            after.sregs.idt.base != s.sregs.idt.base || after.sregs.tr.base != s.sregs.tr.base)
            fail("a control register changed", after.sregs.cr3);
    } else {
        fail("an exit to the monitor", r ? (uint64_t)errno : run->exit_reason);
    }
    put_back(check_page);
}

/* Is that panic the engine's own mistake? An exception in ring 0 is. */
static bool is_breach(const char *text) {
    const char *at = strstr(text, "host exception");
    const char *where = at ? strstr(at, ", at ") : NULL;
    return where && strtoull(where + 5, NULL, 16) - m->boot->user_va >= UINT64_C(1) << 39;
}

static void try_request(const struct state *before) {
    static const uint8_t code[] = {0x0f, 0x05, 0xeb, 0xfe}; /* syscall; jmp . */
    struct state s = *before;
    uint64_t small = next() % 9;
    memcpy(m->arena + m->layout.code[0] + code_offset(), code, sizeof(code));
    keep();
    random_registers(&s.regs);
    s.regs.rip = VM_USER_CODE(m->boot->user_va, 0) + code_offset();
    s.regs.rax = next() & 7 ? small : next();
    if (next() & 1)
        s.regs.rdi = next() % 2100;
    if (!(next() & 3)) { /* a record of its own making */
        unsigned level = guest_level(guest_table[m->boot->guest], cpu->regime);
        uint8_t *frame = m->arena + m->layout.cpu[0] + VM_USER_STACK(level);
        for (size_t i = PAGE_SIZE / 2; i < PAGE_SIZE; i += 8) {
            uint64_t value = VM_USER_CODE(m->boot->user_va, 0) + next() % m->layout.code_size;
            memcpy(frame + i, &value, 8);
        }
    }
    state_set(&s);
    alarm_in(TRY_US);
    for (;;) {
        int r = ioctl(k->cpu[0].fd, KVM_RUN, 0);
        const struct kvm_run *run = k->cpu[0].run;
        if (r < 0 && errno == EINTR) {
            state_get(&s);
            if (s.sregs.cs.selector == VM_SEL_CODE3)
                break;
            continue; /* the engine is not to be left in the middle of something */
        }
        if (r < 0 || run->exit_reason != KVM_EXIT_IO) {
            state_get(&s);
            fail("a request: an exit", r ? (uint64_t)errno : run->exit_reason);
            break;
        }
        if (v->abi->call == ABI_CALL_PANIC) {
            const char *text = machine_engine_ptr(m, v->abi->arg[0], v->abi->arg[1]);
            refused++;
            if (!text || is_breach(text))
                fail("the engine faulted", 0);
            if (text && is_breach(text))
                printf("%.*s\n", (int)v->abi->arg[1], text);
            break;
        }
        if (v->abi->call == ABI_CALL_KICK || v->abi->call == ABI_CALL_LOG || v->abi->call == ABI_CALL_MMIO_READ ||
            v->abi->call == ABI_CALL_MMIO_WRITE || (!rang && v->abi->call == ABI_CALL_WAIT)) {
            v->abi->ret[1] = 0; /* served, with nothing in it */
            continue;
        }
        break;
    }
    put_back(NULL);
}

static void attempt(void) {
    static unsigned turn;
    struct state s;
    state_get(&s);
    uint64_t code = s.regs.rip - VM_USER_CODE(m->boot->user_va, 0);
    if (s.sregs.cs.selector != VM_SEL_CODE3 || code >= m->layout.code_size)
        return;
    bool request = turn++ & 1;
    if (turn % 64 == 1)
        look_at_tables();
    tries[cpu->regime != 0][request]++;
    if (request)
        try_request(&s);
    else
        try_code(&s);
    /* Page tables may be among what was put back: nothing of them is to stay in a TLB. */
    struct state other = s;
    other.sregs.cr4 ^= CR4_PGE;
    state_set(&other);
    state_set(&s);
    alarm_in(TRY_US);
}

/* --- start ------------------------------------------------------------------------------------ */
static void find_user_page(void) {
    for (uint64_t at = 0; at < m->ram_size; at += PAGE_SIZE) {
        const uint64_t *word = (const uint64_t *)(m->ram + at);
        if (word[0] == GUEST_MAGIC && word[1] == ~GUEST_MAGIC)
            user_page = VM_RAM_PA + at;
    }
}

/* Before the guest runs: hardly anything in its VM is not zero yet, and memory is short where this runs. */
static void part_begin(unsigned slot, uint64_t pa, uint8_t *at, uint64_t bytes) {
    static const uint8_t zeros[PAGE_SIZE];
    struct part *p = &parts[slot];
    struct kvm_userspace_memory_region r = {.slot = slot,
                                            .flags = KVM_MEM_LOG_DIRTY_PAGES,
                                            .guest_phys_addr = pa,
                                            .memory_size = bytes,
                                            .userspace_addr = (uint64_t)at};
    if (ioctl(k->vm, KVM_SET_USER_MEMORY_REGION, &r))
        die("KVM_MEM_LOG_DIRTY_PAGES");
    *p = (struct part){
        .at = at, .copy = calloc(bytes, 1), .pa = pa, .bytes = bytes, .bits = calloc(bytes / PAGE_SIZE / 64 + 1, 8)};
    if (!p->copy || !p->bits)
        die("memory");
    for (uint64_t i = 0; i < bytes; i += PAGE_SIZE)
        if (memcmp(at + i, zeros, PAGE_SIZE))
            part_keep(p, i, PAGE_SIZE);
}

static bool all_tried(void) { return tries[0][0] && tries[0][1] && tries[1][0] && tries[1][1]; }

/* The guest, which is taken away from whenever it is found in ring 3, until the time is over and each kind of attempt
 * was made: on a host that is busy the first may take longer than that. */
static void run_until(time_t end) {
    alarm_in(TRY_US);
    while ((time(NULL) < end || !all_tried()) && failures < 20) {
        int r = ioctl(k->cpu[0].fd, KVM_RUN, 0);
        if (r < 0 && errno != EINTR)
            die("KVM_RUN");
        if (r == 0 && !serve_exit(m, v, k->cpu[0].run)) {
            fail("the guest ended", m->state);
            return;
        }
        if (r == 0)
            continue;
        if (!user_page)
            find_user_page();
        if (user_page)
            attempt();
        alarm_in(TRY_US);
    }
}

static bool make_machine(struct options *o, char err[ERR_BYTES]) {
    static struct boot_files files;
    struct chardev *serial = chardev_open("serial", "none", err);
    m = boot_read(&files, o, err) ? machine_create(o, &files, serial, NULL, err) : NULL;
    if (!m) {
        fprintf(stderr, "%s\n", err);
        return false;
    }
    k = m->vm_data;
    v = &m->vcpu[0];
    cpu = (struct cpu *)v->abi;
    m->boot->tsc_base = run_tsc();
    sigaction(SIGALRM, &(struct sigaction){.sa_handler = on_alarm}, NULL);
    return true;
}

/* All in ring 3: the guest runs, and is looked at. */
static int look_at_flat(struct options *o) {
    char err[ERR_BYTES];
    if (!make_machine(o, err))
        return 1;
    time_t end = time(NULL) + LOOK_SECONDS; /* a host that emulates takes its time to get there */
    for (unsigned looks = 0; looks < LOOKS || (!seen.window && time(NULL) < end);) {
        alarm_in(TRY_US * 10);
        int r = ioctl(k->cpu[0].fd, KVM_RUN, 0);
        if (r < 0 && errno != EINTR)
            die("KVM_RUN");
        if (r == 0 && !serve_exit(m, v, k->cpu[0].run)) {
            fail("the guest ended", m->state);
            return 1;
        }
        if (r == 0)
            continue;
        look_at_tables();
        looks++;
    }
    judge_tables("flat");
    return failures != 0;
}

static bool flat_is_well(struct options o) {
    int status = 1;
    o.layout = LAYOUT_FLAT;
    o.smp = 2;
    fflush(stdout);
    pid_t pid = fork();
    if (!pid) {
        status = look_at_flat(&o);
        fflush(stdout);
        _exit(status);
    }
    return waitpid(pid, &status, 0) == pid && !status;
}

static void count_tries(void) {
    printf("EL0: %llu codes, %llu requests; EL1: %llu codes, %llu requests\n", (unsigned long long)tries[0][0],
           (unsigned long long)tries[0][1], (unsigned long long)tries[1][0], (unsigned long long)tries[1][1]);
    printf("%llu ended by an exception, %llu requests refused, %llu pages of their own written\n",
           (unsigned long long)shutdowns, (unsigned long long)refused, (unsigned long long)written);
}

int main(int argc, char **argv) {
    char err[ERR_BYTES];
    if (argc < 4) {
        fprintf(stderr, "usage: ring3 GUEST SECONDS MMU [SEED]\n");
        return 2;
    }
    if (!vm_kvm_usable(err)) {
        printf("SKIP: %s\n", err);
        return 77;
    }
    struct options o = {.kernel = argv[1],
                        .memory = RAM_BYTES,
                        .smp = 1,
                        .gic = 3,
                        .layout = LAYOUT_RING0,
                        .mmu = strcmp(argv[3], "direct") ? ABI_MMU_WINDOW : ABI_MMU_DIRECT,
                        .mmu_given = true};
    if (o.mmu == ABI_MMU_WINDOW && !flat_is_well(o)) {
        puts("FAILED");
        return 1;
    }
    if (!kvm_has_ring0(o.mmu, err)) {
        printf("SKIP: %s\n", err);
        return 77;
    }
    if (argc > 4)
        seed ^= strtoull(argv[4], NULL, 0) << 20;
    if (!make_machine(&o, err))
        return 1;
    part_begin(0, 0, m->arena, m->layout.total);
    part_begin(1, VM_RAM_PA, m->ram, m->memory);
    run_until(time(NULL) + atol(argv[2]));
    count_tries();
    judge_tables("ring0");
    puts(failures ? "FAILED" : "ALL PASS");
    return failures != 0;
}
