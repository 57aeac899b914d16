/* SPDX-License-Identifier: Apache-2.0
 * Copyright The Graft Authors */
/* no_devices.c: what boards create, for fuzzers that want boards alone. */
#include "graft/device.h"

#define NO_DEVICE(name, ...)                                                                                           \
    struct device *name(__VA_ARGS__) { return NULL; }
NO_DEVICE(pl011_create, struct machine *m, uint64_t gpa, unsigned spi, struct chardev *serial)
NO_DEVICE(pl031_create, struct machine *m, uint64_t gpa, unsigned spi)
NO_DEVICE(pl061_create, struct machine *m, uint64_t gpa, unsigned spi)
NO_DEVICE(uart16550_create, struct machine *m, uint64_t gpa, unsigned irq, struct chardev *serial)
NO_DEVICE(goldfish_rtc_create, struct machine *m, uint64_t gpa, unsigned irq)
NO_DEVICE(sifive_test_create, struct machine *m, uint64_t gpa)
const uint8_t agent_aarch64[1], agent_aarch64_end[1], agent_riscv64[1], agent_riscv64_end[1];
