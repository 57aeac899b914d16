#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
# Copyright The Graft Authors
"""Semihosting: what a guest gets from it, beside what QEMU gives it.

usage: test_semihost.py GRAFT GUEST QEMU [TEST]...
"""

import os
import shutil
import subprocess
import sys
import tempfile
import time
import unittest

GRAFT, GUEST, QEMU = sys.argv[1:4]
RISCV = GUEST.endswith('.elf')
PATIENCE = 200  # seconds for anything: nothing here is about speed
MANY = ''.join('abcdefghijklmnopqrstuvwxyz'[i % 26] * 99 + '\n' for i in range(3000))


def graft(*words):
    return [GRAFT, 'run', GUEST, '--vm', 'inproc', '--mmu', 'soft', '--memory', '64M', *words]


def qemu(*words):
    return [QEMU, '-M', 'virt', '-cpu', 'max', '-m', '64M', '-display', 'none', '-serial', 'file:/dev/stdout', '-monitor', 'none',
            '-chardev', 'stdio,id=c', '-semihosting-config', 'enable=on,target=native,chardev=c', '-kernel', GUEST, *words]


class Semihost(unittest.TestCase):
    def run_to_end(self, command, typed=b''):
        return subprocess.run(command, input=typed, capture_output=True, timeout=PATIENCE)

    def judge(self, done, status):
        text = done.stdout.decode()
        self.assertFalse('FAIL' in text, [line for line in text.splitlines() if 'FAIL' in line])
        for name in ('output', 'much', 'features', 'clocks', 'addresses', 'command line', 'no files', 'no call'):
            self.assertTrue(f'PASS {name}\n' in text.replace('\r', ''), name)
        self.assertTrue('by WRITE0\nby WRITEC\nby WRITE\nto the other\n' in text)
        self.assertEqual(text.count(MANY), 2)
        self.assertFalse('lost' in text)
        self.assertEqual(done.returncode, status, done.stderr)

    def test_exit_status(self):
        self.judge(self.run_to_end(graft('--semihosting')), 42)

    def test_older_exit(self):
        self.judge(self.run_to_end(graft('--semihosting', '--append', 'old')), 7)

    def test_input(self):
        done = self.run_to_end(graft('--semihosting', '--append', 'echo'), b'typed\n')
        self.judge(done, 42)
        self.assertTrue(done.stdout.endswith(b'typed\n'), done.stdout[-100:])

    def test_input_ends(self):
        for typed in (b'some of it', b''):
            done = self.run_to_end(graft('--semihosting', '--append', 'all'), typed)
            self.judge(done, 42)
            self.assertTrue(done.stdout.endswith(typed + b'<end>\n'), done.stdout[-100:])

    def test_no_input(self):
        done = self.run_to_end(graft('--semihosting', '--append', 'all', '--serial', 'file:/dev/stdout'), b'not for the guest')
        self.judge(done, 42)
        self.assertTrue(done.stdout.endswith(b'<end>\n') and b'not for' not in done.stdout, done.stdout[-100:])

    def test_qemu_agrees(self):
        if not os.path.exists(QEMU):
            self.skipTest('no QEMU')
        done = self.run_to_end(qemu('-append', 'old'))
        self.assertEqual(done.returncode, 7, done.stderr)
        # Its console takes less at once, its clock is the processor's, and it checks no address of GET_CMDLINE.
        for name in (b'output', b'features', b'command line', b'no files'):
            self.assertTrue(b'PASS ' + name in done.stdout, name)

    def folder(self):
        """What the guest has files in, and beside it what it must not reach."""
        base = tempfile.mkdtemp(prefix='graft-semihost.')
        self.addCleanup(shutil.rmtree, base)
        inside = os.path.join(base, 'inside')
        for made in (os.path.join(inside, 'below'), os.path.join(base, 'other')):
            os.makedirs(made)
        for name, text in (('inside/given', 'what is given'), ('other/secret', 'secret')):
            with open(os.path.join(base, name), 'w', encoding='ascii') as f:
                f.write(text)
        return inside

    def judge_files(self, folder, done):
        text = done.stdout.decode().replace('\r', '')
        self.assertFalse('FAIL' in text, [line for line in text.splitlines() if 'FAIL' in line])
        self.assertTrue('PASS files\n' in text)
        self.assertEqual(done.returncode, 5, done.stderr)
        self.assertEqual(sorted(os.listdir(folder)), ['below', 'given', 'kept'])
        with open(os.path.join(folder, 'kept'), encoding='ascii') as f:
            self.assertEqual(f.read(), 'for the host')

    def test_files(self):
        for options in ((), ('--sandbox', 'off')):
            folder = self.folder()
            self.judge_files(folder, self.run_to_end(graft('--semihosting-files', folder, '--append', 'files', *options)))

    def test_qemu_has_files(self):
        if not os.path.exists(QEMU):
            self.skipTest('no QEMU')
        folder = self.folder()
        done = subprocess.run(qemu('-append', 'files'), cwd=folder, stdin=subprocess.DEVNULL, capture_output=True, timeout=PATIENCE)
        self.assertTrue(b'PASS files' in done.stdout, done.stdout[-300:])
        self.assertEqual(done.returncode, 5, done.stderr)

    def test_confined(self):
        for options in ('', ',ro'):
            for sandbox in ('on', 'off'):
                folder = self.folder()
                other = os.path.join(folder, '../other')
                for to, name in (('../other/secret', 'out'), ('../other', 'up'), ('given', 'in')):
                    os.symlink(to, os.path.join(folder, name))
                os.mkfifo(os.path.join(folder, 'fifo'))
                if not options:
                    with open(os.path.join(folder, 'kept'), 'w', encoding='ascii'):
                        pass
                before = sorted(os.listdir(folder))
                self.judge(self.run_to_end(graft('--semihosting-files', folder + options, '--append', 'confined', '--sandbox', sandbox)), 42)
                self.assertEqual((sorted(os.listdir(folder)), os.listdir(other)), (before, ['secret']))

    def test_no_folder(self):
        for path, why in (('/none/x', 'No such file'), (GRAFT, 'Not a directory')):
            done = self.run_to_end(graft('--semihosting-files', path))
            self.assertEqual((done.returncode, done.stderr.count(b'\n')), (1, 1), done.stderr)
            self.assertIn(why, done.stderr.decode())

    def test_without_a_folder(self):
        """Nothing of the host's is opened."""
        done = self.run_to_end(graft('--semihosting', '--append', 'files'))
        self.assertIn(b'FAIL files', done.stdout)

    def test_a_reader_that_is_slow(self):
        """Output waits for who reads it, and nothing of it is lost."""
        with subprocess.Popen(graft('--semihosting'), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE) as p:
            time.sleep(2)
            text = p.stdout.read().decode()
            self.assertEqual(p.wait(PATIENCE), 42)
        self.assertEqual(text.count(MANY), 2)

    def test_nobody_reads(self):
        """A stop does not wait for the guest's call."""
        p = subprocess.Popen(graft('--semihosting'), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE)
        self.addCleanup(p.stdout.close)
        time.sleep(1)
        p.terminate()
        self.assertEqual(p.wait(PATIENCE), 128 + 15)

    def test_off_by_default(self):
        done = self.run_to_end(graft('--timeout', '20', '-d', 'unimp'))
        self.assertIn(b'FAIL output' if RISCV else b'undefined HLT', done.stdout if RISCV else done.stderr)
        self.assertNotEqual(done.returncode, 42)


if __name__ == '__main__':
    unittest.main(argv=[sys.argv[0], *sys.argv[4:]], verbosity=2)
