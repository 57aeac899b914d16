#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
# Copyright The Graft Authors
"""What the compiler and the linker have done against mistakes in the monitor.

usage: test_hardening.py GRAFT LIBGRAFT_MONITOR [TEST]...
"""

import platform
import re
import subprocess
import sys
import unittest

GRAFT, MONITOR = sys.argv[1:3]


def readelf(*args):
    return subprocess.run(['readelf', '-W', *args], capture_output=True, text=True, timeout=60, check=True).stdout


class Hardening(unittest.TestCase):
    def test_it_is_loaded_anywhere(self):
        self.assertRegex(readelf('-h', GRAFT), r'Type:\s+DYN')

    def test_relocations_are_read_only(self):
        self.assertIn('GNU_RELRO', readelf('-l', GRAFT))
        self.assertRegex(readelf('-d', GRAFT), r'BIND_NOW|FLAGS.*NOW')

    def test_the_stack_is_not_executable(self):
        stack = re.search(r'GNU_STACK.*', readelf('-l', GRAFT)).group()
        self.assertNotIn('E', stack.split()[-2])

    def test_no_segment_is_writable_and_executable(self):
        for line in readelf('-l', GRAFT).splitlines():
            if line.strip().startswith('LOAD'):
                self.assertNotIn('RWE', line)

    def test_stack_protector_and_checked_functions(self):
        needed = readelf('--dyn-syms', GRAFT)
        self.assertIn('__stack_chk_fail', needed)
        if 'GLIBC' in needed:
            self.assertGreater(len(set(re.findall(r'__\w+_chk\b', needed))), 5)

    @unittest.skipUnless(platform.machine() == 'x86_64', 'SKIP: not on x86-64')
    def test_landing_pads_and_shadow_stack(self):
        notes = readelf('-n', MONITOR)
        members = re.split(r'^File: ', notes, flags=re.M)[1:]
        marked = [m.split(')')[0] for m in members if 'IBT' in m and 'SHSTK' in m]
        for name in ('stats.c', 'run.c', 'loader.c', 'virtio_net.c', 'virtqueue.c'):
            self.assertTrue([m for m in marked if name in m], name)


if __name__ == '__main__':
    unittest.main(argv=[sys.argv[0]] + sys.argv[3:])
