/* SPDX-License-Identifier: Apache-2.0
 * Copyright The Graft Authors */
/*
 * console.c: does what it is told on the serial port: a letter, a number and a line end.
 *   w, p, i  write so many numbered lines: without looking at FR, looking at it, by transmit interrupts
 *   v        the same by the virtio console, in buffers of changing size
 *   r, e     read so many bytes from the serial port, from the virtio console, and say what they add up to
 *   z        say the size of the virtio console's window, now and whenever it changes
 *   o, s     power off, spin with interrupts masked
 */
#include "virtq.h"

#define FR 0x18u
#define IMSC 0x38u
#define ICR 0x44u
#define FR_BUSY 0x08u
#define FR_RXFE 0x10u
#define FR_TXFF 0x20u
#define FR_TXFE 0x80u
#define INT_TX 0x20u
#define LINE 8

static uint32_t uart(unsigned off) { return mmio_read32(UART_BASE + off); }
static void uart_set(unsigned off, uint32_t v) { mmio_write32(UART_BASE + off, v); }

static uint8_t get(void) {
    while (uart(FR) & FR_RXFE)
        ;
    return (uint8_t)uart(0);
}

static uint64_t get_number(void) {
    uint64_t n = 0;
    for (uint8_t c; (c = get()) >= '0' && c <= '9';)
        n = 10 * n + (c - '0');
    return n;
}

static void make_line(char *p, uint64_t n) {
    for (unsigned i = LINE - 1; i--; n /= 10)
        p[i] = (char)('0' + n % 10);
    p[LINE - 1] = '\n';
}

/* --- the serial port -------------------------------------------------------------------------- */
static void write_blindly(uint64_t lines) {
    for (uint64_t n = 0; n < lines; n++) {
        char line[LINE];
        make_line(line, n);
        for (unsigned i = 0; i < LINE; i++)
            uart_set(0, (uint8_t)line[i]);
    }
}

/* What FR may say: the FIFO is full and being sent, or it is empty. */
static unsigned full_seen, wrong_seen;
static void wait_room(void) {
    uint32_t fr = uart(FR);
    if (fr & FR_TXFF)
        full_seen++;
    for (; fr & FR_TXFF; fr = uart(FR))
        wrong_seen += (fr & (FR_TXFE | FR_BUSY)) != FR_BUSY;
    wrong_seen += (fr & (FR_TXFE | FR_BUSY)) != FR_TXFE;
}

static void write_politely(uint64_t lines) {
    full_seen = wrong_seen = 0;
    for (uint64_t n = 0; n < lines; n++) {
        char line[LINE];
        make_line(line, n);
        for (unsigned i = 0; i < LINE; i++) {
            wait_room();
            uart_set(0, (uint8_t)line[i]);
        }
    }
    print(full_seen ? "was full, " : "was not full, ");
    print(wrong_seen ? "FAIL flags are wrong\n" : "flags are right\n");
}

static uint64_t lines_sent, lines_wanted;
static volatile bool all_sent;
static void on_irq(struct frame *f, unsigned vector) {
    (void)f, (void)vector;
    uint32_t iar = gic_ack();
    if ((iar & 1023) == SPI_UART) {
        char line[LINE];
        uart_set(ICR, INT_TX);
        make_line(line, lines_sent);
        for (unsigned i = 0; i < LINE; i++) /* half of the FIFO, which the interrupt says is empty */
            uart_set(0, (uint8_t)line[i]);
        if (++lines_sent == lines_wanted) {
            uart_set(IMSC, 0);
            all_sent = true;
        }
    }
    gic_eoi(iar);
}

static void write_by_interrupts(uint64_t lines) {
    gic_init();
    gic_set_edge(SPI_UART, false);
    gic_enable(SPI_UART);
    exception_handler = on_irq;
    lines_sent = 0;
    lines_wanted = lines;
    all_sent = false;
    print("\n"); /* the interrupt is raised when something was sent */
    uart_set(IMSC, INT_TX);
    SLEEP_WHILE(!all_sent);
    __asm__ volatile("msr daifset, #2" : : : "memory");
    print("woken\n");
}

/* --- the virtio console ----------------------------------------------------------------------- */
enum { ID_CONSOLE = 3, RX = 0, TX = 1 };
#define F_WINDOW 1ul
#define V_ISR 0x60
static struct vdev console;
static struct queue rx __attribute__((aligned(4096))), tx __attribute__((aligned(4096)));
static char buffer[200000];

static void open_console(void) {
    static bool is_open;
    if (!is_open && v_find(&console, ID_CONSOLE)) {
        v_start(&console, F_WINDOW);
        v_queue(&console, RX, &rx);
        v_queue(&console, TX, &tx);
        v_live(&console);
    }
    is_open = true;
}

static void send(uint32_t bytes) {
    q_desc(tx.desc, 0, buffer, bytes, 0);
    q_offer(&tx, 0);
    v_set(&console, V_NOTIFY, TX);
    while (q_used(&tx) != tx.avail.idx)
        ;
}

static void write_virtio(uint64_t lines) {
    static const unsigned sizes[] = {1, 500, 3, 25000, 8};
    open_console();
    for (uint64_t n = 0, turn = 0; n < lines; turn++) {
        uint32_t count = 0, want = sizes[turn % ARRAY_LEN(sizes)];
        for (; count < want && n < lines; count++)
            make_line(buffer + LINE * count, n++);
        send(LINE * count);
    }
    print("sent\n");
}

static void say_sum(uint64_t sum) {
    print("sum ");
    print_dec(sum);
    print("\n");
}

/* The sum depends on the order. */
static uint64_t add(uint64_t sum, uint8_t byte) { return (sum * 31 + byte) % 1000000007; }

static void read_serial(uint64_t bytes) {
    uint64_t sum = 0;
    while (bytes--)
        sum = add(sum, get());
    say_sum(sum);
}

static void read_virtio(uint64_t bytes) {
    uint64_t sum = 0;
    open_console();
    while (bytes) {
        uint16_t used = q_used(&rx);
        q_desc(rx.desc, 0, buffer, 700, D_WRITE);
        q_offer(&rx, 0);
        v_set(&console, V_NOTIFY, RX);
        while (q_used(&rx) == used)
            ;
        uint32_t len = rx.used.ring[used % NUM].len;
        for (uint32_t i = 0; i < len && bytes; i++, bytes--)
            sum = add(sum, (uint8_t)buffer[i]);
    }
    say_sum(sum);
}

static void say_size(void) {
    open_console();
    print(console.features & F_WINDOW ? "window" : "no window");
    v_set(&console, V_NOTIFY, RX);
    while (!(v_get(&console, V_ISR) & 2)) /* Linux does not look before it is told of a change */
        ;
    for (uint32_t size = 0, last = 0;;) {
        size = v_get(&console, V_CONFIG);
        if (size != last) {
            print(" ");
            print_dec(size & 0xffff);
            print("x");
            print_dec(size >> 16);
            print("\n");
        }
        last = size;
        if (!(uart(FR) & FR_RXFE))
            return;
    }
}

static void obey(void) {
    for (;;) {
        uint8_t what = get();
        uint64_t n = get_number();
        switch (what) {
        case 'w': write_blindly(n); break;
        case 'p': write_politely(n); break;
        case 'i': write_by_interrupts(n); break;
        case 'v': write_virtio(n); break;
        case 'r': read_serial(n); break;
        case 'e': read_virtio(n); break;
        case 'z': say_size(); break;
        case 's':
            print("spins\n");
            for (;;)
                ;
        case 'o': return;
        }
    }
}

TESTS({"obey", obey});
