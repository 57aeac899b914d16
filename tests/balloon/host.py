#!/usr/bin/env python3
# SPDX-FileCopyrightText: The Graft authors
# SPDX-License-Identifier: Apache-2.0
"""The host's side of scripts/test-balloon: usage: host.py SOCKET COMMAND...

Runs COMMAND, a machine of 1 GiB with --control unix:SOCKET, copies its console to standard output, and looks at its memory at each step of the guest's.
Prints a line CHECK NAME ok or FAIL for what it sees. The exit status is the command's."""

import os
import subprocess
import sys
import threading
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), '..', 'monitor'))
from qmp import Client  # noqa: E402

MB = 1 << 20
PATIENCE = 60


def resident(pid):
    with open(f'/proc/{pid}/smaps_rollup', encoding='ascii') as f:
        return next(int(line.split()[1]) << 10 for line in f if line.startswith('Rss:'))


def until(condition):
    end = time.monotonic() + PATIENCE
    while not condition() and time.monotonic() < end:
        time.sleep(0.1)
    return condition()


class Host:
    def __init__(self, path, command):
        self.path = path
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        self.client = None

    def check(self, name, good):
        print(f"CHECK {name} {'ok' if good else 'FAIL'}", flush=True)

    def actual(self):
        return self.client.do('query-balloon')['return']['actual']

    def target(self, size):
        self.client.do('balloon', value=size)
        return until(lambda: self.actual() == size)

    def filled(self):
        self.client = Client(self.path)
        self.client.do('qmp_capabilities')
        self.full = resident(self.process.pid)
        self.check('host-all', self.actual() == 1024 * MB)
        self.check('host-wrong', all('error' in self.client.do('balloon', **a) for a in ({}, {'value': 0}, {'value': 'x'})))

    def freed(self):
        self.check('host-reported', until(lambda: resident(self.process.pid) < self.full - 150 * MB))

    def ready(self):
        before = resident(self.process.pid)
        self.check('host-inflates', self.target(256 * MB))
        self.check('host-no-more', resident(self.process.pid) < before + 50 * MB)

    def inflated(self):
        self.check('host-deflates', self.target(1024 * MB))
        self.client.close()

    def run(self):
        for line in self.process.stdout:
            text = line.decode(errors='replace').rstrip()
            print(text, flush=True)
            if text.startswith('STEP '):
                getattr(self, text.split()[1])()
                self.process.stdin.write(b'go\n')
                self.process.stdin.flush()
        return self.process.wait()


host = Host(sys.argv[1], sys.argv[2:])
timer = threading.Timer(PATIENCE * 4, host.process.kill)
timer.start()
status = host.run()
timer.cancel()
sys.exit(status)
