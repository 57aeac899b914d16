/* SPDX-License-Identifier: Apache-2.0
 * Copyright The Graft Authors */
/* virt.c: QEMU's arm virt, as far as its devices are here. */
#include "graft/board.h"

#define PHANDLE_CLOCK 0x8000u
#define PHANDLE_GIC 0x8001u
#define PHANDLE_GPIO 0x8002u
#define PHANDLE_CPU0 0x8003u
#define GIC_SPI 0
#define GIC_PPI 1
#define IRQ_EDGE 1
#define IRQ_LEVEL 4

static void put_root(struct tree *t) {
    tree_u32(t, "interrupt-parent", PHANDLE_GIC);
    tree_bytes(t, "dma-coherent", NULL, 0);
    tree_text(t, "model", "linux,dummy-virt");
    tree_u32(t, "#size-cells", 2);
    tree_u32(t, "#address-cells", 2);
    tree_text(t, "compatible", "linux,dummy-virt");
}

static void put_psci(struct tree *t) {
    static const char compatible[] = "arm,psci-1.0\0arm,psci-0.2\0arm,psci";
    tree_begin(t, "psci");
    tree_u32(t, "migrate", 0xc4000005);
    tree_u32(t, "cpu_on", 0xc4000003);
    tree_u32(t, "cpu_off", 0x84000002);
    tree_u32(t, "cpu_suspend", 0xc4000001);
    tree_text(t, "method", "hvc");
    tree_bytes(t, "compatible", compatible, sizeof(compatible));
    tree_end(t);
}

static void virtio_interrupts(struct tree *t, uint32_t irq) {
    tree_bytes(t, "dma-coherent", NULL, 0);
    TREE_CELLS(t, "interrupts", GIC_SPI, irq, IRQ_EDGE);
}

static void put_primecells(struct tree *t) {
    static const char rtc[] = "arm,pl031\0arm,primecell", uart[] = "arm,pl011\0arm,primecell",
                      clocks[] = "uartclk\0apb_pclk";
    tree_begin(t, "pl031@9010000");
    tree_text(t, "clock-names", "apb_pclk");
    tree_u32(t, "clocks", PHANDLE_CLOCK);
    TREE_CELLS(t, "interrupts", GIC_SPI, 2, IRQ_LEVEL);
    TREE_CELLS(t, "reg", 0, 0x09010000, 0, 0x1000);
    tree_bytes(t, "compatible", rtc, sizeof(rtc));
    tree_end(t);
    tree_begin(t, "pl011@9000000");
    tree_bytes(t, "clock-names", clocks, sizeof(clocks));
    TREE_CELLS(t, "clocks", PHANDLE_CLOCK, PHANDLE_CLOCK);
    TREE_CELLS(t, "interrupts", GIC_SPI, 1, IRQ_LEVEL);
    TREE_CELLS(t, "reg", 0, 0x09000000, 0, 0x1000);
    tree_bytes(t, "compatible", uart, sizeof(uart));
    tree_end(t);
}

/* The power key: line 3 of the GPIO. */
static void put_keys(struct tree *t) {
    static const char gpio[] = "arm,pl061\0arm,primecell";
    tree_begin(t, "gpio-keys");
    tree_text(t, "compatible", "gpio-keys");
    tree_begin(t, "poweroff");
    TREE_CELLS(t, "gpios", PHANDLE_GPIO, 3, 0);
    tree_u32(t, "linux,code", 116); /* KEY_POWER */
    tree_text(t, "label", "GPIO Key Poweroff");
    tree_end(t);
    tree_end(t);
    tree_begin(t, "pl061@9030000");
    tree_u32(t, "phandle", PHANDLE_GPIO);
    tree_text(t, "clock-names", "apb_pclk");
    tree_u32(t, "clocks", PHANDLE_CLOCK);
    TREE_CELLS(t, "interrupts", GIC_SPI, 7, IRQ_LEVEL);
    tree_bytes(t, "gpio-controller", NULL, 0);
    tree_u32(t, "#gpio-cells", 2);
    tree_bytes(t, "compatible", gpio, sizeof(gpio));
    TREE_CELLS(t, "reg", 0, 0x09030000, 0, 0x1000);
    tree_end(t);
}

static void put_gic(struct tree *t, const struct fdt_params *p) {
    tree_begin(t, "intc@8000000");
    tree_u32(t, "phandle", PHANDLE_GIC);
    if (p->gic == 3) {
        TREE_CELLS(t, "reg", 0, 0x08000000, 0, 0x10000, 0, 0x080a0000, 0, 0xf60000);
        tree_u32(t, "#redistributor-regions", 1);
        tree_text(t, "compatible", "arm,gic-v3");
    } else {
        TREE_CELLS(t, "reg", 0, 0x08000000, 0, 0x10000, 0, 0x08010000, 0, 0x10000);
        tree_text(t, "compatible", "arm,cortex-a15-gic");
    }
    tree_bytes(t, "ranges", NULL, 0);
    tree_u32(t, "#size-cells", 2);
    tree_u32(t, "#address-cells", 2);
    tree_bytes(t, "interrupt-controller", NULL, 0);
    tree_u32(t, "#interrupt-cells", 3);
    tree_end(t);
}

static void put_cpu_map(struct tree *t, const struct fdt_params *p) {
    tree_begin(t, "cpu-map");
    tree_begin(t, "socket0");
    tree_cores(t, p, PHANDLE_CPU0);
    tree_end(t);
    tree_end(t);
}

static void put_cpus(struct tree *t, const struct fdt_params *p) {
    tree_begin(t, "cpus");
    tree_u32(t, "#size-cells", 0);
    tree_u32(t, "#address-cells", 1);
    put_cpu_map(t, p);
    for (unsigned i = 0; i < p->cpus; i++) {
        tree_begin(t, "cpu@%x", i);
        tree_u32(t, "phandle", PHANDLE_CPU0 + i);
        tree_u32(t, "reg", i);
        if (p->cpus > 1)
            tree_text(t, "enable-method", "psci");
        tree_text(t, "compatible", p->cpu ? "arm,cortex-a72" : "arm,armv8");
        tree_text(t, "device_type", "cpu");
        tree_end(t);
    }
    tree_end(t);
}

static void put_timer(struct tree *t, const struct fdt_params *p) {
    static const char compatible[] = "arm,armv8-timer\0arm,armv7-timer";
    /* GICv2 has a mask of processors in the flags. */
    uint32_t flags = IRQ_LEVEL | (p->gic == 2 ? ((1u << p->cpus) - 1) << 8 : 0);
    tree_begin(t, "timer");
    TREE_CELLS(t, "interrupts", GIC_PPI, 13, flags, GIC_PPI, 14, flags, GIC_PPI, 11, flags, GIC_PPI, 10, flags);
    tree_bytes(t, "always-on", NULL, 0);
    tree_bytes(t, "compatible", compatible, sizeof(compatible));
    tree_end(t);
}

/* PPI 23, as the engine has it. */
static void put_pmu(struct tree *t, const struct fdt_params *p) {
    uint32_t flags = IRQ_LEVEL | (p->gic == 2 ? ((1u << p->cpus) - 1) << 8 : 0);
    tree_begin(t, "pmu");
    TREE_CELLS(t, "interrupts", GIC_PPI, 7, flags);
    tree_text(t, "compatible", "arm,armv8-pmuv3");
    tree_end(t);
}

static void put_clock(struct tree *t) {
    tree_begin(t, "apb-pclk");
    tree_u32(t, "phandle", PHANDLE_CLOCK);
    tree_text(t, "clock-output-names", "clk24mhz");
    tree_u32(t, "clock-frequency", 24000000);
    tree_u32(t, "#clock-cells", 0);
    tree_text(t, "compatible", "fixed-clock");
    tree_end(t);
}

static void tree(struct tree *t, const struct fdt_params *p) {
    put_root(t);
    put_psci(t);
    tree_memory(t, p);
    tree_virtio(t, p->board, virtio_interrupts);
    tree_fw_cfg(t, p->board);
    tree_flash(t, p->board);
    put_primecells(t);
    put_keys(t);
    put_gic(t, p);
    put_cpus(t, p);
    put_timer(t, p);
    put_pmu(t, p);
    put_clock(t);
    tree_chosen(t, p, "/pl011@9000000");
}

static struct device *rtc(struct machine *m, uint64_t gpa, unsigned irq, struct chardev *serial) {
    return pl031_create(m, gpa, irq);
}

static struct device *gpio(struct machine *m, uint64_t gpa, unsigned irq, struct chardev *serial) {
    return pl061_create(m, gpa, irq);
}

static const struct board_device devices[] = {{"pl011", pl011_create, 0x09000000, 1},
                                              {"pl031", rtc, 0x09010000, 2},
                                              {"pl061", gpio, 0x09030000, 7},
                                              {NULL, NULL, 0, 0}};

/* x0 to x30, sp, pc, pstate */
static const uint8_t core_regs[] = {0,  1,  2,  3,  4,  5,  6,  7,  8,  9,  10, 11, 12, 13, 14, 15, 16,          17,
                                    18, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 29, 30, 31, 32, 33, BOARD_NO_REG};

extern const uint8_t agent_aarch64[], agent_aarch64_end[]; /* guests/agents.S */

const struct board a64_board = {
    .core_regs = core_regs,
    .guest = "a64",
    .name = "arm64",
    .machine = "AArch64",
    .target = "aarch64",
    .image_magic = 0x644d5241u, /* "ARM\x64" */
    .elf_machine = 183,         /* EM_AARCH64 */
    .kernel_offset = 2u << 20,  /* below it virt has a boot loader */
    .flat_offset = 0x80000,
    .has_gic = true,
    .core = "cortex-a72",
    .agent = agent_aarch64,
    .agent_end = agent_aarch64_end,
    .has_rings = true,
    .ram = 0x40000000,
    .flash = 0,
    .flash_bytes = UINT64_C(64) << 20,
    .flash_banks = 2,
    .fw_cfg = 0x09020000,
    .virtio = 0x0a000000,
    .virtio_stride = 0x200,
    .virtio_slots = 32,
    .virtio_irq = 16,
    .device = devices,
    .tree = tree,
};
