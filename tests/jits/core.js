// SPDX-FileCopyrightText: The Graft authors
// SPDX-License-Identifier: Apache-2.0
//
// core.js - what a JavaScript engine compiles, patches, gives up and compiles again (V8: node; SpiderMonkey: gjs)

'use strict';
const say = typeof print === 'function' ? print : (...a) => console.log(...a);
const fnv = (h, v) => Math.imul(h ^ (v | 0), 16777619);

function ints(n) {
    let h = 2166136261, x = 12345;
    for (let i = 0; i < n; i++) {
        x = (Math.imul(x, 1103515245) + 12345) | 0;
        h = fnv(h, (x >>> (i & 31)) ^ (x % 1000) ^ ((x / 7) | 0));
    }
    return h;
}

function doubles(n) {
    const a = new Float64Array(1024);
    let s = 0;
    for (let i = 0; i < n; i++) {
        const k = i & 1023;
        a[k] = Math.sqrt(i) * 0.5 + a[(k * 7) & 1023] / 3 - Math.floor(a[k]);
        if (a[k] > 1e6) a[k] = -0;
        s += a[k] | 0;
    }
    return s + ' ' + a[17].toFixed(9) + ' ' + (1 / (n - n)) + ' ' + (0 / 0);
}

// One type for long, then others: compiled code that was right is not any more.
function add(a, b) { return a + b; }
function deopts(n) {
    let h = 1;
    for (let round = 0; round < 6; round++) {
        for (let i = 0; i < n; i++) h = fnv(h, add(i, round));
        for (let i = 0; i < n; i++) h = fnv(h, add(i + 0.5, round) * 2);
        h = fnv(h, add('a' + round, 'b').length);
        h = fnv(h, add(2147483647, round) % 65536);
        for (let i = 0; i < 20; i++) h = fnv(h, Number(add(BigInt(i), 5n)));
    }
    return h;
}

class Shape { constructor(s) { this.s = s; } area() { return this.s; } }
class Square extends Shape { area() { return this.s * this.s; } }
class Circle extends Shape { area() { return (this.s * this.s * 355 / 113) | 0; } }
class Late extends Shape { area() { if (this.s % 97 === 0) throw new RangeError('late ' + this.s); return -this.s; } }
function shapes(n) {
    let h = 7, caught = 0;
    const kinds = [Square, Circle];
    for (let i = 0; i < n; i++) {
        if (i === n >> 1) kinds.push(Late); // a third receiver where there were two
        if (i === (n >> 2) * 3) Square.prototype.area = function () { return this.s + 1; };
        try {
            h = fnv(h, new kinds[i % kinds.length](i % 1000).area());
        } catch (e) {
            if (!(e instanceof RangeError)) throw e;
            caught++;
        }
    }
    return h + ' ' + caught;
}

// Exceptions of the engine's own, out of compiled code: null, a stack without end, bounds.
function traps(n) {
    let nulls = 0, deep = 0, bounds = 0;
    const objects = [{ x: 1 }, null, { x: 3 }, undefined];
    for (let i = 0; i < n; i++) {
        try { nulls += objects[i & 3].x; } catch (e) { nulls += 100; }
        const t = [1, 2, 3][i % 5];
        bounds += t === undefined ? 1000 : t;
    }
    const dive = k => 1 + dive(k + 1);
    for (let i = 0; i < 5; i++) try { dive(0); } catch (e) { deep++; }
    return nulls + ' ' + bounds + ' ' + deep;
}

function garbage(n) {
    const kept = new Map();
    let h = 3;
    for (let i = 0; i < n; i++) {
        const o = { i, s: 'k' + i % 5000, list: [i, i * 2, { deep: i }] };
        kept.set(o.s, o);
        if (i % 3 === 0) kept.delete('k' + (i * 7) % 5000);
    }
    for (const [k, v] of kept) h = fnv(h, v.list[2].deep + k.length);
    return h + ' ' + kept.size;
}

function strings(n) {
    let s = '', h = 5;
    for (let i = 0; i < n; i++) {
        s += String.fromCharCode(97 + i * 7 % 26);
        if (s.length > 2000) { h = fnv(h, s.split('e').map(p => p.toUpperCase()).join('-').length); s = s.slice(1900); }
    }
    const re = /(\w)(\w)\2?([aeiou]+|x{2,3})(?=[b-y])/g;
    for (let i = 0; i < n / 1000; i++) h = fnv(h, [...(s + i + 'hello xxy aab').matchAll(re)].length);
    return h;
}

function big(rounds) {
    let a = 1n, b = 1n;
    for (let i = 0; i < rounds; i++) [a, b] = [b, a + b];
    return (a * b % 1000000007n) + ' ' + a.toString(16).length;
}

function* naturals(n) { for (let i = 0; i < n; i++) yield i; }
function lazies(n) {
    let s = 0;
    for (const i of naturals(n)) s = (s * 31 + i) | 0;
    const sorted = Array.from({ length: n >> 2 }, (_, i) => Math.imul(i, 2654435761) >>> 7).sort((x, y) => x - y);
    return s + ' ' + sorted[n >> 4];
}

// WebAssembly: f is a loop with stores, g loads at its parameter, which is out of bounds now and then (a signal, in V8).
const section = (id, ...bytes) => [id, bytes.length, ...bytes];
const body = (...bytes) => [bytes.length, ...bytes];
const module = [0, 0x61, 0x73, 0x6d, 1, 0, 0, 0, ...section(1, 1, 0x60, 1, 0x7f, 1, 0x7f), ...section(3, 2, 0, 0), ...section(5, 1, 0, 1),
    ...section(7, 2, 1, 0x66, 0, 0, 1, 0x67, 0, 1),
    ...section(10, 2,
        // loop { sum = sum * 31 + n; memory[n & 0xfffc] = sum; } while (--n)
        ...body(1, 1, 0x7f, 3, 0x40, 0x20, 1, 0x41, 31, 0x6c, 0x20, 0, 0x6a, 0x21, 1, 0x20, 0, 0x41, 0xfc, 0xff, 3, 0x71, 0x20, 1,
            0x36, 2, 0, 0x20, 0, 0x41, 1, 0x6b, 0x22, 0, 0x0d, 0, 0x0b, 0x20, 1, 0x0b),
        ...body(0, 0x20, 0, 0x28, 2, 0, 0x0b))];
function wasm(n) {
    if (typeof WebAssembly !== 'object') return 'none';
    const { f, g } = new WebAssembly.Instance(new WebAssembly.Module(Uint8Array.from(module))).exports;
    let h = f(n), out = 0;
    for (let i = 0; i < 400; i++) {
        h = fnv(h, f(100 + i));
        try { h = fnv(h, g((i * 1009) << (i & 15))); } catch (e) { out++; }
    }
    return h + ' ' + out;
}

// A new function each time: code made, run, and thrown away.
function evals(n) {
    let h = 11;
    for (let i = 0; i < n; i++) {
        const f = new Function('a', `let s = ${i}; for (let k = 0; k < 200; k++) s = (s * ${i | 1} + a + k) | 0; return s;`);
        h = fnv(h, f(i));
    }
    return h;
}

const tests = { ints: [3e6], doubles: [1e6], deopts: [1e5], shapes: [4e5], traps: [1e5], garbage: [2e5], strings: [2e5], big: [4000],
    lazies: [3e5], wasm: [1e6], evals: [1500] };
const all = { ints, doubles, deopts, shapes, traps, garbage, strings, big, lazies, wasm, evals };
for (const name in tests) say(name + ' ' + all[name](...tests[name]));
