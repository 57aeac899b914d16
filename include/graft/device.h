/* SPDX-License-Identifier: Apache-2.0
 * Copyright The Graft Authors */
/*
 * device.h: the contract of a device in the monitor. A device is one file in
 * devices/ with a struct device_ops and a creation function, declared below.
 * Devices see this header and libc; never KVM, never the engine.
 *
 * Everything runs under the machine's device lock, in a vCPU's thread (register
 * access) or in the thread of the devices (callbacks, doorbells); a device needs no
 * lock of its own. Nothing there may block: what can, a device does in threads of its
 * own. Those of a disk take the lock to look at the queue and to say what came out
 * (device_lock()); others report through an eventfd.
 */
#ifndef GRAFT_DEVICE_H
#define GRAFT_DEVICE_H

#include "graft/base.h"
#include "graft/state.h"

struct device;
struct machine;

struct device_ops {
    const char *name; /* "pl011" */
    /* Register access: inside the device, naturally aligned, of min_bytes (0: 1) to max_bytes (0: 4). The bus sees to
     * that as QEMU's does: what is wider is split, lower address first; what is narrower is made into an access of
     * min_bytes at its own offset: the guest gets the low part of what is read, and what it writes has zeroes above. */
    uint64_t (*read)(struct device *d, uint64_t offset, unsigned bytes);
    void (*write)(struct device *d, uint64_t offset, uint64_t value, unsigned bytes);
    unsigned min_bytes, max_bytes;
    unsigned refused_below, refused_above; /* such an access is an external abort; 0: none is */
    /* accepts(): is there a register for that access, which is of 1, 2, 4 or 8 bytes? Else it is an external abort.
     * NULL: there always is. */
    bool (*accepts)(const struct device *d, uint64_t offset, unsigned bytes, bool write);
    /* holds(): are posted writes (machine_post_writes()) to that offset to wait? Until machine_room(). NULL: never. */
    bool (*holds)(struct device *d, uint64_t offset);
    void (*notify)(struct device *d, uint64_t queues); /* virtio: doorbell, bit mask of queue indices; NULL otherwise */
    /* finish(): the machine has stopped: the device brings to an end what it was asked for, and nobody asks for more.
     * False: not done yet; it is asked again after events_wake(). NULL: nothing to bring to an end. */
    bool (*finish)(struct device *d);
    /* Snapshots. state: what the device's structure, which begins with struct device, has of it. ready(): may it be
     * saved now? 1: yes; 0: not yet, it is asked again after a moment; -1: not as things are, with one line in err.
     * NULL: always. loaded(): the state was written over: what follows from it is made again. False: there is no such
     * state. NULL: nothing follows from it. */
    const struct state_field *state;
    int (*ready)(struct device *d, char err[256]);
    bool (*loaded)(struct device *d);
    void (*destroy)(struct device *d); /* without the lock: end threads, flush data, close files */
};

struct device {
    const struct device_ops *ops;
    struct machine *machine;
    uint64_t gpa; /* base of its registers */
    uint64_t size;
    unsigned spi;                         /* its interrupt: a bit of abi_shared.spi_level. Arm: interrupt id - 32 */
    int virtio_slot;                      /* -1 if it is not virtio-mmio */
    const struct state_field *more_state; /* as ops->state; NULL: that is all */
    bool own_bell;                        /* its notifications go to a descriptor of its own, not to ops->notify() */
};

/* --- services of the machine (hypervisor/machine.c) ------------------------------------------- */
/* machine_set_irq(): level of the device's SPI. virtio transports use machine_virtio_interrupt(). */
void machine_set_irq(struct device *d, bool level);
/* machine_virtio_interrupt(): ORs bits into the slot's InterruptStatus and makes the vCPU look.
 * machine_virtio_status(): reads it. machine_virtio_ack(): clears bits (reset). */
void machine_virtio_interrupt(struct device *d, uint32_t bits);
uint32_t machine_virtio_status(struct device *d);
/* machine_virtio_legacy(): are its virtio-mmio transports version 1? */
bool machine_virtio_legacy(const struct machine *m);
void machine_virtio_ack(struct device *d, uint32_t bits);
/* machine_post_writes(): writes to [offset, offset+size) of d may arrive late, without an exit.
 * machine_shadow(): a register whose reads are served from memory; returns where to store its value. */
void machine_post_writes(struct device *d, uint64_t offset, uint32_t size);
_Atomic uint32_t *machine_shadow(struct device *d, uint64_t offset);

/* machine_semihosting(): may the guest make semihosting calls? */
bool machine_semihosting(const struct machine *m);
/* machine_power(): the guest ends the machine, or resets it. */
void machine_power(struct machine *m, bool reset);
/* machine_exit(): it powers off, and the run's exit status is to be that. */
void machine_exit(struct machine *m, uint8_t status);
/* machine_ring(): notifies a queue of the virtio device d, as the driver does: for what a device has put off. */
void machine_ring(struct device *d, unsigned queue);
/* device_lock(): for threads of a device's own. While they have the lock they may do what a callback may, but no more
 * with timers and descriptors than event_own_bell()'s: those are the event thread's. Not for long, and nothing that
 * waits. */
void device_lock(struct machine *m);
void device_unlock(struct machine *m);
/* log_printf(): a line for the user, in the log. From any thread. */
void log_printf(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

/* guest_ram(): checked access to guest RAM: a pointer to [gpa, gpa+len), or NULL if that is not all RAM.
 * Reads only; a device that writes uses guest_ram_write_begin() and _end() so that translated code of those pages is
 * dropped. */
const void *guest_ram(struct machine *m, uint64_t gpa, uint64_t len);
void *guest_ram_write_begin(struct machine *m, uint64_t gpa, uint64_t len);
void guest_ram_write_end(struct machine *m, uint64_t gpa, uint64_t len);
/* guest_ram_give_back(): the guest does not want to know what is in the whole pages of [gpa, gpa+len), which is RAM:
 * the host may have them until they are touched again. They are zero then, or, where a machine was resumed, what they
 * were in the snapshot. Not in a vCPU's thread. */
void guest_ram_give_back(struct machine *m, uint64_t gpa, uint64_t len);

/* Flash is memory to those who read it, and registers to those who write. machine_rom(): where the bytes of the device
 * are; the device has seen to what is in there. machine_rom_map(): the chunk (ABI_ROM_CHUNK) at offset reads as memory
 * from now on; until then, reads and fetches are the device's. machine_rom_unmap(): all of it is a device again, before
 * the access that led here has ended. machine_rom_changed(): the device has written bytes. */
#define DEVICE_ROM_CHUNK (UINT64_C(2) << 20)
uint8_t *machine_rom(struct device *d);
void machine_rom_map(struct device *d, uint64_t offset);
void machine_rom_unmap(struct device *d);
void machine_rom_changed(struct device *d, uint64_t offset, uint64_t len);

/* --- threads (hypervisor/thread.c) ------------------------------------------------------------ */
/* What each kind may do is in docs/internals.md. ANY: none of ours, as in a test. */
enum thread_kind {
    THREAD_ANY,
    THREAD_MAIN,
    THREAD_DEVICES,
    THREAD_VCPU,
    THREAD_DISK,
    THREAD_CONSOLE,
    THREAD_EXEC,
    THREAD_MEMORY,
    THREAD_NETWORK, /* the one of that process (hypervisor/network.c) */
    THREAD_VSOCK,   /* and of that one (hypervisor/vsock.c) */
};
#define THREADS(kind) (1u << (kind))
/* thread_start(): a thread of that kind; name is what ps and debuggers show, 15 bytes. NULL if there can be none.
 * thread_kick(): makes a system call that it waits in return with EINTR; none that it is only about to make, so repeat
 * it. thread_join(): waits for its end and frees it. */
struct thread;
struct thread *thread_start(enum thread_kind kind, const char *name, void (*fn)(void *arg), void *arg);
void thread_kick(struct thread *t);
void thread_join(struct thread *t);
/* thread_expect(): aborts if the calling thread is of none of those kinds, a sum of THREADS(): it must not do what. */
void thread_expect(unsigned kinds, const char *what);
enum thread_kind thread_kind(void);

/* --- events (hypervisor/event.c): callbacks in the devices' thread, device lock held ---------- */
struct event_fd;
typedef void event_fn(void *arg, uint32_t events); /* EPOLLIN, EPOLLOUT ... */
struct event_fd *event_add_fd(struct machine *m, int fd, uint32_t events, event_fn *fn, void *arg);
void event_mod_fd(struct event_fd *e, uint32_t events);
void event_del_fd(struct event_fd *e);
/* A timer lies in its owner's memory from event_add_timer() to event_del_timer(), so that it can always be had. */
struct event_timer {
    struct events *events;
    void (*fn)(void *arg);
    void *arg;
    uint64_t at; /* 0: not set */
    struct event_timer *next;
};
void event_add_timer(struct machine *m, struct event_timer *t, void (*fn)(void *arg), void *arg);
void event_set_timer(struct event_timer *t, uint64_t monotonic_ns); /* 0 = stop */
void event_del_timer(struct event_timer *t);
uint64_t event_now_ns(void); /* CLOCK_MONOTONIC */
/* event_own_bell(): from now on the doorbell of the virtio device d adds to the eventfd fd: for a thread of the
 * device's own. At creation. */
void event_own_bell(struct device *d, int fd);
void events_wake(struct machine *m); /* look at the machine's state and ask finish() again; from any thread */

/* --- character back ends (hypervisor/chardev.c): stdio, file, pty ----------------------------- */
struct chardev;
/* chardev_listen(): ready(arg) is called in the devices' thread when something was typed, when there is room again, and
 * when the size of the window is another. It may be called for nothing.
 * chardev_read(): what was typed; 0 if there is nothing: ready() comes when there is. chardev_ended(): there is
 * nothing, and never will be, as the input is at its end. chardev_write(): queues bytes for output, returns how many
 * were taken: all of them if there is room, or nobody who reads. chardev_room(): how many would be. Less than
 * CHARDEV_FULL means that the output is not taken fast enough: ready() comes when there is plenty of room again.
 * chardev_size(): of the window, in characters, 0 if unknown; chardev_has_size(): is there one? */
#define CHARDEV_FULL 4096
void chardev_listen(struct chardev *c, void (*ready)(void *arg), void *arg);
size_t chardev_read(struct chardev *c, void *buf, size_t len);
bool chardev_ended(struct chardev *c);
size_t chardev_write(struct chardev *c, const void *buf, size_t len);
size_t chardev_room(struct chardev *c);
bool chardev_has_size(const struct chardev *c);
void chardev_size(const struct chardev *c, uint16_t *columns, uint16_t *rows);

/* --- disks (hypervisor/disk.c) ---------------------------------------------------------------- */
struct nbd;
struct disk_source {
    int fd;             /* a descriptor of its own; -1: */
    struct nbd *server; /* it is served by this (devices/nbd.h), which stays the disk's */
    bool guessed;       /* nobody said that the image is raw: it must not begin to look like another kind */
};
/* disk_open(): the image at path, which was opened and locked before; false and err if it was not. */
bool disk_open(const char *path, bool readonly, struct disk_source *s, char err[256]);

/* --- the user network (hypervisor/network.c) -------------------------------------------------- */
/* network_begin(): a network that knows of nothing yet. A non-blocking socket that stays open: its packets are Ethernet
 * frames; those that come from it may be several, each behind its length (uint32_t). -1 and err if there can be none.
 * It waits for the process that has it: not under the device lock. */
int network_begin(char err[256]);

/* --- creation: each file of devices/ exports one function; errors are reported through err (one line), NULL returned
 * --- */
struct device *pl011_create(struct machine *m, uint64_t gpa, unsigned spi, struct chardev *c);
/* Intel's command set. fd: what its contents are, from the file's first byte on: read when needed, written as they
 * change, behind the file's end erased. flip: what the file's bytes are XORed with. The descriptor stays the
 * caller's. */
struct device *cfi_flash_create(struct machine *m, uint64_t gpa, uint64_t size, int fd, uint8_t flip, bool readonly);
/* QEMU's way to hand files to firmware. The functions that add take over data, which is malloc'ed. False: no memory, or
 * the name is taken or too long. */
struct device *fw_cfg_create(struct machine *m, uint64_t gpa);
bool fw_cfg_add(struct device *d, uint16_t key, void *data, size_t len);
bool fw_cfg_add_file(struct device *d, const char *name, void *data, size_t len);
struct device *goldfish_rtc_create(struct machine *m, uint64_t gpa, unsigned irq);
struct device *sifive_test_create(struct machine *m, uint64_t gpa);
struct device *uart16550_create(struct machine *m, uint64_t gpa, unsigned irq, struct chardev *c);
/* Its input line 3 is the board's power key. pl061_press(): it is pressed for a moment. */
#define PL061_POWER (1u << 3)
struct device *pl061_create(struct machine *m, uint64_t gpa, unsigned spi);
void pl061_press(struct device *d);
struct device *pl031_create(struct machine *m, uint64_t gpa, unsigned spi);
struct device *virtio_empty_create(struct machine *m, uint64_t gpa, unsigned spi, int slot); /* DeviceID 0 */
struct device *virtio_blk_create(struct machine *m, uint64_t gpa, unsigned spi, int slot, const char *path,
                                 bool readonly, char err[256]);
/* What a disk has done for the guest, of virtio_blk_create(); under the device lock. */
struct disk_counts {
    uint64_t reads, writes, flushes, failed; /* requests; failed: whatever they were */
    uint64_t read_bytes, written_bytes;
};
struct disk_counts virtio_blk_counts(const struct device *d);
struct device *virtio_console_create(struct machine *m, uint64_t gpa, unsigned spi, int slot, struct chardev *c);
struct device *virtio_net_create(struct machine *m, uint64_t gpa, unsigned spi, int slot,
                                 char err[256]); /* libslirp user network */
/* A folder called tag, of up to 36 bytes, whose requests the process behind backend carries out, or those that only
 * read. backend stays the caller's, and serves the next machine, too. */
struct vhost_user;
struct device *virtio_fs_create(struct machine *m, uint64_t gpa, unsigned spi, int slot, struct vhost_user *backend,
                                const char *tag, bool readonly);
struct device *virtio_rng_create(struct machine *m, uint64_t gpa, unsigned spi, int slot);
/* virtio_balloon_ask(): the guest is to have that many bytes in the balloon, and not to use them;
 * virtio_balloon_bytes(): what it says that it has. With the device lock. */
struct device *virtio_balloon_create(struct machine *m, uint64_t gpa, unsigned spi, int slot);
void virtio_balloon_ask(struct device *d, uint64_t bytes);
uint64_t virtio_balloon_bytes(const struct device *d);
/* The guest's CID. channel: a non-blocking socket of packets, at whose other end there is a struct vsock
 * (devices/vsock.h): packets of the guest, or the number of the device's life, 4 bytes; and struct vsock_packet. It
 * stays the caller's, and serves the next machine, too. */
struct device *virtio_vsock_create(struct machine *m, uint64_t gpa, unsigned spi, int slot, uint32_t cid, int channel,
                                   char err[256]);

#endif
