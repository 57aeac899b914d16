#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
# Copyright The Graft Authors
"""graft exec, as its users see it: one command in a guest, as if it ran here.

usage: test_exec.py GRAFT ROOT FOLDER [TEST]...
ROOT is a root with busybox and a kernel; FOLDER is for what is made here.
"""

import fcntl
import os
import pty
import select
import shutil
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import termios
import threading
import time
import unittest

GRAFT, ROOT, FOLDER = (os.path.abspath(a) for a in sys.argv[1:4])
SECONDS = 90
NOBODY = 65534


class Exec(unittest.TestCase):
    def setUp(self):
        self.dir = tempfile.mkdtemp(prefix='exec.', dir=FOLDER)
        os.chmod(self.dir, 0o755)

    def tearDown(self):
        shutil.rmtree(self.dir)

    def path(self, name, text=None):
        path = os.path.join(self.dir, name)
        if text is not None:
            with open(path, 'w', encoding='ascii') as f:
                f.write(text)
        return path

    def run_graft(self, *args, stdin=b'', **kw):
        return subprocess.run([GRAFT, 'exec', *args], input=stdin, capture_output=True, cwd=self.dir, timeout=SECONDS, check=False, **kw)

    def exec(self, *command, options=(), stdin=b'', **kw):
        return self.run_graft('--root', ROOT, *options, '--', *command, stdin=stdin, **kw)

    def start(self, *command, **kw):
        return subprocess.Popen([GRAFT, 'exec', '--root', ROOT, '--', *command], cwd=self.dir, **kw)

    def complains(self, r, *parts, status=125):
        text = r.stderr.decode()
        self.assertEqual((r.returncode, r.stdout, text.count('\n')), (status, b'', 1), text)
        for part in parts:
            self.assertIn(part, text)

    # --- what comes back ---
    def test_status(self):
        for script, status in {'exit 0': 0, 'exit 42': 42, 'kill -9 $$': 137, 'kill -TERM $$': 143}.items():
            r = self.exec('sh', '-c', script)
            self.assertEqual((r.returncode, r.stdout, r.stderr), (status, b'', b''), script)
        self.complains(self.exec('no-such-program'), 'no-such-program', 'No such file', status=127)
        self.complains(self.exec('/bin'), '/bin', 'Permission denied', status=126)

    def test_output_and_errors_are_two(self):
        r = self.exec('sh', '-c', 'uname -m; echo wrong >&2; echo more')
        self.assertEqual((r.returncode, r.stdout.split()[1:], r.stderr), (0, [b'more'], b'wrong\n'))
        self.assertIn(r.stdout.split()[0], (b'aarch64', b'riscv64'))

    def test_bytes_of_all_kinds(self):
        data = bytes(range(256)) * 8 + os.urandom(1 << 20)
        r = self.exec('cat', stdin=data)
        self.assertEqual((r.returncode, r.stderr), (0, b''))
        self.assertTrue(r.stdout == data, len(r.stdout))

    def test_command_that_does_not_read(self):
        self.assertEqual(self.exec('true', stdin=bytes(1 << 20)).returncode, 0)

    def test_reader_that_goes_away(self):
        p = self.start('yes', stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        self.assertEqual(p.stdout.read(4), b'y\ny\n')
        p.stdout.close()
        self.assertEqual(p.wait(SECONDS), 128 + signal.SIGPIPE, p.stderr.read())
        p.stderr.close()

    def test_slow_reader_loses_nothing(self):
        p = self.start('seq', '1', '200000', stdin=subprocess.DEVNULL, stdout=subprocess.PIPE)
        self.assertEqual(p.stdout.read(2), b'1\n')
        time.sleep(3)
        rest = p.stdout.read()
        p.stdout.close()
        wanted = ''.join(f'{n}\n' for n in range(1, 200001)).encode()
        self.assertEqual((p.wait(SECONDS), len(rest), rest == wanted[2:]), (0, len(wanted) - 2, True))

    # --- what goes in ---
    def test_environment_and_arguments(self):
        r = self.exec('sh', '-c', 'echo "$A,$B,$C,$HOME,$#,$1,$2"', 'sh', 'two words', '', options=('--env', 'A=x y', '--env', 'B'),
                      env={**os.environ, 'B': 'from here', 'C': 'not passed on'})
        self.assertEqual((r.returncode, r.stdout), (0, b'x y,from here,,/root,2,two words,\n'))

    def test_signal(self):
        p = self.start('sh', '-c', 'trap "echo caught; exit 3" TERM; echo ready; while :; do sleep 0.1; done', stdin=subprocess.DEVNULL,
                       stdout=subprocess.PIPE)
        self.assertEqual(p.stdout.readline(), b'ready\n')
        p.send_signal(signal.SIGTERM)
        self.assertEqual((p.stdout.read(), p.wait(SECONDS)), (b'caught\n', 3))
        p.stdout.close()

    def test_signal_that_ends_the_command(self):
        p = self.start('sh', '-c', 'echo ready; exec sleep 100', stdin=subprocess.DEVNULL, stdout=subprocess.PIPE)
        self.assertEqual(p.stdout.readline(), b'ready\n')
        p.send_signal(signal.SIGINT)
        self.assertEqual(p.wait(SECONDS), 130)
        p.stdout.close()

    def test_signals_that_are_not_heard_end_the_guest(self):
        p = self.start('sh', '-c', 'trap "" TERM; echo ready; while :; do sleep 1; done', stdin=subprocess.DEVNULL, stdout=subprocess.PIPE)
        self.assertEqual(p.stdout.readline(), b'ready\n')
        for _ in range(4):
            p.send_signal(signal.SIGTERM)
            time.sleep(0.2)
        self.assertEqual(p.wait(SECONDS), 143)
        p.stdout.close()

    # --- the terminal ---
    def read_terminal(self, fd, until):
        text = b''
        end = time.time() + SECONDS
        while until not in text and time.time() < end:
            if not select.select([fd], [], [], 1)[0]:
                continue
            try:
                piece = os.read(fd, 4096)
            except OSError:
                break
            text += piece
        self.assertIn(until, text)
        return text

    def test_terminal(self):
        pid, fd = pty.fork()
        if pid == 0:
            os.chdir(self.dir)
            os.execv(GRAFT, [GRAFT, 'exec', '--root', ROOT, '--', 'sh'])
        fcntl.ioctl(fd, termios.TIOCSWINSZ, struct.pack('HHHH', 33, 101, 0, 0))
        self.read_terminal(fd, b'# ')
        os.write(fd, b'tty; stty size\n')
        self.assertIn(b'/dev/pts/', self.read_terminal(fd, b'33 101'))
        fcntl.ioctl(fd, termios.TIOCSWINSZ, struct.pack('HHHH', 44, 77, 0, 0))
        time.sleep(1)
        os.write(fd, b'stty size\n')
        self.read_terminal(fd, b'44 77')
        os.write(fd, b'echo sleeping; sleep 100\n')
        self.read_terminal(fd, b'\nsleeping\r\n')
        said, end = b'', time.time() + SECONDS
        while b'# ' not in said and time.time() < end:  # the first may come before there is a sleep, another after it
            os.write(fd, b'\x03')
            while b'# ' not in said and select.select([fd], [], [], 2)[0]:
                said += os.read(fd, 4096)
        os.write(fd, b'echo status=$?\n')
        self.read_terminal(fd, b'status=130')
        os.write(fd, b'\x01x; exit 7\n')  # Ctrl-A is the command's, too
        self.assertEqual(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), 7)
        os.close(fd)

    # --- folders ---
    def test_current_folder(self):
        self.path('here', 'from the host\n')
        r = self.exec('sh', '-c', 'pwd; cat here; echo from the guest >there; touch -d @1234567890 there')
        self.assertEqual((r.returncode, r.stdout), (0, self.dir.encode() + b'\nfrom the host\n'), r.stderr)
        st = os.stat(self.path('there'))
        self.assertEqual((st.st_mtime, st.st_uid, st.st_size), (1234567890, os.getuid(), 15))

    def test_folders_that_are_only_read(self):
        other = self.path('other')
        os.mkdir(other)
        for options in (('--ro', '.', '--rw', other), ('--rw', other, '--ro', '.')):
            r = self.exec('sh', '-c', f'! echo x >here && echo x >{other}/there && rm {other}/there', options=options)
            self.assertEqual(r.returncode, 0, r.stderr)
        r = self.exec('sh', '-c', f'echo x >here && ! echo x >{other}/there', options=('--ro', 'other'))
        self.assertEqual((r.returncode, os.listdir(other)), (0, []), r.stderr)
        os.unlink(self.path('here'))
        with tempfile.TemporaryDirectory(dir=FOLDER) as outside:
            r = self.exec('sh', '-c', f'! echo x >here && echo x >{outside}/there', options=('--ro', '.', '--rw', outside))
            self.assertEqual((r.returncode, os.listdir(self.dir), os.listdir(outside)), (0, ['other'], ['there']), r.stderr)

    def test_a_program_from_elsewhere(self):
        """As `go test` has them: its folder is there, to be read."""
        with tempfile.TemporaryDirectory(dir=FOLDER) as outside:
            program = os.path.join(outside, 'touch')
            shutil.copy(os.path.join(ROOT, 'bin/touch'), program)
            r = self.exec(program, 'here')
            self.assertEqual((r.returncode, os.listdir(self.dir)), (0, ['here']), r.stderr)
            self.assertNotEqual(self.exec(program, program + 'ed').returncode, 0)
            self.assertEqual(os.listdir(outside), ['touch'])

    def test_root_is_not_changed(self):
        before = sorted(os.listdir(ROOT))
        r = self.exec('sh', '-c', 'echo x >/new; rm /bin/cat; mkdir -p /a/b; cat /new; ls -d /a/b')
        self.assertEqual(sorted(os.listdir(ROOT)), before)
        self.assertTrue(os.path.lexists(os.path.join(ROOT, 'bin/cat')))
        self.assertIn(b'/a/b\n', r.stdout)

    def test_root_that_is_changed(self):
        root = self.path('root')
        shutil.copytree(ROOT, root, symlinks=True)
        r = self.run_graft('--root', root, '--write-root', '--', 'sh', '-c', 'echo kept >/new')
        self.assertEqual(r.returncode, 0, r.stderr)
        with open(os.path.join(root, 'new'), encoding='ascii') as f:
            self.assertEqual(f.read(), 'kept\n')

    def test_image(self):
        image = self.path('root.ext4')
        subprocess.run(['mkfs.ext4', '-q', '-F', '-d', ROOT, image, '64M'], check=True, capture_output=True,
                       env={**os.environ, 'PATH': os.environ['PATH'] + ':/sbin:/usr/sbin'})
        boot = os.path.join(ROOT, 'boot')
        kernel = os.path.join(boot, sorted(n for n in os.listdir(boot) if n.startswith('vmlinuz-'))[-1])
        with open(image, 'rb') as f:
            before = f.read()
        modules = self.path('modules')
        os.symlink(os.path.realpath(os.path.join(ROOT, 'lib/modules')), modules)
        shutil.copy(kernel, self.dir)
        r = self.run_graft('--root', image, '--kernel', self.path(os.path.basename(kernel)), '--', 'sh', '-c', 'echo x >/new; cat /new')
        self.assertEqual((r.returncode, r.stdout), (0, b'x\n'), r.stderr)
        with open(image, 'rb') as f:
            self.assertTrue(f.read() == before)

    @unittest.skipIf(os.getuid(), 'for root alone')
    def test_as_an_ordinary_user(self):
        os.chown(self.dir, NOBODY, NOBODY)
        try:
            subprocess.run(['unshare', '-U', 'test', '-r', GRAFT], user=NOBODY, group=NOBODY, extra_groups=[], check=True, capture_output=True)
        except subprocess.CalledProcessError:
            self.skipTest('an ordinary user has no namespaces here, or is not let in')
        r = self.exec('sh', '-c', 'id -u; echo x >made', user=NOBODY, group=NOBODY, extra_groups=[])
        self.assertEqual((r.returncode, r.stdout), (0, b'0\n'), r.stderr)
        self.assertEqual(os.stat(self.path('made')).st_uid, NOBODY)

    # --- how it may end ---
    def test_timeout(self):
        self.assertEqual(self.exec('sleep', '1000', options=('--timeout', '6')).returncode, 124)

    def test_guest_that_ends_or_panics(self):
        self.complains(self.exec('poweroff', '-f'), 'ended before the command')
        self.complains(self.exec('sh', '-c', 'echo c >/proc/sysrq-trigger; sleep 100'), 'panicked', status=255)

    def test_guest_that_lies(self):
        for lie in ('head -c 64 /dev/zero', 'head -c 64 /dev/zero | tr "\\0" "\\377"', r"printf '\3\0\0\0\2\0\0\0xx'",
                    r"printf '\2\0\0\0\5\0\0\0\7\0\0\0x'", r"printf '\5\0\0\0\10\0\0\0\0\0\0\0\377\377\377\377'"):
            self.complains(self.exec('sh', '-c', lie + ' >/dev/hvc0; sleep 100'), 'says something that it must not')

    def test_console(self):
        r = self.exec('true', options=('-v',))
        self.assertEqual((r.returncode, r.stdout), (0, b''))
        self.assertIn(b'Linux version', r.stderr)

    # --- mistakes ---
    def test_mistakes(self):
        self.complains(self.run_graft('--root', '/', '--', 'true'), '/', 'x86-64', 'aarch64')
        self.complains(self.run_graft('--root', self.path('none'), '--', 'true'), 'none', 'no such root')
        self.complains(self.run_graft('--root', ROOT), 'no CMD')
        self.complains(self.run_graft('--root', ROOT, '--smp', '99', 'true'), '--smp')
        self.complains(self.exec('true', options=('--rw', '/usr')), '/usr', 'hide')
        self.complains(self.exec('true', options=('--ro', self.path('none'))), 'none', 'No such file')
        self.complains(self.exec('true', env={**os.environ, 'GRAFT_VIRTIOFSD': '/none/virtiofsd'}), '/none/virtiofsd')
        empty = {**os.environ, 'XDG_CACHE_HOME': self.path('cache')}
        self.complains(self.run_graft('true', env=empty), 'graft root add')
        for args in ([], ['frob'], ['add'], ['add', '../x'], ['add', 'x', '--arch', 'vax'], ['rm'], ['list', 'x']):
            r = subprocess.run([GRAFT, 'root', *args], capture_output=True, env=empty, check=False)
            self.assertEqual((r.returncode, r.stdout, r.stderr.count(b'\n')), (2, b'', 1), (args, r.stderr))

    def test_dry_run(self):
        r = self.exec('make', 'test', options=('--dry-run',))
        self.assertEqual((r.returncode, r.stderr), (0, b''))
        for part in (ROOT, 'vmlinuz-', self.dir, 'make test'):
            self.assertIn(part, r.stdout.decode())

    # --- begun where a guest has booted ---
    def kept(self):
        """The files of guests that are kept, and what the next run would do."""
        folder = os.path.join(os.environ['XDG_CACHE_HOME'], 'graft', 'snapshots')
        files = [os.path.join(folder, f) for f in os.listdir(folder)] if os.path.isdir(folder) else []
        r = self.exec('true', options=('--dry-run',))
        start = [line for line in r.stdout.decode().splitlines() if line.startswith('start')]
        return files, start[0]

    def forget(self):
        for file in self.kept()[0]:
            os.unlink(file)

    def test_resumed(self):
        self.forget()
        self.assertIn('booted, and kept in', self.kept()[1])
        self.assertEqual(self.exec('sh', '-c', 'exit 5').returncode, 5)
        files, start = self.kept()
        self.assertEqual(len(files), 1)
        self.assertIn('resumed from ' + files[0], start)
        self.assertEqual(os.stat(files[0]).st_mode & 0o777, 0o600)
        before = os.stat(files[0]).st_ino, os.stat(files[0]).st_size
        r = self.exec('sh', '-c', 'cat; echo wrong >&2; pwd; exit 6', stdin=b'typed\n')
        self.assertEqual((r.returncode, r.stdout.decode(), r.stderr), (6, f'typed\n{self.dir}\n', b'wrong\n'))
        self.assertEqual((os.stat(files[0]).st_ino, os.stat(files[0]).st_size), before)
        self.assertEqual(self.exec('sh', '-c', 'cat >made; chmod 750 made', stdin=b'made there').returncode, 0)
        with open(self.path('made'), encoding='ascii') as f:
            self.assertEqual(f.read(), 'made there')

    def test_resumed_runs_have_numbers_of_their_own(self):
        script = 'head -c 32 /dev/urandom | md5sum; cat /proc/sys/kernel/random/uuid'
        seen = set()
        for _ in range(3):
            r = self.exec('sh', '-c', script)
            self.assertEqual((r.returncode, r.stderr), (0, b''))
            seen.update(r.stdout.split(b'\n')[:2])
        self.assertIn('resumed', self.kept()[1])
        self.assertEqual(len(seen), 6, seen)

    def test_resumed_at_the_right_time(self):
        self.exec('true')
        r = self.exec('sh', '-c', 'date +%s; cut -d. -f1 /proc/uptime')
        now, uptime = (int(word) for word in r.stdout.split())
        self.assertTrue(abs(now - time.time()) < 20, now)
        self.assertTrue(uptime < 60, uptime)

    def test_resumed_at_once(self):
        self.exec('true')
        runs = [self.start('sh', '-c', f'sleep 1; echo {n}', stdin=subprocess.DEVNULL, stdout=subprocess.PIPE) for n in range(3)]
        for n, run in enumerate(runs):
            self.assertEqual((run.communicate(timeout=SECONDS)[0], run.returncode), (f'{n}\n'.encode(), 0))

    def test_kept_guest_that_is_damaged(self):
        self.exec('true')
        for file in self.kept()[0]:
            os.truncate(file, os.path.getsize(file) // 2)
        self.assertIn('booted', self.kept()[1])
        self.assertEqual(self.exec('sh', '-c', 'exit 7').returncode, 7)
        self.assertIn('resumed', self.kept()[1])
        self.assertEqual(self.exec('sh', '-c', 'exit 8').returncode, 8)

    def test_other_machines_have_their_own(self):
        self.exec('true')
        r = self.exec('true', options=('--dry-run', '--memory', '512M'))
        self.assertIn('booted, and kept', r.stdout.decode())
        r = self.exec('true', options=('--dry-run', '--cold'))
        self.assertIn('booted\n', r.stdout.decode())
        files = len(self.kept()[0])
        self.assertEqual(self.exec('sh', '-c', 'exit 9', options=('--cold', '--memory', '512M')).returncode, 9)
        self.assertEqual(len(self.kept()[0]), files)

    # --- the network ---
    def test_service_at_a_socket_of_the_host(self):
        """guestfwd: each connection of the guest's is one to the Unix socket, even where it reaches nobody else."""
        def serve(listener):
            for n in range(3):
                connection, _ = listener.accept()
                with connection:
                    connection.sendall(f'{n} {connection.recv(100).decode()}'.upper().encode())
        # Root's network is the user 65534, who cannot go everywhere.
        with tempfile.TemporaryDirectory(dir='/tmp') as folder, socket.socket(socket.AF_UNIX) as listener:
            os.chmod(folder, 0o755)
            path = os.path.join(folder, 'service')
            listener.bind(path)
            os.chmod(path, 0o777)
            listener.listen()
            listener.settimeout(SECONDS)
            server = threading.Thread(target=serve, args=(listener,))
            server.start()
            ask = 'for word in one two three; do (echo $word; sleep 1) | nc 10.0.2.100 80; done'
            r = self.exec('sh', '-c', ask, options=('--net', f'user,restrict=on,guestfwd=tcp:10.0.2.100:80-unix:{path}'))
            server.join(SECONDS)
        self.assertEqual((r.returncode, r.stdout), (0, b'0 ONE\n1 TWO\n2 THREE\n'), r.stderr)
        for wrong in ('10.0.2.100:80-unix:relative', '10.0.2.100:80-cmd:true', '10.0.2.100-unix:/x', ':80-unix:/x', '10.0.2.100:80-unix:/' + 'x' * 108):
            self.complains(self.exec('true', options=('--net', f'user,guestfwd=tcp:{wrong}')), 'guestfwd=')
        self.complains(self.exec('true', options=('--net', 'user,guestfwd=tcp:10.0.2.2:80-unix:/x')), 'not free')

    # --- as others use it ---
    @unittest.skipUnless(shutil.which('aarch64-linux-gnu-gcc'), 'no aarch64-linux-gnu-gcc')
    def test_ctest_of_a_cross_build(self):
        self.path('answer.c', '#include <stdio.h>\nint main(int n, char **v) { printf("%d\\n", n * 21); return n != 2; }\n')
        self.path('CMakeLists.txt', 'cmake_minimum_required(VERSION 3.22)\nproject(answer C)\nenable_testing()\n'
                                    'add_executable(answer answer.c)\nadd_test(NAME right COMMAND answer x)\n'
                                    'add_test(NAME wrong COMMAND answer)\n')
        build = self.path('build')
        subprocess.run(['cmake', '-G', 'Ninja', '-S', self.dir, '-B', build, '-DCMAKE_SYSTEM_NAME=Linux', '-DCMAKE_C_COMPILER=aarch64-linux-gnu-gcc',
                        '-DCMAKE_EXE_LINKER_FLAGS=-static', f'-DCMAKE_CROSSCOMPILING_EMULATOR={GRAFT};exec;--root;{ROOT};--rw;{self.dir};--'],
                       check=True, capture_output=True)
        subprocess.run(['cmake', '--build', build], check=True, capture_output=True)
        r = subprocess.run(['ctest', '--test-dir', build, '--output-on-failure'], capture_output=True, text=True, timeout=2 * SECONDS, check=False)
        self.assertIn('Passed', r.stdout)
        self.assertIn('1 tests failed out of 2', r.stdout)


if __name__ == '__main__':
    unittest.main(argv=[sys.argv[0], *sys.argv[4:]])
