/* SPDX-License-Identifier: Apache-2.0
 * Copyright The Graft Authors */
/* symbols.c: see symbols.h. */
#include "hypervisor/symbols.h"

#include <elf.h>
#include <stdlib.h>
#include <string.h>

static const char no_memory[] = "out of memory";

/* False: there is no memory. */
static bool add(struct symbols *s, uint64_t address, const char *name) {
    if (!(s->count & (s->count - 1))) { /* a power of 2: full */
        struct symbol *more = realloc(s->at, (s->count ? 2 * s->count : 1) * sizeof(*more));
        if (!more)
            return false;
        s->at = more;
    }
    char *own = strdup(name);
    if (own)
        s->at[s->count++] = (struct symbol){address, own};
    return own;
}

/* --- ELF -------------------------------------------------------------------------------------- */
struct table {
    const uint8_t *data;
    size_t len;
};

/* What section n consists of; none: len is 0. */
static struct table section(const struct table *file, const Elf64_Ehdr *e, unsigned n, Elf64_Shdr *head) {
    struct table none = {0};
    uint64_t at = e->e_shoff + (uint64_t)n * sizeof(*head);
    if (n >= e->e_shnum || e->e_shoff > file->len || at + sizeof(*head) > file->len)
        return none;
    memcpy(head, file->data + at, sizeof(*head));
    if (head->sh_type == SHT_NOBITS || head->sh_offset > file->len || head->sh_size > file->len - head->sh_offset)
        return none;
    return (struct table){file->data + head->sh_offset, head->sh_size};
}

/* Assembly has functions without a type. Names with a $ tell code from data ("mapping symbols" of AArch64 and
 * RISC-V). */
static bool is_function(const Elf64_Sym *sym, const char *name) {
    unsigned type = ELF64_ST_TYPE(sym->st_info);
    return (type == STT_FUNC || type == STT_NOTYPE) && sym->st_shndx != SHN_UNDEF && sym->st_shndx != SHN_ABS &&
           *name && *name != '$';
}

static bool add_table(struct symbols *s, struct table symbols, struct table names) {
    Elf64_Sym sym;
    for (size_t at = 0; at + sizeof(sym) <= symbols.len; at += sizeof(sym)) {
        memcpy(&sym, symbols.data + at, sizeof(sym));
        if (sym.st_name >= names.len)
            continue;
        const char *name = (const char *)names.data + sym.st_name;
        if (memchr(name, 0, names.len - sym.st_name) && is_function(&sym, name) && !add(s, sym.st_value, name))
            return false;
    }
    return true;
}

static const char *parse_elf(struct symbols *s, const uint8_t *data, size_t len) {
    struct table file = {data, len};
    Elf64_Ehdr e;
    Elf64_Shdr head, names;
    memcpy(&e, data, sizeof(e));
    if (e.e_ident[EI_CLASS] != ELFCLASS64 || e.e_ident[EI_DATA] != ELFDATA2LSB || e.e_shentsize != sizeof(head))
        return "no ELF64 file of little endian";
    for (unsigned n = 0; n < e.e_shnum; n++) {
        struct table t = section(&file, &e, n, &head);
        if (t.len && head.sh_type == SHT_SYMTAB && !add_table(s, t, section(&file, &e, head.sh_link, &names)))
            return no_memory;
    }
    return NULL;
}

/* --- text ------------------------------------------------------------------------------------- */
/* "ffff800008010000 T name", and "\t[module]" behind it. False: it is no such line; a line of data has *name NULL. */
static bool parse_line(char *line, uint64_t *address, char **name) {
    char *end;
    *address = strtoull(line, &end, 16);
    if (end == line || end[0] != ' ' || !end[1] || end[2] != ' ' || !end[3])
        return false;
    size_t len = strcspn(end + 3, " \t\r");
    *name = len && strchr("tTwW", end[1]) && end[3] != '$' ? end + 3 : NULL;
    end[3 + len] = 0;
    return true;
}

static const char *parse_text(struct symbols *s, char *data, size_t len) {
    char *end = data + len, *next, *name;
    uint64_t address;
    for (char *line = data; line < end; line = next) {
        char *newline = memchr(line, '\n', (size_t)(end - line));
        if (!newline) /* a last line that is cut off is none */
            break;
        *newline = 0;
        next = newline + 1;
        if (*line == ' ') /* nm has no address for what is not defined */
            continue;
        if (!parse_line(line, &address, &name))
            return "neither ELF nor a list of addresses, types and names";
        if (name && address &&
            !add(s, address, name)) /* kallsyms are all 0 for whom they are none of the business of */
            return no_memory;
    }
    return NULL;
}

static int by_address(const void *a, const void *b) {
    const struct symbol *x = a, *y = b;
    return x->address < y->address ? -1 : x->address > y->address;
}

const char *symbols_parse(struct symbols *s, uint8_t *data, size_t len) {
    *s = (struct symbols){0};
    bool elf = len >= sizeof(Elf64_Ehdr) && !memcmp(data, ELFMAG, SELFMAG);
    const char *wrong = elf ? parse_elf(s, data, len) : parse_text(s, (char *)data, len);
    if (!wrong && !s->count)
        wrong = "no functions are named in it";
    if (wrong)
        symbols_free(s);
    else
        qsort(s->at, s->count, sizeof(*s->at), by_address);
    return wrong;
}

void symbols_free(struct symbols *s) {
    for (size_t i = 0; i < s->count; i++)
        free(s->at[i].name);
    free(s->at);
    *s = (struct symbols){0};
}

const struct symbol *symbols_find(const struct symbols *s, uint64_t va) {
    size_t from = 0, to = s->count; /* the first that begins behind va is in there */
    while (from < to) {
        size_t middle = from + (to - from) / 2;
        if (s->at[middle].address <= va)
            from = middle + 1;
        else
            to = middle;
    }
    if (!from || (from == s->count && va - s->at[from - 1].address >= SYMBOLS_LAST))
        return NULL;
    return &s->at[from - 1];
}
