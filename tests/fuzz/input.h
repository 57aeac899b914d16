/* SPDX-License-Identifier: Apache-2.0
 * Copyright The Graft Authors */
/* input.h: a fuzzer's input as a program: actions and their operands, taken from the front; zeroes behind the end. */
#ifndef FUZZ_INPUT_H
#define FUZZ_INPUT_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

struct input {
    const uint8_t *at, *end;
};

static uint64_t take(struct input *in, unsigned bytes) {
    uint64_t v = 0;
    if ((size_t)(in->end - in->at) < bytes) {
        in->at = in->end;
        return 0;
    }
    memcpy(&v, in->at, bytes);
    in->at += bytes;
    return v;
}

#endif
