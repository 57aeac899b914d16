/* SPDX-License-Identifier: Apache-2.0
 * Copyright The Graft Authors */
/* fuzz_symbols.c: files that name functions (--symbols); an ELF header in front of half of the inputs. */
#include "hypervisor/symbols.h"

#include <elf.h>
#include <stdlib.h>
#include <string.h>

static void check(const struct symbols *s) {
    for (size_t i = 0; i < s->count; i++) {
        const struct symbol *found = symbols_find(s, s->at[i].address);
        if ((i && s->at[i - 1].address > s->at[i].address) || !found || found->address != s->at[i].address ||
            !strlen(found->name))
            abort();
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    const Elf64_Ehdr head = {.e_ident = {ELFMAG0, ELFMAG1, ELFMAG2, ELFMAG3, ELFCLASS64, ELFDATA2LSB},
                             .e_shoff = sizeof(head),
                             .e_shentsize = sizeof(Elf64_Shdr),
                             .e_shnum = 3};
    struct symbols s;
    if (!size)
        return 0;
    size_t elf = *data & 1 ? sizeof(head) : 0, len = elf + size - 1;
    uint8_t *copy = malloc(len + !len);
    if (!copy)
        abort();
    memcpy(copy, &head, elf);
    memcpy(copy + elf, data + 1, size - 1);
    if (!symbols_parse(&s, copy, len)) {
        check(&s);
        symbols_free(&s);
    }
    free(copy);
    return 0;
}
