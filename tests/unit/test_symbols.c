/* SPDX-License-Identifier: Apache-2.0
 * Copyright The Graft Authors */
/* test_symbols.c: files that name functions (--symbols). */
#include "hypervisor/symbols.h"

#include <check.h>
#include <elf.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char *name_at(const struct symbols *s, uint64_t va) {
    const struct symbol *found = symbols_find(s, va);
    return found ? found->name : "";
}

static const char *parse_text(struct symbols *s, const char *text) {
    char copy[512];
    strcpy(copy, text);
    const char *wrong = symbols_parse(s, (uint8_t *)copy, strlen(copy));
    memset(copy, 'x', sizeof(copy)); /* nothing of the file is needed any more */
    return wrong;
}

START_TEST(test_text) {
    struct symbols s;
    ck_assert_ptr_null(parse_text(&s, "ffff800008010000 T _stext\n"
                                      "ffff800008010200 t second\r\n"
                                      "ffff800008010100 T first\t[a_module]\n"
                                      "ffff800008010180 d data\n"
                                      "ffff800008010190 t $x\n"
                                      "                 U undefined\n"
                                      "0000000000000000 T hidden\n"
                                      "ffff800008010300 T cut off"));
    ck_assert_uint_eq(s.count, 3);
    ck_assert_str_eq(name_at(&s, UINT64_C(0xffff80000800ffff)), "");
    ck_assert_str_eq(name_at(&s, UINT64_C(0xffff800008010000)), "_stext");
    ck_assert_str_eq(name_at(&s, UINT64_C(0xffff8000080100ff)), "_stext");
    ck_assert_str_eq(name_at(&s, UINT64_C(0xffff800008010100)), "first");
    ck_assert_str_eq(name_at(&s, UINT64_C(0xffff8000080101ff)), "first");
    ck_assert_str_eq(name_at(&s, UINT64_C(0xffff800008010200) + SYMBOLS_LAST - 1), "second");
    ck_assert_str_eq(name_at(&s, UINT64_C(0xffff800008010200) + SYMBOLS_LAST), "");
    ck_assert_str_eq(name_at(&s, 0), "");
    symbols_free(&s);
}
END_TEST

START_TEST(test_no_symbols) {
    static const char *const wrong[] = {"",           "\n",          "hello\n",
                                        "ffff T\n",   "ffff T name", "ffff d data\n",
                                        "0 T none\n", "ffff T  \n",  "1000 T good\nbad\n"};
    struct symbols s;
    for (unsigned i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
        ck_assert_msg(parse_text(&s, wrong[i]) != NULL, "%u", i);
        ck_assert_uint_eq(s.count, 0);
    }
}
END_TEST

/* An ELF file: null, symbols, their names. */
static struct elf {
    Elf64_Ehdr head;
    Elf64_Shdr section[3];
    Elf64_Sym symbol[5];
    char names[32];
} elf;

static void make_elf(void) {
    const uint64_t symbols = offsetof(struct elf, symbol), names = offsetof(struct elf, names);
    elf = (struct elf){
        .head = {.e_ident = {ELFMAG0, ELFMAG1, ELFMAG2, ELFMAG3, ELFCLASS64, ELFDATA2LSB},
                 .e_shoff = offsetof(struct elf, section),
                 .e_shentsize = sizeof(Elf64_Shdr),
                 .e_shnum = 3},
        .section = {[1] = {.sh_type = SHT_SYMTAB, .sh_offset = symbols, .sh_size = sizeof(elf.symbol), .sh_link = 2},
                    [2] = {.sh_type = SHT_STRTAB, .sh_offset = names, .sh_size = sizeof(elf.names)}},
        .symbol = {[1] = {.st_name = 1, .st_info = STT_FUNC, .st_shndx = 1, .st_value = 0x2000},
                   [2] = {.st_name = 6, .st_info = STT_NOTYPE, .st_shndx = 1, .st_value = 0x1000},
                   [3] = {.st_name = 12, .st_info = STT_OBJECT, .st_shndx = 1, .st_value = 0x1800},
                   [4] = {.st_name = 1, .st_info = STT_FUNC, .st_shndx = SHN_UNDEF, .st_value = 0x1900}}};
    memcpy(elf.names, "\0main\0start\0data", 17);
}

static const char *parse_part(struct symbols *s, size_t len) {
    uint8_t *copy = malloc(len + !len); /* so that what is read behind it is seen */
    memcpy(copy, &elf, len);
    const char *wrong = symbols_parse(s, copy, len);
    free(copy);
    return wrong;
}

START_TEST(test_elf) {
    struct symbols s;
    make_elf();
    ck_assert_ptr_null(parse_part(&s, sizeof(elf)));
    ck_assert_uint_eq(s.count, 2);
    ck_assert_str_eq(name_at(&s, 0x1fff), "start");
    ck_assert_str_eq(name_at(&s, 0x2000), "main");
    symbols_free(&s);
}
END_TEST

START_TEST(test_broken_elf) {
    struct symbols s;
    make_elf();
    for (size_t len = 0; len < sizeof(elf); len++)
        ck_assert_msg(parse_part(&s, len) != NULL, "%zu", len);
    elf.head.e_ident[EI_CLASS] = ELFCLASS32;
    ck_assert_ptr_nonnull(parse_part(&s, sizeof(elf)));
    make_elf();
    elf.section[1].sh_link = 9;
    ck_assert_ptr_nonnull(parse_part(&s, sizeof(elf)));
    make_elf();
    elf.section[2].sh_size = UINT64_MAX;
    ck_assert_ptr_nonnull(parse_part(&s, sizeof(elf)));
    make_elf();
    elf.symbol[1].st_name = elf.symbol[2].st_name = 32;
    ck_assert_ptr_nonnull(parse_part(&s, sizeof(elf)));
}
END_TEST

int main(void) {
    Suite *suite = suite_create("symbols");
    TCase *t = tcase_create("symbols");
    tcase_add_test(t, test_text);
    tcase_add_test(t, test_no_symbols);
    tcase_add_test(t, test_elf);
    tcase_add_test(t, test_broken_elf);
    suite_add_tcase(suite, t);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed != 0;
}
