/* SPDX-License-Identifier: Apache-2.0
 * Copyright The Graft Authors */
/* fdt.c: the device tree of QEMU's virt, as far as its devices are here; and the user's own tree. */
#include "hypervisor/fdt.h"

#include <libfdt.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define TREE_BYTES 65536
#define PHANDLE_CLOCK 0x8000u
#define PHANDLE_GIC 0x8001u
#define PHANDLE_CPU0 0x8002u
#define GIC_SPI 0
#define GIC_PPI 1
#define IRQ_EDGE 1
#define IRQ_LEVEL 4
#define VIRTIO_SLOTS 32

/* The tree is written from front to back; the first error sticks. */
struct writer {
    void *blob;
    int error;
};

static void note(struct writer *w, int error) {
    if (!w->error)
        w->error = error;
}

static void begin(struct writer *w, const char *fmt, ...) {
    char name[64];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(name, sizeof(name), fmt, ap);
    va_end(ap);
    note(w, fdt_begin_node(w->blob, name));
}

static void end(struct writer *w) { note(w, fdt_end_node(w->blob)); }

static void put_u32(struct writer *w, const char *name, uint32_t v) { note(w, fdt_property_u32(w->blob, name, v)); }

static void put_text(struct writer *w, const char *name, const char *v) {
    note(w, fdt_property_string(w->blob, name, v));
}

static void put_bytes(struct writer *w, const char *name, const void *v, size_t len) {
    note(w, fdt_property(w->blob, name, v, (int)len));
}

static void put_cells(struct writer *w, const char *name, const uint32_t *v, unsigned count) {
    fdt32_t cells[16];
    for (unsigned i = 0; i < count; i++)
        cells[i] = cpu_to_fdt32(v[i]);
    put_bytes(w, name, cells, count * sizeof(cells[0]));
}

#define PUT_CELLS(w, name, ...)                                                                                        \
    put_cells(w, name, (const uint32_t[]){__VA_ARGS__}, sizeof((const uint32_t[]){__VA_ARGS__}) / sizeof(uint32_t))
#define HI(x) (uint32_t)((x) >> 32)
#define LO(x) (uint32_t)(x)

static void put_root(struct writer *w) {
    put_u32(w, "interrupt-parent", PHANDLE_GIC);
    put_bytes(w, "dma-coherent", NULL, 0);
    put_text(w, "model", "linux,dummy-virt");
    put_u32(w, "#size-cells", 2);
    put_u32(w, "#address-cells", 2);
    put_text(w, "compatible", "linux,dummy-virt");
}

static void put_psci(struct writer *w) {
    static const char compatible[] = "arm,psci-1.0\0arm,psci-0.2\0arm,psci";
    begin(w, "psci");
    put_u32(w, "migrate", 0xc4000005);
    put_u32(w, "cpu_on", 0xc4000003);
    put_u32(w, "cpu_off", 0x84000002);
    put_u32(w, "cpu_suspend", 0xc4000001);
    put_text(w, "method", "hvc");
    put_bytes(w, "compatible", compatible, sizeof(compatible));
    end(w);
}

static void put_memory(struct writer *w, const struct fdt_params *p) {
    begin(w, "memory@%llx", (unsigned long long)p->ram_gpa);
    PUT_CELLS(w, "reg", HI(p->ram_gpa), LO(p->ram_gpa), HI(p->ram_size), LO(p->ram_size));
    put_text(w, "device_type", "memory");
    end(w);
}

static void put_flash(struct writer *w) {
    begin(w, "flash@0");
    put_u32(w, "bank-width", 4);
    PUT_CELLS(w, "reg", 0, 0, 0, 0x04000000, 0, 0x04000000, 0, 0x04000000);
    put_text(w, "compatible", "cfi-flash");
    end(w);
}

static void put_fw_cfg(struct writer *w) {
    begin(w, "fw-cfg@9020000");
    put_bytes(w, "dma-coherent", NULL, 0);
    PUT_CELLS(w, "reg", 0, 0x09020000, 0, 0x18);
    put_text(w, "compatible", "qemu,fw-cfg-mmio");
    end(w);
}

static void put_virtio(struct writer *w) {
    for (unsigned i = 0; i < VIRTIO_SLOTS; i++) {
        uint32_t base = 0x0a000000 + 0x200 * i;
        begin(w, "virtio_mmio@%x", base);
        put_bytes(w, "dma-coherent", NULL, 0);
        PUT_CELLS(w, "interrupts", GIC_SPI, 16 + i, IRQ_EDGE);
        PUT_CELLS(w, "reg", 0, base, 0, 0x200);
        put_text(w, "compatible", "virtio,mmio");
        end(w);
    }
}

static void put_primecells(struct writer *w) {
    static const char rtc[] = "arm,pl031\0arm,primecell", uart[] = "arm,pl011\0arm,primecell",
                      clocks[] = "uartclk\0apb_pclk";
    begin(w, "pl031@9010000");
    put_text(w, "clock-names", "apb_pclk");
    put_u32(w, "clocks", PHANDLE_CLOCK);
    PUT_CELLS(w, "interrupts", GIC_SPI, 2, IRQ_LEVEL);
    PUT_CELLS(w, "reg", 0, 0x09010000, 0, 0x1000);
    put_bytes(w, "compatible", rtc, sizeof(rtc));
    end(w);
    begin(w, "pl011@9000000");
    put_bytes(w, "clock-names", clocks, sizeof(clocks));
    PUT_CELLS(w, "clocks", PHANDLE_CLOCK, PHANDLE_CLOCK);
    PUT_CELLS(w, "interrupts", GIC_SPI, 1, IRQ_LEVEL);
    PUT_CELLS(w, "reg", 0, 0x09000000, 0, 0x1000);
    put_bytes(w, "compatible", uart, sizeof(uart));
    end(w);
}

static void put_gic(struct writer *w, const struct fdt_params *p) {
    begin(w, "intc@8000000");
    put_u32(w, "phandle", PHANDLE_GIC);
    if (p->gic == 3) {
        PUT_CELLS(w, "reg", 0, 0x08000000, 0, 0x10000, 0, 0x080a0000, 0, 0xf60000);
        put_u32(w, "#redistributor-regions", 1);
        put_text(w, "compatible", "arm,gic-v3");
    } else {
        PUT_CELLS(w, "reg", 0, 0x08000000, 0, 0x10000, 0, 0x08010000, 0, 0x10000);
        put_text(w, "compatible", "arm,cortex-a15-gic");
    }
    put_bytes(w, "ranges", NULL, 0);
    put_u32(w, "#size-cells", 2);
    put_u32(w, "#address-cells", 2);
    put_bytes(w, "interrupt-controller", NULL, 0);
    put_u32(w, "#interrupt-cells", 3);
    end(w);
}

static void put_cpu_map(struct writer *w, const struct fdt_params *p) {
    begin(w, "cpu-map");
    begin(w, "socket0");
    begin(w, "cluster0");
    for (unsigned i = 0; i < p->cpus; i++) {
        begin(w, "core%u", i);
        put_u32(w, "cpu", PHANDLE_CPU0 + i);
        end(w);
    }
    end(w);
    end(w);
    end(w);
}

static void put_cpus(struct writer *w, const struct fdt_params *p) {
    begin(w, "cpus");
    put_u32(w, "#size-cells", 0);
    put_u32(w, "#address-cells", 1);
    put_cpu_map(w, p);
    for (unsigned i = 0; i < p->cpus; i++) {
        begin(w, "cpu@%x", i);
        put_u32(w, "phandle", PHANDLE_CPU0 + i);
        put_u32(w, "reg", i);
        if (p->cpus > 1)
            put_text(w, "enable-method", "psci");
        put_text(w, "compatible", p->cpu_compatible);
        put_text(w, "device_type", "cpu");
        end(w);
    }
    end(w);
}

static void put_timer(struct writer *w, const struct fdt_params *p) {
    static const char compatible[] = "arm,armv8-timer\0arm,armv7-timer";
    /* GICv2 has a mask of processors in the flags. */
    uint32_t flags = IRQ_LEVEL | (p->gic == 2 ? ((1u << p->cpus) - 1) << 8 : 0);
    begin(w, "timer");
    PUT_CELLS(w, "interrupts", GIC_PPI, 13, flags, GIC_PPI, 14, flags, GIC_PPI, 11, flags, GIC_PPI, 10, flags);
    put_bytes(w, "always-on", NULL, 0);
    put_bytes(w, "compatible", compatible, sizeof(compatible));
    end(w);
}

static void put_clock(struct writer *w) {
    begin(w, "apb-pclk");
    put_u32(w, "phandle", PHANDLE_CLOCK);
    put_text(w, "clock-output-names", "clk24mhz");
    put_u32(w, "clock-frequency", 24000000);
    put_u32(w, "#clock-cells", 0);
    put_text(w, "compatible", "fixed-clock");
    end(w);
}

static void put_chosen(struct writer *w, const struct fdt_params *p) {
    begin(w, "aliases");
    put_text(w, "serial0", "/pl011@9000000");
    end(w);
    begin(w, "chosen");
    if (p->initrd_end != p->initrd) {
        PUT_CELLS(w, "linux,initrd-start", HI(p->initrd), LO(p->initrd));
        PUT_CELLS(w, "linux,initrd-end", HI(p->initrd_end), LO(p->initrd_end));
    }
    if (p->bootargs)
        put_text(w, "bootargs", p->bootargs);
    put_text(w, "stdout-path", "/pl011@9000000");
    put_bytes(w, "rng-seed", p->seed, 32);
    put_bytes(w, "kaslr-seed", p->seed + 32, 8);
    end(w);
}

static void *fail(void *blob, int error, const char *what, char err[FDT_ERR_BYTES]) {
    snprintf(err, FDT_ERR_BYTES, "%s: %s", what, error ? fdt_strerror(error) : "out of memory");
    free(blob);
    return NULL;
}

void *fdt_make(const struct fdt_params *p, size_t *size, char err[FDT_ERR_BYTES]) {
    size_t room = TREE_BYTES + (p->bootargs ? strlen(p->bootargs) : 0);
    struct writer w = {.blob = malloc(room)};
    if (!w.blob)
        return fail(NULL, 0, "device tree", err);
    note(&w, fdt_create(w.blob, (int)room));
    note(&w, fdt_finish_reservemap(w.blob));
    begin(&w, "%s", "");
    put_root(&w);
    put_psci(&w);
    put_memory(&w, p);
    put_virtio(&w);
    put_fw_cfg(&w);
    put_flash(&w);
    put_primecells(&w);
    put_gic(&w, p);
    put_cpus(&w, p);
    put_timer(&w, p);
    put_clock(&w);
    put_chosen(&w, p);
    end(&w);
    note(&w, fdt_finish(w.blob));
    if (w.error)
        return fail(w.blob, w.error, "device tree", err);
    *size = fdt_totalsize(w.blob);
    return w.blob;
}

static int patch_chosen(void *blob, const struct fdt_params *p) {
    int node = fdt_path_offset(blob, "/chosen"), r = 0;
    if (node == -FDT_ERR_NOTFOUND)
        node = fdt_add_subnode(blob, 0, "chosen");
    if (node < 0)
        return node;
    if (p->bootargs)
        r = fdt_setprop_string(blob, node, "bootargs", p->bootargs);
    if (!r && p->initrd_end != p->initrd)
        r = fdt_setprop_u64(blob, node, "linux,initrd-start", p->initrd);
    if (!r && p->initrd_end != p->initrd)
        r = fdt_setprop_u64(blob, node, "linux,initrd-end", p->initrd_end);
    return r;
}

void *fdt_patch(const uint8_t *tree, size_t len, const struct fdt_params *p, size_t *size, char err[FDT_ERR_BYTES]) {
    size_t room = len + 4096 + (p->bootargs ? strlen(p->bootargs) : 0);
    void *copy = NULL, *blob = NULL;
    /* The check wants an aligned tree, which a buffer of unknown origin need not be. */
    if (len > INT32_MAX / 2 || !(copy = malloc(len + !len)) || !(blob = malloc(room))) {
        free(copy);
        return fail(blob, 0, "device tree", err);
    }
    memcpy(copy, tree, len);
    int r = len < sizeof(struct fdt_header) ? -FDT_ERR_TRUNCATED : fdt_check_full(copy, len);
    if (!r)
        r = fdt_open_into(copy, blob, (int)room);
    if (!r)
        r = patch_chosen(blob, p);
    if (!r)
        r = fdt_pack(blob);
    free(copy);
    if (r)
        return fail(blob, r, "device tree", err);
    *size = fdt_totalsize(blob);
    return blob;
}
