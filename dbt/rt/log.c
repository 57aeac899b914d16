/* SPDX-License-Identifier: Apache-2.0
 * Copyright The Graft Authors */
/* log.c: the engine's log and its last words, as calls to the monitor. */
#include <stdarg.h>

#include "graft/guest.h"
#include "graft/rt.h"

int rt_vsnprintf(char *buf, size_t len, const char *fmt, va_list ap); /* format.c */

static void call_with_text(struct cpu *cpu, enum abi_call call, uint32_t topic, int length) {
    size_t limit = sizeof(cpu->abi.text) - 1;
    cpu->abi.arg[0] = (uintptr_t)cpu->abi.text;
    cpu->abi.arg[1] = (size_t)length < limit ? (size_t)length : limit;
    cpu->abi.arg[2] = topic;
    rt_call(cpu, call);
}

void rt_log(struct cpu *cpu, uint32_t topic, const char *fmt, ...) {
    if (topic && !(cpu->boot->log_topics & topic))
        return;
    va_list ap;
    va_start(ap, fmt);
    int n = rt_vsnprintf(cpu->abi.text, sizeof(cpu->abi.text), fmt, ap);
    va_end(ap);
    call_with_text(cpu, ABI_CALL_LOG, topic, n);
}

/* Guest registers first, then the message: dump() logs through the same text buffer. */
_Noreturn void rt_panic(struct cpu *cpu, const char *fmt, ...) {
    char message[1024];
    uint64_t pc = 0;
    va_list ap;
    va_start(ap, fmt);
    rt_vsnprintf(message, sizeof(message), fmt, ap);
    va_end(ap);
    if (cpu->engine && cpu->guest) {
        memcpy(&pc, (const char *)cpu + cpu->guest->pc_offset, sizeof(pc));
        cpu->guest->dump(cpu);
    }
    int n = rt_snprintf(cpu->abi.text, sizeof(cpu->abi.text), "engine, vCPU %u, guest pc %llx: %s\n", cpu->index,
                        (unsigned long long)pc, message);
    call_with_text(cpu, ABI_CALL_PANIC, 0, n);
    __builtin_trap(); /* the monitor does not return from that call */
}
