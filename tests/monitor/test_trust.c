/* SPDX-License-Identifier: Apache-2.0
 * Copyright The Graft Authors */
/* test_trust.c: an engine that a guest has taken over: what it writes where the monitor looks is worth no more than a
 * guest's word. */
#include "hypervisor/monitor.h"

#include <check.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#define RAM_BYTES (UINT64_C(2) << 20)
#define ARENA_BYTES 65536

/* A machine of 2 MiB with its flash, one vCPU and no device. */
#define FLASH_BYTES (m.board->flash_banks * m.board->flash_bytes)
static struct machine m;
static struct options options;
static struct abi_vcpu abi;
static struct abi_boot boot;
static struct abi_shared shared;
static char perf_map[64];

static void setup(void) {
    options = (struct options){.dump_last = UINT64_MAX};
    m = (struct machine){
        .options = &options, .board = boards[0], .vm = &vm_inproc, .ram_size = RAM_BYTES, .vcpu_count = 1};
    m.memory = RAM_BYTES + FLASH_BYTES;
    m.ram = machine_alloc_pages(m.memory);
    m.arena = machine_alloc_pages(ARENA_BYTES);
    m.arena_va = (uint64_t)m.arena;
    m.layout.total = ARENA_BYTES;
    m.boot = &boot;
    m.shared = &shared;
    m.vcpu[0] = (struct vcpu){.machine = &m, .abi = &abi};
    ck_assert(m.ram && m.arena);
    ck_assert_ptr_nonnull(events_create(&m));
    layout_boot(&m, (uint64_t)m.ram);
}

/* What a call of the engine's writes to the log; valid until the next one. */
static const char *logged(enum abi_call call) {
    static char text[65536];
    int ends[2], old = dup(STDERR_FILENO);
    ck_assert(!pipe(ends) && old >= 0);
    dup2(ends[1], STDERR_FILENO);
    abi.call = call;
    run_call(&m, &m.vcpu[0]);
    dup2(old, STDERR_FILENO);
    close(old);
    close(ends[1]);
    ssize_t n = read(ends[0], text, sizeof(text) - 1);
    close(ends[0]);
    text[n > 0 ? n : 0] = 0;
    return text;
}

static void ask_for_dump(uint64_t va, uint64_t bytes) {
    abi.arg[0] = va;
    abi.arg[1] = bytes;
    abi.arg[2] = 1; /* the guest's code */
    abi.arg[3] = 0x1234;
}

START_TEST(code_is_dumped_only_if_the_user_wants_it) {
    static const uint32_t nop = 0xd503201f;
    memcpy(m.ram, &nop, sizeof(nop));
    ask_for_dump((uint64_t)m.ram, sizeof(nop));
    boot.log_topics = ABI_LOG_IN; /* the engine's idea */
    ck_assert_str_eq(logged(ABI_CALL_DUMP), "");
    options.log_topics = ABI_LOG_IN;
    ck_assert_ptr_nonnull(strstr(logged(ABI_CALL_DUMP), "nop"));
}
END_TEST

START_TEST(code_in_flash_is_dumped_and_nothing_else) {
    static const uint32_t nop = 0xd503201f;
    uint64_t flash = (uint64_t)m.ram + machine_rom_offset(&m);
    options.log_topics = ABI_LOG_IN;
    memcpy((void *)flash, &nop, sizeof(nop));
    ask_for_dump(flash, sizeof(nop));
    ck_assert_ptr_nonnull(strstr(logged(ABI_CALL_DUMP), "nop"));
    ask_for_dump((uint64_t)m.ram + m.memory - 4, 8);
    ck_assert_str_eq(logged(ABI_CALL_DUMP), "");
    ask_for_dump((uint64_t)&options, 8);
    ck_assert_str_eq(logged(ABI_CALL_DUMP), "");
    ask_for_dump((uint64_t)m.ram, m.memory); /* all of it would take hours */
    ck_assert_str_eq(logged(ABI_CALL_DUMP), "");
}
END_TEST

START_TEST(memory_is_where_the_monitor_put_it) {
    shared.rom_mapped = UINT64_MAX;
    const void *ram = guest_ram(&m, m.board->ram, 8), *flash = guest_ram(&m, m.board->flash + 8, 8);
    memset(&boot, 0x5a, sizeof(boot));
    ck_assert_ptr_eq(guest_ram(&m, m.board->ram, 8), ram);
    ck_assert_ptr_eq(guest_ram(&m, m.board->flash + 8, 8), flash);
    ck_assert_ptr_eq(flash, m.ram + RAM_BYTES + 8);
    ck_assert_ptr_null(guest_ram(&m, m.board->flash + FLASH_BYTES - 4, 8));
    ck_assert_ptr_null(machine_engine_ptr(&m, UINT64_C(0x5a5a5a5a5a5a5a5a), 8));
    ck_assert_ptr_eq(machine_engine_ptr(&m, (uint64_t)m.ram, 8), m.ram);
}
END_TEST

START_TEST(a_ring_that_has_no_end_is_left) {
    atomic_store(&shared.posted_head, UINT32_C(0x80000000));
    machine_lock(&m);
    machine_drain_posted(&m);
    machine_unlock(&m);
    ck_assert_uint_eq(atomic_load(&shared.posted_tail), ABI_POSTED_ENTRIES);
}
END_TEST

START_TEST(accesses_have_a_size_that_there_is) {
    for (uint64_t bytes = 0; bytes < 40; bytes++) {
        for (enum abi_call call = ABI_CALL_MMIO_READ; call <= ABI_CALL_MMIO_WRITE; call++) {
            abi.call = call;
            abi.arg[0] = m.board->device[0].gpa;
            abi.arg[1] = bytes | bytes << 32;
            run_call(&m, &m.vcpu[0]);
            ck_assert_uint_eq(abi.ret[1], 1);
        }
    }
}
END_TEST

/* What calls are counted by, and how many vCPUs there are, is the monitor's to know. */
START_TEST(statistics_are_of_what_there_is) {
    static const uint32_t calls[] = {ABI_CALL_YIELD, UINT32_MAX, 0x80000000, ARRAY_LEN(m.vcpu[0].calls), 1000003};
    struct vcpu before = m.vcpu[0];
    char text[65536], err[ERR_BYTES] = "";
    struct output to = {.stream = fmemopen(text, sizeof(text), "w"), .path = "memory"};
    for (unsigned i = 0; i < ARRAY_LEN(calls); i++) {
        abi.call = calls[i];
        run_call(&m, &m.vcpu[0]);
    }
    ck_assert_uint_eq(m.vcpu[0].calls[ABI_CALL_YIELD], 1);
    memcpy(before.calls, m.vcpu[0].calls, sizeof(before.calls));
    ck_assert_mem_eq(&before, &m.vcpu[0], sizeof(before)); /* nothing beside the counters */
    ck_assert_int_eq(m.vcpu[1].calls[0], 0);
    memset(&abi, 0xff, sizeof(abi));
    memset(&boot, 0xff, sizeof(boot));
    memset(&shared, 0xff, sizeof(shared));
    m.tsc_hz = 1000000;
    ck_assert_int_eq(stats_write(&m, &to, err), 0);
    ck_assert_ptr_nonnull(strstr(text, "\"vcpus\":\t1,"));
    ck_assert_ptr_nonnull(strstr(text, "\"yield\":\t1,"));
}
END_TEST

static bool has_map(void) { return access(perf_map, F_OK) == 0; }

static unsigned lines_of_map(void) {
    FILE *f = fopen(perf_map, "r");
    unsigned lines = 0;
    for (int c; f && (c = fgetc(f)) != EOF;)
        lines += c == '\n';
    if (f)
        fclose(f);
    return lines;
}

static void ask_for_map(void) {
    abi.call = ABI_CALL_PERFMAP;
    abi.arg[0] = m.arena_va;
    abi.arg[1] = 64;
    abi.arg[2] = 0x1234;
    boot.log_topics = ABI_LOG_PERF; /* the engine's idea */
    run_call(&m, &m.vcpu[0]);
}

START_TEST(the_map_of_perf_is_made_only_if_the_user_wants_it) {
    char err[ERR_BYTES] = "";
    snprintf(perf_map, sizeof(perf_map), "/tmp/perf-%d.map", (int)getpid());
    ask_for_map();
    ck_assert(!has_map());
    options.log_topics = ABI_LOG_PERF;
    ck_assert(log_open(&options, err));
    ck_assert(has_map());
    ask_for_map();
    ck_assert_uint_eq(lines_of_map(), 1);
    options.log_topics = 0;
    ask_for_map();
    ck_assert_uint_eq(lines_of_map(), 1);
    unlink(perf_map);
}
END_TEST

/* What somebody else has put there, in a folder that is everybody's. */
static char victim[64], nothing[80];
static unsigned left; /* what the other one puts there as soon as something was removed */
enum { LEFT_NONE, LEFT_FOLDER, LEFT_FILE, LEFT_LINK, LEFT_DANGLING, LEFT_KINDS };

static void leave(unsigned kind) {
    if (kind == LEFT_FOLDER)
        ck_assert(!mkdir(perf_map, 0700));
    else if (kind == LEFT_FILE)
        ck_assert(!link(victim, perf_map));
    else if (kind != LEFT_NONE)
        ck_assert(!symlink(kind == LEFT_LINK ? victim : nothing, perf_map));
}

/* The C library's, but for someone who was waiting for it. */
int unlink(const char *path) {
    unsigned kind = left;
    int result = (int)syscall(SYS_unlink, path);
    left = LEFT_NONE;
    leave(kind);
    return result;
}

static bool is_kept(void) {
    struct stat st;
    return !stat(victim, &st) && st.st_size == 4 && access(nothing, F_OK);
}

START_TEST(the_map_of_perf_is_a_new_file) {
    char err[ERR_BYTES];
    snprintf(perf_map, sizeof(perf_map), "/tmp/perf-%d.map", (int)getpid());
    snprintf(victim, sizeof(victim), "/tmp/graft-trust-%d", (int)getpid());
    snprintf(nothing, sizeof(nothing), "%s-nothing", victim);
    int fd = creat(victim, 0600);
    ck_assert(fd >= 0 && write(fd, "kept", 4) == 4);
    options.log_topics = ABI_LOG_PERF;
    for (unsigned kind = LEFT_FOLDER; kind < LEFT_KINDS; kind++) { /* put there in the middle */
        left = kind;
        ck_assert(!log_open(&options, err));
        ck_assert(is_kept());
        remove(perf_map);
    }
    for (unsigned kind = LEFT_FILE; kind < LEFT_KINDS; kind++) { /* and before */
        leave(kind);
        ck_assert(log_open(&options, err));
        ask_for_map();
        ck_assert_uint_eq(lines_of_map(), 1);
        ck_assert(is_kept());
        unlink(perf_map);
    }
    close(fd);
    unlink(victim);
}
END_TEST

START_TEST(an_interrupt_finds_some_processor) {
    struct device d = {.machine = &m, .spi = 3};
    memset(shared.spi_target, 0xff, sizeof(shared.spi_target));
    machine_set_irq(&d, true);
    ck_assert_uint_eq(abi.pending & ABI_PEND_IRQ, ABI_PEND_IRQ);
}
END_TEST

int main(void) {
    Suite *s = suite_create("trust");
    TCase *c = tcase_create("trust");
    tcase_add_checked_fixture(c, setup, NULL);
    tcase_add_test(c, code_is_dumped_only_if_the_user_wants_it);
    tcase_add_test(c, code_in_flash_is_dumped_and_nothing_else);
    tcase_add_test(c, memory_is_where_the_monitor_put_it);
    tcase_add_test(c, a_ring_that_has_no_end_is_left);
    tcase_add_test(c, accesses_have_a_size_that_there_is);
    tcase_add_test(c, statistics_are_of_what_there_is);
    tcase_add_test(c, the_map_of_perf_is_made_only_if_the_user_wants_it);
    tcase_add_test(c, the_map_of_perf_is_a_new_file);
    tcase_add_test(c, an_interrupt_finds_some_processor);
    suite_add_tcase(s, c);
    SRunner *r = srunner_create(s);
    srunner_run_all(r, CK_NORMAL);
    int failed = srunner_ntests_failed(r);
    srunner_free(r);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
