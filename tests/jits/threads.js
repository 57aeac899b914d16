// SPDX-FileCopyrightText: The Graft authors
// SPDX-License-Identifier: Apache-2.0
//
// threads.js - workers of node that share memory: atomics, waiting, messages

'use strict';
const { Worker, isMainThread, workerData, parentPort } = require('worker_threads');
const workers = 4, rounds = 60000;

function work({ shared, id }) {
    const a = new Int32Array(shared);
    let sum = 0;
    for (let i = 0; i < rounds; i++) {
        Atomics.add(a, 0, 1);
        Atomics.xor(a, 1, (i << 4) ^ id);
        let seen;
        do seen = Atomics.load(a, 2); while (Atomics.compareExchange(a, 2, seen, seen + 3) !== seen);
        sum = (sum + Math.imul(i ^ id, 31)) | 0;
    }
    // One after the other, each woken by the one before.
    for (let turn = 0; turn < 50; turn++) {
        const mine = turn * workers + id;
        for (let now = Atomics.load(a, 3); now !== mine; now = Atomics.load(a, 3)) Atomics.wait(a, 3, now);
        a[4] = (Math.imul(a[4], 31) + mine) | 0;
        Atomics.store(a, 3, mine + 1);
        Atomics.notify(a, 3);
    }
    parentPort.postMessage({ id, sum, text: 'x'.repeat(100000 + id) });
}

function main() {
    const shared = new SharedArrayBuffer(64), a = new Int32Array(shared), said = [];
    for (let id = 0; id < workers; id++) {
        const w = new Worker(__filename, { workerData: { shared, id } });
        w.on('error', e => { throw e; });
        w.on('message', m => {
            said[m.id] = m.sum + ':' + m.text.length;
            if (said.filter(s => s).length === workers) console.log([...a.slice(0, 5), ...said].join(' '));
        });
    }
}

if (isMainThread) main(); else work(workerData);
