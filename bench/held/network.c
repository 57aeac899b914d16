/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright The Graft Authors */

/* network - a small neural network learns to tell which of ten noisy patterns it sees: single precision. */

#include "bench.h"

enum { SIDE = 14, INPUTS = SIDE * SIDE, HIDDEN = 40, CLASSES = 10, STEPS = 2000, TESTS = 500 };

static float w1[HIDDEN][INPUTS], b1[HIDDEN], w2[CLASSES][HIDDEN], b2[CLASSES];
static float input[INPUTS], hidden[HIDDEN], out[CLASSES], patterns[CLASSES][INPUTS];
static uint64_t seed = 99;

static float noise(float size) { return ((float)(bench_random(&seed) >> 8) / 8388608.0f - 1) * size; }

/* e to the x by its series and squarings: the library's differs between machines. */
static float expo(float x) {
    x = x < -20 ? -20 : x > 20 ? 20 : x;
    float y = x / 64, r = 1 + y * (1 + y * (0.5f + y * (1 / 6.0f + y / 24)));
    for (int i = 0; i < 6; i++)
        r *= r;
    return r;
}

static void forward(void) {
    float total = 0, top = -1e30f;
    for (int j = 0; j < HIDDEN; j++) {
        float s = b1[j];
        for (int i = 0; i < INPUTS; i++)
            s += w1[j][i] * input[i];
        hidden[j] = s > 0 ? s : s * 0.01f;
    }
    for (int k = 0; k < CLASSES; k++) {
        float s = b2[k];
        for (int j = 0; j < HIDDEN; j++)
            s += w2[k][j] * hidden[j];
        out[k] = s;
        top = s > top ? s : top;
    }
    for (int k = 0; k < CLASSES; k++)
        total += out[k] = expo(out[k] - top);
    for (int k = 0; k < CLASSES; k++)
        out[k] /= total;
}
static void backward(int label, float rate) {
    float error[HIDDEN] = {0};
    for (int k = 0; k < CLASSES; k++) {
        float e = (out[k] - (k == label ? 1.0f : 0.0f)) * rate;
        b2[k] -= e;
        for (int j = 0; j < HIDDEN; j++) {
            error[j] += w2[k][j] * e;
            w2[k][j] -= e * hidden[j];
        }
    }
    for (int j = 0; j < HIDDEN; j++) {
        float e = hidden[j] > 0 ? error[j] : error[j] * 0.01f;
        b1[j] -= e;
        for (int i = 0; i < INPUTS; i++)
            w1[j][i] -= e * input[i];
    }
}

static int sample(void) {
    int label = (int)(bench_random(&seed) % CLASSES), dx = (int)(bench_random(&seed) % 3) - 1;
    for (int i = 0; i < INPUTS; i++) {
        int from = i + dx;
        input[i] = (from >= 0 && from < INPUTS ? patterns[label][from] : 0) + noise(0.6f);
    }
    return label;
}
static int answer(void) {
    int best = 0;
    for (int k = 1; k < CLASSES; k++)
        best = out[k] > out[best] ? k : best;
    return best;
}

int main(void) {
    uint64_t sum = 0;
    int right = 0;
    for (int k = 0; k < CLASSES; k++)
        for (int i = 0; i < INPUTS; i++)
            patterns[k][i] = bench_random(&seed) % 3 == 0 ? 1 : 0;
    for (int j = 0; j < HIDDEN; j++)
        for (int i = 0; i < INPUTS; i++)
            w1[j][i] = noise(0.1f);
    for (int k = 0; k < CLASSES; k++)
        for (int j = 0; j < HIDDEN; j++)
            w2[k][j] = noise(0.2f);
    bench_begin();
    for (int i = 0; i < STEPS; i++) {
        int label = sample();
        forward();
        backward(label, 0.02f);
    }
    for (int i = 0; i < TESTS; i++) {
        int label = sample();
        forward();
        right += answer() == label;
        sum = bench_mix_double(sum, out[label]);
    }
    if (right < TESTS * 8 / 10)
        bench_fail("it learnt nothing");
    bench_end("network", bench_mix(sum, (uint64_t)right));
    return 0;
}
