/* SPDX-License-Identifier: Apache-2.0
 * Copyright The Graft Authors */
/*
 * access.c: guest memory from C: helpers' accesses, the slow path of emitted ones,
 * instruction fetch. A small cache of walks makes repeated slow accesses cheap;
 * mmu_invalidate() empties it together with everything else.
 */
#include "dbt/mmu/atomics.h"
#include "dbt/mmu/mmu_int.h"

/* --- RAM and walks ---------------------------------------------------------------------------- */
/* Within one chunk of the flash, if it is memory now. */
static void *rom_ptr(const struct cpu *cpu, uint64_t pa, uint64_t len) {
    const struct abi_boot *b = cpu->boot;
    if (!pa_is_memory(cpu, pa) || len > ABI_ROM_CHUNK - (pa - b->rom_gpa) % ABI_ROM_CHUNK)
        return NULL;
    return (void *)(uintptr_t)(b->ram_va + ram_offset(cpu, pa));
}

void *ram_ptr(const struct cpu *cpu, struct gpa pa, uint64_t len) {
    const struct abi_boot *b = cpu->boot;
    uint64_t offset = pa.v - b->ram_gpa;
    if (UNLIKELY(offset >= b->ram_size))
        return rom_ptr(cpu, pa.v, len);
    return len > b->ram_size - offset ? NULL : (void *)(uintptr_t)(b->ram_va + offset);
}

static bool allows(const struct walk *w, enum mmu_access access) {
    return access == MMU_READ ? w->read : access == MMU_WRITE ? w->write : w->exec;
}

void walks_forget(struct mmu_state *m, const struct mmu_inval *inv) {
    bool one = inv->kind == MMU_INVAL_VA || inv->kind == MMU_INVAL_VA_ASID;
    if (one && !big_has(m->walks_big, inv->va)) {
        m->walk[(inv->va >> PAGE_SHIFT) % WALK_ENTRIES].tag = 0;
        return;
    }
    m->walks_big = 0;
    for (unsigned i = 0; i < WALK_ENTRIES; i++) {
        struct walk_entry *e = &m->walk[i];
        unsigned shift = e->w.page_shift;
        if (!one || (e->tag ^ inv->va) << 8 >> 8 >> shift == 0)
            e->tag = 0;
        else if (e->tag)
            m->walks_big |= big_bit(e->tag, shift);
    }
}

/* The walk for an access; w->fault is set if it is not allowed, and then nothing is remembered. */
static struct walk_entry *walk_to(struct cpu *cpu, uint64_t va, enum mmu_access access, unsigned regime,
                                  struct walk *w) {
    struct mmu_state *m = mmu_of(cpu);
    struct walk_entry *e = &m->walk[(va >> PAGE_SHIFT) % WALK_ENTRIES];
    uint64_t tag = ALIGN_DOWN(va, PAGE_SIZE) | regime | WALK_VALID;
    if (LIKELY(e->tag == tag && e->context == m->current->id && allows(&e->w, access)))
        return e;
    STAT(cpu, walks)++;
    memset(w, 0, sizeof(*w));
    cpu->guest->walk(cpu, va, access, regime, w);
    if (w->fault)
        return NULL;
    m->walks_big |= big_bit(va, w->page_shift);
    e->tag = tag;
    e->context = m->current->id;
    e->w = *w;
    e->w.pa.v = ALIGN_DOWN(w->pa.v, PAGE_SIZE);
    e->host = ram_ptr(cpu, e->w.pa, PAGE_SIZE);
    e->rom = pa_in_rom(cpu, e->w.pa.v);
    if (e->host && !e->rom) {
        rt_ram_used(cpu, e->w.pa);
        ahead_ram(cpu, e->w.pa);
    }
    return e;
}

/* Of a page of the flash that is a device's: the host pointer, if reading there makes it memory. It does in read
 * mode. */
static uint8_t *rom_wake(struct cpu *cpu, const struct walk_entry *e) {
    uint64_t value;
    return e->rom && bus_read(cpu, e->w.pa, 4, &value) ? ram_ptr(cpu, e->w.pa, PAGE_SIZE) : NULL;
}

/* --- what host faults are for ----------------------------------------------------------------- */
void mmu_fault_done(struct cpu *cpu, enum abi_stat cause) {
    if (LIKELY(!cpu->fault_ticks))
        return;
    STAT(cpu, ticks_host_faults) += rt_ticks() - cpu->fault_ticks;
    cpu->fault_ticks = 0;
    cpu->abi.stats[cause]++;
}

/* Of all functions below: s is the slow access of emitted code that goes on here, NULL if it is a helper's access. */

/* resolve(): the translation of an access; raises the guest's abort if there is none. */
static struct walk_entry *resolve(struct cpu *cpu, uint64_t va, enum mmu_access access, unsigned regime, unsigned flags,
                                  const struct mmu_slow *s) {
    struct walk w;
    struct walk_entry *e = walk_to(cpu, va, access, regime, &w);
    if (UNLIKELY(!e)) {
        struct mmu_state *m = mmu_of(cpu);
        m->retry.pc = guest_pc(cpu);
        m->retry.asked = !s || !s->unpredicted;
        m->retry.va = va;
        m->retry.access = access;
        m->retry.regime = (uint8_t)regime;
        cpu->guest->mem_abort(cpu, va, access, &w, flags);
    }
    return e;
}

void mmu_retry(struct cpu *cpu, uint64_t pc) {
    struct mmu_state *m = mmu_of(cpu);
    struct walk w;
    if (LIKELY(m->retry.pc != pc))
        return;
    m->retry.pc = ~UINT64_C(0);
    const unsigned regime = m->retry.regime; /* another one: of LDTR and STTR, a kernel's copy from or to a process */
    if (!guest_may_access(cpu->guest, cpu->regime, regime) || m->retry.access == MMU_FETCH)
        return;
    struct walk_entry *e = walk_to(cpu, m->retry.va, m->retry.access, regime, &w);
    struct mmu_slow s = {
        .va = m->retry.va, .desc = MMU_DESC(0, regime, 0), .fill_now = m->retry.asked, .guess = !m->retry.asked};
    if (e && e->host)
        engine_of(cpu)->ops->fill(cpu, &s, m->retry.access, &e->w);
}

bool mem_probe(struct cpu *cpu, uint64_t va, enum mmu_access access, unsigned regime, struct walk *w) {
    STAT(cpu, walks)++;
    memset(w, 0, sizeof(*w));
    cpu->guest->walk(cpu, va, access, regime, w);
    return w->fault == 0;
}

bool mem_translate(struct cpu *cpu, uint64_t va, enum mmu_access access, unsigned regime, struct gpa *pa) {
    struct walk w;
    const struct walk_entry *e = walk_to(cpu, va, access, regime, &w);
    if (e)
        *pa = GPA(e->w.pa.v | (va & PAGE_MASK));
    return e != NULL;
}

const void *mem_fetch(struct cpu *cpu, uint64_t va, struct gpa *pa) {
    struct walk_entry *e = resolve(cpu, va, MMU_FETCH, cpu->regime, 0, NULL);
    *pa = GPA(e->w.pa.v | (va & PAGE_MASK));
    if (UNLIKELY(!e->host))
        e->host = rom_wake(cpu, e);
    if (UNLIKELY(!e->host))
        cpu->guest->external_abort(cpu, va, MMU_FETCH, *pa);
    return e->host + (va & PAGE_MASK);
}

const void *mmu_fetch_quiet(struct cpu *cpu, uint64_t va, struct gpa *pa) {
    struct walk w;
    struct walk_entry *e = walk_to(cpu, va, MMU_FETCH, cpu->regime, &w);
    if (!e || !e->host)
        return NULL;
    *pa = GPA(e->w.pa.v | (va & PAGE_MASK));
    return e->host + (va & PAGE_MASK);
}

/* --- host loads and stores: one instruction each, so that aligned ones are single-copy atomic --- */
/* Not memcpy(), which is a function in the VM and copies bytes. */
struct ram16 {
    uint16_t v;
} __attribute__((packed, may_alias));
struct ram32 {
    uint32_t v;
} __attribute__((packed, may_alias));
struct ram64 {
    uint64_t v;
} __attribute__((packed, may_alias));

static uint64_t load(const uint8_t *p, unsigned size) {
    switch (size) {
    case 0: return *(const volatile uint8_t *)p;
    case 1: return ((const volatile struct ram16 *)p)->v;
    case 2: return ((const volatile struct ram32 *)p)->v;
    default: return ((const volatile struct ram64 *)p)->v;
    }
}
static void store(uint8_t *p, uint64_t value, unsigned size) {
    switch (size) {
    case 0: *(volatile uint8_t *)p = (uint8_t)value; break;
    case 1: ((volatile struct ram16 *)p)->v = (uint16_t)value; break;
    case 2: ((volatile struct ram32 *)p)->v = (uint32_t)value; break;
    default: ((volatile struct ram64 *)p)->v = value; break;
    }
}

/* --- devices ---------------------------------------------------------------------------------- */
/* What the bus takes at once: at most eight bytes, naturally aligned. */
static unsigned io_piece(uint64_t pa, unsigned left) { return 1u << __builtin_ctzll(pa | left | 8); }

/* as: what an abort is one of. */
static void io_read_as(struct cpu *cpu, uint64_t va, struct gpa pa, uint8_t *out, unsigned bytes, enum mmu_access as) {
    for (unsigned i = 0, n; i < bytes; i += n) {
        uint64_t value = 0;
        n = io_piece(pa.v + i, bytes - i);
        if (!bus_read(cpu, GPA(pa.v + i), n, &value))
            cpu->guest->external_abort(cpu, va + i, as, GPA(pa.v + i));
        memcpy(out + i, &value, n);
    }
}

static void io_read(struct cpu *cpu, uint64_t va, struct gpa pa, uint8_t *out, unsigned bytes) {
    io_read_as(cpu, va, pa, out, bytes, MMU_READ);
}

static void io_write(struct cpu *cpu, uint64_t va, struct gpa pa, const uint8_t *in, unsigned bytes) {
    for (unsigned i = 0, n; i < bytes; i += n) {
        uint64_t value = 0;
        n = io_piece(pa.v + i, bytes - i);
        memcpy(&value, in + i, n);
        if (!bus_write(cpu, GPA(pa.v + i), n, value))
            cpu->guest->external_abort(cpu, va + i, MMU_WRITE, GPA(pa.v + i));
    }
}

/* The page as memory, for that access: flash is to be read only. */
static uint8_t *host_for(const struct walk_entry *e, enum mmu_access access) {
    return access == MMU_WRITE && UNLIKELY(e->rom) ? NULL : e->host;
}

static void before_write(struct cpu *cpu, uint64_t pa, unsigned bytes, struct mmu_slow *s) {
    if (UNLIKELY(code_before_write(cpu, pa, bytes)) && s)
        s->cause = ABI_STAT_host_faults_code;
}

/* --- accesses that cross a page: both pages are checked before anything is touched ------------ */
struct halves {
    uint8_t *host[2]; /* NULL: a device's */
    uint64_t pa[2];
    unsigned bytes[2];
};

static void check_align(struct cpu *cpu, uint64_t va, unsigned size, enum mmu_access access, unsigned flags) {
    if (UNLIKELY(flags & IR_MEM_ALIGN && va & MASK(ir_mem_align(flags, size))))
        cpu->guest->align_fault(cpu, va, access);
}

static void halves_resolve(struct cpu *cpu, uint64_t va, unsigned bytes, enum mmu_access access, unsigned regime,
                           unsigned flags, const struct mmu_slow *s, struct halves *h) {
    uint64_t second = ALIGN_DOWN(va, PAGE_SIZE) + PAGE_SIZE;
    h->bytes[0] = (unsigned)(second - va);
    h->bytes[1] = bytes - h->bytes[0];
    for (unsigned i = 0; i < 2; i++) {
        uint64_t at = i ? second : va;
        struct walk_entry *e = resolve(cpu, at, access, regime, flags, s);
        if (e->w.device) /* elements may still be where they belong */
            check_align(cpu, va, (unsigned)__builtin_ctz(bytes), access, flags | IR_MEM_ALIGN);
        h->pa[i] = e->w.pa.v | (at & PAGE_MASK);
        h->host[i] = host_for(e, access) ? e->host + (at & PAGE_MASK) : NULL;
    }
}

static void halves_read(struct cpu *cpu, uint64_t va, const struct halves *h, uint8_t *out) {
    for (unsigned i = 0; i < 2; out += h->bytes[i++])
        if (h->host[i])
            memcpy(out, h->host[i], h->bytes[i]);
        else
            io_read(cpu, i ? ALIGN_UP(va, PAGE_SIZE) : va, GPA(h->pa[i]), out, h->bytes[i]);
}

static void halves_write(struct cpu *cpu, uint64_t va, const struct halves *h, const uint8_t *in, struct mmu_slow *s) {
    for (unsigned i = 0; i < 2; i++)
        if (h->host[i])
            before_write(cpu, h->pa[i], h->bytes[i], s);
    for (unsigned i = 0; i < 2; in += h->bytes[i++])
        if (h->host[i])
            memcpy(h->host[i], in, h->bytes[i]);
        else
            io_write(cpu, i ? ALIGN_UP(va, PAGE_SIZE) : va, GPA(h->pa[i]), in, h->bytes[i]);
}

/* --- any access ------------------------------------------------------------------------------- */
static inline bool crosses(uint64_t va, unsigned bytes) { return (va & PAGE_MASK) + bytes > PAGE_SIZE; }

/* shown(): the access is allowed, and its address found: a debugger of the guest may want to know. */
static inline void shown(struct cpu *cpu, uint64_t va, unsigned bytes, enum mmu_access access, unsigned regime) {
    if (UNLIKELY(cpu->watch & CPU_WATCH_GUEST))
        cpu->guest->watch(cpu, va, bytes, access, regime);
    if (UNLIKELY(cpu->watch & CPU_WATCH_DEBUGGER))
        debug_watch(cpu, va, bytes, access);
}

/* Reads bytes (1 << size) to out. */
static void read_any(struct cpu *cpu, uint64_t va, v128 *out, unsigned size, unsigned regime, unsigned flags,
                     struct mmu_slow *s) {
    unsigned bytes = 1u << size;
    check_align(cpu, va, size, MMU_READ, flags);
    if (UNLIKELY(crosses(va, bytes))) {
        struct halves h;
        halves_resolve(cpu, va, bytes, MMU_READ, regime, flags, s, &h);
        shown(cpu, va, bytes, MMU_READ, regime);
        halves_read(cpu, va, &h, out->u8);
        return;
    }
    struct walk_entry *e = resolve(cpu, va, MMU_READ, regime, flags, s);
    if (UNLIKELY(e->w.device))
        check_align(cpu, va, size, MMU_READ, flags | IR_MEM_ALIGN);
    shown(cpu, va, bytes, MMU_READ, regime);
    if (UNLIKELY(!e->host)) {
        if (s)
            s->cause = ABI_STAT_host_faults_device;
        io_read(cpu, va, GPA(e->w.pa.v | (va & PAGE_MASK)), out->u8, bytes);
        if (e->rom)
            e->tag = 0; /* it may be memory next time */
        return;
    }
    if (s)
        engine_of(cpu)->ops->fill(cpu, s, MMU_READ, &e->w);
    const uint8_t *p = e->host + (va & PAGE_MASK);
    out->u64[0] = load(p, size);
    if (size == 4)
        out->u64[1] = load(p + 8, 3); /* 16 bytes are two times 8 */
}

static void write_any(struct cpu *cpu, uint64_t va, const v128 *in, unsigned size, unsigned regime, unsigned flags,
                      struct mmu_slow *s) {
    unsigned bytes = 1u << size;
    check_align(cpu, va, size, MMU_WRITE, flags);
    if (UNLIKELY(crosses(va, bytes))) {
        struct halves h;
        halves_resolve(cpu, va, bytes, MMU_WRITE, regime, flags, s, &h);
        shown(cpu, va, bytes, MMU_WRITE, regime);
        halves_write(cpu, va, &h, in->u8, s);
        return;
    }
    struct walk_entry *e = resolve(cpu, va, MMU_WRITE, regime, flags, s);
    if (UNLIKELY(e->w.device))
        check_align(cpu, va, size, MMU_WRITE, flags | IR_MEM_ALIGN);
    shown(cpu, va, bytes, MMU_WRITE, regime);
    if (UNLIKELY(!host_for(e, MMU_WRITE))) {
        if (s)
            s->cause = ABI_STAT_host_faults_device;
        io_write(cpu, va, GPA(e->w.pa.v | (va & PAGE_MASK)), in->u8, bytes);
        return;
    }
    uint8_t *p = e->host + (va & PAGE_MASK);
    before_write(cpu, e->w.pa.v | (va & PAGE_MASK), bytes, s);
    if (s)
        engine_of(cpu)->ops->fill(cpu, s, MMU_WRITE, &e->w);
    store(p, in->u64[0], size);
    if (size == 4)
        store(p + 8, in->u64[1], 3); /* 16 bytes are two times 8 */
    if (flags & IR_MEM_RELEASE)
        __atomic_thread_fence(__ATOMIC_SEQ_CST);
}

uint64_t mem_read(struct cpu *cpu, uint64_t va, unsigned size, unsigned regime, unsigned flags) {
    v128 value = {.u64 = {0, 0}};
    read_any(cpu, va, &value, size, regime, flags, NULL);
    return value.u64[0];
}
void mem_write(struct cpu *cpu, uint64_t va, uint64_t value, unsigned size, unsigned regime, unsigned flags) {
    v128 in = {.u64 = {value, 0}};
    write_any(cpu, va, &in, size, regime, flags, NULL);
}
void mem_read_128(struct cpu *cpu, uint64_t va, v128 *value, unsigned regime, unsigned flags) {
    read_any(cpu, va, value, 4, regime, flags, NULL);
}
void mem_write_128(struct cpu *cpu, uint64_t va, const v128 *value, unsigned regime, unsigned flags) {
    write_any(cpu, va, value, 4, regime, flags, NULL);
}

/* --- reading and writing in one --------------------------------------------------------------- */
/* RAM, or NULL, and then *pa is a device's. */
static uint8_t *host_rmw(struct cpu *cpu, uint64_t va, const struct mem_rmw *r, struct mmu_slow *s, struct gpa *pa) {
    unsigned bytes = 1u << r->size;
    bool loads = r->kind != MEM_RMW_EXCLUSIVE;
    if (loads && !cpu->guest->rmw_is_write) {
        check_align(cpu, va, r->size, MMU_READ, IR_MEM_ALIGN);
        resolve(cpu, va, MMU_READ, r->regime, 0, s);
    }
    check_align(cpu, va, r->size, MMU_WRITE, IR_MEM_ALIGN);
    struct walk_entry *e = resolve(cpu, va, MMU_WRITE, r->regime, 0, s);
    *pa = GPA(e->w.pa.v | (va & PAGE_MASK));
    if (loads)
        shown(cpu, va, bytes, MMU_READ, r->regime);
    shown(cpu, va, bytes, MMU_WRITE, r->regime);
    if (UNLIKELY(!host_for(e, MMU_WRITE)))
        return NULL;
    before_write(cpu, pa->v, bytes, s);
    if (s)
        engine_of(cpu)->ops->fill(cpu, s, MMU_WRITE, &e->w);
    return e->host + (va & PAGE_MASK);
}

/* What is stored for what is there. */
static v128 rmw_result(const struct mem_rmw *r, const v128 *now, bool equal) {
    if (r->kind >= MEM_RMW_CAS)
        return equal ? r->value : *now;
    return (v128){.u64 = {atomic_combine(r->kind, now->u64[0], r->value.u64[0], r->size), 0}};
}

static bool rmw_device(struct cpu *cpu, uint64_t va, struct gpa pa, struct mem_rmw *r) {
    unsigned bytes = 1u << r->size;
    v128 now = {.u64 = {0, 0}};
    io_read_as(cpu, va, pa, now.u8, bytes, cpu->guest->rmw_is_write ? MMU_WRITE : MMU_READ);
    bool equal = !memcmp(now.u8, r->old.u8, bytes);
    v128 next = rmw_result(r, &now, equal);
    io_write(cpu, va, pa, next.u8, bytes);
    r->old = now;
    return equal || r->kind < MEM_RMW_CAS;
}

static bool rmw_any(struct cpu *cpu, uint64_t va, struct mem_rmw *r, struct mmu_slow *s) {
    struct gpa pa;
    uint8_t *p = host_rmw(cpu, va, r, s, &pa);
    if (LIKELY(p))
        return atomic_rmw(p, r);
    if (s)
        s->cause = ABI_STAT_host_faults_device;
    return rmw_device(cpu, va, pa, r);
}

bool mem_rmw(struct cpu *cpu, uint64_t va, struct mem_rmw *r) { return rmw_any(cpu, va, r, NULL); }

/* --- the slow path of emitted accesses -------------------------------------------------------- */
static void slow_begin(struct cpu *cpu, struct mmu_slow *s) {
    STAT(cpu, slow_accesses)++;
    if (UNLIKELY(cpu->boot->log_topics & ABI_LOG_MMU))
        rt_log(cpu, ABI_LOG_MMU, "slow access to %llx desc %x site %p\n", (unsigned long long)s->va, s->desc, s->site);
    s->cause = ABI_STAT_host_faults_fill;
    s->fill_now = (s->desc & (MMU_DESC_HOISTED | MMU_DESC_NEARBY)) != 0;
    const struct mmu_ops *ops = engine_of(cpu)->ops;
    if (s->desc & MMU_DESC_HOISTED) {
        if (ops->hoisted && cpu->fault_ticks)
            ops->hoisted(cpu, s);
    } else if (s->site || (ops->fault && cpu->fault_ticks)) {
        ops->miss(cpu, s);
    }
}

uint64_t mmu_slow_ld(struct cpu *cpu, struct mmu_slow *s) {
    unsigned size = MMU_DESC_SIZE(s->desc);
    v128 value = {.u64 = {0, 0}};
    slow_begin(cpu, s);
    read_any(cpu, s->va, &value, size, MMU_DESC_REGIME(s->desc), MMU_DESC_FLAGS(s->desc), s);
    mmu_fault_done(cpu, s->cause);
    if (size == 4)
        cpu->vscratch[0] = value;
    return value.u64[0];
}

void mmu_slow_st(struct cpu *cpu, struct mmu_slow *s, uint64_t value) {
    unsigned size = MMU_DESC_SIZE(s->desc);
    v128 in = {.u64 = {value, 0}};
    if (size == 4)
        in = cpu->vscratch[0];
    slow_begin(cpu, s);
    write_any(cpu, s->va, &in, size, MMU_DESC_REGIME(s->desc), MMU_DESC_FLAGS(s->desc), s);
    mmu_fault_done(cpu, s->cause);
}

static uint64_t slow_rmw(struct cpu *cpu, struct mmu_slow *s, unsigned kind, uint64_t old, uint64_t value) {
    struct mem_rmw r = {.kind = kind,
                        .size = MMU_DESC_SIZE(s->desc),
                        .regime = MMU_DESC_REGIME(s->desc),
                        .old = {.u64 = {old, 0}},
                        .value = {.u64 = {value, 0}}};
    slow_begin(cpu, s);
    rmw_any(cpu, s->va, &r, s);
    mmu_fault_done(cpu, s->cause);
    return r.old.u64[0];
}

uint64_t mmu_slow_atomic(struct cpu *cpu, struct mmu_slow *s, uint64_t value) {
    return slow_rmw(cpu, s, MMU_DESC_KIND(s->desc), 0, value);
}

uint64_t mmu_slow_cas(struct cpu *cpu, struct mmu_slow *s, uint64_t expected, uint64_t value) {
    return slow_rmw(cpu, s, MEM_RMW_CAS, expected, value);
}
