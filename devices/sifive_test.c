/* SPDX-License-Identifier: Apache-2.0
 * Copyright The Graft Authors */
/* sifive_test.c: the test device of SiFive's boards, as QEMU has it: one register that ends the machine, or resets
 * it. */
#include "graft/device.h"

#include <stdlib.h>

#define TEST_FAIL 0x3333u
#define TEST_PASS 0x5555u
#define TEST_RESET 0x7777u

static uint64_t test_read(struct device *d, uint64_t offset, unsigned bytes) { return 0; }

/* The low half says what, the high half is the exit status of a failure; a success has none but 0. */
static void test_write(struct device *d, uint64_t offset, uint64_t value, unsigned bytes) {
    if (offset != 0)
        return;
    switch ((uint16_t)value) {
    case TEST_FAIL: machine_exit(d->machine, (uint8_t)(value >> 16)); break;
    case TEST_PASS: machine_power(d->machine, false); break;
    case TEST_RESET: machine_power(d->machine, true); break;
    default: break;
    }
}

static void test_destroy(struct device *d) { free(d); }

static const struct device_ops test_ops = {.name = "sifive-test",
                                           .read = test_read,
                                           .write = test_write,
                                           .refused_below = 2,
                                           .refused_above = 4,
                                           .destroy = test_destroy};

struct device *sifive_test_create(struct machine *m, uint64_t gpa) {
    struct device *d = calloc(1, sizeof(*d));
    if (d)
        *d = (struct device){.ops = &test_ops, .machine = m, .gpa = gpa, .size = 0x1000, .virtio_slot = -1};
    return d;
}
