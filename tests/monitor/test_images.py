#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
# Copyright The Graft Authors
"""Disks in qcow2, with what is behind them, and snapshots: what the guest sees, what is left of it, and who may do what.

usage: test_images.py GRAFT FOLDER-OF-GUESTS FOLDER-OF-QEMU [TEST]...
"""

import hashlib
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
import unittest

GRAFT, GUESTS, QEMU = sys.argv[1:4]
IMG, NBD = (os.path.join(QEMU, name) for name in ('qemu-img', 'qemu-nbd'))
PATIENCE = 100  # seconds for anything: nothing here is about speed
SECTOR = 512


class Images(unittest.TestCase):
    def setUp(self):
        self.folder = tempfile.TemporaryDirectory()
        self.addCleanup(self.folder.cleanup)
        os.chmod(self.folder.name, 0o755)

    def path(self, name):
        return os.path.join(self.folder.name, name)

    def raw(self, data=b'x' * 1000000, name='raw'):
        with open(self.path(name), 'wb') as f:
            f.write(data)
        return self.path(name)

    def img(self, *words):
        return subprocess.run([IMG, *words], check=True, capture_output=True, text=True, timeout=PATIENCE).stdout

    def qcow2(self, *args, **keywords):
        self.img('convert', '-O', 'qcow2', self.raw(*args, **keywords), self.path('qcow2'))
        return self.path('qcow2')

    def overlay(self, base, form):
        self.img('create', '-q', '-f', 'qcow2', '-F', form, '-b', base, self.path('overlay'))
        return self.path('overlay')

    def digest(self, path):
        with open(path, 'rb') as f:
            return hashlib.sha256(f.read()).hexdigest()

    def content(self, path):
        self.img('convert', '-f', 'qcow2', '-O', 'raw', path, self.path('content'))
        with open(self.path('content'), 'rb') as f:
            return f.read()

    def start(self, guest, *options, program=NBD):
        command = [GRAFT, 'run', os.path.join(GUESTS, guest + '.bin'), '--vm', 'inproc', '--mmu', 'soft', '--memory', '64M', *options]
        p = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                             env=dict(os.environ, GRAFT_QEMU_NBD=program, TMPDIR=self.folder.name))
        for end in (p.stdout.close, p.stderr.close, p.wait, p.kill):
            self.addCleanup(end)
        return p

    def run_guest(self, guest, drive, *options, status=0, program=NBD):
        p = self.start(guest, '--drive', drive, *options, program=program)
        said, errors = (text.decode(errors='replace') for text in p.communicate(timeout=PATIENCE))
        self.assertEqual(p.returncode, status, said + errors)
        self.assertNotIn('FAIL', said)
        self.assertEqual('ALL PASS' in said, status == 0, said + errors)
        return said, errors

    def server_of(self, p):
        """The process that serves its disk."""
        found = subprocess.run(['ps', '-o', 'pid=,comm=', '--ppid', str(p.pid)], capture_output=True, text=True, check=True).stdout
        return int(re.search(r'(\d+) qemu-nbd', found).group(1))

    def judge_tail(self, data):
        """What the guest `tail` leaves of a disk of x."""
        self.assertEqual(len(data), 1954 * SECTOR)
        self.assertEqual(data[1953 * SECTOR:], b'y' * SECTOR)
        for first, end in ((256, 768), (1024, 1280)):
            self.assertEqual(data[first * SECTOR:end * SECTOR], bytes((end - first) * SECTOR))
        for first, end in ((0, 256), (768, 1024), (1280, 1953)):
            self.assertEqual(data[first * SECTOR:end * SECTOR].strip(b'x'), b'')

    def test_qcow2(self):
        image = self.qcow2()
        _, errors = self.run_guest('tail', image + ',format=qcow2')
        self.assertEqual(errors, '')
        self.judge_tail(self.content(image))
        self.img('check', '-f', 'qcow2', image)
        # 128 KiB from 128 KiB on were discarded, as many from 512 KiB on written with zeroes that may be unmapped.
        kept = re.findall(r'^(0x\w+|0) +(0x\w+)', self.img('map', '-f', 'qcow2', image), re.MULTILINE)
        for at, size in ((int(at, 0), int(size, 0)) for at, size in kept):
            for hole in (0x20000, 0x80000):
                self.assertFalse(at < hole + 0x20000 and hole < at + size, kept)

    def test_backing_files(self):
        raw, qcow2 = self.raw(), self.qcow2()
        for base, form in ((raw, 'raw'), (qcow2, 'qcow2')):
            before, image = self.digest(base), self.overlay(base, form)
            self.run_guest('tail', image + ',format=qcow2')
            self.judge_tail(self.content(image))
            self.assertEqual(self.digest(base), before)

    def test_snapshots(self):
        for image, form in ((self.raw(), 'raw'), (self.qcow2(), 'qcow2')):
            before = self.digest(image)
            for _ in range(2): # what was written is not there any more
                self.run_guest('tail', f'{image},format={form},snapshot')
            self.assertEqual(self.digest(image), before)
        self.assertEqual(sorted(os.listdir(self.folder.name)), ['qcow2', 'raw'])

    def test_two_snapshots_share_an_image(self):
        image = self.raw()
        other = self.start('sync', '--drive', image + ',snapshot')
        self.assertIn(b'written', other.stdout.readline())
        self.run_guest('tail', image + ',snapshot')
        self.assertIn('another run', self.run_guest('tail', image, status=1)[1])

    def test_reset_of_the_machine(self):
        image = self.qcow2(bytes(1 << 20))
        said, _ = self.run_guest('reboot', image + ',format=qcow2')
        self.assertEqual(said.count('ALL PASS'), 1)

    def test_read_only(self):
        image = self.qcow2()
        before = self.digest(image)
        p = self.start('tail', '--drive', image + ',format=qcow2,ro')
        said = p.communicate(timeout=PATIENCE)[0].decode()
        self.assertIn('PASS read', said)
        self.assertIn('FAIL write', said)
        self.assertEqual(self.digest(image), before)

    def test_a_format_that_is_found(self):
        errors = self.run_guest('tail', self.qcow2())[1]
        self.assertEqual(errors.count('\n'), 1)
        self.assertIn('taken for one', errors)
        self.assertIn('format=qcow2', errors)

    def test_no_raw_disk_becomes_qcow2(self):
        image = self.raw(bytes(1 << 20))
        said, errors = self.run_guest('forge', image)
        self.assertIn('forged: 1\nin two: 1\n', said.replace('\r', ''))
        self.assertIn('format=raw', errors)
        with open(image, 'rb') as f:
            data = f.read()
        self.assertEqual(data[:SECTOR], b'a' * SECTOR)
        self.assertEqual(data[SECTOR:SECTOR + 4], b'QFI\xfb')
        said, _ = self.run_guest('forge', image + ',format=raw')
        self.assertIn('forged: 0\nin two: 0\n', said.replace('\r', ''))
        self.run_guest('forge', image + ',format=raw') # as which it is taken now, too

    def test_what_cannot_be_served(self):
        broken = self.raw(b'QFI\xfb' + bytes(100000), 'broken')
        for drive, program, part in ((broken + ',format=qcow2', NBD, ''), (self.raw() + ',format=qcow2', NBD, 'qcow2'),
                                     (self.overlay(self.raw(), 'raw') + ',format=qcow2', '/does/not/exist', '/does/not/exist'),
                                     (self.raw() + ',snapshot', '/bin/true', 'reset'),
                                     (self.path('nothing') + ',format=qcow2', NBD, 'No such file')):
            errors = self.run_guest('tail', drive, status=1, program=program)[1]
            self.assertEqual(errors.count('\n'), 1, errors)
            self.assertTrue(errors.startswith('graft: ' + drive.split(',')[0] + ': '), errors)
            self.assertIn(part, errors)
        os.remove(self.path('raw'))
        errors = self.run_guest('tail', self.path('overlay') + ',format=qcow2', status=1)[1]
        self.assertIn('raw', errors)

    def test_two_runs(self):
        image = self.qcow2()
        other = self.start('sync', '--drive', image + ',format=qcow2')
        other.stdout.readline()
        for drive in (image + ',format=qcow2', image + ',format=qcow2,ro', image + ',snapshot,format=qcow2'):
            self.assertIn('another', self.run_guest('tail', drive, status=1)[1])

    def test_a_server_that_dies(self):
        """The guest gets errors, the user one line, and the monitor goes on."""
        p = self.start('sync', '--drive', self.qcow2() + ',format=qcow2')
        p.stdout.readline()
        os.kill(self.server_of(p), signal.SIGKILL)
        self.assertIn(b'what serves this disk is gone', p.stderr.readline())
        p.send_signal(signal.SIGTERM)
        p.communicate(timeout=PATIENCE)
        self.assertEqual(p.returncode, 128 + signal.SIGTERM)

    def test_sigterm_while_a_server_stands_still(self):
        p = self.start('sync', '--drive', self.qcow2() + ',format=qcow2')
        p.stdout.readline()
        server = self.server_of(p)
        os.kill(server, signal.SIGSTOP)
        self.addCleanup(os.kill, server, signal.SIGCONT)
        p.send_signal(signal.SIGTERM)
        p.communicate(timeout=PATIENCE)
        self.assertEqual(p.returncode, 128 + signal.SIGTERM)

    def test_a_run_that_dies(self):
        p = self.start('sync', '--drive', self.qcow2() + ',format=qcow2')
        p.stdout.readline()
        server = self.server_of(p)
        p.kill()
        p.wait()
        end = time.monotonic() + PATIENCE
        while os.path.exists(f'/proc/{server}') and time.monotonic() < end:
            time.sleep(0.05)
        self.assertFalse(os.path.exists(f'/proc/{server}'))

    def test_the_server_is_shut_in(self):
        image, escape, program = self.qcow2(), self.path('escape'), self.path('program')
        with open(program, 'w', encoding='ascii') as f:
            f.write(f'#!/bin/sh\necho out >{escape}\necho out >>{self.path("raw")}\n'
                    f'exec {NBD} "$@"\n')
        os.chmod(program, 0o755)
        before = self.digest(self.path('raw'))
        self.run_guest('tail', image + ',format=qcow2', '--sandbox', 'off', program=program)
        if not os.path.exists(escape):
            self.fail('the program did not run')
        os.remove(escape)
        self.raw()
        errors = self.run_guest('tail', self.qcow2() + ',format=qcow2', program=program)[1]
        if 'Landlock' in errors:
            self.skipTest('SKIP: no Landlock')
        self.assertFalse(os.path.exists(escape))
        self.assertEqual(self.digest(self.path('raw')), before)


if __name__ == '__main__':
    if not all(os.access(program, os.X_OK) for program in (IMG, NBD)):
        print('SKIP: no qemu-img and qemu-nbd: run scripts/fetch-qemu')
        sys.exit(77)
    unittest.main(argv=[sys.argv[0], *sys.argv[4:]], verbosity=2)
