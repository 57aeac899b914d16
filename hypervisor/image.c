/* SPDX-License-Identifier: Apache-2.0
 * Copyright The Graft Authors */
/* image.c: the engine's ELF file, which is part of this program (engine_image.S). */
#include "hypervisor/monitor.h"

#include <elf.h>
#include <string.h>

static const Elf64_Ehdr *header(void) { return (const Elf64_Ehdr *)engine_image; }

static const Elf64_Phdr *segment(unsigned i) {
    const Elf64_Phdr *p = (const Elf64_Phdr *)(engine_image + header()->e_phoff);
    return p[i].p_type == PT_LOAD && p[i].p_memsz ? &p[i] : NULL;
}

uint64_t engine_image_size(void) {
    uint64_t end = 0;
    for (unsigned i = 0; i < header()->e_phnum; i++) {
        const Elf64_Phdr *p = segment(i);
        if (p && p->p_vaddr + p->p_memsz - ABI_VA_ENGINE > end)
            end = p->p_vaddr + p->p_memsz - ABI_VA_ENGINE;
    }
    return ALIGN_UP(end, PAGE_SIZE);
}

static const Elf64_Dyn *dynamic(void) {
    const Elf64_Phdr *p = (const Elf64_Phdr *)(engine_image + header()->e_phoff);
    for (unsigned i = 0; i < header()->e_phnum; i++)
        if (p[i].p_type == PT_DYNAMIC)
            return (const Elf64_Dyn *)(engine_image + p[i].p_offset);
    return NULL;
}

/* Words that hold an address of the image's own (R_X86_64_RELATIVE, the only relocation that the image has:
 * dbt/rt/vm/relocations.cmake). */
static void relocate(uint8_t *arena, uint64_t base) {
    uint64_t table = 0, bytes = 0;
    for (const Elf64_Dyn *d = dynamic(); d && d->d_tag != DT_NULL; d++) {
        table = d->d_tag == DT_RELA ? d->d_un.d_ptr : table;
        bytes = d->d_tag == DT_RELASZ ? d->d_un.d_val : bytes;
    }
    const Elf64_Rela *r = (const Elf64_Rela *)(arena + (table - ABI_VA_ENGINE));
    for (uint64_t i = 0; i < bytes / sizeof(*r); i++) {
        uint64_t word = base + (uint64_t)r[i].r_addend;
        memcpy(arena + (r[i].r_offset - ABI_VA_ENGINE), &word, sizeof(word));
    }
}

void engine_image_load(uint8_t *arena, uint64_t base) {
    for (unsigned i = 0; i < header()->e_phnum; i++) {
        const Elf64_Phdr *p = segment(i);
        if (p)
            memcpy(arena + (p->p_vaddr - ABI_VA_ENGINE), engine_image + p->p_offset, p->p_filesz);
    }
    relocate(arena, base);
}

struct image_rights engine_image_rights(uint64_t offset) {
    struct image_rights r = {false, false};
    for (unsigned i = 0; i < header()->e_phnum; i++) {
        const Elf64_Phdr *p = segment(i);
        uint64_t va = ABI_VA_ENGINE + offset;
        if (p && va >= ALIGN_DOWN(p->p_vaddr, PAGE_SIZE) && va < p->p_vaddr + p->p_memsz) {
            r.write |= (p->p_flags & PF_W) != 0;
            r.exec |= (p->p_flags & PF_X) != 0;
        }
    }
    return r;
}
