#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
# Copyright The Graft Authors
"""Queues and disks: what a guest that refills its queues, or a disk that takes its time, must not stop.

usage: test_queues.py GRAFT FOLDER-OF-GUESTS SLOW-DISK.so [TEST]...
"""

import os
import re
import select
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import unittest

GRAFT, GUESTS, SLOW = sys.argv[1:4]
PATIENCE = 100  # seconds for anything: nothing here is about speed


class Queues(unittest.TestCase):
    def setUp(self):
        self.folder = tempfile.TemporaryDirectory()
        self.addCleanup(self.folder.cleanup)

    def image(self, data=b'', size=None):
        path = os.path.join(self.folder.name, 'image')
        with open(path, 'wb') as f:
            f.write(data)
            if size:
                f.truncate(size)
        return path

    def start(self, guest, *options, **environment):
        command = [GRAFT, 'run', os.path.join(GUESTS, guest + '.bin'), '--vm', 'inproc', '--mmu', 'soft', *options]
        env = dict(os.environ)
        if environment:
            env.update(LD_PRELOAD=SLOW, ASAN_OPTIONS='verify_asan_link_order=0',
                       **{key: str(value) for key, value in environment.items()})
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                   stderr=subprocess.STDOUT, env=env)
        self.addCleanup(process.stdout.close)
        self.addCleanup(process.wait)
        self.addCleanup(process.kill)
        return process

    def read_until(self, process, text):
        """What the guest says up to text."""
        said, end = b'', time.monotonic() + PATIENCE
        while text not in said:
            ready, _, _ = select.select([process.stdout], [], [], max(0, end - time.monotonic()))
            piece = os.read(process.stdout.fileno(), 4096) if ready else b''
            if not piece:
                self.fail(f'no {text!r} but {said!r}')
            said += piece
        return said.decode(errors='replace')

    def run_all(self, guest, *options, **environment):
        process = self.start(guest, *options, **environment)
        try:
            said = process.communicate(timeout=PATIENCE)[0].decode(errors='replace')
        except subprocess.TimeoutExpired:
            process.kill()
            self.fail(f'{guest} does not end: {process.communicate()[0]!r}')
        self.assertEqual(process.returncode, 0, said)
        guest = re.sub(r'slow: \w+\n', '', said)  # which may be in the middle of a line of the guest's
        self.assertIn('ALL PASS', guest)
        self.assertNotIn('FAIL', guest)
        return said, guest

    def stop(self, process, patience=PATIENCE):
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(timeout=patience)
        except subprocess.TimeoutExpired:
            self.fail('SIGTERM does not end it')

    def test_ticks_and_registers_while_a_flush_takes_seconds(self):
        _, said = self.run_all('ticks', '--drive', self.image(size=1 << 20), SLOW_SYNC_MS=3000)
        ticks, registers = map(int, re.search(r'(\d+) ticks, (\d+) registers', said).groups())
        self.assertGreater(ticks, 50, 'of 300')
        self.assertEqual(registers, ticks)

    def test_sigterm_while_a_flush_takes_minutes(self):
        image = self.image(size=1 << 20)
        process = self.start('sync', '--drive', image, SLOW_SYNC_MS=1000 * 1000)
        self.read_until(process, b'slow: sync')
        self.stop(process)
        with open(image, 'rb') as f:
            f.seek(8 * 512)
            self.assertEqual(f.read(4096), b'w' * 4096)

    def frozen(self):
        """A folder on a file system that can be frozen."""
        folder, image = os.path.join(self.folder.name, 'mount'), os.path.join(self.folder.name, 'filesystem')
        os.mkdir(folder)
        with open(image, 'wb') as f:
            f.truncate(64 << 20)
        for command in (['mkfs.ext4', '-q', image], ['mount', '-o', 'loop', image, folder]):
            if os.geteuid() or not shutil.which(command[0]) or subprocess.run(command, check=False).returncode:
                self.skipTest('nothing can be mounted here')
        self.addCleanup(subprocess.run, ['umount', '-l', folder], check=True)
        return folder

    def wait_until_stuck(self):
        end = time.monotonic() + PATIENCE
        while time.monotonic() < end:
            tasks = subprocess.run(['ps', '-eLo', 'stat=,comm='], capture_output=True, text=True, check=True).stdout
            if re.search('^D.*disk0$', tasks, re.MULTILINE):
                return
            time.sleep(0.1)
        self.fail('nothing waits for the frozen file system')

    def test_sigterm_while_the_file_system_is_frozen(self):
        """The kernel lets nobody out of a write to it."""
        folder = self.frozen()
        image = os.path.join(folder, 'image')
        with open(image, 'wb') as f:
            f.truncate(1 << 20)
        process = self.start('sync', '--drive', image)
        self.read_until(process, b'written')
        subprocess.run(['fsfreeze', '-f', folder], check=True)
        try:
            self.wait_until_stuck()
            self.stop(process, patience=20)
            ready, _, _ = select.select([process.stdout], [], [], 20)
            self.assertTrue(ready, 'its output is still open')
        finally:
            subprocess.run(['fsfreeze', '-u', folder], check=True)

    def test_sigterm_while_the_last_flush_takes_minutes(self):
        """The guest has powered off, and what it wrote is still on its way."""
        process = self.start('tail', '--drive', self.image(b'x' * 1000000), SLOW_SYNC_MS=1000 * 1000)
        self.read_until(process, b'slow: sync')
        self.stop(process)

    def test_the_last_flush(self):
        said, _ = self.run_all('tail', '--drive', self.image(b'x' * 1000000), SLOW_SYNC_MS=500)
        self.assertIn('slow: sync', said)

    def test_reset_of_a_disk_that_waits(self):
        self.run_all('reset', '--drive', self.image(b'd' * (1 << 20)), SLOW_IO_MS=1000)

    def test_reset_of_the_machine(self):
        _, said = self.run_all('reboot', '--drive', self.image(size=1 << 20), SLOW_IO_MS=1500, SLOW_SYNC_MS=500)
        self.assertEqual(said.count('ALL PASS'), 1)

    def test_refilled_queues(self):
        process = self.start('refill', '--smp', '2', '--drive', self.image(size=1 << 20), '--net', 'user')
        said = self.read_until(process, b'refilling')
        self.assertIn('PASS registers', said)
        self.assertNotIn('FAIL', said)
        self.stop(process)

    def test_giant_requests(self):
        self.run_all('giant', '--memory', '2G', '--drive', self.image(size=64 << 30))

    def test_the_last_bytes_and_ranges(self):
        image = self.image(b'x' * 1000000)
        before = os.stat(image).st_blocks
        self.run_all('tail', '--drive', image)
        with open(image, 'rb') as f:
            data = f.read()
        self.assertEqual(len(data), 1954 * 512)
        self.assertEqual(data[1953 * 512:], b'y' * 512)
        self.assertEqual(data[256 * 512:768 * 512], bytes(512 * 512))
        self.assertEqual(data[1024 * 512:1280 * 512], bytes(256 * 512))
        self.assertEqual(data[:256 * 512].strip(b'x'), b'')
        self.assertLess(os.stat(image).st_blocks, before)

    def test_reading_leaves_the_size(self):
        image = self.image(b'x' * 1000000)
        process = self.start('tail', '--drive', image + ',ro')
        self.read_until(process, b'read\n')
        self.stop(process)
        self.assertEqual(os.stat(image).st_size, 1000000)


if __name__ == '__main__':
    unittest.main(argv=[sys.argv[0], *sys.argv[4:]], verbosity=2)
