# SPDX-License-Identifier: Apache-2.0
# Copyright The Graft Authors
"""How long a run takes to end after it has been told to, whatever the guest and the host do: see scripts/bench-quit.

usage: quit.py ROUNDS GRAFT FOLDER-OF-GUESTS SLOW-DISK.so [GRAFT-OPTION]...
"""

import os
import pty
import select
import signal
import socket
import statistics
import struct
import subprocess
import sys
import tempfile
import threading
import time
import tty

ROUNDS = int(sys.argv[1])
GRAFT, GUESTS, SLOW = sys.argv[2:5]
OPTIONS = sys.argv[5:]
PATIENCE = 100  # seconds for anything
FLOWS = 900


def words(*insns):
    return struct.pack(f'<{len(insns)}I', *insns)


SPIN = words(0x14000000)                                   # b .: interrupts are masked
IDLE = words(0xd503207f, 0x17ffffff)                       # wfi; b .-4
FLOOD = words(0xd2a12001, 0x52800f02, 0xb9000022, 0x17ffffff)  # mov x1, #0x09000000; mov w2, #'x'; str w2, [x1]; b .-4


class Run:
    """A run under a condition, up to the moment at which it is told to end."""

    def __init__(self, folder, how):
        self.folder, self.how, self.close = folder, how, []
        self.keys, terminal = pty.openpty()
        tty.setraw(terminal)
        self.terminal = terminal

    def file(self, name, data=b'', size=None):
        path = os.path.join(self.folder, name)
        with open(path, 'wb') as f:
            f.write(data)
            if size:
                f.truncate(size)
        return path

    def start(self, guest, *options, output=subprocess.PIPE, **environment):
        env = dict(os.environ, **environment)
        self.process = subprocess.Popen([GRAFT, 'run', guest, *OPTIONS, *options], stdin=self.terminal, stdout=output, stderr=subprocess.STDOUT,
                                        env=env, start_new_session=True)

    def guest(self, name, *options, **environment):
        self.start(os.path.join(GUESTS, name + '.bin'), *options, **environment)

    def wait_for(self, text):
        said, end = b'', time.monotonic() + PATIENCE
        while text not in said:
            ready, _, _ = select.select([self.process.stdout], [], [], max(0, end - time.monotonic()))
            piece = os.read(self.process.stdout.fileno(), 4096) if ready else b''
            if not piece:
                sys.exit(f'{self.process.args}: no {text!r} but {said!r}')
            said += piece

    def quit(self):
        """Seconds from the signal, or the key, to the end of the process."""
        begin = time.monotonic()
        if self.how == 'Ctrl-A X':
            os.write(self.keys, b'\x01x')
        else:
            self.process.send_signal(signal.Signals[self.how])
        self.process.wait(PATIENCE)
        took = time.monotonic() - begin
        for fd in (self.keys, self.terminal):
            os.close(fd)
        if self.process.stdout:
            self.process.stdout.close()
        for close in self.close:
            close()
        expected = 0 if self.how == 'Ctrl-A X' else 128 + signal.Signals[self.how]
        if self.process.returncode != expected:
            sys.exit(f'{self.process.args}: exit status {self.process.returncode}, not {expected}')
        return took


# --- conditions: each brings a run to where it is to be ended -------------------------------------------------------
def idle(run):
    run.start(run.file('guest.bin', IDLE))
    time.sleep(0.3)


def spinning(run):
    run.start(run.file('guest.bin', SPIN), '--smp', '2')
    time.sleep(0.3)


def paused(run):
    run.start(run.file('guest.bin', SPIN), '--pause', '--control', 'unix:' + os.path.join(run.folder, 'control'))
    time.sleep(0.3)


def flooded(run):
    """The pipe is full, and then all that is in between, too."""
    run.start(run.file('guest.bin', FLOOD))
    time.sleep(0.5)


def flooded_terminal(run):
    run.start(run.file('guest.bin', FLOOD), output=run.terminal)
    time.sleep(0.5)


def refilled(run):
    run.guest('refill', '--smp', '2', '--drive', run.file('disk', size=1 << 20), '--net', 'user')
    run.wait_for(b'refilling')


def slow_flush(run):
    run.guest('sync', '--drive', run.file('disk', size=1 << 20), LD_PRELOAD=SLOW, SLOW_SYNC_MS=str(1000 * PATIENCE))
    run.wait_for(b'slow: sync')


def echo(datagrams):
    while True:
        datagrams.sendto(*datagrams.recvfrom(4096))


DATAGRAMS = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
DATAGRAMS.bind(('127.0.0.1', 0))
threading.Thread(target=echo, args=(DATAGRAMS,), daemon=True).start()


def flows(run):
    """As many TCP connections as there may be, all open, to somebody who says nothing."""
    listener = socket.create_server(('127.0.0.1', 0), backlog=4096)
    order = struct.pack('<4H', listener.getsockname()[1], DATAGRAMS.getsockname()[1], FLOWS, 1)
    run.guest('flows', '--net', 'user', '--drive', run.file('order', order, size=4096) + ',ro')
    listener.settimeout(PATIENCE)
    ours = [listener.accept()[0] for _ in range(FLOWS)]
    run.close = [connection.close for connection in ours] + [listener.close]


def stopped_network(run):
    """What serves the network stands still."""
    run.start(run.file('guest.bin', IDLE), '--net', 'user')
    time.sleep(0.3)
    children = subprocess.run(['pgrep', '-P', str(run.process.pid)], capture_output=True, text=True, check=False).stdout.split()
    for child in children:
        with open(f'/proc/{child}/comm', encoding='ascii') as f:
            if 'net' in f.read():
                os.kill(int(child), signal.SIGSTOP)


CONDITIONS = {'waits for an interrupt': idle, 'two processors in a loop, interrupts masked': spinning, '`--pause`': paused,
              'prints to a pipe that nobody reads': flooded, 'prints to a terminal that nobody reads': flooded_terminal,
              'refills its queues as they are served': refilled, 'waits for a flush that takes minutes': slow_flush,
              'has 900 connections open': flows, 'its network\'s process stands still': stopped_network}
WAYS = ('SIGTERM', 'SIGINT', 'Ctrl-A X')


def main():
    print('| the guest | | least | median | largest |\n|---|---|---:|---:|---:|')
    longest = 0
    for name, condition in CONDITIONS.items():
        for how in WAYS:
            took = []
            for _ in range(ROUNDS):
                with tempfile.TemporaryDirectory() as folder:
                    run = Run(folder, how)
                    condition(run)
                    took.append(1000 * run.quit())
            longest = max(longest, *took)
            print(f'| {name if how == WAYS[0] else ""} | {how} | {min(took):.0f} | {statistics.median(took):.0f} | {max(took):.0f} |', flush=True)
    print(f'\nlongest: {longest:.0f} ms')


if __name__ == '__main__':
    main()
