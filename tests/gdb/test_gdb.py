#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
# Copyright The Graft Authors
"""--gdb: GDB itself, and a client that does what GDB does not, on a bare-metal guest.

usage: test_gdb.py GRAFT FOLDER-OF-GUESTS PLACE [TEST]...
"""

import os
import re
import signal
import socket
import subprocess
import sys
import tempfile
import unittest

from session import PATIENCE, Guest, gdb, gdb_path

GRAFT, GUESTS, PLACE = sys.argv[1:4]
VM = ['--vm', 'kvm' if PLACE.startswith('kvm-') else 'inproc', '--mmu', PLACE.replace('kvm-', '')]
A64 = (os.path.join(GUESTS, 'a64.bin'), os.path.join(GUESTS, 'a64.elf'))
RV64 = (os.path.join(GUESTS, 'rv64.elf'), os.path.join(GUESTS, 'rv64.elf'))


class GdbTest(unittest.TestCase):
    def start(self, guest, *words):
        g = Guest(GRAFT, guest[0], *VM, '--memory', '64M', *words)
        self.addCleanup(g.end)
        return g

    def ends_well(self, guest):
        status, _, err = guest.status()
        self.assertEqual(status, 0, err)
        self.assertIn('ALL PASS', guest.printed())

    def assert_lines(self, text, *patterns):
        """The patterns are found in this order."""
        at = 0
        for pattern in patterns:
            found = re.compile(pattern, re.M).search(text, at)
            self.assertTrue(found, f'no {pattern!r} after character {at} of:\n{text}')
            at = found.end()


def both(test):
    """A test of each guest, if there is one."""
    def run(self):
        for guest in (A64, RV64):
            if os.path.exists(guest[0]):
                with self.subTest(guest=os.path.basename(guest[0])):
                    test(self, guest)
    return run


@unittest.skipUnless(gdb_path(), 'no gdb-multiarch')
class Session(GdbTest):
    @both
    def test_breakpoints(self, guest):
        g = self.start(guest, '--pause')
        n = 'print $x0' if guest is A64 else 'print $a0'
        out = gdb(g, ['break every_fifth', 'continue', n, 'continue', n, 'bt 2', 'hbreak next', 'continue', n, 'finish',
                      'delete', 'print enough=1', 'detach'], guest[1])
        self.assert_lines(out, r'^Breakpoint 1, every_fifth', r'= 5$', r'^Breakpoint 1, every_fifth', r'= 10$', r'#1 .* loop', r'^Breakpoint 2, .*next',
                          r'= 10$', r'Value returned is .* 11$', r'= 1$')
        self.ends_well(g)

    @both
    def test_paused_at_the_start(self, guest):
        g = self.start(guest, '--pause')
        out = gdb(g, ['print rounds', 'info threads', 'kill'], guest[1])
        self.assert_lines(out, r'= 0$', r'\* 1 .*vCPU 0')
        self.assertEqual(g.status()[0], 0)

    @both
    def test_steps(self, guest):
        g = self.start(guest, '--pause')
        out = gdb(g, ['break next', 'continue', 'p/x $pc', 'stepi', 'p/x $pc', 'delete', 'until', 'next', 'stepi 200', 'print rounds < 200', 'print enough=1',
                      'continue'], guest[1])
        at = [int(x, 16) for x in re.findall(r'= (0x[0-9a-f]+)$', out, re.M)]
        self.assertEqual(len(at), 2, out)
        self.assertIn(at[1] - at[0], (2, 4), out)
        self.assert_lines(out, r'= 1$', r'exited normally')
        self.ends_well(g)

    @both
    def test_watchpoints(self, guest):
        g = self.start(guest, '--pause')
        out = gdb(g, ['break loop', 'continue', 'watch fifth', 'continue', 'print fifth', 'continue', 'print fifth', 'delete', 'rwatch looked_at', 'continue',
                      'print rounds', 'delete', 'awatch bytes[9]', 'continue', 'delete', 'print enough=1', 'detach'], guest[1])
        self.assert_lines(out, r'^Hardware watchpoint 2: fifth', r'New value = 5$', r'= 5$', r'Old value = 5$', r'New value = 10$', r'= 10$',
                          r'^Hardware read watchpoint 3: looked_at', r'^Value = 0', r'= 13$',
                          r'^Hardware access \(read/write\) watchpoint 4', r"^(Old v|V)alue = ")
        self.ends_well(g)

    @both
    def test_registers_and_memory(self, guest):
        g = self.start(guest, '--pause')
        reg = '$x17' if guest is A64 else '$t6'
        out = gdb(g, ['break next', 'continue', f'set $old={reg}', f'set {reg}=0x1234567890abcdef', f'p/x {reg}', 'x/s (char*)bytes', 'set var bytes[0]=65', 'x/s (char*)bytes',
                      'maintenance packet Qqemu.PhyMemMode:1', 'x/s (char*)bytes', 'maintenance packet qqemu.PhyMemMode',
                      'maintenance packet Qqemu.PhyMemMode:0', 'print enough=1', 'delete', 'stepi', f'p/x {reg}', f'set {reg}=$old', 'x/1xb 0', 'info registers all',
                      'monitor info registers', 'monitor nonsense', 'monitor help', 'detach'], guest[1])
        self.assert_lines(out, '= 0x1234567890abcdef$', '"0123456789abcde"', '"A123456789abcde"', '"A123456789abcde"', 'received: "1"',
                          '= 0x1234567890abcdef$', 'Cannot access memory at address 0x0' if guest is RV64 else '',
                          'VBAR_EL1 ' if guest is A64 else 'stvec ', 'ELR_EL1 +0' if guest is A64 else 'sepc +0', "unknown command: 'nonsense'",
                          'system_reset')
        self.ends_well(g)

    def test_vector_register(self):
        """One that may stay in a host register while the engine runs."""
        g = self.start(A64, '--pause')
        out = gdb(g, ['break every_fifth', 'continue', 'print $v20.d.u', 'set $v20.d.u[1]=77', 'break next', 'continue', 'continue', 'print n', 'print vector',
                      'print enough=1', 'detach'], A64[1])
        self.assert_lines(out, r'= \{5, 5\}$', '= 6$', '= 77$')
        self.ends_well(g)

    @both
    def test_interrupt_and_reset(self, guest):
        g = self.start(guest)
        g.wait(lambda: os.path.exists(g.console))
        out = gdb(g, ['print rounds == 0 || rounds > 0', 'monitor info status', 'monitor system_reset', 'maintenance flush register-cache', 'disconnect'],
                  guest[1])
        self.assert_lines(out, '= 1$', 'VM status: paused')
        out = gdb(g, ['break every_fifth', 'continue', 'print fifth', 'monitor quit'], guest[1])
        self.assert_lines(out, '^Breakpoint 1, every_fifth')
        self.assertEqual(g.status()[0], 0)

    def test_guest_sees_nothing(self):
        """A breakpoint is no change of the code."""
        g = self.start(A64, '--pause')
        out = gdb(g, ['break next', 'continue', 'x/1xw next', 'x/1xw $pc', 'delete', 'x/1xw next', 'print enough=1', 'detach'], A64[1])
        seen = re.findall(r'^0x[0-9a-f]+ <next.*>:\s+(0x[0-9a-f]+)$', out, re.M)
        self.assertEqual(len(seen), 3, out)
        self.assertEqual(len(set(seen)), 1, out)
        self.ends_well(g)


class Client:
    def __init__(self, path):
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.connect(path)  # which waits for room in the queue
        self.socket.settimeout(PATIENCE)
        self.rest = b''

    def send(self, text):
        self.socket.sendall(b'$%s#%02x' % (text, sum(text) & 255))

    def receive(self):
        while True:
            found = re.match(rb'[+-]*\$(.*?)#[0-9a-f]{2}', self.rest, re.S)
            if found:
                self.rest = self.rest[found.end():]
                try:
                    self.socket.sendall(b'+')
                except BrokenPipeError:  # that was the last word
                    pass
                return found.group(1)
            more = self.socket.recv(65536)
            if not more:
                return None
            self.rest += more

    def ask(self, text):
        self.send(text)
        return self.receive()


class Protocol(GdbTest):
    def connect(self, *words):
        g = self.start(A64, *words)
        c = Client(g.socket)
        self.addCleanup(c.socket.close)
        return g, c

    def test_words(self):
        g, c = self.connect('--pause', '--smp', '2')
        self.assertIn(b'QStartNoAckMode+', c.ask(b'qSupported:swbreak+'))
        self.assertTrue(c.ask(b'?').startswith(b'T05thread:1;'))
        self.assertEqual(c.ask(b'qfThreadInfo'), b'm1,2')
        self.assertEqual(c.ask(b'qsThreadInfo'), b'l')
        self.assertEqual(c.ask(b'T2'), b'OK')
        self.assertEqual(c.ask(b'T3'), b'E01')
        self.assertEqual(c.ask(b'vMustReplyEmpty'), b'')
        self.assertEqual(c.ask(b'nonsense'), b'')
        self.assertEqual(len(c.ask(b'g')), 2 * (33 * 8 + 4))
        self.assertEqual(c.ask(b'pffff'), b'E01')
        self.assertEqual(c.ask(b'P0=0807060504030201'), b'OK')
        self.assertEqual(c.ask(b'p0'), b'0807060504030201')
        self.assertEqual(c.ask(b'm0,4'), b'E0e')
        self.assertEqual(c.ask(b'M40000000,4:01020304'), b'OK')
        self.assertEqual(c.ask(b'X40000004,3:}\x03}\x04}\x0a'), b'OK')
        self.assertEqual(c.ask(b'm40000000,7'), b'0102030423242a')
        self.assertEqual(c.ask(b'x40000004,3'), b'b}\x03}\x04}\x0a')
        self.assertEqual(c.ask(b'Z9,0,4'), b'')
        for n in range(64):
            self.assertEqual(c.ask(b'Z0,%x,4' % (0x50000000 + 4 * n)), b'OK')
        self.assertEqual(c.ask(b'Z0,60000000,4'), b'E01')
        self.assertEqual(c.ask(b'z0,50000000,4'), b'OK')
        self.assertEqual(c.ask(b'Hg0'), b'OK')
        self.assertEqual(c.ask(b'vCont?'), b'vCont;c;C;s;S')
        self.assertTrue(c.ask(b'vCont;s:1').startswith(b'T05thread:1;'))
        c.send(b'vCont;c')
        c.socket.sendall(b'\x03')
        self.assertTrue(c.receive().startswith(b'T02thread:'))
        self.assertEqual(c.ask(b'D'), b'OK')

    def test_wrong_sum(self):
        _, c = self.connect()
        c.socket.sendall(b'$g#00')
        self.assertEqual(c.socket.recv(1), b'-')
        c.socket.sendall(b'garbage\x00\xff$#00$xx$?#3f')
        self.assertIn(c.receive(), (b'', b'E10'))  # to the empty one; the machine may not have stopped yet
        self.assertTrue(c.receive().startswith(b'T'))

    def test_one_at_a_time_and_again(self):
        g, c = self.connect()
        self.assertTrue(c.ask(b'?'))
        c.socket.close()
        c = Client(g.socket)
        self.assertTrue(c.ask(b'?').startswith(b'T'))
        self.assertEqual(c.ask(b'vKill;1'), b'OK')
        self.assertIn(c.receive(), (b'W00', None))
        self.assertEqual(g.status()[0], 0)

    def test_a_client_that_never_reads(self):
        g, c = self.connect()
        c.socket.settimeout(2)
        read = b'$m40000000,400#b1'
        with self.assertRaises(TimeoutError):
            while True:
                c.socket.sendall(read * 100)
        c.socket.close()
        c = Client(g.socket)
        self.addCleanup(c.socket.close)
        c.socket.settimeout(2)
        with self.assertRaises(TimeoutError):
            while True:
                c.socket.sendall(b'-' * 1000 + read)
        g.process.terminate()
        self.assertEqual(g.status()[0], 128 + signal.SIGTERM)

    def test_a_client_that_leaves_in_the_middle(self):
        g, c = self.connect()
        c.socket.close()
        for piece in (b'$m4000', b'$' + b'x' * 100000, b'$g#0', b'$}', b'\x03' * 1000, b'$vCont;c#a8\x03', b'$c#63$s#73'):
            c = Client(g.socket)
            c.socket.sendall(piece)
            c.socket.close()
        c = Client(g.socket)
        self.addCleanup(c.socket.close)
        self.assertTrue(c.ask(b'?').startswith(b'T05'))

    def test_ends_while_held(self):
        g, c = self.connect('--timeout', '1')
        self.assertTrue(c.ask(b'?'))
        self.assertEqual(g.status()[0], 124)

    def test_socket_is_the_users_own(self):
        g, c = self.connect()
        self.assertEqual(os.stat(g.socket).st_mode & 0o777, 0o600)
        c.socket.close()
        g.process.kill()
        g.status()
        self.assertTrue(os.path.exists(g.socket))
        again = subprocess.Popen([GRAFT, 'run', A64[0], *VM, '--serial', 'none', '--gdb', f'unix:{g.socket}'], stderr=subprocess.PIPE)
        self.addCleanup(lambda: (again.kill(), again.communicate()))
        while True:
            try:
                c = Client(g.socket)
                break
            except (ConnectionRefusedError, FileNotFoundError): # the old socket, or none yet
                self.assertIsNone(again.poll())
        self.assertTrue(c.ask(b'?'))

    def test_tcp(self):
        p = subprocess.Popen([GRAFT, 'run', A64[0], *VM, '--serial', 'none', '--pause', '--gdb', 'tcp::0'], stderr=subprocess.PIPE)
        self.addCleanup(lambda: (p.kill(), p.communicate()))
        while True:
            line = p.stderr.readline()
            found = re.match(rb'graft: --gdb: at port (\d+)$', line.strip())
            if found or not line:
                break
        self.assertTrue(found)
        s = socket.create_connection(('127.0.0.1', int(found.group(1))))
        s.sendall(b'$qC#b4')
        self.assertTrue(s.recv(1))
        s.close()


class Usage(GdbTest):
    def refused(self, status, text, *words):
        done = subprocess.run([GRAFT, 'run', A64[0], *VM, *words], stdin=subprocess.DEVNULL, capture_output=True, timeout=PATIENCE, check=False)
        self.assertEqual(done.returncode, status, done.stderr)
        self.assertEqual(done.stderr.count(b'\n'), 1, done.stderr)
        self.assertIn(text, done.stderr.decode())

    def test_wrong_words(self):
        for spec in ('1234', 'tcp:', 'tcp:host', 'tcp:h:99999', 'tcp:h:1x', 'unix:', 'unix:' + 'x' * 200, 'udp:1:2'):
            self.refused(2, '--gdb', '--gdb', spec)
        self.refused(2, '--pause needs', '--pause')
        self.refused(2, 'another place for the console', '--gdb', 'stdio')

    def test_not_for_everyone(self):
        self.refused(1, ',remote', '--gdb', 'tcp:0.0.0.0:0')

    def test_what_cannot_be_waited_for(self):
        console = ['--serial', 'none', '--gdb', 'stdio']
        self.refused(1, 'stdio is for pipes', *console)
        for closed in ('<&-', '</dev/zero >&-'):
            done = subprocess.run(['sh', '-c', f'exec "$@" {closed}', 'sh', GRAFT, 'run', A64[0], *VM, *console], stderr=subprocess.PIPE,
                                  timeout=PATIENCE, check=False)
            self.assertEqual((done.returncode, done.stderr.count(b'\n')), (1, 1), done.stderr)

    def test_a_place_whose_owner_is_busy(self):
        """Its queue is full: who waits for room in it waits for ever."""
        with tempfile.TemporaryDirectory() as folder, socket.socket(socket.AF_UNIX) as owner:
            path = os.path.join(folder, 'socket')
            owner.bind(path)
            owner.listen(0)
            waiting = []
            while True:
                s = socket.socket(socket.AF_UNIX)
                self.addCleanup(s.close)
                s.setblocking(False)
                if s.connect_ex(path):
                    break
                waiting.append(s)
            self.refused(1, 'in use', '--gdb', f'unix:{path}')

    def test_no_such_place(self):
        self.refused(1, '/nowhere/at/all', '--gdb', 'unix:/nowhere/at/all')


if __name__ == '__main__':
    if PLACE.startswith('kvm-') and not os.access('/dev/kvm', os.R_OK | os.W_OK):
        print('SKIPPED: no /dev/kvm')
        sys.exit(77)
    if not gdb_path():
        print('no gdb-multiarch (scripts/deps test): only the protocol is tested')
    unittest.main(argv=[sys.argv[0], *sys.argv[4:]])
