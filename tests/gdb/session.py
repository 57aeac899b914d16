# SPDX-License-Identifier: Apache-2.0
# Copyright The Graft Authors
"""A guest of graft that waits for GDB, and sessions of GDB with it."""

import os
import shutil
import subprocess
import tempfile
import time

PATIENCE = 200  # seconds for anything: nothing here is about speed


def gdb_path():
    return shutil.which('gdb-multiarch')


class Guest:
    """graft run with --gdb; its console is a file."""

    def __init__(self, graft, *words):
        self.dir = tempfile.mkdtemp(prefix='graft-gdb.')
        self.socket = os.path.join(self.dir, 'gdb')
        self.console = os.path.join(self.dir, 'console')
        self.process = subprocess.Popen([graft, 'run', *words, '--serial', f'file:{self.console}', '--gdb', f'unix:{self.socket}'],
                                        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        self.wait(lambda: os.path.exists(self.socket) or self.process.poll() is not None)

    def wait(self, until):
        end = time.time() + PATIENCE
        while not until():
            if time.time() > end:
                raise AssertionError('waited in vain')
            time.sleep(0.02)

    def printed(self):
        with open(self.console, 'rb') as f:
            return f.read().decode(errors='replace')

    def status(self):
        out, err = self.process.communicate(timeout=PATIENCE)
        return self.process.returncode, out.decode(), err.decode()

    def end(self):
        if self.process.poll() is None:
            self.process.kill()
        self.process.communicate()
        shutil.rmtree(self.dir)


def gdb(guest, commands, file=None):
    """What GDB says to the commands, of which the first connects it."""
    args = [gdb_path(), '--batch', '-nx', '-ex', 'set confirm off', '-ex', 'set pagination off', '-ex', 'set remotetimeout 60']
    if file:
        args += ['-ex', f'file {file}']
    for command in (f'target remote {guest.socket}', *commands):
        args += ['-ex', command]
    done = subprocess.run(args, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=PATIENCE, check=False)
    return done.stdout.decode(errors='replace')
