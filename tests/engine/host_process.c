/* SPDX-License-Identifier: Apache-2.0
 * Copyright The Graft Authors */
/*
 * host_process.c: the host is this process: dbt/rt/user/paging.c makes the kernel's mappings of the RAM file follow the
 * engine's tables. What it believes to be mapped is compared with /proc/self/maps. See window_host.h.
 */
#define _GNU_SOURCE /* memfd_create() */
#include <setjmp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <ucontext.h>
#include <unistd.h>

#include "dbt/rt/user/user.h"
#include "tests/engine/window_host.h"

#define SLOT_SHIFT 39
#define WINDOWS 24 /* few, so that they have to be evicted */
#define SLOTS (2 * (WINDOWS + 2) + 1)
#define MAPS_MAX 200 /* calls of mmap() before there has to be room for more */
/* What one call of the runtime may go beyond it: a call of mmap() for each page of 2 MiB. Each of them makes two
 * mappings more. */
#define MAPS_MOST (2 * (MAPS_MAX + 512) + SLOTS)

static int ram_fd;
static uint64_t first_slot;
static unsigned long served, refused, pages_compared;

/* --- memory ----------------------------------------------------------------------------------- */
/* Neighbouring slots, all reserved: guards, and every other one for something. */
static uint64_t reserve_slots(void) {
    int flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED_NOREPLACE;
    for (uint64_t slot = 1; slot + SLOTS < 256; slot++) {
        void *want = (void *)(slot << SLOT_SHIFT), *got;
        got = mmap(want, (uint64_t)SLOTS << SLOT_SHIFT, PROT_NONE, flags, -1, 0);
        if (got == want)
            return slot;
        if (got != MAP_FAILED)
            munmap(got, (uint64_t)SLOTS << SLOT_SHIFT);
    }
    fprintf(stderr, "SKIP: this process may not reserve %u TiB of addresses (ulimit -v?)\n", SLOTS / 2);
    exit(77);
}

static void catch_faults(void);

void host_make(struct abi_boot *boot, uint64_t ram_bytes) {
    ram_fd = memfd_create("test-window", MFD_CLOEXEC);
    if (ram_fd < 0 || ftruncate(ram_fd, (off_t)ram_bytes))
        fail("no file for RAM", 0);
    void *ram = mmap(NULL, ram_bytes, PROT_READ | PROT_WRITE, MAP_SHARED, ram_fd, 0);
    if (ram == MAP_FAILED)
        fail("no memory for RAM", 0);
    boot->ram_va = (uintptr_t)ram;
    first_slot = reserve_slots();
    boot->null_slot = (uint32_t)first_slot + 1;
    boot->loan_slot[0] = (uint32_t)first_slot + 3;
    for (uint64_t slot = first_slot + 5; slot < first_slot + SLOTS; slot += 2)
        boot->window_slots[0][slot / 64] |= BIT(slot % 64);
    rt_user_set_ram(ram_fd, ram, 1);
    rt_user_limit_maps(MAPS_MAX);
    catch_faults();
}

/* --- accesses --------------------------------------------------------------------------------- */
static sigjmp_buf failed;
static volatile sig_atomic_t accessing; /* 2: as translated code does */
#define PAGE_FAULT_WRITE 2              /* of the error code */

static void on_fault(int signo, siginfo_t *info, void *context) {
    const greg_t *regs = ((ucontext_t *)context)->uc_mcontext.gregs;
    if (!accessing) {
        signal(signo, SIG_DFL);
        return;
    }
    if (accessing == 2 && rt_user_fault(cpu, (uint64_t)info->si_addr, regs[REG_ERR] & PAGE_FAULT_WRITE)) {
        served++;
        return;
    }
    refused += accessing == 2;
    siglongjmp(failed, 1);
}

static void catch_faults(void) {
    struct sigaction act = {.sa_sigaction = on_fault, .sa_flags = SA_SIGINFO | SA_NODEFER};
    sigaction(SIGSEGV, &act, NULL);
    sigaction(SIGBUS, &act, NULL);
}

bool host_access(uint64_t host, bool write, uint64_t *value) {
    volatile uint64_t *at = (volatile uint64_t *)host;
    bool done = false;
    if (!sigsetjmp(failed, 0)) {
        accessing = 2;
        if (write)
            *at = *value;
        else
            *value = *at;
        accessing = 0;
        done = true;
    }
    accessing = 0;
    return done;
}

bool rt_user_try(uint64_t at) {
    bool done = false;
    if (!sigsetjmp(failed, 0)) {
        accessing = 1;
        *(const volatile uint8_t *)at;
        accessing = 0;
        done = true;
    }
    accessing = 0;
    return !done;
}

/* Faults that could come now, of addresses that the tables may or may not have. */
void host_look(void) {
    for (unsigned i = 0; i < 40; i++) {
        uint64_t slot = first_slot + rnd(SLOTS), host = slot << SLOT_SHIFT | UINT64_C(510) << 30;
        host |= rnd(3) << 21 | rnd(1 << 21);
        bool write = rnd(2);
        uint64_t e = leaf(host);
        bool allowed = e & LEAF_PRESENT && (e & LEAF_WRITE || !write);
        if (rt_user_fault(cpu, host, write) && !allowed)
            fail("a fault was served that the tables do not allow", host);
        if (allowed && rt_user_try(host))
            fail("a page that the tables have is not mapped after its fault", host);
    }
}

/* --- what is mapped --------------------------------------------------------------------------- */
#define PAGES_MAX (1u << 20)
static struct host_page page[PAGES_MAX];
static unsigned page_count;

static void add_page(void *arg, uint64_t host, uint64_t ram, bool write) {
    if (page_count == PAGES_MAX)
        fail("too many pages", host);
    page[page_count++] = (struct host_page){host, ram, write};
}

const struct host_page *host_pages(unsigned *count) {
    page_count = 0;
    rt_user_each_mapping(cpu, add_page, NULL);
    *count = page_count;
    return page;
}

static int by_address(const void *a, const void *b) {
    uint64_t x = ((const struct host_page *)a)->host, y = ((const struct host_page *)b)->host;
    return x < y ? -1 : x > y;
}

struct kernel_map {
    unsigned long long from, to, ram, inode;
    char rights[5];
};

/* The pages of one of the kernel's mappings of the file are the next ones of ours. */
static unsigned compare_map(const struct kernel_map *m, unsigned at, unsigned count) {
    for (uint64_t host = m->from; host < m->to; host += PAGE_SIZE, at++) {
        if (at == count || page[at].host != host)
            fail("the kernel has a page mapped that the runtime does not know of", host);
        if (page[at].ram != m->ram + (host - m->from))
            fail("the kernel maps another page", host);
        if (m->rights[0] != 'r' || (m->rights[1] == 'w') != page[at].write)
            fail("the kernel gives other rights", host);
    }
    return at;
}

void host_check(void) {
    struct kernel_map m;
    struct stat st;
    unsigned count, at = 0, maps = 0;
    FILE *f = fopen("/proc/self/maps", "re");
    if (!f || fstat(ram_fd, &st))
        fail("the kernel does not say what is mapped", 0);
    host_pages(&count);
    qsort(page, count, sizeof(page[0]), by_address);
    while (fscanf(f, "%llx-%llx %4s %llx %*s %llu%*[^\n]", &m.from, &m.to, m.rights, &m.ram, &m.inode) == 5) {
        if (m.from >> SLOT_SHIFT < first_slot || m.from >> SLOT_SHIFT >= first_slot + SLOTS)
            continue;
        maps++;
        if (m.rights[0] != '-' && m.inode != st.st_ino)
            fail("something else is mapped in a window", m.from);
        if (m.rights[0] != '-')
            at = compare_map(&m, at, count);
    }
    fclose(f);
    if (at != count)
        fail("the runtime believes that a page is mapped", page[at].host);
    if (maps > MAPS_MOST)
        fail("too many mappings", maps);
    pages_compared += count;
}

void host_end(void) {
    host_check();
    if (!served || !refused || !pages_compared)
        fail("some kind of fault never came", 0);
    rt_user_paging_end(cpu);
    unsigned count;
    host_pages(&count);
    if (count)
        fail("pages are left at the end", page[0].host);
    host_check();
}
