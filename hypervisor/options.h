/* SPDX-License-Identifier: Apache-2.0
 * Copyright The Graft Authors */
/* options.h: the command line, parsed. */
#ifndef GRAFT_OPTIONS_H
#define GRAFT_OPTIONS_H

#include "devices/usernet.h"
#include "graft/abi.h"
#include "graft/board.h"

#define OPTIONS_MAX_DRIVES 16
#define OPTIONS_MAX_PFLASH 2
#define OPTIONS_MAX_SHARES 12
#define OPTIONS_MAX_FW_CFG 32
#define OPTIONS_MAX_ENV 256
#define OPTIONS_VSOCK_PATH 96
enum options_command {
    COMMAND_RUN,
    COMMAND_EXEC,
    COMMAND_ROOT,
    COMMAND_SNAPSHOT,
    COMMAND_INFO,
    COMMAND_DONE /* help or version was printed */,
    COMMAND_BAD
};
enum options_vm { VM_AUTO, VM_KVM, VM_INPROC };
enum options_layout { LAYOUT_AUTO, LAYOUT_FLAT, LAYOUT_RING0 };
enum options_code { CODE_SPLIT, CODE_RWX };
enum options_panic { PANIC_EXIT, PANIC_REBOOT, PANIC_PAUSE };

enum net_kind { NET_NONE, NET_USER, NET_TAP, NET_PASST };
enum drive_format { DRIVE_FORMAT_FOUND, DRIVE_RAW, DRIVE_QCOW2 }; /* FOUND: what the image looks like */
struct drive {
    char *path;
    bool readonly, snapshot; /* snapshot: what is written is thrown away at the end */
    enum drive_format format;
};

struct options {
    const char *kernel, *initrd, *append, *dtb, *dump_dtb, *symbols, *log_file, *serial, *console;
    char *stats, *profile;
    bool folded;       /* --profile FILE,folded */
    const char *cache; /* a folder, NULL: off */
    bool sandbox, no_reboot, semihosting;
    enum options_panic on_panic;
    const char *gdb, *control, *dump_on_panic;
    bool pause;
    char *semihosting_files; /* a folder, NULL: none */
    bool semihosting_readonly;
    double timeout; /* in seconds, 0: none */
    bool flat;      /* the kernel is a flat binary */
    bool count;     /* translated code counts, too */
    uint64_t dump_first, dump_last;
    uint64_t memory;
    unsigned smp, gic;
    bool gic_given, memory_given, smp_given;
    const char *resume, *save_at; /* save_at: when this has been printed */
    char *save;
    double save_after; /* in seconds, 0: not by time */
    bool save_quit;
    const struct board *board; /* --guest; NULL: what the kernel is for */
    struct drive drive[OPTIONS_MAX_DRIVES];
    unsigned drives;
    const char *bios;
    struct {
        char *path;
        bool readonly;
    } pflash[OPTIONS_MAX_PFLASH];
    unsigned pflashes;
    struct {
        char *name;
        const char *file, *text; /* one of them */
    } fw_cfg[OPTIONS_MAX_FW_CFG];
    unsigned fw_cfgs;
    struct {
        char *tag, *dir;
        bool readonly;
    } share[OPTIONS_MAX_SHARES];
    unsigned shares;
    uint32_t vsock_cid; /* 0: no vsock */
    const char *vsock;  /* the path of its socket */
    bool balloon;
    /* graft exec */
    const char *root;
    bool root_writable, verbose, dry_run, cold;
    const char *env[OPTIONS_MAX_ENV]; /* NAME=VALUE, or NAME */
    unsigned envs;
    struct {
        const char *path;
        bool readonly;
    } folder[OPTIONS_MAX_SHARES];
    unsigned folders;
    char **command; /* NULL at its end; of graft root: its arguments */
    bool virtio_legacy;
    enum net_kind net_kind;
    struct usernet_options net; /* of NET_USER */
    const char *tap;            /* the interface's name, of NET_TAP */
    enum abi_mmu mmu;
    bool mmu_given;
    enum options_layout layout;
    enum abi_cpu_model cpu;
    const char *core; /* of ABI_CPU_CORE; NULL: the board's */
    uint32_t log_topics;
    enum options_vm vm;
    enum options_code code;
    bool probe;
};

/* options_parse(): prints what is wrong on stderr (one line) for COMMAND_BAD. */
enum options_command options_parse(struct options *o, int argc, char **argv);
void options_free(struct options *o);
extern const char *const options_mmu_names[]; /* by enum abi_mmu */

#endif
