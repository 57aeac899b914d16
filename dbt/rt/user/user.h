/* SPDX-License-Identifier: Apache-2.0
 * Copyright The Graft Authors */
/* user.h: what the files of this folder share. */
#ifndef DBT_RT_USER_USER_H
#define DBT_RT_USER_USER_H

#include "dbt/rt/user/rt_user.h"

#include <sys/mman.h>

#ifndef MADV_COLLAPSE
#define MADV_COLLAPSE 25 /* Linux 6.1 */
#endif

/* rt_user_fault(): translated code of this vCPU, on whose thread this is, faulted at that address. True: the tables
 * allow the access, and it is mapped now. */
bool rt_user_fault(struct cpu *cpu, uint64_t at, bool write);
/* rt_user_try(): reads a byte there; true: it faulted, false: it did not, or this thread is no vCPU. */
bool rt_user_try(uint64_t at);
/* rt_user_paging_end(): unmaps all that this vCPU has mapped. */
void rt_user_paging_end(struct cpu *cpu);

/* For tests: rt_user_limit_maps(): after how many changes each of which may split a mapping a vCPU has to make room.
 * rt_user_each_mapping(): all pages that this vCPU has mapped: their addresses, and what is there, as offsets in
 * RAM. */
void rt_user_limit_maps(uint64_t max);
void rt_user_each_mapping(struct cpu *cpu, void (*fn)(void *arg, uint64_t host, uint64_t ram, bool write), void *arg);

#endif
