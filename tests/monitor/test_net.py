#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
# Copyright The Graft Authors
"""The user network with more connections than anybody has.

usage: test_net.py GRAFT FOLDER-OF-GUESTS SLOW-DISK.so [TEST]...
"""

import asyncio
import os
import re
import resource
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


if __name__ == '__main__':
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = 4 * LIMIT
    if hard != resource.RLIM_INFINITY and hard < wanted:
        print(f'SKIPPED: no more than {hard} descriptors here')
        sys.exit(77)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, wanted), hard))
    unittest.main(argv=[sys.argv[0], *sys.argv[4:]], verbosity=2)
