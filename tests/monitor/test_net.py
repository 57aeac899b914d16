#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
# Copyright The Graft Authors
"""The user network with more connections than anybody has, and its options.

usage: test_net.py GRAFT FOLDER-OF-GUESTS SLOW-DISK.so [TEST]...
"""

import asyncio
import os
import re
import resource
import select
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import threading
import unittest

GRAFT, GUESTS = sys.argv[1:3]
PATIENCE = 200  # seconds for anything: nothing here is about speed
LIMIT = 1000    # of TCP connections and of other flows: MOST_FLOWS


class EchoDatagrams(asyncio.DatagramProtocol):
    def connection_made(self, transport):
        self.transport = transport

    def datagram_received(self, data, addr):
        self.transport.sendto(data, addr)


async def echo(reader, writer):
    try:
        while data := await reader.read(4096):
            writer.write(data)
            await writer.drain()
    except ConnectionError:
        pass
    writer.close()


class Echo:
    """Echo servers on the loopback, in a thread of their own; their ports."""

    def __init__(self):
        self.loop = asyncio.new_event_loop()
        self.thread = threading.Thread(target=self.loop.run_forever, daemon=True)
        self.thread.start()
        self.tcp, self.udp = asyncio.run_coroutine_threadsafe(self.open(), self.loop).result(30)

    async def open(self):
        server = await asyncio.start_server(echo, '127.0.0.1', 0, backlog=4096)
        transport, _ = await self.loop.create_datagram_endpoint(EchoDatagrams, local_addr=('127.0.0.1', 0))
        return server.sockets[0].getsockname()[1], transport.get_extra_info('sockname')[1]

    def close(self):
        self.loop.call_soon_threadsafe(self.loop.stop)
        self.thread.join()


class Net(unittest.TestCase):
    def run_flows(self, tcp, udp):
        echo_servers = Echo()
        self.addCleanup(echo_servers.close)
        with tempfile.NamedTemporaryFile() as image:
            image.write(struct.pack('<4H', echo_servers.tcp, echo_servers.udp, tcp, udp).ljust(4096, b'\0'))
            image.flush()
            command = ['sh', '-c', 'ulimit -Sn 256; exec "$@"', 'sh', GRAFT, 'run', os.path.join(GUESTS, 'flows.bin'), '--vm', 'inproc', '--mmu', 'soft',
                       '--net', 'user', '--drive', image.name + ',ro']
            try:
                ran = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                     stderr=subprocess.STDOUT, text=True, timeout=PATIENCE, check=False)
            except subprocess.TimeoutExpired as late:
                self.fail(f'does not end: {late.stdout!r}')
        self.assertEqual(ran.returncode, 0, ran.stdout)
        self.assertIn('ALL PASS', ran.stdout)
        numbers = re.search(r'udp: (\d+) answered.*tcp: (\d+) answered, (\d+) reset', ran.stdout, re.DOTALL)
        return ran.stdout, *map(int, numbers.groups())

    def test_a_hundred_of_each(self):
        said, udp, tcp, reset = self.run_flows(100, 110)
        self.assertEqual((udp, tcp, reset), (110, 100, 0))
        self.assertNotIn('dropped', said)

    def test_more_than_there_may_be(self):
        """All flows are served while they are new; the oldest go, and only those."""
        said, udp, tcp, reset = self.run_flows(LIMIT + 50, 3 * LIMIT)
        self.assertEqual(udp, 3 * LIMIT)
        self.assertEqual(tcp + reset, LIMIT + 50)
        self.assertTrue(40 <= reset <= 60, reset)
        self.assertIn('more than 1000 TCP connections', said)
        self.assertIn('more than 1000 UDP', said)


def free_port(kind):
    with socket.socket(socket.AF_INET, kind) as s:
        s.bind(('127.0.0.1', 0))
        return s.getsockname()[1]


class Options(unittest.TestCase):
    """The guest `forward` is reached from here, and reaches a socket of ours, or not."""

    def setUp(self):
        self.ours = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.ours.bind(('127.0.0.1', 0))
        self.ours.settimeout(PATIENCE)
        self.addCleanup(self.ours.close)
        self.tcp, self.udp, self.end = free_port(socket.SOCK_STREAM), free_port(socket.SOCK_DGRAM), free_port(socket.SOCK_DGRAM)

    def start(self, options=''):
        net = (f'user,hostfwd=tcp::{self.tcp}-10.0.2.15:22,hostfwd=udp:127.0.0.1:{self.udp}-:7,'
               f'hostfwd=udp:127.0.0.1:{self.end}-:9{options}')
        p = subprocess.Popen([GRAFT, 'run', os.path.join(GUESTS, 'forward.bin'), '--vm', 'inproc', '--mmu', 'soft', '--net', net],
                             stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        for end in (p.stdout.close, p.wait, p.kill):
            self.addCleanup(end)
        self.said = ''
        self.read_until(p, 'ready')
        return p

    def read_until(self, p, text):
        while text not in self.said:
            ready = select.select([p.stdout], [], [], PATIENCE)[0]
            piece = os.read(p.stdout.fileno(), 4096).decode() if ready else ''
            if not piece:
                self.fail(f'no {text} but {self.said}')
            self.said += piece

    def ask(self, p):
        """Has the guest answer, and send a datagram to our socket."""
        s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.addCleanup(s.close)
        s.connect(('127.0.0.1', self.udp))
        while 'sent' not in self.said: # the first ones may be lost while addresses are not known
            s.send(str(self.ours.getsockname()[1]).encode())
            if select.select([p.stdout], [], [], 1)[0]:
                self.read_until(p, 'sent')
        return s

    def finish(self, p):
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
            s.sendto(b'', ('127.0.0.1', self.end))
            s.sendto(b'end', ('127.0.0.1', self.end))
        self.read_until(p, 'ALL PASS')
        self.assertEqual(p.wait(PATIENCE), 0)

    def refused(self, p):
        with socket.create_connection(('127.0.0.1', self.tcp), PATIENCE) as s:
            try:
                self.assertEqual(s.recv(1), b'')
            except ConnectionError:
                pass
        self.read_until(p, 'refused 22')

    def test_forwards(self):
        p = self.start()
        s = self.ask(p)
        s.settimeout(PATIENCE)
        self.assertEqual(s.recv(64).decode(), str(self.ours.getsockname()[1]))
        self.assertEqual(self.ours.recv(64), b'hello')
        self.refused(p)
        self.read_until(p, 'router')
        self.finish(p)

    def test_restricted(self):
        p = self.start(',restrict=on')
        self.ask(p)
        self.refused(p) # by then all that was sent before has come, or does not
        self.assertEqual(select.select([self.ours], [], [], 0.5)[0], [])
        self.finish(p)

    def test_without_ipv6(self):
        p = self.start(',ipv6=off')
        self.ask(p)
        self.assertEqual(self.ours.recv(64), b'hello')
        self.finish(p)
        self.assertNotIn('router', self.said)

    def test_a_port_that_is_in_use(self):
        with socket.socket() as s:
            s.bind(('0.0.0.0', self.tcp))
            s.listen()
            ran = subprocess.run([GRAFT, 'run', os.path.join(GUESTS, 'forward.bin'), '--net', f'user,hostfwd=tcp::{self.tcp}-:22'],
                                 stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=PATIENCE, check=False)
        self.assertEqual(ran.returncode, 1, ran.stderr)
        self.assertEqual(ran.stderr, f'graft: hostfwd: TCP port {self.tcp} of this host: Address already in use\n')


# In a network of its own: an interface that Graft makes, with the address that the guest takes for its host's.
ON_A_TAP = '''
import socket, subprocess, sys
p = subprocess.Popen(sys.argv[1:], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE)
said = b''
while b'ready' not in said:
    said += p.stdout.readline() or sys.exit('no guest')
for words in ('link set tap7 address 52:55:0a:00:02:02', 'addr add 10.0.2.2/24 dev tap7', 'link set tap7 up'):
    subprocess.run(['ip', *words.split()], check=True)
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.settimeout(1)
answer = b''
for n in range(60):
    s.sendto(b'over the tap', ('10.0.2.15', 7))
    try:
        answer = s.recv(100)
        break
    except TimeoutError:
        pass
s.sendto(b'end', ('10.0.2.15', 9))
said += p.stdout.read()
print(answer.decode(), said.decode(), p.wait())
'''

# What stands in for passt: answers nothing but what the guest echoes, and ends it.
LIKE_PASST = '''#!/usr/bin/python3
import socket, struct, sys
s = socket.socket(fileno=3)
def checksum(data):
    total = sum(struct.unpack(f'>{len(data) // 2}H', data))
    total = (total & 0xffff) + (total >> 16)
    return ~((total & 0xffff) + (total >> 16)) & 0xffff
def send(port, data):
    udp = struct.pack('>4H', 4321, port, 8 + len(data), 0) + data
    ip = struct.pack('>BBHHHBBH4s4s', 0x45, 0, 20 + len(udp), 0, 0, 64, 17, 0, bytes([10, 0, 2, 2]), bytes([10, 0, 2, 15]))
    ip = ip[:10] + struct.pack('>H', checksum(ip)) + ip[12:]
    frame = bytes.fromhex('52540012345652550a0002020800') + ip + udp
    packet = struct.pack('>I', len(frame)) + frame
    for at in range(0, len(packet), 7): # a stream has no borders
        s.sendall(packet[at:at + 7])
def frames():
    data = b''
    while piece := s.recv(4 - len(data) if len(data) < 4 else 4 + struct.unpack('>I', data[:4])[0] - len(data)):
        data += piece
        if len(data) > 4 and len(data) == 4 + struct.unpack('>I', data[:4])[0]:
            yield data[4:]
            data = b''
ways = iter(frames())
next(ways) # it is there
s.sendall(bytes(4) + b'\\0\\0\\0\\5short') # which are none
send(7, b'over the stream')
for frame in ways:
    if frame[12:14] == b'\\x08\\0' and frame.endswith(b'over the stream'):
        send(9, b'end')
'''


class Others(unittest.TestCase):
    def graft(self, net, **environment):
        return subprocess.run([GRAFT, 'run', os.path.join(GUESTS, 'forward.bin'), '--vm', 'inproc', '--mmu', 'soft', '--net', net],
                              stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=PATIENCE, check=False,
                              env=dict(os.environ, **environment))

    def test_tap(self):
        if os.geteuid() or not os.path.exists('/dev/net/tun') or subprocess.run(['unshare', '-n', 'ip', 'link'], capture_output=True,
                                                                                check=False).returncode:
            self.skipTest('SKIP: no networks of our own here')
        command = ['unshare', '-n', sys.executable, '-c', ON_A_TAP, GRAFT, 'run', os.path.join(GUESTS, 'forward.bin'), '--vm', 'inproc',
                   '--mmu', 'soft', '--net', 'tap,ifname=tap7']
        ran = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE, check=False)
        self.assertTrue(ran.stdout.startswith('over the tap'), ran.stdout + ran.stderr)
        self.assertIn('ALL PASS', ran.stdout)
        self.assertTrue(ran.stdout.endswith(' 0\n'), ran.stdout)

    def test_no_tap(self):
        ran = self.graft('tap,ifname=lo')  # which is there, and none
        self.assertEqual((ran.returncode, ran.stderr.count('\n')), (1, 1), ran.stderr)
        self.assertTrue(ran.stderr.startswith('graft: --net tap: '), ran.stderr)

    def test_passt(self):
        with tempfile.TemporaryDirectory() as folder:
            os.chmod(folder, 0o755)
            program = os.path.join(folder, 'passt')
            with open(program, 'w', encoding='ascii') as f:
                f.write(LIKE_PASST)
            os.chmod(program, 0o755)
            ran = self.graft('passt', GRAFT_PASST=program)
        self.assertEqual((ran.returncode, ran.stderr), (0, ''), ran.stdout)
        self.assertIn('ALL PASS', ran.stdout)

    def test_a_passt_that_does_nothing(self):
        """Nor does it end when its connection does."""
        with tempfile.TemporaryDirectory() as folder:
            os.chmod(folder, 0o755)
            program = os.path.join(folder, 'passt')
            with open(program, 'w', encoding='ascii') as f:
                f.write(f'#!/bin/sh\necho $$ >{folder}/pid\nexec sleep 1000\n')
            os.chmod(program, 0o755)
            with subprocess.Popen([GRAFT, 'run', os.path.join(GUESTS, 'forward.bin'), '--vm', 'inproc', '--mmu', 'soft', '--net', 'passt'],
                                  stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, env=dict(os.environ, GRAFT_PASST=program)) as p:
                p.stdout.readline()
                p.terminate()
                self.assertEqual(p.wait(PATIENCE), 128 + signal.SIGTERM)
            with open(f'{folder}/pid', encoding='ascii') as f:
                try:
                    os.kill(int(f.read()), signal.SIGKILL)  # who was root may not (helper.c)
                except ProcessLookupError:
                    pass

    def test_no_passt(self):
        ran = self.graft('passt', GRAFT_PASST='/does/not/exist')
        self.assertEqual((ran.returncode, ran.stderr), (1, 'graft: --net passt: /does/not/exist\n'))


if __name__ == '__main__':
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = 4 * LIMIT
    if hard != resource.RLIM_INFINITY and hard < wanted:
        print(f'SKIPPED: no more than {hard} descriptors here')
        sys.exit(77)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, wanted), hard))
    unittest.main(argv=[sys.argv[0], *sys.argv[4:]], verbosity=2)
