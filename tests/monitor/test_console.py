#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
# Copyright The Graft Authors
"""Consoles: slow readers, none, gone ones; pasted input; the end of a run whatever the console does.

usage: test_console.py GRAFT FOLDER-OF-GUESTS SLOW-DISK.so [TEST]...
"""

import array
import fcntl
import os
import pty
import re
import select
import signal
import struct
import subprocess
import sys
import tempfile
import termios
import time
import unittest

GRAFT, GUESTS = sys.argv[1:3]
VM = os.environ.get('GRAFT_VM', 'inproc')
PATIENCE = 60  # seconds for anything that takes part of one: nothing here is about speed
END = 30       # seconds for a run to end that has been told to: it should take half of one, and took minutes


def lines(count):
    return b''.join(b'%07d\n' % n for n in range(count))


def sum_of(data):
    total = 0
    for byte in data:
        total = (total * 31 + byte) % 1000000007
    return total


def in_pipe(fd):
    """Bytes that wait in a pipe or terminal."""
    count = array.array('i', [0])
    fcntl.ioctl(fd, termios.FIONREAD, count)
    return count[0]


def ticks_of(pid):
    """The processor time of a process."""
    with open(f'/proc/{pid}/stat', encoding='ascii') as f:
        return sum(map(int, f.read().rsplit(')', 1)[1].split()[11:13]))


class Console(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = folder.name
        self.guest = os.path.join(GUESTS, 'console.bin')

    def path(self, name):
        return os.path.join(self.folder, name)

    def start(self, *options, commands=None, **kw):
        """A guest that is told commands; without any its stdin is kw's, or a pipe that is left open."""
        command = [GRAFT, 'run', kw.pop('guest', self.guest), '--vm', VM, '--memory', '64M', *options]
        process = subprocess.Popen(command, **{'stdin': subprocess.PIPE, 'stderr': subprocess.PIPE, **kw})
        for stream in (process.stdin, process.stdout, process.stderr):
            if stream:
                self.addCleanup(stream.close)
        self.addCleanup(process.wait)
        self.addCleanup(process.kill)
        if commands:
            process.stdin.write(commands)
            process.stdin.flush()
        return process

    def end(self, process, how=signal.SIGTERM):
        if isinstance(how, bytes):
            process.stdin.write(how)
            process.stdin.flush()
        elif how:
            process.send_signal(how)
        try:
            return process.wait(timeout=END if how else PATIENCE)
        except subprocess.TimeoutExpired:
            return self.fail(f'it does not end: {how!r}')

    def read_until(self, fd, text):
        said, end = b'', time.monotonic() + PATIENCE
        while text not in said:
            ready, _, _ = select.select([fd], [], [], max(0, end - time.monotonic()))
            piece = os.read(fd, 4096) if ready else b''
            if not piece:
                self.fail(f'no {text!r} but {said[-1000:]!r}')
            said += piece
        return said

    def wait_stuck(self, process, fd):
        """Until nobody writes to a pipe that is not read, and then as long as the guest may take to fill what is behind: a second of processor
        time, or none at all for a while. The time of others, which run here, too, does not count."""
        end, last, since, calm = time.monotonic() + PATIENCE, (0, 0), 0, 0
        while time.monotonic() < end:
            time.sleep(0.1)
            now, used = in_pipe(fd), ticks_of(process.pid)
            if not now or now != last[0]:
                since = used
            calm = calm + 1 if now and (now, used) == last else 0
            last = now, used
            if calm == 15 or (now and used - since >= os.sysconf('SC_CLK_TCK')):
                return

    # --- output ---
    def test_a_slow_reader_loses_nothing(self):
        for what, more in ((b'w', b''), (b'p', b'was full, flags are right\n'), (b'i', b'woken\n'), (b'v', b'sent\n')):
            with self.subTest(what):
                options = ['--console', 'file:' + self.path('fifo')] if what == b'v' else []
                reader = None
                if options:
                    os.mkfifo(self.path('fifo'))
                    reader = os.open(self.path('fifo'), os.O_RDONLY | os.O_NONBLOCK)
                    os.set_blocking(reader, True)
                p = self.start(*options, commands=what + b'30000\no\n', stdout=subprocess.PIPE)
                fd = p.stdout.fileno() if reader is None else reader
                self.wait_stuck(p, fd)
                self.assertIsNone(p.poll())
                said = b''
                while piece := os.read(fd, 65536):
                    said += piece
                serial = p.stdout.read()
                if reader is None:
                    serial = said
                else:
                    os.close(reader)
                self.assertEqual(self.end(p, None), 0)
                self.assertIn(lines(30000), said)
                self.assertIn(more, serial)
                self.assertNotIn(b'FAIL', serial)

    def test_a_crowd_of_writers(self):
        for wait_for_all in (True, False):
            p = self.start('--smp', '4', guest=os.path.join(GUESTS, 'crowd.bin'), stdout=subprocess.PIPE)
            self.wait_stuck(p, p.stdout.fileno())
            if not wait_for_all:
                self.assertEqual(self.end(p), 128 + signal.SIGTERM)
                continue
            said = p.stdout.read()
            self.assertEqual(self.end(p, None), 0)
            self.assertEqual([said.count(b'%d' % n) for n in range(4)], [40000] * 4)
            self.assertIn(b'ALL PASS', said)

    def test_a_dead_reader_does_not_stop_a_signal(self):
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, b'\x01x'):
            for what in (b'w', b'v', b's'):
                with self.subTest((number, what)):
                    reader, writer = os.pipe()
                    options = ['--console', f'file:/proc/self/fd/{writer}'] if what == b'v' else []
                    p = self.start(*options, commands=what + b'1000000\n', stdout=writer, pass_fds=[writer])
                    os.close(writer)
                    if what == b's':
                        self.read_until(reader, b'spins')
                    else:
                        self.wait_stuck(p, reader)
                    self.end(p, number)
                    os.close(reader)

    def test_a_stuck_terminal_is_restored(self):
        for number in (signal.SIGTERM, b'\x01x'):
            master, slave = pty.openpty()
            before = termios.tcgetattr(slave)
            p = self.start(stdin=slave, stdout=slave, stderr=slave)
            os.write(master, b'w1000000\n')
            self.wait_stuck(p, master)
            self.assertNotEqual(termios.tcgetattr(slave), before)
            if isinstance(number, bytes):
                os.write(master, number)
            self.end(p, number if isinstance(number, int) else signal.SIGCONT)
            self.assertEqual(termios.tcgetattr(slave), before)
            os.close(slave)
            os.close(master)

    def test_a_log_that_nobody_reads(self):
        for how in (signal.SIGTERM, b'\x01x', b'\x01h\x01x'):
            with self.subTest(how):
                reader, writer = os.pipe()
                p = self.start('-d', 'in,out,exec', commands=b'w1000\n', stdout=subprocess.DEVNULL, stderr=writer)
                os.close(writer)
                self.wait_stuck(p, reader)
                self.end(p, how)
                os.close(reader)

    def test_ctrl_a_x_behind_what_the_guest_does_not_read(self):
        p = self.start(stdout=subprocess.PIPE)
        p.stdin.write(b's\n' + b'x' * 1000000 + b'\x01x')
        p.stdin.flush()
        self.end(p, signal.SIGCONT)

    def test_an_unread_pseudo_terminal(self):
        p = self.start('--serial', 'pty', stdin=subprocess.DEVNULL)
        name = re.search(rb'/dev/pts/\d+', self.read_until(p.stderr.fileno(), b'\n')).group()
        fd = os.open(name, os.O_RDWR | os.O_NOCTTY)
        os.write(fd, b'w40000\n')
        time.sleep(0.2)
        os.close(fd)  # nobody reads now: the guest goes on, and what it wrote last can be had
        time.sleep(1)
        fd = os.open(name, os.O_RDWR | os.O_NOCTTY)
        self.read_until(fd, b'0039999\n')
        os.write(fd, b'w30000\n')
        time.sleep(1)  # now somebody reads, but slowly: nothing is lost
        self.assertIn(lines(30000), self.read_until(fd, b'0029999\n'))
        os.write(fd, b'w20\no\n')  # who has it open can read the rest for a second
        self.assertIn(lines(20), self.read_until(fd, b'ALL PASS'))
        self.assertEqual(self.end(p, None), 0)
        os.close(fd)

    def test_closed_descriptors(self):
        log = self.path('log')
        for closed in ((0,), (1,), (2,), (0, 1, 2)):
            for options in ((), ('-D', log)):
                def close(numbers=closed):
                    for fd in numbers:
                        os.close(fd)
                p = self.start(*options, stdin=subprocess.DEVNULL if 0 in closed else subprocess.PIPE, stdout=subprocess.PIPE,
                               preexec_fn=close, commands=None if 0 in closed else b'w10\no\n')
                said = b''
                if 0 in closed:
                    if 1 not in closed:
                        self.assertIsNone(p.poll())
                    time.sleep(0.3)
                    self.end(p)
                else:
                    said = p.stdout.read()
                    self.assertEqual(self.end(p, None), 0, closed)
                self.assertEqual(lines(10) in said, 0 not in closed and 1 not in closed)
                if options:
                    with open(log, 'rb') as f:
                        text = f.read()
                    self.assertNotIn(b'PASS', text)
                    self.assertNotIn(b'00000', text)

    def test_a_reader_that_went_away(self):
        p = self.start(commands=b'w10\n', stdout=subprocess.PIPE)
        self.read_until(p.stdout.fileno(), lines(10))
        p.stdout.close()
        p.stdin.write(b'w50000\no\n')
        p.stdin.flush()
        self.assertEqual(self.end(p, None), 0)
        said = p.stderr.read().decode()
        self.assertEqual(len(re.findall('serial: .*lost', said)), 1, said)

        master, slave = pty.openpty()
        p = self.start(commands=b'w10\n', stdout=slave)
        os.close(slave)
        self.read_until(master, b'0000009')
        os.close(master)
        p.stdin.write(b'w50000\no\n')
        p.stdin.flush()
        self.assertEqual(self.end(p, None), 0)
        self.assertIn(b'lost', p.stderr.read())

    def test_a_full_file(self):
        p = self.start('--serial', 'file:/dev/full', '--console', 'stdio', commands=b'\x01x')
        self.end(p, None)
        p = self.start('--console', 'file:/dev/full', commands=b'v100\no\n', stdout=subprocess.PIPE)
        self.assertIn(b'sent', p.stdout.read())
        self.assertEqual(self.end(p, None), 0)
        self.assertIn(b'console: No space left on device', p.stderr.read())

    def test_the_end_waits_for_a_reader_but_not_against_a_signal(self):
        p = self.start(commands=b'w12000\no\n', stdout=subprocess.PIPE)
        self.wait_stuck(p, p.stdout.fileno())
        self.assertIsNone(p.poll())
        self.end(p)
        p = self.start(commands=b'w12000\no\n', stdout=subprocess.PIPE)
        self.wait_stuck(p, p.stdout.fileno())
        self.assertIn(lines(12000), p.stdout.read())
        self.assertEqual(self.end(p, None), 0)

    # --- input ---
    def test_pasted_megabytes(self):
        data = bytes(33 + n * n % 90 for n in range(5000000))
        for what, options in ((b'r', ()), (b'e', ('--console', 'stdio'))):
            serial = self.path('serial')
            if options:
                options += ('--serial', 'pty')
            p = self.start(*options, stdout=subprocess.PIPE)
            if options:
                name = re.search(rb'/dev/pts/\d+', self.read_until(p.stderr.fileno(), b'\n')).group()
                fd = os.open(name, os.O_RDWR | os.O_NOCTTY)
                os.write(fd, what + b'%d\n' % len(data))
            else:
                fd = os.dup(p.stdout.fileno())
                p.stdin.write(what + b'%d\n' % len(data))
            p.stdin.write(data)
            p.stdin.flush()
            self.assertIn(b'sum %d\n' % sum_of(data), self.read_until(fd, b'\n'), serial)
            self.end(p)
            os.close(fd)

    def test_the_end_of_the_input_costs_nothing(self):
        p = self.start(commands=b'w10\n', stdout=subprocess.PIPE)
        self.read_until(p.stdout.fileno(), lines(10))
        p.stdin.close()
        p.stdin = None
        threads = f'/proc/{p.pid}/task'
        time.sleep(0.5)

        def ticks():
            total = 0
            for thread in os.listdir(threads):
                with open(f'{threads}/{thread}/stat', encoding='ascii') as f:
                    name, rest = re.match(r'\d+ \((.*)\) (.*)', f.read()).groups()
                    total += 0 if name.startswith('vcpu') else sum(map(int, rest.split()[11:13]))
            return total
        before = ticks()
        time.sleep(2)
        self.assertLess(ticks() - before, 100)  # of 200: half of a processor
        self.end(p)

    # --- window ---
    def test_window_size(self):
        master, slave = pty.openpty()
        fcntl.ioctl(master, termios.TIOCSWINSZ, struct.pack('HHHH', 33, 111, 0, 0))
        p = self.start('--console', 'stdio', '--serial', 'pty', stdin=slave, stdout=slave)
        name = re.search(rb'/dev/pts/\d+', self.read_until(p.stderr.fileno(), b'\n')).group()
        fd = os.open(name, os.O_RDWR | os.O_NOCTTY)
        os.write(fd, b'z\n')
        self.read_until(fd, b'window 111x33\n')
        fcntl.ioctl(master, termios.TIOCSWINSZ, struct.pack('HHHH', 44, 99, 0, 0))
        p.send_signal(signal.SIGWINCH)  # as its session's terminal would
        self.read_until(fd, b'99x44\n')
        self.end(p)
        for end in (fd, slave, master):
            os.close(end)

    # --- job control ---
    def test_in_the_background(self):
        pid, fd = pty.fork()
        if not pid:
            os.environ['PS1'] = 'ready> '
            os.execvp('bash', ['bash', '--norc', '--noediting', '-i'])
        self.addCleanup(os.close, fd)
        self.addCleanup(os.waitpid, pid, 0)
        self.addCleanup(os.kill, pid, signal.SIGKILL)

        def say(text, answer):
            os.write(fd, text)
            return self.read_until(fd, answer)
        self.read_until(fd, b'ready> ')
        say(b'%s run %s --vm %s --memory 64M & sleep 1; echo m${PATH:0:0}ark\n'
            % (GRAFT.encode(), self.guest.encode(), VM.encode()), b'\nmark')
        for _ in range(3):  # neither its start nor what is typed stops it
            said = say(b'jobs; echo m${PATH:0:0}ark\n', b'\nmark')
            self.assertIn(b'Running', said)
        self.assertIn(b' icanon', say(b'stty -a; echo m${PATH:0:0}ark\n', b'\nmark'))
        os.write(fd, b'fg\n')
        self.read_until(fd, self.guest.encode())
        time.sleep(0.5)
        say(b'w12\n', b'0000011')
        say(b'\x01x', b'ready> ')
        self.assertIn(b' icanon', say(b'stty -a; echo m${PATH:0:0}ark\n', b'\nmark'))

    # --- signals ---
    def test_nohup(self):
        p = self.start(commands=b'w10\n', stdout=subprocess.PIPE, preexec_fn=lambda: signal.signal(signal.SIGHUP, signal.SIG_IGN))
        self.read_until(p.stdout.fileno(), lines(10))
        p.send_signal(signal.SIGHUP)
        p.stdin.write(b'w20\n')
        p.stdin.flush()
        self.read_until(p.stdout.fileno(), lines(20))
        self.end(p)

    def test_a_signal_while_files_are_read(self):
        os.mkfifo(self.path('fifo'))
        p = self.start(guest=self.path('fifo'))
        time.sleep(0.5)
        self.assertIsNone(p.poll())
        self.end(p)


if __name__ == '__main__':
    unittest.main(argv=sys.argv[:1] + sys.argv[4:])
