#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
# Copyright The Graft Authors
"""Hosts that give little, and files that are none: each run ends as the table in the manual page says, with a line that says why, if it does not work.

usage: test_limits.py GRAFT FOLDER-OF-QEMU [TEST]...
"""

import os
import resource
import signal
import socket
import subprocess
import sys
import time
import unittest

from guest import GRAFT, POWEROFF, VM, GraftTest, say

QEMU = sys.argv[2]
PATIENCE = 60  # seconds for anything: nothing here is about speed
# Each option that takes a file, and how.
FILES = {'--drive': '{}', '--pflash': '{}', '--initrd': '{}', '--dtb': '{}', '--bios': '{}', '--symbols': '{}', '--resume': '{}', '--stats': '{}',
         '--profile': '{}', '-D': '{}', '--save': '{}', '--cache': '{}', '--dump-on-panic': '{}', '--dump-dtb': '{}', '--serial': 'file:{}',
         '--console': 'file:{}', '--gdb': 'unix:{}', '--control': 'unix:{}', '--vsock': '3,unix:{}', '--share': 'a={}',
         '--fw-cfg': 'name=opt/a/b,file={}'}
WAIT = ('--initrd', '--dtb', '--bios', '--symbols', '--stats', '--profile', '-D', '--dump-dtb', '--serial', '--console', '--fw-cfg')


class Limits(GraftTest):
    def setUp(self):
        super().setUp()
        self.path('off.bin', POWEROFF)

    def run_under(self, limits, *args, before=(), **env):
        def limit():
            for kind, amount in limits.items():
                resource.setrlimit(kind, (amount, amount))
        env = dict({'PATH': os.environ['PATH'], 'GRAFT_QEMU_NBD': os.path.join(QEMU, 'qemu-nbd'), 'TMPDIR': self.dir}, **env)
        r = subprocess.run([*before, GRAFT, 'run', self.path('off.bin'), '--memory', '64M', *args], stdin=subprocess.DEVNULL, capture_output=True,
                           timeout=PATIENCE, check=False, cwd=self.dir, preexec_fn=limit, env=env)
        said = r.stderr.decode()
        self.assertIn(r.returncode, (0, 1, 3), (limits, args, said))
        if r.returncode:
            self.assertIn('graft: ', said, (limits, args))
            self.assertEqual(said.count('\n'), 1, (limits, args, said))
        return r.returncode

    def test_few_descriptors(self):
        self.path('disk', b'x' * 65536)
        many = ['--drive', 'disk', '--net', 'user', '--vsock', '3,unix:v', '--console', 'file:c', '--stats', 's', '-D', 'd', '--profile', 'p',
                '--gdb', 'unix:g', '--control', 'unix:q', '--cache', 'cache']
        ends = []
        for count in range(5, 60, 3):
            for args in ([], many):
                ends.append(self.run_under({resource.RLIMIT_NOFILE: count}, '--vm', VM, *args))
        self.assertEqual(ends[-2:], [0, 0])
        self.assertEqual(self.run_under({resource.RLIMIT_NOFILE: 100}, '--vm', VM, '--drive', 'disk,snapshot', *many[2:]),
                         0 if os.access(os.path.join(QEMU, 'qemu-nbd'), os.X_OK) else 1)

    def test_little_memory(self):
        for kind in (resource.RLIMIT_AS, resource.RLIMIT_DATA):
            for mib in (60, 100, 200, 400, 800, 1600):
                self.run_under({kind: mib << 20}, '--vm', VM, '--net', 'user')

    def test_small_stacks(self):
        """The limit on stacks is no reason to die: what needs more has its own."""
        for kib in (16, 20, 24, 32, 64, 128, 1024):
            self.assertEqual(self.run_under({resource.RLIMIT_STACK: kib << 10}, '--vm', VM), 0)
            self.assertEqual(self.run_under({resource.RLIMIT_STACK: kib << 10}, '--vm', VM, '--net', 'user', '--vsock', '3,unix:v', '-D', 'd', '-d', 'in,out'), 0)
            self.assertEqual(self.run_under({resource.RLIMIT_STACK: kib << 10}, '--initrd', '/none/x'), 1)

    def test_no_locked_memory(self):
        self.assertEqual(self.run_under({resource.RLIMIT_MEMLOCK: 0}, '--vm', VM, '--net', 'user'), 0)

    def test_nothing_around(self):
        """No home, no folder for temporary files, none to be in; then /tmp, /dev/shm and the current folder that nobody can write to."""
        for env in ({}, {'TMPDIR': '/none/x', 'HOME': '/none/x'}, {'TMPDIR': '', 'HOME': '', 'XDG_CACHE_HOME': ''}):
            self.assertEqual(self.run_under({}, '--vm', VM, '--net', 'user', '--vsock', '3,unix:v', **env), 0)
        gone = ['sh', '-c', 'd=$(mktemp -d) && cd "$d" && rmdir "$d" && exec "$@"', 'sh']
        self.assertEqual(self.run_under({}, '--vm', VM, '--net', 'user', before=gone), 0)
        read_only = ['unshare', '-rm', 'sh', '-c', 'for d in /tmp /var/tmp /dev/shm; do mount --bind $d $d && mount -o remount,bind,ro $d; done && '
                     'cd "$PWD" && ! touch x 2>&- && exec "$@"', 'sh']
        if subprocess.run([*read_only, 'true'], stderr=subprocess.DEVNULL, check=False, cwd=self.dir).returncode:
            self.skipTest('SKIP: no user namespaces here')
        self.assertEqual(self.run_under({}, '--vm', VM, '--net', 'user', before=read_only), 0)
        self.assertEqual(self.run_under({}, '--vm', VM, '-d', 'perf', before=read_only), 1)

    def test_no_threads(self):
        self.run_under({resource.RLIMIT_NPROC: 1}, '--vm', VM)
        self.run_under({resource.RLIMIT_NPROC: 1}, '--vm', VM, '--net', 'user', '--vsock', '3,unix:v', '-D', 'd')

    def test_files_that_may_not_grow(self):
        """A limit on files is no reason to die."""
        for kib in (0, 100, 70000):
            self.run_under({resource.RLIMIT_FSIZE: kib << 10}, '--vm', VM, '--stats', 's', '--profile', 'p', '-D', 'd', '-d', 'in')

    def test_what_is_no_file(self):
        odd = {'folder': self.path('folder'), 'socket': self.path('socket'), 'loop': self.path('loop'), 'empty': self.path('empty', b''),
               'null': '/dev/null', 'full': '/dev/full', 'none': '/none/x', 'memory': '/proc/self/mem'}
        os.mkdir(odd['folder'])
        os.symlink('loop', odd['loop'])
        for option, how in FILES.items():
            for kind, path in odd.items():
                if kind == 'socket':
                    with socket.socket(socket.AF_UNIX) as s:
                        s.bind(path)
                r = self.graft('run', self.path('off.bin'), '--vm', VM, '--memory', '32M', option, how.format(path))
                said = r.stderr.decode()
                self.assertIn(r.returncode, (0, 1), (option, kind, said))
                self.assertLessEqual(said.count('\n'), 1, (option, kind, said))
                self.assertTrue(r.returncode == 0 or said.startswith('graft: '), (option, kind, said))
                for left in ('socket', 'empty'):
                    if os.path.lexists(odd[left]):
                        os.unlink(odd[left])
                self.path('empty', b'')

    def test_a_pipe_that_nobody_opens(self):
        """A run that waits for it can be ended."""
        os.mkfifo(self.path('fifo'))
        for option in WAIT:
            for number in (signal.SIGTERM, signal.SIGINT):
                p = self.start(POWEROFF, option, FILES[option].format(self.path('fifo')), stdin=subprocess.DEVNULL)
                time.sleep(0.1)
                p.send_signal(number)
                self.assertIn(p.wait(PATIENCE), (128 + number, -number), option)
        for option in set(FILES) - set(WAIT) - {'--share'}:
            r = self.graft('run', self.path('off.bin'), '--vm', VM, '--memory', '32M', option, FILES[option].format(self.path('fifo')))
            self.assertIn(r.returncode, (0, 1), (option, r.stderr))

    @unittest.skipUnless(os.path.exists('/dev/full'), 'SKIP: there is no /dev/full')
    def test_a_log_that_cannot_be_written(self):
        r = self.run_guest(say('x') + POWEROFF, '-D', '/dev/full', '-d', 'in')
        self.assertEqual((r.returncode, r.stdout), (0, b'x'))
        self.assertIn(b'log', r.stderr)

    def test_folders_that_nobody_writes_to(self):
        """Read-only files and folders: what is to be written is refused, what is to be read is not."""
        if os.geteuid() == 0 and not os.path.exists('/sys/kernel'):
            self.skipTest('SKIP: no file system that root cannot write to')
        where = '/sys/kernel' if os.geteuid() == 0 else '/'
        for option in ('--stats', '--profile', '-D', '--save', '--dump-on-panic', '--serial', '--gdb', '--control', '--vsock'):
            r = self.graft('run', self.path('off.bin'), '--vm', VM, '--memory', '32M', option, FILES[option].format(where + '/graft-test'))
            self.assertEqual(r.returncode, 1, (option, r.stderr))
            self.assertEqual(r.stderr.count(b'\n'), 1, r.stderr)
        r = self.graft('run', self.path('off.bin'), '--vm', VM, '--memory', '32M', '--cache', where + '/graft-test')
        self.assertEqual((r.returncode, r.stderr.count(b'\n')), (0, 1), r.stderr)
        self.path('disk', b'x' * 4096)
        os.chmod(self.path('disk'), 0o444)
        r = self.graft('run', self.path('off.bin'), '--vm', VM, '--memory', '32M', '--drive', self.path('disk') + ',ro')
        self.assertEqual(r.returncode, 0, r.stderr)


if __name__ == '__main__':
    unittest.main(argv=[sys.argv[0]] + sys.argv[3:])
