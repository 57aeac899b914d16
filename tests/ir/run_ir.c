/* SPDX-License-Identifier: Apache-2.0
 * Copyright The Graft Authors */
/*
 * run_ir.c: runs cases of IR text that carry what must come out.
 *
 *     === name of the case
 *     --- in            a block (ir_text.c has the format)
 *     --- optimised     what ir_optimise() makes of it, exactly
 *     --- invalid       or: what ir_verify() says about it
 *     --- run x0=1 nzcv=0x60000000 ...     interprets it, before and after optimising, from that state ...
 *     --- gives x1=2 pc=0x1004 ...         ... and that must be the state then (only what is named is compared)
 *
 * The state is fake_rt.h's, and operands of GET and PUT may be written as its registers: imm=x0, imm=nzcv, imm=v3.
 * "run_ir FILE --update" prints the file with every "optimised" part as it comes out now.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "dbt/ir_priv.h"
#include "ir_random.h"

#define TEXT_BYTES 65536
static struct ir_block block, optimised;
static struct fake_cpu start, cpu;
static char in[TEXT_BYTES], expected[TEXT_BYTES], actual[TEXT_BYTES];
static const char *file;
static char name[128];
static unsigned failures, cases;
static bool update;

static void failed(const char *what, const char *detail) {
    fprintf(stderr, "%s: %s: %s\n%s\n", file, name, what, detail);
    failures++;
}

/* --- names of state --------------------------------------------------------------------------- */
/* The offset and size of a register by its name; false if it is none. */
static bool find_register(const char *reg, size_t len, size_t *offset, size_t *bytes) {
    char text[16];
    *bytes = 8;
    for (unsigned n = 0; n < 32; n++) {
        if ((size_t)snprintf(text, sizeof(text), "x%u", n) == len && memcmp(text, reg, len) == 0) {
            *offset = FAKE_X(n);
            return true;
        }
        if ((size_t)snprintf(text, sizeof(text), "v%u", n) == len && memcmp(text, reg, len) == 0) {
            *offset = FAKE_V(n);
            return true;
        }
    }
    const struct {
        const char *name;
        size_t offset, bytes;
    } other[] = {{"pc", FAKE_PC, 8},
                 {"nzcv", FAKE_NZCV, 4},
                 {"fpsr", offsetof(struct cpu, fp.fpsr), 4},
                 {"qc", offsetof(struct cpu, fp.qc), 8},
                 {"excl", offsetof(struct cpu, excl_addr), 8}};
    for (size_t k = 0; k < ARRAY_LEN(other); k++) {
        if (strlen(other[k].name) == len && memcmp(other[k].name, reg, len) == 0) {
            *offset = other[k].offset;
            *bytes = other[k].bytes;
            return true;
        }
    }
    return false;
}

/* Copies a line of IR, with imm=NAME as a number. */
static void append_with_offsets(char *to, const char *line) {
    const char *imm = strstr(line, "imm=");
    size_t offset, bytes, len = imm ? strcspn(imm + 4, " \n") : 0;
    if (imm && find_register(imm + 4, len, &offset, &bytes))
        sprintf(to + strlen(to), "%.*simm=0x%zx%s", (int)(imm - line), line, offset, imm + 4 + len);
    else
        strcat(to, line);
}

/* The reverse: imm=0x... of a GET or PUT as a name. */
static void append_with_names(char *to, const char *line) {
    static const char *const rest[] = {"pc", "nzcv", "fpsr", "qc", "excl"};
    const char *imm = strstr(line, "imm=");
    bool state = imm && (strstr(line, "GET ") || strstr(line, "PUT "));
    size_t value = state ? strtoull(imm + 4, NULL, 0) : 0, offset, bytes;
    for (unsigned n = 0; state && n < 64 + ARRAY_LEN(rest); n++) {
        char reg[16];
        if (n < 64)
            snprintf(reg, sizeof(reg), "%c%u", n < 32 ? 'x' : 'v', n % 32);
        else
            snprintf(reg, sizeof(reg), "%s", rest[n - 64]);
        if (find_register(reg, strlen(reg), &offset, &bytes) && offset == value) {
            sprintf(to + strlen(to), "%.*simm=%s\n", (int)(imm - line), line, reg);
            return;
        }
    }
    sprintf(to + strlen(to), "%s\n", line);
}

static void collect(void *ctx, const char *line) { append_with_names(ctx, line); }

/* --- running ---------------------------------------------------------------------------------- */
/* Applies, or compares, "x0=1 nzcv=0x60000000 ...". */
static bool state_list(char *list, bool compare, char *why) {
    for (char *word = strtok(list, " \n"); word; word = strtok(NULL, " \n")) {
        size_t offset, bytes, len = strcspn(word, "=");
        uint64_t value = strtoull(word + len + 1, NULL, 0), now = 0;
        if (word[len] != '=' || !find_register(word, len, &offset, &bytes)) {
            sprintf(why, "no such state: %s", word);
            return false;
        }
        bool flags = offset == FAKE_NZCV;
        if (!compare) {
            value = flags ? ir_flags_pack((uint32_t)value) : value;
            memcpy((char *)&start + offset, &value, bytes);
            continue;
        }
        memcpy(&now, (char *)&cpu + offset, bytes);
        now = flags ? ir_flags_unpack((uint32_t)now) : now;
        if (now != value) {
            sprintf(why, "%s, but it is 0x%llx", word, (unsigned long long)now);
            return false;
        }
    }
    return true;
}

static void run_block(const struct ir_block *b, const char *gives, const char *which) {
    char list[1024], why[256];
    memset(fake_memory, 0, sizeof(fake_memory));
    cpu = start;
    fake_interpret(b, &cpu);
    snprintf(list, sizeof(list), "%s", gives);
    if (!state_list(list, true, why))
        failed(which, why);
}

static bool prepare(void) {
    char err[200];
    if (ir_parse(&block, in, err, sizeof(err))) {
        failed("cannot be read", err);
        return false;
    }
    return true;
}

static void check_optimised(void) {
    char err[200];
    if (!prepare())
        return;
    if (ir_verify(&block, err, sizeof(err))) {
        failed("is invalid", err);
        return;
    }
    optimised = block;
    ir_optimise(&optimised);
    if (ir_verify(&optimised, err, sizeof(err)))
        failed("is invalid when optimised", err);
    actual[0] = 0;
    ir_print(&optimised, collect, actual);
    if (update)
        fputs(actual, stdout);
    else if (strcmp(actual, expected))
        failed("optimised, it is", actual);
}

static void check_invalid(void) {
    char err[200] = "nothing wrong";
    if (prepare()) {
        ir_verify(&block, err, sizeof(err));
        expected[strcspn(expected, "\n")] = 0;
        if (strcmp(err, expected))
            failed("verifier says", err);
    }
}

static void check_run(const char *gives) {
    if (prepare()) {
        run_block(&block, gives, "interpreted");
        optimised = block;
        ir_optimise(&optimised);
        run_block(&optimised, gives, "interpreted when optimised");
    }
}

/* --- reading the file ------------------------------------------------------------------------- */
enum part { PART_NONE, PART_IN, PART_OPTIMISED, PART_INVALID };

static void finish(enum part part) {
    if (part == PART_OPTIMISED)
        check_optimised();
    else if (part == PART_INVALID)
        check_invalid();
}

static enum part begin_part(char *line) {
    char why[256];
    expected[0] = 0;
    if (!strncmp(line, "--- in\n", 7)) {
        in[0] = 0;
        return PART_IN;
    }
    if (!strncmp(line, "--- run", 7)) {
        fake_cpu_init(&start);
        if (!state_list(line + 7, false, why))
            failed("run", why);
        return PART_NONE;
    }
    if (!strncmp(line, "--- gives ", 10)) {
        check_run(line + 10);
        return PART_NONE;
    }
    if (strcmp(line, "--- optimised\n") && strcmp(line, "--- invalid\n"))
        failed("unknown part", line);
    return line[4] == 'o' ? PART_OPTIMISED : PART_INVALID;
}

static void read_cases(FILE *f) {
    char line[1024];
    enum part part = PART_NONE;
    while (fgets(line, sizeof(line), f)) {
        bool heading = !strncmp(line, "=== ", 4) || !strncmp(line, "--- ", 4);
        if (heading) {
            finish(part);
            if (update && part == PART_OPTIMISED && line[0] == '=')
                putchar('\n');
            part = PART_NONE;
        }
        if (update && part != PART_OPTIMISED)
            fputs(line, stdout);
        if (!strncmp(line, "=== ", 4)) {
            snprintf(name, sizeof(name), "%.*s", (int)strcspn(line + 4, "\n"), line + 4);
            cases++;
        } else if (heading) {
            part = begin_part(line);
        } else if (part == PART_IN) {
            append_with_offsets(in, line);
        } else if (part != PART_NONE && line[0] != '\n') {
            strcat(expected, line);
        }
    }
    finish(part);
}

int main(int argc, char **argv) {
    if (argc < 2) {
        fprintf(stderr, "usage: run_ir FILE [--update]\n");
        return 2;
    }
    file = argv[1];
    update = argc > 2 && !strcmp(argv[2], "--update");
    FILE *f = fopen(file, "r");
    if (!f) {
        perror(file);
        return 2;
    }
    ir_parse_helpers = ir_random_helpers;
    read_cases(f);
    fclose(f);
    fprintf(stderr, "%s: %u cases, %u failures\n", file, cases, failures);
    return failures != 0 || cases == 0;
}
