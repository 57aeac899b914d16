/* SPDX-License-Identifier: Apache-2.0
 * Copyright The Graft Authors */
/*
 * pl011.c: Arm PrimeCell UART (DDI 0183). As on QEMU's virt it prints even
 * before it is enabled. Data writes are posted and FR is read from memory, so
 * that printing costs no exit.
 */
#include "graft/device.h"

#include <stdlib.h>
#include <string.h>

enum {
    UART_DR = 0x00,
    UART_RSR = 0x04,
    UART_FR = 0x18,
    UART_ILPR = 0x20,
    UART_IBRD = 0x24,
    UART_FBRD = 0x28,
    UART_LCRH = 0x2c,
    UART_CR = 0x30,
    UART_IFLS = 0x34,
    UART_IMSC = 0x38,
    UART_RIS = 0x3c,
    UART_MIS = 0x40,
    UART_ICR = 0x44,
    UART_DMACR = 0x48,
    UART_PERIPH_ID0 = 0xfe0,
};
#define FR_TXFE 0x80u
#define FR_RXFF 0x40u
#define FR_TXFF 0x20u
#define FR_RXFE 0x10u
#define FR_BUSY 0x08u
#define INT_RX 0x10u
#define INT_TX 0x20u
#define INT_RT 0x40u
#define INT_ALL 0x7ffu
#define LCRH_FEN 0x10u
#define CR_UARTEN 0x01u
#define CR_LBE 0x80u
#define RX_DEPTH 16

struct pl011 {
    struct device dev;
    struct chardev *chardev;
    _Atomic uint32_t *fr; /* the shadow register that guests read FR from */
    uint8_t rx[RX_DEPTH];
    unsigned rx_first, rx_count;
    bool tx_full; /* the transmit FIFO is, as long as the output is not taken; else it is always empty */
    uint32_t ilpr, ibrd, fbrd, lcrh, cr, ifls, imsc, ris, dmacr, rsr;
};

static const uint8_t peripheral_id[8] = {0x11, 0x10, 0x14, 0x00, 0x0d, 0xf0, 0x05, 0xb1};

static struct pl011 *pl011_of(struct device *d) { return CONTAINER_OF(d, struct pl011, dev); }

static unsigned rx_depth(const struct pl011 *u) { return u->lcrh & LCRH_FEN ? RX_DEPTH : 1; }

static void pl011_update(struct pl011 *u) {
    uint32_t fr = u->tx_full ? FR_TXFF | FR_BUSY : FR_TXFE;
    if (u->rx_count == 0)
        fr |= FR_RXFE;
    if (u->rx_count >= rx_depth(u))
        fr |= FR_RXFF;
    *u->fr = fr;
    machine_set_irq(&u->dev, (u->ris & u->imsc) != 0);
}

static bool rx_push(struct pl011 *u, uint8_t byte) {
    if (u->rx_count >= rx_depth(u))
        return false;
    u->rx[(u->rx_first + u->rx_count++) % RX_DEPTH] = byte;
    /* As on QEMU, whatever UARTIFLS says: a driver that has no use for the receive timeout would else never learn of
     * the last bytes. They come one by one, as far as the interrupt is concerned, and the line is idle after each. */
    u->ris |= INT_RX | INT_RT;
    return true;
}

/* As on QEMU it also receives while it is off, unless what is typed may be for the guest's semihosting calls then. */
static void receive(struct pl011 *u) {
    uint8_t byte;
    if (!(u->cr & CR_UARTEN) && machine_semihosting(u->dev.machine))
        return;
    while (u->rx_count < rx_depth(u) && chardev_read(u->chardev, &byte, 1))
        rx_push(u, byte);
}

/* The transmit interrupt says that there is room in the FIFO. */
static void look_at_room(struct pl011 *u) {
    u->tx_full = chardev_room(u->chardev) < CHARDEV_FULL;
    if (u->tx_full)
        u->ris &= ~INT_TX;
    else
        u->ris |= INT_TX;
}

static void pl011_ready(void *arg) {
    struct pl011 *u = arg;
    if (u->tx_full)
        look_at_room(u);
    receive(u);
    pl011_update(u);
}

static uint32_t read_data(struct pl011 *u) {
    uint32_t byte = u->rx[u->rx_first % RX_DEPTH];
    if (u->rx_count) {
        u->rx_first = (u->rx_first + 1) % RX_DEPTH;
        u->rx_count--;
    }
    if (u->rx_count == 0)
        u->ris &= ~(INT_RX | INT_RT);
    receive(u);
    pl011_update(u);
    return byte;
}

static void write_data(struct pl011 *u, uint8_t byte) {
    if (u->cr & CR_LBE)
        rx_push(u, byte);
    else
        chardev_write(u->chardev, &byte, 1);
    look_at_room(u);
    pl011_update(u);
}

static uint64_t pl011_read(struct device *d, uint64_t offset, unsigned bytes) {
    struct pl011 *u = pl011_of(d);
    (void)bytes;
    if (offset >= UART_PERIPH_ID0)
        return peripheral_id[(offset - UART_PERIPH_ID0) / 4];
    switch (ALIGN_DOWN(offset, 4)) {
    case UART_DR: return read_data(u);
    case UART_RSR: return u->rsr;
    case UART_FR: return *u->fr;
    case UART_ILPR: return u->ilpr;
    case UART_IBRD: return u->ibrd;
    case UART_FBRD: return u->fbrd;
    case UART_LCRH: return u->lcrh;
    case UART_CR: return u->cr;
    case UART_IFLS: return u->ifls;
    case UART_IMSC: return u->imsc;
    case UART_RIS: return u->ris;
    case UART_MIS: return u->ris & u->imsc;
    case UART_DMACR: return u->dmacr;
    default: return 0;
    }
}

static void pl011_write(struct device *d, uint64_t offset, uint64_t value, unsigned bytes) {
    struct pl011 *u = pl011_of(d);
    uint32_t v = (uint32_t)value;
    (void)bytes;
    switch (ALIGN_DOWN(offset, 4)) {
    case UART_DR: write_data(u, (uint8_t)v); return;
    case UART_RSR: u->rsr = 0; break;
    case UART_ILPR: u->ilpr = v & 0xff; break;
    case UART_IBRD: u->ibrd = v & 0xffff; break;
    case UART_FBRD: u->fbrd = v & 0x3f; break;
    case UART_LCRH:
        if ((u->lcrh ^ v) & LCRH_FEN)
            u->rx_first = u->rx_count = 0; /* switching the FIFO mode empties it */
        u->lcrh = v & 0xff;
        break;
    case UART_CR: u->cr = v & 0xffff; break;
    case UART_IFLS: u->ifls = v & 0x3f; break;
    case UART_IMSC: u->imsc = v & INT_ALL; break;
    case UART_ICR: u->ris &= ~v; break;
    case UART_DMACR: u->dmacr = v & 7; break;
    default: return;
    }
    receive(u);
    pl011_update(u);
}

/* A guest that looks at FR does not come to this: there is room for what it may have posted before it saw TXFF. One
 * that does not look waits in its write, as on QEMU. */
static bool pl011_holds(struct device *d, uint64_t offset) {
    struct pl011 *u = pl011_of(d);
    return ALIGN_DOWN(offset, 4) == UART_DR && !(u->cr & CR_LBE) && !chardev_room(u->chardev);
}

static void pl011_reset(struct device *d) {
    struct pl011 *u = pl011_of(d);
    u->ilpr = u->ibrd = u->fbrd = u->lcrh = u->imsc = u->ris = u->dmacr = u->rsr = 0;
    u->cr = 0x300; /* TXE, RXE */
    u->ifls = 0x12;
    u->rx_first = u->rx_count = 0;
    pl011_update(u);
}

static const struct state_field pl011_state[] = {
    STATE(struct pl011, rx),
    STATE_MAX(struct pl011, rx_first, 4, RX_DEPTH - 1),
    STATE_MAX(struct pl011, rx_count, 4, RX_DEPTH),
    STATE_BOOL(struct pl011, tx_full),
    STATE(struct pl011, ilpr),
    STATE(struct pl011, ibrd),
    STATE(struct pl011, fbrd),
    STATE(struct pl011, lcrh),
    STATE(struct pl011, cr),
    STATE(struct pl011, ifls),
    STATE(struct pl011, imsc),
    STATE(struct pl011, ris),
    STATE(struct pl011, dmacr),
    STATE(struct pl011, rsr),
    STATE_END,
};

static bool pl011_loaded(struct device *d) {
    pl011_ready(pl011_of(d));
    return true;
}

static void pl011_destroy(struct device *d) { free(pl011_of(d)); }

static const struct device_ops pl011_ops = {
    .name = "pl011",
    .read = pl011_read,
    .write = pl011_write,
    .holds = pl011_holds,
    .min_bytes = 4,
    .state = pl011_state,
    .loaded = pl011_loaded,
    .destroy = pl011_destroy,
};

struct device *pl011_create(struct machine *m, uint64_t gpa, unsigned spi, struct chardev *c) {
    struct pl011 *u = calloc(1, sizeof(*u));
    if (!u)
        return NULL;
    u->dev =
        (struct device){.ops = &pl011_ops, .machine = m, .gpa = gpa, .size = 0x1000, .spi = spi, .virtio_slot = -1};
    u->chardev = c;
    machine_post_writes(&u->dev, UART_DR, 4);
    u->fr = machine_shadow(&u->dev, UART_FR);
    pl011_reset(&u->dev);
    chardev_listen(c, pl011_ready, u);
    return &u->dev;
}
