# SPDX-FileCopyrightText: The Graft authors
# SPDX-License-Identifier: Apache-2.0
#
# core.py - loops, guards that fail, exceptions, garbage and threads for PyPy

import hashlib
import re
import struct
import sys
import threading


def ints(n):
    h, x = 1, 12345
    for i in range(n):
        x = (x * 1103515245 + 12345) & 0x7fffffff
        h = ((h ^ (x >> (i & 15)) ^ x % 1000 ^ x // 7) * 16777619) & 0xffffffff
    return h


def floats(n):
    a, s = [0.0] * 1024, 0.0
    for i in range(n):
        k = i & 1023
        a[k] = i ** 0.5 / 2 + a[k * 7 & 1023] / 3 - a[k] // 1
        s = s / 2 + a[k]
    return repr(s), repr(a[17])


class Base:
    def __init__(self, s):
        self.s = s

    def area(self):
        return self.s


class Square(Base):
    def area(self):
        return self.s * self.s


class Late(Base):
    def area(self):
        if self.s % 97 == 0:
            raise ValueError(self.s)
        return -self.s


def guards(n):
    h, caught = 7, 0
    for i in range(n):
        kind = (Base, Square, Late)[i % (2 if i < n // 2 else 3)]
        if i == n * 3 // 4:
            Square.area = lambda self: self.s + 1
        v = i if i % 1000 else float(i)
        try:
            h = (h * 31 + int(kind(v).area())) & 0xffffffff
        except ValueError:
            caught += 1
        if i % 5000 == 0:
            h = (h * (1 << 70)) % 1000003
    return h, caught


def errors(n):
    s = 0
    rows = [{'x': 1}, None, {'y': 2}, [1]]
    for i in range(n):
        try:
            s += rows[i % 5]['x']
        except (TypeError, KeyError, IndexError) as e:
            s += len(type(e).__name__)
        finally:
            s += 1

    def dive(k):
        return dive(k + 1) + 1
    deep = 0
    for _ in range(3):
        try:
            dive(0)
        except RecursionError:
            deep += 1
    return s, deep


def garbage(n):
    kept = {}
    for i in range(n):
        o = [i, 'k%d' % (i % 3000), {'deep': i}]
        kept[o[1]] = o
        if i % 3 == 0:
            kept.pop('k%d' % (i * 7 % 3000), None)
    return sum(o[2]['deep'] for o in kept.values()), len(kept)


def strings(n):
    b, h = [], 5
    for i in range(n):
        b.append(chr(97 + i * 7 % 26))
        if len(b) == 1000:
            s = ''.join(b)
            h = (h * 31 + len(re.sub(r'(?:[aeiou]|x{1,2})(?=[b-y])', '--', s)) + s.count('ah') + struct.unpack('<I', s[3:7].encode())[0]) & 0xffffffff
            b = []
    return h, hashlib.sha256(str(h).encode()).hexdigest()[:8]


def threads():
    total, lock, out = [0], threading.Lock(), []

    def work(k):
        s = 0
        for i in range(40000):
            s = (s * 31 + i ^ k) & 0xffffff
            if i % 10 == 0:
                with lock:
                    total[0] += 1
        out.append(s)
    t = [threading.Thread(target=work, args=(k,)) for k in range(4)]
    for x in t:
        x.start()
    for x in t:
        x.join()
    return total[0], sorted(out)


def generators(n):
    def naturals():
        i = 0
        while True:
            yield i
            i += 1
    s = 0
    for i in naturals():
        s = (s * 31 + i) & 0xffffffff
        if i == n:
            return s, sum(x * x % 7 for x in range(n) if x & 1)


def evals(n):
    s = 0
    for i in range(n):
        scope = {}
        exec('def f(a):\n s = %d\n for k in range(1100):\n  s = (s * 3 + a + k) %% 65521\n return s' % i, scope)
        s += scope['f'](i)
    return s


print('ints', ints(2000000))
print('floats', floats(1000000))
print('guards', guards(500000))
print('errors', errors(300000))
print('garbage', garbage(300000))
print('strings', strings(300000))
print('threads', threads())
print('generators', generators(400000))
print('evals', evals(60))
print(sys.byteorder)
