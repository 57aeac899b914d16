/* SPDX-License-Identifier: Apache-2.0
 * Copyright The Graft Authors */
/* native.c: see native.h. */
#define _GNU_SOURCE
#include "native.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <ucontext.h>
#include <unistd.h>

#include <asm/prctl.h>

#include "dbt/x86/backend.h"
#include "graft/host.h"
#include "graft/softfp.h"

#define GUARD (128 * 1024)
#define CODE_BYTES (4 << 20)
#define NEAR_BASE (FAKE_MEM_BASE - 32768)

uint8_t *native_memory;
struct native native;
static uint8_t *host_memory; /* the same pages, as translated code reaches them; guards around */
static struct fake_cpu *running;
static struct view *view;

/* --- faults ----------------------------------------------------------------------------------- */
const uint8_t *engine_fault_stub(struct cpu *cpu, const uint8_t *host_pc) {
    const struct code_fault *f = code_out_fault(&native.out, host_pc);
    return f && !(f->stub & CODE_RECORD) ? native.out.start + f->stub : NULL;
}
const void *engine_record(struct cpu *cpu, const uint8_t *at) {
    const struct code_fault *f = code_out_fault(&native.out, at);
    return f && f->stub & CODE_RECORD ? native.out.records - (f->stub & ~CODE_RECORD) : NULL;
}
static void on_fault(int sig, siginfo_t *info, void *context) {
    ucontext_t *uc = context;
    const uint8_t *stub =
        running ? engine_fault_stub(&running->c, (const uint8_t *)uc->uc_mcontext.gregs[REG_RIP]) : NULL;
    if (!stub) {
        static const char text[] = "fault outside of a guest access\n";
        if (write(2, text, sizeof(text) - 1) < 0)
            _exit(3);
        native_dump("/tmp/native.bin");
        fprintf(stderr, "rip %llx code %p..%p\n", (unsigned long long)uc->uc_mcontext.gregs[REG_RIP],
                (void *)native.out.start, (void *)native.out.end);
        abort();
    }
    uc->uc_mcontext.gregs[REG_RIP] = (greg_t)(uintptr_t)stub;
}

/* --- what translated code calls --------------------------------------------------------------- */
const uint8_t *native_lookup_result;
unsigned native_lookups;
const uint8_t *engine_lookup(struct cpu *cpu, uint64_t pc) {
    const uint8_t *found = native_lookup_result;
    native_lookups++;
    native_lookup_result = NULL;
    return found;
}
static struct left {
    uint64_t pc;
    struct code_out out;
} blocks[4]; /* of the latest native_compile() */
static unsigned compiled;
uint64_t engine_left(struct cpu *cpu, uint64_t back) {
    uint64_t *pc = &((struct fake_cpu *)cpu)->pc;
    for (unsigned i = 1; i <= ARRAY_LEN(blocks); i++) { /* the newest first: others may have been in its place */
        const struct left *b = &blocks[(compiled - i) % ARRAY_LEN(blocks)];
        if (back <= (uintptr_t)b->out.start || back > (uintptr_t)b->out.end)
            continue;
        const struct code_link *l = code_out_link(&b->out, (const uint8_t *)back);
        *pc = l ? l->target_pc : b->pc;
        return l ? (uintptr_t)l->site : 0;
    }
    return 0;
}
const uint8_t *engine_jump(struct cpu *cpu, uint64_t back) {
    engine_left(cpu, back);
    return engine_lookup(cpu, ((struct fake_cpu *)cpu)->pc);
}
void rt_set_view(struct view *v) { syscall(SYS_arch_prctl, ARCH_SET_GS, v); }

static void *slow(struct cpu *cpu, const struct mmu_slow *s, bool align) {
    uint64_t va = s->va, bytes = UINT64_C(1) << MMU_DESC_SIZE(s->desc);
    if (va < FAKE_MEM_BASE || va - FAKE_MEM_BASE > FAKE_MEM_BYTES - bytes || (align && va % bytes)) {
        running->reserved = 1;
        codegen_unwind(native.cg, cpu);
    }
    return native_memory + (va - FAKE_MEM_BASE);
}
static bool aligned(uint32_t desc) { return (MMU_DESC_FLAGS(desc) & IR_MEM_ALIGN) != 0; }
uint64_t mmu_slow_ld(struct cpu *cpu, struct mmu_slow *s) {
    unsigned size = MMU_DESC_SIZE(s->desc);
    uint64_t value = 0;
    memcpy(size == 4 ? (void *)&cpu->vscratch[0] : (void *)&value, slow(cpu, s, aligned(s->desc)), (size_t)1 << size);
    return value;
}
void mmu_slow_st(struct cpu *cpu, struct mmu_slow *s, uint64_t value) {
    unsigned size = MMU_DESC_SIZE(s->desc);
    memcpy(slow(cpu, s, aligned(s->desc)), size == 4 ? (void *)&cpu->vscratch[0] : (void *)&value, (size_t)1 << size);
}
uint64_t mmu_slow_atomic(struct cpu *cpu, struct mmu_slow *s, uint64_t value) {
    unsigned size = MMU_DESC_SIZE(s->desc), shift = 64 - (8u << size), kind = MMU_DESC_KIND(s->desc);
    void *p = slow(cpu, s, true);
    uint64_t old = 0, mask = MASK(8u << size), result;
    memcpy(&old, p, (size_t)1 << size);
    int64_t so = (int64_t)(old << shift), sv = (int64_t)(value << shift);
    switch (kind) {
    case IR_ATOMIC_ADD: result = old + value; break;
    case IR_ATOMIC_CLR: result = old & ~value; break;
    case IR_ATOMIC_XOR: result = old ^ value; break;
    case IR_ATOMIC_OR: result = old | value; break;
    case IR_ATOMIC_SMAX: result = so > sv ? old : value; break;
    case IR_ATOMIC_SMIN: result = so < sv ? old : value; break;
    case IR_ATOMIC_UMAX: result = old > (value & mask) ? old : value; break;
    case IR_ATOMIC_UMIN: result = old < (value & mask) ? old : value; break;
    default: result = value; break;
    }
    memcpy(p, &result, (size_t)1 << size);
    return old;
}
uint64_t mmu_slow_cas(struct cpu *cpu, struct mmu_slow *s, uint64_t expected, uint64_t value) {
    unsigned size = MMU_DESC_SIZE(s->desc);
    void *p = slow(cpu, s, true);
    uint64_t old = 0;
    memcpy(&old, p, (size_t)1 << size);
    if (old == (expected & MASK(8u << size)))
        memcpy(p, &value, (size_t)1 << size);
    return old;
}

/* --- a memory strategy: one linear mapping ---------------------------------------------------- */
static uint64_t delta(void) { return (uintptr_t)host_memory - FAKE_MEM_BASE; }
static void align_check(struct asm_buf *a, struct mmu_probe *p) {
    if (p->align && p->size) {
        asm_lea(a, true, p->tmp0, asm_mem(p->base, p->disp));
        asm_test_ri(a, false, p->tmp0, (1 << p->size) - 1);
        asm_jcc(a, ASM_NE, p->slow);
    }
}
static void probe_each(struct asm_buf *a, const struct cpu *cpu, struct mmu_probe *p) {
    align_check(a, p);
    asm_lea(a, true, p->tmp0, asm_mem(p->base, p->disp - (int32_t)FAKE_MEM_BASE));
    asm_alu_ri(a, ASM_CMP, true, p->tmp0, FAKE_MEM_BYTES - (1 << p->size));
    p->site = asm_pos(a);
    asm_jcc(a, ASM_A, p->slow);
    asm_mov_ri(a, p->tmp1, delta());
    asm_mov_ri(a, p->tmp0, ~UINT64_C(0));
    p->index = p->tmp1;
    p->covers_nearby = false;
}
static void probe_hoist(struct asm_buf *a, const struct cpu *cpu, struct mmu_probe *p) {
    align_check(a, p);
    asm_lea(a, true, p->tmp0, asm_mem(p->base, -(int32_t)NEAR_BASE));
    asm_alu_ri(a, ASM_CMP, true, p->tmp0, 65536);
    asm_jcc(a, ASM_AE, p->slow);
    asm_mov_ri(a, p->tmp0, delta());
    asm_mov_ri(a, p->tmp1, ~UINT64_C(0));
    p->index = p->tmp0;
    p->covers_nearby = true;
}
/* Pages of 64 bytes: every other one is found only out of line, and so are those that take stores in C alone. */
#define RANGE_PAGE 64
static void range(struct asm_buf *a, struct mmu_probe *p, bool in_line) {
    asm_lea(a, true, p->tmp0, asm_mem(p->base, p->low - (int32_t)FAKE_MEM_BASE));
    asm_lea(a, true, p->tmp1, asm_mem(p->base, p->high - 1 - (int32_t)FAKE_MEM_BASE));
    asm_alu_rr(a, ASM_XOR, true, p->tmp1, p->tmp0);
    asm_alu_ri(a, ASM_CMP, true, p->tmp1, RANGE_PAGE - 1);
    p->site = asm_pos(a);
    asm_jcc(a, ASM_A, p->slow);
    asm_alu_ri(a, ASM_CMP, true, p->tmp0, FAKE_MEM_BYTES - 1);
    asm_jcc(a, ASM_A, p->slow);
    asm_test_ri(a, false, p->tmp0, (in_line ? RANGE_PAGE : 0) | (p->write ? 2 * RANGE_PAGE : 0));
    asm_jcc(a, ASM_NE, p->slow);
    asm_mov_ri(a, p->tmp0, delta());
    asm_mov_ri(a, p->tmp1, ~UINT64_C(0));
    p->index = p->tmp0;
}
static void probe_range(struct asm_buf *a, const struct cpu *cpu, struct mmu_probe *p) {
    align_check(a, p);
    range(a, p, true);
    p->covers_range = true;
}
static void find_range(struct asm_buf *a, const uint8_t *const *thunk, struct mmu_probe *p) {
    align_check(a, p);
    range(a, p, false);
}
static uint64_t hoist_nearby(struct cpu *cpu, const struct mmu_slow *s, uint64_t va, unsigned regime) {
    return va - NEAR_BASE < 65536 ? delta() : (UINT64_C(1) << 62) - va;
}
static const struct mmu_ops strategies[NATIVE_PROBE_COUNT] = {
    [NATIVE_EACH] = {.name = "each", .emit_probe = probe_each},
    [NATIVE_HOIST] = {.name = "hoist", .emit_probe = probe_hoist, .nearby = hoist_nearby},
    [NATIVE_HOIST_POISON] = {.name = "poison", .emit_probe = probe_hoist},
    [NATIVE_RANGE] = {.name = "range", .emit_probe = probe_range, .emit_find = find_range},
};

/* --- setting up ------------------------------------------------------------------------------- */
static const struct guest_pin gpr_some[] = {{FAKE_X(0)}, {FAKE_X(2)}, {FAKE_X(9)}}, vec_some[] = {{FAKE_V(1)}};
static const struct guest_pin gpr_all[] = {{FAKE_X(0)},  {FAKE_X(1)},  {FAKE_X(2)},  {FAKE_X(3)},  {FAKE_X(4)},
                                           {FAKE_X(5)},  {FAKE_X(6)},  {FAKE_X(7)},  {FAKE_X(8)},  {FAKE_X(9)},
                                           {FAKE_X(10)}, {FAKE_X(11)}, {FAKE_X(12)}, {FAKE_X(13)}, {FAKE_X(14)}};
static const struct guest_pin vec_all[] = {
    {FAKE_V(0)},  {FAKE_V(1)},  {FAKE_V(2)},  {FAKE_V(3)},  {FAKE_V(4)},  {FAKE_V(5)},  {FAKE_V(6)},  {FAKE_V(7)},
    {FAKE_V(8)},  {FAKE_V(9)},  {FAKE_V(10)}, {FAKE_V(11)}, {FAKE_V(12)}, {FAKE_V(13)}, {FAKE_V(14)}, {FAKE_V(15)},
    {FAKE_V(16)}, {FAKE_V(17)}, {FAKE_V(18)}, {FAKE_V(19)}, {FAKE_V(20)}, {FAKE_V(21)}, {FAKE_V(22)}, {FAKE_V(23)}};
/* The last ones are in registers that only EVEX encodings reach, if the host has AVX-512. */
static const struct guest_pin vec_high[] = {{FAKE_V(10)}, {FAKE_V(11)}, {FAKE_V(12)}, {FAKE_V(13)}, {FAKE_V(14)},
                                            {FAKE_V(15)}, {FAKE_V(16)}, {FAKE_V(17)}, {FAKE_V(0)},  {FAKE_V(1)},
                                            {FAKE_V(2)},  {FAKE_V(3)},  {FAKE_V(4)}};
#define GUEST .cpu_size = sizeof(struct fake_cpu), .pc_offset = FAKE_PC, .nzcv_offset = FAKE_NZCV, .settle = fake_settle
static const struct guest_ops guests[NATIVE_PINS_COUNT] = {
    [NATIVE_PINS_NONE] = {.name = "none", GUEST},
    [NATIVE_PINS_SOME] = {.name = "some",
                          GUEST,
                          .gpr_pins = gpr_some,
                          .gpr_pin_count = ARRAY_LEN(gpr_some),
                          .vec_pins = vec_some,
                          .vec_pin_count = ARRAY_LEN(vec_some)},
    [NATIVE_PINS_ALL] = {.name = "all",
                         GUEST,
                         .gpr_pins = gpr_all,
                         .gpr_pin_count = ARRAY_LEN(gpr_all),
                         .vec_pins = vec_all,
                         .vec_pin_count = ARRAY_LEN(vec_all)},
    [NATIVE_PINS_HIGH] = {.name = "high",
                          GUEST,
                          .gpr_pins = gpr_all,
                          .gpr_pin_count = ARRAY_LEN(gpr_all),
                          .vec_pins = vec_high,
                          .vec_pin_count = ARRAY_LEN(vec_high)},
};

static void *must(void *p) {
    if (p == MAP_FAILED || !p) {
        perror("native_init");
        exit(2);
    }
    return p;
}
void native_init(void) {
    int fd = memfd_create("guest", 0);
    if (fd < 0 || ftruncate(fd, FAKE_MEM_BYTES))
        must(NULL);
    native_memory = must(mmap(NULL, FAKE_MEM_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0));
    uint8_t *area = must(mmap(NULL, 2 * GUARD + FAKE_MEM_BYTES, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
    host_memory = must(mmap(area + GUARD, FAKE_MEM_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, fd, 0));
    native.code_size = CODE_BYTES;
    int code = memfd_create("code", 0);
    if (code < 0 || ftruncate(code, CODE_BYTES))
        must(NULL);
    native.code = must(mmap(NULL, CODE_BYTES, PROT_READ | PROT_EXEC, MAP_SHARED, code, 0));
    native.writable = must(mmap(NULL, CODE_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, code, 0));
    native.cg = must(calloc(1, codegen_size()));
    view = must(calloc(1, sizeof(*view)));
    struct sigaction sa = {.sa_sigaction = on_fault, .sa_flags = SA_SIGINFO};
    sigaction(SIGSEGV, &sa, NULL);
    sigaction(SIGBUS, &sa, NULL);
}
struct view *native_view(void) { return view; }

static struct fake_cpu setup_cpu;
void native_setup(enum native_pins pins, enum native_probe probe, bool avx512) {
    fake_cpu_init(&setup_cpu);
    setup_cpu.c.guest = &guests[pins];
    setup_cpu.c.code_to_write = native.writable - native.code;
    codegen_minimum = !avx512;
    if (host_lacks() != HOST_FEATURES) {
        fprintf(stderr, "the processor has no %s\n", host_feature_name(host_lacks()));
        exit(77);
    }
    native.thunks = codegen_init(native.cg, &setup_cpu.c, &strategies[probe], native.code, native.code_size);
    for (unsigned i = 0; i < ARRAY_LEN(view->jump_cache); i++)
        view->jump_cache[i] = (struct jump_cache_entry){JUMP_CACHE_EMPTY(i), NULL};
    for (unsigned i = 0; i < ARRAY_LEN(view->jump_victim); i++)
        view->jump_victim[i] = (struct jump_cache_entry){JUMP_VICTIM_EMPTY(i), NULL};
}
int native_compile(const struct ir_block *b, size_t offset) {
    return native_compile_in(b, offset, native.code_size - native.thunks - offset);
}
int native_compile_in(const struct ir_block *b, size_t offset, size_t room) {
    int status = codegen_compile(native.cg, &setup_cpu.c, b, native.code + native.thunks + offset, room, &native.out);
    blocks[compiled++ % ARRAY_LEN(blocks)] = (struct left){b->pc, native.out};
    return status;
}

/* --- running ---------------------------------------------------------------------------------- */
static uint32_t live_mxcsr(void) {
    uint32_t m;
    __asm__ volatile("stmxcsr %0" : "=m"(m));
    return m;
}
static void set_mxcsr(uint32_t m) { __asm__ volatile("ldmxcsr %0" : : "m"(m)); }

struct entering {
    struct cpu *cpu;
    const uint8_t *entry;
};
static void enter(void *arg) {
    struct entering *e = arg;
    codegen_enter(native.cg, e->cpu, e->entry);
}
bool native_run(struct fake_cpu *cpu, const uint8_t *entry, enum native_memory memory) {
    static const int protection[] = {
        [NATIVE_RW] = PROT_READ | PROT_WRITE, [NATIVE_READ_ONLY] = PROT_READ, [NATIVE_NONE] = PROT_NONE};
    struct entering e = {&cpu->c, entry};
    cpu->c.guest = setup_cpu.c.guest;
    for (unsigned i = 0; i < REGIMES; i++)
        cpu->c.views[i] = view;
    for (unsigned i = 0; i < RAS_ENTRIES; i++)
        if (!cpu->c.ras[i].host)
            cpu->c.ras[i] = (struct ras_entry){~UINT64_C(0), (void *)(uintptr_t)codegen_lookup_thunk(native.cg)};
    cpu->reserved = 0;
    fp_set_rounding(&cpu->c);
    set_mxcsr(0x1f80);
    mprotect(host_memory, FAKE_MEM_BYTES, protection[memory]);
    running = cpu;
    bool done = fake_run(enter, &e);
    if (!done) { /* past the exit thunk */
        cpu->c.fp.mxcsr = live_mxcsr();
        set_mxcsr(0x1f80);
    }
    done &= !cpu->reserved;
    running = NULL;
    uint32_t m = cpu->c.fp.mxcsr;
    cpu->c.fp.fpsr |= (m & 1) | (m & 4) >> 1 | (m & 8) >> 1 | (m & 16) >> 1 | (m & 32) >> 1;
    cpu->reserved = 0;
    return done;
}
void native_dump(const char *path) {
    FILE *f = fopen(path, "wb");
    if (f) {
        fwrite(native.out.start, 1, (size_t)(native.cg->a.p - native.out.start), f);
        fclose(f);
    }
}
