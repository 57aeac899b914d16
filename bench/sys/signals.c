/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright The Graft Authors */

/* signals - signals to oneself, and faults that a handler repairs. */

#include "sys.h"

static volatile uint64_t seen;
static char *page;

static void on_signal(int number) { seen += (uint64_t)number; }

static void on_fault(int number, siginfo_t *info, void *context) {
    (void)context;
    if (info->si_addr != page)
        _exit(2);
    seen += (uint64_t)number;
    mprotect(page, 4096, PROT_READ | PROT_WRITE);
}

int main(void) {
    struct sigaction plain = {.sa_handler = on_signal}, fault = {.sa_sigaction = on_fault, .sa_flags = SA_SIGINFO};
    page = mmap(NULL, 4096, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    checked(sigaction(SIGUSR1, &plain, NULL), "sigaction");
    checked(sigaction(SIGSEGV, &fault, NULL), "sigaction");
    bench_begin();
    for (int i = 0; i < 60000; i++)
        raise(SIGUSR1);
    for (int i = 0; i < 15000; i++) {
        *(volatile char *)page = (char)i;
        checked(mprotect(page, 4096, PROT_NONE), "mprotect");
    }
    bench_end("signals", seen);
    return 0;
}
