/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright The Graft Authors */

/* fft - forward and inverse radix-2 Fourier transforms of integers, which come back as they were. */

#include "bench.h"

enum { BITS = 14, N = 1 << BITS, ROUNDS = 60 };

static float re[N], im[N], cosines[N], sines[N];

/* The twiddle factors of a stage lie one after the other, so that its inner loop is vectorised. */
static void make_twiddles(void) {
    for (int half = 1; half < N; half *= 2) {
        double step_re = 1, step_im = 0, wr = 1, wi = 0, x = 3.14159265358979323846 / half, term = 1;
        for (int i = 1; i < 24; i++) {
            term *= x / i;
            if (i & 1)
                step_im += i & 2 ? -term : term;
            else
                step_re += i & 2 ? -term : term;
        }
        for (int k = 0; k < half; k++) {
            cosines[half + k] = (float)wr;
            sines[half + k] = (float)wi;
            double t = wr * step_re - wi * step_im;
            wi = wr * step_im + wi * step_re;
            wr = t;
        }
    }
}

static void permute(void) {
    for (unsigned i = 0, j = 0; i < N; i++) {
        if (i < j) {
            float t = re[i];
            re[i] = re[j];
            re[j] = t;
            t = im[i];
            im[i] = im[j];
            im[j] = t;
        }
        unsigned bit = N >> 1;
        for (; j & bit; bit >>= 1)
            j ^= bit;
        j |= bit;
    }
}

static void butterflies(float *restrict ar, float *restrict ai, float *restrict br, float *restrict bi,
                        const float *restrict wr, const float *restrict wi, int half, float sign) {
    for (int k = 0; k < half; k++) {
        float s = sign * wi[k];
        float tr = br[k] * wr[k] - bi[k] * s, ti = br[k] * s + bi[k] * wr[k];
        br[k] = ar[k] - tr;
        bi[k] = ai[k] - ti;
        ar[k] += tr;
        ai[k] += ti;
    }
}

static void transform(float sign) {
    permute();
    for (int half = 1; half < N; half *= 2)
        for (int at = 0; at < N; at += 2 * half)
            butterflies(re + at, im + at, re + at + half, im + at + half, cosines + half, sines + half, half, sign);
}

int main(void) {
    uint64_t seed = 13, sum = 0;
    make_twiddles();
    for (int i = 0; i < N; i++) {
        re[i] = (float)(bench_random(&seed) % 200) - 100;
        im[i] = (float)(bench_random(&seed) % 200) - 100;
    }
    bench_begin();
    for (int round = 0; round < ROUNDS; round++) {
        transform(-1);
        transform(1);
        for (int i = 0; i < N; i++) {
            re[i] = (float)(int)(re[i] / N + 1000.5f) - 1000;
            im[i] = (float)(int)(im[i] / N + 1000.5f) - 1000;
        }
    }
    for (int i = 0; i < N; i++)
        sum = bench_mix(bench_mix(sum, (uint64_t)(re[i] + 1000)), (uint64_t)(im[i] + 1000));
    bench_end("fft", sum);
    return 0;
}
