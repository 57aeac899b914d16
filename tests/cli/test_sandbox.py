#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
# Copyright The Graft Authors
"""What is left of the process of a run (--sandbox), as /proc shows it, and runs inside of it.

usage: test_sandbox.py GRAFT [TEST]...
"""

import glob
import os
import re
import subprocess
import sys
import time
import unittest

from guest import GRAFT, KVM, POWEROFF, RESET, SPIN, VM, GraftTest, say, words

NOBODY = 65534
CAP_KILL = 1 << 5


def read(path):
    with open(path, encoding='utf-8') as f:
        return f.read()


def status_of(task):
    return dict(re.findall(r'^(\w+):\t(.*)$', read(f'{task}/status'), re.M))


def tasks(pid):
    """Its threads, and the processes that its disks' threads are."""
    found = []
    for task in glob.glob(f'/proc/{pid}/task/*'):
        found.append(task)
        for child in read(f'{task}/children').split():
            found += tasks(child)
    return found


class Sandbox(GraftTest):
    spun = 0

    def spinning(self, *args):
        self.spun += 1  # the disk of one that was killed is locked until the process that serves it has gone, too
        p = subprocess.Popen([GRAFT, 'run', self.path('guest.bin', say('s') + SPIN), '--vm', VM, '--memory', '32M',
                              '--drive', self.path(f'disk{self.spun}', bytes(4096)), *args],
                             stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
        self.addCleanup(self.end, p)
        self.assertEqual(p.stdout.read(1), b's')
        return p

    @staticmethod
    def end(p):
        p.kill()
        p.wait(30)
        p.stdout.close()

    def test_every_thread(self):
        """Each has its filter, and the user that it ought to be; so have those of a disk."""
        p = self.spinning('--smp', '2', '--net', 'user', '--console', 'none')
        expected = {'graft', 'devices', 'vcpu0', 'vcpu1', 'disk0', 'serial-out', 'log', 'graft-net', 'graft-watch'}
        names, deadline = set(), time.monotonic() + 10
        while not expected <= names and time.monotonic() < deadline:  # the guest may speak before the last of them is there
            names = {status_of(task)['Name'] for task in tasks(p.pid)}
        self.assertLessEqual(expected, names)
        for task in tasks(p.pid):
            s = status_of(task)
            watches = s['Name'] == 'graft-watch'  # it may end what is left, and nothing else
            kills = '2' if watches and int(status_of('/proc/self')['CapEff'], 16) & CAP_KILL else ''
            self.assertEqual((s['Seccomp'], s['NoNewPrivs'], s['CapEff'].strip('0')), ('2', '1', kills), s)
            if os.geteuid() == 0 and not watches:
                self.assertEqual((s['Uid'].split(), s['Gid'].split(), s['Groups'].strip()),
                                 ([str(NOBODY)] * 4, [str(NOBODY)] * 4, ''), s)
        self.assertRegex(read(f'/proc/{p.pid}/limits'), r'Max core file size +0 +0')

    def test_off(self):
        p = self.spinning('--sandbox', 'off')
        for task in tasks(p.pid):
            s = status_of(task)
            self.assertEqual((s['Seccomp'], s['NoNewPrivs'], s['Uid'].split()[0]), ('0', '0', str(os.geteuid())), s)

    def test_descriptors_are_not_inherited(self):
        ends = os.pipe()
        p = subprocess.Popen([GRAFT, 'run', self.path('guest.bin', say('s') + SPIN), '--vm', VM, '--memory', '32M'],
                             stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, pass_fds=ends)
        self.addCleanup(self.end, p)
        for fd in ends:
            os.close(fd)
        self.assertEqual(p.stdout.read(1), b's')
        self.assertFalse([f for f in glob.glob(f'/proc/{p.pid}/fd/*') if os.readlink(f).startswith('pipe:') and
                          int(f.split('/')[-1]) > 2])

    def test_nothing_is_writable_and_executable(self):
        for vm in ['inproc'] + KVM * ['kvm']:
            p = self.spinning('--vm', vm)
            for line in read(f'/proc/{p.pid}/maps').splitlines():
                self.assertNotRegex(line, r'^\S+ .wx')
            self.end(p)
        p = self.spinning('--vm', 'inproc', '--code', 'rwx')
        self.assertRegex(read(f'/proc/{p.pid}/maps'), r'(?m)^\S+ rwx')

    def test_reset_inside(self):
        """The first bank's code programs a word of the second and resets the machine; when it is programmed already, that was so."""
        first = words(0xd2a08001, 0xb9400022, 0x3100045f)  # x1 = the second bank; w2 = [x1]; is that erased?
        program = words(0x52800803, 0xb9000023, 0xb900003f, 0x52801fe3, 0xb9000023)  # 0x40; 0; 0xff: back to reading
        again = program + RESET
        code = first + words(0x54000001 | (len(again) // 4 + 1) << 5) + again + say('2') + POWEROFF
        for options in (), ('--net', 'user'), ('--mmu', 'process', '--vm', 'inproc'), ('--smp', '3', '--serial', 'stdio'):
            r = self.graft('run', '--vm', VM, '--memory', '32M', '--pflash', self.path('code', code), '--pflash', self.path('flash', b''),
                           '--drive', self.path('disk', bytes(4096)), '--fw-cfg', 'name=opt/x,file=' + self.path('code'), *options)
            self.assertEqual((r.returncode, r.stdout, r.stderr), (0, b'2', b''))

    @unittest.skipUnless(os.geteuid() == 0, 'SKIP: only root can become another user')
    def test_as_another_user(self):
        os.chmod(self.dir, 0o755)
        guest = self.path('guest.bin', say('u') + POWEROFF)
        graft = self.path('graft')
        with open(GRAFT, 'rb') as src:
            self.path('graft', src.read())
        os.chmod(graft, 0o755)
        r = subprocess.run(['setpriv', '--reuid=12345', '--regid=12345', '--clear-groups', graft, 'run', guest, '--vm', 'inproc',
                            '--memory', '32M', '--net', 'user'], stdin=subprocess.DEVNULL, capture_output=True, timeout=60, check=False)
        self.assertEqual((r.returncode, r.stdout, r.stderr), (0, b'u', b''))


if __name__ == '__main__':
    unittest.main(argv=[sys.argv[0], *sys.argv[2:]])
