/* SPDX-License-Identifier: Apache-2.0
 * Copyright The Graft Authors */
/* options.c: the command line and its help. The options are the rows of options.def; what one does with its value is
 * the function take_...() of that name here. */
#include "graft/mmu.h"
#include "hypervisor/stream.h"

#include <arpa/inet.h>
#include <net/if.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MMU(NAME, name, help, manual) [ABI_MMU_##NAME] = #name,
const char *const options_mmu_names[] = {
#include "dbt/mmu/mmu.def"
};
#undef MMU

static enum options_command bad(const char *fmt, ...) {
    va_list ap;
    va_start(ap, fmt);
    fputs("graft: ", stderr);
    vfprintf(stderr, fmt, ap);
    fputs(" (try --help)\n", stderr);
    va_end(ap);
    return COMMAND_BAD;
}

static bool parse_size(const char *s, uint64_t *size) {
    char *end;
    errno = 0;
    unsigned long long n = strtoull(s, &end, 10);
    if (errno || end == s || *s == '-' || *s == '+')
        return false;
    unsigned shift = 20;
    if (*end) {
        switch (*end++) {
        case 'k':
        case 'K': shift = 10; break;
        case 'm':
        case 'M': shift = 20; break;
        case 'g':
        case 'G': shift = 30; break;
        default: return false;
        }
    }
    if (*end || n > (UINT64_MAX >> shift))
        return false;
    *size = (uint64_t)n << shift;
    return true;
}

static bool parse_address(const char *s, const char **end, uint64_t *address) {
    char *after;
    errno = 0;
    *address = strtoull(s, &after, 16);
    *end = after;
    return !errno && after != s && *s != '-' && *s != '+';
}

static bool parse_range(const char *s, uint64_t *first, uint64_t *last) {
    if (!parse_address(s, &s, first))
        return false;
    *last = *first;
    if (*s && (strncmp(s, "..", 2) || !parse_address(s + 2, &s, last)))
        return false;
    return !*s && *first <= *last;
}

/* join(): a list of values (options.def) for a reader: "a, b or c". Valid until the next call. */
static const char *join(const char *values, const char *before, const char *last) {
    static char text[160];
    size_t used = (size_t)sprintf(text, "%s", before);
    for (; *values && used + 5 < sizeof(text); values++)
        if (*values != '|')
            text[used++] = *values;
        else
            used += (size_t)sprintf(text + used, "%s", strchr(values + 1, '|') ? ", " : last);
    text[used] = 0;
    return text;
}

/* choice(): the index of the len bytes at s in a list of values, -1 if they are not in it. */
static int choice(const char *values, const char *s, size_t len) {
    for (int n = 0;; n++) {
        size_t size = strcspn(values, "|");
        size_t fixed = size; /* what is behind it, in capitals, stands for anything */
        while (fixed && values[fixed - 1] >= 'A' && values[fixed - 1] <= 'Z')
            fixed--;
        if (fixed < size ? len > fixed && !memcmp(values, s, fixed) : len == size && !memcmp(values, s, len))
            return n;
        if (!values[size])
            return -1;
        values += size + 1;
    }
}

/* split_ro(): FILE[,ro], the FILE of which is malloc'ed. */
static char *split_ro(const char *s, bool *readonly) {
    size_t len = strlen(s);
    *readonly = len > 3 && !strcmp(s + len - 3, ",ro");
    return strndup(s, *readonly ? len - 3 : len);
}

/* --- what the options do ---------------------------------------------------------------------- */
/* Each takes a value. If the row lists what may be given, it is that, and n its index in the list. Returns NULL if it
 * is right, else what would be. */
#define TAKE(name) static const char *take_##name(struct options *o, const char *v, int n)

TAKE(flat) { return o->flat = true, NULL; }
TAKE(initrd) { return o->initrd = v, NULL; }
TAKE(append) { return o->append = v, NULL; }
TAKE(dtb) { return o->dtb = v, NULL; }
TAKE(dump_dtb) { return o->dump_dtb = v, NULL; }
TAKE(symbols) { return o->symbols = v, NULL; }
TAKE(log_file) { return o->log_file = v, NULL; }
TAKE(serial) { return o->serial = v, NULL; }
TAKE(console) { return o->console = v, NULL; }
TAKE(virtio_mmio) { return o->virtio_legacy = n == 0, NULL; }
TAKE(guest) {
    const struct board *const *b = boards;
    while (*b && strcmp((*b)->name, v))
        b++;
    return o->board = *b, *b ? NULL : "a guest that is there";
}
TAKE(gic) { return o->gic = 2 + (unsigned)n, o->gic_given = true, NULL; }
TAKE(cpu) { return o->cpu = n == 0 ? ABI_CPU_MAX : ABI_CPU_CORE, o->core = n == 0 ? NULL : v, NULL; }
TAKE(vm) { return o->vm = n == 0 ? VM_KVM : VM_INPROC, NULL; }
TAKE(layout) { return o->layout = n == 0 ? LAYOUT_FLAT : LAYOUT_RING0, NULL; }
TAKE(code) { return o->code = n == 0 ? CODE_SPLIT : CODE_RWX, NULL; }
TAKE(topics) { return o->log_topics |= 1u << n, NULL; } /* listed in the order of the bits ABI_LOG_* */
TAKE(probe) { return o->probe = true, NULL; }

TAKE(sandbox) { return o->sandbox = n == 0, NULL; }
TAKE(semihosting) { return o->semihosting = true, NULL; }
TAKE(semihosting_files) {
    free(o->semihosting_files);
    o->semihosting = true;
    o->semihosting_files = split_ro(v, &o->semihosting_readonly);
    return o->semihosting_files && *o->semihosting_files ? NULL : "DIR or DIR,ro";
}
TAKE(no_reboot) { return o->no_reboot = true, NULL; }
TAKE(on_panic) { return o->on_panic = (enum options_panic)n, NULL; } /* listed in their order */

TAKE(pause) { return o->pause = true, NULL; }

TAKE(gdb) {
    o->gdb = v;
    return stream_is_right(v, true) ? NULL : "tcp:HOST:PORT, tcp:HOST:PORT,remote, unix:PATH or stdio";
}

TAKE(dump_on_panic) { return o->dump_on_panic = v, NULL; }

TAKE(control) {
    o->control = v;
    return stream_is_right(v, false) ? NULL : "unix:PATH, tcp:HOST:PORT or tcp:HOST:PORT,remote";
}

TAKE(cache) { return o->cache = strcmp(v, "off") ? v : NULL, *v ? NULL : "a folder, or off"; }

TAKE(timeout) {
    char *end;
    o->timeout = strtod(v, &end);
    bool right = *v >= '0' && *v <= '9' && !*end && o->timeout > 0 && o->timeout <= 1e8;
    return right ? NULL : "a number of seconds above 0";
}

TAKE(bios) { return o->bios = v, NULL; }

TAKE(pflash) {
    if (o->pflashes == OPTIONS_MAX_PFLASH)
        return "no more than 2 flash banks";
    o->pflash[o->pflashes].path = split_ro(v, &o->pflash[o->pflashes].readonly);
    return o->pflash[o->pflashes++].path ? NULL : "no more than 2 flash banks";
}

TAKE(fw_cfg) {
    static const char right[] =
        "name=NAME,file=FILE or name=NAME,string=STRING, NAME of 1 to 55 bytes; no more than 32";
    size_t len = strncmp(v, "name=", 5) ? 0 : strcspn(v + 5, ",");
    const char *rest = v + 5 + len;
    bool file = len && !strncmp(rest, ",file=", 6) && rest[6], text = len && !strncmp(rest, ",string=", 8);
    if (len > 55 || (!file && !text) || o->fw_cfgs == OPTIONS_MAX_FW_CFG)
        return right;
    unsigned at = o->fw_cfgs++;
    o->fw_cfg[at].name = strndup(v + 5, len);
    o->fw_cfg[at].file = file ? rest + 6 : NULL;
    o->fw_cfg[at].text = file ? NULL : rest + 8;
    return o->fw_cfg[at].name ? NULL : right;
}

TAKE(resume) { return o->resume = v, NULL; }
TAKE(cold) { return o->cold = true, NULL; }

/* FILE[,at=TEXT|after=SECONDS][,quit] */
TAKE(save) {
    static const char quit[] = ",quit", right[] = "FILE[,at=TEXT|after=SECONDS][,quit]";
    char *file = strdup(v), *at, *end;
    size_t len = strlen(v);
    free(o->save);
    o->save = file;
    o->save_at = NULL;
    o->save_after = 0;
    if (!file)
        return right;
    o->save_quit = len > strlen(quit) && !strcmp(file + len - strlen(quit), quit);
    if (o->save_quit)
        file[len - strlen(quit)] = 0;
    if ((at = strstr(file, ",at="))) {
        o->save_at = at + strlen(",at=");
    } else if ((at = strstr(file, ",after="))) {
        const char *seconds = at + strlen(",after=");
        o->save_after = strtod(seconds, &end);
        if (*seconds < '0' || *seconds > '9' || *end || !(o->save_after > 0) || o->save_after > 1e8)
            return right;
    }
    if (at)
        *at = 0;
    return *file && (!o->save_at || *o->save_at) ? NULL : right;
}

TAKE(memory) {
    o->memory_given = true;
    bool right = parse_size(v, &o->memory) && o->memory >= 16u << 20 && o->memory <= UINT64_C(64) << 30 &&
                 !(o->memory & 0xfffff);
    return right ? NULL : "16M to 64G, whole MiB";
}

TAKE(smp) {
    if (v[0] < '1' || v[0] > '0' + ABI_MAX_VCPUS || v[1])
        return "1 to 8";
    o->smp = (unsigned)(v[0] - '0');
    o->smp_given = true;
    return NULL;
}

/* What may follow the FILE of a drive, behind its last comma. False: nothing of that. */
static bool take_drive_word(struct drive *d, const char *word) {
    if (!strcmp(word, "ro"))
        d->readonly = true;
    else if (!strcmp(word, "snapshot"))
        d->snapshot = true;
    else if (!strcmp(word, "format=raw"))
        d->format = DRIVE_RAW;
    else if (!strcmp(word, "format=qcow2"))
        d->format = DRIVE_QCOW2;
    else
        return false;
    return true;
}

/* A comma may be part of a file's name, but not of one that looks like a wrong format. */
TAKE(drive) {
    static const char right[] = "FILE[,format=raw|qcow2][,ro][,snapshot]; no more than 16 drives";
    struct drive *d = &o->drive[o->drives];
    char *comma;
    if (o->drives == OPTIONS_MAX_DRIVES || !(d->path = strdup(v)))
        return right;
    o->drives++;
    while ((comma = strrchr(d->path, ',')) && comma > d->path && take_drive_word(d, comma + 1))
        *comma = 0;
    return comma && !strncmp(comma, ",format=", 8) ? right : NULL;
}

/* [ADDRESS]:PORT, up to the end of which *s goes on. */
static bool take_port(const char **s, uint32_t *address, uint16_t *port, char end) {
    char text[INET_ADDRSTRLEN];
    size_t len = strcspn(*s, ":");
    char *rest;
    if (len >= sizeof(text) || (*s)[len] != ':' || (*s)[len + 1] < '0' || (*s)[len + 1] > '9')
        return false;
    memcpy(text, *s, len);
    text[len] = 0;
    unsigned long n = strtoul(*s + len + 1, &rest, 10);
    *port = (uint16_t)n;
    *s = rest + (*rest == end && end);
    return (!len || inet_pton(AF_INET, text, address) == 1) && n && n < 65536 && *rest == end;
}

/* As QEMU has it: [tcp|udp]:[ADDRESS]:PORT-[ADDRESS]:PORT, of the host and of the guest. */
static bool take_forward(struct usernet_options *n, const char *s) {
    struct usernet_forward *f = &n->forward[n->forwards];
    if (n->forwards == USERNET_FORWARDS)
        return false;
    f->udp = !strncmp(s, "udp:", 4);
    s += f->udp || !strncmp(s, "tcp:", 4) ? 4 : *s == ':';
    if (!take_port(&s, &f->host, &f->host_port, '-') || !take_port(&s, &f->guest, &f->guest_port, 0))
        return false;
    n->forwards++;
    return true;
}

/* As QEMU has it: [tcp]:SERVER:PORT-unix:PATH. Others of its kinds would need programs to be started, or are one stream
 * for all connections. */
static bool take_service(struct usernet_options *n, const char *s) {
    struct usernet_service *f = &n->service[n->services];
    if (n->services == USERNET_SERVICES)
        return false;
    s += !strncmp(s, "tcp:", 4) ? 4 : *s == ':';
    if (*s == ':' || !take_port(&s, &f->server, &f->port, '-') || strncmp(s, "unix:/", 6))
        return false;
    snprintf(f->path, sizeof(f->path), "%s", s + strlen("unix:"));
    n->services++;
    return strlen(s + strlen("unix:")) < sizeof(f->path);
}

static bool take_net_word(struct usernet_options *n, const char *word) {
    static const struct {
        const char *name;
        size_t at;
        bool off;
    } switches[] = {{"ipv4", offsetof(struct usernet_options, no_ipv4), true},
                    {"ipv6", offsetof(struct usernet_options, no_ipv6), true},
                    {"restrict", offsetof(struct usernet_options, restricted), false}};
    if (!strncmp(word, "hostfwd=", 8))
        return take_forward(n, word + 8);
    if (!strncmp(word, "guestfwd=", 9))
        return take_service(n, word + 9);
    size_t len = strcspn(word, "=");
    for (unsigned i = 0; i < ARRAY_LEN(switches); i++) {
        bool on = !strcmp(word + len, "=on") || !strcmp(word + len, "=yes") || !word[len];
        if (strlen(switches[i].name) != len || memcmp(word, switches[i].name, len))
            continue;
        *(bool *)((char *)n + switches[i].at) = on != switches[i].off;
        return on || !strcmp(word + len, "=off") || !strcmp(word + len, "=no");
    }
    return false;
}

static bool is_interface(const char *name) { return *name && strlen(name) < IFNAMSIZ && !strpbrk(name, "/,:% "); }

TAKE(net) {
    static const char right[] = "none or "
                                "user[,hostfwd=[tcp|udp]:[ADDR]:PORT-[ADDR]:PORT][,guestfwd=[tcp]:ADDR:PORT-unix:/"
                                "PATH][,ipv4=on|off][,ipv6=on|off][,restrict=on|off]";
    char word[64 + USERNET_PATH];
    o->net = (struct usernet_options){0};
    o->net_kind = !strcmp(v, "none") ? NET_NONE : !strcmp(v, "passt") ? NET_PASST : *v == 't' ? NET_TAP : NET_USER;
    o->tap = o->net_kind == NET_TAP ? v + strlen("tap,ifname=") : NULL;
    if (o->net_kind == NET_TAP && (strncmp(v, "tap,ifname=", strlen("tap,ifname=")) || !is_interface(o->tap)))
        return "tap,ifname=NAME, a name of 1 to 15 bytes";
    if (o->net_kind != NET_USER)
        return NULL;
    for (v += strlen("user"); *v; v += strlen(word)) {
        size_t len = strcspn(++v, ",");
        if (len >= sizeof(word))
            return right;
        memcpy(word, v, len);
        word[len] = 0;
        if (!take_net_word(&o->net, word))
            return right;
    }
    return o->net.no_ipv4 && o->net.no_ipv6 ? right : NULL;
}

TAKE(share) {
    static const char right[] = "TAG=DIR or TAG=DIR,ro, TAG of 1 to 36 bytes and given once; no more than 12";
    size_t len = strcspn(v, "=");
    if (!len || len > 36 || !v[len] || !v[len + 1] || o->shares == OPTIONS_MAX_SHARES)
        return right;
    for (unsigned i = 0; i < o->shares; i++)
        if (strlen(o->share[i].tag) == len && !memcmp(o->share[i].tag, v, len))
            return right;
    unsigned at = o->shares++;
    o->share[at].tag = strndup(v, len);
    o->share[at].dir = split_ro(v + len + 1, &o->share[at].readonly);
    return o->share[at].tag && o->share[at].dir ? NULL : right;
}

/* CID,unix:PATH. Behind PATH there are "_" and a port, up to 11 bytes. */
TAKE(vsock) {
    static const char right[] = "CID,unix:PATH, CID from 3 to 4294967294, PATH of up to 96 bytes";
    char *end;
    unsigned long long cid = strtoull(v, &end, 10);
    o->vsock_cid = (uint32_t)cid;
    o->vsock = end + strlen(",unix:");
    if (*v < '0' || *v > '9' || cid < 3 || cid >= UINT32_MAX || strncmp(end, ",unix:", strlen(",unix:")))
        return right;
    return *o->vsock && strlen(o->vsock) <= OPTIONS_VSOCK_PATH ? NULL : right;
}

TAKE(balloon) { return o->balloon = true, NULL; }

#define MMU(NAME, name, help, manual) ABI_MMU_##NAME,
TAKE(mmu) {
    static const enum abi_mmu listed[] = {
#include "dbt/mmu/mmu.def"
    };
    o->mmu = listed[n];
    o->mmu_given = true;
    return NULL;
}
#undef MMU

/* FILE, or FILE with that word behind it. False: there is no FILE. */
static bool take_file(const char *v, const char *word, char **path, bool *with) {
    size_t len = strlen(v), end = strlen(word);
    free(*path);
    *with = len >= end && !strcmp(v + len - end, word);
    *path = strndup(v, *with ? len - end : len);
    return *path && **path;
}

TAKE(stats) { return take_file(v, ",count", &o->stats, &o->count) ? NULL : "FILE or FILE,count"; }

TAKE(profile) { return take_file(v, ",folded", &o->profile, &o->folded) ? NULL : "FILE or FILE,folded"; }

TAKE(dump_filter) {
    return parse_range(v, &o->dump_first, &o->dump_last) ? NULL : "a hexadecimal address, or two with .. between them";
}

TAKE(root) { return o->root = v, NULL; }
TAKE(exec_kernel) { return o->kernel = v, NULL; }
TAKE(write_root) { return o->root_writable = true, NULL; }
TAKE(dry_run) { return o->dry_run = true, NULL; }
TAKE(verbose) { return o->verbose = true, NULL; }

TAKE(env) {
    if (!*v || *v == '=' || o->envs == OPTIONS_MAX_ENV)
        return "NAME or NAME=VALUE; no more than 256";
    o->env[o->envs++] = v;
    return NULL;
}

static const char *take_folder(struct options *o, const char *v, bool readonly) {
    if (!*v || o->folders == OPTIONS_MAX_SHARES)
        return "a folder; no more than 12";
    o->folder[o->folders].path = v;
    o->folder[o->folders++].readonly = readonly;
    return NULL;
}

TAKE(ro) { return take_folder(o, v, true); }
TAKE(rw) { return take_folder(o, v, false); }

/* --- the tables ------------------------------------------------------------------------------- */
static enum options_command finish_run(const struct options *o) {
    if ((o->resume || o->save) && (o->bios || o->pflashes))
        return bad("run: %s does not go with firmware (--bios, --pflash)", o->resume ? "--resume" : "--save");
    if (o->resume && (o->initrd || o->append || o->dtb) && !o->kernel)
        return bad("run: --initrd, --append and --dtb are for a KERNEL: with --resume that is what a reset starts");
    if (!o->kernel && !o->dump_dtb && !o->bios && !o->pflashes && !o->resume)
        return bad("run: no KERNEL given, and no firmware (--bios, --pflash)");
    if (o->bios && o->pflashes == OPTIONS_MAX_PFLASH && !(o->board && o->board->bios_in_ram))
        return bad("run: --bios is in the first flash bank: there is room for one --pflash");
    if (o->dtb && o->dump_dtb)
        return bad("run: --dtb and --dump-dtb do not go together");
    if (o->serial && o->console && !strcmp(o->serial, "stdio") && !strcmp(o->console, "stdio"))
        return bad("run: --serial and --console cannot both be stdio");
    if (o->gdb && !strcmp(o->gdb, "stdio") &&
        (!strcmp(o->serial, "stdio") || (o->console && !strcmp(o->console, "stdio"))))
        return bad("run: --gdb stdio needs another place for the console: --serial none, pty or file:FILE");
    if (o->pause && !o->gdb && !o->control)
        return bad("run: --pause needs --gdb or --control");
    if (o->vm == VM_KVM && o->mmu_given && mmu_strategies[o->mmu]->needs_process)
        return bad("run: --mmu %s needs --vm inproc", mmu_strategies[o->mmu]->name);
    if (o->vm == VM_INPROC && o->mmu_given && mmu_strategies[o->mmu]->needs_ring3)
        return bad("run: --mmu %s needs --vm kvm", mmu_strategies[o->mmu]->name);
    if (o->layout == LAYOUT_FLAT && o->mmu_given && mmu_strategies[o->mmu]->needs_ring3)
        return bad("run: --mmu %s needs --layout ring0", mmu_strategies[o->mmu]->name);
    if (o->layout == LAYOUT_RING0 && o->vm == VM_INPROC)
        return bad("run: --layout ring0 needs --vm kvm");
    if (o->layout == LAYOUT_RING0 && o->mmu_given && !mmu_strategies[o->mmu]->shown_bytes)
        return bad("run: --layout ring0 does not go with --mmu %s", mmu_strategies[o->mmu]->name);
    return COMMAND_RUN;
}

static enum options_command finish_exec(const struct options *o) {
    return o->command && *o->command ? COMMAND_EXEC : bad("exec: no CMD given");
}

static enum options_command finish_root(const struct options *o) { return COMMAND_ROOT; }

static enum options_command finish_snapshot(const struct options *o) { return COMMAND_SNAPSHOT; }

static enum options_command finish_info(const struct options *o) { return COMMAND_INFO; }

static const char before_run[] = "usage: graft run KERNEL [OPTION]...\n"
                                 "       graft run --bios FILE [KERNEL] [OPTION]...\n"
                                 "       graft run --resume FILE [KERNEL] [OPTION]...\n"
                                 "\n"
                                 "KERNEL is a Linux Image or an ELF file, plain or packed (gzip, zstd, xz,\n"
                                 "lzma, lz4, bzip2), or an EFI zboot image; with --flat or a name that ends in\n"
                                 ".bin also a flat binary, which is loaded at RAM + 0x80000.\n"
                                 "\n";
static const char after_run[] = "\n"
                                "On the stdio console Ctrl-A X ends the guest; Ctrl-A H shows the other keys.\n"
                                "Exit status: 0 the guest powered off, or Ctrl-A X; 1 it could not be run; 2 bad\n"
                                "usage; 3 Graft itself failed; 124 --timeout; 128 + n signal n; 255 kernel panic.\n";
static const char before_exec[] = "usage: graft exec [OPTION]... [--] CMD [ARG]...\n"
                                  "\n"
                                  "Runs CMD in a guest as if it ran here: input, output, signals and exit status\n"
                                  "are passed on, and the current folder is there, at the same path, writable.\n"
                                  "\n";
static const char after_exec[] = "\n"
                                 "Exit status: that of CMD, 128 + n if signal n ended it; 127 there is no CMD, 126 it\n"
                                 "cannot be run; 125 Graft failed, or is not used right; 124 --timeout; 255 kernel\n"
                                 "panic.\n";
static const char before_root[] =
    "usage: graft root add NAME [--arch ARCH] [--suite SUITE] [--include PACKAGE[,PACKAGE]...]\n"
    "       graft root list\n"
    "       graft root rm NAME\n"
    "       graft root shell NAME\n"
    "\n"
    "Debian roots for 'graft exec --root NAME', made from packages without root\n"
    "rights and kept in $XDG_CACHE_HOME/graft (default ~/.cache/graft).\n"
    "\n"
    "  add    downloads the packages of priority required, those that --include names\n"
    "         with what they need, and a kernel, and unpacks them. ARCH: arm64 (default)\n"
    "         or riscv64; SUITE: default bookworm, for riscv64 trixie. The packages' own\n"
    "         installation scripts are not run.\n"
    "  list   name, processor, suite and size of each\n"
    "  rm     removes one\n"
    "  shell  a shell in one; unlike those of 'graft exec', its changes stay\n";
static const char after_root[] = "";
static const char before_snapshot[] =
    "usage: graft snapshot info|rm FILE\n"
    "       graft snapshot save PLACE\n"
    "\n"
    "Machines in files: 'graft run --save FILE' makes one, 'graft run --resume FILE'\n"
    "goes on with it.\n"
    "\n"
    "  info   what was saved, and whether the file is whole\n"
    "  rm     removes one\n"
    "  save   has a machine saved that runs with '--control PLACE --save FILE'\n";
static const char after_snapshot[] = "";
static const char before_info[] = "usage: graft info [--probe]\n"
                                  "\n"
                                  "Prints what /dev/kvm is on this host, the layout and the memory strategy that\n"
                                  "Graft uses, and the processor features that matter.\n"
                                  "\n";
static const char after_info[] = "";
enum {
    width_run = 20,
    width_exec = 19,
    width_root = 9,
    width_snapshot = 9,
    width_info = 9
}; /* of the column of options in the help */

static const struct command {
    const char *name, *argument, *help, *before, *after;
    int width;
    enum options_command (*finish)(const struct options *o);
} commands[] = {
#define COMMAND(name, argument, help) {#name, argument, help, before_##name, after_##name, width_##name, finish_##name},
#define OPTION(command, name, argument, values, take, help, manual)
#include "hypervisor/options.def"
#undef COMMAND
#undef OPTION
};

#define MMU(NAME, name, help, manual) "|" #name
static const char mmu_values[] =
#include "dbt/mmu/mmu.def"
    ;
#undef MMU
#define MMU_VALUES (mmu_values + 1)
#define take_help NULL /* help ends the command line */

static const struct option {
    const char *command, *name, *argument, *values;
    const char *(*take)(struct options *o, const char *v, int n);
    const char *help;
} rows[] = {
#define COMMAND(name, argument, help)
#define OPTION(command, name, argument, values, take, help, manual)                                                    \
    {#command, name, argument, values, take_##take, help},
#include "hypervisor/options.def"
#undef COMMAND
#undef OPTION
};

static const struct command *find_command(const char *name) {
    for (unsigned i = 0; i < ARRAY_LEN(commands); i++)
        if (!strcmp(commands[i].name, name))
            return &commands[i];
    return NULL;
}

static const struct option *find_option(const char *command, const char *name, size_t len) {
    for (const struct option *row = rows; row < rows + ARRAY_LEN(rows); row++)
        if (!strcmp(row->command, command) && strlen(row->name) == len && !memcmp(row->name, name, len))
            return row;
    return NULL;
}

/* --- help ------------------------------------------------------------------------------------- */
static void help_main(void) {
    puts("usage: graft COMMAND [OPTION]...\n"
         "\n"
         "Runs AArch64 and RISC-V guest systems on x86-64 hosts.\n"
         "\n"
         "commands:");
    for (unsigned i = 0; i < ARRAY_LEN(commands); i++) {
        int used = printf("  %s %s", commands[i].name, commands[i].argument);
        printf("%*s%s\n", 19 - used, "", commands[i].help);
    }
    puts("\n"
         "  graft COMMAND --help   the options of a command\n"
         "  graft --version");
}

static void help_strategies(int indent) {
#define MMU(NAME, name, help, manual) printf("%*s%-8s %s\n", indent, "", #name, help);
#include "dbt/mmu/mmu.def"
#undef MMU
}

static void help_option(const struct option *row, int width) {
    int indent = width + 3;
    int used = printf("  %s%s%s", row->name, *row->argument ? " " : "", row->argument);
    if (used >= indent && *row->help)
        used = printf("\n") - 1;
    for (const char *line = row->help; *line; used = 0) {
        size_t len = strcspn(line, "\n");
        printf("%*s%.*s\n", indent - used, "", (int)len, line);
        line += len + (line[len] == '\n');
    }
    if (!*row->help)
        puts("");
    if (row->values == MMU_VALUES)
        help_strategies(indent + 2);
}

static enum options_command help_command(const struct command *c) {
    fputs(c->before, stdout);
    for (unsigned i = 0; i < ARRAY_LEN(rows); i++)
        if (!strcmp(rows[i].command, c->name))
            help_option(&rows[i], c->width);
    fputs(c->after, stdout);
    return COMMAND_DONE;
}

/* --- options of others ------------------------------------------------------------------------ */
/* What QEMU and lkvm call things, and what they are here. */
static const struct foreign {
    const char *name, *ours;
} foreign[] = {
    {"-m", "--memory SIZE"},
    {"--mem", "--memory SIZE"},
    {"--ram", "--memory SIZE"},
    {"-c", "--smp N"},
    {"--cpus", "--smp N"},
    {"-kernel", "graft run KERNEL"},
    {"--kernel", "graft run KERNEL"},
    {"-k", "graft run KERNEL"},
    {"-i", "--initrd FILE"},
    {"-p", "--append STRING"},
    {"--params", "--append STRING"},
    {"--cmdline", "--append STRING"},
    {"-hda", "--drive FILE"},
    {"-hdb", "--drive FILE"},
    {"-cdrom", "--drive FILE,ro"},
    {"-blockdev", "--drive FILE"},
    {"--disk", "--drive FILE"},
    {"-device", "--drive, --net and --console"},
    {"-nic", "--net user"},
    {"-netdev", "--net user"},
    {"-n", "--net user"},
    {"--network", "--net user"},
    {"--tty", "--serial pty"},
    {"-nographic", "nothing: the terminal is the console (--serial stdio)"},
    {"-semihosting", "--semihosting"},
    {"-semihosting-config", "--semihosting"},
    {"-qmp", "--control unix:PATH"},
    {"-gdb", "--gdb tcp:HOST:PORT"},
    {"-s", "--gdb tcp::1234"},
    {"-S", "--pause"},
    {"-display", "nothing: there is no display"},
    {"-monitor", "nothing: there is no monitor; Ctrl-A H on the console shows its keys"},
    {"-M", "nothing: the machine is always virt (--gic, --cpu)"},
    {"-machine", "nothing: the machine is always virt (--gic, --cpu)"},
    {"--machine", "nothing: the machine is always virt (--gic, --cpu)"},
    {"-accel", "--vm kvm|inproc"},
    {"--accel", "--vm kvm|inproc"},
    {"-enable-kvm", "--vm kvm"},
    {"--firmware", "--bios FILE"},
    {"-virtfs", "--share TAG=DIR"},
    {"-fsdev", "--share TAG=DIR"},
    {"--9p", "--share TAG=DIR"},
    {"-fw_cfg", "--fw-cfg name=NAME,file=FILE"},
};

/* ours(): what an unknown option is here, NULL if nobody knows. */
static const char *ours(const struct command *c, const char *name) {
    static char text[80];
    size_t len = strcspn(name, "=");
    for (const struct foreign *f = foreign; f < foreign + ARRAY_LEN(foreign); f++)
        if (strlen(f->name) == len && !memcmp(f->name, name, len))
            return f->ours;
    /* QEMU has one dash where we have two. */
    snprintf(text, sizeof(text), "-%.*s", (int)len, name);
    const struct option *row = find_option(c->name, text, strlen(text));
    if (!row || name[1] == '-')
        return NULL;
    snprintf(text, sizeof(text), "%s%s%s", row->name, *row->argument ? " " : "", row->argument);
    return text;
}

static enum options_command unknown(const struct command *c, const char *arg) {
    const char *instead = *c->argument ? ours(c, arg) : NULL;
    if (instead)
        return bad("%s: unknown option '%s': here that is %s", c->name, arg, instead);
    return bad("%s: unknown %s '%s'", c->name, *c->argument ? "option" : "argument", arg);
}

/* --- parsing ---------------------------------------------------------------------------------- */
/* take_value(): one value of an option, or each of a list of them. NULL: fine; else what would be right. */
static const char *take_value(struct options *o, const struct option *row, const char *v) {
    if (!strstr(row->argument, "...")) {
        int n = *row->values ? choice(row->values, v, strlen(v)) : 0;
        return n < 0 ? join(row->values, "", " or ") : row->take(o, v, n);
    }
    while (*v) {
        size_t len = strcspn(v, ",");
        int n = choice(row->values, v, len);
        if (n < 0)
            return join(row->values, "a list of ", ", ");
        row->take(o, v, n);
        v += len + (v[len] == ',');
    }
    return NULL;
}

/* parse_option(): the option at argv[*at], moving to its value if that follows. Anything but COMMAND_RUN is the end. */
static enum options_command parse_option(struct options *o, const struct command *c, int *at, int argc, char **argv) {
    const char *arg = argv[*at], *wrong;
    size_t len = arg[0] == '-' && arg[1] == '-' ? strcspn(arg, "=") : strlen(arg); /* --name=value */
    const char *value = arg[len] ? arg + len + 1 : NULL;
    const struct option *row = find_option(c->name, strcmp(arg, "-h") ? arg : "--help", strcmp(arg, "-h") ? len : 6);
    if (!row || (value && !*row->argument))
        return unknown(c, arg);
    if (!row->take)
        return help_command(c);
    if (*row->argument && !value && ++*at == argc)
        return bad("%s: %s needs a value", c->name, row->name);
    if (*row->argument && !value)
        value = argv[*at];
    if ((wrong = take_value(o, row, value)))
        return bad("%s: %s: '%s' is not right: %s%s", c->name, row->name, value, wrong,
                   strcmp(row->name, "-d") ? "" : "; a disk is --drive FILE");
    return COMMAND_RUN;
}

static enum options_command parse_command(struct options *o, const struct command *c, int argc, char **argv) {
    bool words = c->finish == finish_exec || c->finish == finish_root || c->finish == finish_snapshot;
    for (int i = 0; i < argc && !o->command; i++) {
        bool end = !strcmp(argv[i], "--");
        if (words && (argv[i][0] != '-' || end)) {
            o->command = argv + i + end;
        } else if (*c->argument && (argv[i][0] != '-' || !argv[i][1])) {
            if (o->kernel)
                return bad("run: more than one KERNEL: '%s' and '%s'", o->kernel, argv[i]);
            o->kernel = argv[i];
        } else {
            enum options_command end = parse_option(o, c, &i, argc, argv);
            if (end != COMMAND_RUN)
                return end;
        }
    }
    return c->finish(o);
}

static enum options_command help(const char *of) {
    const struct command *c = find_command(of);
    if (c)
        return help_command(c);
    if (*of)
        return bad("no help on '%s': there is exec, root, run, snapshot and info", of);
    help_main();
    return COMMAND_DONE;
}

enum options_command options_parse(struct options *o, int argc, char **argv) {
    *o = (struct options){.memory = UINT64_C(1) << 30,
                          .smp = 1,
                          .gic = 3,
                          .cpu = ABI_CPU_MAX,
                          .serial = "stdio",
                          .sandbox = GRAFT_SANDBOX,
                          .dump_last = UINT64_MAX};
    if (argc < 2)
        return bad("no command given: exec, root, run, snapshot or info");
    const char *name = argv[1];
    const struct command *c = find_command(name);
    o->net_kind = c && c->finish == finish_exec ? NET_USER : NET_NONE;
    if (c)
        return parse_command(o, c, argc - 2, argv + 2);
    if (!strcmp(name, "--help") || !strcmp(name, "-h") || !strcmp(name, "help"))
        return help(argc > 2 ? argv[2] : "");
    if (strcmp(name, "--version"))
        return bad("unknown command '%s'", name);
    if (argc > 2)
        return bad("--version takes nothing after it: '%s'", argv[2]);
    puts("graft " GRAFT_VERSION);
    return COMMAND_DONE;
}

void options_free(struct options *o) {
    for (unsigned i = 0; i < o->drives; i++)
        free(o->drive[i].path);
    for (unsigned i = 0; i < o->pflashes; i++)
        free(o->pflash[i].path);
    for (unsigned i = 0; i < o->fw_cfgs; i++)
        free(o->fw_cfg[i].name);
    for (unsigned i = 0; i < o->shares; i++) {
        free(o->share[i].tag);
        free(o->share[i].dir);
    }
    free(o->save);
    free(o->semihosting_files);
    free(o->stats);
    free(o->profile);
}
