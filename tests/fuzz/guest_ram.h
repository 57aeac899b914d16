/* SPDX-License-Identifier: Apache-2.0
 * Copyright The Graft Authors */
/* guest_ram.h: the RAM of a fuzzer's machine: m->ram, of RAM_BYTES, both of which its user defines. */
#ifndef FUZZ_GUEST_RAM_H
#define FUZZ_GUEST_RAM_H

#include "graft/device.h"

#include <stdlib.h>

#define RAM_GPA UINT64_C(0x40000000)

const void *guest_ram(struct machine *m, uint64_t gpa, uint64_t len) {
    if (gpa < RAM_GPA || len > RAM_BYTES || gpa - RAM_GPA > RAM_BYTES - len)
        return NULL;
    return m->ram + (gpa - RAM_GPA);
}
void *guest_ram_write_begin(struct machine *m, uint64_t gpa, uint64_t len) {
    return (void *)(uintptr_t)guest_ram(m, gpa, len);
}
void guest_ram_write_end(struct machine *m, uint64_t gpa, uint64_t len) {
    if (!guest_ram(m, gpa, len))
        abort();
}
void guest_ram_give_back(struct machine *m, uint64_t gpa, uint64_t len) {
    if (!guest_ram(m, gpa, len))
        abort();
    memset(m->ram + (gpa - RAM_GPA), 0, len);
}

#endif
