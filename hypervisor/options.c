/* SPDX-License-Identifier: Apache-2.0
 * Copyright The Graft Authors */
/* options.c: the command line and its help. */
#include "hypervisor/monitor.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

const char *const options_mmu_names[2] = {[ABI_MMU_WINDOW] = "window", [ABI_MMU_SOFT] = "soft"};
const char *const options_cpu_names[2] = {[ABI_CPU_MAX] = "max", [ABI_CPU_CORTEX_A72] = "cortex-a72"};

static const char help_main[] = "usage: graft COMMAND [OPTION]...\n"
                                "\n"
                                "Runs AArch64 guest systems on x86-64 hosts.\n"
                                "\n"
                                "commands:\n"
                                "  run KERNEL   run a guest\n"
                                "  info         what this host is, and what Graft makes of it\n"
                                "\n"
                                "  graft COMMAND --help   the options of a command\n"
                                "  graft --version\n";

static const char help_run[] = "usage: graft run KERNEL [OPTION]...\n"
                               "\n"
                               "KERNEL is a Linux Image (plain, gzip, or an EFI zboot image), an AArch64 ELF\n"
                               "file, or a flat binary, which is loaded at RAM + 0x80000.\n"
                               "\n"
                               "  --initrd FILE        initial RAM disk\n"
                               "  --append STRING      kernel command line\n"
                               "  --memory SIZE        RAM: a number with K, M (default) or G; default 1G\n"
                               "  --smp N              processors, 1 to 8; default 1\n"
                               "  --drive FILE[,ro]    a disk (virtio-blk, raw image); may be repeated\n"
                               "  --net user|none      a network card behind a user-mode network; default none\n"
                               "  --serial BACKEND     the PL011: stdio (default), file:FILE, pty or none\n"
                               "  --console BACKEND    a virtio console as well, with a back end of that kind\n"
                               "  --dtb FILE           use this device tree; --append and --initrd are put into it\n"
                               "  --dump-dtb FILE      write the device tree to FILE and end\n"
                               "  --mmu NAME           how guest memory is reached:\n"
                               "                         window   host page tables (default with KVM)\n"
                               "                         soft     a software TLB\n"
                               "  --gic 2|3            interrupt controller; default 3\n"
                               "  --cpu MODEL          max (default) or cortex-a72\n"
                               "  --vm kvm|inproc      where translated code runs; default kvm if it can be used,\n"
                               "                       else inproc: this process, with --mmu soft\n"
                               "  --stats FILE[,count] write counters and times as JSON at the end; count: also those\n"
                               "                       that translated code has to keep, which makes it slower\n"
                               "  --profile FILE       sample what the processors execute, write it at the end\n"
                               "  -d TOPIC[,TOPIC]...  log unimp, guest, in, ir, out, int, mmu, exec, perf\n"
                               "                       (perf: write /tmp/perf-PID.map)\n"
                               "  --dump-filter ADDR[..ADDR]\n"
                               "                       in, ir, out, exec: only blocks with code at these addresses\n"
                               "  -D FILE              the log goes to FILE instead of standard error\n"
                               "  --help\n"
                               "\n"
                               "On the stdio console Ctrl-A X ends the guest; Ctrl-A H shows the other keys.\n"
                               "Exit status: 0 the guest powered off or was told to stop, 1 it could not be run,\n"
                               "2 bad usage, 3 Graft itself failed.\n";

static const char help_info[] = "usage: graft info [--probe]\n"
                                "\n"
                                "Prints what /dev/kvm is on this host, the layout and the memory strategy that\n"
                                "Graft uses, and the processor features that matter.\n"
                                "\n"
                                "  --probe   also measure what the operations cost that Graft is built on\n"
                                "  --help\n";

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

/* lookup(): the index of s in names, -1 if it is not there. */
static int lookup(const char *s, const char *const *names, unsigned count) {
    for (unsigned i = 0; i < count; i++)
        if (!strcmp(s, names[i]))
            return (int)i;
    return -1;
}

static bool parse_backend(const char *s) {
    return !strcmp(s, "stdio") || !strcmp(s, "pty") || !strcmp(s, "none") || (!strncmp(s, "file:", 5) && s[5]);
}

static bool parse_topics(const char *s, uint32_t *topics) {
    static const char *const names[] = {"unimp", "guest", "in", "ir", "out", "int", "mmu", "exec", "perf"};
    while (*s) {
        size_t len = strcspn(s, ",");
        unsigned i = 0;
        while (i < ARRAY_LEN(names) && (strlen(names[i]) != len || memcmp(names[i], s, len)))
            i++;
        if (i == ARRAY_LEN(names))
            return false;
        *topics |= 1u << i;
        s += len + (s[len] == ',');
    }
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

static const char *take_stats(struct options *o, const char *v) {
    size_t len = strlen(v);
    free(o->stats);
    o->count = len >= 6 && !strcmp(v + len - 6, ",count");
    o->stats = strndup(v, o->count ? len - 6 : len);
    return o->stats && *o->stats ? NULL : "FILE or FILE,count";
}

static bool add_drive(struct options *o, const char *s) {
    size_t len = strlen(s);
    bool ro = len > 3 && !strcmp(s + len - 3, ",ro");
    if (o->drives == OPTIONS_MAX_DRIVES)
        return false;
    o->drive[o->drives].path = strndup(s, ro ? len - 3 : len);
    o->drive[o->drives].readonly = ro;
    return o->drive[o->drives++].path != NULL;
}

/* take_value(): one option of 'run' that has a value. NULL: fine; else what is wrong with the value. */
static const char *take_value(struct options *o, const char *name, const char *v) {
    int n;
    if (!strcmp(name, "--initrd"))
        o->initrd = v;
    else if (!strcmp(name, "--append"))
        o->append = v;
    else if (!strcmp(name, "--dtb"))
        o->dtb = v;
    else if (!strcmp(name, "--dump-dtb"))
        o->dump_dtb = v;
    else if (!strcmp(name, "--stats"))
        return take_stats(o, v);
    else if (!strcmp(name, "--profile"))
        o->profile = v;
    else if (!strcmp(name, "-D"))
        o->log_file = v;
    else if (!strcmp(name, "--memory")) {
        if (!parse_size(v, &o->memory) || o->memory < (16u << 20) || o->memory > (UINT64_C(64) << 30) ||
            o->memory & 0xfffff)
            return "16M to 64G, whole MiB";
    } else if (!strcmp(name, "--smp")) {
        if (v[0] < '1' || v[0] > '0' + ABI_MAX_VCPUS || v[1])
            return "1 to 8";
        o->smp = (unsigned)(v[0] - '0');
    } else if (!strcmp(name, "--drive")) {
        if (!add_drive(o, v))
            return "no more than 16 drives";
    } else if (!strcmp(name, "--net")) {
        if (strcmp(v, "user") && strcmp(v, "none"))
            return "user or none";
        o->net_user = !strcmp(v, "user");
    } else if (!strcmp(name, "--serial") || !strcmp(name, "--console")) {
        if (!parse_backend(v))
            return "stdio, file:FILE, pty or none";
        *(name[2] == 's' ? &o->serial : &o->console) = v;
    } else if (!strcmp(name, "--mmu")) {
        if ((n = lookup(v, options_mmu_names, 2)) < 0)
            return "window or soft";
        o->mmu = (enum abi_mmu)n;
        o->mmu_given = true;
    } else if (!strcmp(name, "--dump-filter")) {
        if (!parse_range(v, &o->dump_first, &o->dump_last))
            return "a hexadecimal address, or two with .. between them";
    } else if (!strcmp(name, "--gic")) {
        if ((v[0] != '2' && v[0] != '3') || v[1])
            return "2 or 3";
        o->gic = (unsigned)(v[0] - '0');
    } else if (!strcmp(name, "--cpu")) {
        if ((n = lookup(v, options_cpu_names, 2)) < 0)
            return "max or cortex-a72";
        o->cpu = (enum abi_cpu_model)n;
    } else if (!strcmp(name, "--vm")) {
        if (strcmp(v, "kvm") && strcmp(v, "inproc"))
            return "kvm or inproc";
        o->vm = v[0] == 'k' ? VM_KVM : VM_INPROC;
    } else { /* -d: the only one left, see has_value() */
        if (!parse_topics(v, &o->log_topics))
            return "a list of unimp, guest, in, ir, out, int, mmu, exec, perf";
    }
    return NULL;
}

static bool has_value(const char *name) {
    static const char *const names[] = {"--initrd", "--append",  "--dtb", "--dump-dtb",   "--stats",
                                        "-D",       "--memory",  "--smp", "--drive",      "--net",
                                        "--serial", "--console", "--mmu", "--profile",    "--gic",
                                        "--cpu",    "--vm",      "-d",    "--dump-filter"};
    return lookup(name, names, ARRAY_LEN(names)) >= 0;
}

static enum options_command finish_run(const struct options *o) {
    if (!o->kernel && !o->dump_dtb)
        return bad("run: no KERNEL given");
    if (o->dtb && o->dump_dtb)
        return bad("run: --dtb and --dump-dtb do not go together");
    if (o->serial && o->console && !strcmp(o->serial, "stdio") && !strcmp(o->console, "stdio"))
        return bad("run: --serial and --console cannot both be stdio");
    return COMMAND_RUN;
}

static enum options_command parse_run(struct options *o, int argc, char **argv) {
    for (int i = 0; i < argc; i++) {
        char *arg = argv[i];
        char name[16];
        const char *value = NULL, *wrong;
        if (!strcmp(arg, "--help") || !strcmp(arg, "-h")) {
            fputs(help_run, stdout);
            return COMMAND_DONE;
        }
        if (arg[0] != '-' || !arg[1]) {
            if (o->kernel)
                return bad("run: more than one KERNEL: '%s' and '%s'", o->kernel, arg);
            o->kernel = arg;
            continue;
        }
        size_t len = strcspn(arg, "=");
        if (arg[1] == '-' && arg[len] && len < sizeof(name)) { /* --name=value */
            memcpy(name, arg, len);
            name[len] = 0;
            value = arg + len + 1;
        } else {
            if (strlen(arg) >= sizeof(name))
                return bad("run: unknown option '%s'", arg);
            strcpy(name, arg);
        }
        if (!has_value(name))
            return bad("run: unknown option '%s'", arg);
        if (!value && ++i == argc)
            return bad("run: %s needs a value", name);
        if (!value)
            value = argv[i];
        if ((wrong = take_value(o, name, value)))
            return bad("run: %s: '%s' is not right: %s", name, value, wrong);
    }
    return finish_run(o);
}

static enum options_command parse_info(struct options *o, int argc, char **argv) {
    for (int i = 0; i < argc; i++) {
        if (!strcmp(argv[i], "--help") || !strcmp(argv[i], "-h")) {
            fputs(help_info, stdout);
            return COMMAND_DONE;
        }
        if (strcmp(argv[i], "--probe"))
            return bad("info: unknown argument '%s'", argv[i]);
        o->probe = true;
    }
    return COMMAND_INFO;
}

enum options_command options_parse(struct options *o, int argc, char **argv) {
    *o = (struct options){.memory = UINT64_C(1) << 30,
                          .smp = 1,
                          .gic = 3,
                          .cpu = ABI_CPU_MAX,
                          .serial = "stdio",
                          .dump_last = UINT64_MAX};
    if (argc < 2)
        return bad("no command given: run or info");
    const char *command = argv[1];
    if (!strcmp(command, "--help") || !strcmp(command, "-h") || !strcmp(command, "help")) {
        const char *of = argc > 2 ? argv[2] : "";
        if (*of && strcmp(of, "run") && strcmp(of, "info"))
            return bad("no help on '%s': there is run and info", of);
        fputs(!strcmp(of, "run") ? help_run : !strcmp(of, "info") ? help_info : help_main, stdout);
        return COMMAND_DONE;
    }
    if (!strcmp(command, "--version")) {
        if (argc > 2)
            return bad("--version takes nothing after it: '%s'", argv[2]);
        puts("graft " GRAFT_VERSION);
        return COMMAND_DONE;
    }
    if (!strcmp(command, "run"))
        return parse_run(o, argc - 2, argv + 2);
    if (!strcmp(command, "info"))
        return parse_info(o, argc - 2, argv + 2);
    return bad("unknown command '%s'", command);
}

void options_free(struct options *o) {
    for (unsigned i = 0; i < o->drives; i++)
        free(o->drive[i].path);
    free(o->stats);
}
