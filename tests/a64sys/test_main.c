/* SPDX-License-Identifier: Apache-2.0
 * Copyright The Graft Authors */
/* test_main.c: runs every part; fails if any check failed. */
#include "world.h"

int main(void) {
    test_walk();
    test_exceptions();
    test_gic();
    test_timer();
    printf("a64sys: %d failed checks\n", world.failures);
    return world.failures != 0;
}
