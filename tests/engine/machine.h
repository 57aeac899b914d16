/* SPDX-License-Identifier: Apache-2.0
 * Copyright The Graft Authors */
/* machine.h: the memory of a machine in this process, for programs that run the engine without the monitor. */
#ifndef GRAFT_TESTS_MACHINE_H
#define GRAFT_TESTS_MACHINE_H

#include "dbt/rt/user/rt_user.h"

#define RAM_GPA UINT64_C(0x40000000)

/* machine_memory(): fills in what is the same for all machines, and the addresses and sizes of memory for ram_size and
 * vcpu_count. Code is written at one address and runs at another. Ends the process if there is no memory. */
void machine_memory(struct abi_boot *boot);
/* machine_guest(): for abi_boot.guest, the guest of that name. Ends the process if there is none. */
uint32_t machine_guest(const char *name);
/* machine_tsc_hz(): of the host, measured. */
uint64_t machine_tsc_hz(void);

#endif
