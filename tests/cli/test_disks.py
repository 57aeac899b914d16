#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
# Copyright The Graft Authors
"""Which disk images graft takes, and who may use one at the same time.

usage: test_disks.py GRAFT QEMU [TEST]...
"""

import contextlib
import os
import shutil
import subprocess
import sys
import unittest

from guest import GRAFT, POWEROFF, VM, WFI_LOOP, GraftTest, say

QEMU = sys.argv[2]


class Disks(GraftTest):
    def setUp(self):
        super().setUp()
        self.disk = self.path('disk', bytes(1 << 20))
        self.kernel = self.path('k.bin', POWEROFF)

    def refused(self, *drives, parts=()):
        args = [word for drive in drives for word in ('--drive', drive)]
        self.complains(1, ['run', self.kernel, '--vm', VM, '--memory', '32M', *args], *parts)

    def accepted(self, *drives):
        args = [word for drive in drives for word in ('--drive', drive)]
        r = self.graft('run', self.kernel, '--vm', VM, '--memory', '32M', *args)
        self.assertEqual((r.returncode, r.stderr), (0, b''), drives)

    @contextlib.contextmanager
    def user(self, *args):
        """A run of graft that goes on."""
        p = self.start(say('u') + WFI_LOOP, *args, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE)
        self.assertEqual(p.stdout.read(1), b'u')
        try:
            yield
        finally:
            p.terminate()
            p.wait(10)
            p.stdout.close()

    @contextlib.contextmanager
    def qemu(self, drive):
        """A QEMU that has opened an image, as far as it can; yields what it says."""
        p = subprocess.Popen([QEMU, '-M', 'virt', '-display', 'none', '-monitor', 'stdio', '-S', '-drive', drive, '-device',
                              'virtio-blk-device,drive=d'], text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                             stderr=subprocess.STDOUT)
        try:
            with contextlib.suppress(BrokenPipeError):
                p.stdin.write('info status\n')
                p.stdin.flush()
            said = ''
            for line in p.stdout:
                said += line
                if 'VM status' in line:
                    break
            yield said
        finally:
            p.kill()
            p.wait(10)
            p.stdout.close()
            with contextlib.suppress(BrokenPipeError):
                p.stdin.close()

    def test_formats_of_their_own(self):
        sparse = bytes(1 << 16)
        for name, data, what in (('d.vmdk', b'KDMV' + sparse, 'a VMDK disk'),
                                 ('d.vdi', bytes(64) + b'\x7f\x10\xda\xbe' + sparse, 'a VDI disk'),
                                 ('d.vhdx', b'vhdxfile' + sparse, 'a VHDX disk'), ('d.qed', b'QED\0' + sparse, 'a QED disk'),
                                 ('d.vhd', sparse + b'conectix' + bytes(504), 'a VHD disk'),
                                 ('d.dmg', sparse + b'koly' + bytes(508), 'a DMG disk')):
            path = self.path(name, data)
            for drive in (path, path + ',ro'):
                self.refused(drive, parts=(path, what, 'raw'))
            with open(path, 'rb') as f:
                self.assertEqual(f.read(), data)

    def test_what_is_no_disk(self):
        fifo = self.path('fifo')
        os.mkfifo(fifo)
        for path in (self.dir, fifo, '/dev/null', self.path('none')):
            for drive in (path, path + ',ro'):
                self.refused(drive, parts=(path,))

    def test_raw_images(self):
        luks = self.path('luks', b'LUKS\xba\xbe' + bytes(1 << 16))
        self.accepted(self.disk, luks, self.path('text', b'a note\n' * 1000) + ',ro')

    def test_two_runs(self):
        with self.user('--drive', self.disk):
            self.refused(self.disk, parts=(self.disk, 'another run'))
            self.refused(self.disk + ',ro', parts=(self.disk, 'another run'))
        with self.user('--drive', self.disk + ',ro'):
            self.accepted(self.disk + ',ro')
            self.refused(self.disk, parts=(self.disk, ',ro'))
        self.accepted(self.disk)

    def test_flash(self):
        def refused(image, *parts):
            self.complains(1, ['run', self.kernel, '--vm', VM, '--memory', '32M', '--pflash', self.disk + ',ro', '--pflash', image],
                           *parts)
        with self.user('--drive', self.disk + ',ro'):
            other = self.path('flash', bytes(1 << 20))
            with self.user('--drive', other):
                refused(other, other, 'another run')
                refused(other + ',ro', other, 'another run')
        refused(self.path('d.qcow2', b'QFI\xfb' + bytes(1 << 16)), 'a qcow2 disk', 'raw')

    def test_an_image_twice(self):
        link, hard = self.path('link'), self.path('hard')
        os.symlink(self.disk, link)
        os.link(self.disk, hard)
        for other in (self.disk, link, hard, self.dir + '/./disk'):
            for ours, theirs in (('', ''), (',ro', ''), ('', ',ro')):
                self.refused(self.disk + ours, other + theirs, parts=('twice',))
            self.accepted(self.disk + ',ro', other + ',ro')

    @unittest.skipUnless(os.access(QEMU, os.X_OK), 'SKIP: there is no QEMU')
    def test_a_run_of_qemu(self):
        rw = f'if=none,format=raw,id=d,file={self.disk}'
        with self.qemu(rw) as said:
            self.assertIn('VM status', said)
            self.refused(self.disk, parts=('another run',))
            self.refused(self.disk + ',ro', parts=('another run',))
        with self.qemu(rw + ',readonly=on') as said:
            self.assertIn('VM status', said)
            self.refused(self.disk, parts=('another run',))
            self.accepted(self.disk + ',ro')
        for drive in (self.disk, self.disk + ',ro'):
            with self.user('--drive', drive):
                with self.qemu(rw) as said:
                    self.assertIn('lock', said)
        with self.user('--drive', self.disk + ',ro'), self.qemu(rw + ',readonly=on') as said:
            self.assertIn('VM status', said)

    @unittest.skipUnless(os.geteuid() == 0 and shutil.which('losetup'), 'SKIP: no root, or no losetup')
    def test_a_block_device(self):
        r = subprocess.run(['losetup', '--find', '--show', self.disk], capture_output=True, text=True, check=False)
        if r.returncode:
            self.skipTest('SKIP: this host has no loop devices for us')
        device = r.stdout.strip()
        try:
            self.accepted(device)
            self.accepted(device + ',ro', device + ',ro')
            self.refused(device, device, parts=('twice',))
        finally:
            subprocess.run(['losetup', '--detach', device], check=True)


if __name__ == '__main__':
    unittest.main(argv=[sys.argv[0]] + sys.argv[3:])
