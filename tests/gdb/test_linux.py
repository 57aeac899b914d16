#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
# Copyright The Graft Authors
"""GDB on a boot of Debian's kernel, by addresses: it has no symbols here, and lies where it likes (KASLR).

usage: test_linux.py GRAFT PROJECT SUITE
"""

import os
import re
import shutil
import subprocess
import sys
import tempfile
import unittest

from session import PATIENCE, Guest, gdb, gdb_path

GRAFT, PROJECT, SUITE = sys.argv[1:4]
RISCV = SUITE == 'riscv64'
# Where interrupts of kernel code go, and which register says where they came from.
VECTOR = '($stvec & ~3)' if RISCV else '($VBAR_EL1 + 0x280)'
FROM = '$sepc' if RISCV else '$ELR_EL1'
# To where it has made room for the registers that it saves.
NEXT_STACK = 'python\nimport gdb\nbefore = str(gdb.parse_and_eval("$sp"))\n' \
             'for i in range(60):\n  gdb.execute("stepi", to_string=True)\n' \
             '  if str(gdb.parse_and_eval("$sp")) != before: break\nend'


class Linux(unittest.TestCase):
    def test_boot(self):
        files = os.path.join(PROJECT, 'build', 'guest', SUITE)
        g = Guest(GRAFT, os.path.join(files, 'vmlinuz'), '--initrd', os.path.join(files, 'initrd.gz'), '--smp', '2', '--memory', '512M', '--pause',
                  '--append', 'console=ttyS0 rdinit=/bin/busybox -- poweroff -f' if RISCV else 'console=ttyAMA0 rdinit=/bin/busybox -- poweroff -f')
        self.addCleanup(g.end)
        script = os.path.join(g.dir, 'script')
        # At the start, where there is no translation.
        first = gdb(g, ['x/2xb $pc & ~0xfff', 'info threads', 'p/x $pc', 'disconnect'])
        self.assertIn('vCPU 1', first)
        self.assertRegex(first, r'(?m)^\$1 = 0x[0-9a-f]+$')
        g.wait(lambda: os.path.exists(g.console) and 'Calibrating' in g.printed())
        with open(script, 'w') as f:
            f.write(f'''
set $vector = {VECTOR}
printf "vector %lx\\n", $vector
printf "code %x\\n", *(unsigned int *)$vector
hbreak *$vector
continue
printf "stopped at the vector: %d\\n", $pc == $vector
printf "from %lx\\n", {FROM}
stepi
printf "stepped: %d\\n", $pc != $vector
continue
printf "stopped again: %d\\n", $pc == $vector
delete
{NEXT_STACK}
watch -l *(long *)$sp
continue
printf "watched\\n"
delete
monitor info cpus
detach
''')
        out = gdb(g, [f'source {script}'])
        vector = re.search(r'(?m)^vector (f[0-9a-f]{15})$', out)
        self.assertTrue(vector, out)
        for line in (r'code (?!0$)[0-9a-f]+', 'stopped at the vector: 1', 'from f[0-9a-f]{15}', 'stepped: 1', 'stopped again: 1',
                     'Hardware watchpoint', 'watched', r'.*CPU #1: pc='):
            self.assertRegex(out, f'(?m)^{line}')
        status, _, err = g.status()
        self.assertEqual(status, 0, err + g.printed()[-2000:])
        self.assertIn('Power down', g.printed())

    def test_panic(self):
        """--dump-on-panic: what VMCOREINFO says of the kernel is where the core file has it, at virtual addresses."""
        files, folder = os.path.join(PROJECT, 'build', 'guest', SUITE), tempfile.mkdtemp(prefix='graft-core.')
        self.addCleanup(shutil.rmtree, folder)
        core = os.path.join(folder, 'core')
        done = subprocess.run([GRAFT, 'run', os.path.join(files, 'vmlinuz'), '--initrd', os.path.join(files, 'initrd.gz'), '--smp', '2',
                               '--memory', '512M', '--dump-on-panic', core, '--append',
                               f'console={"ttyS0" if RISCV else "ttyAMA0"} rdinit=/bin/busybox -- true'],
                              stdin=subprocess.DEVNULL, capture_output=True, timeout=PATIENCE, check=False)
        self.assertEqual(done.returncode, 255, done.stderr)
        self.assertIn(f'the guest\'s memory is in {core}', done.stderr.decode())
        with open(core, 'rb') as f:
            head = f.read(65536)
        info = dict(re.findall(rb'(?m)^([A-Za-z0-9_().]+)=(.*)$', head[head.index(b'OSRELEASE='):]))
        name = int(info[b'SYMBOL(init_uts_ns)'], 16) + int(info[b'OFFSET(uts_namespace.name)'])
        out = subprocess.run([gdb_path(), '--batch', '-nx', '-ex', f'core-file {core}', '-ex', 'info threads', '-ex', f'x/s {name:#x}',
                              '-ex', f'x/s {name + 2 * 65:#x}', '-ex', 'x/i $pc', '-ex', 'x/4xg $sp'], stdin=subprocess.DEVNULL,
                             stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=PATIENCE, check=False).stdout.decode()
        for line in (r'.* LWP 1 .*0xf', r'.* LWP 2 .*0xf', r'0xf.*"Linux"', f'0xf.*"{re.escape(info[b"OSRELEASE"].decode())}"', r'=> 0xf'):
            self.assertRegex(out, f'(?m)^{line}')
        self.assertNotIn('Cannot access', out)


if __name__ == '__main__':
    if not gdb_path():
        print('SKIPPED: no gdb-multiarch (scripts/deps test)')
        sys.exit(77)
    subprocess.run([os.path.join(PROJECT, 'scripts', 'fetch-guest'), '--suite', SUITE], check=True)
    unittest.main(argv=[sys.argv[0]])
