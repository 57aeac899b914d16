#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
# Copyright The Graft Authors
"""Translated code that outlives a run (--cache).

usage: test_cache.py GRAFT [TEST]...
"""

import glob
import json
import os
import shutil
import signal
import stat
import subprocess
import sys
import unittest

from guest import GRAFT, POWEROFF, RESET, VM, GraftTest, say_all, words

# Many blocks, as each ends with a branch to a register: add x3, x3, #1; adr x4, .+8; br x4.
BLOCKS = 600
CODE = words(0xd2800003) + b''.join(words(0x91000463, 0x10000044, 0xd61f0080) for _ in range(BLOCKS))
GUEST = say_all('on') + CODE + say_all('off') + POWEROFF


class Cache(GraftTest):
    def setUp(self):
        super().setUp()
        self.cache = self.path('cache')

    def files(self):
        """Those that are complete."""
        return [f for f in sorted(glob.glob(self.cache + '/*')) if os.path.getsize(f)]

    def counters(self, *args, guest=GUEST, says=b'onoff', complaints=0):
        """What a run counts."""
        stats = self.path('stats')
        r = self.run_guest(guest, '--cache', self.cache, '--stats', stats, '--layout', 'flat', *args)
        self.assertEqual((r.returncode, r.stdout), (0, says), r.stderr)
        self.assertEqual(r.stderr.count(b'\n'), complaints, r.stderr)
        with open(stats, encoding='utf-8') as f:
            return json.load(f)['total']

    def assertWarm(self, cold, warm):
        self.assertLess(warm['insns_translated'], cold['insns_translated'] / 10)
        self.assertGreater(warm['blocks_reused'], BLOCKS)

    def test_second_run(self):
        """It translates less, and adds no file."""
        for mmu in ['soft', 'window'] + (['process'] if VM == 'inproc' else []):
            with self.subTest(mmu):
                shutil.rmtree(self.cache, ignore_errors=True)
                cold = self.counters('--mmu', mmu)
                self.assertEqual(cold['blocks_reused'], 0)
                self.assertGreater(cold['blocks_given'], BLOCKS)
                self.assertEqual(len(self.files()), 1)
                self.assertWarm(cold, self.counters('--mmu', mmu))
                self.assertEqual(len(self.files()), 1)

    def test_place(self):
        """In the process, too, where everything is at another address in each run."""
        cold = self.counters('--vm', 'inproc')
        for _ in range(3):
            self.assertWarm(cold, self.counters('--vm', 'inproc'))

    def test_processors(self):
        cold = self.counters('--smp', '2')
        self.assertWarm(cold, self.counters('--smp', '2'))
        self.assertEqual(self.counters()['blocks_reused'], 0)

    def test_other_machine(self):
        """What code depends on besides the guest's is told apart."""
        self.counters()
        other = 'window' if VM == 'inproc' else 'soft'
        for args in ['--cpu', 'cortex-a72'], ['--mmu', other], ['--gic', '2']:
            self.assertEqual(self.counters(*args)['blocks_reused'], 0, args)

    def test_other_code(self):
        """Guest code that is another is not taken for what was there before."""
        self.counters()
        other = GUEST.replace(words(0x91000463), words(0x91000863))
        self.assertLess(self.counters(guest=other)['blocks_reused'], 100)

    def test_reset(self):
        """Each life of a machine adds to the file."""
        guest = CODE + RESET
        self.assertEqual(self.run_guest(guest, '--cache', self.cache, '--layout', 'flat', '--timeout', '1').returncode, 124)
        self.assertEqual(len(self.files()), 1)
        self.assertGreater(self.counters('--no-reboot', guest=guest, says=b'')['blocks_reused'], BLOCKS)

    def test_other_build(self):
        graft = self.path('graft')
        shutil.copy(GRAFT, graft)
        with open(graft, 'r+b') as f:
            data = f.read()
            at = data.index(b'the heap of vCPU %u is too small')
            f.seek(at)
            f.write(b'T')
        self.counters()
        stats = self.path('stats')
        subprocess.run([graft, 'run', self.path('guest.bin', GUEST), '--vm', VM, '--memory', '32M', '--layout', 'flat',
                        '--cache', self.cache, '--stats', stats], stdin=subprocess.DEVNULL, capture_output=True,
                       timeout=30, check=True)
        with open(stats, encoding='utf-8') as f:
            self.assertEqual(json.load(f)['total']['blocks_reused'], 0)
        self.assertEqual(len(self.files()), 2)

    def test_damaged(self):
        """A file with wrong bytes in it, or without its end, is as good as none; so is the part of one."""
        cold = self.counters()
        name, = self.files()
        with open(name, 'rb') as f:
            good = f.read()
        for at in 0, 8, 40, 100, len(good) - 8:
            with open(name, 'wb') as f:
                f.write(good[:at] + bytes([good[at] ^ 1]) + good[at + 1:])
            self.assertEqual(self.counters()['blocks_reused'], 0, at)
            for f in self.files():
                os.unlink(f)
        for size in 1, 4096, len(good) // 2, len(good) - 1:
            with open(name, 'wb') as f:
                f.write(good[:size])
            os.chmod(name, 0o600)
            self.assertEqual(self.counters()['blocks_reused'], 0, size)
            for f in self.files():
                os.unlink(f)
        bad = bytearray(good)
        for at in range(5000, len(good) * 9 // 10, 5000):
            bad[at] ^= 0x80
        with open(name, 'wb') as f:
            f.write(bad)
        os.chmod(name, 0o600)
        some = self.counters()
        self.assertGreater(some['blocks_reused'], 0)
        self.assertLess(some['blocks_reused'], cold['blocks_given'])

    def test_owner(self):
        """A folder of somebody else, or one that others may write to, is not used; the run goes on."""
        os.mkdir(self.cache, 0o777)
        os.chmod(self.cache, 0o777)
        self.assertEqual(self.counters(complaints=1)['blocks_given'], 0)
        self.assertEqual(os.listdir(self.cache), [])
        os.chmod(self.cache, 0o700)
        self.counters()
        for f in self.files():
            self.assertEqual(stat.S_IMODE(os.stat(f).st_mode), 0o600)
            os.chmod(f, 0o620)
        self.assertEqual(self.counters()['blocks_reused'], 0)
        if os.geteuid() == 0:
            os.chown(self.cache, 65534, 65534)
            self.assertEqual(self.counters(complaints=1)['blocks_given'], 0)

    def test_no_folder(self):
        self.cache = self.path('file', b'x')
        self.counters(complaints=1)
        self.cache = self.path('none') + '/below'
        self.counters(complaints=1)
        r = self.run_guest(POWEROFF, '--cache', '')
        self.assertEqual((r.returncode, r.stderr.count(b'\n')), (2, 1), r.stderr)

    def test_off(self):
        r = self.run_guest(GUEST, '--cache', self.cache, '--cache', 'off')
        self.assertEqual(r.returncode, 0, r.stderr)
        self.assertFalse(os.path.exists(self.cache))

    def test_two_at_once(self):
        command = [GRAFT, 'run', self.path('guest.bin', GUEST), '--vm', VM, '--memory', '32M', '--layout', 'flat',
                   '--cache', self.cache]
        runs = [subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE) for _ in range(4)]
        for p in runs:
            self.assertEqual(p.communicate(timeout=30)[0], b'onoff')
            self.assertEqual(p.returncode, 0)
        self.assertGreater(self.counters()['blocks_reused'], BLOCKS)

    def test_kill(self):
        """Killed at any moment, a run leaves a cache that is right."""
        cold = self.counters()
        first = self.files()
        for guest in [GUEST[:24] + words(0x14000000)] + 8 * [GUEST.replace(words(0x91000463), words(0x91000863))]:
            p = self.start(guest, '--cache', self.cache, '--layout', 'flat', stdin=subprocess.DEVNULL,
                           stdout=subprocess.PIPE)
            p.stdout.read(2)
            p.send_signal(signal.SIGKILL)
            p.wait(30)
            p.stdout.close()
            self.assertWarm(cold, self.counters())
        self.assertTrue(set(first) <= set(self.files()))
        self.assertLess(len(os.listdir(self.cache)), 12)

    def test_many_files(self):
        """From many files a run makes one, and the next one removes the others."""
        guests = [GUEST.replace(words(0x91000463), words(0x91000063 | n << 10)) for n in range(1, 10)]
        for guest in guests:
            self.counters(guest=guest)
        for guest in reversed(guests[2:]):
            self.assertGreater(self.counters(guest=guest)['blocks_reused'], BLOCKS)
        self.assertLess(len(self.files()), 4)
        for guest in guests[1:]:
            self.assertGreater(self.counters(guest=guest)['blocks_reused'], BLOCKS)


if __name__ == '__main__':
    unittest.main(argv=[sys.argv[0], *sys.argv[2:]])
