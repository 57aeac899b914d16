/* SPDX-License-Identifier: Apache-2.0
 * Copyright The Graft Authors */
/* check.h: what the programs of this folder say: a line for each check, as tests/linux/check.sh does. */
#ifndef CHECK_H
#define CHECK_H

#include <stdio.h>

static unsigned failures; /* of the check in progress */
static char why[200];     /* of the first */

#define EXPECT(cond, ...)                                                                                              \
    do {                                                                                                               \
        if (!(cond) && failures++ == 0)                                                                                \
            snprintf(why, sizeof why, __VA_ARGS__);                                                                    \
    } while (0)

static void report(const char *name) {
    if (failures)
        printf("CHECK %s FAIL %u times: %s\n", name, failures, why);
    else
        printf("CHECK %s ok\n", name);
    fflush(stdout);
    failures = 0;
}

#endif
