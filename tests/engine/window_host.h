/* SPDX-License-Identifier: Apache-2.0
 * Copyright The Graft Authors */
/*
 * window_host.h: the host that test_window.c's engine runs on. Two of them: host_tlb.c models a TLB that keeps whatever
 * it may have seen until it is flushed; host_process.c is the runtime's own back end for a process, on the kernel's
 * mappings.
 */
#ifndef TESTS_ENGINE_WINDOW_HOST_H
#define TESTS_ENGINE_WINDOW_HOST_H

#include "graft/rt.h"

/* A page that the host may use now without a look at the engine's tables. */
struct host_page {
    uint64_t host, ram; /* its address, and what is there: an offset in guest RAM */
    bool write;
};

/* host_make(): guest RAM, zeroed, and the slots for windows: what of abi_boot depends on the host. */
void host_make(struct abi_boot *boot, uint64_t ram_bytes);
/* host_look(): a moment at which translated code runs: the host may remember any entry of the tables from now on. */
void host_look(void);
/* host_pages(): all that the host may use. Valid until the engine or the host does anything. */
const struct host_page *host_pages(unsigned *count);
/* host_access(): an access of translated code, 8 bytes wide: stores or loads *value. False: it faulted, and the tables
 * do not allow it. */
bool host_access(uint64_t host, bool write, uint64_t *value);
/* host_check(): fails if the host is not in the state that it believes to be in. */
void host_check(void);
/* host_end(): fails if something was never put to the test. */
void host_end(void);

/* --- test_window.c ---------------------------------------------------------------------------- */
extern struct cpu *cpu;
/* rnd(): 0 .. n - 1. */
uint64_t rnd(uint64_t n);
_Noreturn void fail(const char *what, uint64_t at);
/* leaf(): the last entry that the engine's tables have for that host address; bit 0 is clear if there is none. */
uint64_t leaf(uint64_t host);
#define LEAF_PRESENT 1u
#define LEAF_WRITE 2u
#define LEAF_HUGE 0x80u
/* leaf_ram(): the offset in RAM of the page that a leaf maps at that address. */
uint64_t leaf_ram(uint64_t entry, uint64_t host);

#endif
