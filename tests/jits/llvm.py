# SPDX-FileCopyrightText: The Graft authors
# SPDX-License-Identifier: Apache-2.0
#
# llvm.py - LLVM as a JIT (numba): loops with vectors, parallel threads, exceptions, and a callback for C

import ctypes

import numba
import numpy


@numba.njit
def ints(n):
    h, x = numpy.uint32(1), numpy.uint32(12345)
    for i in range(n):
        x = numpy.uint32(x * numpy.uint32(1103515245) + numpy.uint32(12345))
        h = numpy.uint32((h ^ x ^ (x % numpy.uint32(1000))) * numpy.uint32(16777619))
    return h


@numba.njit
def floats(a, b):
    s = 0.0
    for i in range(a.size):
        a[i] = numpy.sqrt(b[i]) * 0.5 + a[i] / 3
        s += numpy.floor(a[i])
    return s


@numba.njit(parallel=True, nogil=True)
def parallel(a):
    for i in numba.prange(a.size):
        a[i] = (a[i] * 31 + i) % 65521
    return a.sum()


@numba.njit
def errors(rows, k):
    if k % 7 == 0:
        raise ValueError('seven')
    return rows[k % rows.size] // (k % 5)


def caught():
    rows, s = numpy.arange(10), 0
    for k in range(2000):
        try:
            s += errors(rows, k)
        except ValueError:
            s += 3
        except ZeroDivisionError:
            s += 5
    return s


def sorted_by_callback():
    @numba.cfunc(numba.int32(numba.types.CPointer(numba.int32), numba.types.CPointer(numba.int32)))
    def compare(a, b):
        return a[0] - b[0]
    v = (ctypes.c_int32 * 3000)(*[i * 40503 % 100003 for i in range(3000)])
    ctypes.CDLL(None).qsort(v, 3000, 4, ctypes.cast(compare.address, ctypes.c_void_p))
    return list(v) == sorted(v), v[1500]


print('ints', ints(3000000))
print('floats', floats(numpy.ones(300000), numpy.arange(300000.0)))
print('parallel', [int(parallel(numpy.arange(200000))) for _ in range(3)])
print('errors', caught())
print('callback', sorted_by_callback())
