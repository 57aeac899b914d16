/* SPDX-License-Identifier: Apache-2.0
 * Copyright The Graft Authors */
/*
 * rt_user.h: the engine as a library in a process. The embedder (the monitor, tests)
 * fills a struct abi_boot with addresses of its own memory, registers itself and
 * calls rt_user_run() on a thread per vCPU.
 */
#ifndef GRAFT_RT_USER_H
#define GRAFT_RT_USER_H

#include "graft/rt.h"

/* Serves abi->call of that vCPU on its thread, as the monitor serves an exit. It returns also for calls that "do not
 * return": rt_user_run() then ends. */
typedef void rt_user_monitor(void *ctx, unsigned vcpu, struct abi_vcpu *abi);
/* Hears doorbell n (enum abi_doorbell), on the thread of the vCPU that rings it. */
typedef void rt_user_doorbell(void *ctx, unsigned n);

/* rt_user_set_monitor(): once, before the first rt_user_run(). */
void rt_user_set_monitor(rt_user_monitor *monitor, rt_user_doorbell *doorbell, void *ctx);
/* rt_user_set_ram(): before the first rt_user_run(): guest RAM is a mapping at ram of this whole file, and strategies
 * with windows may map its pages in the slots that abi_boot.window_slots gives each vCPU, which the embedder has
 * reserved (PROT_NONE). fd -1: no such strategies. */
void rt_user_set_ram(int fd, void *ram, unsigned vcpus);
/* rt_user_make_huge(): the 2 MiB at that border, of a file in memory, are to be one page. False: they cannot be. */
bool rt_user_make_huge(uint64_t at);
/* rt_user_prepare(): reads what it has to of /proc, if the embedder may not open files later. */
void rt_user_prepare(void);
/* For tests: as on a host where a process has no GS base of its own. */
extern bool rt_user_without_gs;
/* rt_user_run(): the life of a vCPU, until a call that does not return; which one it was. boot->vcpu_va[] has to be
 * memory that is mapped shared, since it is mapped a second time where GS is not to be had. */
enum abi_call rt_user_run(const struct abi_boot *boot, unsigned vcpu);

#endif
