#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
# Copyright The Graft Authors
"""Debian's firmware for QEMU's virt: U-Boot boots Debian's kernel from a disk, EDK2 reaches its shell, and what both keep in flash is there
the next time. On RISC-V, OpenSBI starts the kernel, or U-Boot, which boots it from a disk, or EDK2.

usage: test_firmware.py GRAFT BUILD [TEST]...    BUILD: the folder with firmware/ and guest/
"""

import os
import re
import select
import shutil
import subprocess
import sys
import tempfile
import time
import unittest

GRAFT, BUILD = sys.argv[1:3]
FIRMWARE, GUEST = os.path.join(BUILD, 'firmware'), os.path.join(BUILD, 'guest', 'bookworm')
RISCV_FIRMWARE, RISCV_GUEST = os.path.join(FIRMWARE, 'riscv64'), os.path.join(BUILD, 'guest', 'riscv64')
CHECK = 'graft.script=check graft.smp=1 graft.quick=1'
SECONDS = 240  # far more than anything here takes
FIRST_SECTOR = 2048


class Machine:
    """A run of graft whose console is read and typed on."""

    def __init__(self, *args):
        self.process = subprocess.Popen([GRAFT, 'run', *args], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                        stderr=subprocess.STDOUT)
        self.text, self.seen, self.end = '', 0, time.monotonic() + SECONDS

    def expect(self, *patterns):
        """Waits for the first of them behind what was found before; its number."""
        while True:
            plain = re.sub(r'\x1b\[[0-9;?]*[A-Za-z]|\r', '', self.text)
            found = [(m.start(), n, m.end()) for n, p in enumerate(patterns) for m in [re.compile(p).search(plain, self.seen)] if m]
            if found:
                _, n, self.seen = min(found)
                return n
            left = self.end - time.monotonic()
            if left <= 0 or not select.select([self.process.stdout], [], [], left)[0]:
                raise AssertionError(f'no {patterns} in:\n{plain[-3000:]}')
            data = os.read(self.process.stdout.fileno(), 65536)
            if not data:
                raise AssertionError(f'the end, and no {patterns} in:\n{plain[-3000:]}')
            self.text += data.decode(errors='replace')

    def type(self, text):
        self.process.stdin.write(text.encode())
        self.process.stdin.flush()

    def command(self, text, prompt):
        """What a command prints."""
        start = self.seen
        self.type(text + '\r')
        self.expect(re.escape(text))
        self.expect(prompt)
        return re.sub(r'\x1b\[[0-9;?]*[A-Za-z]|\r', '', self.text)[start:self.seen]

    def stop(self):
        self.process.terminate()
        self.process.stdin.close()
        self.process.stdout.read()
        self.process.wait(30)
        self.process.stdout.close()


class Firmware(unittest.TestCase):
    def setUp(self):
        self.dir = tempfile.mkdtemp(prefix='graft-firmware.')
        self.machines = []

    def tearDown(self):
        for machine in self.machines:
            machine.stop()
        shutil.rmtree(self.dir)

    def machine(self, *args):
        self.machines.append(Machine(*args))
        return self.machines[-1]

    def path(self, name):
        return os.path.join(self.dir, name)

    def disk(self, guest=GUEST, kernel='Image', console='ttyAMA0'):
        """A disk with one partition, which holds a kernel and what U-Boot needs to find it."""
        root, file_system, disk = self.path('root'), self.path('partition'), self.path('disk')
        os.makedirs(os.path.join(root, 'extlinux'))
        shutil.copy(os.path.join(guest, kernel), os.path.join(root, 'Image'))
        shutil.copy(os.path.join(guest, 'initrd.gz'), root)
        with open(os.path.join(root, 'extlinux', 'extlinux.conf'), 'w', encoding='ascii') as f:
            f.write('default graft\ntimeout 1\nlabel graft\n kernel /Image\n initrd /initrd.gz\n'
                    f' append console={console} {CHECK}\n')
        subprocess.run(['mkfs.ext4', '-q', '-d', root, '-O', '^metadata_csum,^64bit', file_system, '128M'], check=True)
        with open(disk, 'wb') as f, open(file_system, 'rb') as part:
            entry = bytes([0x80, 0, 0, 0, 0x83, 0, 0, 0]) + FIRST_SECTOR.to_bytes(4, 'little') + (128 << 11).to_bytes(4, 'little')
            f.write(bytes(446) + entry + bytes(48) + b'\x55\xaa')
            f.seek(FIRST_SECTOR * 512)
            shutil.copyfileobj(part, f)
        return disk

    def u_boot(self, *args):
        machine = self.machine('--bios', os.path.join(FIRMWARE, 'u-boot.bin'), *args)
        machine.expect('U-Boot 20')
        machine.expect('Hit any key')
        machine.type(' ')
        machine.expect('=> ')
        return machine

    def boot_from_disk(self, *args):
        machine = self.u_boot('--drive', self.disk(), *args)
        machine.command('virtio scan', '=> ')
        self.assertIn('Image', machine.command('ls virtio 0:1 /', '=> '))
        self.assertIn('Bank # 1', machine.command('flinfo', '=> '))
        machine.type('boot\r')
        machine.expect('Linux version')
        machine.expect('CHECK uname ok')
        machine.expect('Power down')

    def test_u_boot(self):
        self.boot_from_disk()

    def test_u_boot_legacy_smp(self):
        self.boot_from_disk('--virtio-mmio', 'legacy', '--gic', '2', '--smp', '2')

    def test_u_boot_environment(self):
        """It is in the second bank, and stays there."""
        flash = self.path('flash')
        with open(flash, 'wb'):
            pass
        for n in range(2):
            machine = self.u_boot('--pflash', flash)
            self.assertEqual('bird=wren' in machine.command('printenv', '=> '), n == 1)
            machine.command('setenv bird wren', '=> ')
            self.assertIn('OK', machine.command('saveenv', '=> '))
            machine.type('reset\r')
            machine.expect('U-Boot 20')  # and it starts anew, from flash
            machine.expect('Hit any key')
            machine.type(' ')
            machine.expect('=> ')
            self.assertIn('bird=wren', machine.command('printenv', '=> '))
            machine.stop()
            self.machines.remove(machine)

    def edk2_keeps_variables(self, folder, *args):
        variables = self.path('vars')
        shutil.copy(os.path.join(folder, 'efi-vars.fd'), variables)
        with open(variables, 'rb') as f:
            before = f.read()
        machine = self.machine('--pflash', os.path.join(folder, 'efi-code.fd') + ',ro', '--pflash', variables, '--smp', '2', *args)
        machine.expect('(UEFI|EDK2) firmware')
        machine.expect('Shell> ')
        self.assertIn('UEFI v2', machine.command('ver', 'Shell> '))
        machine.command('setvar wren -guid 12345678-1234-1234-1234-123456789abc -nv -bs =0x77', 'Shell> ')
        machine.type('reset\r')
        machine.expect('Shell> ')
        self.assertIn('77', machine.command('setvar wren -guid 12345678-1234-1234-1234-123456789abc', 'Shell> '))
        with open(variables, 'rb') as f:
            self.assertNotEqual(f.read(), before)

    def test_edk2(self):
        self.edk2_keeps_variables(FIRMWARE)

    def test_edk2_riscv(self):
        """EDK2 in supervisor mode, on the SBI in the engine."""
        self.edk2_keeps_variables(RISCV_FIRMWARE, '--guest', 'riscv64')

    def test_edk2_riscv_opensbi_kernel(self):
        """OpenSBI starts EDK2 in flash, and that the kernel, which it gets from fw_cfg."""
        machine = self.riscv('fw_dynamic.bin', os.path.join(RISCV_GUEST, 'vmlinuz'), '--initrd', os.path.join(RISCV_GUEST, 'initrd.gz'),
                             '--append', 'console=ttyS0 ' + CHECK, '--pflash', os.path.join(RISCV_FIRMWARE, 'efi-code.fd') + ',ro')
        machine.expect('OpenSBI v1')
        machine.expect('EDK2 firmware')
        machine.expect('EFI stub: Booting Linux')
        machine.expect('CHECK uname ok')
        machine.expect('Power down')

    def test_riscv_flash(self):
        """Without firmware in RAM machine mode starts in flash: csrr a0, mhartid, and the power off."""
        flash = self.path('flash')
        with open(flash, 'wb') as f:
            for word in 0xf1402573, 0x001002b7, 0x00005337, 0x55530313, 0x0062a023, 0x0000006f:
                f.write(word.to_bytes(4, 'little'))
        machine = self.machine('--guest', 'riscv64', '--bios', 'none', '--pflash', flash + ',ro')
        self.assertEqual(machine.process.wait(SECONDS), 0)

    def test_edk2_kernel(self):
        """EDK2 gets the kernel from fw_cfg."""
        machine = self.machine('--bios', os.path.join(FIRMWARE, 'efi-code.fd'), os.path.join(GUEST, 'Image'), '--initrd',
                               os.path.join(GUEST, 'initrd.gz'), '--append',
                               'console=ttyAMA0 ' + CHECK)
        machine.expect('EFI stub: Booting Linux')
        machine.expect('CHECK uname ok')
        machine.expect('Power down')

    def riscv(self, bios, *args):
        return self.machine('--guest', 'riscv64', '--bios', os.path.join(RISCV_FIRMWARE, bios), *args)

    def opensbi(self, bios, *args):
        machine = self.riscv(bios, os.path.join(RISCV_GUEST, 'vmlinuz'), '--initrd', os.path.join(RISCV_GUEST, 'initrd.gz'),
                             '--append', 'console=ttyS0 ' + CHECK, *args)
        machine.expect('OpenSBI v1')
        machine.expect('Domain0 Next Mode +: S-mode')
        machine.expect('SBI implementation ID=0x1 ')
        machine.expect('CHECK uname ok')
        machine.expect('Power down')

    def test_opensbi(self):
        self.opensbi('fw_dynamic.bin', '--mmu', 'soft')

    def test_opensbi_process(self):
        self.opensbi('fw_jump.bin', '--mmu', 'process')

    def sees_the_disk(self, machine):
        """U-Boot, at its prompt."""
        machine.expect('U-Boot 20')
        machine.expect('Hit any key')
        machine.type(' ')
        machine.expect('=> ')
        machine.command('virtio scan', '=> ')
        self.assertIn('Image', machine.command('ls virtio 0:1 /', '=> '))

    def test_opensbi_u_boot(self):
        """U-Boot in supervisor mode, as OpenSBI's kernel, boots the kernel from the disk."""
        machine = self.riscv('fw_dynamic.bin', os.path.join(RISCV_FIRMWARE, 'u-boot-s.bin'), '--drive',
                             self.disk(RISCV_GUEST, 'vmlinuz', 'ttyS0'))
        machine.expect('OpenSBI v1')
        self.sees_the_disk(machine)
        machine.type('boot\r')
        machine.expect('Linux version')
        machine.expect('CHECK uname ok')
        machine.expect('Power down')

    def test_u_boot_machine(self):
        """U-Boot in machine mode, where it is the first to run."""
        machine = self.riscv('u-boot-m.bin', '--smp', '2', '--drive', self.disk(RISCV_GUEST, 'vmlinuz', 'ttyS0'))
        self.sees_the_disk(machine)
        self.assertIn('virt', machine.command('fdt addr $fdtcontroladdr; fdt print / model', '=> '))
        machine.type('poweroff\r')
        self.assertEqual(machine.process.wait(SECONDS), 0)


if __name__ == '__main__':
    riscv = any('riscv' in name or 'opensbi' in name or 'machine' in name for name in sys.argv[3:])
    for needed in ([os.path.join(RISCV_FIRMWARE, 'efi-code.fd'), os.path.join(RISCV_GUEST, 'vmlinuz')] if riscv else
                   [os.path.join(FIRMWARE, 'u-boot.bin'), os.path.join(GUEST, 'Image')]):
        if not os.path.exists(needed):
            print(f'SKIPPED: no {needed}: run scripts/fetch-firmware and scripts/fetch-guest')
            sys.exit(77)
    if not shutil.which('mkfs.ext4'):
        print('SKIPPED: no mkfs.ext4')
        sys.exit(77)
    unittest.main(argv=[sys.argv[0], *sys.argv[3:]])
