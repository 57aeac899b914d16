# SPDX-License-Identifier: Apache-2.0
# Copyright The Graft Authors
"""Small guest programs, the files that they may be in, and runs of graft, for the tests beside this file."""

import os
import shutil
import signal
import struct
import subprocess
import sys
import tempfile
import unittest

GRAFT = sys.argv[1]
KVM = os.access('/dev/kvm', os.R_OK | os.W_OK)
VM = os.environ.get('GRAFT_VM', 'kvm' if KVM else 'inproc')


def words(*insns):
    return b''.join(struct.pack('<I', i) for i in insns)


def psci(function):
    """mov w0, #function; hvc #0"""
    return words(0x52800000 | (function & 0xffff) << 5, 0x72a00000 | (function >> 16) << 5, 0xd4000002)


def say(char):
    """mov x1, #0x09000000; mov w2, #char; str w2, [x1]"""
    return words(0xd2a12001, 0x52800002 | ord(char) << 5, 0xb9000022)


def say_all(text):
    return b''.join(say(c) for c in text)


SPIN = words(0x14000000)
WFI_LOOP = words(0xd503207f, 0x17ffffff)
POWEROFF = psci(0x84000008)
RESET = psci(0x84000009)


def elf(code, paddr=0x40200000, machine=183, filesz=None):
    size = len(code) if filesz is None else filesz
    ident = b'\x7fELF\x02\x01\x01' + bytes(9)
    header = struct.pack('<HHIQQQIHHHHHH', 2, machine, 1, paddr, 64, 0, 0, 64, 56, 1, 0, 0, 0)
    return ident + header + struct.pack('<IIQQQQQQ', 1, 5, 120, paddr, paddr, size, size, 4096) + code


def image(code, flags=0xa, text_offset=0, magic=b'ARM\x64'):
    header = words(0x14000010, 0) + struct.pack('<QQQ', text_offset, 64 + len(code), flags) + bytes(24) + magic + bytes(4)
    return header + code


def zboot(compression, payload):
    return b'MZ\0\0zimg' + struct.pack('<IIII', 64, len(payload), 0, 0) + compression.ljust(40, b'\0') + payload


class GraftTest(unittest.TestCase):
    def setUp(self):
        self.dir = tempfile.mkdtemp(prefix='graft-cli.')

    def tearDown(self):
        shutil.rmtree(self.dir)

    def path(self, name, data=None):
        path = os.path.join(self.dir, name)
        if data is not None:
            with open(path, 'wb') as f:
                f.write(data)
        return path

    def graft(self, *args, stdin=subprocess.DEVNULL):
        if isinstance(stdin, bytes):
            return subprocess.run([GRAFT, *args], input=stdin, capture_output=True, timeout=30, check=False)
        return subprocess.run([GRAFT, *args], stdin=stdin, capture_output=True, timeout=30, check=False)

    def run_guest(self, data, *args, stdin=subprocess.DEVNULL):
        return self.graft('run', self.path('guest.bin', data), '--vm', VM, '--memory', '32M', *args, stdin=stdin)

    def start(self, data, *args, **kw):
        command = [GRAFT, 'run', self.path('guest.bin', data), '--vm', VM, '--memory', '32M', *args]
        p = subprocess.Popen(command, **kw)
        self.addCleanup(p.kill)  # what fails leaves none behind; one that has ended already is not asked
        return p

    def ends(self, p, status=128 + signal.SIGTERM):
        """Ends a run with SIGTERM."""
        p.terminate()
        self.assertEqual(p.wait(10), status)
        if p.stdout:
            p.stdout.close()

    def complains(self, status, args, *parts):
        r = self.graft(*args)
        text = r.stderr.decode()
        self.assertEqual(r.returncode, status, (args, text))
        self.assertEqual(r.stdout, b'', args)
        self.assertEqual(text.count('\n'), 1, (args, text))
        self.assertTrue(text.startswith('graft: '), text)
        for part in parts:
            self.assertIn(part, text)
