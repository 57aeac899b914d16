/* SPDX-License-Identifier: Apache-2.0
 * Copyright The Graft Authors */
/*
 * vmcore.c: see vmcore.h. The file has RAM once, at its physical addresses, and, at virtual ones, too, what the
 * processors' registers point to with what is mapped linearly around it: the kernel, its stacks, its linear mapping.
 * Notes are Linux's NT_PRSTATUS (elfcore.h) and, if the kernel has it in memory, VMCOREINFO
 * (Documentation/admin-guide/kdump/vmcoreinfo.rst), by which crash knows where the kernel lies. Memory that is zero
 * takes no room.
 */
#include "hypervisor/vmcore.h"
#include "graft/guest.h"
#include "hypervisor/ram_file.h"

#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define RUNS 60           /* mappings */
#define PRSTATUS_PID 32   /* offset in struct elf_prstatus */
#define PRSTATUS_REGS 112 /* offset of the registers in there */
#define PRSTATUS_MAX 64   /* registers */
#define NOTES_BYTES ((size_t)ABI_MAX_VCPUS * 1024 + PAGE_SIZE)
_Static_assert(sizeof(Elf64_Nhdr) + 8 + PRSTATUS_REGS + 8 * (PRSTATUS_MAX + 1) <= 1024, "room for notes");

struct run {
    uint64_t va, gpa, bytes;
};

static struct vmcore {
    const char *path;
    int fd, pages;
    _Atomic bool due;
    struct run run[RUNS];
    unsigned runs;
    uint8_t notes[NOTES_BYTES];
    size_t notes_len;
} v = {.fd = -1, .pages = -1};

bool vmcore_open(const struct options *o, char err[ERR_BYTES]) {
    struct stat st;
    const char *wrong = NULL;
    if (!o->dump_on_panic)
        return true;
    v.path = o->dump_on_panic;
    v.pages = ram_file_pages();
    v.fd = open(v.path, O_WRONLY | O_CREAT | O_CLOEXEC | O_NONBLOCK, 0600);
    if (v.fd < 0 || fstat(v.fd, &st))
        wrong = strerror(errno);
    else if (!S_ISREG(st.st_mode))
        wrong = "not a regular file";
    else if (disks_have(v.fd))
        wrong = "this is a disk of the guest";
    else if (ftruncate(v.fd, 0) || fchmod(v.fd, 0600)) /* it will hold all that the guest has in memory */
        wrong = strerror(errno);
    if (wrong)
        snprintf(err, ERR_BYTES, "--dump-on-panic: %.140s: %s", v.path, wrong);
    return !wrong;
}

/* --- what is mapped --------------------------------------------------------------------------- */
static bool in_ram(const struct machine *m, uint64_t gpa) { return gpa - m->board->ram < m->ram_size; }

/* Does va lead to gpa? Or, with any, to RAM? */
static bool leads(struct machine *m, unsigned vcpu, uint64_t va, uint64_t *gpa, bool any) {
    uint64_t value[2] = {0};
    if (!pause_ask(m, vcpu, ABI_ORDER_TRANSLATE, va, value) || !in_ram(m, value[0]) || (!any && value[0] != *gpa))
        return false;
    *gpa = value[0];
    return true;
}

static bool is_known(uint64_t va) {
    for (unsigned i = 0; i < v.runs; i++)
        if (va - v.run[i].va < v.run[i].bytes)
            return true;
    return false;
}

/* Bytes from va on, in the direction of way, 1 or -1, that lie in memory as they lie there. Page by page at first;
 * where many do, only some are looked at. */
static uint64_t extent(struct machine *m, unsigned vcpu, uint64_t va, uint64_t gpa, uint64_t way) {
    uint64_t pages = 0;
    for (;;) {
        uint64_t next = pages + (pages < 16 ? 1 : pages < 512 ? 16 : 512), to = gpa + way * next * PAGE_SIZE;
        if (is_known(va + way * next * PAGE_SIZE) || !in_ram(m, to) ||
            !leads(m, vcpu, va + way * next * PAGE_SIZE, &to, false))
            return pages * PAGE_SIZE;
        pages = next;
    }
}

static void add_run(struct machine *m, unsigned vcpu, uint64_t va) {
    uint64_t gpa;
    va &= ~PAGE_MASK;
    if (v.runs == RUNS || is_known(va) || !leads(m, vcpu, va, &gpa, true) || va == gpa)
        return;
    uint64_t down = extent(m, vcpu, va, gpa, ~UINT64_C(0)), up = extent(m, vcpu, va, gpa, 1);
    v.run[v.runs++] = (struct run){va - down, gpa - down, down + up + PAGE_SIZE};
}

static void find_runs(struct machine *m) {
    const struct guest_debug *d = guest_table[m->boot->guest]->debug;
    v.runs = 0;
    for (unsigned i = 0; i < m->vcpu_count; i++)
        for (unsigned n = 0; n < d->general; n++) {
            uint64_t value[2] = {0};
            if (d->regs[n].bits == 64 && pause_ask(m, i, ABI_ORDER_READ_REGISTER, n, value))
                add_run(m, i, value[0]);
        }
}

/* --- notes ------------------------------------------------------------------------------------ */
/* The next note, of that many bytes; its name, padded to a multiple of 4, is of name_bytes. */
static uint8_t *add_note(const char *name, size_t name_bytes, unsigned type, size_t bytes) {
    Elf64_Nhdr head = {
        .n_namesz = (Elf64_Word)strlen(name) + 1, .n_descsz = (Elf64_Word)bytes, .n_type = (Elf64_Word)type};
    uint8_t *at = v.notes + v.notes_len, *data = at + sizeof(head) + name_bytes;
    memcpy(at, &head, sizeof(head));
    memcpy(at + sizeof(head), name, head.n_namesz);
    v.notes_len += sizeof(head) + name_bytes + ALIGN_UP(bytes, 4);
    return data;
}

static void add_registers(struct machine *m, unsigned vcpu, bool stands) {
    const uint8_t *regs = m->board->core_regs;
    uint32_t pid = vcpu + 1;
    size_t count = 0;
    while (count < PRSTATUS_MAX && regs[count] != BOARD_NO_REG)
        count++;
    uint8_t *note = add_note("CORE", 8, NT_PRSTATUS, PRSTATUS_REGS + 8 * (count + 1)); /* pr_fpvalid is behind them */
    memcpy(note + PRSTATUS_PID, &pid, sizeof(pid));
    for (size_t n = 0; stands && n < count; n++) {
        uint64_t value[2] = {0};
        if (pause_ask(m, vcpu, ABI_ORDER_READ_REGISTER, regs[n], value))
            memcpy(note + PRSTATUS_REGS + 8 * n, value, 8);
    }
}

/* What the kernel has at the beginning of a page of its own, for kdump: a note, ready to be copied. The guest may have
 * anything there. */
static bool add_vmcoreinfo(const uint8_t *page) {
    static const char name[12] = "VMCOREINFO";
    const size_t start = sizeof(Elf64_Nhdr) + sizeof(name);
    Elf64_Nhdr head;
    memcpy(&head, page, sizeof(head));
    if (head.n_namesz != sizeof(name) - 1 || head.n_type || !head.n_descsz || head.n_descsz > PAGE_SIZE - start ||
        memcmp(page + sizeof(head), name, sizeof(name)))
        return false;
    memcpy(add_note(name, sizeof(name), 0, head.n_descsz), page + start, head.n_descsz);
    return true;
}

static void find_vmcoreinfo(struct machine *m) {
    for (uint64_t piece = 0; piece < m->ram_size; piece += RAM_PIECE) {
        if (!ram_file_has_data(m, v.pages, piece))
            continue;
        for (uint64_t page = piece; page < piece + RAM_PIECE; page += PAGE_SIZE)
            if (add_vmcoreinfo(m->ram + page))
                return;
    }
}

static void make_notes(struct machine *m, bool stands) {
    memset(v.notes, 0, sizeof(v.notes));
    v.notes_len = 0;
    for (unsigned i = 0; i < m->vcpu_count; i++)
        add_registers(m, i, stands);
    find_vmcoreinfo(m);
}

/* --- the file --------------------------------------------------------------------------------- */
/* A run that is ended by its user ends now. */
static bool put_ram(struct machine *m, uint64_t at, bool stands) {
    bool ok = !ftruncate(v.fd, (off_t)(at + m->ram_size)), any;
    for (uint64_t offset = 0; ok && offset < m->ram_size; offset += RAM_PIECE) {
        if (stands && m->state != MACHINE_RUNNING)
            return errno = ECANCELED, false;
        if (ram_file_has_data(m, v.pages, offset))
            ok = ram_file_put(v.fd, m->ram + offset, at + offset, &any);
    }
    return ok;
}

static unsigned make_headers(const struct machine *m, Elf64_Phdr p[RUNS + 2], uint64_t ram) {
    unsigned n = 0;
    p[n++] = (Elf64_Phdr){.p_type = PT_NOTE, .p_offset = PAGE_SIZE, .p_filesz = v.notes_len};
    for (const struct run *r = v.run; r < v.run + v.runs; r++)
        p[n++] = (Elf64_Phdr){.p_vaddr = r->va, .p_paddr = r->gpa, .p_filesz = r->bytes};
    p[n++] = (Elf64_Phdr){.p_vaddr = m->board->ram, .p_paddr = m->board->ram, .p_filesz = m->ram_size};
    for (unsigned i = 1; i < n; i++) {
        p[i].p_type = PT_LOAD;
        p[i].p_flags = PF_R | PF_W | PF_X;
        p[i].p_offset = ram + (p[i].p_paddr - m->board->ram);
        p[i].p_memsz = p[i].p_filesz;
    }
    return n;
}

static bool put_all(struct machine *m, bool stands) {
    uint64_t ram = PAGE_SIZE + ALIGN_UP(v.notes_len, PAGE_SIZE);
    Elf64_Phdr p[RUNS + 2];
    Elf64_Ehdr e = {.e_ident = {ELFMAG0, ELFMAG1, ELFMAG2, ELFMAG3, ELFCLASS64, ELFDATA2LSB, EV_CURRENT},
                    .e_type = ET_CORE,
                    .e_machine = m->board->elf_machine,
                    .e_version = EV_CURRENT,
                    .e_phoff = sizeof(e),
                    .e_ehsize = sizeof(e),
                    .e_phentsize = sizeof(p[0])};
    _Static_assert(sizeof(e) + sizeof(p) <= PAGE_SIZE, "notes are behind the first page");
    e.e_phnum = (Elf64_Half)make_headers(m, p, ram);
    return !ftruncate(v.fd, 0) && ram_file_write(v.fd, &e, sizeof(e), 0) &&
           ram_file_write(v.fd, p, e.e_phnum * sizeof(p[0]), sizeof(e)) &&
           ram_file_write(v.fd, v.notes, v.notes_len, PAGE_SIZE) && put_ram(m, ram, stands);
}

static void dump(struct machine *m, bool stands) {
    v.due = false;
    if (stands)
        find_runs(m);
    else
        v.runs = 0;
    make_notes(m, stands);
    if (put_all(m, stands))
        log_printf("graft: the guest's memory is in %s\n", v.path);
    else
        log_printf("graft: --dump-on-panic: %s: %s\n", v.path, strerror(errno));
}

static enum pause_result work(struct machine *m, void *arg) {
    (void)arg;
    if (v.due)
        dump(m, true);
    return PAUSE_OVER;
}

void vmcore_request(struct machine *m) {
    if (v.fd < 0)
        return;
    v.due = true;
    pause_request(m, work, NULL); /* if that cannot be, vmcore_finish() is left */
}

void vmcore_finish(struct machine *m) {
    if (v.due)
        dump(m, false);
}
