/* SPDX-License-Identifier: Apache-2.0
 * Copyright The Graft Authors */
/*
 * test_request.c: what vCPUs ask of each other, on two vCPUs in one thread: rt_yield() is where the other one gets to
 * run, as on a host with one processor. And what a guest's acknowledgement does to a virtio device's line.
 */
#include <stdio.h>
#include <stdlib.h>

#include "dbt/engine.h"

#define RAM_GPA UINT64_C(0x40000000)
#define RAM_BYTES (2u << 20)
#define HEAP_BYTES (16u << 20)
#define CODE_BYTES (1u << 20)
#define DEVICE GPA(0x09000000)
#define DEVICE_VALUE 0x1234u
#define VIRTIO UINT64_C(0x0a000000)
#define VIRTIO_STRIDE 0x200

static struct abi_boot boot;
static struct abi_shared shared;
static struct engine_shared engine_shared;
static struct cpu *cpu[2];
static unsigned yields, logs;
static int failures;

#define CHECK(cond)                                                                                                    \
    ((cond) ? (void)0 : (void)(failures++, fprintf(stderr, "%s:%d: failed: %s\n", __FILE__, __LINE__, #cond)))

static void ask(unsigned from, unsigned to) {
    engine_request_post(cpu[from], to, &(struct engine_request){.kind = ENGINE_REQ_CODE_ALL});
}

/* --- the runtime ------------------------------------------------------------------------------ */
/* The device's registers are slow: vCPU 1 asks for something that is logged while vCPU 0 reads one. */
void rt_call(struct cpu *c, enum abi_call call) {
    if (call == ABI_CALL_PANIC)
        exit(1);
    logs += call == ABI_CALL_LOG;
    c->abi.ret[0] = call == ABI_CALL_MMIO_READ ? DEVICE_VALUE : 0xdead;
    c->abi.ret[1] = call == ABI_CALL_MMIO_READ || call == ABI_CALL_MMIO_WRITE ? 0 : 0xdead;
    if (call == ABI_CALL_MMIO_READ || call == ABI_CALL_MMIO_WRITE)
        engine_request_post(cpu[1], 0,
                            &(struct engine_request){.kind = ENGINE_REQ_INVAL, .inval = {.kind = MMU_INVAL_ALL}});
}
void rt_yield(struct cpu *c, unsigned turn) {
    CHECK(turn == yields++);
    if (turn == 3)
        engine_serve_requests(cpu[!c->index]);
    if (turn > 3)
        exit(1); /* it would wait for ever */
}
void rt_doorbell(struct cpu *c, unsigned n) {}
bool rt_has_gs(void) { return true; }
bool rt_map_cpu(struct cpu *c, void *at, size_t bytes) { return false; }
void rt_set_view(struct view *v) {}
bool rt_keeps_high_vectors(void) { return false; }
void rt_ram_used(struct cpu *c, struct gpa page) {}
bool rt_sample_start(struct cpu *cpu) { return false; }
struct rt_page_costs rt_page_costs(struct cpu *cpu) { return (struct rt_page_costs){.fault = 0}; }
bool rt_has_paging(void) { return false; }
uint64_t *rt_pml4(struct cpu *c) { abort(); }
uint64_t *rt_pt_at(struct cpu *c, uint64_t pa) { abort(); }
uint64_t *rt_pt_alloc(struct cpu *c, uint64_t *pa) { abort(); }
void rt_pt_free(struct cpu *c, uint64_t *page) { abort(); }
void rt_map_pages(struct cpu *c, uint64_t host, unsigned count) { abort(); }
void rt_flush_all(struct cpu *c) { abort(); }
void rt_flush_pages(struct cpu *c, const uint64_t *host, unsigned count) { abort(); }
bool rt_touch(struct cpu *c, uint64_t host) { abort(); }

/* --- a guest that maps nothing ---------------------------------------------------------------- */
static void no_walk(struct cpu *c, uint64_t va, enum mmu_access access, unsigned regime, struct walk *w) {
    w->fault = 1;
}
static uint32_t one_mode(const struct cpu *c) { return 0; }
static struct mmu_space one_space(struct cpu *c, bool hi, unsigned regime) { return (struct mmu_space){1, 0}; }
static bool never_hi(uint64_t va) { return false; }
static bool no_read(struct cpu *c, struct gpa pa, unsigned size, uint64_t *value) { return false; }
static bool no_write(struct cpu *c, struct gpa pa, unsigned size, uint64_t value) { return false; }
static const struct guest_ops fake_guest = {.name = "fake",
                                            .cpu_size = sizeof(struct cpu) + 64,
                                            .pc_offset = sizeof(struct cpu),
                                            .mode = one_mode,
                                            .walk = no_walk,
                                            .space = one_space,
                                            .is_hi = never_hi,
                                            .io_read = no_read,
                                            .io_write = no_write};
const struct guest_ops *const guest_table[] = {&fake_guest};
const unsigned guest_count = 1;

static void *zeroed(size_t bytes) {
    void *p = aligned_alloc(PAGE_SIZE, bytes);
    memset(p, 0, bytes);
    return p;
}

static void machine_make(void) {
    static struct engine engine[2];
    boot = (struct abi_boot){.vcpu_count = 2,
                             .mmu = ABI_MMU_SOFT,
                             .ram_gpa = RAM_GPA,
                             .ram_size = RAM_BYTES,
                             .ram_va = (uintptr_t)zeroed(RAM_BYTES),
                             .code_size = CODE_BYTES,
                             .virtio_gpa = VIRTIO,
                             .virtio_stride = VIRTIO_STRIDE,
                             .virtio_slots = 2,
                             .virtio_irq = 16,
                             .log_topics = ABI_LOG_MMU};
    uint8_t *code_bits = zeroed(PAGE_SIZE);
    for (unsigned i = 0; i < 2; i++) {
        struct engine *e = &engine[i];
        cpu[i] = zeroed(ABI_CPU_BYTES);
        boot.vcpu_va[i] = (uintptr_t)cpu[i];
        boot.code_va[i] = (uintptr_t)zeroed(CODE_BYTES);
        cpu[i]->index = i;
        cpu[i]->boot = &boot;
        cpu[i]->shared = &shared;
        cpu[i]->guest = &fake_guest;
        cpu[i]->engine = e;
        *e = (struct engine){.cpu = cpu[i],
                             .guest = &fake_guest,
                             .ops = mmu_strategies[ABI_MMU_SOFT],
                             .shared = &engine_shared,
                             .heap = {.base = zeroed(HEAP_BYTES), .size = HEAP_BYTES},
                             .code_bits = code_bits,
                             .cg = calloc(1, codegen_size())};
        cache_init(cpu[i]);
        mmu_init(cpu[i]);
        mmu_context_changed(cpu[i]);
    }
}

/* A vCPU that waits for one which does not run lets it run. */
static void test_wait(void) {
    yields = 0;
    ask(0, 1);
    engine_broadcast_wait(cpu[0]);
    CHECK(yields == 4);
    /* One that is in a monitor call is not waited for. */
    yields = 0;
    ask(0, 1);
    cpu[1]->quiescent = 1;
    engine_broadcast_wait(cpu[0]);
    CHECK(yields == 0);
    cpu[1]->quiescent = 0;
    engine_serve_requests(cpu[1]);
}

/* Two that wait for each other: the one that runs serves what it is asked for before it yields. */
static void test_both(void) {
    yields = 0;
    ask(0, 1);
    ask(1, 0);
    engine_broadcast_wait(cpu[0]);
    CHECK(yields == 4 && cpu[0]->req_done == cpu[0]->req_posted && cpu[1]->req_done == cpu[1]->req_posted);
}

/* The answer of a call is that of the call, whatever is asked of the vCPU meanwhile. */
static void test_answer(void) {
    uint64_t value = 0;
    logs = 0;
    CHECK(bus_read(cpu[0], DEVICE, 4, &value));
    CHECK(value == DEVICE_VALUE);
    CHECK(bus_write(cpu[0], DEVICE, 4, 1));
    CHECK(logs >= 2); /* else nothing came in between */
}

/* A change of configuration comes between the guest's look at the status and its acknowledgement of a used buffer. */
static void test_acknowledge(void) {
    const struct gpa ack = GPA(VIRTIO + VIRTIO_STRIDE + 0x64);
    const uint32_t line = 1u << 17;
    shared.virtio_isr[1] = 3;
    CHECK(bus_write(cpu[0], ack, 4, 1));
    CHECK(shared.virtio_isr[1] == 2 && shared.spi_rose[0] == line && cpu[0]->abi.pending & ABI_PEND_IRQ);
    shared.spi_rose[0] = 0;
    CHECK(bus_write(cpu[0], ack, 4, 2));
    CHECK(shared.virtio_isr[1] == 0 && shared.spi_rose[0] == 0);
    cpu[0]->abi.pending = 0;
    CHECK(bus_write(cpu[0], ack, 4, 3));
    CHECK(!cpu[0]->abi.pending && shared.spi_rose[0] == 0);
}

int main(void) {
    machine_make();
    test_wait();
    test_both();
    test_answer();
    test_acknowledge();
    printf("requests: %d failed checks\n", failures);
    return failures != 0;
}
