/* SPDX-License-Identifier: Apache-2.0
 * Copyright The Graft Authors */
/* window_probe.c: see window_probe.h. A "site" is the address of the probe's first immediate, where it is rewritten. */
#include "dbt/mmu/window_probe.h"
#include "dbt/mmu/mmu_emit.h"

#define SITE_MISSES 3         /* wrong predictions before a probe becomes a table look-up */
#define SITE_FAULTS 2         /* faults before a probe loses its prediction */
#define SITE_CREDIT 2         /* accesses in C before it gets one, doubled each time that it lost one ... */
#define SITE_CREDIT_SHIFTS 8  /* ... up to this often */
#define NO_REGION 0x7fffffffu /* is no region: the prediction of a probe that goes to C */

/* --- rewriting ---------------------------------------------------------------------------------------------------- */
/*
 * The forms of a probe, from the imm32 on: CMP r32, imm32; JNE rel32; MOV r64, gs:[disp32] (65 REX 8B ModRM SIB disp32); where
 * the view is found from RBP, prefix and ModRM differ, and disp32 by cpu.view_disp (asm_mem_view()).
 *   predicted  as emitted, with the prediction NO_REGION at first
 *   table      AND r32, 511; JO (never taken: AND clears OF); MOV r64, gs:[r * 8 + disp32]
 */
#define SITE_CMP_OPCODE (-2)
#define SITE_CMP_MODRM (-1)
#define SITE_JCC 5
#define SITE_MOV_REX 11
#define SITE_MOV_SIB 14
#define SITE_MOV_DISP 15
#define SITE_COUNT_DISP 22 /* of the counter, if translated code counts */
#define MODRM_CMP 0xf8
#define MODRM_AND 0xe0
#define JCC_JNE 0x85
#define JCC_JO 0x80
#define SIB_NO_INDEX 0x25
#define REX_X 2

static bool site_is_predicted(const uint8_t *site) {
    return site[SITE_CMP_OPCODE] == 0x81 && (site[SITE_CMP_MODRM] & 0xf8) == MODRM_CMP && site[SITE_JCC] == JCC_JNE;
}
static bool site_is_table(const uint8_t *site) {
    return site[SITE_CMP_OPCODE] == 0x81 && (site[SITE_CMP_MODRM] & 0xf8) == MODRM_AND && site[SITE_JCC - 1] == 0x0f &&
           site[SITE_JCC] == JCC_JO;
}
static uint32_t site_region(const uint8_t *site) {
    uint32_t region;
    memcpy(&region, site, 4);
    return region;
}

static void patch_counter(const struct cpu *cpu, uint8_t *site /* writable */, enum abi_stat stat) {
    int32_t disp = mmu_stat_disp(stat);
    if (UNLIKELY(cpu->boot->count))
        memcpy(site + SITE_COUNT_DISP, &disp, 4);
}

static void patch_region(const struct cpu *cpu, uint8_t *at, uint32_t region) {
    uint8_t *site = at + cpu->code_to_write;
    int32_t disp = cpu->view_disp + window_delta_disp(cpu) + 8 * (int32_t)(region % REGION_HASH);
    site[SITE_CMP_MODRM] = (uint8_t)(MODRM_CMP | (site[SITE_CMP_MODRM] & 7));
    memcpy(site, &region, 4);
    site[SITE_JCC] = JCC_JNE;
    site[SITE_MOV_REX] &= (uint8_t)~REX_X;
    site[SITE_MOV_SIB] = SIB_NO_INDEX;
    memcpy(site + SITE_MOV_DISP, &disp, 4);
}

static void patch_table(const struct cpu *cpu, uint8_t *at) {
    uint8_t *site = at + cpu->code_to_write;
    uint32_t mask = REGION_HASH - 1;
    int32_t disp = cpu->view_disp + window_delta_disp(cpu);
    unsigned reg = (site[SITE_CMP_MODRM] & 7) | (site[SITE_CMP_OPCODE - 1] == 0x41 ? 8 : 0);
    site[SITE_CMP_MODRM] = (uint8_t)(MODRM_AND | (reg & 7));
    memcpy(site, &mask, 4);
    site[SITE_JCC] = JCC_JO;
    site[SITE_MOV_REX] |= reg & 8 ? REX_X : 0;
    site[SITE_MOV_SIB] = (uint8_t)(3 << 6 | (reg & 7) << 3 | 5);
    memcpy(site + SITE_MOV_DISP, &disp, 4);
    patch_counter(cpu, site, ABI_STAT_checks_table);
}

/* --- what decides about it -------------------------------------------------------------------------------------- */
/* With 57 bits an address of another region with the same nine bits may be one, and lead anywhere. */
static bool windows_are_exact(const struct cpu *cpu) { return cpu->boot && cpu->boot->windows_va; }

static struct site *site_entry(struct window_probes *probes, const uint8_t *at) {
    return &probes->site[((uint32_t)(uintptr_t)at * 0x9e3779b1u >> 19) % WINDOW_PROBES];
}

void window_probe_credit(struct cpu *cpu, struct window_probes *probes, const struct mmu_slow *slow) {
    struct site *s = slow->unpredicted ? site_entry(probes, slow->unpredicted) : NULL;
    if (!s || (++s->used < SITE_CREDIT << s->lost && !(rt_has_ring3(cpu) && !s->lost)))
        return;
    s->used = 0;
    patch_region(cpu, slow->unpredicted, region_of(slow->va));
}

void window_probe_miss(struct cpu *cpu, struct window_probes *probes, struct mmu_slow *slow) {
    uint8_t *site = slow->site;
    const uint8_t *code = site + cpu->code_to_write; /* the engine may read it only there */
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
        if (++s->faults >= SITE_FAULTS) {
            s->faults = 0;
            s->used = 0;
            if (s->lost < SITE_CREDIT_SHIFTS)
                s->lost++;
            patch_region(cpu, site, NO_REGION);
        }
        return;
    }
    STAT(cpu, region_misses)++;
    STAT(cpu, region_patches)++;
    if (++s->misses < SITE_MISSES || windows_are_exact(cpu)) {
        patch_region(cpu, site, region);
    } else {
        s->misses = 0;
        patch_table(cpu, site);
    }
}

/* --- emitting ----------------------------------------------------------------------------------------------------- */
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
        /* patch_region() and patch_table() know these three instructions. */
        p->site = asm_cmp_ri32(a, false, p->tmp0, (int32_t)NO_REGION);
        asm_jcc(a, ASM_NE, p->slow);
        asm_mov_rm(a, true, p->tmp1, asm_mem_view(window_delta_disp(cpu) + 8 * (int32_t)(NO_REGION % REGION_HASH)));
        mmu_emit_count(a, cpu, ABI_STAT_checks_passed); /* or checks_table: patch_counter() knows it */
    } else {
        asm_alu_ri(a, ASM_AND, false, p->tmp0, REGION_HASH - 1);
        p->site = asm_pos(a) - 4;
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

void window_probe_none(struct asm_buf *a, const struct cpu *cpu, struct mmu_probe *p) {
    emit_align_check(a, p);
    mmu_emit_count(a, cpu, ABI_STAT_checks_none);
    p->index = MMU_NO_INDEX;
}
