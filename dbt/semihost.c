/* SPDX-License-Identifier: Apache-2.0
 * Copyright The Graft Authors */
/* semihost.c: the guest's memory for semihosting calls. See graft/semihost.h. */
#include "graft/semihost.h"
#include "dbt/engine.h"

#define FAILED (~UINT64_C(0))
#define TEXT_BYTES sizeof(((struct abi_vcpu *)0)->text)

/* --- memory: a wrong address is the call's failure, not an abort ------------------------------ */
/* Copies between buf and the guest's bytes at va, which are RAM that the guest may access in that way. */
static bool copy(struct cpu *cpu, uint64_t va, void *buf, uint64_t len, enum mmu_access access) {
    uint8_t *p = buf;
    for (uint64_t n; len; va += n, p += n, len -= n) {
        struct gpa pa;
        uint8_t *host;
        n = PAGE_SIZE - (va & PAGE_MASK);
        n = n < len ? n : len;
        if (!mem_translate(cpu, va, access, cpu->regime, &pa) || !(host = ram_ptr(cpu, pa, n)))
            return false;
        if (access == MMU_READ)
            memcpy(p, host, n);
        else
            for (uint64_t i = 0; i < n; i++) /* code may be there */
                mem_write(cpu, va + i, p[i], 0, cpu->regime, 0);
    }
    return true;
}

static uint64_t call(struct cpu *cpu, enum semihost_op op, uint64_t a, uint64_t b, uint64_t c) {
    cpu->abi.arg[0] = op;
    cpu->abi.arg[1] = a;
    cpu->abi.arg[2] = b;
    cpu->abi.arg[3] = c;
    rt_call(cpu, ABI_CALL_SEMIHOST);
    return cpu->abi.ret[0];
}
static bool again(const struct cpu *cpu) { return cpu->abi.ret[1] == SEMIHOST_AGAIN; }

/* --- calls that may take several times -------------------------------------------------------- */
/*
 * Where the call goes on. Interrupts are taken in between, and their handlers, or other threads, may make calls of
 * their own: what tells one from another is its stack. A call that has not come to its end, but whose stack pointer
 * another one has, was left for good.
 */
static struct semihost_call *progress(struct cpu *cpu, const struct semihost_call *now) {
    struct engine *e = engine_of(cpu);
    struct semihost_call *c, *free = NULL;
    for (c = e->semihost; c < e->semihost + SEMIHOST_CALLS; c++) {
        if (c->op && c->sp == now->sp) {
            if (c->op == now->op && c->param == now->param && c->pc == now->pc)
                return c;
            c->op = 0;
        }
        free = c->op ? free : c;
    }
    if (!free)
        free = &e->semihost[e->semihost_next++ % SEMIHOST_CALLS];
    *free = *now;
    return free;
}
static bool finished(struct semihost_call *c) {
    c->op = 0;
    return true;
}

/* Result: bytes that were not written. */
static bool write_bytes(struct cpu *cpu, struct semihost_call *c, const uint64_t word[3], uint64_t *result) {
    uint64_t *done = &c->done;
    while (*done < word[2]) {
        uint64_t left = word[2] - *done, n = left < TEXT_BYTES ? left : TEXT_BYTES, taken;
        if (!copy(cpu, word[1] + *done, cpu->abi.text, n, MMU_READ))
            break;
        taken = call(cpu, SYS_WRITE, word[0], n, 0);
        if (taken > n) /* it failed */
            break;
        *done += taken;
        if (taken < n || cpu->abi.pending)
            return false;
    }
    *result = word[2] - *done;
    return finished(c);
}

/* How many of the first n bytes come before a 0. */
static uint64_t text_length(const char *text, uint64_t n) {
    uint64_t i = 0;
    while (i < n && text[i])
        i++;
    return i;
}

static bool write_text(struct cpu *cpu, struct semihost_call *c) {
    uint64_t *done = &c->done;
    for (;;) {
        uint64_t at = c->param + *done, n = PAGE_SIZE - (at & PAGE_MASK), len;
        n = n < TEXT_BYTES ? n : TEXT_BYTES;
        if (!copy(cpu, at, cpu->abi.text, n, MMU_READ))
            break;
        len = text_length(cpu->abi.text, n);
        uint64_t taken = len ? call(cpu, SYS_WRITEC, 0, len, 0) : 0;
        *done += taken < len ? taken : len;
        if (taken >= len && len < n)
            break;
        if (taken < len || cpu->abi.pending)
            return false;
    }
    return finished(c);
}

/* --- the calls -------------------------------------------------------------------------------- */
/* Result: bytes that were not read: all of them at the end. A file gives all it has; a console, what there is. */
static bool read_bytes(struct cpu *cpu, struct semihost_call *c, const uint64_t word[3], uint64_t *result) {
    uint64_t *done = &c->done;
    while (*done < word[2]) {
        uint64_t left = word[2] - *done, n = left < TEXT_BYTES ? left : TEXT_BYTES,
                 got = call(cpu, SYS_READ, word[0], n, 0);
        if (again(cpu) && !*done)
            return false;
        if (again(cpu) || got > n || !copy(cpu, word[1] + *done, cpu->abi.text, got, MMU_WRITE))
            break;
        *done += got;
        if (got < n)
            break;
        if (cpu->abi.pending && *done < word[2])
            return false;
    }
    *result = word[2] - *done;
    return finished(c);
}

static bool open_name(struct cpu *cpu, const uint64_t word[3], uint64_t *result) {
    bool ok = word[2] < TEXT_BYTES && copy(cpu, word[0], cpu->abi.text, word[2], MMU_READ);
    *result = ok ? call(cpu, SYS_OPEN, word[1], word[2], 0) : FAILED;
    return true;
}

/* {name, its length}, once or twice: the names go one behind the other. */
static bool names(struct cpu *cpu, uint32_t op, const uint64_t word[4], uint64_t *result) {
    uint64_t second = op == SYS_RENAME ? word[3] : 0;
    bool ok = word[1] <= TEXT_BYTES && second <= TEXT_BYTES - word[1] &&
              copy(cpu, word[0], cpu->abi.text, word[1], MMU_READ) &&
              copy(cpu, word[2], cpu->abi.text + word[1], second, MMU_READ);
    *result = ok ? call(cpu, (enum semihost_op)op, word[1], second, 0) : FAILED;
    return true;
}

/* {buffer, number, size of the buffer} */
static bool temporary_name(struct cpu *cpu, const uint64_t word[3], uint64_t *result) {
    uint64_t len = call(cpu, SYS_TMPNAM, word[1], 0, 0);
    bool ok = len < TEXT_BYTES && len < word[2] && copy(cpu, word[0], cpu->abi.text, len + 1, MMU_WRITE);
    *result = ok ? 0 : FAILED;
    return true;
}

/* {buffer, its size}: the size becomes the length without the 0. */
static bool command_line(struct cpu *cpu, uint64_t param, uint64_t word[2], uint64_t *result) {
    uint64_t len = call(cpu, SYS_GET_CMDLINE, TEXT_BYTES, 0, 0);
    bool ok = len < TEXT_BYTES && len < word[1] && copy(cpu, word[0], cpu->abi.text, len + 1, MMU_WRITE);
    *result = ok && copy(cpu, param + 8, &len, 8, MMU_WRITE) ? 0 : FAILED;
    return true;
}

/* {where four words go}: heap and stack, 0 each: where they are is for the program to know. */
static bool heap_info(struct cpu *cpu, const uint64_t *word, uint64_t *result) {
    uint64_t none[4] = {0};
    *result = copy(cpu, word[0], none, sizeof(none), MMU_WRITE) ? 0 : FAILED;
    return true;
}

static bool write_char(struct cpu *cpu, uint64_t param) {
    return !copy(cpu, param, cpu->abi.text, 1, MMU_READ) || call(cpu, SYS_WRITEC, 0, 1, 0) == 1;
}

/* How many 64-bit fields are behind the parameter. */
static unsigned fields_of(uint32_t op) {
    switch (op) {
    case SYS_RENAME: return 4;
    case SYS_OPEN:
    case SYS_WRITE:
    case SYS_READ:
    case SYS_TMPNAM: return 3;
    case SYS_SEEK:
    case SYS_REMOVE:
    case SYS_GET_CMDLINE:
    case SYS_EXIT:
    case SYS_EXIT_EXTENDED: return 2;
    case SYS_CLOSE:
    case SYS_ISERROR:
    case SYS_ISTTY:
    case SYS_FLEN:
    case SYS_HEAPINFO: return 1;
    default: return 0;
    }
}

/* The calls that may take several times. */
static bool transfer(struct cpu *cpu, struct semihost_call *c, const uint64_t word[3], uint64_t *result) {
    switch (c->op) {
    case SYS_WRITE0: return write_text(cpu, c);
    case SYS_WRITE: return write_bytes(cpu, c, word, result);
    default: return read_bytes(cpu, c, word, result);
    }
}

bool engine_semihost(struct cpu *cpu, uint32_t op, uint64_t param, uint64_t sp, uint64_t *result) {
    struct semihost_call now = {.op = op, .param = param, .pc = guest_pc(cpu), .sp = sp};
    uint64_t word[4] = {0};
    *result = FAILED;
    if (!copy(cpu, param, word, 8 * fields_of(op), MMU_READ))
        return true;
    switch (op) {
    case SYS_OPEN: return open_name(cpu, word, result);
    case SYS_WRITEC: return write_char(cpu, param);
    case SYS_WRITE0:
    case SYS_WRITE:
    case SYS_READ: return transfer(cpu, progress(cpu, &now), word, result);
    case SYS_ISERROR: return *result = word[0] >> 63, true;
    case SYS_REMOVE:
    case SYS_RENAME: return names(cpu, op, word, result);
    case SYS_TMPNAM: return temporary_name(cpu, word, result);
    case SYS_GET_CMDLINE: return command_line(cpu, param, word, result);
    case SYS_HEAPINFO: return heap_info(cpu, word, result);
    case SYS_ELAPSED:
        word[0] = call(cpu, SYS_ELAPSED, 0, 0, 0);
        return *result = copy(cpu, param, word, 8, MMU_WRITE) ? 0 : FAILED, true;
    default: break;
    }
    if (op == SYS_EXIT || op == SYS_EXIT_EXTENDED)
        reuse_give(cpu);
    *result = call(cpu, (enum semihost_op)op, word[0], word[1], 0);
    return !again(cpu);
}
