#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
# Copyright The Graft Authors
"""What serves a run from processes of its own, and stands still: the run ends all the same, and soon nothing is left of it.

usage: test_helpers.py GRAFT FOLDER-OF-QEMU [TEST]...
"""

import os
import shutil
import signal
import subprocess
import sys
import time
import unittest

from guest import GRAFT, POWEROFF, RESET, VM, WFI_LOOP, GraftTest, say, words

QEMU = sys.argv[2]
PATIENCE = 60  # seconds for anything: nothing here is about speed
# It knows no signal that can be ignored, and has a process of its own.
STUBBORN = '#!/bin/sh\ntrap "" TERM INT HUP PIPE\necho $$ >{0}\nwhile :; do sleep 1000 & wait; done\n'
# ldr w3, [x1, #24]; tbnz w3, #4, .-4: until something is typed
WAIT_FOR_KEY = words(0xd2a12001, 0xb9401823, 0x3727ffe3)


def group_of(leader):
    found = subprocess.run(['ps', '-eo', 'pid=,pgid=,stat='], capture_output=True, text=True, check=True).stdout
    assert str(leader) != str(os.getpgrp())
    return [pid for pid, group, state in map(str.split, found.splitlines()) if int(group) == leader and state[0] != 'Z']


class Helpers(GraftTest):
    def setUp(self):
        super().setUp()
        os.chmod(self.dir, 0o755)

    def until(self, what, condition):
        end = time.monotonic() + PATIENCE
        while not (found := condition()):
            self.assertLess(time.monotonic(), end, what)
            time.sleep(0.02)
        return found

    def begin(self, *args):
        p = self.start(say('s') + WAIT_FOR_KEY + POWEROFF, *args, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        self.addCleanup(p.stdout.close)
        self.addCleanup(p.stdin.close)
        self.assertEqual(p.stdout.read(1), b's')
        return p

    def child(self, p, name):
        found = subprocess.run(['ps', '-o', 'pid=,comm=', '--ppid', str(p.pid)], capture_output=True, text=True, check=True).stdout
        return [int(line.split()[0]) for line in found.splitlines() if line.split()[1] == name]

    def ends_without(self, p, leaders, how):
        """how: a signal, or what is typed, by which it ends well."""
        if isinstance(how, bytes):
            p.stdin.write(how)
            p.stdin.flush()
        else:
            p.send_signal(how)
        p.wait(PATIENCE)
        self.assertEqual(p.returncode, 0 if isinstance(how, bytes) else -how if how == signal.SIGKILL else 128 + how)
        for leader in leaders:
            self.until(f'{leader} ends', lambda leader=leader: not group_of(leader))

    def stops(self, name, *args):
        """Those of that name stand still, in three runs that end in three ways."""
        for how in (b'k', signal.SIGTERM, signal.SIGKILL):
            with self.subTest((name, how)):
                p = self.begin(*args)
                leaders = self.until(name, lambda p=p: self.child(p, name))
                for leader in leaders:
                    self.assertTrue(group_of(leader))
                    os.kill(leader, signal.SIGSTOP)
                self.ends_without(p, leaders, how)

    def test_network(self):
        self.stops('graft-net', '--net', 'user')

    def test_sockets(self):
        self.stops('graft-vsock', '--vsock', '3,unix:' + self.path('v'))

    @unittest.skipUnless(os.access(os.path.join(QEMU, 'qemu-nbd'), os.X_OK), 'SKIP: no qemu-nbd: run scripts/fetch-qemu')
    def test_disks(self):
        os.environ['GRAFT_QEMU_NBD'] = os.path.join(QEMU, 'qemu-nbd')
        os.environ['TMPDIR'] = self.dir
        disks = [self.path(f'disk{n}', b'x' * 65536) for n in range(3)]
        self.stops('qemu-nbd', *(word for disk in disks for word in ('--drive', disk + ',snapshot')))

    def test_a_program_with_children(self):
        program, note = self.path('passt'), self.path('note')
        with open(program, 'w', encoding='ascii') as f:
            f.write(STUBBORN.format(note))
        os.chmod(program, 0o755)
        os.environ['GRAFT_PASST'] = program
        for how in (b'k', signal.SIGTERM, signal.SIGKILL):
            with self.subTest(how):
                if os.path.exists(note):
                    os.remove(note)
                p = self.begin('--net', 'passt')
                self.until('it says who it is', lambda: os.path.exists(note) and os.path.getsize(note))
                with open(note, encoding='ascii') as f:
                    leader = int(f.read())
                self.assertTrue(group_of(leader))
                self.ends_without(p, [leader], how)

    def test_nothing_answers(self):
        """Nobody reads the console, and what serves disk, network and sockets stands still, when the guest goes on printing, or resets: the user's word
        ends the run."""
        has_nbd = os.access(os.path.join(QEMU, 'qemu-nbd'), os.X_OK)
        os.environ['GRAFT_QEMU_NBD'] = os.path.join(QEMU, 'qemu-nbd')
        os.environ['TMPDIR'] = self.dir
        drive = ['--drive', self.path('disk', b'x' * 65536) + ',snapshot'] if has_nbd else []
        chatter = say('x') * 64 + words(0x17ffff40)  # for ever
        for how in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT, b'\x01x'):
            for then in (chatter, RESET):
                with self.subTest((how, then == RESET)):
                    reader, writer = os.pipe()
                    p = self.start(say('s') + WAIT_FOR_KEY + then, *drive, '--net', 'user', '--vsock', f'3,unix:{self.path("v")}',
                                   stdin=subprocess.PIPE, stdout=writer)
                    os.close(writer)
                    self.assertEqual(os.read(reader, 1), b's')
                    leaders = [pid for name in ('qemu-nbd', 'graft-net', 'graft-vsock') for pid in self.child(p, name)]
                    self.assertEqual(len(leaders), 2 + has_nbd)
                    for leader in leaders:
                        os.kill(leader, signal.SIGSTOP)
                    p.stdin.write(b'k')
                    p.stdin.flush()
                    time.sleep(0.3)
                    self.assertIsNone(p.poll())
                    self.ends_without(p, leaders, how)
                    p.stdin.close()
                    os.close(reader)

    def test_a_signal_ends_the_wait_for_them(self):
        """After the machine has powered off, too."""
        p = self.begin('--vsock', '3,unix:' + self.path('v'))
        leader, = self.until('it is there', lambda: self.child(p, 'graft-vsock'))
        os.kill(leader, signal.SIGSTOP)
        p.stdin.write(b'k')
        p.stdin.flush()
        while p.poll() is None:
            p.send_signal(signal.SIGTERM)
            time.sleep(0.01)
        self.assertIn(p.returncode, (0, 128 + signal.SIGTERM))
        self.until('it ends', lambda: not group_of(leader))

    def test_as_another_user(self):
        if os.geteuid() or not shutil.which('setpriv'):
            self.skipTest('SKIP: root alone can become somebody else')
        os.chmod(self.dir, 0o777)
        self.path('guest.bin', say('s') + WFI_LOOP)
        command = ['setpriv', '--reuid=65534', '--regid=65534', '--clear-groups', GRAFT, 'run', self.path('guest.bin'), '--vm', 'inproc',
                   '--vsock', '3,unix:' + self.path('v')]
        if VM == 'inproc' and not os.access(GRAFT, os.X_OK):
            self.skipTest('SKIP: others cannot reach the program')
        p = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE)
        self.addCleanup(p.stdout.close)
        self.addCleanup(p.kill)
        self.assertEqual(p.stdout.read(1), b's')
        leader, = self.until('it is there', lambda: self.child(p, 'graft-vsock'))
        os.kill(leader, signal.SIGSTOP)
        p.terminate()
        self.assertEqual(p.wait(PATIENCE), 128 + signal.SIGTERM)
        self.until('it ends', lambda: not group_of(leader))


if __name__ == '__main__':
    unittest.main(argv=[sys.argv[0]] + sys.argv[3:])
