/* SPDX-License-Identifier: Apache-2.0
 * Copyright The Graft Authors */
/* window_probe.c: see window_probe.h. A "site" is the address of the probe's first immediate, where it is rewritten. */
#include "dbt/mmu/window_probe.h"
#include "dbt/mmu/windows.h"
#include "dbt/mmu/mmu_emit.h"

#define SITE_MISSES 3         /* wrong predictions before a probe becomes a table look-up */
#define SITE_FAULTS 2         /* faults before a probe loses its prediction */
#define SITE_CREDIT 2         /* accesses in C before it gets one, doubled each time that it lost one ... */
#define SITE_CREDIT_SHIFTS 8  /* ... up to this often */
#define NO_REGION 0x7fffffffu /* is no region: the prediction of a probe that goes to C */
/* region_index() = r * FOLD_FACTOR >> FOLD_SHIFT, of 32 bits: the upper nine of the sum of r << 14 and r << 23 */
#define FOLD_FACTOR (513u << 14)
#define FOLD_SHIFT 23

/* --- rewriting -------------------------------------------------------------------------------- */
/*
 * The forms of a probe, from the imm32 on: CMP r32, imm32; JNE rel32; MOV r64, gs:[disp32] (65 REX 8B ModRM SIB
 * disp32); where the view is found from RBP, prefix and ModRM differ, and disp32 by cpu.view_disp (asm_mem_view()).
 *   predicted  as emitted, with the prediction NO_REGION at first
 *   table      AND r32, 511; JO (never taken: AND clears OF); MOV r64, gs:[r * 8 + disp32]
 * A probe for another regime than its block's has no prediction to make: it is AND r32, 511; JO, too, and JNO (always
 * taken) while it goes to C.
 * For a guest with wide addresses there is a NOP of four bytes before the MOV, and that is the form
 *   folding    IMUL r32, r32, FOLD_FACTOR; TEST rax, rel32 (what is left of the JNE); SHR r32, FOLD_SHIFT; MOV r64,
 *              gs:[r * 8 + disp32]
 */
#define SITE_REX (-3) /* of CMP, if r is one of the upper eight */
#define SITE_CMP_OPCODE (-2)
#define SITE_CMP_MODRM (-1)
#define SITE_JCC 5
#define SITE_FOLD 10
#define FOLD_BYTES 4
/* From the MOV on: */
#define MOV_REX 1
#define MOV_SIB 4
#define MOV_DISP 5
#define MOV_COUNT_DISP 12 /* of the counter, if translated code counts */
#define OPCODE_CMP 0x81
#define OPCODE_IMUL 0x69
#define OPCODE_TWO_BYTES 0x0f
#define MODRM_CMP 0xf8
#define MODRM_AND 0xe0
#define JCC_JNE 0x85
#define JCC_JO 0x80
#define JCC_JNO 0x81
#define SIB_NO_INDEX 0x25
#define REX_B 0x41
#define REX_RB 0x45
#define REX_X 2
static const uint8_t test_rax[2] = {0x48, 0xa9}, nop4[FOLD_BYTES] = {0x0f, 0x1f, 0x40, 0x00};

static bool site_is_predicted(const uint8_t *site) {
    return site[SITE_CMP_OPCODE] == OPCODE_CMP && (site[SITE_CMP_MODRM] & 0xf8) == MODRM_CMP &&
           site[SITE_JCC] == JCC_JNE;
}
static bool site_is_table(const uint8_t *site) {
    if (site[SITE_CMP_OPCODE] == OPCODE_IMUL)
        return !memcmp(site + SITE_JCC - 1, test_rax, sizeof(test_rax));
    return site[SITE_CMP_OPCODE] == OPCODE_CMP && (site[SITE_CMP_MODRM] & 0xf8) == MODRM_AND &&
           site[SITE_JCC - 1] == OPCODE_TWO_BYTES && site[SITE_JCC] == JCC_JO;
}
static uint32_t site_region(const uint8_t *site) {
    uint32_t region;
    memcpy(&region, site, 4);
    return region;
}
static unsigned site_reg(const uint8_t *site) {
    bool upper = site[SITE_REX] == REX_B || site[SITE_REX] == REX_RB;
    return (site[SITE_CMP_MODRM] & 7) | (upper ? 8 : 0);
}
static uint8_t *site_mov(const struct cpu *cpu, uint8_t *site) {
    return site + SITE_FOLD + (cpu->guest->wide_va ? FOLD_BYTES : 0);
}

static void patch_counter(const struct cpu *cpu, uint8_t *site /* writable */, enum abi_stat stat) {
    int32_t disp = mmu_stat_disp(stat);
    if (UNLIKELY(cpu->boot->count))
        memcpy(site_mov(cpu, site) + MOV_COUNT_DISP, &disp, 4);
}

/* The instruction with the imm32, and the first two bytes of the next one. */
static void patch_op(uint8_t *site, uint8_t rex, uint8_t opcode, unsigned modrm, uint32_t imm, unsigned next,
                     unsigned jcc) {
    if (site_reg(site) & 8)
        site[SITE_REX] = rex;
    site[SITE_CMP_OPCODE] = opcode;
    site[SITE_CMP_MODRM] = (uint8_t)(modrm | (site[SITE_CMP_MODRM] & 7));
    memcpy(site, &imm, 4);
    site[SITE_JCC - 1] = (uint8_t)next;
    site[SITE_JCC] = (uint8_t)jcc;
}

static void patch_region(const struct cpu *cpu, uint8_t *at, uint32_t region) {
    uint8_t *site = at + cpu->code_to_write, *mov = site_mov(cpu, site);
    int32_t disp = cpu->view_disp + window_delta_disp(cpu) + 8 * (int32_t)region_index(cpu, region);
    patch_op(site, REX_B, OPCODE_CMP, MODRM_CMP, region, OPCODE_TWO_BYTES, JCC_JNE);
    if (cpu->guest->wide_va)
        memcpy(site + SITE_FOLD, nop4, FOLD_BYTES);
    mov[MOV_REX] &= (uint8_t)~REX_X;
    mov[MOV_SIB] = SIB_NO_INDEX;
    memcpy(mov + MOV_DISP, &disp, 4);
}

static void patch_table(const struct cpu *cpu, uint8_t *at) {
    uint8_t *site = at + cpu->code_to_write, *mov = site_mov(cpu, site);
    int32_t disp = cpu->view_disp + window_delta_disp(cpu);
    unsigned reg = site_reg(site), low = reg & 7;
    if (cpu->guest->wide_va) {
        const uint8_t shr[FOLD_BYTES] = {(uint8_t)(0x40 | reg >> 3), 0xc1, (uint8_t)(0xe8 | low), FOLD_SHIFT};
        patch_op(site, REX_RB, OPCODE_IMUL, 0xc0 | low << 3, FOLD_FACTOR, test_rax[0], test_rax[1]);
        memcpy(site + SITE_FOLD, shr, FOLD_BYTES);
    } else {
        patch_op(site, REX_B, OPCODE_CMP, MODRM_AND, REGION_HASH - 1, OPCODE_TWO_BYTES, JCC_JO);
    }
    mov[MOV_REX] |= reg & 8 ? REX_X : 0;
    mov[MOV_SIB] = (uint8_t)(3 << 6 | low << 3 | 5);
    memcpy(mov + MOV_DISP, &disp, 4);
    patch_counter(cpu, site, ABI_STAT_checks_table);
}

/* --- what decides about it -------------------------------------------------------------------- */
/* With 57 bits an address of another region with the same nine bits may be one, and lead anywhere. */
static bool windows_are_exact(const struct cpu *cpu) { return cpu->boot && cpu->boot->windows_va; }

static struct site *site_entry(struct window_probes *probes, const uint8_t *at) {
    return &probes->site[((uint32_t)(uintptr_t)at * 0x9e3779b1u >> 19) % WINDOW_PROBES];
}

static bool is_current(const struct cpu *cpu, const struct mmu_slow *slow) {
    return MMU_DESC_REGIME(slow->desc) == cpu->regime;
}

void window_probe_credit(struct cpu *cpu, struct window_probes *probes, const struct mmu_slow *slow) {
    struct site *s = slow->unpredicted ? site_entry(probes, slow->unpredicted) : NULL;
    if (!s || (++s->used < SITE_CREDIT << s->lost && !(rt_has_ring3(cpu) && !s->lost)))
        return;
    s->used = 0;
    if (is_current(cpu, slow))
        patch_region(cpu, slow->unpredicted, region_of(slow->va));
    else
        slow->unpredicted[cpu->code_to_write + SITE_JCC] = JCC_JO;
}

/* Has the probe lost its prediction by that fault? */
static bool is_lost(struct site *s) {
    if (++s->faults < SITE_FAULTS)
        return false;
    s->faults = 0;
    s->used = 0;
    s->lost += s->lost < SITE_CREDIT_SHIFTS;
    return true;
}

/* Accesses of another regime: what the probe cannot know of is a fault alone. */
static void miss_other(struct cpu *cpu, struct window_probes *probes, struct mmu_slow *slow) {
    uint8_t *site = slow->site, *jcc = site + cpu->code_to_write + SITE_JCC;
    if (*jcc == JCC_JNO)
        slow->unpredicted = site;
    else if (cpu->fault_ticks && !rt_has_ring3(cpu) && is_lost(site_entry(probes, site)))
        *jcc = JCC_JNO;
}

void window_probe_miss(struct cpu *cpu, struct window_probes *probes, struct mmu_slow *slow) {
    uint8_t *site = slow->site;
    const uint8_t *code = site + cpu->code_to_write; /* the engine may read it only there */
    if (!is_current(cpu, slow)) {
        miss_other(cpu, probes, slow);
        return;
    }
    uint32_t region = region_of(slow->va);
    bool predicted = site_is_predicted(code);
    uint32_t was = predicted ? site_region(code) : region;
    if (!predicted && !site_is_table(code))
        return;
    if (was == NO_REGION) {
        slow->unpredicted = site;
        return;
    }
    struct site *s = site_entry(probes, site);
    if (was == region) { /* a fault */
        if (is_lost(s))
            patch_region(cpu, site, NO_REGION);
        return;
    }
    STAT(cpu, region_misses)++;
    if (windows_lack(cpu, region))
        return;
    STAT(cpu, region_patches)++;
    if (++s->misses < SITE_MISSES || windows_are_exact(cpu)) {
        patch_region(cpu, site, region);
    } else {
        s->misses = 0;
        patch_table(cpu, site);
    }
}

/* --- emitting --------------------------------------------------------------------------------- */
static void emit_align_check(struct asm_buf *a, struct mmu_probe *p) {
    int32_t low = (1 << p->size) - 1;
    unsigned reg = p->base;
    if (!p->align || !p->size)
        return;
    if (p->disp & low) {
        asm_lea(a, true, p->tmp0, asm_mem(p->base, p->disp));
        reg = p->tmp0;
    }
    asm_test_ri(a, false, reg, low);
    asm_jcc(a, ASM_NE, p->slow);
}

void window_probe_emit(struct asm_buf *a, const struct cpu *cpu, struct mmu_probe *p) {
    emit_align_check(a, p);
    asm_mov_rr(a, true, p->tmp0, p->base);
    asm_shift_ri(a, ASM_SHR, true, p->tmp0, REGION_SHIFT);
    if (p->current) {
        const uint32_t region = p->hint ? region_of(p->hint) : NO_REGION;
        /* patch_region() and patch_table() know these instructions. */
        p->site = asm_cmp_ri32(a, false, p->tmp0, (int32_t)region);
        asm_jcc(a, ASM_NE, p->slow);
        if (cpu->guest->wide_va) {
            asm_room(a);
            asm_data(a, nop4, FOLD_BYTES);
        }
        asm_mov_rm(a, true, p->tmp1, asm_mem_view(window_delta_disp(cpu) + 8 * (int32_t)region_index(cpu, region)));
        mmu_emit_count(a, cpu, ABI_STAT_checks_passed); /* or checks_table: patch_counter() knows it */
    } else {
        if (cpu->guest->wide_va) {
            asm_mov_rr(a, false, p->tmp1, p->tmp0);
            asm_shift_ri(a, ASM_SHR, false, p->tmp1, 9);
            asm_alu_rr(a, ASM_ADD, false, p->tmp0, p->tmp1);
        }
        asm_alu_ri(a, ASM_AND, false, p->tmp0, REGION_HASH - 1);
        p->site = asm_pos(a) - 4;
        asm_jcc(a, ASM_O, p->slow); /* miss_other() knows it */
        asm_mov_rm(a, true, p->tmp1, mmu_views_mem(p->regime));
        asm_mov_rm(a, true, p->tmp1, asm_mem_index(p->tmp1, p->tmp0, 3, window_delta_disp(cpu)));
        asm_test_ri(a, false, p->tmp1, NULL_DELTA);
        asm_jcc(a, ASM_NE, p->slow);
        if (windows_are_exact(cpu)) {
            asm_lea(a, true, p->tmp0, asm_mem_index(p->base, p->tmp1, 0, 0));
            asm_shift_ri(a, ASM_SHR, true, p->tmp0, REGION_SHIFT + 9);
            asm_alu_ri(a, ASM_CMP, false, p->tmp0, (int32_t)(cpu->boot->windows_va >> (REGION_SHIFT + 9)));
            asm_jcc(a, ASM_NE, p->slow);
        }
        mmu_emit_count(a, cpu, ABI_STAT_checks_table);
    }
    p->index = p->tmp1;
    p->covers_nearby = true;
}

void window_probe_retry(struct asm_buf *a, const struct mmu_probe *p, struct asm_label *access) {
    struct asm_label site = {.at = p->site + 1};
    asm_mov_rm(a, false, p->tmp1, asm_mem_rip(a->p));
    asm_rip_label(a, &site);
    asm_alu_ri(a, ASM_CMP, false, p->tmp1, (int32_t)NO_REGION);
    uint32_t none = asm_jcc_short(a, ASM_E);
    asm_mov_ri32(a, p->tmp1, 0);
    asm_jmp(a, access);
    asm_bind_short(a, none);
}

/* --- places ----------------------------------------------------------------------------------- */
/* What is less than MMU_PLACE_REACH outside of a region is in its slot's neighbours, the guards. The neighbour of the
 * null slot has loans in its first gigabyte, which is further away than that. */
uint64_t window_place(const struct cpu *cpu, uint64_t va) {
    return windows_are_exact(cpu) ? MMU_NO_PLACE : region_of(va);
}
uint64_t window_place_index(const struct cpu *cpu, uint64_t number) {
    return view_deltas(cpu, mmu_of(cpu)->view)[region_index(cpu, (uint32_t)number)];
}
void window_place_number(struct asm_buf *a, unsigned reg) { asm_shift_ri(a, ASM_SHR, true, reg, REGION_SHIFT); }
/* Of a number that is no region's, too, the delta leads nowhere (windows.h). */
void window_place_emit(struct asm_buf *a, const struct cpu *cpu, unsigned reg, struct asm_label *other) {
    if (cpu->guest->wide_va) { /* region_index(), as a probe that was patched to the form "folding" has it */
        asm_op_rr(a, ASM_OP(0, 0, OPCODE_IMUL), false, reg, reg);
        asm_imm32(a, FOLD_FACTOR);
        asm_shift_ri(a, ASM_SHR, false, reg, FOLD_SHIFT);
    } else {
        asm_alu_ri(a, ASM_AND, false, reg, REGION_HASH - 1);
    }
    asm_mov_rm(a, true, reg, asm_mem_view_index(reg, 3, window_delta_disp(cpu)));
    if (other) {
        asm_test_ri(a, false, reg, NULL_DELTA);
        asm_jcc(a, ASM_NE, other);
    }
}
/* The probe is read as it is now: it has no prediction as long as another way has been found to be better. If it has
 * another one than the region, that may get no window, which the delta shows. */
void window_place_wanted(struct asm_buf *a, const uint8_t *site, struct asm_label *other) {
    asm_alu_mi(a, ASM_CMP, false, asm_mem_rip(site), (int32_t)NO_REGION);
    asm_jcc(a, ASM_E, other);
}
_Static_assert(MMU_PLACE_REACH <= BIT(REGION_SHIFT) / 2, "a guard is a region");

void window_probe_none(struct asm_buf *a, const struct cpu *cpu, struct mmu_probe *p) {
    emit_align_check(a, p);
    mmu_emit_count(a, cpu, ABI_STAT_checks_none);
    p->index = MMU_NO_INDEX;
}
