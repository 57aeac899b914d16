/* SPDX-License-Identifier: Apache-2.0
 * Copyright The Graft Authors */
/* machine.c: the machine: its memory, its devices and what they may ask of it (device.h). */
#include "graft/host.h"
#include "graft/mmu.h"
#include "graft/vm.h"
#include "hypervisor/boot.h"
#include "hypervisor/code_cache.h"
#include "hypervisor/control.h"
#include "hypervisor/firmware.h"
#include "hypervisor/gdb.h"
#include "hypervisor/monitor.h"
#include "hypervisor/snapshot.h"
#include "hypervisor/vmcore.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/futex.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

/* --- services for devices --------------------------------------------------------------------- */
static void turn_lock(struct turn_lock *l) {
    uint32_t mine = atomic_fetch_add(&l->next, 1), now;
    while ((now = atomic_load(&l->serving)) != mine)
        syscall(SYS_futex, &l->serving, FUTEX_WAIT_PRIVATE, now, NULL, NULL, 0);
    log_later(true);
}

static void turn_unlock(struct turn_lock *l) {
    log_later(false);
    uint32_t now = atomic_fetch_add(&l->serving, 1) + 1;
    if (atomic_load(&l->next) != now)
        syscall(SYS_futex, &l->serving, FUTEX_WAKE_PRIVATE, INT_MAX, NULL, NULL, 0);
}

void device_lock(struct machine *m) {
    thread_expect(THREADS(THREAD_DISK), "take the device lock as a disk's thread");
    turn_lock(&m->lock);
}

void device_unlock(struct machine *m) { turn_unlock(&m->lock); }

void machine_lock(struct machine *m) {
    thread_expect(THREADS(THREAD_DEVICES) | THREADS(THREAD_VCPU), "take the device lock");
    turn_lock(&m->lock);
}

void machine_unlock(struct machine *m) {
    turn_unlock(&m->lock);
    if (m->serial)
        chardev_flush(m->serial);
    if (m->console)
        chardev_flush(m->console);
}

void machine_pend(struct machine *m, unsigned vcpu, uint32_t bits) {
    struct abi_vcpu *abi = m->vcpu[vcpu < m->vcpu_count ? vcpu : 0].abi;
    atomic_fetch_or(&abi->pending, bits);
    if (atomic_load(&abi->idle))
        run_wake(abi);
}

static void pend_irq(struct machine *m, unsigned spi) { machine_pend(m, m->shared->spi_target[spi], ABI_PEND_IRQ); }

static void rose(struct device *d) { atomic_fetch_or(&d->machine->shared->spi_rose[d->spi / 32], 1u << d->spi % 32); }

void machine_set_irq(struct device *d, bool level) {
    struct machine *m = d->machine;
    uint32_t bit = 1u << d->spi % 32, old;
    _Atomic uint32_t *word = &m->shared->spi_level[d->spi / 32];
    old = level ? atomic_fetch_or(word, bit) : atomic_fetch_and(word, ~bit);
    if (!(old & bit) != level)
        return;
    if (level)
        rose(d);
    pend_irq(m, d->spi);
}

void machine_virtio_interrupt(struct device *d, uint32_t bits) {
    if (!atomic_fetch_or(&d->machine->shared->virtio_isr[d->virtio_slot], bits))
        rose(d);
    pend_irq(d->machine, d->spi);
}

bool machine_virtio_legacy(const struct machine *m) { return m->options->virtio_legacy; }

uint32_t machine_virtio_status(struct device *d) {
    return atomic_load(&d->machine->shared->virtio_isr[d->virtio_slot]);
}

void machine_virtio_ack(struct device *d, uint32_t bits) {
    atomic_fetch_and(&d->machine->shared->virtio_isr[d->virtio_slot], ~bits);
    pend_irq(d->machine, d->spi);
}

bool machine_semihosting(const struct machine *m) { return m->options->semihosting; }

void machine_power(struct machine *m, bool reset) {
    if (reset)
        panic_reset(m);
    else
        machine_stop(m, MACHINE_POWEROFF);
}

void machine_ring(struct device *d, unsigned queue) {
    atomic_fetch_or(&d->machine->shared->virtio_notify[d->virtio_slot], BIT(queue));
    events_doorbell(d->machine, ABI_DB_VIRTIO0 + (unsigned)d->virtio_slot);
}

static struct abi_region *add_region(struct device *d, uint64_t offset, uint32_t size, enum abi_region_kind kind) {
    struct abi_boot *b = d->machine->boot;
    if (b->region_count == ABI_MAX_REGIONS)
        return NULL;
    struct abi_region *r = &b->regions[b->region_count++];
    *r = (struct abi_region){.gpa = d->gpa + offset, .size = size, .kind = (uint16_t)kind};
    return r;
}

void machine_post_writes(struct device *d, uint64_t offset, uint32_t size) {
    add_region(d, offset, size, ABI_REGION_POSTED); /* without a region the writes just exit */
}

_Atomic uint32_t *machine_shadow(struct device *d, uint64_t offset) {
    struct machine *m = d->machine;
    unsigned index = m->shadow_count;
    if (index == ABI_MAX_REGIONS)
        abort(); /* more shadow registers in devices/ than the ABI has */
    m->shadow_count++;
    struct abi_region *r = add_region(d, offset, 4, ABI_REGION_SHADOW);
    if (r)
        r->index = (uint16_t)index;
    return &m->shared->shadow[index];
}

/* --- memory ----------------------------------------------------------------------------------- */
uint64_t machine_rom_offset(const struct machine *m) {
    return m->memory > m->ram_size && m->board->flash_banks ? m->memory - m->board->flash_banks * m->board->flash_bytes
                                                            : 0;
}

/* Of both banks; not by abi_boot, which is the engine's, too. */
static uint64_t rom_size(const struct machine *m) {
    return machine_rom_offset(m) ? m->memory - machine_rom_offset(m) : 0;
}

static bool rom_range(struct machine *m, uint64_t gpa, uint64_t len) {
    uint64_t size = rom_size(m), offset = gpa - m->board->flash;
    return offset <= size && len <= size - offset;
}

/* The chunks that [gpa, gpa + len) of the flash touches, as bits of abi_shared.rom_mapped. */
static uint64_t rom_chunks(struct machine *m, uint64_t gpa, uint64_t len) {
    uint64_t offset = gpa - m->board->flash, first = offset / ABI_ROM_CHUNK, last = (offset + len - 1) / ABI_ROM_CHUNK;
    return MASK(last + 1) & ~MASK(first);
}

static bool rom_is_mapped(struct machine *m, uint64_t gpa, uint64_t len) {
    return len && rom_range(m, gpa, len) && !(rom_chunks(m, gpa, len) & ~atomic_load(&m->shared->rom_mapped));
}

static uint8_t *rom_at(struct machine *m, uint64_t gpa) {
    return m->ram + machine_rom_offset(m) + (gpa - m->board->flash);
}

uint8_t *machine_rom(struct device *d) { return rom_at(d->machine, d->gpa); }

void machine_rom_map(struct device *d, uint64_t offset) {
    atomic_fetch_or(&d->machine->shared->rom_mapped, rom_chunks(d->machine, d->gpa + offset, 1));
}

void machine_rom_unmap(struct device *d) {
    struct machine *m = d->machine;
    uint64_t chunks = rom_chunks(d->machine, d->gpa, d->size);
    if (!(atomic_fetch_and(&m->shared->rom_mapped, ~chunks) & chunks))
        return;
    atomic_fetch_add(&m->shared->rom_changes, 1);
    for (unsigned i = 0; i < m->vcpu_count; i++)
        machine_pend(m, i, ABI_PEND_ROM);
}

static bool ram_range(struct machine *m, uint64_t gpa, uint64_t len) {
    uint64_t offset = gpa - m->board->ram;
    return gpa >= m->board->ram && offset <= m->ram_size && len <= m->ram_size - offset;
}

const void *guest_ram(struct machine *m, uint64_t gpa, uint64_t len) {
    if (rom_is_mapped(m, gpa, len))
        return rom_at(m, gpa);
    return ram_range(m, gpa, len) ? m->ram + (gpa - m->board->ram) : NULL;
}

void *guest_ram_write_begin(struct machine *m, uint64_t gpa, uint64_t len) {
    return ram_range(m, gpa, len) ? m->ram + (gpa - m->board->ram) : NULL;
}

/* The bytes at gpa, of page number `page` of RAM and flash, and behind have changed: translated code of them goes. */
static void memory_changed(struct machine *m, uint64_t gpa, uint64_t page, uint64_t len) {
    bool any = false;
    /* The engine marks a page before it reads code from it; we wrote before we look at the mark. */
    atomic_thread_fence(memory_order_seq_cst);
    uint64_t last = (gpa + len - 1) & ~PAGE_MASK;
    for (uint64_t at = gpa & ~PAGE_MASK; at <= last; at += PAGE_SIZE, page++) {
        if (!__atomic_load_n(&m->code_pages[page], __ATOMIC_SEQ_CST))
            continue;
        uint32_t head = m->shared->dma_head;
        m->shared->dma_page[head % ABI_DMA_ENTRIES] = at;
        m->shared->dma_head = head + 1;
        any = true;
    }
    for (unsigned i = 0; any && i < m->vcpu_count; i++)
        machine_pend(m, i, ABI_PEND_DMA);
}

void guest_ram_write_end(struct machine *m, uint64_t gpa, uint64_t len) {
    if (len && ram_range(m, gpa, len))
        memory_changed(m, gpa, (gpa - m->board->ram) >> PAGE_SHIFT, len);
}

/* All mappings of a file follow it, those of the strategies, too; where memory is of no file, the VM's mappings of it
 * follow this one. */
void guest_ram_give_back(struct machine *m, uint64_t gpa, uint64_t len) {
    uint64_t first = ALIGN_UP(gpa, PAGE_SIZE), past = (gpa + len) & ~PAGE_MASK;
    thread_expect(THREADS(THREAD_DEVICES), "give memory back");
    if (!ram_range(m, gpa, len) || past <= first)
        return;
    uint64_t offset = first - m->board->ram;
    if (m->ram_fd >= 0)
        fallocate(m->ram_fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, (off_t)offset, (off_t)(past - first));
    else
        madvise(m->ram + offset, past - first, MADV_DONTNEED);
    guest_ram_write_end(m, first, past - first);
}

void machine_rom_changed(struct device *d, uint64_t offset, uint64_t len) {
    struct machine *m = d->machine;
    uint64_t gpa = d->gpa + offset;
    memory_changed(m, gpa, (machine_rom_offset(m) + gpa - m->board->flash) >> PAGE_SHIFT, len);
}

/* --- register accesses ------------------------------------------------------------------------ */
static bool has_size(const struct device *d, unsigned bytes) {
    unsigned most = d->ops->refused_above ? d->ops->refused_above : 8;
    return (bytes == 1 || bytes == 2 || bytes == 4 || bytes == 8) && bytes >= d->ops->refused_below && bytes <= most;
}

static bool device_takes(const struct device *d, uint64_t offset, unsigned bytes, bool write) {
    bool fits = has_size(d, bytes) && !(offset & (bytes - 1)) && bytes <= d->size - offset;
    return fits && (!d->ops->accepts || d->ops->accepts(d, offset, bytes, write));
}

/* The device that an access is for, NULL if there is none that takes it. */
static struct device *device_at(struct machine *m, uint64_t gpa, unsigned bytes, bool write) {
    for (unsigned i = 0; i < m->device_count; i++) {
        unsigned n = (m->device_last + i) % m->device_count;
        struct device *d = m->device[n];
        if (gpa >= d->gpa && gpa - d->gpa < d->size) {
            m->device_last = n;
            return device_takes(d, gpa - d->gpa, bytes, write) ? d : NULL;
        }
    }
    return NULL;
}

/* What the device sees of an access, once or several times. */
static unsigned device_bytes(const struct device *d, unsigned bytes) {
    unsigned least = d->ops->min_bytes, most = d->ops->max_bytes ? d->ops->max_bytes : 4;
    return bytes < least ? least : bytes > most ? most : bytes;
}

static uint64_t device_read(struct device *d, uint64_t gpa, unsigned bytes) {
    unsigned each = device_bytes(d, bytes);
    uint64_t value = 0;
    for (unsigned i = 0; i < bytes; i += each)
        value |= (d->ops->read(d, gpa - d->gpa + i, each) & MASK(8 * each)) << 8 * i;
    return value & MASK(8 * bytes);
}

static bool holds(struct device *d, uint64_t gpa) { return d->ops->holds && d->ops->holds(d, gpa - d->gpa); }

static void device_write(struct device *d, uint64_t gpa, unsigned bytes, uint64_t value) {
    unsigned each = device_bytes(d, bytes);
    value &= MASK(8 * bytes);
    for (unsigned i = 0; i < bytes; i += each)
        d->ops->write(d, gpa - d->gpa + i, value >> 8 * i & MASK(8 * each), each);
}

bool machine_has_posted(const struct machine *m) {
    return atomic_load(&m->shared->posted_tail) != atomic_load(&m->shared->posted_head);
}

void machine_drain_posted(struct machine *m) {
    struct abi_shared *s = m->shared;
    for (unsigned turn = 0; turn < ABI_POSTED_ENTRIES && machine_has_posted(m); turn++) {
        uint32_t tail = atomic_load(&s->posted_tail);
        /* Copied before it is checked: the engine's side is trusted no further than a guest. */
        struct abi_posted_entry e = *(volatile struct abi_posted_entry *)&s->posted[tail % ABI_POSTED_ENTRIES];
        struct device *d = device_at(m, e.gpa, e.size, true);
        if (d && holds(d, e.gpa))
            return;
        if (d)
            device_write(d, e.gpa, e.size, e.value);
        atomic_store(&s->posted_tail, tail + 1);
    }
    if (machine_has_posted(m))
        events_doorbell(m, ABI_DB_POSTED);
}

static void wake_waiting(struct machine *m) {
    atomic_fetch_add(&m->room, 1);
    syscall(SYS_futex, &m->room, FUTEX_WAKE_PRIVATE, INT_MAX, NULL, NULL, 0);
}

void machine_room(struct machine *m) {
    machine_drain_posted(m);
    wake_waiting(m);
}

/* A write that a device holds up waits in the thread of the vCPU that wrote, without the lock. False: the machine
 * stops. */
static bool wait_for_room(struct machine *m) {
    uint32_t seen = atomic_load(&m->room);
    if (m->state != MACHINE_RUNNING)
        return false;
    machine_unlock(m);
    syscall(SYS_futex, &m->room, FUTEX_WAIT_PRIVATE, seen, NULL, NULL, 0);
    machine_lock(m);
    return true;
}

bool machine_read(struct machine *m, uint64_t gpa, unsigned bytes, uint64_t *value) {
    machine_lock(m);
    machine_drain_posted(m);
    struct device *d = device_at(m, gpa, bytes, false);
    if (d)
        *value = device_read(d, gpa, bytes);
    machine_unlock(m);
    return d != NULL;
}

bool machine_write(struct machine *m, uint64_t gpa, unsigned bytes, uint64_t value) {
    struct device *d;
    machine_lock(m);
    do { /* also a posted write that found the ring full: those in there come first */
        machine_drain_posted(m);
        d = device_at(m, gpa, bytes, true);
    } while (d && holds(d, gpa) && wait_for_room(m));
    if (d && !holds(d, gpa))
        device_write(d, gpa, bytes, value);
    machine_unlock(m);
    return d != NULL;
}

void machine_notify(struct machine *m) {
    for (unsigned i = 0; i < m->device_count; i++) {
        struct device *d = m->device[i];
        if (d->virtio_slot < 0 || !d->ops->notify || d->own_bell)
            continue;
        uint64_t queues = atomic_exchange(&m->shared->virtio_notify[d->virtio_slot], 0);
        if (queues)
            d->ops->notify(d, queues);
    }
}

bool machine_finish(struct machine *m) {
    bool all = true;
    machine_lock(m);
    for (unsigned i = 0; i < m->device_count; i++) {
        struct device *d = m->device[i];
        all &= !d->ops->finish || d->ops->finish(d);
    }
    machine_unlock(m);
    return all;
}

static uint64_t machine_ram_va(const struct machine *m) {
    return m->vm->in_vm ? m->vm_base + ABI_VA_RAM : (uint64_t)m->ram;
}

const void *machine_engine_ptr(struct machine *m, uint64_t va, uint64_t len) {
    if (va >= m->arena_va && va - m->arena_va <= m->layout.total && len <= m->layout.total - (va - m->arena_va))
        return m->arena + (va - m->arena_va);
    for (unsigned i = 0; m->layout_kind == ABI_LAYOUT_RING0 && i < m->vcpu_count; i++) { /* code, where it runs */
        uint64_t at = va - VM_USER_CODE(m->boot->user_va, i);
        if (at <= m->layout.code_size && len <= m->layout.code_size - at)
            return m->arena + m->layout.code[i] + at;
    }
    uint64_t ram = machine_ram_va(m);                                        /* abi_boot is the engine's, too */
    if (va >= ram && va - ram <= m->memory && len <= m->memory - (va - ram)) /* with the flash */
        return m->ram + (va - ram);
    return NULL;
}

/* --- creation --------------------------------------------------------------------------------- */
static bool add_device(struct machine *m, struct device *d, const char *what, char err[ERR_BYTES]) {
    if (d) {
        m->device[m->device_count++] = d;
        return true;
    }
    if (!err[0])
        snprintf(err, ERR_BYTES, "%s: out of memory", what);
    return false;
}

/* Slots are given out from 0 upwards, drives first, so that the first drive is the guest's first disk. */
static bool add_virtio(struct machine *m, char err[ERR_BYTES]) {
    const struct options *o = m->options;
    const struct board *b = m->board;
    bool has_net = o->net_kind != NET_NONE;
    if (o->drives + 1 + has_net + (m->console != NULL) + o->shares + (o->vsock != NULL) + o->balloon >
        b->virtio_slots) {
        snprintf(err, ERR_BYTES, "more devices than the board has slots for: %u", b->virtio_slots);
        return false;
    }
    for (int slot = 0; slot < (int)b->virtio_slots; slot++) {
        uint64_t gpa = b->virtio + (uint64_t)slot * b->virtio_stride;
        unsigned spi = b->virtio_irq + (unsigned)slot, n = (unsigned)slot;
        struct device *d;
        if (n < o->drives)
            d = virtio_blk_create(m, gpa, spi, slot, o->drive[n].path, o->drive[n].readonly, err);
        else if ((n -= o->drives) == 0)
            d = virtio_rng_create(m, gpa, spi, slot);
        else if (n == 1 && has_net)
            d = virtio_net_create(m, gpa, spi, slot, err);
        else if (n == 1u + has_net && m->console)
            d = virtio_console_create(m, gpa, spi, slot, m->console);
        else if ((n -= 1u + has_net + (m->console != NULL)) < o->shares)
            d = virtio_fs_create(m, gpa, spi, slot, share_backend(n), o->share[n].tag, o->share[n].readonly);
        else if ((n -= o->shares) == 0 && o->vsock)
            d = virtio_vsock_create(m, gpa, spi, slot, o->vsock_cid, vsock_channel(), err);
        else if (n == (o->vsock != NULL) && o->balloon)
            d = m->balloon = virtio_balloon_create(m, gpa, spi, slot);
        else
            d = virtio_empty_create(m, gpa, spi, slot);
        if (!add_device(m, d, "virtio", err))
            return false;
    }
    return true;
}

static bool add_devices(struct machine *m, char err[ERR_BYTES]) {
    const struct board *b = m->board;
    for (unsigned bank = 0; bank < b->flash_banks; bank++)
        if (!add_device(m, firmware_flash(m, bank), "flash", err))
            return false;
    if (b->fw_cfg && !add_device(m, firmware_fw_cfg(m, err), "fw_cfg", err))
        return false;
    for (const struct board_device *d = b->device; d->create; d++)
        if (!add_device(m, d->create(m, d->gpa, d->irq, m->serial), d->what, err))
            return false;
    return add_virtio(m, err);
}

static bool choose_vm(struct machine *m, char err[ERR_BYTES]) {
    const struct options *o = m->options;
    char why[ERR_BYTES];
    if (o->vm == VM_INPROC || (o->vm == VM_AUTO && o->mmu_given && mmu_strategies[o->mmu]->needs_process)) {
        m->vm = &vm_inproc;
        return true;
    }
    if (vm_kvm_usable(why)) {
        m->vm = &vm_kvm;
        return true;
    }
    m->vm = &vm_inproc;
    if (o->vm == VM_KVM) {
        snprintf(err, ERR_BYTES,
                 "%.140s: without KVM there is --vm inproc, with --mmu soft (default), process or window", why);
        return false;
    }
    return true;
}

enum abi_mmu machine_default_mmu(bool in_vm, enum abi_layout layout) {
    char why[ERR_BYTES];
    if (!in_vm)
        return ABI_MMU_SOFT;
    return layout == ABI_LAYOUT_RING0 && kvm_has_ring0(ABI_MMU_DIRECT, why) ? ABI_MMU_DIRECT : ABI_MMU_WINDOW;
}

/* The strategy that this layout would have. */
static enum abi_mmu mmu_with(const struct machine *m, enum abi_layout layout) {
    const struct options *o = m->options;
    return o->mmu_given ? o->mmu : machine_default_mmu(m->vm->in_vm, layout);
}

static bool choose_layout(struct machine *m, char err[ERR_BYTES]) {
    const struct options *o = m->options;
    char why[ERR_BYTES];
    if (o->layout == LAYOUT_FLAT || !m->board->has_rings)
        return true;
    enum abi_mmu mmu = mmu_with(m, ABI_LAYOUT_RING0);
    const struct mmu_ops *ops = mmu_strategies[mmu];
    bool asked = o->layout == LAYOUT_RING0, needed = asked || ops->needs_ring3;
    if (!needed && (!m->vm->in_vm || !ops->shown_bytes))
        return true;
    if (m->vm->in_vm ? kvm_has_ring0(mmu, why) : (vm_kvm_usable(why), false)) {
        m->layout_kind = ABI_LAYOUT_RING0;
        return true;
    }
    if (!needed)
        return true;
    snprintf(err, ERR_BYTES, "%s%s: %.200s", asked ? "--layout ring0" : "--mmu ", asked ? "" : ops->name, why);
    return false;
}

struct machine_place machine_look(const struct options *o, const struct board *board) {
    struct machine m = {.options = o, .board = board};
    char err[ERR_BYTES];
    if (!board || !choose_vm(&m, err))
        return (struct machine_place){.guest = ""};
    choose_layout(&m, err);
    return (struct machine_place){board->guest, m.vm->in_vm, mmu_with(&m, m.layout_kind), m.layout_kind};
}

/* What the user asked for, or the fastest that the place has. */
static bool choose_mmu(struct machine *m, char err[ERR_BYTES]) {
    char why[ERR_BYTES];
    m->mmu = mmu_with(m, m->layout_kind);
    if (!mmu_strategies[m->mmu]->needs_paging || !m->vm->windows_reserve || m->vm->windows_reserve(m, why))
        return true;
    snprintf(err, ERR_BYTES, "--mmu %s: %.180s; --mmu soft needs none", mmu_strategies[m->mmu]->name, why);
    return false;
}

void machine_announce(struct machine *m) {
    char why[ERR_BYTES];
    if (m->options->vm == VM_AUTO && !m->vm->in_vm && !vm_kvm_usable(why))
        log_printf("graft: %s: running in this process instead, with --mmu %s\n", why, options_mmu_names[m->mmu]);
}

uint8_t *machine_alloc_pages(uint64_t size) {
    uint64_t huge = UINT64_C(2) << 20;
    uint8_t *p = mmap(NULL, size + huge, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (p == MAP_FAILED)
        return NULL;
    uint8_t *start = (uint8_t *)ALIGN_UP((uint64_t)p, huge);
    if (start > p)
        munmap(p, (size_t)(start - p));
    if (p + huge > start)
        munmap(start + size, (size_t)(p + huge - start));
    madvise(start, size, MADV_HUGEPAGE);
    return start;
}

static bool alloc_memory(struct machine *m, char err[ERR_BYTES]) {
    bool in_vm = m->vm->in_vm;
    m->ram_size = m->memory = m->options->memory;
    if (!m->probe)
        m->memory = ALIGN_UP(m->ram_size, ABI_ROM_CHUNK) + m->board->flash_banks * m->board->flash_bytes;
    layout_make(&m->layout, in_vm, mmu_strategies[m->mmu]->needs_paging, in_vm ? engine_image_size() : 0, m->vcpu_count,
                m->memory, code_cache_bytes(m));
    m->ram = m->vm->ram_alloc(m);
    m->arena = m->ram ? m->vm->arena_alloc(m, m->layout.total, err) : NULL;
    if (!m->arena) {
        if (!err[0])
            snprintf(err, ERR_BYTES, "cannot get %llu MiB of memory: %s", (unsigned long long)(m->ram_size >> 20),
                     strerror(errno));
        return false;
    }
    m->boot = (struct abi_boot *)(m->arena + m->layout.boot);
    m->shared = (struct abi_shared *)(m->arena + m->layout.shared);
    m->code_pages = m->arena + m->layout.code_pages;
    for (unsigned i = 0; i < m->vcpu_count; i++) {
        m->vcpu[i] = (struct vcpu){.machine = m, .index = i, .abi = (struct abi_vcpu *)(m->arena + m->layout.cpu[i])};
        m->vcpu[i].abi->timer_deadline = ~UINT64_C(0);
    }
    if (in_vm)
        engine_image_load(m->arena, m->vm_base);
    layout_boot(m, machine_ram_va(m));
    code_cache_load(m);
    return true;
}

static bool cpu_is_new(char err[ERR_BYTES]) {
    enum host_feature lacks = host_lacks();
    if (lacks != HOST_FEATURES)
        snprintf(err, ERR_BYTES, "this host's CPU is too old: it has no %s ('graft info' lists what is needed)",
                 host_feature_name(lacks));
    return lacks == HOST_FEATURES;
}

static bool build(struct machine *m, char err[ERR_BYTES]) {
    if (!cpu_is_new(err) || !choose_vm(m, err) || !choose_layout(m, err) || !choose_mmu(m, err) ||
        !alloc_memory(m, err))
        return false;
    m->boot->mmu = m->mmu;
    if (!(m->events = events_create(m))) {
        snprintf(err, ERR_BYTES, "cannot make the event loop: %s", strerror(errno));
        return false;
    }
    ahead_start(m);
    panic_start(m);
    save_start(m);
    if (!chardev_attach(m->serial, m) || (m->console && !chardev_attach(m->console, m))) {
        snprintf(err, ERR_BYTES, "out of memory");
        return false;
    }
    if (!add_devices(m, err) || !boot_load(m, err) || m->vm->create(m, err))
        return false;
    if (!gdb_attach(m) || !control_attach(m)) {
        snprintf(err, ERR_BYTES, "out of memory");
        return false;
    }
    uint64_t hz = m->vm->tsc_hz(m);
    m->tsc_hz = hz ? hz : run_tsc_hz();
    m->boot->tsc_hz = m->tsc_hz;
    return true;
}

struct machine *machine_create(const struct options *o, const struct boot_files *files, struct chardev *serial,
                               struct chardev *console, char err[ERR_BYTES]) {
    struct machine *m = calloc(1, sizeof(*m));
    err[0] = 0;
    if (!m) {
        snprintf(err, ERR_BYTES, "out of memory");
        return NULL;
    }
    m->options = o;
    m->files = files;
    m->board = files->board;
    m->serial = serial;
    m->console = console;
    m->vcpu_count = o->smp;
    m->ram_fd = -1;
    pause_init(m);
    if (build(m, err))
        return m;
    machine_destroy(m);
    return NULL;
}

struct machine *machine_create_probe(const struct options *o, char err[ERR_BYTES]) {
    struct machine *m = calloc(1, sizeof(*m));
    bool ok;
    err[0] = 0;
    if (!m)
        return NULL;
    m->options = o;
    m->vcpu_count = 1;
    m->ram_fd = -1;
    pause_init(m);
    m->probe = true;
    m->board = boards[0];
    m->layout_kind = o->layout == LAYOUT_RING0 ? ABI_LAYOUT_RING0 : ABI_LAYOUT_FLAT;
    m->vm = &vm_kvm;
    m->mmu = o->mmu;
    ok = alloc_memory(m, err) && (m->events = events_create(m)) && !m->vm->create(m, err);
    if (ok)
        m->tsc_hz = m->vm->tsc_hz(m);
    if (ok && m->tsc_hz)
        return m;
    machine_destroy(m);
    return NULL;
}

void machine_exit(struct machine *m, uint8_t status) {
    atomic_store(&m->exit_status, status);
    machine_stop(m, MACHINE_POWEROFF);
}

void machine_stop(struct machine *m, enum machine_state state) {
    int was = MACHINE_RUNNING;
    if (!atomic_compare_exchange_strong(&m->state, &was, (int)state)) {
        if (state == MACHINE_STOPPED && was == MACHINE_RESET)
            atomic_compare_exchange_strong(&m->state, &was, MACHINE_STOPPED);
        return;
    }
    for (unsigned i = 0; i < m->vcpu_count; i++)
        machine_pend(m, i, ABI_PEND_STOP);
    pause_wake(m);
    wake_waiting(m);
    events_wake(m);
}

/* What the devices took before they have their state would be lost. */
static void hold_input(struct machine *m, bool held) {
    if (m->serial)
        chardev_hold_input(m->serial, held);
    if (m->console)
        chardev_hold_input(m->console, held);
}

void machine_take_input(struct machine *m) { hold_input(m, false); }

enum machine_state machine_run(struct machine *m) {
    m->started_ns = event_now_ns();
    m->boot->tsc_base = run_tsc();
    if (m->files && m->files->resume) {
        hold_input(m, true);
        pause_request(m, snapshot_load, m->files->resume);
    }
    for (unsigned i = 0; i < m->vcpu_count; i++) {
        char name[16];
        snprintf(name, sizeof(name), "vcpu%u", i);
        m->vcpu[i].thread = thread_start(THREAD_VCPU, name, run_vcpu_thread, &m->vcpu[i]);
        if (!m->vcpu[i].thread) {
            log_printf("graft: cannot start a thread\n");
            machine_stop(m, MACHINE_BROKEN);
            break;
        }
    }
    events_loop(m);
    for (unsigned i = 0; i < m->vcpu_count; i++)
        if (m->vcpu[i].thread)
            thread_join(m->vcpu[i].thread);
    m->ended_ns = event_now_ns();
    ahead_stop(m);
    machine_lock(m);
    machine_drain_posted(m);
    machine_notify(m);
    vmcore_finish(m);
    machine_unlock(m);
    return (enum machine_state)m->state;
}

void machine_destroy(struct machine *m) {
    ahead_stop(m);
    semihost_close(m);
    if (m->vm)
        m->vm->destroy(m);
    for (unsigned i = 0; i < m->device_count; i++)
        m->device[i]->ops->destroy(m->device[i]);
    if (m->events) {
        if (m->serial)
            chardev_attach(m->serial, NULL);
        if (m->console)
            chardev_attach(m->console, NULL);
        gdb_attach(NULL);
        control_attach(NULL);
        events_destroy(m->events);
    }
    if (m->arena)
        m->vm->arena_free(m, m->layout.total);
    if (m->ram)
        munmap(m->ram, m->memory);
    for (unsigned i = 0; i < m->vcpu_count; i++)
        profile_free(&m->vcpu[i]);
    pause_free(m);
    free(m);
}
