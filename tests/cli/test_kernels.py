#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
# Copyright The Graft Authors
"""Which files graft takes for kernels, how it unpacks them, and what it says of the others.

usage: test_kernels.py GRAFT [TEST]...
"""

import bz2
import contextlib
import gzip
import lzma
import os
import shutil
import signal
import struct
import subprocess
import sys
import time
import unittest

from guest import GRAFT, POWEROFF, RESET, VM, GraftTest, elf, image, say, words, zboot


def packed(data, *command):
    """data, packed by a program that writes to its standard output; None if there is no such program."""
    return subprocess.run(command, input=data, capture_output=True, check=True).stdout if shutil.which(command[0]) else None


class Kernels(GraftTest):
    def test_formats(self):
        im = image(say('k') + POWEROFF)
        for data in (say('k') + POWEROFF, im, elf(say('k') + POWEROFF)):
            r = self.run_guest(data)
            self.assertEqual((r.returncode, r.stdout, r.stderr), (0, b'k', b''), data[:16])

    def packings(self, data):
        """That data, packed in each way; the first word of the name is Linux' own for it."""
        half = len(data) // 2
        lz4 = packed(data, 'lz4', '-l', '-9', '-', '-')
        return {'gzip': gzip.compress(data), 'gzip in parts': gzip.compress(data[:half]) + gzip.compress(data[half:]),
                'bzip2': bz2.compress(data), 'bzip2 in parts': bz2.compress(data[:half]) + bz2.compress(data[half:]),
                'xzkern': lzma.compress(data, check=lzma.CHECK_CRC32), 'lzma': lzma.compress(data, lzma.FORMAT_ALONE),
                'zstd': packed(data, 'zstd', '-c'), 'zstd22': packed(data, 'zstd', '-22', '--ultra', '-c'),
                'lz4': lz4, 'lz4 with its size': lz4 and lz4 + struct.pack('<I', len(data)),
                'lz4 in frames': packed(data, 'lz4', '-c')}

    def test_packed_kernels(self):
        im = image(say('k') + POWEROFF + os.urandom(100000))
        for name, data in self.packings(im).items():
            with self.subTest(name):
                if not data:
                    self.skipTest(f'there is no program that packs with {name}')
                for kernel in (data, zboot(name.split()[0].encode(), data)):
                    r = self.graft('run', self.path('kernel', kernel), '--vm', VM, '--memory', '32M')
                    self.assertEqual((r.returncode, r.stdout, r.stderr), (0, b'k', b''))

    def test_packed_elf(self):
        r = self.graft('run', self.path('kernel', lzma.compress(elf(say('k') + POWEROFF))), '--vm', VM, '--memory', '32M')
        self.assertEqual((r.returncode, r.stdout, r.stderr), (0, b'k', b''))

    def test_damaged_packed_kernels(self):
        im = image(POWEROFF + os.urandom(100000))
        for name, data in self.packings(im).items():
            with self.subTest(name):
                if not data:
                    self.skipTest(f'there is no program that packs with {name}')
                cut = data[:len(data) // 3]
                self.complains(1, ['run', self.path('kernel', cut), '--vm', VM, '--memory', '32M'], 'kernel', 'cut off or corrupt')

    def test_a_bomb_is_bounded_by_memory(self):
        for name, data in self.packings(bytes(40 << 20)).items():
            with self.subTest(name):
                if not data:
                    self.skipTest(f'there is no program that packs with {name}')
                self.complains(1, ['run', self.path('kernel', data), '--vm', VM, '--memory', '32M'], 'larger than the guest')

    def test_what_is_packed_is_judged(self):
        for data, part in ((b'070701' + bytes(100), 'a cpio archive, not a kernel. Did you mean --initrd'),
                           (gzip.compress(b'x'), 'no kernel that is known'), (b'', 'empty')):
            self.complains(1, ['run', self.path('kernel', gzip.compress(data)), '--vm', VM], 'what is packed in it (gzip)', part)

    def test_what_is_not_a_kernel_is_not_run(self):
        ext4 = bytearray(4096)
        ext4[1080:1082] = b'\x53\xef'
        bzimage = bytearray(4096)
        bzimage[0x1fe:0x200], bzimage[0x202:0x206] = b'\x55\xaa', b'HdrS'
        iso = bytearray(40000)
        iso[32769:32774] = b'CD001'
        btrfs = bytearray(70000)
        btrfs[0x10040:0x10048] = b'_BHRfS_M'
        efi = b'MZ' + bytes(58) + struct.pack('<I', 64) + b'PE\0\0' + bytes(100)
        interp = elf(POWEROFF)
        interp = interp[:64] + struct.pack('<I', 3) + interp[68:]
        cases = {'disk.qcow2': (b'QFI\xfb' + bytes(500), 'a qcow2 disk, not a kernel. Did you mean --drive {}?'),
                 'disk.vmdk': (b'KDMV' + bytes(500), 'VMDK', '--drive {}?'),
                 'disk.vhdx': (b'vhdxfile' + bytes(500), 'VHDX', '--drive {}?'),
                 'disk.vdi': (bytes(64) + b'\x7f\x10\xda\xbe' + bytes(500), 'VDI', '--drive {}?'),
                 'root.img': (ext4, 'ext4 file system', '--drive {}?'), 'dvd.iso': (iso, 'ISO 9660', '--drive {}?'),
                 'btrfs.img': (btrfs, 'Btrfs', '--drive {}?'),
                 'mbr.img': (bytes(510) + b'\x55\xaa' + bytes(5000), 'boot sector', '--drive {}?'),
                 'bzImage': (bzimage, 'Linux kernel for x86'), 
                 'initrd': (b'070701' + bytes(200), 'cpio', '--initrd {}?'),
                 'virt.dtb': (b'\xd0\x0d\xfe\xed' + bytes(200), 'device tree', '--dtb {}?'),
                 'grub.efi': (efi, 'EFI program'), 'passwd': (b'root:x:0:0:root:/root:/bin/bash\n', 'text'),
                 'Image.lzo': (b'\x89LZO\0\r\n\x1a\n' + bytes(99), 'lzop'), 'zeros': (bytes(100000), 'zeros'),
                 'sh': (elf(POWEROFF, machine=62), 'x86-64'),
                 'ls': (interp, 'a program for AArch64 Linux'), 'noise': (os.urandom(5000), '--flat'),
                 'guest': (POWEROFF, '--flat'), 'kernel.qcow2.bin': (b'QFI\xfb' + bytes(500), 'qcow2')}
        for name, (data, *parts) in cases.items():
            with self.subTest(name):
                path = self.path(name, data)
                self.complains(1, ['run', path], path + ': ', *(part.format(path) for part in parts))

    def test_guests_are_told_apart(self):
        image = words(0x6f, 0) + bytes(40) + b'RISCV\0\0\0' + b'RSC\x05' + bytes(100)
        for name, data in {'Image': image, 'Image.gz': gzip.compress(image), 'elf': elf(POWEROFF, machine=243)}.items():
            path = self.path(name, data)
            self.complains(1, ['run', path, '--guest', 'arm64'], path + ': ', 'RISC-V', 'AArch64')
            for option in (['--gic', '2'], ['--cpu', 'cortex-a72']):
                what = ' '.join(option) if option[0] == '--cpu' else option[0]
                self.complains(1, ['run', path, *option], what + ' is not for riscv64 guests')
        path = self.path('arm', elf(POWEROFF))
        self.complains(1, ['run', path, '--cpu', 'rv64'], '--cpu rv64 is not for arm64 guests')
        self.complains(1, ['run', path, '--guest', 'riscv64'], path + ': ', 'an ELF file for AArch64, not a kernel for RISC-V')
        self.complains(2, ['run', path, '--guest', 'vax'], '--guest')

    def test_what_is_large_is_judged_by_its_head(self):
        disk = self.path('disk', b'QFI\xfb')
        os.truncate(disk, 1 << 40)
        self.complains(1, ['run', disk], 'a qcow2 disk')

    def test_flat(self):
        for data in (say('f') + POWEROFF, say('f') + POWEROFF + bytes(488) + b'\x55\xaa'):
            r = self.graft('run', self.path('guest', data), '--vm', VM, '--flat')
            self.assertEqual((r.returncode, r.stdout, r.stderr), (0, b'f', b''))

    def test_a_wait_for_a_kernel_can_be_ended(self):
        for name in ('kernel', 'initrd'):
            fifo, kernel = self.path('fifo'), self.path('k.bin', POWEROFF)
            os.mkfifo(fifo)
            args = [fifo] if name == 'kernel' else [kernel, '--initrd', fifo]
            for writer in (False, True):
                p = subprocess.Popen([GRAFT, 'run', *args, '--vm', VM], stdin=subprocess.DEVNULL)
                fd = os.open(fifo, os.O_WRONLY) if writer else -1
                time.sleep(0.2)
                p.send_signal(signal.SIGINT)
                self.assertEqual(p.wait(10), 128 + signal.SIGINT)
                if writer:
                    os.close(fd)
            os.unlink(fifo)

    def test_a_guest_from_a_pipe_can_reset(self):
        """One that came out of a pipe, which cannot be read again."""
        p = subprocess.Popen([GRAFT, 'run', '/dev/stdin', '--flat', '--vm', VM, '--serial', 'file:' + self.path('out')],
                             stdin=subprocess.PIPE)
        p.stdin.write(say('r') + RESET)
        p.stdin.close()
        deadline = time.monotonic() + 20
        while time.monotonic() < deadline and p.poll() is None:
            with contextlib.suppress(FileNotFoundError), open(self.path('out'), 'rb') as f:
                if len(f.read()) >= 3:
                    break
            time.sleep(0.05)
        p.terminate()
        p.wait(10)
        with open(self.path('out'), 'rb') as f:
            self.assertEqual(f.read()[:3], b'rrr')

    def resetting(self, *args):
        """A guest that says r and resets, for ever, from a kernel that is not in memory; it has done so once."""
        kernel = self.path('kernel', image(say('r') + RESET + bytes(200000)))
        p = subprocess.Popen([GRAFT, 'run', kernel, '--vm', VM, '--memory', '32M', *args], stdin=subprocess.DEVNULL,
                             stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        self.addCleanup(p.kill)
        self.assertEqual(p.stdout.read(2), b'rr')
        return kernel, p

    def test_a_reset_finds_the_kernel_as_it_is(self):
        kernel, p = self.resetting()
        with open(kernel, 'r+b', buffering=0) as f:
            f.write(image(say('n') + POWEROFF + bytes(200000))[:1000])
        out, err = p.communicate(timeout=20)
        self.assertEqual((p.returncode, out.lstrip(b'r'), err), (0, b'n', b''))

    def test_a_reset_finds_the_file_that_was_opened(self):
        kernel, p = self.resetting()
        os.rename(self.path('other', image(say('n') + POWEROFF + bytes(200000))), kernel)
        self.assertEqual(p.stdout.read(50), b'r' * 50)
        p.terminate()
        self.assertEqual(p.wait(10), 128 + signal.SIGTERM)
        p.stdout.close()
        p.stderr.close()

    def test_a_reset_without_all_of_a_file(self):
        initrd = self.path('initrd', os.urandom(300000))
        for victim in (None, initrd):
            kernel, p = self.resetting('--initrd', initrd)
            os.truncate(victim or kernel, 150000)
            out, err = p.communicate(timeout=20)
            self.assertEqual((p.returncode, out.strip(b'r')), (1, b''))
            self.assertIn(f'{victim or kernel}: cannot be read, or has become shorter'.encode(), err)
            self.assertEqual(err.count(b'\n'), 1, err)

    def test_bad_kernels(self):
        bad = {'empty': b'', 'gzip': b'\x1f\x8b' + bytes(40), 'elf-short': b'\x7fELF', 'elf-x86': elf(POWEROFF, machine=62),
               'elf-outside': elf(POWEROFF, paddr=0x1000), 'elf-wrap': elf(POWEROFF, paddr=0xfffffffffffff000),
               'elf-truncated': elf(POWEROFF, filesz=1 << 40), 'image-be': image(POWEROFF, flags=1),
               'image-64k': image(POWEROFF, flags=6), 'image-far': image(POWEROFF, text_offset=1 << 63),
               'zboot-short': b'MZ\0\0zimg' + bytes(8),
               'zboot': b'MZ\0\0zimg' + struct.pack('<IIII', 64, 1 << 30, 0, 0) + b'gzip' + bytes(60)}
        for name, data in bad.items():
            self.complains(1, ['run', self.path(name, data), '--vm', VM, '--memory', '32M'], name)

    def test_firmware_that_is_empty(self):
        """QEMU, too, refuses such a flash bank; but the one that firmware writes to begins like that."""
        empty, guest = self.path('empty', b''), self.path('k', POWEROFF)
        for args in (['--bios', empty], ['--pflash', empty], ['--pflash', empty + ',ro'], ['--guest', 'riscv64', '--bios', empty],
                     ['--guest', 'riscv64', '--pflash', empty], [guest, '--flat', '--guest', 'riscv64', '--bios', empty], [guest, '--pflash', empty]):
            self.complains(1, ['run', *args, '--vm', VM], empty, 'an empty file')
        code = self.path('code', POWEROFF)
        for args in (['--bios', code, '--pflash', empty], ['--pflash', code, '--pflash', empty]):
            r = self.graft('run', *args, '--vm', VM)
            self.assertEqual((r.returncode, r.stderr), (0, b''))

    def test_huge_file_is_not_read(self):
        huge = self.path('huge', b'')
        os.truncate(huge, 1 << 40)
        start = time.monotonic()
        self.complains(1, ['run', huge, '--vm', VM, '--memory', '64G', '--flat'], huge, 'larger')
        self.complains(1, ['run', self.path('k.bin', POWEROFF), '--vm', VM, '--initrd', huge], huge, 'larger')
        self.assertLess(time.monotonic() - start, 5)

    def test_long_name_keeps_the_reason(self):
        self.complains(1, ['run', '/none/' + 'a' * 200 + '/' + 'b' * 200], 'No such file')


if __name__ == '__main__':
    unittest.main(argv=[sys.argv[0]] + sys.argv[2:])
