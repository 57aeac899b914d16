/* SPDX-License-Identifier: Apache-2.0
 * Copyright The Graft Authors */
/*
 * mmu.h: guest memory as the engine sees it, and the contract of a memory
 * strategy (dbt/mmu/window.c, dbt/mmu/soft.c; listed in dbt/mmu/mmu.def).
 *
 * An access goes three ways, fastest first:
 *  1. code that the strategy emitted: a probe, then a host load or store;
 *  2. the access's out-of-line stub: calls mmu_slow_*(). Reached when the probe
 *     fails, or by the trap handler when the host access faulted (the backend's
 *     table maps the faulting host pc to the stub: nothing else needs decoding);
 *  3. mmu_slow_*() walks the guest's tables, performs the access (RAM, device),
 *     fills the strategy's structures for next time, or raises the guest abort.
 */
#ifndef GRAFT_MMU_H
#define GRAFT_MMU_H

#include "graft/cpu.h"

struct asm_buf;
struct asm_label;

enum mmu_access { MMU_READ, MMU_WRITE, MMU_FETCH };

/* What a guest page-table walk found (guest_ops.walk). */
struct walk {
    struct gpa pa;          /* of the exact address asked for */
    uint8_t page_shift;     /* size of the guest's mapping: 12, 21, 30, 39 */
    bool read, write, exec; /* what the regime asked for may do */
    bool device;            /* Device memory: no unaligned or speculative access */
    bool global;            /* not tagged by ASID */
    uint32_t fault;         /* 0, or the guest's own fault code (Arm: DFSC/IFSC; 0 is never a fault there) */
    uint8_t level;
    /* The last table read and the index in it, for filling neighbours: what leads to another page by an entry that is
     * equal but for the page's number may be used alike. NULL: no table of pages. */
    const uint64_t *table;
    uint16_t index;
    uint64_t entry; /* what the walk read there: the guest may have changed it since */
};

/* An address space as a strategy keys it: windows and views with equal root and asid may be reused. */
struct mmu_space {
    uint64_t root; /* guest-chosen identity, e.g. TTBR base | flags; equal = same translations */
    uint32_t asid;
};

/* --- access from C helpers (dbt/mmu/access.c). Unwind with a guest abort when not allowed. ---- */
/* size: log2 of bytes, 0 .. 3 (16-byte accesses through vscratch: _128). regime: 0 .. REGIMES-1.
 * flags: IR_MEM_*. Any alignment, any page crossing, device or RAM. */
uint64_t mem_read(struct cpu *cpu, uint64_t va, unsigned size, unsigned regime, unsigned flags);
void mem_write(struct cpu *cpu, uint64_t va, uint64_t value, unsigned size, unsigned regime, unsigned flags);
void mem_read_128(struct cpu *cpu, uint64_t va, v128 *value, unsigned regime, unsigned flags);
void mem_write_128(struct cpu *cpu, uint64_t va, const v128 *value, unsigned regime, unsigned flags);
/* mem_rmw(): what an instruction does that reads and writes memory in one. On RAM it is atomic; a device is read and
 * then written, as QEMU does it: with what was read where the comparison fails. Raises an alignment fault or the abort;
 * what a read would raise too is reported as a read's, unless guest_ops.rmw_is_write. True: it stored value, or what it
 * combined. */
#define MEM_RMW_CAS 16       /* stores value if old is there */
#define MEM_RMW_EXCLUSIVE 17 /* the same for a store-exclusive: reading was another instruction's */
struct mem_rmw {
    unsigned kind; /* enum ir_atomic: of at most 8 bytes; or MEM_RMW_* */
    unsigned size, regime;
    v128 old; /* becomes what was there */
    v128 value;
};
bool mem_rmw(struct cpu *cpu, uint64_t va, struct mem_rmw *r);
/* mem_fetch(): where the code at va is: host pointer, guest-physical address. Raises the instruction abort. */
const void *mem_fetch(struct cpu *cpu, uint64_t va, struct gpa *pa);
/* mem_probe(): walks for an access without raising; false if it would abort. */
bool mem_probe(struct cpu *cpu, uint64_t va, enum mmu_access access, unsigned regime, struct walk *w);
/* mem_translate(): where an access goes, if it is allowed. Remembers that, unlike mem_probe(). */
bool mem_translate(struct cpu *cpu, uint64_t va, enum mmu_access access, unsigned regime, struct gpa *pa);
/* ram_ptr(): RAM at a guest-physical address, NULL if [pa, pa+len) is not all RAM. */
void *ram_ptr(const struct cpu *cpu, struct gpa pa, uint64_t len);

/* --- slow path of emitted accesses ------------------------------------------------------------ */
#define MMU_DESC(size, regime, flags) ((uint32_t)((size) | (regime) << 4 | (flags) << 8))
#define MMU_DESC_SIZE(d) ((d) & 15)
#define MMU_DESC_REGIME(d) ((d) >> 4 & 15)
#define MMU_DESC_FLAGS(d) ((d) >> 8 & 255)
#define MMU_DESC_KIND(d) ((d) >> 16 & 15) /* enum ir_atomic */
#define MMU_DESC_HOISTED (1u << 24)       /* it used an earlier access's probe: it comes here by a host fault only */
#define MMU_DESC_NEARBY (1u << 25)        /* later accesses use its probe: they fault unless the page is mapped */
/* A slow access in progress. Who does a stub's work makes one on its stack and hands it to mmu_slow_*(), which hands it
 * on to all that takes part: what one step finds out for a later one is in here, and ends with the access. */
struct mmu_slow {
    /* set by who makes it; the rest is 0 then */
    uint64_t va;
    uint32_t desc; /* see MMU_DESC */
    void *site;    /* what the probe recorded (mmu_probe.site), NULL: nothing is to be learnt from it */
    /* set on the way */
    uint32_t cause;         /* enum abi_stat: what a host fault that led here turned out to be for */
    bool fill_now;          /* the access wants its page mapped, however rarely it is touched */
    bool guess;             /* there is no access yet: its page is to be mapped if that is what becomes of most there */
    uint8_t *unpredicted;   /* by miss(): the probe, if it has no prediction: it has asked no host table */
    struct {                /* by fill(): what follows in the block may go on through this page alone, see nearby() */
        uint64_t va, index; /* index 0: no */
    } lent;
};
/* mmu_slow_ld(): zero-extended; size 4: the result is in vscratch[0]. mmu_slow_st(): size 4: the value is in
 * vscratch[0]. All may unwind with the guest's exception. */
uint64_t mmu_slow_ld(struct cpu *cpu, struct mmu_slow *s);
void mmu_slow_st(struct cpu *cpu, struct mmu_slow *s, uint64_t value);
uint64_t mmu_slow_atomic(struct cpu *cpu, struct mmu_slow *s, uint64_t value); /* MMU_DESC_KIND */
uint64_t mmu_slow_cas(struct cpu *cpu, struct mmu_slow *s, uint64_t expected, uint64_t value);

/* What blocks with IR_BLOCK_CALL_MEMORY call in place of an access (dbt/mmu/called.c); desc as above. mem_called_ld():
 * sign-extended with IR_MEM_SEXT. Values of 16 bytes, and what mem_called_cas() expects, are in vscratch[MEM_VALUE].
 * mem_called_stx(): 0 if stored. */
uint64_t mem_called_ld(struct cpu *cpu, uint64_t va, uint64_t desc, uint64_t c);
uint64_t mem_called_st(struct cpu *cpu, uint64_t va, uint64_t value, uint64_t desc);
uint64_t mem_called_atomic(struct cpu *cpu, uint64_t va, uint64_t value, uint64_t desc);
uint64_t mem_called_cas(struct cpu *cpu, uint64_t va, uint64_t value, uint64_t desc);
uint64_t mem_called_stx(struct cpu *cpu, uint64_t va, uint64_t value, uint64_t desc);

/* --- invalidation, called by the guest's TLBI and system registers ---------------------------- */
enum mmu_inval_kind { MMU_INVAL_ALL, MMU_INVAL_ASID, MMU_INVAL_VA, MMU_INVAL_VA_ASID };
struct mmu_inval {
    enum mmu_inval_kind kind;
    uint64_t va; /* page address */
    uint32_t asid;
};
/* mmu_invalidate(): this vCPU's translations. Takes effect at the latest at mmu_sync(). */
void mmu_invalidate(struct cpu *cpu, const struct mmu_inval *inv);
/* mmu_sync(): completes what mmu_invalidate() left for the barrier (host TLB flushes). */
void mmu_sync(struct cpu *cpu);
/* mmu_context_changed(): the guest wrote a translation register, or its exception level, PAN ... changed: recomputes
 * cpu->regime and cpu->views[]. Cheap when nothing changed. */
void mmu_context_changed(struct cpu *cpu);
/* mmu_retry(): translated code goes on at pc after an exception. If an access there aborted, of the current
 * regime or of one that it may access, its page is mapped now, as asking the host's tables in vain costs more; it is a
 * guess (mmu_slow.guess) if the access had not asked them. */
void mmu_retry(struct cpu *cpu, uint64_t pc);
/* mmu_protect_code(): the page is about to hold translated code: writes to it must reach engine_code_written(). */
void mmu_protect_code(struct cpu *cpu, struct gpa page);

/* --- a view: what translated code reaches through GS or RBP ----------------------------------- */
#define JUMP_CACHE_BITS 12
#define JUMP_CACHE_FOLD 11 /* higher bits of the pc take part: functions of different pages start at equal offsets */
#define JUMP_VICTIM_BITS 9 /* of the table of entries that others took the place of */
#define JUMP_VICTIM_FOLD 9
struct jump_cache_entry {
    uint64_t pc; /* guest pc; JUMP_CACHE_EMPTY(index) in an empty entry */
    void *host;  /* its block's entry */
};
/* Branches to a constant pc in another page are linked to their block, behind a check that the view still maps the
 * page: the number that the engine gave to that pair of a virtual and a physical page is in the view. */
#define CODE_PAGE_BITS 12
#define CODE_PAGE_NONE 0
struct view {
    /* Of the engine alone: a page. */
    struct mmu_space lo, hi;
    uint32_t regime;
    uint32_t has_code;    /* the jump cache or code_page is not empty */
    struct rt_root *root; /* its page tables, where each view has its own (rt.h) */
    char rest_of_page[PAGE_SIZE - 48];
    /* Of translated code, which may have its own ideas of what is in there under ABI_LAYOUT_RING0. */
    struct jump_cache_entry jump_cache[1 << JUMP_CACHE_BITS];   /* index: jump_cache_index(pc) */
    struct jump_cache_entry jump_victim[1 << JUMP_VICTIM_BITS]; /* index: jump_victim_index(pc) */
    uint32_t code_page[1 << CODE_PAGE_BITS];                    /* index: code_page_index(pc) */
    /* The strategy's part follows. */
};
_Static_assert(offsetof(struct view, jump_cache) == PAGE_SIZE && sizeof(struct view) % PAGE_SIZE == 0,
               "the parts start pages");
static inline unsigned jump_cache_index(uint64_t pc) {
    return (unsigned)((pc ^ pc >> JUMP_CACHE_FOLD) >> 2) & ((1u << JUMP_CACHE_BITS) - 1);
}

static inline unsigned jump_victim_index(uint64_t pc) {
    return (unsigned)((pc ^ pc >> JUMP_VICTIM_FOLD) >> 2) & ((1u << JUMP_VICTIM_BITS) - 1);
}
static inline unsigned code_page_index(uint64_t pc) {
    return (unsigned)(pc >> PAGE_SHIFT ^ pc >> (PAGE_SHIFT + CODE_PAGE_BITS)) & ((1u << CODE_PAGE_BITS) - 1);
}

/* A pc that cannot be looked for in that entry: it has another index. */
#define JUMP_VICTIM_EMPTY(index) ((index) == 0 ? 4 : 0)
#define JUMP_CACHE_EMPTY(index) ((index) == jump_cache_index(~UINT64_C(0)) ? 4 : ~UINT64_C(0))

/* --- a strategy ------------------------------------------------------------------------------- */
/* One access to emit. After emit_probe() the host operand is [base + index + disp], or [base + disp] if index is
 * MMU_NO_INDEX. The probe may clobber host flags, tmp0 and tmp1 and nothing else. */
#define MMU_NO_INDEX 0xff
/* The index register of a probe that covers a range, when there is nothing to add that is right for all of it. Else its
 * bit 0 is clear. */
#define MMU_NO_ADDEND 1
struct mmu_probe {
    /* in */
    uint8_t base;       /* host register with the guest virtual address; preserved */
    uint8_t tmp0, tmp1; /* free host registers */
    uint8_t tmp2;       /* another one, for emit_probe() and if not current */
    int32_t disp;
    uint8_t size;      /* log2 bytes */
    int32_t low, high; /* the bytes base + low .. base + high - 1 are to be covered: those of the access, or more */
    bool write;
    bool loads; /* with write, for emit_retry(): the access itself is a load, it is others that store */
    bool alone; /* for emit_find(): only this one load or store, of 2 to 16 bytes, will use the index register;
                   emit_finish() follows a store */
    uint8_t regime;
    bool current;           /* regime is the block's own: else at cpu->views[regime] */
    bool align;             /* go slow if the address is not a multiple of the size */
    uint64_t pc;            /* of the guest's instruction */
    uint64_t hint;          /* a likely address, 0 if unknown, or if the strategy does not want to know */
    struct asm_label *slow; /* jump here if the fast access cannot be done */
    /* out; in for emit_find() */
    uint16_t slot; /* the strategy's own, 0: none */
    /* out */
    uint8_t index;      /* tmp0, tmp1 or MMU_NO_INDEX */
    uint32_t site;      /* code offset that the stub passes back to mmu_slow_*() as site */
    bool covers_nearby; /* true: another access of the same base, |disp| < 32 KiB, may use the same operand base */
    bool covers_range; /* true: other accesses to the bytes low .. high may use the index register, if the backend tests
                        * it against MMU_NO_ADDEND, which it sets there after each slow access. See emit_find(), which
                        * such a strategy has */
    bool hot;          /* with covers_range: the code is hot, stores that are alone may have emit_finish() */
    bool faults;       /* with covers_range: what the probe lets pass may fault */
};
#define MMU_PLACE_REACH (UINT64_C(1) << 38)
#define MMU_NO_PLACE UINT64_MAX
#define MMU_THUNKS 641
struct mmu_ops {
    const char *name;
    const char *about;  /* one line for --help */
    bool needs_paging;  /* rt_has_paging() */
    bool needs_process; /* made for what things cost in a process: not for the VM */
    bool wants_hint;    /* emit_probe() looks at mmu_probe.hint */
    bool needs_ring3;   /* ABI_LAYOUT_RING0 and tables of five levels */
    void (*init)(struct cpu *cpu);
    size_t (*view_bytes)(void); /* of the strategy's part of a view */
    /* ABI_LAYOUT_RING0; shown_bytes 0: not there. Of the strategy's part of a view translated code sees the first
     * shown_bytes, and of that of regime 0, for accesses of that regime, the page at other_at; both whole pages. */
    size_t shown_bytes, other_at;
    void (*view_init)(struct cpu *cpu, struct view *v); /* a fresh or recycled view, spaces and regime set */
    /* fill(): the access s was allowed by this walk: make the next one fast, if possible. */
    void (*fill)(struct cpu *cpu, struct mmu_slow *s, enum mmu_access access, const struct walk *w);
    /* miss(): the probe at s->site failed, or the access behind it faulted; called before the walk. May rewrite the
     * site's prediction. With fault(), also when an access without a site faulted. */
    void (*miss)(struct cpu *cpu, struct mmu_slow *s);
    /* hoisted(): an access that uses another's probe, which is at s->site, faulted; called in place of miss(). apart():
     * is the access of the instruction at pc to have its own? NULL: no. */
    void (*hoisted)(struct cpu *cpu, struct mmu_slow *s);
    bool (*apart)(const struct cpu *cpu, uint64_t pc);
    /* fault(): the access at host address at faulted; host: where it went, ~0 if the processor does not say. Called by
     * the handler, with no slow access in progress. True: it is possible now, and is to be tried again; false: it goes
     * to its stub. NULL: always that. */
    bool (*fault)(struct cpu *cpu, const uint8_t *at, uint64_t host, bool write);
    void (*invalidate)(struct cpu *cpu, const struct mmu_inval *inv);
    void (*sync)(struct cpu *cpu);
    /* entered(): another context is current. NULL: so what. */
    void (*entered)(struct cpu *cpu);
    void (*sampled)(struct cpu *cpu,
                    uint64_t pc); /* a sample found code at that guest pc running (hot.c); NULL: so what */
    void (*protect)(struct cpu *cpu, struct gpa page); /* revoke write access to that page everywhere on this vCPU */
    void (*emit_probe)(struct asm_buf *a, const struct cpu *cpu, struct mmu_probe *p);
    /* no_probe(): will emit_probe() write nothing for that access, but for its alignment, and use no register? NULL:
     * never. */
    bool (*no_probe)(const struct cpu *cpu, const struct mmu_probe *p);
    /* same_probes(): does emit_probe() write for the accesses in those bytes of guest code at pc what it would for the
     * same code at another pc of which it knows nothing? NULL: always. */
    bool (*same_probes)(const struct cpu *cpu, uint64_t pc, unsigned bytes);
    /* emit_retry(): out of line, where the probe p of a load or store failed (one that need not be aligned, and is
     * current; or is for regime 0, with retries_other): jumps to access with an index register that is right for low to
     * high and, with write, for stores, or goes on to the slow path. These are what others use that are hoisted to the
     * probe, too. emit_thunks(): code for that, emitted once; its addresses are in thunk, which emit_retry() and
     * emit_find() get, too. NULL: nothing but the slow path. */
    void (*emit_retry)(struct asm_buf *a, const uint8_t *const *thunk, const struct mmu_probe *p,
                       struct asm_label *access);
    bool retries_other;
    void (*emit_thunks)(struct asm_buf *a, const struct cpu *cpu, const uint8_t **thunk);
    /* emit_find(): out of line, for probes that cover a range: looks an access (or range) p up more thoroughly than its
     * probe did. Goes on with the index register set, which is tmp0, or jumps to p->slow. As for emit_probe()
     * otherwise. emit_finish(): comes behind a store that emit_find() was for alone, with the flags as that left them,
     * and destroys only these. */
    void (*emit_find)(struct asm_buf *a, const uint8_t *const *thunk, struct mmu_probe *p);
    void (*emit_finish)(struct asm_buf *a, const uint8_t *const *thunk);
    /* nearby(): the value for the index register of a hoisted probe (covers_nearby) that makes accesses near va right,
     * or fault if there is no mapping now. va is their base; they are less than 128 KiB away from it. The backend
     * renews hoisted index registers with it after every slow access s, and uses none of them beyond its block. NULL:
     * it uses one that makes base + index non-canonical, so that later accesses of the block fault and go slow. */
    uint64_t (*nearby)(struct cpu *cpu, const struct mmu_slow *s, uint64_t va, unsigned regime);
    /* emit_span(): of strategies that have no places: goes on if the bytes from that in `first` to that in `last` are
     * in one page of the current regime's that is mapped for loads, or for stores, too, with the index register for
     * them in `first`, which stays right until something is invalidated or C code does a slow access. Else goes to
     * miss. Both are destroyed. */
    void (*emit_span)(struct asm_buf *a, const uint8_t *const *thunk, bool write, unsigned first, unsigned last,
                      struct asm_label *miss);
    /* Places: parts of the current regime's address space in which all accesses have one index register. An address
     * that is in one, and then others, each less than MMU_PLACE_REACH away from the one before, need no probe until one
     * of them faults, as all do that are not in the place. Nobody uses an index register of a place's after a slow
     * access: it is loaded again. NULL, all of them: there are no places. place(): the number of the one with that
     * address, MMU_NO_PLACE: it is in none. emit_place_number(): of the address in reg, which may be in none.
     * place_index(): the index register of that number, which may be any. emit_place(): makes the number in reg it;
     * goes to `other` (NULL: nowhere) if nothing of the place is mapped, or it is none. emit_place_wanted(): goes to
     * `other` if the access with the probe at site better stays with it. */
    uint64_t (*place)(const struct cpu *cpu, uint64_t va);
    uint64_t (*place_index)(const struct cpu *cpu, uint64_t number);
    void (*emit_place_number)(struct asm_buf *a, unsigned reg);
    void (*emit_place)(struct asm_buf *a, const struct cpu *cpu, unsigned reg, struct asm_label *other);
    void (*emit_place_wanted)(struct asm_buf *a, const uint8_t *site, struct asm_label *other);
};
extern const struct mmu_ops *const mmu_strategies[]; /* indexed by enum abi_mmu */

#endif
