/* SPDX-License-Identifier: Apache-2.0
 * Copyright The Graft Authors */
/*
 * monitor.h: what the parts of the monitor share with each other. Devices see
 * include/graft/device.h instead.
 *
 * Threads (docs/internals.md): main, which has signals and the terminal; devices, which makes the machine and runs
 * its event loop; one of each vCPU and more of disks and consoles. Devices and events are touched under
 * machine_lock() only.
 */
#ifndef GRAFT_MONITOR_H
#define GRAFT_MONITOR_H

#include "graft/abi.h"
#include "graft/board.h"
#include "hypervisor/options.h"
#include "hypervisor/pause.h"

#include <pthread.h>
#include <stdio.h>
#include <stdatomic.h>

#define ERR_BYTES 256

#define MACHINE_DEVICES (ABI_VIRTIO_SLOTS + 8)

enum machine_state {
    MACHINE_RUNNING,
    MACHINE_POWEROFF, /* the guest asked */
    MACHINE_RESET,    /* the guest asked */
    MACHINE_STOPPED,  /* the user asked: Ctrl-A X or a signal */
    MACHINE_PANICKED, /* the guest's kernel has given up (panic.c) */
    MACHINE_BROKEN,   /* the engine or the VM failed */
};

/* A lock that is had in the order in which it was asked for: who takes it again and again keeps nobody out. */
struct turn_lock {
    _Atomic uint32_t next, serving;
};

/* The beginning of the line that a console is in. */
struct console_line {
    char text[80];
    unsigned len;
};

/* What is known of a panic of the guest's kernel. Under the lock of the machine. */
struct panic {
    unsigned lines; /* that may still belong to its report, 0: there was none */
    bool ended;     /* the report is complete, and nothing was printed since */
    bool found;     /* it is one */
    struct event_timer quiet;
};

struct vcpu {
    struct machine *machine;
    struct profile *profile; /* NULL without --profile */
    unsigned index;
    struct abi_vcpu *abi;
    struct thread *thread; /* NULL: not started */
    _Atomic int tid;       /* of it */
    _Atomic bool done;
    uint64_t cpu_ns;    /* processor time of its thread, known when done */
    uint64_t calls[16]; /* by enum abi_call */
    uint64_t exits;     /* returns from KVM_RUN; those that a signal caused; doorbells that no ioeventfd took */
    uint64_t exits_signal, exits_doorbell;
};

/* Where everything lies in the arena, as offsets (layout.c). The arena is one piece of memory that holds all that the
 * engine has, guest RAM excepted. */
struct layout {
    uint64_t image, image_size;   /* VM only */
    uint64_t system, system_size; /* VM only: descriptor tables and page tables */
    uint64_t boot, shared, code_pages, heap;
    uint64_t cpu[ABI_MAX_VCPUS], vcpu_heap[ABI_MAX_VCPUS], code[ABI_MAX_VCPUS];
    uint64_t stack[ABI_MAX_VCPUS], fault_stack[ABI_MAX_VCPUS]; /* VM only */
    uint64_t pt_pool, pt_pool_size;                            /* with windows only */
    uint64_t roots;                                            /* page tables' roots; in a process with windows only */
    uint64_t reuse, reuse_size;                                /* code_cache.h */
    uint64_t heap_size, vcpu_heap_size, code_size;
    uint64_t total;
};

/* --- semihost.c: what the guest has open by semihosting calls --------------------------------- */
#define SEMIHOST_FILES 16
#define SEMIHOST_FEATURE_BYTES 5
enum semihost_kind { SEMIHOST_CLOSED, SEMIHOST_INPUT, SEMIHOST_OUTPUT, SEMIHOST_FEATURES, SEMIHOST_FILE };
struct semihost_file {
    enum semihost_kind kind;
    uint32_t at; /* of the features */
    int fd;      /* of a file */
};
struct semihost {
    struct semihost_file file[SEMIHOST_FILES];
    uint32_t error; /* SYS_ERRNO */
};

struct machine {
    const struct options *options;
    const struct boot_files *files;
    const struct board *board;
    const struct vm_ops *vm;
    void *vm_data;

    struct layout layout;
    uint8_t *arena;        /* the monitor's address of it */
    uint64_t arena_va;     /* the engine's */
    uint64_t vm_base;      /* in the VM: by what the ABI_VA_ addresses are moved */
    int64_t code_to_write; /* abi_boot.code_to_write of each vCPU */
    uint8_t *ram;
    int ram_fd;                /* the file that it is, -1: it is none */
    bool mapped_ram;           /* some of it is a snapshot's file */
    bool refused;              /* what the user wanted cannot be done */
    bool goes_back;            /* it does not start anew when it resets, but where the run began (--resume) */
    uint64_t ram_size, memory; /* memory: with that of the flash behind it (abi_boot.rom_offset) */
    enum abi_mmu mmu;          /* the strategy that was chosen */
    enum abi_layout layout_kind;
    struct abi_boot *boot;
    struct abi_shared *shared;
    uint8_t *code_pages;

    struct turn_lock lock;
    _Atomic uint32_t room; /* a futex that counts machine_room() */
    struct device *device[MACHINE_DEVICES];
    unsigned device_count, device_last; /* device_last: where the last look-up ended */
    unsigned shadow_count;
    struct chardev *serial, *console;
    struct device *fw_cfg;
    struct device *balloon; /* NULL: there is none */
    struct events *events;
    struct panic panic;
    struct pause pause;
    struct {
        struct thread *thread; /* NULL: there is none */
        _Atomic bool stop;
        uint64_t bytes; /* that it asked the host for; known when there is no thread any more */
    } ahead;
    struct {
        struct event_timer timer;
        size_t matched; /* so much of options.save_at has been printed */
        bool seen;      /* all of it */
    } save;
    struct semihost semihost;
    _Atomic int exit_status; /* the guest's own, if it powers off */

    struct vcpu vcpu[ABI_MAX_VCPUS];
    unsigned vcpu_count;
    _Atomic int state;  /* enum machine_state */
    _Atomic bool force; /* vCPUs that ignored ABI_PEND_STOP: leave now */
    bool probe;         /* runs the host probe instead of the engine */
    uint64_t tsc_hz;
    uint64_t started_ns, ended_ns;
};

/* A place where the engine can run. */
struct vm_ops {
    const char *name;
    bool in_vm; /* the engine has its own address space, stacks and page tables */
    /* arena_alloc(): memory for the arena, by m->layout; sets arena_va and code_to_write. NULL if there is none, with
     * err if it is not for want of memory. */
    uint8_t *(*arena_alloc)(struct machine *m, uint64_t size, char err[ERR_BYTES]);
    void (*arena_free)(struct machine *m, uint64_t size);
    /* ram_alloc(): m->memory of guest RAM and flash, zeroed, on a 2 MiB border. NULL if there is none. */
    uint8_t *(*ram_alloc)(struct machine *m);
    /* windows_reserve(): are there host addresses for a strategy with windows? Called before anything is allocated, if
     * the strategy needs them. NULL: any number, no need to ask. */
    bool (*windows_reserve)(struct machine *m, char err[ERR_BYTES]);
    /* create(): after everything in memory is in place. Nonzero and err if it cannot be done. */
    int (*create)(struct machine *m, char err[ERR_BYTES]);
    /* run(): life of a vCPU, in its thread; returns when the machine is no longer running. */
    void (*run)(struct machine *m, struct vcpu *v);
    void (*destroy)(struct machine *m);
    /* give(): the host is to give memory to [at, at+bytes) now, at most 2 MiB of the arena or RAM. False: nothing is
     * special there. NULL: nowhere. From any thread. */
    bool (*give)(struct machine *m, uint8_t *at, uint64_t bytes);
    uint64_t (*tsc_hz)(struct machine *m); /* 0: not known */
};
extern const struct vm_ops vm_kvm, vm_inproc;
/* vm_kvm_usable(): can /dev/kvm be used? Else why not. What was found the first time is the answer for ever. */
bool vm_kvm_usable(char err[ERR_BYTES]);
/* vm_kvm_has_la57(): are there addresses of 57 bits in a VM? If not, err says so. */
bool vm_kvm_has_la57(char err[ERR_BYTES]);
/* vm_inproc_open(): what the process is to read of itself, as long as it may open it. */
void vm_inproc_open(void);
/* The ioctl() requests of vm_kvm.c, and which kinds of threads make them (bits by enum thread_kind). */
struct vm_request {
    unsigned kinds;
    unsigned long request;
};
extern const struct vm_request vm_kvm_requests[];
extern const unsigned vm_kvm_request_count;

/* --- machine.c -------------------------------------------------------------------------------- */
/* machine_create(): NULL and err for mistakes of the user. machine_run(): until it stops; the state it stopped with. */
struct boot_files;
struct machine *machine_create(const struct options *o, const struct boot_files *files, struct chardev *serial,
                               struct chardev *console, char err[ERR_BYTES]);
/* machine_announce(): one line in the log if m runs in the process for want of KVM. Nothing if that was asked for. */
void machine_announce(struct machine *m);
/* machine_look(): what machine_create() has to find out about the host, but cannot in the sandbox; and what it will
 * choose. */
struct machine_place {
    const char *guest;
    bool in_vm;
    enum abi_mmu mmu;
    enum abi_layout layout;
};
struct machine_place machine_look(const struct options *o, const struct board *board);
/* machine_default_mmu(): the fastest strategy in the VM in that layout, or in this process. */
enum abi_mmu machine_default_mmu(bool in_vm, enum abi_layout layout);
/* machine_create_probe(): one without devices that runs the host probe. */
struct machine *machine_create_probe(const struct options *o, char err[ERR_BYTES]);
enum machine_state machine_run(struct machine *m);
/* machine_take_input(): the devices are about to have the state that a machine resumes with: input, which was held
 * until then, is for them. */
void machine_take_input(struct machine *m);
void machine_destroy(struct machine *m);
void machine_lock(struct machine *m);   /* device_lock(), for the monitor itself */
void machine_unlock(struct machine *m); /* also starts the output that was queued meanwhile */
/* machine_stop(): from any thread; the first state wins, but the user's stop wins over the guest's reset. */
void machine_stop(struct machine *m, enum machine_state state);
/* machine_pend(): sets pending bits of a vCPU and wakes it. */
void machine_pend(struct machine *m, unsigned vcpu, uint32_t bits);
bool machine_read(struct machine *m, uint64_t gpa, unsigned bytes, uint64_t *value);
bool machine_write(struct machine *m, uint64_t gpa, unsigned bytes, uint64_t value);
/* machine_drain_posted(), machine_notify(): what doorbells ask for. The lock is held. Some posted writes may be left:
 * their device holds them up, or there were too many for one turn (then the doorbell rings again).
 * machine_room(): a device takes posted writes again, for which vCPUs may be waiting.
 * machine_has_posted(): is there any left? */
void machine_drain_posted(struct machine *m);
void machine_notify(struct machine *m);
/* machine_finish(): device_ops.finish() of all devices. */
bool machine_finish(struct machine *m);
void machine_room(struct machine *m);
bool machine_has_posted(const struct machine *m);
/* machine_rom_offset(): where the flash lies behind RAM, in bytes of m->ram; 0: there is none. */
uint64_t machine_rom_offset(const struct machine *m);
/* machine_engine_ptr(): the engine's [va, va+len) for the monitor; NULL if that is not all engine memory, RAM or
 * flash. */
const void *machine_engine_ptr(struct machine *m, uint64_t va, uint64_t len);

/* machine_alloc_pages(): zeroed memory on a 2 MiB border, in huge pages if the host has them. NULL if there is none. */
uint8_t *machine_alloc_pages(uint64_t size);

/* --- layout.c --------------------------------------------------------------------------------- */
/* layout_make(): windows: there is to be a pool of page tables. reuse: bytes for code_cache_load(); 0: no block is kept
 * for later. */
void layout_make(struct layout *l, bool in_vm, bool windows, uint64_t image_size, unsigned vcpus, uint64_t memory,
                 uint64_t reuse);
/* layout_boot(): fills boot and shared for the engine, which sees the arena at va. */
void layout_boot(struct machine *m, uint64_t ram_va);

/* --- vm_tables.c: what the processor in the VM reads ------------------------------------------ */
#define VM_RAM_PA UINT64_C(0x100000000) /* VM-physical address of guest RAM; that of the arena is 0 */
#define VM_DOORBELL_PA UINT64_C(0xf0000000)
struct vm_tables {
    uint64_t gdt, idt, tss[ABI_MAX_VCPUS], pml4[ABI_MAX_VCPUS]; /* offsets in the arena */
    uint64_t root[ABI_MAX_VCPUS];                               /* what CR3 is at first: pml4, or a table above it */
    uint16_t gdt_limit, idt_limit, tss_limit;
    uint64_t entry, syscalls;
};
#define VM_SYSTEM_BYTES (2u << 20)
/* vm_tables_build(): descriptor tables and page tables in the arena. */
int vm_tables_build(struct machine *m, struct vm_tables *t, char err[ERR_BYTES]);
/* engine_image(): the embedded ELF. engine_image_size(): bytes its segments take from ABI_VA_ENGINE on. */
extern const uint8_t engine_image[], engine_image_end[];
uint64_t engine_image_size(void);
/* engine_image_load(): into the arena, to run at base + ABI_VA_ENGINE. engine_image_rights(): page-table bits for a
 * page of it. */
void engine_image_load(uint8_t *arena, uint64_t base);
struct image_rights {
    bool write, exec;
};
struct image_rights engine_image_rights(uint64_t offset);

/* --- run.c ------------------------------------------------------------------------------------ */
/* run_call(): serves v->abi->call. False: the vCPU's life is over. */
bool run_call(struct machine *m, struct vcpu *v);
void run_vcpu_thread(void *arg);
void run_wake(struct abi_vcpu *abi);
/* run_arg(): argument n of the call in progress, read once: the engine's side is trusted no further than a guest, and
 * another vCPU could change what was checked. */
uint64_t run_arg(struct abi_vcpu *abi, unsigned n);
/* run_pause(): the vCPU sleeps for so long, or until something is pending. */
void run_pause(struct machine *m, struct abi_vcpu *abi, uint64_t ns);
/* semihost_call(): serves ABI_CALL_SEMIHOST as run_call() does. */
bool semihost_call(struct machine *m, struct abi_vcpu *abi);
void semihost_close(struct machine *m); /* all files */
uint64_t run_tsc(void);
uint64_t run_tsc_hz(void); /* measured */

/* --- supervise.c: the main thread, which always answers --------------------------------------- */
/* supervise(): runs body in the thread of the devices and returns what it returns; -1 if there can be no thread. If the
 * user has asked for the end and body does not come to one in time, the process ends with the status
 * stopped(signal). */
int supervise(int (*body)(void *arg), void *arg, int (*stopped)(int signal));
/* supervise_machine(): this is what a stop is to stop from now on. NULL: nothing, before it is destroyed. */
void supervise_machine(struct machine *m);
/* supervise_stop(): the user wants the end: by a signal, or by a key (0). From any thread, never blocks. */
void supervise_stop(int signal);
/* supervise_save(): the user wants the machine saved (--save). From any thread, never blocks. */
void supervise_save(void);
/* supervise_signals(): taken() is asked of each signal first, in the main thread; true: it has taken it. NULL: nobody
 * is. */
void supervise_signals(bool (*taken)(int signal));
bool supervise_stopping(void);     /* has that been asked for? Then no one has much time */
int supervise_signal(void);        /* by which signal; 0: by a key, or it has not */
uint64_t supervise_leave_at(void); /* when all is to be over (event_now_ns()); 0: that has not been asked for */

/* --- thread.c (the rest is in device.h) ------------------------------------------------------- */
/* thread_with_stack(): calls it with a stack that is large enough, also where `ulimit -s` leaves none. -1: there is no
 * memory for it. */
int thread_with_stack(int (*fn)(int argc, char **argv), int argc, char **argv);
void thread_is(enum thread_kind kind); /* of the caller, which thread_start() did not start */

/* --- event.c ---------------------------------------------------------------------------------- */
struct events *events_create(struct machine *m);
void events_destroy(struct events *e);
/* events_loop(): serves events until the machine's state is not RUNNING and all vCPU threads are done. */
void events_loop(struct machine *m);
void events_doorbell(struct machine *m, unsigned n);   /* a doorbell that came by a call */
int events_doorbell_fd(struct machine *m, unsigned n); /* an eventfd for it */

/* --- ahead.c ---------------------------------------------------------------------------------- */
/* ahead_start(): the thread that has the host give memory, for a machine with memory and an event loop. Without one,
 * if there can be none, or it would not pay, all is the same but slower. ahead_stop(): before any of that goes. */
void ahead_start(struct machine *m);
void ahead_stop(struct machine *m);

/* --- chardev.c -------------------------------------------------------------------------------- */
/* chardev_open(): name: "serial", "console"; spec: as in --serial. NULL and err if it cannot be had. chardev_start():
 * takes the terminal, and starts its threads; false: there can be none, for errno. chardev_close(): writes what is
 * left, as long as someone reads it and the user has not asked for the end. */
struct chardev *chardev_open(const char *name, const char *spec, char err[ERR_BYTES]);
bool chardev_start(struct chardev *c);
void chardev_close(struct chardev *c);
/* chardev_attach(): to a machine with an event loop, whose device then listens; NULL: from it. False: out of memory. */
bool chardev_attach(struct chardev *c, struct machine *m);
/* chardev_hold_input(): there is none for the device, whatever there is, while it is held. chardev_flush(): what was
 * queued is to be written now. */
void chardev_hold_input(struct chardev *c, bool held);
void chardev_flush(struct chardev *c);
/* chardev_open_socket(): the guest's end of a connection, whose bytes are nobody's to look at. It is closed with it. */
struct chardev *chardev_open_socket(const char *name, int fd, char err[ERR_BYTES]);
/* chardev_take_terminal(): of standard input, if it is one; lines: what is written there still has plain line ends. */
void chardev_take_terminal(bool lines);
void chardev_raw(void);     /* the terminal as the guest wants it */
void chardev_restore(void); /* and as it was, for good; async-signal-safe */
void chardev_resized(void); /* the terminal's window has another size */

/* --- panic.c ---------------------------------------------------------------------------------- */
/* panic_start(): when there are events. panic_look(): at what a console prints. panic_reset(): the guest resets the
 * machine. */
void panic_start(struct machine *m);
void panic_look(struct machine *m, struct console_line *l, const uint8_t *buf, size_t len);
void panic_reset(struct machine *m);

/* --- save.c: --save --------------------------------------------------------------------------- */
/* save_start(): when there are events. save_set_timer(): a machine that was loaded begins to run. save_now(): from any
 * thread. save_look(): at what a console prints. save_ask(): in the devices' thread: begins to save it; done(): there,
 * too, later, why: what went wrong, NULL: nothing; it may not be called if the machine ends. False and err: it cannot
 * be. save_is_at(): is that the path of --save's file, or its last part? */
bool save_ask(struct machine *m, void (*done)(void *arg, const char *why), void *arg, char err[ERR_BYTES]);
bool save_is_at(const struct machine *m, const char *name);
/* save_go_back(), save_began_at(): the same for the snapshot that the run began with (--resume): the machine ends, and
 * the next one is that; done() is called when it is. */
bool save_go_back(struct machine *m, void (*done)(void *arg, const char *why), void *arg, char err[ERR_BYTES]);
bool save_began_at(const struct machine *m, const char *name);
void save_start(struct machine *m);
void save_set_timer(struct machine *m);
void save_now(struct machine *m);
void save_look(struct machine *m, const uint8_t *buf, size_t len);

/* --- log.c ------------------------------------------------------------------------------------ */
/* log_open(): -D and the map of -d perf, as the options say. */
bool log_open(const struct options *o, char err[ERR_BYTES]);
void log_text(const char *text, size_t len);
/* log_later(): what the calling thread says from now on is written by another one: it must not wait, as it has the
 * device lock. log_finish(): waits until that is written. */
void log_later(bool later);
void log_finish(void);
/* log_keep(): closes all descriptors but 0 to 2, this one, and the log's. */
void log_keep(int fd);
void log_start(void); /* the thread for what is said under the device lock, before vCPUs, which start none */
/* log_disassemble(): code of a machine, an ELF file's e_machine. */
void log_disassemble(const uint8_t *code, size_t len, uint64_t address, unsigned machine);
void log_perf(uint64_t host, uint64_t bytes, uint64_t guest_pc);

struct output;
/* --- profile.c -------------------------------------------------------------------------------- */
/* profile_open(): before the run, with --profile: its file, and this program's own. profile_start(), profile_stop(): in
 * the vCPU's thread; nothing without --profile. profile_sample(): one found at pc. profile_block(): in its thread, a
 * block is now at host (nothing without --symbols). symbols_open(): --symbols. symbols_name(): the guest's function at
 * a virtual address; NULL: none is known. */
bool profile_open(struct output *to, const char *path, char err[ERR_BYTES]);
void profile_start(struct vcpu *v);
void profile_sample(struct vcpu *v, uint64_t pc);
void profile_block(struct vcpu *v, uint64_t host, uint64_t bytes, uint64_t guest_pc);
bool symbols_open(const char *path, char err[ERR_BYTES]);
const char *symbols_name(uint64_t va);
void profile_stop(struct vcpu *v);
void profile_free(struct vcpu *v);
int profile_write(struct machine *m, struct output *to, char err[ERR_BYTES]);

/* --- stats.c, info.c, probe.c, probe_process.c ------------------------------------------------ */
int stats_write(struct machine *m, struct output *to, char err[ERR_BYTES]);
int info_main(const struct options *o);
/* kvm_flavour(): "hw", "pvm" or "none". */
const char *kvm_flavour(void);
/* kvm_has_ring0(): can ABI_LAYOUT_RING0 run here with that strategy? Runs code in ring 0 to find out, the first time,
 * which has to be before sandbox_enter(). text: what it costs, or why not. */
bool kvm_has_ring0(enum abi_mmu mmu, char text[ERR_BYTES]);
/* kvm_best(): the fastest layout and strategy that can run here, by kvm_has_ring0(). */
enum abi_mmu kvm_best(enum abi_layout *layout);
/* probe_print(): what operations cost in a VM, if there can be one; probe_process_print(): in this process. */
void probe_print(void);
void probe_process_print(void);

/* --- disk.c: for devices there is disk_open() ------------------------------------------------- */
/* disk_claim(): is that open file a raw image that nobody else uses (but to read it, if we only do)? Nobody will, as
 * long as it is open. disks_open(): the images of all drives, and what serves them where they are not raw: false and
 * err if one cannot be had, is of another format, is in use or given twice. Before there are threads. disks_have(): is
 * this the file of one of them? disks_are_served(): does a process serve one? disks_format(): "raw" or "qcow2", the
 * n-th. */
bool disk_claim(int fd, const char *path, bool readonly, char err[ERR_BYTES]);
bool disks_open(const struct options *o, char err[ERR_BYTES]);
bool disks_have(int fd);
bool disks_are_served(void);
const char *disks_format(unsigned n);
void disks_close(void);

/* --- disk_server.c ---------------------------------------------------------------------------- */
/* disk_server_start(): a process that serves that drive, whose image has the format ("raw", "qcow2"). NULL and why if
 * there can be none. It ends when the connections do, and has written all by then. */
struct nbd;
struct nbd *disk_server_start(const struct drive *d, const char *format, bool sandbox, char why[ERR_BYTES]);

/* --- network.c -------------------------------------------------------------------------------- */
/* network_open(): starts the process that has the user network, if one is wanted. Before there are threads. False and
 * err if there can be none. network_close(): ends it. */
bool network_open(const struct options *o, char err[ERR_BYTES]);
void network_close(void);

/* --- vsock.c ---------------------------------------------------------------------------------- */
/* vsock_open(): starts the process that has the guest's connections to sockets of this host (--vsock). Before there are
 * threads. False and err if there can be none. vsock_channel(): for virtio_vsock_create(). vsock_close(): ends it. */
bool vsock_open(const struct options *o, char err[ERR_BYTES]);
int vsock_channel(void);
void vsock_close(void);

/* --- share.c ---------------------------------------------------------------------------------- */
/* shares_start(): starts what serves the shared folders (--share). shares_open(): waits until each is ready. Before
 * there are threads. False and err if one cannot be had. share_backend(): that of the folder that was given as number
 * n. shares_close(): when there is no machine any more. */
struct vhost_user;
bool shares_start(const struct options *o, char err[ERR_BYTES]);
bool shares_open(char err[ERR_BYTES]);
struct vhost_user *share_backend(unsigned n);
void shares_close(void);

/* --- files.c ---------------------------------------------------------------------------------- */
struct file {
    uint8_t *data;
    size_t len;
};
/* file_read(): look, if there is one, judges the first LOADER_HEAD bytes before more is read. */
typedef bool file_look(const struct file *head, const char *path, void *arg, char err[ERR_BYTES]);
bool file_read(struct file *f, const char *path, uint64_t max, file_look *look, void *arg, char err[ERR_BYTES]);
/* struct boot_file: a file that is loaded as it is when a machine starts: in memory, or its beginning, and the open
 * file. boot_file_read(): keep, if there is one, says by the beginning whether a regular file may stay where it is. */
struct boot_file {
    struct file file; /* all of it, or the first LOADER_HEAD bytes */
    int fd;           /* -1: all of it is in memory */
    uint64_t len;
};
typedef bool boot_file_keep(const struct file *head);
bool boot_file_read(struct boot_file *in, const char *path, uint64_t max, boot_file_keep *keep, file_look *look,
                    void *arg, char err[ERR_BYTES]);
void boot_file_free(struct boot_file *in);
bool file_write(const char *path, const void *data, size_t len, char err[ERR_BYTES]);
/* A file that is written to at the end of a run. output_open(): creates or empties it, so that one that cannot be
 * written is known before the run; not if it is one of the guest's disks. output_close(): false and err if not all
 * could be written. */
struct output {
    const char *path;
    FILE *stream; /* NULL: not open */
};
bool output_open(struct output *to, const char *path, char err[ERR_BYTES]);
bool output_close(struct output *to, char err[ERR_BYTES]);
void file_free(struct file *f);

#endif
