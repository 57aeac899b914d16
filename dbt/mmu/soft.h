/* SPDX-License-Identifier: Apache-2.0
 * Copyright The Graft Authors */
/* soft.h: the software TLB's tables, as C (soft.c) and emitted code (soft_probe.c) know them. */
#ifndef DBT_MMU_SOFT_H
#define DBT_MMU_SOFT_H

#include "dbt/mmu/mmu_int.h"

/* --- the first table, of each view: what a probe looks at ------------------------------------- */
#define FIRST_SETS 4096u
#define FIRST_CHUNK_SHIFT 6
#define FIRST_CHUNK (1u << FIRST_CHUNK_SHIFT) /* sets whose being empty is known together */
#define FIRST_CHUNKS (FIRST_SETS / FIRST_CHUNK)
#define FIRST_SHIFT 5
struct soft_first {
    uint64_t page[2]; /* by enum mmu_access, MMU_READ and MMU_WRITE: its address, or FIRST_NONE(): not allowed */
    uint64_t addend;  /* host address - guest address */
    uint64_t unused;
};
_Static_assert(sizeof(struct soft_first) == 1 << FIRST_SHIFT && MMU_READ == 0 && MMU_WRITE == 1, "the probe knows");
static inline unsigned first_set(uint64_t va) { return (unsigned)(va >> PAGE_SHIFT) % FIRST_SETS; }
/* An address that is in no page of that set. */
#define FIRST_NONE(set) ((set) ? UINT64_C(0) : PAGE_SIZE)

/* --- the second one, of all views ------------------------------------------------------------- */
#define SOFT_SETS 16384u /* that an address chooses between */
#define SOFT_PLACES 4u   /* where a view may start */
#define SOFT_PLACE_STEP (SOFT_SETS / SOFT_PLACES)
#define SOFT_ENTRIES (SOFT_SETS + (SOFT_PLACES - 1) * SOFT_PLACE_STEP)
#define SOFT_WAYS 4u
#define SOFT_IDS 4096u /* they are above a page's number */
#define SOFT_ID_SHIFT (64 - PAGE_SHIFT)
_Static_assert(SOFT_PLACE_STEP % FIRST_SETS == 0, "an entry's place tells its set in a first table");
struct soft_entry {
    uint64_t tag[2]; /* likewise: see make_tag(), or SOFT_NO_TAG() */
    uint64_t addend;
    uint32_t unused;
    uint8_t shift; /* log2 bytes of the guest's mapping */
};
#define SOFT_ENTRY_SHIFT 5
_Static_assert(sizeof(struct soft_entry) == 1 << SOFT_ENTRY_SHIFT, "the probe knows");
/* A tag without an id, whose page is FIRST_NONE() of that set. */
#define SOFT_NO_TAG(set) (FIRST_NONE((set) % FIRST_SETS) >> PAGE_SHIFT)

/* The ways of a set are in different sets of the host's caches. */
struct soft_way {
    struct soft_entry entry[SOFT_ENTRIES];
    uint8_t pad[192];
};

/* --- slots: the page that some probes of hot code used last ----------------------------------- */
#define SLOTS_SHORT 96u /* slots for probes of up to SHORT_BYTES that read; as many for those that write */
#define SLOTS_LONG 32u  /* the same for longer ones, up to LONG_BYTES; they are behind the short ones */
#define SLOTS (2 * SLOTS_SHORT + 2 * SLOTS_LONG)
#define SHORT_BYTES 16
#define LONG_BYTES 256
#define SLOT_WANDER 8 /* what a look-up for a slot costs of the budget; one of the page next to its last costs 1 */
struct soft_slot {
    uint64_t page;
    uint64_t room; /* offsets in it from which a probe may go on: the page's size less the bytes of the largest, or 0:
                      empty */
    uint64_t addend;
    uint64_t last; /* page that it was missed for when C saw it last */
};

#define SEAM_BYTES 16 /* of the largest access, which may lie across two pages */

/* --- state ------------------------------------------------------------------------------------ */
/* Behind struct view. */
struct soft_view {
    struct soft_entry *table; /* the view's place in the first way */
    uint64_t id;              /* shifted to its place in a tag */
    uint8_t *filled;          /* of soft_state.filled: this view's in the first chunk */
    bool shared;
    uint32_t slots_used; /* set by translated code: some slot may not be empty */
    int32_t budget;      /* counted down by translated code: look-ups for slots */
    uint8_t *seam;       /* the middle of `joined`, for translated code */
    uint64_t epoch;      /* that the slots are of: see slots_renew() */
    /* What lies across two pages is loaded from here, or stored to: see emit_join(). */
    uint64_t joined[2 * SEAM_BYTES / 8];
    uint64_t end[2], end_bytes[2]; /* a store's: behind the first page, and where the second one is; its bytes there */
    struct soft_slot slot[SLOTS] __attribute__((aligned(64)));
    struct soft_first first[FIRST_SETS] __attribute__((aligned(64)));
};

#define SOFT_VIEWS_SHIFT 9
#define SOFT_VIEWS (1u << SOFT_VIEWS_SHIFT) /* at most: see view_add() */
#define SOFT_SHARED 8u                      /* ids that several views use */
#define SOFT_BLOCKS 1024                    /* counters of entries of large guest mappings, by hash of the mapping */
#define WRITTEN_PAGES (1u << 17)            /* pages of RAM with write tags: some more than there are entries */
#define WRITTEN_PLACES 4u /* of such a page that are known; if there are more, all entries are looked at */
#define WANDERERS 16384u  /* bits, by hash of the pc */
struct soft_state {
    struct soft_way way[SOFT_WAYS];
    uint8_t filled[FIRST_CHUNKS][SOFT_VIEWS]; /* set by translated code, too: that view's chunk is not empty */
    struct soft_view *view[SOFT_VIEWS];
    unsigned views;
    uint32_t next_id;
    struct soft_view *owner[SOFT_IDS]; /* the only view that has ever had that id; NULL: it is, or was, shared */
    struct {
        struct mmu_space hi;
        uint32_t regime, id; /* id 0: unused */
    } shared[SOFT_SHARED];
    unsigned next_shared;
    uint32_t blocks[2][SOFT_BLOCKS]; /* entries of guest mappings of 2 MiB, and of 1 GiB: see blocks_at() */
    uint32_t giant;                  /* of larger ones */
    unsigned next_slot[2][2];        /* by whether it is long, and writes */
    uint64_t epoch;
    uint64_t wanderer[WANDERERS / 64];
    unsigned wanderers;
    struct written {
        uint32_t page;                  /* of RAM, and 1; 0: unused */
        uint16_t place[WRITTEN_PLACES]; /* where write tags for it may be: 1 + the place in each way, or 0; or the
                                           first is WRITTEN_ANYWHERE */
    } written[WRITTEN_PAGES];           /* a page that is not here has no write tags */
};
static inline struct soft_view *soft_of(struct view *v) { return (struct soft_view *)(v + 1); }
static inline struct soft_state *soft_state_of(const struct cpu *cpu) { return mmu_of(cpu)->soft; }
/* soft_wanders(): does the instruction at that guest pc go to another page all the time? */
bool soft_wanders(struct soft_state *st, uint64_t pc);

/* --- soft_probe.c ----------------------------------------------------------------------------- */
/* mmu_ops.emit_probe, emit_find, emit_finish, emit_span, emit_thunks. */
void soft_emit_probe(struct asm_buf *a, const struct cpu *cpu, struct mmu_probe *p);
void soft_emit_find(struct asm_buf *a, const uint8_t *const *thunk, struct mmu_probe *p);
void soft_emit_finish(struct asm_buf *a, const uint8_t *const *thunk);
void soft_emit_span(struct asm_buf *a, const uint8_t *const *thunk, bool write, unsigned first, unsigned last,
                    struct asm_label *miss);
void soft_emit_thunks(struct asm_buf *a, const struct cpu *cpu, const uint8_t **thunk);
/* soft_slot_at(): the slot of the probe whose site that is, in that view; NULL if it has none. */
struct soft_slot *soft_slot_at(const struct cpu *cpu, struct soft_view *s, const uint8_t *site);

#endif
