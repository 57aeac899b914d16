/* SPDX-License-Identifier: Apache-2.0
 * Copyright The Graft Authors */
/* virtio.c: the 32 virtio-mmio slots: transport registers, negotiation, the entropy and block devices. With LEGACY,
 * which virtio_legacy.c sets, by version 1 of the transport. */
/* options: drive=1 */
#include "gic.h"

#ifndef LEGACY
#define LEGACY 0
#endif
#define VIRTIO_BASE 0x0a000000ul
#define VIRTIO_STRIDE 0x200ul
#define SLOTS 32
enum {
    MAGIC = 0,
    VERSION = 4,
    DEVICE_ID = 8,
    VENDOR_ID = 0xc,
    DEVICE_FEATURES = 0x10,
    DEVICE_SEL = 0x14,
    DRIVER_FEATURES = 0x20,
    DRIVER_SEL = 0x24,
    GUEST_PAGE_SIZE = 0x28,
    QUEUE_SEL = 0x30,
    QUEUE_NUM_MAX = 0x34,
    QUEUE_NUM = 0x38,
    QUEUE_ALIGN = 0x3c,
    QUEUE_PFN = 0x40,
    QUEUE_READY = 0x44,
    NOTIFY = 0x50,
    ISR = 0x60,
    ACK = 0x64,
    STATUS = 0x70,
    DESC = 0x80,
    AVAIL = 0x90,
    USED = 0xa0,
    GENERATION = 0xfc,
    CONFIG = 0x100
};
enum { ID_NONE = 0, ID_NET = 1, ID_BLOCK = 2, ID_CONSOLE = 3, ID_RNG = 4 };
enum { S_ACKNOWLEDGE = 1, S_DRIVER = 2, S_DRIVER_OK = 4, S_FEATURES_OK = 8, S_NEEDS_RESET = 64 };
#define F_INDIRECT (1ul << 28)
#define F_EVENT_IDX (1ul << 29)
#define F_VERSION_1 (1ul << 32)
#define F_BLK_FLUSH (1ul << 9)
#define NEXT 1
#define WRITE 2
#define INDIRECT 4
#define NUM 8
#define USED_ALIGN (LEGACY ? 4096 : 4)
#include "virtq_layout.h"

static unsigned slot;
static uint64_t base;
static uint32_t reg(unsigned off) { return mmio_read32(base + off); }
static void set(unsigned off, uint32_t v) { mmio_write32(base + off, v); }

static struct queue q __attribute__((aligned(4096)));
static uint64_t features;

static bool find(unsigned from, unsigned id) {
    for (slot = from; slot < SLOTS; slot++) {
        base = VIRTIO_BASE + VIRTIO_STRIDE * slot;
        if (reg(DEVICE_ID) == id)
            return true;
    }
    return false;
}

/* --- transport -------------------------------------------------------------------------------- */

static void test_slots(void) {
    unsigned present = 0;
    for (slot = 0; slot < SLOTS; slot++) {
        base = VIRTIO_BASE + VIRTIO_STRIDE * slot;
        CHECK_EQ(reg(MAGIC), 0x74726976);
        CHECK_EQ(reg(VERSION), LEGACY ? 1 : 2);
        CHECK_EQ(reg(VENDOR_ID), 0x554d4551);
        present += reg(DEVICE_ID) != ID_NONE;
        CHECK_EQ(reg(STATUS), 0);
        CHECK_EQ(reg(ISR), 0);
    }
    print("  devices: ");
    print_dec(present);
    print("\n");
}

static uint64_t offered(void) {
    set(DEVICE_SEL, 1);
    uint64_t f = (uint64_t)reg(DEVICE_FEATURES) << 32;
    set(DEVICE_SEL, 0);
    return f | reg(DEVICE_FEATURES);
}

static void accept(uint64_t f) {
    set(DRIVER_SEL, 1);
    set(DRIVER_FEATURES, (uint32_t)(f >> 32));
    set(DRIVER_SEL, 0);
    set(DRIVER_FEATURES, (uint32_t)f);
}

static void test_negotiation(void) {
    for (slot = 0; slot < SLOTS; slot++) {
        base = VIRTIO_BASE + VIRTIO_STRIDE * slot;
        if (reg(DEVICE_ID) == ID_NONE)
            continue;
        set(STATUS, 0);
        CHECK_EQ(reg(STATUS), 0);
        set(STATUS, S_ACKNOWLEDGE);
        set(STATUS, S_ACKNOWLEDGE | S_DRIVER);
        CHECK_EQ(reg(STATUS), S_ACKNOWLEDGE | S_DRIVER);
        CHECK_EQ(offered() & F_VERSION_1, LEGACY ? 0 : F_VERSION_1);
        accept(LEGACY ? 0 : F_VERSION_1);
        set(STATUS, S_ACKNOWLEDGE | S_DRIVER | S_FEATURES_OK);
        CHECK_EQ(reg(STATUS), S_ACKNOWLEDGE | S_DRIVER | S_FEATURES_OK);
        set(QUEUE_SEL, 0);
        CHECK(reg(QUEUE_NUM_MAX) >= NUM);
        CHECK_EQ(reg(QUEUE_READY), 0);
        set(QUEUE_SEL, 1000);
        CHECK_EQ(reg(QUEUE_NUM_MAX), 0);
        CHECK_EQ(reg(QUEUE_READY), 0);
        set(STATUS, 0);
        CHECK_EQ(reg(STATUS), 0);
        set(DEVICE_SEL, 2);
        if (!on_qemu())
            CHECK_EQ(reg(DEVICE_FEATURES), 0);
    }
}

static void set_address(unsigned off, const volatile void *p) {
    set(off, (uint32_t)(uint64_t)p);
    set(off + 4, (uint32_t)((uint64_t)p >> 32));
}

/* open_device(): up to DRIVER_OK with queue 0 ready. */
static void open_device(uint64_t want) {
    memset(&q, 0, sizeof(q));
    set(STATUS, 0);
    set(STATUS, S_ACKNOWLEDGE | S_DRIVER);
    features = offered() & (want | F_VERSION_1);
    accept(features);
    set(STATUS, S_ACKNOWLEDGE | S_DRIVER | S_FEATURES_OK);
    CHECK_EQ(reg(STATUS), S_ACKNOWLEDGE | S_DRIVER | S_FEATURES_OK);
    set(QUEUE_SEL, 0);
    set(QUEUE_NUM, NUM);
    if (LEGACY) {
        set(GUEST_PAGE_SIZE, 4096);
        set(QUEUE_ALIGN, 4096);
        set(QUEUE_PFN, (uint32_t)((uint64_t)&q >> 12));
        CHECK_EQ(reg(QUEUE_PFN), (uint64_t)&q >> 12);
        CHECK_EQ(reg(QUEUE_READY), 0);
    } else {
        set_address(DESC, q.desc);
        set_address(AVAIL, &q.avail);
        set_address(USED, &q.used);
        set(QUEUE_READY, 1);
        CHECK_EQ(reg(QUEUE_READY), 1);
    }
    set(STATUS, S_ACKNOWLEDGE | S_DRIVER | S_FEATURES_OK | S_DRIVER_OK);
}

static void close_device(void) {
    set(STATUS, 0);
    CHECK_EQ(reg(STATUS), 0);
    CHECK_EQ(reg(ISR), 0);
}

static void put_desc(struct desc *d, unsigned i, volatile void *p, uint32_t len, unsigned flags) {
    d[i] = (struct desc){(uint64_t)p, len, (uint16_t)flags, (uint16_t)(i + 1)};
}

static void offer(unsigned head) {
    q.avail.ring[q.avail.idx % NUM] = (uint16_t)head;
    dsb();
    *(volatile uint16_t *)&q.avail.idx = (uint16_t)(q.avail.idx + 1);
    dsb();
}

static volatile unsigned irqs;
static void on_irq(struct frame *f, unsigned vector) {
    (void)f;
    (void)vector;
    uint32_t iar = gic_ack();
    if ((iar & 1023) == SPI_VIRTIO + slot) {
        uint32_t isr = reg(ISR);
        set(ACK, isr);
        if (isr & 1)
            irqs++;
    }
    if ((iar & 1023) < 1020)
        gic_eoi(iar);
}

static bool wait_used(uint16_t idx) {
    uint64_t end = read_sysreg(cntvct_el0) + 10 * read_sysreg(cntfrq_el0);
    while (*(volatile uint16_t *)&q.used.idx != idx)
        if (read_sysreg(cntvct_el0) > end)
            return false;
    dsb();
    return true;
}

/* --- entropy ---------------------------------------------------------------------------------- */

static void test_rng(void) {
    if (!find(0, ID_RNG))
        return;
    static volatile uint8_t bytes[256];
    gic_init();
    exception_handler = on_irq;
    open_device(0);
    gic_set_edge(SPI_VIRTIO + slot, true);
    gic_enable(SPI_VIRTIO + slot);
    /* polled, the interrupt stays pending in ISR until it is acknowledged */
    put_desc(q.desc, 0, bytes, 64, WRITE);
    offer(0);
    set(NOTIFY, 0);
    CHECK(wait_used(1));
    CHECK_EQ(q.used.ring[0].id, 0);
    unsigned got = q.used.ring[0].len, ones = 0;
    CHECK(got >= 1 && got <= 64);
    for (unsigned i = 0; i < got; i++)
        for (unsigned b = 0; b < 8; b++)
            ones += bytes[i] >> b & 1;
    CHECK(got < 16 || (ones > got && ones < 7 * got));
    for (unsigned i = 64; i < 256; i++)
        CHECK_EQ(bytes[i], 0);
    uint64_t end = read_sysreg(cntvct_el0) + read_sysreg(cntfrq_el0);
    while (!(reg(ISR) & 1) && read_sysreg(cntvct_el0) < end)
        ;
    CHECK_EQ(reg(ISR), 1);
    set(ACK, 1);
    CHECK_EQ(reg(ISR), 0);
    gic_set_pending(SPI_VIRTIO + slot, false);
    /* by interrupt, many times */
    irqs = 0;
    for (unsigned n = 0; n < 200; n++) {
        put_desc(q.desc, n % NUM, bytes, 32, WRITE);
        offer(n % NUM);
        set(NOTIFY, 0);
        end = read_sysreg(cntvct_el0) + 5 * read_sysreg(cntfrq_el0);
        __asm__ volatile("msr daifclr, #2" : : : "memory");
        if (n & 1)
            SLEEP_WHILE(irqs <= n);
        while (irqs <= n && read_sysreg(cntvct_el0) < end)
            ;
        __asm__ volatile("msr daifset, #2" : : : "memory");
        CHECK_EQ(irqs, n + 1);
        CHECK_EQ(*(volatile uint16_t *)&q.used.idx, n + 2);
        CHECK_EQ(q.used.ring[(n + 1) % NUM].id, n % NUM);
        if (irqs != n + 1)
            break;
    }
    gic_disable(SPI_VIRTIO + slot);
    close_device();
}

/* --- block ------------------------------------------------------------------------------------ */

enum { T_IN = 0, T_OUT = 1, T_FLUSH = 4, T_GET_ID = 8 };
static struct {
    uint32_t type, reserved;
    uint64_t sector;
} headers[2];
static volatile uint8_t statuses[2];
static uint8_t buffer[16384] __attribute__((aligned(4096)));

/* request(): one at a time; the status byte. used_len: what the device says it wrote. */
static unsigned used_len;
static unsigned request(unsigned type, uint64_t sector, void *data, uint32_t len, bool indirect, unsigned pieces) {
    static struct desc table[NUM] __attribute__((aligned(16)));
    struct desc *d = indirect ? table : q.desc;
    uint16_t before = q.used.idx;
    headers[0].type = type;
    headers[0].sector = sector;
    statuses[0] = 0xff;
    unsigned n = 0;
    put_desc(d, n++, headers, 16, NEXT);
    for (unsigned i = 0; i < pieces && len; i++)
        put_desc(d, n++, (uint8_t *)data + len / pieces * i, len / pieces, NEXT | (type == T_OUT ? 0 : WRITE));
    put_desc(d, n++, statuses, 1, WRITE);
    if (indirect)
        put_desc(q.desc, 0, table, 16 * n, INDIRECT);
    offer(0);
    set(NOTIFY, 0);
    CHECK(wait_used((uint16_t)(before + 1)));
    CHECK_EQ(q.used.ring[before % NUM].id, 0);
    used_len = q.used.ring[before % NUM].len;
    set(ACK, reg(ISR));
    return statuses[0];
}

static void check_lines(const uint8_t *p, unsigned bytes, uint64_t offset) {
    for (unsigned i = 0; i < bytes; i += 16) {
        uint64_t line = (offset + i) / 16;
        char want[16];
        for (int j = 14; j >= 0; j--, line /= 10)
            want[j] = (char)('0' + line % 10);
        want[15] = '\n';
        for (unsigned j = 0; j < 16; j++)
            if (p[i + j] != (uint8_t)want[j]) {
                CHECK_EQ(p[i + j], want[j]);
                return;
            }
    }
}

static void block_requests(bool indirect) {
    CHECK_EQ(reg(CONFIG), 4096); /* capacity in sectors */
    CHECK_EQ(reg(CONFIG + 4), 0);
    for (unsigned n = 0; n < 20; n++) {
        uint64_t sector = n * 97 % 2000;
        memset(buffer, 0xee, sizeof(buffer));
        CHECK_EQ(request(T_IN, sector, buffer, n & 1 ? 4096 : 512, indirect, n % 3 == 2 ? 4 : 1), 0);
        CHECK_EQ(used_len, (n & 1 ? 4096 : 512) + 1);
        check_lines(buffer, n & 1 ? 4096 : 512, sector * 512);
        CHECK_EQ(buffer[n & 1 ? 4096 : 512], 0xee);
    }
    for (unsigned n = 0; n < 10; n++) {
        for (unsigned i = 0; i < 8192; i++)
            buffer[i] = (uint8_t)(i * 7 + n + indirect);
        CHECK_EQ(request(T_OUT, 2048 + 16 * n, buffer, 8192, indirect, 2), 0);
        CHECK_EQ(used_len, 1);
    }
    CHECK_EQ(request(T_FLUSH, 0, NULL, 0, indirect, 0), 0);
    for (unsigned n = 0; n < 10; n++) {
        memset(buffer, 0, 8192);
        CHECK_EQ(request(T_IN, 2048 + 16 * n, buffer, 8192, indirect, 1), 0);
        for (unsigned i = 0; i < 8192; i++)
            if (buffer[i] != (uint8_t)(i * 7 + n + indirect)) {
                CHECK_EQ(buffer[i], (uint8_t)(i * 7 + n + indirect));
                break;
            }
    }
    CHECK_EQ(request(T_IN, 4096, buffer, 512, indirect, 1), 1); /* behind the end */
    CHECK_EQ(request(T_IN, 4095, buffer, 1024, indirect, 1), 1);
    CHECK_EQ(request(T_OUT, 1ul << 60, buffer, 512, indirect, 1), 1);
    CHECK_EQ(request(0x7777, 0, buffer, 512, indirect, 1), 2); /* no such request */
    CHECK_EQ(request(T_IN, 5, buffer, 512, indirect, 1), 0);
    check_lines(buffer, 512, 5 * 512);
}

static void test_block(void) {
    if (!find(0, ID_BLOCK))
        return;
    open_device(F_BLK_FLUSH);
    block_requests(false);
    memset(buffer, 0, 64);
    CHECK_EQ(request(T_GET_ID, 0, buffer, 20, false, 1), 0);
    close_device();
    open_device(F_BLK_FLUSH | F_INDIRECT);
    if (features & F_INDIRECT)
        block_requests(true);
    close_device();
}

/* As the drivers of some teaching systems do it: first DRIVER_OK, then the queue. */
static void test_late_queue(void) {
    if (!LEGACY || !find(0, ID_BLOCK))
        return;
    memset(&q, 0, sizeof(q));
    set(STATUS, 0);
    set(STATUS, S_ACKNOWLEDGE);
    set(STATUS, S_ACKNOWLEDGE | S_DRIVER);
    set(DRIVER_FEATURES, reg(DEVICE_FEATURES) & F_BLK_FLUSH);
    set(STATUS, S_ACKNOWLEDGE | S_DRIVER | S_FEATURES_OK);
    set(STATUS, S_ACKNOWLEDGE | S_DRIVER | S_FEATURES_OK | S_DRIVER_OK);
    set(GUEST_PAGE_SIZE, 4096);
    set(QUEUE_SEL, 0);
    CHECK_EQ(reg(QUEUE_PFN), 0);
    set(QUEUE_NUM, NUM);
    set(QUEUE_PFN, (uint32_t)((uint64_t)&q >> 12)); /* QueueAlign is 4096 when nobody sets it */
    CHECK_EQ(request(T_IN, 7, buffer, 512, false, 1), 0);
    check_lines(buffer, 512, 7 * 512);
    close_device();
    CHECK_EQ(reg(QUEUE_PFN), 0);
}

/* QUEUE_READY again changes nothing, and does nothing for a device that needs a reset. */
static void test_ready_again(void) {
    if (LEGACY || !find(0, ID_BLOCK))
        return;
    open_device(F_BLK_FLUSH);
    for (unsigned n = 0; n < 3; n++) {
        CHECK_EQ(request(T_IN, n, buffer, 512, false, 1), 0);
        set(QUEUE_READY, 1);
        CHECK_EQ(reg(QUEUE_READY), 1);
    }
    if (!on_qemu()) { /* which lets the driver go on */
        q.avail.idx += 1000;
        dsb();
        set(NOTIFY, 0);
        uint64_t end = read_sysreg(cntvct_el0) + 10 * read_sysreg(cntfrq_el0);
        while (!(reg(STATUS) & S_NEEDS_RESET) && read_sysreg(cntvct_el0) < end)
            ;
        CHECK(reg(STATUS) & S_NEEDS_RESET);
        set(QUEUE_READY, 1);
        CHECK_EQ(reg(QUEUE_READY), 0);
    }
    close_device();
}

/* Two requests in flight, completions by interrupt, with and without event indices. */
static void test_block_irq(void) {
    if (!find(0, ID_BLOCK))
        return;
    gic_init();
    exception_handler = on_irq;
    gic_set_edge(SPI_VIRTIO + slot, true);
    gic_enable(SPI_VIRTIO + slot);
    for (unsigned event_idx = 0; event_idx < 2; event_idx++) {
        open_device(event_idx ? F_EVENT_IDX : 0);
        irqs = 0;
        __asm__ volatile("msr daifclr, #2" : : : "memory");
        for (unsigned n = 0; n < 100; n++) {
            memset(buffer, 0, 8192);
            if (event_idx)
                q.avail.used_event = (uint16_t)(2 * n + 1); /* an interrupt after the second of this round */
            unsigned before = irqs;
            for (unsigned i = 0; i < 2; i++) {
                headers[i].type = T_IN;
                headers[i].sector = 8 * (n + 10 * i);
                statuses[i] = 0xff;
                put_desc(q.desc, 3 * i, &headers[i], 16, NEXT);
                put_desc(q.desc, 3 * i + 1, buffer + 4096 * i, 4096, NEXT | WRITE);
                put_desc(q.desc, 3 * i + 2, &statuses[i], 1, WRITE);
                offer(3 * i);
            }
            set(NOTIFY, 0);
            CHECK(wait_used((uint16_t)(2 * n + 2)));
            uint64_t end = read_sysreg(cntvct_el0) + 5 * read_sysreg(cntfrq_el0);
            while (irqs == before && read_sysreg(cntvct_el0) < end)
                ;
            CHECK(irqs > before);
            for (unsigned i = 0; i < 2; i++) {
                CHECK_EQ(statuses[i], 0);
                check_lines(buffer + 4096 * i, 4096, 4096 * (n + 10 * i));
            }
        }
        __asm__ volatile("msr daifset, #2" : : : "memory");
        if (event_idx && (features & F_EVENT_IDX))
            CHECK(irqs <= 110); /* a few may be late or doubled */
        close_device();
    }
    gic_disable(SPI_VIRTIO + slot);
}

/* A device writes over code that has run. */
static void test_block_code(void) {
    if (!find(0, ID_BLOCK))
        return;
    open_device(F_BLK_FLUSH);
    static uint32_t code[1024] __attribute__((aligned(4096)));
    for (unsigned n = 0; n < 20; n++) {
        code[0] = 0x52800000u | n << 5; /* mov w0, #n */
        code[1] = 0xd65f03c0;
        code_sync(code, 8);
        CHECK_EQ(request(T_OUT, 3000 + n, code, 512, false, 1), 0);
    }
    for (unsigned round = 0; round < 3; round++) {
        for (unsigned n = 0; n < 20; n++) {
            CHECK_EQ(request(T_IN, 3000 + n, code, 512, false, 1), 0);
            if (round)
                code_sync(code, 8);
            else
                isb();
            CHECK_EQ(((uint64_t (*)(void))code)(), n);
        }
    }
    close_device();
}

static void start(void) { mmu_on(); }

TESTS({"slots", test_slots}, {"negotiation", test_negotiation}, {"start", start}, {"rng", test_rng},
      {"block", test_block}, {"late queue", test_late_queue}, {"ready again", test_ready_again},
      {"block irq", test_block_irq}, {"block code", test_block_code});
