/* SPDX-License-Identifier: Apache-2.0
 * Copyright The Graft Authors */
/* virt.c: QEMU's riscv virt, as far as its devices are here. PLIC and CLINT are the engine's. */
#include "graft/board.h"

#define PHANDLE_PLIC 0x8001u
#define PHANDLE_TEST 0x8002u
#define PHANDLE_CPU0 0x8010u
#define PHANDLE_INTC0 0x8020u
#define TIMEBASE 10000000u
#define IRQ_M_SOFT 3
#define IRQ_M_TIMER 7
#define IRQ_M_EXTERNAL 11
#define IRQ_S_EXTERNAL 9
#define PLIC_SOURCES 95
#define CPUS 8

#define CACHE_BLOCK 64

/* Everything that translate.c and csr.c know, as a list of strings; for --cpu rv64 without extensions. */
static const char all[] =
    "i\0m\0a\0f\0d\0c\0zicbom\0zicbop\0zicboz\0zicntr\0zicond\0zicsr\0zifencei\0zihintpause\0zihpm\0zawrs\0"
    "zacas\0zfa\0zfh\0zfhmin\0zca\0zcb\0zcd\0zba\0zbb\0zbc\0zbkb\0zbkc\0zbkx\0zbs\0zknd\0zkne\0zknh\0"
    "sscofpmf\0sstc\0svade\0svadu\0svinval\0svnapot\0svpbmt\0svvptc";
static const char general[] = "i\0m\0a\0f\0d\0c\0zicntr\0zicsr\0zifencei";

static void put_isa(struct tree *t, bool max) {
    const char *names = max ? all : general;
    size_t bytes = max ? sizeof(all) : sizeof(general), len = 4;
    char text[sizeof(all) + 8] = "rv64";
    /* One letter each, and then words with underscores before them. */
    for (size_t at = 0; at < bytes; at++)
        if (names[at])
            text[len++] = names[at];
        else if (at + 1 < bytes && names[at + 2])
            text[len++] = '_';
    text[len] = 0;
    tree_bytes(t, "riscv,isa-extensions", names, bytes);
    tree_text(t, "riscv,isa-base", "rv64i");
    tree_text(t, "riscv,isa", text);
    if (!max)
        return;
    tree_u32(t, "riscv,cbom-block-size", CACHE_BLOCK);
    tree_u32(t, "riscv,cbop-block-size", CACHE_BLOCK);
    tree_u32(t, "riscv,cboz-block-size", CACHE_BLOCK);
}

static void interrupts(struct tree *t, uint32_t irq) {
    tree_u32(t, "interrupts", irq);
    tree_u32(t, "interrupt-parent", PHANDLE_PLIC);
}

static void put_cpu(struct tree *t, const struct fdt_params *p, unsigned i) {
    tree_begin(t, "cpu@%x", i);
    tree_u32(t, "phandle", PHANDLE_CPU0 + i);
    tree_text(t, "device_type", "cpu");
    tree_u32(t, "reg", i);
    tree_text(t, "status", "okay");
    tree_text(t, "compatible", "riscv");
    put_isa(t, p->cpu == ABI_CPU_MAX);
    tree_text(t, "mmu-type", "riscv,sv57");
    tree_begin(t, "interrupt-controller");
    tree_u32(t, "#interrupt-cells", 1);
    tree_bytes(t, "interrupt-controller", NULL, 0);
    tree_text(t, "compatible", "riscv,cpu-intc");
    tree_u32(t, "phandle", PHANDLE_INTC0 + i);
    tree_end(t);
    tree_end(t);
}

static void put_cpus(struct tree *t, const struct fdt_params *p) {
    tree_begin(t, "cpus");
    tree_u32(t, "#address-cells", 1);
    tree_u32(t, "#size-cells", 0);
    tree_u32(t, "timebase-frequency", TIMEBASE);
    for (unsigned i = 0; i < p->cpus; i++)
        put_cpu(t, p, i);
    tree_begin(t, "cpu-map");
    tree_cores(t, p, PHANDLE_CPU0);
    tree_end(t);
    tree_end(t);
}

/* Two of each hart's interrupts. */
static void put_extended(struct tree *t, const struct fdt_params *p, uint32_t first, uint32_t second) {
    uint32_t cells[4 * CPUS];
    for (unsigned i = 0; i < p->cpus; i++) {
        cells[4 * i] = cells[4 * i + 2] = PHANDLE_INTC0 + i;
        cells[4 * i + 1] = first;
        cells[4 * i + 3] = second;
    }
    tree_cells(t, "interrupts-extended", cells, 4 * p->cpus);
}

static void put_clint(struct tree *t, const struct fdt_params *p) {
    static const char compatible[] = "sifive,clint0\0riscv,clint0";
    tree_begin(t, "clint@2000000");
    put_extended(t, p, IRQ_M_SOFT, IRQ_M_TIMER);
    TREE_CELLS(t, "reg", 0, 0x02000000, 0, 0x10000);
    tree_bytes(t, "compatible", compatible, sizeof(compatible));
    tree_end(t);
}

static void put_plic(struct tree *t, const struct fdt_params *p) {
    static const char compatible[] = "sifive,plic-1.0.0\0riscv,plic0";
    tree_begin(t, "plic@c000000");
    tree_u32(t, "phandle", PHANDLE_PLIC);
    tree_u32(t, "riscv,ndev", PLIC_SOURCES);
    TREE_CELLS(t, "reg", 0, 0x0c000000, 0, 0x600000);
    put_extended(t, p, IRQ_M_EXTERNAL, IRQ_S_EXTERNAL);
    tree_bytes(t, "interrupt-controller", NULL, 0);
    tree_bytes(t, "compatible", compatible, sizeof(compatible));
    tree_u32(t, "#address-cells", 0);
    tree_u32(t, "#interrupt-cells", 1);
    tree_end(t);
}

/* A node that says which value in the test device's register does what. */
static void put_syscon(struct tree *t, const char *name, const char *compatible, uint32_t value) {
    tree_begin(t, "%s", name);
    tree_u32(t, "value", value);
    tree_u32(t, "offset", 0);
    tree_u32(t, "regmap", PHANDLE_TEST);
    tree_text(t, "compatible", compatible);
    tree_end(t);
}

static void put_test(struct tree *t) {
    static const char compatible[] = "sifive,test1\0sifive,test0\0syscon";
    tree_begin(t, "test@100000");
    tree_u32(t, "phandle", PHANDLE_TEST);
    TREE_CELLS(t, "reg", 0, 0x100000, 0, 0x1000);
    tree_bytes(t, "compatible", compatible, sizeof(compatible));
    tree_end(t);
}

static void put_devices(struct tree *t) {
    tree_begin(t, "serial@10000000");
    interrupts(t, 10);
    tree_u32(t, "clock-frequency", 3686400);
    TREE_CELLS(t, "reg", 0, 0x10000000, 0, 0x100);
    tree_text(t, "compatible", "ns16550a");
    tree_end(t);
    tree_begin(t, "rtc@101000");
    interrupts(t, 11);
    TREE_CELLS(t, "reg", 0, 0x101000, 0, 0x1000);
    tree_text(t, "compatible", "google,goldfish-rtc");
    tree_end(t);
}

/* For firmware: which counters have which events, whose numbers are the SBI's (pmu.c). */
static void put_pmu(struct tree *t) {
    static const uint32_t events[] = {1, 2, 5, 0x10000, 0x10002};
    uint32_t cells[3 * ARRAY_LEN(events)];
    for (unsigned i = 0; i < ARRAY_LEN(events); i++) {
        cells[3 * i] = cells[3 * i + 1] = events[i]; /* from, to */
        cells[3 * i + 2] = 0x1f8;
    }
    tree_begin(t, "pmu");
    tree_cells(t, "riscv,event-to-mhpmcounters", cells, ARRAY_LEN(cells));
    tree_text(t, "compatible", "riscv,pmu");
    tree_end(t);
}

static void tree(struct tree *t, const struct fdt_params *p) {
    tree_u32(t, "#address-cells", 2);
    tree_u32(t, "#size-cells", 2);
    tree_text(t, "compatible", "riscv-virtio");
    tree_text(t, "model", "riscv-virtio,qemu");
    tree_memory(t, p);
    put_cpus(t, p);
    if (p->cpu == ABI_CPU_MAX)
        put_pmu(t);
    put_syscon(t, "poweroff", "syscon-poweroff", 0x5555);
    put_syscon(t, "reboot", "syscon-reboot", 0x7777);
    tree_begin(t, "soc");
    tree_u32(t, "#address-cells", 2);
    tree_u32(t, "#size-cells", 2);
    tree_text(t, "compatible", "simple-bus");
    tree_bytes(t, "ranges", NULL, 0);
    put_test(t);
    put_clint(t, p);
    put_plic(t, p);
    put_devices(t);
    tree_virtio(t, p->board, interrupts);
    tree_end(t);
    tree_flash(t, p->board);
    tree_fw_cfg(t, p->board);
    tree_chosen(t, p, "/soc/serial@10000000");
}

static struct device *rtc(struct machine *m, uint64_t gpa, unsigned irq, struct chardev *serial) {
    return goldfish_rtc_create(m, gpa, irq);
}

static struct device *test(struct machine *m, uint64_t gpa, unsigned irq, struct chardev *serial) {
    return sifive_test_create(m, gpa);
}

static const struct board_device devices[] = {{"16550", uart16550_create, 0x10000000, 10},
                                              {"rtc", rtc, 0x101000, 11},
                                              {"test", test, 0x100000, 0},
                                              {NULL, NULL, 0, 0}};

/* pc, x1 to x31 */
static const uint8_t core_regs[] = {32, 1,  2,  3,  4,  5,  6,  7,  8,  9,  10, 11, 12, 13, 14, 15,          16,
                                    17, 18, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 29, 30, 31, BOARD_NO_REG};

extern const uint8_t agent_riscv64[], agent_riscv64_end[]; /* guests/agents.S */

const struct board rv64_board = {
    .core_regs = core_regs,
    .guest = "rv64",
    .name = "riscv64",
    .machine = "RISC-V",
    .bios_in_ram = true,
    .has_rings = true,
    .core = "rv64",
    .agent = agent_riscv64,
    .agent_end = agent_riscv64_end,
    .target = "riscv64",
    .image_magic = 0x05435352u, /* "RSC\x05" */
    .elf_machine = 243,         /* EM_RISCV */
    .kernel_offset = 2u << 20,  /* below it virt has the firmware */
    .flat_offset = 0,
    .ram = 0x80000000,
    .flash = 0x20000000,
    .flash_bytes = UINT64_C(32) << 20,
    .flash_banks = 2,
    .fw_cfg = 0x10100000,
    .virtio = 0x10001000,
    .virtio_stride = 0x1000,
    .virtio_slots = 8,
    .virtio_irq = 1,
    .device = devices,
    .tree = tree,
};
