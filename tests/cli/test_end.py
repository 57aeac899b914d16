#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
# Copyright The Graft Authors
"""How a run ends, and the exit status that says so: each row of the table in the manual page.

usage: test_end.py GRAFT [TEST]...
"""

import json
import os
import signal
import struct
import subprocess
import sys
import time
import unittest

from guest import GRAFT, POWEROFF, RESET, SPIN, VM, WFI_LOOP, GraftTest, elf, say, say_all, words

PANIC = '[    1.234567][    T1] Kernel panic - not syncing: VFS: Unable to mount root fs\n'
REPORT = '[    1.234568] CPU: 0 PID: 1 Comm: swapper/0\n[    1.234570] Call trace:\n'
END = '[    1.3] ---[ end Kernel panic - not syncing: VFS: Unable to mount root fs ]---\r\n'


class End(GraftTest):
    def ending(self, status, code, *args, said=None):
        r = self.run_guest(code, *args)
        self.assertEqual(r.returncode, status, (args, r.stderr))
        if said is not None:
            self.assertEqual(r.stdout, said)
        return r.stderr.decode()

    def test_0_power_off(self):
        self.assertEqual(self.ending(0, POWEROFF), '')

    def test_0_ctrl_a_x(self):
        self.assertEqual(self.run_guest(SPIN, stdin=b'\x01x').returncode, 0)

    def test_status_of_the_test_device(self):
        """RISC-V's: lui t0, 0x100; lui t1, 0x2a3; addi t1, t1, 0x333, or lui t1, 0x2a5; addi t1, t1, 0x555; sw t1, (t0)"""
        fails, passes = (0x002a3337, 0x33330313), (0x002a5337, 0x55530313)
        for status, value in ((42, fails), (0, passes)):
            self.ending(status, elf(words(0x001002b7, *value, 0x0062a023, 0x6f), paddr=0x80200000, machine=243))

    def test_0_no_reboot(self):
        self.ending(0, say('r') + RESET, '--no-reboot', said=b'r')

    def test_1_outputs_are_opened_first(self):
        disk = self.path('disk', b'x' * 4096)
        guest = self.path('k.bin', say('g') + POWEROFF)
        for option in ('--stats', '--profile', '-D'):
            for path in ('/none/x', self.dir):
                self.complains(1, ['run', guest, '--vm', VM, option, path], path)
            self.complains(1, ['run', guest, '--vm', VM, '--drive', disk, option, disk], disk, 'disk of the guest')
        with open(disk, 'rb') as f:
            self.assertEqual(f.read(), b'x' * 4096)

    @unittest.skipUnless(os.path.exists('/dev/full'), 'SKIP: there is no /dev/full')
    def test_1_outputs_that_cannot_be_written(self):
        for option in ('--stats', '--profile'):
            self.assertIn('/dev/full: No space left', self.ending(1, POWEROFF, option, '/dev/full'))

    def test_the_map_of_perf_follows_no_link(self):
        """Whoever may write to /tmp could have a file of the user's overwritten."""
        victim = self.path('victim', b'kept')
        script = f'ln -s {victim} /tmp/perf-$$.map; exec "$@"'
        r = subprocess.run(['sh', '-c', script, 'sh', GRAFT, 'run', self.path('k.bin', POWEROFF), '--vm', VM, '-d', 'perf'],
                           stdin=subprocess.DEVNULL, capture_output=True, timeout=30, check=False)
        self.assertIn(r.returncode, (0, 1))
        with open(victim, 'rb') as f:
            self.assertEqual(f.read(), b'kept')

    def test_2_usage(self):
        for args in (['--timeout', '0'], ['--timeout', '-1'], ['--timeout', 'x'], ['--timeout', '1s'], ['--timeout', 'nan'],
                     ['--on-panic', 'what'], ['--no-reboot=1']):
            self.complains(2, ['run', 'k', *args], args[0].split('=', maxsplit=1)[0])

    def test_124_timeout(self):
        for code in (SPIN, WFI_LOOP, say('r') + RESET):
            start = time.monotonic()
            self.ending(124, code, '--timeout', '0.3')
            self.assertGreaterEqual(time.monotonic() - start, 0.3)
        self.ending(0, POWEROFF, '--timeout', '1000')

    def test_124_timeout_while_a_kernel_is_waited_for(self):
        fifo = self.path('fifo')
        os.mkfifo(fifo)
        self.assertEqual(self.graft('run', fifo, '--timeout', '0.2').returncode, 124)

    def test_128_signals(self):
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT):
            stats = self.path('stats')
            p = self.start(say('s') + WFI_LOOP, '--stats', stats, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE)
            self.assertEqual(p.stdout.read(1), b's')
            p.send_signal(number)
            self.assertEqual(p.wait(10), 128 + number)
            p.stdout.close()
            with open(stats, encoding='ascii') as f:
                self.assertEqual(len(json.load(f)['vcpu']), 1)

    def test_255_panic(self):
        for code in (PANIC + REPORT + END, PANIC + PANIC + END + END):
            self.assertIn('panicked', self.ending(255, say_all(code) + SPIN, '--timeout', '20'))
        self.ending(255, say_all(PANIC + REPORT + END) + WFI_LOOP, '--timeout', '20', '--serial', 'file:' + self.path('out'))

    def test_memory_ahead(self):
        """The host is asked for what a guest uses next, not for everything; in another thread, which may take its time,
        and is none if there is one processor."""
        args = [] if len(os.sched_getaffinity(0)) > 1 else ['--vm', 'inproc']
        for patience in (0.2, 1, 5):
            stats = self.path('stats.json')
            p = self.start(say('s') + WFI_LOOP, '--memory', '1G', '--stats', stats, *args, stdin=subprocess.DEVNULL,
                           stdout=subprocess.PIPE)
            self.assertEqual(p.stdout.read(1), b's')
            time.sleep(patience)
            p.terminate()
            p.wait(10)
            p.stdout.close()
            with open(stats, encoding='utf-8') as f:
                ahead = json.load(f)['memory_ahead'] / (1 << 20)
            self.assertLess(ahead, 100)
            if ahead > 10:
                return
        self.fail(f'{ahead} MiB')

    def test_255_panic_that_resets(self):
        text = PANIC + REPORT
        self.assertIn('panicked', self.ending(255, say_all(text) + RESET, '--timeout', '20', said=text.encode()))
        self.ending(255, say_all(text) + RESET, '--timeout', '20', '--on-panic', 'reboot', '--no-reboot', said=text.encode())

    def test_a_dump_of_a_panic(self):
        """Also of one that resets the machine behind its first line."""
        core = self.path('core', b'old')
        os.chmod(core, 0o644)
        for code in (say_all(PANIC) + RESET, say_all(PANIC + REPORT + END) + SPIN):
            self.assertIn(f'memory is in {core}', self.ending(255, code, '--dump-on-panic', core, '--timeout', '20'))
            with open(core, 'rb') as f:
                file = f.read()
            at, = struct.unpack_from('<Q', file, 64 + 56 + 8)  # of the first segment behind the notes
            self.assertEqual((file[:4], file[at + 0x80000:at + 0x80000 + len(code)]), (b'\x7fELF', code))
            self.assertEqual(os.stat(core).st_mode & 0o777, 0o600)

    def test_a_dump_that_cannot_be_written(self):
        disk, guest = self.path('disk', b'x' * 4096), self.path('k.bin', POWEROFF)
        for path, *parts in (('/none/core', 'No such'), ('/dev/null', 'not a regular file'), (self.dir, 'Is a directory')):
            self.complains(1, ['run', guest, '--vm', VM, '--dump-on-panic', path], '--dump-on-panic', *parts)
        self.complains(1, ['run', guest, '--vm', VM, '--drive', disk, '--dump-on-panic', disk], 'disk of the guest')

    def test_panic_and_reboot(self):
        p = self.start(say_all(PANIC + END) + SPIN, '--on-panic', 'reboot', stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                       stderr=subprocess.DEVNULL)
        both = (PANIC + END).encode() * 2
        self.assertEqual(p.stdout.read(len(both)), both)
        self.ends(p)

    def test_panic_and_pause(self):
        for last in (SPIN, RESET):
            p = self.start(say_all(PANIC + END) + last, '--on-panic', 'pause', stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                           stderr=subprocess.PIPE)
            self.assertIn(b'held', p.stderr.readline())
            time.sleep(1)
            self.assertIsNone(p.poll())
            p.stderr.close()
            self.ends(p, 255)

    def test_a_log_of_a_panic_is_none(self):
        """A shell that shows what happened to another machine, and goes on."""
        for text in (PANIC + REPORT + END + '# ', 'a Kernel panic - not syncing\n' + END, END, PANIC + REPORT,
                     PANIC + 'line\n' * 101 + END):
            self.ending(124, say_all(text) + SPIN, '--timeout', '2.5')
        self.ending(0, say_all(PANIC + END + '# shutdown\n') + POWEROFF)


if __name__ == '__main__':
    unittest.main(argv=[sys.argv[0]] + sys.argv[2:])
