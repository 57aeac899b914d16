/* SPDX-License-Identifier: Apache-2.0
 * Copyright The Graft Authors */
/*
 * pause.h: all vCPUs stand still, something is done, and they go on.
 *
 * While the work is done, and as long as vCPUs are held,
 *  - each vCPU is between two instructions of its guest, in the engine's dispatcher: its registers and flags are all
 *    in its struct cpu (m->vcpu[i].abi is where that begins), and nothing else of the engine's keeps any of it. A
 *    vCPU that waited for an interrupt has been woken: its pc is past the instruction.
 *  - no translated code runs, and no guest memory is written but by devices.
 * The work has the device lock, and is in the devices' thread, so devices do nothing meanwhile, either; threads of
 * disks may have requests under way. Guest memory is changed by guest_ram_write_begin() and _end() as by any device.
 * While vCPUs are held the guest's clocks stand still, too.
 *
 * A vCPU whose write to a console waits for a reader does not stand still until someone reads. A machine that stops
 * lets all go, with the work done or not.
 */
#ifndef GRAFT_PAUSE_H
#define GRAFT_PAUSE_H

#include "graft/abi.h"

#include <pthread.h>
#include <stdatomic.h>

struct machine;
struct vcpu;

enum pause_result {
    PAUSE_OVER,  /* done: the vCPUs go on, unless they are held */
    PAUSE_HOLD,  /* done: they stand still until pause_continue() */
    PAUSE_AGAIN, /* it is called again after a moment, in which events are served */
};
typedef enum pause_result pause_work(struct machine *m, void *arg);

/* Where a vCPU stands, and what the engine is asked there. */
struct pause_cpu {
    bool stands;
    bool stays;        /* it is held, though others may not be */
    bool step;         /* when it goes on, it is for one instruction */
    enum abi_held why; /* the last time */
    uint64_t va, number;
    bool ordered, answered, ok;
    bool changed; /* pause_changed() */
    enum abi_order order;
    uint64_t what, value[2];
};

#define PAUSE_LISTENERS 2
/* Part of struct machine. Lock: of what follows; held for moments. */
struct pause {
    pthread_mutex_t lock;
    pthread_cond_t go;
    pause_work *work; /* that is wanted */
    void *arg;
    unsigned standing;
    bool held, again;
    bool told;      /* the listeners know that all are held */
    bool went;      /* and that they go on, they are to be told */
    uint64_t since; /* TSC, if told */
    struct pause_cpu cpu[ABI_MAX_VCPUS];
    /* Of the devices' thread. */
    struct pause_listener {
        void (*held)(struct machine *m, bool held, void *arg);
        void *arg;
    } listener[PAUSE_LISTENERS];
};

void pause_init(struct machine *m);
void pause_free(struct machine *m);
/* pause_request(): work is to be done; from any thread, which does not wait for it. False: someone else's has not been
 * done yet, or the machine has stopped. If there are no vCPUs yet they stand still before their first instruction. */
bool pause_request(struct machine *m, pause_work *work, void *arg);
/* pause_changed(): the work has changed that vCPU's state (guest_ops.state): the engine then derives what follows from
 * it, and forgets all translations of addresses, before it goes on. */
void pause_changed(struct machine *m, unsigned vcpu);
/* pause_tsc(): the TSC as the guest's clocks have it: while all are held, when that began. */
uint64_t pause_tsc(struct machine *m);
/* pause_hold(): as if there was work that returns PAUSE_HOLD; from any thread. pause_continue(): ends it; from any
 * thread. pause_is_held(): do they stand still until that? */
void pause_hold(struct machine *m);
void pause_continue(struct machine *m);
bool pause_is_held(struct machine *m);
bool pause_is_wanted(struct machine *m); /* or are about to? */
/* pause_listen(): held() is called when all are held: by pause_hold(), by a work, by what a debugger is waiting for
 * (abi_shared.debug); and when they go on. In the devices' thread, with the device lock. */
void pause_listen(struct machine *m, void (*held)(struct machine *m, bool held, void *arg), void *arg);

/* For debuggers, in the devices' thread, while all are held.
 * pause_go(): go on: those whose bits are in run, and those in step for one instruction; others stay.
 * pause_why(): why a vCPU is held; an access: *va is its first byte that is watched, *number the watchpoint's.
 * pause_ask(): an order that has an answer (enum abi_order). False: it could not be done. */
void pause_go(struct machine *m, uint32_t run, uint32_t step);
enum abi_held pause_why(struct machine *m, unsigned vcpu, uint64_t *va, uint64_t *number);
bool pause_ask(struct machine *m, unsigned vcpu, enum abi_order order, uint64_t what, uint64_t value[2]);

/* For the monitor's own threads. pause_stand(): ABI_CALL_PAUSED. pause_serve(): in the event loop, with the device
 * lock. pause_again(): is it to come back to that after a moment? pause_wake(): the machine stops. */
void pause_stand(struct machine *m, struct vcpu *v);
void pause_serve(struct machine *m);
bool pause_again(struct machine *m);
void pause_wake(struct machine *m);

#endif
