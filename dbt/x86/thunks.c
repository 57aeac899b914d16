/* SPDX-License-Identifier: Apache-2.0
 * Copyright The Graft Authors */
/* thunks.c: host features, the code that all blocks share, and entering and leaving translated code. */
#include "dbt/x86/backend.h"
#include "graft/hash.h"
#include "graft/host.h"
#include "graft/rt.h"

/* --- host features ---------------------------------------------------------------------------- */
bool codegen_minimum, codegen_spares_high;
static struct codegen_features host_features(struct cpu *cpu) {
    enum host_feature lacks = host_lacks();
    if (lacks != HOST_FEATURES)
        rt_panic(cpu, "the processor, as it is seen from here, has no %s", host_feature_name(lacks));
    return (struct codegen_features){.avx512 = !codegen_minimum && host_has(HOST_AVX512F) && host_has(HOST_AVX512DQ) &&
                                               host_has(HOST_AVX512BW) && host_has(HOST_AVX512VL)};
}

/* --- constants -------------------------------------------------------------------------------- */
static v128 splat(uint64_t x) { return (v128){.u64 = {x, x}}; }
static void consts_rev(struct consts *k) {
    for (unsigned n = 1; n < 5; n++) {
        for (unsigned lane = 0; lane < n && lane < 4; lane++) {
            for (unsigned i = 0; i < 16; i++) {
                unsigned container = i >> n << n, j = i & ((1u << n) - 1), last = (1u << (n - lane)) - 1;
                k->rev[n][lane].u8[i] =
                    (uint8_t)(container + ((last - (j >> lane)) << lane) + (j & ((1u << lane) - 1)));
            }
        }
    }
    for (unsigned lane = 1; lane < 4; lane++) {
        for (unsigned i = 0; i < 16; i++) {
            unsigned half = 1u << (lane - 1);
            k->narrow[lane].u8[i] = (uint8_t)(i < 8 ? (i / half) * 2 * half + i % half : 0x80);
        }
    }
}
static void consts_init(struct consts *k) {
    memset(k, 0, sizeof(*k));
    k->abs32 = splat(UINT64_C(0x7fffffff7fffffff));
    k->abs64 = splat(UINT64_C(0x7fffffffffffffff));
    k->min32 = splat(UINT64_C(0x0080000000800000));
    k->min64 = splat(UINT64_C(0x0010000000000000));
    k->sign32 = splat(UINT64_C(0x8000000080000000));
    k->sign64 = splat(UINT64_C(0x8000000000000000));
    k->one32hi = (v128){.u64 = {0, UINT64_C(0x3f8000003f800000)}};
    k->low8 = splat(UINT64_C(0x00ff00ff00ff00ff));
    k->low16 = splat(UINT64_C(0x0000ffff0000ffff));
    k->low32 = splat(UINT64_C(0x00000000ffffffff));
    k->keep8 = (v128){.u64 = {0xff, 0}};
    k->keep16 = (v128){.u64 = {0xffff, 0}};
    k->tbl = splat(UINT64_C(0x7070707070707070));
    k->max32 = splat(UINT64_C(0x7fffffff7fffffff));
    k->max64 = splat(UINT64_C(0x7fffffffffffffff));
    for (unsigned n = 0; n < 8; n++) {
        k->shl8[n] = splat(UINT64_C(0x0101010101010101) * (0xffu << n & 0xff));
        k->shr8[n] = splat(UINT64_C(0x0101010101010101) * (0xffu >> n));
        k->sar8[n] = splat(UINT64_C(0x0101010101010101) * (0x80u >> n));
    }
    consts_rev(k);
    k->rbit[0] = UINT64_C(0x0f0f0f0f0f0f0f0f);
    k->rbit[1] = UINT64_C(0x3333333333333333);
    k->rbit[2] = UINT64_C(0x5555555555555555);
    k->rev16 = UINT64_C(0x00ff00ff00ff00ff);
    k->fcmp[0] = IR_FLAG_C;
    k->fcmp[1] = IR_FLAG_N;
    k->fcmp[2] = IR_FLAG_Z | IR_FLAG_C;
    k->fcmp[3] = IR_FLAG_C | IR_FLAG_V;
    k->minus1 = UINT64_C(0xbff0000000000000);
    k->two32 = UINT64_C(0x41f0000000000000);
    k->two63 = UINT64_C(0x43e0000000000000);
    k->minus1f = 0xbf800000;
    k->two32f = 0x4f800000;
    k->two63f = 0x5f000000;
}

/* --- thunks ----------------------------------------------------------------------------------- */
#define FRAME_BYTES ((int32_t)sizeof(struct frame) + 8) /* with the return address and six pushes: 16-aligned */
static const uint8_t saved[] = {ASM_RBX, ASM_RBP, ASM_R12, ASM_R13, ASM_R14, ASM_R15};

#define ALL_PINS (~(regset)0)
static void move_pins(struct codegen *cg, regset which, bool load) {
    struct asm_buf *a = &cg->a;
    for (regset m = cg->pins & which; m; m &= m - 1) {
        unsigned r = (unsigned)__builtin_ctzll(m);
        struct asm_mem home = cpu_mem((size_t)cg->pin_offset[r]);
        if (r < 16 && load)
            asm_mov_rm(a, true, r, home);
        else if (r < 16)
            asm_mov_mr(a, true, home, r);
        else if (load)
            asm_vmov_rm(a, xmm(r), home);
        else
            asm_vmov_mr(a, home, xmm(r));
    }
}
static const uint8_t *start(struct codegen *cg) {
    while (asm_pos(&cg->a) & 15)
        asm_byte(&cg->a, 0xcc);
    return cg->a.p;
}
static void save_pins(struct codegen *cg, regset which) { move_pins(cg, which & ~cg->kept, false); }
static void load_pins(struct codegen *cg, regset which) { move_pins(cg, which & ~cg->kept, true); }
/* reg = struct cpu as the engine knows it. */
static void cpu_arg(struct codegen *cg, unsigned reg) {
    if (cg->a.view_disp)
        asm_mov_rm(&cg->a, true, reg, CPU_FIELD(self));
    else
        asm_lea(&cg->a, true, reg, asm_mem(ASM_RBP, -CODEGEN_BIAS));
}
/* C code may have changed the view. */
static void renew_rbp(struct codegen *cg) {
    if (cg->a.view_disp)
        asm_mov_rm(&cg->a, true, ASM_RBP, CPU_FIELD(rbp));
}
static void mxcsr(struct codegen *cg, bool load, struct asm_mem m) {
    asm_op_rm(&cg->a, ASM_OP(0, 1, 0xae), false, load ? 2 : 3, m, 0);
}

/* The time since the last such point goes to that counter, if code is to count. Changes the flags, no register. */
static void emit_clock(struct codegen *cg, enum abi_stat stat) {
    struct asm_buf *a = &cg->a;
    if (!cg->count)
        return;
    asm_push(a, ASM_RAX);
    asm_push(a, ASM_RDX);
    asm_op_rdtsc(a);
    asm_shift_ri(a, ASM_SHL, true, ASM_RDX, 32);
    asm_alu_rr(a, ASM_OR, true, ASM_RAX, ASM_RDX);
    asm_mov_rm(a, true, ASM_RDX, CPU_FIELD(clock));
    asm_mov_mr(a, true, CPU_FIELD(clock), ASM_RAX);
    asm_alu_rr(a, ASM_SUB, true, ASM_RAX, ASM_RDX);
    asm_alu_mr(a, ASM_ADD, true, cpu_mem(offsetof(struct abi_vcpu, stats) + 8 * (size_t)stat), ASM_RAX);
    asm_pop(a, ASM_RDX);
    asm_pop(a, ASM_RAX);
}

/* Asks ring 0 for something. */
static void request(struct codegen *cg, enum rt_sys what) {
    asm_mov_ri32(&cg->a, ASM_RAX, what);
    asm_room(&cg->a);
    asm_byte(&cg->a, 0x0f);
    asm_byte(&cg->a, 0x05);
}

/* Ring 3's part of rt_enter(). */
static void ring3_enter_thunk(struct codegen *cg) {
    cg->ring3_enter = start(cg);
    mxcsr(cg, true, CPU_FIELD(fp.mxcsr));
    load_pins(cg, ALL_PINS);
    emit_clock(cg, ABI_STAT_ticks_engine);
    asm_jmp_r(&cg->a, ASM_RSI);
}
static void enter_thunk(struct codegen *cg) {
    struct asm_buf *a = &cg->a;
    if (cg->ring3) {
        ring3_enter_thunk(cg);
        return;
    }
    const uint8_t *enter = start(cg);
    __builtin_memcpy(&cg->enter, &enter, sizeof(enter));
    for (unsigned i = 0; i < ARRAY_LEN(saved); i++)
        asm_push(a, saved[i]);
    asm_alu_ri(a, ASM_SUB, true, ASM_RSP, FRAME_BYTES);
    asm_lea(a, true, ASM_RBP, asm_mem(ASM_RDI, CODEGEN_BIAS));
    renew_rbp(cg);
    asm_mov_mr(a, true, CPU_FIELD(exit_rsp), ASM_RSP);
    mxcsr(cg, false, FRAME_FIELD(mxcsr));
    mxcsr(cg, true, CPU_FIELD(fp.mxcsr));
    load_pins(cg, ALL_PINS);
    emit_clock(cg, ABI_STAT_ticks_engine);
    asm_jmp_r(a, ASM_RSI);
}
static void exit_thunks(struct codegen *cg) {
    struct asm_buf *a = &cg->a;
    struct asm_label leave = {0}, unwound = {0};
    cg->exit_pc = start(cg);
    asm_mov_mr(a, true, cpu_mem(cg->guest->pc_offset), ASM_RAX);
    asm_mov_mr(a, true, CPU_FIELD(exit_site), ASM_RCX);
    asm_jmp(a, &leave);
    cg->exit = start(cg);
    asm_mov_mi(a, true, CPU_FIELD(exit_site), 0);
    asm_jmp(a, &leave);
    cg->exit_link = start(cg);
    asm_pop(a, ASM_RCX);
    asm_mov_mr(a, true, CPU_FIELD(exit_site), ASM_RCX);
    asm_bind(a, &leave);
    cg->exit_kept = a->p;
    emit_clock(cg, ABI_STAT_ticks_code);
    save_pins(cg, ALL_PINS);
    asm_bind(a, &unwound);
    mxcsr(cg, false, CPU_FIELD(fp.mxcsr));
    if (cg->ring3) {
        request(cg, RT_SYS_EXIT);
        return;
    }
    mxcsr(cg, true, FRAME_FIELD(mxcsr));
    asm_alu_ri(a, ASM_ADD, true, ASM_RSP, FRAME_BYTES);
    for (unsigned i = ARRAY_LEN(saved); i-- > 0;)
        asm_pop(a, saved[i]);
    asm_ret(a);
    const uint8_t *unwind = start(cg);
    __builtin_memcpy(&cg->unwind, &unwind, sizeof(unwind));
    asm_lea(a, true, ASM_RBP, asm_mem(ASM_RDI, CODEGEN_BIAS));
    asm_mov_rm(a, true, ASM_RSP, CPU_FIELD(exit_rsp));
    asm_mov_mi(a, true, CPU_FIELD(exit_site), 0);
    asm_jmp(a, &unwound);
}
/* Goes to the block at RAX if it has lost its place in the jump cache to another. */
static void jump_to_victim(struct codegen *cg) {
    struct asm_buf *a = &cg->a;
    const int32_t victims = (int32_t)offsetof(struct view, jump_victim);
    asm_mov_rr(a, false, ASM_RCX, ASM_RAX); /* jump_victim_index() << 2 */
    asm_shift_ri(a, ASM_SHR, false, ASM_RCX, JUMP_VICTIM_FOLD);
    asm_alu_rr(a, ASM_XOR, false, ASM_RCX, ASM_RAX);
    asm_alu_ri(a, ASM_AND, false, ASM_RCX, ((1 << JUMP_VICTIM_BITS) - 1) << 2);
    asm_alu_rm(a, ASM_CMP, true, ASM_RAX, asm_mem_view_index(ASM_RCX, 2, victims));
    uint32_t other = asm_jcc_short(a, ASM_NE);
    emit_count(cg, ABI_STAT_jump_cache_hits);
    asm_jmp_m(a, asm_mem_view_index(ASM_RCX, 2, victims + (int32_t)offsetof(struct jump_cache_entry, host)));
    asm_bind_short(a, other);
}

/* RAX = pc, or called by the stub of a link: goes on where fn says, or leaves. */
static const uint8_t *find_thunk(struct codegen *cg, const void *fn, bool link) {
    struct asm_buf *a = &cg->a;
    const uint8_t *thunk = start(cg);
    const struct asm_mem arg = link ? CPU_FIELD(exit_site) : cpu_mem(cg->guest->pc_offset);
    if (link)
        asm_pop(a, ASM_RAX);
    else
        jump_to_victim(cg);
    asm_mov_mr(a, true, arg, ASM_RAX);
    emit_clock(cg, ABI_STAT_ticks_code);
    save_pins(cg, CALLER_SAVED);
    if (cg->ring3) {
        request(cg, link ? RT_SYS_JUMP : RT_SYS_LOOKUP);
    } else {
        asm_mov_rm(a, true, ASM_RSI, arg);
        cpu_arg(cg, ASM_RDI);
        asm_call(a, fn);
    }
    load_pins(cg, CALLER_SAVED);
    emit_clock(cg, ABI_STAT_ticks_engine);
    asm_test_rr(a, true, ASM_RAX, ASM_RAX);
    asm_jcc_to(a, ASM_E, link ? cg->exit_kept : cg->exit);
    asm_jmp_r(a, ASM_RAX);
    return thunk;
}
/* Calls what RAX points to, or says the number of, and returns to the block. */
static void call_and_return(struct codegen *cg, enum rt_sys what, regset reload) {
    struct asm_buf *a = &cg->a;
    asm_alu_ri(a, ASM_SUB, true, ASM_RSP, 8);
    emit_clock(cg, ABI_STAT_ticks_code);
    if (cg->ring3) {
        asm_mov_rr(a, false, ASM_RDI, ASM_RAX);
        asm_mov_rr(a, true, ASM_R10, ASM_RCX);
        request(cg, what);
    } else {
        asm_call_r(a, ASM_RAX);
    }
    emit_clock(cg, ABI_STAT_ticks_engine);
    asm_alu_ri(a, ASM_ADD, true, ASM_RSP, 8);
    renew_rbp(cg);
    load_pins(cg, reload);
    asm_ret(a);
}
static void call_thunks(struct codegen *cg) {
    struct asm_buf *a = &cg->a;
    static const uint8_t pointer[4] = {ASM_RSI, ASM_RDX, ASM_RCX, ASM_R8};
    cg->call_state = start(cg);
    asm_mov_mr(a, true, cpu_mem(cg->guest->pc_offset), ASM_RDI);
    save_pins(cg, ALL_PINS);
    cpu_arg(cg, ASM_RDI);
    call_and_return(cg, RT_SYS_CALL, ALL_PINS);
    cg->call_pure = start(cg);
    save_pins(cg, CALLER_SAVED);
    cpu_arg(cg, ASM_RDI);
    call_and_return(cg, RT_SYS_CALL, CALLER_SAVED);
    cg->callv = start(cg);
    save_pins(cg, CALLER_SAVED);
    cpu_arg(cg, ASM_RDI);
    if (!cg->ring3)
        asm_mov_rr(a, false, ASM_R9, ASM_RSI);
    for (unsigned i = 0; i < 4 && !cg->ring3; i++)
        asm_lea(a, true, pointer[i], cpu_mem(offsetof(struct cpu, vscratch) + 16 * i));
    call_and_return(cg, RT_SYS_CALLV, CALLER_SAVED);
}
/* Called by a stub. Everything goes to memory, slow_run() works on it there, and all comes back. */
static void slow_thunk(struct codegen *cg, bool vector) {
    struct asm_buf *a = &cg->a;
    struct asm_mem at = FRAME_FIELD(at);
    cg->slow[vector] = start(cg);
    for (int load = 0; load < 2; load++) {
        for (regset m = GPR_TEMPS; m; m &= m - 1) {
            unsigned r = (unsigned)__builtin_ctzll(m);
            struct asm_mem t = asm_mem(ASM_RSP, (int32_t)(offsetof(struct frame, temp) + 8 * r) + (load ? 0 : 8));
            load ? asm_mov_rm(a, true, r, t) : asm_mov_mr(a, true, t, r);
        }
        for (regset m = vector ? cg->xmm_temps : 0; m; m &= m - 1) {
            unsigned x = (unsigned)__builtin_ctzll(m), n = temp_index(x);
            struct asm_mem t = asm_mem(ASM_RSP, (int32_t)(offsetof(struct frame, temp_xmm) + 16 * n) + (load ? 0 : 8));
            load ? asm_vmov_rm(a, xmm(x), t) : asm_vmov_mr(a, t, xmm(x));
        }
        move_pins(cg, vector ? ALL_PINS : ~cg->kept, load);
        if (load)
            break;
        asm_pop(a, ASM_RAX); /* the return address */
        asm_mov_mr(a, true, at, ASM_RAX);
        emit_clock(cg, ABI_STAT_ticks_code);
        if (cg->ring3) {
            request(cg, RT_SYS_SLOW);
        } else {
            asm_mov_ri(a, ASM_RDI, (uintptr_t)cg);
            cpu_arg(cg, ASM_RSI);
            asm_mov_rr(a, true, ASM_RDX, ASM_RSP);
            asm_call(a, (const void *)(uintptr_t)slow_run);
        }
        emit_clock(cg, ABI_STAT_ticks_engine);
    }
    asm_jmp_m(a, at);
}

void thunks_emit(struct codegen *cg) {
    enter_thunk(cg);
    exit_thunks(cg);
    cg->lookup = find_thunk(cg, (const void *)(uintptr_t)engine_lookup, false);
    cg->jump = find_thunk(cg, (const void *)(uintptr_t)engine_jump, true);
    call_thunks(cg);
    slow_thunk(cg, false);
    slow_thunk(cg, true);
    if (cg->mmu->emit_thunks && !cg->ring3) /* they use what is the engine's alone */
        cg->mmu->emit_thunks(&cg->a, cg->cpu, cg->mmu_thunk);
}

#define MXCSR_BITS 0xffffu
#define MXCSR_MASKS 0x1f80u

/* --- the interface ---------------------------------------------------------------------------- */
static void choose_pins(struct codegen *cg) {
    static const uint8_t gpr[GPR_PINS] = {ASM_RBX, ASM_R12, ASM_R13, ASM_R14, ASM_R15,
                                          ASM_R8,  ASM_R9,  ASM_R10, ASM_R11};
    const struct guest_ops *g = cg->guest;
    cg->xmm_temps = XMM_LOW_TEMPS | (cg->features.avx512 ? XMM_HIGH_TEMPS : 0);
    memset(cg->pin_map, NO_REG, sizeof(cg->pin_map));
    for (unsigned i = 0; i < NREGS; i++)
        cg->pin_offset[i] = -1;
    for (unsigned i = 0; i < GPR_PINS + VEC_PINS; i++) {
        bool vec = i >= GPR_PINS;
        unsigned n = vec ? i - GPR_PINS : i, reg = vec ? XMM(8 + n) : gpr[n];
        if (n >= (vec ? g->vec_pin_count : g->gpr_pin_count) || (reg >= XMM(16) && !cg->features.avx512))
            continue;
        uint32_t offset = (vec ? g->vec_pins : g->gpr_pins)[n].offset;
        uint64_t at = (offset - sizeof(struct cpu)) / 8;
        if (offset < sizeof(struct cpu) || at + 1 >= ARRAY_LEN(cg->pin_map))
            continue;
        cg->pin_offset[reg] = (int32_t)offset;
        cg->pins |= BIT(reg);
        if (reg >= XMM(16) && codegen_spares_high)
            cg->kept |= BIT(reg);
        cg->pin_map[at] = (uint8_t)reg;
        if (vec)
            cg->pin_map[at + 1] = (uint8_t)reg;
    }
}

size_t codegen_size(void) { return sizeof(struct codegen); }

size_t codegen_init(struct codegen *cg, struct cpu *cpu, const struct mmu_ops *mmu, uint8_t *code, size_t code_size) {
    memset(cg, 0, sizeof(*cg));
    cg->features = host_features(cpu);
    cg->cpu = cpu;
    cpu->codegen = cg;
    cg->a.view_disp = cpu->view_disp;
    cg->a.to_write = cpu->code_to_write;
    cg->mmu = mmu;
    cg->guest = cpu->guest;
    cg->alone = cpu->boot && cpu->boot->vcpu_count == 1;
    cg->count = cpu->boot && cpu->boot->count;
    cg->ring3 = rt_has_ring3(cpu);
    struct consts *k = (struct consts *)ALIGN_UP((uintptr_t)code, 64);
    consts_init((struct consts *)((uint8_t *)k + cg->a.to_write));
    cg->k = k;
    cg->code = code;
    cg->code_size = code_size;
    choose_pins(cg);
    uint8_t *thunks = (uint8_t *)(k + 1);
    asm_init(&cg->a, thunks, code_size - (size_t)(thunks - code));
    thunks_emit(cg);
    codegen_load_kept(cg, cpu);
    return ALIGN_UP((size_t)(cg->a.p - code), 64);
}

/* Does code at any place of the code area reach all of the engine's own by 32 bits, or by an address that is the same
 * in each run? */
static bool reaches_engine(const struct codegen *cg) {
    const int64_t reach = (INT64_C(1) << 31) - (64 << 20);
    int64_t low = (int64_t)((uintptr_t)engine_lookup - (uintptr_t)cg->code), high = low - (int64_t)cg->code_size;
    return (uintptr_t)engine_lookup == (uint32_t)(uintptr_t)engine_lookup || (low < reach && high > -reach);
}
uint64_t codegen_hash(const struct codegen *cg) {
    const uint8_t *const thunk[] = {cg->exit_pc,    cg->exit_link, cg->exit,  cg->exit_kept, cg->lookup, cg->jump,
                                    cg->call_state, cg->call_pure, cg->callv, cg->slow[0],   cg->slow[1]};
    uint64_t h = cg->features.avx512 | (uint64_t)cg->alone << 1 | (uint64_t)cg->count << 2 | cg->kept << 3;
    if (cg->ring3 || !reaches_engine(cg))
        return 0;
    h = hash_bytes(h, cg->pin_offset, sizeof(cg->pin_offset));
    h = hash_bytes(h, &cg->a.view_disp, sizeof(cg->a.view_disp));
    for (unsigned i = 0; i < ARRAY_LEN(thunk) + MMU_THUNKS; i++) {
        const uint8_t *at = i < ARRAY_LEN(thunk) ? thunk[i] : cg->mmu_thunk[i - ARRAY_LEN(thunk)];
        uint32_t place = at ? (uint32_t)(at - cg->code) : 0;
        h = hash_bytes(h, &place, sizeof(place));
    }
    if ((uintptr_t)engine_lookup == (uint32_t)(uintptr_t)engine_lookup) /* code has such addresses as they are */
        h ^= (uintptr_t)engine_lookup << 32;
    return h | 1;
}
const uint8_t *codegen_lookup_thunk(struct codegen *cg) { return cg->lookup; }
void codegen_enter(struct codegen *cg, struct cpu *cpu, const uint8_t *entry) {
    cpu_set_view(cpu, cpu->views[cpu->regime]);
    if (!cg->ring3) {
        cg->enter(cpu, entry);
    } else {
        cpu->fp.mxcsr = (cpu->fp.mxcsr & MXCSR_BITS) | MXCSR_MASKS; /* loading any other bit would be a #GP */
        rt_enter(cpu, cg->ring3_enter, entry, sizeof(struct frame));
    }
    if (cpu->exit_site > CODE_EXIT_FAULT)
        cpu->exit_site = engine_left(cpu, cpu->exit_site);
}

/* Not by a thunk: the engine in ring 0 executes nothing that ring 3 may. */
#define MOVE_KEPT(n)                                                                                                   \
    case XMM(n):                                                                                                       \
        if (load)                                                                                                      \
            __asm__ volatile("vmovdqu64 %0, %%xmm" #n : : "m"(*home));                                                 \
        else                                                                                                           \
            __asm__ volatile("vmovdqu64 %%xmm" #n ", %0" : "=m"(*home));                                               \
        break;
static void move_kept(const struct codegen *cg, struct cpu *cpu, bool load) {
    for (regset m = cg->kept; m; m &= m - 1) {
        unsigned reg = (unsigned)__builtin_ctzll(m);
        v128 *home = (v128 *)((uint8_t *)cpu + cg->pin_offset[reg]);
        switch (reg) {
            MOVE_KEPT(16)
            MOVE_KEPT(17)
            MOVE_KEPT(18)
            MOVE_KEPT(19)
            MOVE_KEPT(20)
            MOVE_KEPT(21)
            MOVE_KEPT(22)
            MOVE_KEPT(23)
            MOVE_KEPT(24)
            MOVE_KEPT(25)
            MOVE_KEPT(26)
            MOVE_KEPT(27)
            MOVE_KEPT(28)
            MOVE_KEPT(29)
            MOVE_KEPT(30)
            MOVE_KEPT(31)
        }
    }
}
void codegen_store_kept(const struct codegen *cg, struct cpu *cpu) { move_kept(cg, cpu, false); }
void codegen_load_kept(const struct codegen *cg, struct cpu *cpu) { move_kept(cg, cpu, true); }

_Noreturn void codegen_unwind(struct codegen *cg, struct cpu *cpu) {
    if (!cg->ring3)
        cg->unwind(cpu);
    __asm__ volatile("stmxcsr %0" : "=m"(cpu->fp.mxcsr));
    cpu->exit_site = 0;
    rt_leave(cpu);
}
