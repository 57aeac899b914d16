/* SPDX-License-Identifier: Apache-2.0
 * Copyright The Graft Authors */
/*
 * engine.h: what the parts of the engine proper share with each other (dispatcher,
 * code cache, translation, requests, memory). Guests and backends see the
 * contracts in include/graft instead.
 *
 * struct engine is private to its vCPU; struct engine_shared lies at the start
 * of the shared heap and is the only engine data that several vCPUs write.
 */
#ifndef DBT_ENGINE_H
#define DBT_ENGINE_H

#include "graft/codegen.h"
#include "graft/guest.h"
#include "graft/rt.h"

/* --- memory of one vCPU ----------------------------------------------------------------------- */
#define HEAP_CLASSES 40
struct heap {
    uint8_t *base;
    size_t used, size;
    void *free[HEAP_CLASSES]; /* recycled pieces of 1 << class bytes */
};
/* heap_take(): bytes for ever, zeroed, 64-byte aligned; NULL when full. */
void *heap_take(struct heap *h, size_t bytes);
/* heap_get(), heap_put(): recycled pieces of a power-of-two size (64 or more), not zeroed. */
void *heap_get(struct heap *h, unsigned shift);
void heap_put(struct heap *h, void *p, unsigned shift);
static inline size_t heap_left(const struct heap *h) { return h->size - h->used; }

/* Bits of cpu->tlbi_pending: what the guest's barrier has to wait for. */
enum pending_inval {
    PENDING_OWN = 1u,    /* host TLB flushes, which mmu_sync() does */
    PENDING_OTHERS = 2u, /* requests to other vCPUs: engine_broadcast_wait() */
};

/* --- requests between vCPUs ------------------------------------------------------------------- */
#define MAILBOX_ENTRIES 64
struct mailbox {
    _Atomic uint32_t lock;
    uint32_t count;
    bool inval_overflow, code_overflow; /* entries were lost: do everything of that kind */
    struct engine_request entry[MAILBOX_ENTRIES];
} __attribute__((aligned(64)));

struct engine_shared {
    _Atomic uint32_t ready; /* vCPU 0 has set up everything in here */
    void *guest;            /* engine_guest_shared() */
    struct heap heap;
    struct mailbox mailbox[ABI_MAX_VCPUS];
};

/* --- memory that is used next: ahead.c -------------------------------------------------------- */
#define AHEAD_BYTES ABI_AHEAD_BYTES
/* Memory that is used from told to end, or from told down to it; told: the monitor has heard of what was before. */
struct ahead {
    uintptr_t told, end;
};
/* ahead_up(): it is used up to at; the next piece is told of when half of the last one is left. ahead_down(): the same
 * downwards. */
static inline struct ahead ahead_of(const void *at, size_t bytes) {
    return (struct ahead){(uintptr_t)at, (uintptr_t)at + bytes};
}
void ahead_more(struct cpu *cpu, struct ahead *a);
void ahead_less(struct cpu *cpu, struct ahead *a);
static inline void ahead_up(struct cpu *cpu, struct ahead *a, const void *at) {
    while (a->told < a->end && (uintptr_t)at + AHEAD_BYTES / 2 > a->told)
        ahead_more(cpu, a);
}
static inline void ahead_down(struct cpu *cpu, struct ahead *a, const void *at) {
    while (a->told > a->end && (uintptr_t)at < a->told + AHEAD_BYTES / 2)
        ahead_less(cpu, a);
}
/* ahead_ram(): that page of RAM is about to be used. If it is the first of its AHEAD_BYTES, next to some that were used
 * before, those on its other side are likely to be the next ones. */
void ahead_ram(struct cpu *cpu, struct gpa page);

/* --- the code cache --------------------------------------------------------------------------- */
struct block {
    uint64_t pa, pc;
    uint32_t mode;
    uint32_t start, end, entry, nocheck; /* host code, offsets from the code area */
    uint32_t records, record_bytes;      /* its records: their end, and what is in front of that */
    uint32_t loop;                       /* the same of code_out.loop, 0: none */
    uint32_t hash_next, page_next;       /* block numbers; 0 ends a chain */
    uint32_t incoming;                   /* first link that jumps here */
    uint32_t first_link, first_fault;
    uint32_t first_move; /* up to the next block's, if it has any: others may be copies of it */
    uint16_t links, faults;
    uint16_t guest_bytes;
    uint16_t watch_before, watch_bytes; /* what it was made from: bytes before pc, and from pc */
    uint32_t first_guest;               /* its guest code, from watch_before on, if that is kept */
    enum block_loops {
        BLOCK_LOOPS_NOT,
        BLOCK_MAY_LOOP,
        BLOCK_LOOPS
    } loops : 8;            /* shall it be compiled as a loop? See hot.c */
    uint8_t rounds, leaves; /* with BLOCK_MAY_LOOP: how often it went back to its start, and elsewhere */
    uint8_t branches;       /* of the rounds, those to code that it has further on */
    uint8_t asides;         /* of the rounds, those to another block further on that goes back to its start */
    bool may_loop;          /* code_out.may_loop */
    bool valid;
    bool kept;  /* an entry can be made of it (reuse.c) */
    bool bound; /* code_out.bound */
};
struct block_link {
    uint64_t target_pc;
    uint32_t site, stub, back; /* of code_link, as offsets from the code area */
    uint32_t target;           /* block it is linked to, 0 = none */
    uint32_t source;           /* block it belongs to */
    uint32_t next;             /* in target's incoming list */
};

/* A pair of a virtual and a physical page that links from other pages lead to; its number is its index. */
struct code_page {
    uint64_t va, pa; /* pa with CODE_PAGE_USED; 0 in an empty entry */
};
#define CODE_PAGE_USED 1u
#define CODE_PAGES (1u << 16)

#define CACHE_PAGE_BITS 13
#define CACHE_ROUNDS 1024
struct cache {
    uint8_t *code;
    int64_t code_to_write;             /* cpu.code_to_write */
    uint32_t code_first, code_used;    /* bump allocation: code from first on, ... */
    uint32_t records_used, code_limit; /* ... records from the limit down */
    struct cache_ahead {
        struct ahead code, records, block, link, fault, move, guest, heap;
    } ahead;
    struct block *block;     /* [0] is unused: 0 means none. Sorted by start */
    struct block_link *link; /* [0] is unused */
    struct code_fault *fault;
    uint16_t *move; /* code_out.move */
    uint8_t *guest; /* NULL: nobody wants to have blocks for later runs */
    uint32_t blocks, block_max, links, link_max, faults, fault_max, moves, move_max, guests, guest_max;
    uint32_t *hash, hash_mask;
    uint32_t *piece,
        pieces;     /* of the code area: the first block that ends in each, or behind it; how many are filled */
    uint32_t *same; /* by hash of pa and mode: a block that can be copied, if it still is valid, and theirs */
    uint32_t page[1 << CACHE_PAGE_BITS]; /* first block of the guest pages that hash here */
    struct {
        uint32_t page;
        uint16_t drops, stores;
    } rounds[CACHE_ROUNDS];      /* how often was all code of a page lost to a write; single stores since */
    struct code_page *code_page; /* CODE_PAGES, by hash; [CODE_PAGE_NONE] is unused */
    unsigned code_pages;
    struct block step; /* the single-instruction block of step mode, at code_limit */
    struct code_fault step_fault[32];
};

/* --- the user's debugger: debug.c ------------------------------------------------------------- */
enum debug_step { DEBUG_NO_STEP, DEBUG_STEP_WANTED, DEBUG_STEP_DONE };
struct debug {
    bool any;             /* the dispatcher has to ask debug_look() */
    enum debug_step step; /* of one instruction */
    uint32_t kept;        /* pending bits that wait for the end of the steps */
    enum abi_held hit;    /* an access that is watched: ABI_HELD_READ or ABI_HELD_WRITE, else ABI_HELD_ASKED */
    uint64_t hit_va;
    unsigned hit_number;
    struct abi_debug wanted; /* abi_shared.debug, as this vCPU follows it */
    uint32_t ends;           /* blocks were translated to end at these addresses */
    uint64_t end[ABI_BREAKPOINTS];
};
/* debug_hold(): calls the monitor, and carries out its orders until the vCPU is to go on. debug_look(): before the
 * instruction at the pc in the state, if debug.any: does a debugger want to have it held here? debug_end(): the guest
 * code at pc up to which a block may go, of bytes that are at hand. debug_watch(): an access that is about to be done;
 * unwinds if it is watched. */
void debug_hold(struct cpu *cpu);
void debug_look(struct cpu *cpu);
unsigned debug_end(const struct engine *e, uint64_t pc, unsigned bytes);
void debug_watch(struct cpu *cpu, uint64_t va, unsigned bytes, enum mmu_access access);
/* debug_mode(): what it adds to the guest's mode. */
uint32_t debug_mode(const struct cpu *cpu);
/* debug_keep(): pending bits that guest_ops.service() is to see when the steps have ended. */
void debug_keep(struct engine *e, uint32_t bits);

#define SEMIHOST_CALLS 8 /* that a vCPU can have in progress: one, and those of the handlers that came in between */

enum hot_loop { HOT_LOOP_NOT, HOT_LOOP, HOT_LOOP_BRANCHES };

struct engine {
    struct cpu *cpu;
    const struct guest_ops *guest;
    const struct mmu_ops *ops;
    struct engine_shared *shared;
    struct codegen *cg;
    struct mmu_state *mmu;
    struct heap heap;
    struct cache cache;
    struct hot *hot_blocks;
    struct reuse *reuse; /* NULL: no blocks are kept for later runs */
    struct semihost_call {
        uint32_t op; /* 0: none is in progress */
        uint64_t param, pc, sp, done;
    } semihost[SEMIHOST_CALLS];
    unsigned semihost_next; /* the one to be given up if there are too many */
    struct debug debug;
    struct engine_power *power; /* NULL: never off */
    struct ir_block *ir;
    struct code_out *out;
    uint8_t *code_bits; /* abi_shared.code_pages_va */
    uint32_t mode;      /* of the code that runs or is about to */
    uint32_t dma_tail;
    uint32_t rom_changes;           /* abi_shared.rom_changes, as far as this vCPU has followed */
    bool in_code;                   /* inside codegen_enter() */
    bool flush_wanted;              /* empty the code cache at the next dispatch */
    bool hot;                       /* the block in translation is one that runs much: see hot.c */
    enum hot_loop loop;             /* is it to be compiled as one? */
    bool asides;                    /* with its asides? */
    bool step;                      /* the next instruction runs alone: it writes to the block that it is in */
    bool stepping;                  /* that instruction is running now */
    bool guest_steps;               /* GUEST_MODE_ONCE is what the guest wants itself */
    bool unwound;                   /* the block that ran last was left by engine_unwind() */
    void *unwind;                   /* codegen_catch() of the dispatcher, for unwinding outside translated code */
    uint64_t started;               /* TSC */
    uint64_t ticket[ABI_MAX_VCPUS]; /* req_posted of each target after this vCPU's last request to it */
};
static inline struct engine *engine_of(const struct cpu *cpu) { return cpu->engine; }

/* engine_call(): rt_call() as a quiescent point: other vCPUs need not wait for this one meanwhile, and their requests
 * are served before it returns. abi.ret is what the monitor answered to this call then. */
void engine_call(struct cpu *cpu, enum abi_call call);
/* engine_follow_rom(): what is flash may not be memory any more: takes it away from translated code. */
void engine_follow_rom(struct cpu *cpu);
/* engine_serve_requests(): honours what others left in this vCPU's mailbox. */
void engine_serve_requests(struct cpu *cpu);
/* engine_request_post(): one request to one vCPU. */
void engine_request_post(struct cpu *from, unsigned to, const struct engine_request *req);

/* guest_pc(): the guest's program counter. */
static inline uint64_t guest_pc(const struct cpu *cpu) {
    uint64_t pc;
    memcpy(&pc, (const char *)cpu + cpu->guest->pc_offset, sizeof(pc));
    return pc;
}

/* --- cache.c ---------------------------------------------------------------------------------- */
void cache_init(struct cpu *cpu);
/* cache_find(): the block for that code, NULL if there is none. */
struct block *cache_find(struct engine *e, uint64_t pa, uint64_t pc, uint32_t mode);
/* cache_room(): is there room for one more block of the largest size? */
bool cache_room(const struct engine *e);
/* cache_add(): enters what codegen_compile() made into the tables. */
struct block *cache_add(struct engine *e, const struct ir_block *ir, uint64_t pa, const struct code_out *out);
/* cache_copy(): a block for pc by copying what was translated from the same code for another pc; NULL: there is nothing
 * to be copied. If cache_room(). */
struct block *cache_copy(struct engine *e, uint64_t pc, uint64_t pa);
/* cache_may_copy(): may what is translated now be a copy? of another pc's code: apart from what codegen_may_move()
 * says. */
bool cache_may_copy(const struct engine *e);
/* cache_enter(): enters a block of the code in out, which is in other respects like *of. cache_keep_moves(): others may
 * be copies of it from now on, in this run or a later one; false: they may not. cache_moves(): of a block that can be
 * copied; 0: it cannot. */
struct block *cache_enter(struct engine *e, const struct block *of, const struct code_out *out);
bool cache_keep_moves(struct engine *e, struct block *b, const struct code_out *out);
unsigned cache_moves(const struct cache *c, const struct block *b);
/* cache_link(): the exit that engine_left() said jumps to target from now on, if that is allowed. */
void cache_link(struct engine *e, uint64_t left, struct block *target);
/* cache_left(): engine_left(), and the pc. */
uint64_t cache_left(struct engine *e, const uint8_t *back, uint64_t *pc);
/* cache_flush(): empties the cache; from the dispatcher only. */
void cache_flush(struct engine *e);
/* cache_drop(): invalidates the blocks that overlap [pa, pa+len), which lies in one page. */
void cache_drop(struct engine *e, uint64_t pa, uint64_t len);
/* cache_block_at(): the block whose host code that is, NULL if there is none; it may not be valid any more. */
struct block *cache_block_at(struct engine *e, const uint8_t *host_pc);
/* cache_drop_block(): one valid block; it may be running. */
void cache_drop_block(struct engine *e, struct block *b);
/* cache_forget_returns(): empties the return-address stack. */
void cache_forget_returns(struct cpu *cpu);

/* RAM and flash (ROM) have one sequence of pages. pa_is_ram(): may be written like memory. pa_in_rom(): in flash,
 * whether it is memory now or not. pa_is_memory(): can be read like memory now. */
static inline bool pa_is_ram(const struct cpu *cpu, uint64_t pa) {
    return pa - cpu->boot->ram_gpa < cpu->boot->ram_size;
}
static inline bool pa_in_rom(const struct cpu *cpu, uint64_t pa) {
    return pa - cpu->boot->rom_gpa < cpu->boot->rom_size;
}
static inline bool pa_is_memory(const struct cpu *cpu, uint64_t pa) {
    if (LIKELY(pa_is_ram(cpu, pa)))
        return true;
    return pa_in_rom(cpu, pa) && cpu->shared->rom_mapped >> ((pa - cpu->boot->rom_gpa) / ABI_ROM_CHUNK) & 1;
}
/* ram_offset(): where the bytes of RAM or flash at pa lie, from those of the first RAM page on. */
static inline uint64_t ram_offset(const struct cpu *cpu, uint64_t pa) {
    const struct abi_boot *b = cpu->boot;
    return LIKELY(pa - b->ram_gpa < b->ram_size) ? pa - b->ram_gpa : pa - b->rom_gpa + b->rom_offset;
}
/* code_bits_at(): which vCPUs hold code of the page that holds pa, which is RAM or flash. */
static inline _Atomic uint8_t *code_bits_at(const struct engine *e, uint64_t pa) {
    return (_Atomic uint8_t *)&e->code_bits[ram_offset(e->cpu, pa) >> PAGE_SHIFT];
}
/* page_is_watched(): a write to that page has to be seen: it holds somebody's code, or it is a command to the flash. */
static inline bool page_is_watched(const struct cpu *cpu, uint64_t pa) {
    return *code_bits_at(engine_of(cpu), pa) || !pa_is_ram(cpu, pa);
}
/* code_before_write(): translated code writes [pa, pa+len), RAM in one page, next. Drops code made from it; may unwind.
 * False: no vCPU has code of that page. */
void code_before_write_slow(struct cpu *cpu, uint64_t pa, uint64_t len);
static inline bool code_before_write(struct cpu *cpu, uint64_t pa, uint64_t len) {
    bool any = *code_bits_at(engine_of(cpu), pa);
    if (UNLIKELY(any))
        code_before_write_slow(cpu, pa, len);
    return any;
}

/* --- reuse.c: blocks of earlier runs, and for later ones -------------------------------------- */
/* reuse_wanted(): are there any? */
static inline bool reuse_wanted(const struct cpu *cpu) { return cpu->boot->reuse != ABI_REUSE_OFF; }
/* reuse_init(): if so. After the code cache and the memory strategy. */
void reuse_init(struct cpu *cpu);
/* reuse_look(): code at pc is about to be translated; its bytes are known from now on, whatever else writes there.
 * reuse_keep(): it was translated to b, which is to be kept for later runs. */
void reuse_look(struct engine *e, uint64_t pc, const uint8_t *code);
void reuse_keep(struct engine *e, struct block *b);
/* reuse_expect(): reuse_take() is likely to be next. */
void reuse_expect(const struct engine *e, uint64_t pc, const uint8_t *code);
/* reuse_take(): a block for that code at pc from one of an earlier run; NULL: there is none. If cache_room(). */
struct block *reuse_take(struct engine *e, uint64_t pc, uint64_t pa, const uint8_t *code);
/* reuse_give(): gives the monitor what it has not been given yet. reuse_flush(): the same, as all blocks are about to
 * go. */
void reuse_give(struct cpu *cpu);
void reuse_flush(struct cpu *cpu);

/* --- translate.c ------------------------------------------------------------------------------ */
/* translate_block(): a new block for the code at pc (host pointer, guest-physical address); NULL: the cache is full. */
struct block *translate_block(struct cpu *cpu, uint64_t pc, uint64_t pa, const void *words);
/* translate_shown(): does the user want to see that block under that topic? */
bool translate_shown(const struct cpu *cpu, const struct block *b, uint32_t topic);
/* translate_step(): a block of one instruction that is in no table; valid until the next one. */
struct block *translate_step(struct cpu *cpu, uint64_t pc, uint64_t pa, const void *words);

/* --- hot.c ------------------------------------------------------------------------------------ */
/* hot_init(): room for what the rest notes of blocks. Without it none is hot. */
void hot_init(struct cpu *cpu);
/* hot_sample(): serves ABI_PEND_SAMPLE; from the dispatcher only. */
void hot_sample(struct cpu *cpu);
/* hot_has(): is the block one that runs much? hot_has_loop(): is it one that went back to its own start often,
 * and had branches inside that were taken often? */
bool hot_has(const struct engine *e, uint64_t pa, uint64_t pc, uint32_t mode);
enum hot_loop hot_has_loop(const struct engine *e, uint64_t pa, uint64_t pc, uint32_t mode);
/* hot_has_asides(): is it a loop that often went on by way of an aside, code behind its end that goes back to its
 * start? */
bool hot_has_asides(const struct engine *e, uint64_t pa, uint64_t pc, uint32_t mode);
/* hot_left(): the valid block, with BLOCK_MAY_LOOP, was left by way of the dispatcher, for the target. True if it is as
 * good as it is, and may be linked; with BLOCK_LOOPS it is to be translated again. */
bool hot_left(struct engine *e, struct block *b, const struct block *target);

/* --- mmu/: see mmu_int.h ---------------------------------------------------------------------- */
void mmu_init(struct cpu *cpu);
/* view_disp(): what cpu.view_disp has to be. */
int32_t view_disp(const struct cpu *cpu);
/* mmu_fetch_quiet(): like mem_fetch() without raising: NULL if that would abort. */
const void *mmu_fetch_quiet(struct cpu *cpu, uint64_t va, struct gpa *pa);
/* mmu_jump_cache_set(): pc's block in the current view. */
void mmu_jump_cache_set(struct cpu *cpu, uint64_t pc, const uint8_t *host);
/* mmu_code_page_set(): the current view maps pc's page, which has that number. */
void mmu_code_page_set(struct cpu *cpu, uint64_t pc, uint32_t number);
/* mmu_jump_cache_drop(): no view's jump cache leads to pc's block any more. mmu_jump_cache_clear(): nor to any. */
void mmu_jump_cache_drop(struct cpu *cpu, uint64_t pc);
void mmu_jump_cache_clear(struct cpu *cpu);
/* mmu_enter_mode(): translated code of that mode runs next in the current view. */
void mmu_enter_mode(struct cpu *cpu, uint32_t mode);

#endif
