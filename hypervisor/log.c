/* SPDX-License-Identifier: Apache-2.0
 * Copyright The Graft Authors */
/* log.c: the log (-d, -D), disassembly for it, and the map file of perf. */
#include "hypervisor/monitor.h"

#include <elf.h>
#include <capstone/capstone.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

static FILE *log_file;
static FILE *perf_file;
static pthread_mutex_t log_mutex = PTHREAD_MUTEX_INITIALIZER;

static FILE *log_stream(void) { return log_file ? log_file : stderr; }

/* Where perf looks for it, in a folder that everybody may write to: not through a link, and not into a file of someone
 * else. */
static bool perf_open(char err[ERR_BYTES]) {
    char path[64];
    snprintf(path, sizeof(path), "/tmp/perf-%d.map", (int)getpid());
    unlink(path);
    int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0644);
    if (fd < 0 || !(perf_file = fdopen(fd, "w")))
        snprintf(err, ERR_BYTES, "%s: %s", path, strerror(errno));
    return perf_file != NULL;
}

bool log_open(const struct options *o, char err[ERR_BYTES]) {
    struct output log = {0};
    if ((o->log_file && !output_open(&log, o->log_file, err)) || (o->log_topics & ABI_LOG_PERF && !perf_open(err)))
        return false;
    log_file = log.stream;
    if (log_file)
        setvbuf(log_file, NULL, _IOLBF, 0);
    return true;
}

void log_text(const char *text, size_t len) {
    pthread_mutex_lock(&log_mutex);
    fwrite(text, 1, len, log_stream());
    if (len && text[len - 1] != '\n')
        fputc('\n', log_stream());
    pthread_mutex_unlock(&log_mutex);
}

/* --- what is said under the device lock ------------------------------------------------------- */
/* A thread of the log's own writes it, which may have to wait for a reader. What there is no room for is counted. */
#define LATE_BYTES 16384
static struct {
    pthread_mutex_t lock;
    pthread_cond_t more, written;
    struct thread *thread;
    char text[LATE_BYTES];
    size_t len;
    unsigned lost;
    bool busy; /* some of it is being written */
} late = {.lock = PTHREAD_MUTEX_INITIALIZER, .more = PTHREAD_COND_INITIALIZER, .written = PTHREAD_COND_INITIALIZER};
static _Thread_local bool is_late;

void log_later(bool later) { is_late = later; }

static void write_late(void *arg) {
    char text[LATE_BYTES + 64];
    pthread_mutex_lock(&late.lock);
    for (;;) {
        while (!late.len)
            pthread_cond_wait(&late.more, &late.lock);
        size_t len = late.len;
        memcpy(text, late.text, len);
        if (late.lost)
            len += (size_t)snprintf(text + len, sizeof(text) - len, "graft: %u more messages are lost\n", late.lost);
        late.len = late.lost = 0;
        late.busy = true;
        pthread_mutex_unlock(&late.lock);
        log_text(text, len);
        pthread_mutex_lock(&late.lock);
        late.busy = false;
        pthread_cond_broadcast(&late.written);
    }
}

void log_keep(int fd) {
    unsigned log = log_file ? (unsigned)fileno(log_file) : STDERR_FILENO, a = (unsigned)fd < log ? (unsigned)fd : log,
             b = (unsigned)fd < log ? log : (unsigned)fd;
    if (a > STDERR_FILENO + 1)
        close_range(STDERR_FILENO + 1, a - 1, 0);
    if (b > a + 1)
        close_range(a > STDERR_FILENO ? a + 1 : STDERR_FILENO + 1, b - 1, 0);
    close_range(b + 1, ~0u, 0);
}

void log_start(void) { late.thread = thread_start(THREAD_CONSOLE, "log", write_late, NULL); }

static void say_later(const char *fmt, va_list ap) {
    char line[512];
    int len = vsnprintf(line, sizeof(line), fmt, ap);
    if (len >= (int)sizeof(line))
        len = (int)sizeof(line) - 1;
    pthread_mutex_lock(&late.lock);
    if (!late.thread && thread_kind() == THREAD_DEVICES)
        log_start();
    if (len <= 0 || !late.thread || late.len + (size_t)len > sizeof(late.text)) {
        late.lost++;
    } else {
        memcpy(late.text + late.len, line, (size_t)len);
        late.len += (size_t)len;
        pthread_cond_signal(&late.more);
    }
    pthread_mutex_unlock(&late.lock);
}

/* The only place where that can be said. */
static void say_what_is_lost(void) {
    pthread_mutex_lock(&log_mutex);
    if (log_file && (fflush(log_file) || ferror(log_file)))
        fprintf(stderr, "graft: -D: the log could not be written to its end\n");
    pthread_mutex_unlock(&log_mutex);
}

void log_finish(void) {
    pthread_mutex_lock(&late.lock);
    while (late.thread && (late.len || late.busy) && !supervise_stopping()) {
        struct timespec ts;
        clock_gettime(CLOCK_REALTIME, &ts);
        ts.tv_nsec += 20000000;
        ts.tv_sec += ts.tv_nsec / 1000000000;
        ts.tv_nsec %= 1000000000;
        pthread_cond_timedwait(&late.written, &late.lock, &ts);
    }
    pthread_mutex_unlock(&late.lock);
    say_what_is_lost();
}

void log_printf(const char *fmt, ...) {
    va_list ap;
    va_start(ap, fmt);
    if (is_late) {
        say_later(fmt, ap);
        va_end(ap);
        return;
    }
    pthread_mutex_lock(&log_mutex);
    vfprintf(log_stream(), fmt, ap);
    pthread_mutex_unlock(&log_mutex);
    va_end(ap);
}

static void print_bytes(const uint8_t *code, size_t len, uint64_t address, bool guest) {
    uint32_t word = 0;
    if (guest && (len == 2 || len == 4)) {
        memcpy(&word, code, len);
        fprintf(log_stream(), "  %016llx  %0*x  ", (unsigned long long)address, (int)(2 * len), word);
        return;
    }
    fprintf(log_stream(), "  %012llx  ", (unsigned long long)address);
    for (size_t i = 0; i < 10 || i < len; i++)
        if (i < len)
            fprintf(log_stream(), "%02x", code[i]);
        else
            fputs("  ", log_stream());
    fputs("  ", log_stream());
}

/* The disassembler for an ELF file's e_machine. Older ones do not know all. */
static bool open_disassembler(unsigned machine, csh *handle) {
    switch (machine) {
    case EM_X86_64: return cs_open(CS_ARCH_X86, CS_MODE_64, handle) == CS_ERR_OK;
    case EM_AARCH64: return cs_open(CS_ARCH_ARM64, CS_MODE_LITTLE_ENDIAN, handle) == CS_ERR_OK;
#if CS_API_MAJOR >= 5
    case EM_RISCV: return cs_open(CS_ARCH_RISCV, CS_MODE_RISCV64 | CS_MODE_RISCVC, handle) == CS_ERR_OK;
#endif
    default: return false;
    }
}

/* The bytes of an instruction that the disassembler does not know. */
static size_t insn_bytes(const uint8_t *code, size_t len, unsigned machine) {
    size_t bytes = machine == EM_X86_64 ? 1 : machine == EM_RISCV && (*code & 3) != 3 ? 2 : 4;
    return bytes <= len ? bytes : 1;
}

void log_disassemble(const uint8_t *code, size_t len, uint64_t address, unsigned machine) {
    bool guest = machine != EM_X86_64;
    csh handle = 0;
    bool known = open_disassembler(machine, &handle);
    pthread_mutex_lock(&log_mutex);
    cs_insn *insn = known ? cs_malloc(handle) : NULL;
    while (len) {
        const uint8_t *at = code;
        uint64_t pc = address;
        size_t before = len;
        if (insn && cs_disasm_iter(handle, &code, &len, &address, insn)) {
            print_bytes(at, before - len, pc, guest);
            fprintf(log_stream(), "%s %s\n", insn->mnemonic, insn->op_str);
            continue;
        }
        size_t step = insn_bytes(at, before, machine);
        print_bytes(at, step, pc, guest);
        fputs(guest ? ".inst\n" : ".byte\n", log_stream());
        code = at + step;
        len = before - step;
        address = pc + step;
    }
    if (insn)
        cs_free(insn, 1);
    pthread_mutex_unlock(&log_mutex);
    if (known)
        cs_close(&handle);
}

void log_perf(uint64_t host, uint64_t bytes, uint64_t guest_pc) {
    pthread_mutex_lock(&log_mutex);
    const char *name = symbols_name(guest_pc);
    if (perf_file) {
        fprintf(perf_file, "%llx %llx guest-", (unsigned long long)host, (unsigned long long)bytes);
        if (name)
            fprintf(perf_file, "%s\n", name);
        else
            fprintf(perf_file, "%llx\n", (unsigned long long)guest_pc);
        fflush(perf_file);
    }
    pthread_mutex_unlock(&log_mutex);
}
