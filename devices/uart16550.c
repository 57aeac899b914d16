/* SPDX-License-Identifier: Apache-2.0
 * Copyright The Graft Authors */
/*
 * uart16550.c: a 16550A UART (National Semiconductor PC16550D), registers of one byte; a wider access is to the first
 * of its bytes alone, as on QEMU. Data writes are posted and LSR is read from memory, so that printing costs no
 * exit. */
#include "graft/device.h"

#include <stdlib.h>

enum { UART_DATA, UART_IER, UART_IIR, UART_LCR, UART_MCR, UART_LSR, UART_MSR, UART_SCR, UART_REGISTERS };
#define IER_RX 1u
#define IER_TX 2u
#define IER_ALL 15u
#define IIR_NONE 1u
#define IIR_TX 2u
#define IIR_RX 4u
#define IIR_FIFO 0xc0u
#define FCR_ENABLE 1u
#define FCR_CLEAR_RX 2u
#define LCR_DLAB 0x80u
#define MCR_LOOP 0x10u
#define MCR_ALL 0x1fu
#define MCR_OUT2 8u
#define LSR_READY 1u
#define LSR_TX_EMPTY 0x60u /* the holding register, and the transmitter */
#define MSR_PRESENT 0xb0u  /* carrier, data set ready, clear to send */
#define RX_DEPTH 16

struct uart16550 {
    struct device dev;
    struct chardev *chardev;
    _Atomic uint32_t *lsr; /* the shadow register that guests read LSR from */
    uint8_t rx[RX_DEPTH];
    unsigned rx_first, rx_count;
    bool tx_full;    /* the output is not taken; else the transmitter is always empty */
    bool tx_pending; /* it has become empty since the guest was told */
    uint8_t ier, fcr, lcr, mcr, scr, dll, dlm;
};

static struct uart16550 *uart_of(struct device *d) { return CONTAINER_OF(d, struct uart16550, dev); }

static unsigned rx_depth(const struct uart16550 *u) { return u->fcr & FCR_ENABLE ? RX_DEPTH : 1; }

/* The interrupt of the highest priority, as IIR has it. */
static uint8_t interrupt_of(const struct uart16550 *u) {
    if (u->ier & IER_RX && u->rx_count)
        return IIR_RX;
    return u->ier & IER_TX && u->tx_pending ? IIR_TX : IIR_NONE;
}

static void update(struct uart16550 *u) {
    *u->lsr = (u->rx_count ? LSR_READY : 0) | (u->tx_full ? 0 : LSR_TX_EMPTY);
    machine_set_irq(&u->dev, interrupt_of(u) != IIR_NONE);
}

static void rx_push(struct uart16550 *u, uint8_t byte) {
    if (u->rx_count < rx_depth(u))
        u->rx[(u->rx_first + u->rx_count++) % RX_DEPTH] = byte;
}

/* What is typed may be for the guest's semihosting calls, as long as no driver has set this up. */
static void receive(struct uart16550 *u) {
    uint8_t byte;
    if (!(u->ier | u->lcr | u->fcr) && machine_semihosting(u->dev.machine))
        return;
    while (u->rx_count < rx_depth(u) && !(u->mcr & MCR_LOOP) && chardev_read(u->chardev, &byte, 1))
        rx_push(u, byte);
}

static void look_at_room(struct uart16550 *u) {
    u->tx_full = chardev_room(u->chardev) < CHARDEV_FULL;
    u->tx_pending = !u->tx_full;
}

static void ready(void *arg) {
    struct uart16550 *u = arg;
    if (u->tx_full)
        look_at_room(u);
    receive(u);
    update(u);
}

static uint8_t read_data(struct uart16550 *u) {
    uint8_t byte = u->rx[u->rx_first];
    if (u->rx_count) {
        u->rx_first = (u->rx_first + 1) % RX_DEPTH;
        u->rx_count--;
    }
    receive(u);
    return byte;
}

static uint8_t read_iir(struct uart16550 *u) {
    uint8_t iir = interrupt_of(u);
    if (iir == IIR_TX)
        u->tx_pending = false;
    return iir | (u->fcr & FCR_ENABLE ? IIR_FIFO : 0);
}

/* In loopback the outputs are the inputs: RTS, DTR, OUT1, OUT2 in the places of CTS, DSR, RI, DCD. */
static uint8_t read_msr(const struct uart16550 *u) {
    unsigned mcr = u->mcr;
    if (!(mcr & MCR_LOOP))
        return MSR_PRESENT;
    return (uint8_t)((mcr & 2) << 3 | (mcr & 1) << 5 | (mcr & 4) << 4 | (mcr & 8) << 4);
}

static uint8_t read_register(struct uart16550 *u, uint64_t offset) {
    bool divisor = u->lcr & LCR_DLAB;
    switch (offset) {
    case UART_DATA: return divisor ? u->dll : read_data(u);
    case UART_IER: return divisor ? u->dlm : u->ier;
    case UART_IIR: return read_iir(u);
    case UART_LCR: return u->lcr;
    case UART_MCR: return u->mcr;
    case UART_LSR: return (uint8_t)*u->lsr;
    case UART_MSR: return read_msr(u);
    default: return u->scr;
    }
}

static uint64_t uart_read(struct device *d, uint64_t offset, unsigned bytes) {
    struct uart16550 *u = uart_of(d);
    uint8_t v = read_register(u, offset);
    update(u);
    return v;
}

static void write_data(struct uart16550 *u, uint8_t byte) {
    if (u->mcr & MCR_LOOP)
        rx_push(u, byte);
    else
        chardev_write(u->chardev, &byte, 1);
    look_at_room(u);
}

static void write_fcr(struct uart16550 *u, uint8_t v) {
    if ((u->fcr ^ v) & FCR_ENABLE || v & FCR_CLEAR_RX)
        u->rx_count = 0;
    u->fcr = v & FCR_ENABLE;
}

static void uart_write(struct device *d, uint64_t offset, uint64_t value, unsigned bytes) {
    struct uart16550 *u = uart_of(d);
    uint8_t v = (uint8_t)value;
    bool divisor = u->lcr & LCR_DLAB;
    switch (offset) {
    case UART_DATA:
        if (divisor)
            u->dll = v;
        else
            write_data(u, v);
        break;
    case UART_IER:
        if (divisor) {
            u->dlm = v;
            break;
        }
        if (v & ~u->ier & IER_TX) /* it is told at once that the transmitter is empty */
            u->tx_pending = !u->tx_full;
        u->ier = v & IER_ALL;
        break;
    case UART_IIR: write_fcr(u, v); break;
    case UART_LCR: u->lcr = v; break;
    case UART_MCR: u->mcr = v & MCR_ALL; break;
    case UART_SCR: u->scr = v; break;
    default: return;
    }
    receive(u);
    update(u);
}

/* A guest that looks at LSR does not come to this: there is room for what it may have posted before it saw it. */
static bool uart_holds(struct device *d, uint64_t offset) {
    const struct uart16550 *u = uart_of(d);
    return offset == UART_DATA && !(u->lcr & LCR_DLAB) && !(u->mcr & MCR_LOOP) && !chardev_room(u->chardev);
}

static const struct state_field uart_state[] = {
    STATE(struct uart16550, rx),
    STATE_MAX(struct uart16550, rx_first, 4, RX_DEPTH - 1),
    STATE_MAX(struct uart16550, rx_count, 4, RX_DEPTH),
    STATE_BOOL(struct uart16550, tx_full),
    STATE_BOOL(struct uart16550, tx_pending),
    STATE(struct uart16550, ier),
    STATE(struct uart16550, fcr),
    STATE(struct uart16550, lcr),
    STATE(struct uart16550, mcr),
    STATE(struct uart16550, scr),
    STATE(struct uart16550, dll),
    STATE(struct uart16550, dlm),
    STATE_END,
};

static bool uart_loaded(struct device *d) {
    ready(uart_of(d));
    return true;
}

static void uart_destroy(struct device *d) { free(uart_of(d)); }

static const struct device_ops uart_ops = {
    .name = "uart16550",
    .read = uart_read,
    .write = uart_write,
    .holds = uart_holds,
    .max_bytes = 8,
    .state = uart_state,
    .loaded = uart_loaded,
    .destroy = uart_destroy,
};

struct device *uart16550_create(struct machine *m, uint64_t gpa, unsigned irq, struct chardev *c) {
    struct uart16550 *u = calloc(1, sizeof(*u));
    if (!u)
        return NULL;
    u->dev = (struct device){
        .ops = &uart_ops, .machine = m, .gpa = gpa, .size = UART_REGISTERS, .spi = irq, .virtio_slot = -1};
    u->chardev = c;
    u->dll = 12; /* as QEMU has them */
    u->mcr = MCR_OUT2;
    machine_post_writes(&u->dev, UART_DATA, 1);
    u->lsr = machine_shadow(&u->dev, UART_LSR);
    update(u);
    chardev_listen(c, ready, u);
    return &u->dev;
}
