#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
# Copyright The Graft Authors
"""The board's device tree beside that of QEMU's virt: the same nodes and properties, but for what is listed here with a reason.

usage: test_tree.py GRAFT FOLDER    the folder that QEMU is in
"""

import os
import struct
import subprocess
import sys
import tempfile
import unittest

GRAFT, QEMU = sys.argv[1:3]
ARM, RISCV = (os.path.join(QEMU, 'qemu-system-' + target) for target in ('aarch64', 'riscv64'))

# Nodes that only QEMU has, and why.
ABSENT = {
    '/pcie@10000000': 'no PCIe',
    '/platform-bus@c000000': 'no devices that are added to it',
    '/intc@8000000/its@8080000': 'no ITS: no MSIs without PCIe',
    '/intc@8000000/v2m@8020000': 'no MSIs without PCIe',
    '/pl011@9040000': 'a second UART is there with EL3 alone',
}
RISCV_ABSENT = {
    '/soc/pci@30000000': 'no PCIe',
    '/platform-bus@4000000': 'no devices that are added to it',
}
# Properties that differ, and why.
DIFFERENT = {
    ('/chosen', 'rng-seed'): 'random',
    ('/chosen', 'kaslr-seed'): 'random',
    ('/chosen', 'bootargs'): 'none was given to QEMU',
    ('/cpus/cpu@*', 'compatible'): 'the name of the model: QEMU has arm,arm-v8 for max',
    ('/cpus/cpu@*', 'phandle'): 'numbers of nodes',
    ('/cpus/cpu-map/*', 'cpu'): 'numbers of nodes',
    ('/', 'interrupt-parent'): 'numbers of nodes',
    ('/intc@8000000', 'phandle'): 'numbers of nodes',
    ('/apb-pclk', 'phandle'): 'numbers of nodes',
    ('/pl011@9000000', 'clocks'): 'numbers of nodes',
    ('/pl031@9010000', 'clocks'): 'numbers of nodes',
    ('/pl061@9030000', 'clocks'): 'numbers of nodes',
    ('/pl061@9030000', 'phandle'): 'numbers of nodes',
    ('/gpio-keys/poweroff', 'gpios'): 'numbers of nodes',
    ('/psci', 'compatible'): 'PSCI 1.1 here',
    ('/cpus/cpu@*', 'riscv,isa'): 'what the processor can do',
    ('/cpus/cpu@*', 'riscv,isa-extensions'): 'what the processor can do',
    ('/pmu', 'riscv,event-to-mhpmcounters'): 'what the processor can count',
    ('/poweroff', 'regmap'): 'numbers of nodes',
    ('/reboot', 'regmap'): 'numbers of nodes',
    ('/soc/*', 'interrupts-extended'): 'numbers of nodes',
    ('/soc/*', 'interrupt-parent'): 'numbers of nodes',
    ('/soc/*', 'phandle'): 'numbers of nodes',
}


def parse(blob):
    """{path: {property: bytes}} of a flattened tree."""
    magic, _, structure, strings = struct.unpack_from('>IIII', blob)
    assert magic == 0xd00dfeed
    nodes, path, at = {}, [], structure
    while True:
        token, = struct.unpack_from('>I', blob, at)
        at += 4
        if token == 1:
            end = blob.index(b'\0', at)
            path.append(blob[at:end].decode())
            nodes['/'.join(path) or '/'] = {}
            at = (end + 4) & ~3
        elif token == 2:
            path.pop()
        elif token == 3:
            size, name = struct.unpack_from('>II', blob, at)
            end = blob.index(b'\0', strings + name)
            nodes['/'.join(path) or '/'][blob[strings + name:end].decode()] = blob[at + 8:at + 8 + size]
            at = (at + 8 + size + 3) & ~3
        elif token == 9:
            return nodes


def matches(pattern, text):
    return text.startswith(pattern[:-1]) if pattern.endswith('*') else text == pattern


class Tree(unittest.TestCase):
    maxDiff = None

    def trees(self, options, qemu, machine, cpu, cpus):
        with tempfile.TemporaryDirectory() as folder:
            ours, theirs = os.path.join(folder, 'ours'), os.path.join(folder, 'theirs')
            subprocess.run([GRAFT, 'run', '--dump-dtb', ours, *options, '--smp', str(cpus)], check=True, timeout=60)
            subprocess.run([qemu, '-M', f'{machine},dumpdtb={theirs}', '-cpu', cpu, '-m', '1G', '-smp', str(cpus),
                            '-display', 'none'], check=True, timeout=60, stderr=subprocess.DEVNULL)
            with open(ours, 'rb') as a, open(theirs, 'rb') as b:
                return parse(a.read()), parse(b.read())

    def compare(self, absent, *machine):
        ours, theirs = self.trees(*machine)
        self.assertEqual(set(ours) - set(theirs), set())
        self.assertEqual(set(ours) & set(absent), set())
        missing = set(theirs) - set(ours)
        self.assertEqual({node for node in missing if not any(node == a or node.startswith(a + '/') for a in absent)}, set())
        for node in sorted(ours):
            for name in sorted(set(ours[node]) | set(theirs[node])):
                if any(matches(n, node) and p == name for n, p in DIFFERENT):
                    continue
                self.assertEqual(ours[node].get(name), theirs[node].get(name), f'{node} {name}')

    def test_trees(self):
        for gic in 2, 3:
            for cpus in 1, 4:
                with self.subTest(gic=gic, cpus=cpus):
                    self.compare(ABSENT, ['--gic', str(gic)], ARM, f'virt,gic-version={gic}', 'cortex-a72', cpus)

    def test_trees_of_riscv(self):
        for cpus in 1, 4:
            with self.subTest(cpus=cpus):
                self.compare(RISCV_ABSENT, ['--guest', 'riscv64'], RISCV, 'virt', 'rv64', cpus)


if __name__ == '__main__':
    if not os.access(RISCV, os.X_OK):
        print(f'SKIPPED: no {RISCV}: run scripts/fetch-qemu')
        sys.exit(77)
    unittest.main(argv=sys.argv[:1])
