/* SPDX-License-Identifier: Apache-2.0
 * Copyright The Graft Authors */
/*
 * request.c: broadcasts between vCPUs. Each vCPU has a mailbox in the shared heap;
 * req_posted counts what others put there, req_done what it has honoured. A vCPU
 * in a monitor call is quiescent: it looks at its mailbox before it touches guest
 * state again, so nobody waits for it. The two sides form Dekker's pattern (post,
 * then read quiescent; clear quiescent, then read posted) on sequentially
 * consistent atomics.
 */
#include "dbt/engine.h"

static void mailbox_lock(struct cpu *cpu, struct mailbox *m) {
    for (unsigned turn = 0; __atomic_exchange_n((uint32_t *)&m->lock, 1, __ATOMIC_SEQ_CST); turn++)
        rt_yield(cpu, turn);
}
static void mailbox_unlock(struct mailbox *m) { __atomic_store_n((uint32_t *)&m->lock, 0, __ATOMIC_SEQ_CST); }

static void mailbox_add(struct mailbox *m, const struct engine_request *req) {
    if (m->count < MAILBOX_ENTRIES)
        m->entry[m->count++] = *req;
    else if (req->kind == ENGINE_REQ_INVAL || req->kind == ENGINE_REQ_PROTECT)
        m->inval_overflow = true; /* what is filled again is filled with regard to all code there is */
    else
        m->code_overflow = true;
}

void engine_request_post(struct cpu *from, unsigned to, const struct engine_request *req) {
    struct engine *e = engine_of(from);
    struct cpu *target = engine_cpu(from, to);
    struct mailbox *m = &e->shared->mailbox[to];
    mailbox_lock(from, m);
    mailbox_add(m, req);
    e->ticket[to] = __atomic_add_fetch((uint64_t *)&target->req_posted, 1, __ATOMIC_SEQ_CST);
    mailbox_unlock(m);
    /* Not engine_kick(): a sleeping vCPU serves its mailbox when it wakes, there is no need to wake it now. */
    __atomic_fetch_or((uint32_t *)&target->abi.pending, ABI_PEND_REQ, __ATOMIC_SEQ_CST);
}

void engine_broadcast(struct cpu *cpu, const struct engine_request *req) {
    struct engine *e = engine_of(cpu);
    uint8_t holders = 0xff;
    if (req->kind == ENGINE_REQ_CODE)
        holders = pa_is_memory(cpu, req->pa.v) ? *code_bits_at(e, req->pa.v) : 0;
    for (unsigned i = 0; i < cpu->boot->vcpu_count; i++) {
        if (i == cpu->index || !(holders >> i & 1))
            continue;
        engine_request_post(cpu, i, req);
        cpu->tlbi_pending |= PENDING_OTHERS;
    }
}

void engine_broadcast_wait(struct cpu *cpu) {
    struct engine *e = engine_of(cpu);
    for (unsigned i = 0; i < cpu->boot->vcpu_count; i++) {
        struct cpu *other = engine_cpu(cpu, i);
        if (i == cpu->index)
            continue;
        for (unsigned turn = 0; other->req_done < e->ticket[i] && !other->quiescent; turn++) {
            if (cpu->req_posted != cpu->req_done)
                engine_serve_requests(cpu); /* two that wait for each other */
            rt_yield(cpu, turn);
        }
    }
    cpu->tlbi_pending &= ~(uint32_t)PENDING_OTHERS;
}

static void serve(struct cpu *cpu, const struct engine_request *req) {
    switch (req->kind) {
    case ENGINE_REQ_INVAL: mmu_invalidate(cpu, &req->inval); break;
    case ENGINE_REQ_CODE: engine_code_written(cpu, GPA(ALIGN_DOWN(req->pa.v, PAGE_SIZE)), PAGE_SIZE); break;
    case ENGINE_REQ_CODE_ALL: engine_code_flush(cpu); break;
    case ENGINE_REQ_CODE_FENCE: break; /* what was asked for before is done */
    case ENGINE_REQ_PROTECT: engine_of(cpu)->ops->protect(cpu, req->pa); break;
    }
}

void engine_serve_requests(struct cpu *cpu) {
    struct mailbox *m = &engine_of(cpu)->shared->mailbox[cpu->index];
    uint32_t own = cpu->tlbi_pending;
    mailbox_lock(cpu, m);
    uint64_t posted = cpu->req_posted;
    for (uint32_t i = 0; i < m->count; i++)
        serve(cpu, &m->entry[i]);
    if (m->inval_overflow)
        mmu_invalidate(cpu, &(struct mmu_inval){.kind = MMU_INVAL_ALL});
    if (m->code_overflow)
        engine_code_flush(cpu);
    m->count = 0;
    m->inval_overflow = m->code_overflow = false;
    mailbox_unlock(m);
    mmu_sync(cpu);
    /* What was asked for is done; what this vCPU itself began still waits for its barrier. */
    cpu->tlbi_pending = own;
    cpu->req_done = posted;
}
