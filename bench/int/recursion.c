/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright The Graft Authors */

/* recursion - Fibonacci, Ackermann and Takeuchi functions: calls and returns and little else. */

#include "bench.h"

__attribute__((noinline, noclone)) static unsigned fibonacci(unsigned n) {
    return n < 2 ? n : fibonacci(n - 1) + fibonacci(n - 2);
}

__attribute__((noinline, noclone)) static unsigned ackermann(unsigned m, unsigned n) {
    if (!m)
        return n + 1;
    return n ? ackermann(m - 1, ackermann(m, n - 1)) : ackermann(m - 1, 1);
}

__attribute__((noinline, noclone)) static int takeuchi(int x, int y, int z) {
    return y >= x ? z : takeuchi(takeuchi(x - 1, y, z), takeuchi(y - 1, z, x), takeuchi(z - 1, x, y));
}

int main(void) {
    uint64_t sum = 0;
    bench_begin();
    for (unsigned n = 28; n <= 34; n++)
        sum = bench_mix(sum, fibonacci(n));
    for (int i = 0; i < 4; i++)
        sum = bench_mix(sum, ackermann(3, 9));
    for (int i = 0; i < 20; i++)
        sum = bench_mix(sum, (uint64_t)takeuchi(18, 12, 6));
    bench_end("recursion", sum);
    return 0;
}
