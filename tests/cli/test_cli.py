#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
# Copyright The Graft Authors
"""The command line of graft: usage errors, exit status, files, terminal and signals.

usage: test_cli.py GRAFT [TEST]...
"""

import contextlib
import ctypes
import errno
import glob
import json
import os
import pty
import re
import select
import shutil
import signal
import struct
import subprocess
import sys
import termios
import time
import unittest

from guest import GRAFT, KVM, POWEROFF, RESET, SPIN, VM, WFI_LOOP, GraftTest, say, words

SYS_TGKILL = 234  # of x86-64


def strategies():
    """Name and the rest of its line, for each memory strategy that 'graft info' lists."""
    text = subprocess.run([GRAFT, 'info'], capture_output=True, text=True, timeout=30, check=True).stdout
    rows = [line.split(maxsplit=1) for line in text[text.index('strategies') + len('strategies'):].splitlines()]
    return dict(rows)


def without(number, *conditions):
    """For preexec_fn: a process for which that system call fails with EACCES, if its arguments are so: (index, BPF jump, operand)."""
    def statement(code, operand, otherwise=0):
        return struct.pack('<HBBI', code, 0, otherwise, operand)
    tests = [(0, 0x15, number)] + [(16 + 8 * index, jump, operand) for index, jump, operand in conditions]
    code = b''
    for n, (at, jump, operand) in enumerate(tests):
        code += statement(0x20, at) + statement(jump, operand, 2 * (len(tests) - n) - 1)
    code += statement(6, 0x00050000 | errno.EACCES) + statement(6, 0x7fff0000)
    text = ctypes.create_string_buffer(code, len(code))
    program = ctypes.create_string_buffer(struct.pack('<HxxxxxxQ', len(code) // 8, ctypes.addressof(text)))
    libc = ctypes.CDLL(None)

    def install(kept=text):
        if libc.prctl(38, 1, 0, 0, 0) or libc.prctl(22, 2, program, 0, 0):  # no new privileges, filter
            raise OSError('no filter')
    return install


def own_threads(pid):
    """A process's threads, but for KVM's worker (kvm-nx-lpage-recovery), which is the kernel's and gets no signal."""
    threads = []
    for thread in os.listdir(f'/proc/{pid}/task'):
        with open(f'/proc/{pid}/task/{thread}/comm', encoding='utf-8') as comm:
            if not comm.read().startswith('kvm-'):
                threads.append(int(thread))
    return sorted(threads)


class Cli(GraftTest):
    # --- usage ---
    def test_usage_errors(self):
        cases = [[], ['fly'], ['run'], ['run', 'a', 'b'], ['run', 'a', '--what'], ['run', 'a', '--memory'],
                 ['run', 'a', '--a-very-long-option-that-does-not-exist', '1'], ['info', 'x'], ['run', 'a', '-x'],
                 ['run', 'a', '--dtb', 'x', '--dump-dtb', 'y'], ['run', 'a', '--console', 'stdio'],
                 ['run', 'a', '--vm', 'kvm', '--mmu', 'process'],
                 ['run', '--pflash', 'a', '--pflash', 'b', '--pflash', 'c'],
                 ['run', '--bios', 'a', '--pflash', 'b', '--pflash', 'c'], ['run', 'a', '--vsock', '3'], ['run', 'a', '--vsock', '2,unix:x'],
                 ['run', 'a', '--vsock', '3,unix:'], ['run', 'a', '--vsock', '3,unix:' + 97 * 'x'], ['run', 'a', '--vsock', '4294967295,unix:x'],
                 ['run', 'a', '--share', 'x=/tmp', '--share', 'x=/usr'],
                 ['help', 'x'], ['--version', 'x']]
        for option, values in {'--memory': ['', '0', '1', '-1', '1T', '65G', '99999999999999999999', '1G1'],
                               '--smp': ['0', '9', '1x', ''], '--mmu': ['hard'], '--gic': ['1', '4', '33'],
                               '--cpu': ['cortex-z1'], '--serial': ['tcp:1', 'file:'], '--net': ['tap', 'tap,ifname=', 'tap,ifname=a/b', 'tap,ifname=' + 16 * 'x', 'passt,x', 'user,', 'user,x', 'user,restrict=maybe', 'user,ipv4=off,ipv6=off', 'user,hostfwd=', 'user,hostfwd=tcp::22',
                                         'user,hostfwd=tcp::0-:22', 'user,hostfwd=tcp::22-:65536', 'user,hostfwd=tcp:x:22-:22',
                                         'user,hostfwd=sctp::22-:22', 'user,hostfwd=tcp::22-:22x', 'user' + 17 * ',hostfwd=::1-:1'],
                               '--drive': ['x,format=vmdk', 'x,format=,ro'], '--vm': ['xen'],
                               '--code': ['', 'wx'], '--virtio-mmio': ['', 'old'],
                               '--fw-cfg': ['', 'opt/x', 'name=', 'name=opt/x', 'name=opt/x,', 'name=opt/x,file=', 'name=,string=x',
                                            'name=opt/x,other=y', 'name=' + 56 * 'x' + ',string=y'],
                               '--share': ['', 'x', 'x=', '=/tmp', 37 * 'x' + '=/tmp'],
                               '-d': ['everything'], '--stats': ['', ',count'],
                               '--dump-filter': ['', 'x', '1..', '2..1', '..1', '1,2', '-1']}.items():
            cases += [['run', 'a', option, v] for v in values]
        for args in cases:
            self.complains(2, args)

    def test_usage_error_names_what_is_wrong(self):
        self.complains(2, ['run', 'a', '--smp=12'], '--smp', '12')
        self.complains(2, ['run', 'a', '--frob'], '--frob')
        self.complains(2, ['run', 'a', '--layout', 'round'], '--layout', 'flat or ring0')
        self.complains(2, ['run', 'a', '--layout', 'ring0', '--mmu', 'soft'], '--layout ring0', '--mmu soft')
        self.complains(2, ['run', 'a', '--layout', 'ring0', '--vm', 'inproc'], '--layout ring0', '--vm kvm')
        self.complains(2, ['run', 'a', '--mmu', 'direct', '--vm', 'inproc'], '--mmu direct', '--vm kvm')
        self.complains(2, ['run', 'a', '--mmu', 'direct', '--layout', 'flat'], '--mmu direct', '--layout ring0')

    def test_options_of_others_name_ours(self):
        for option, part in {'-m': '--memory SIZE', '--mem': '--memory SIZE', '-smp': '--smp N', '-c': '--smp N',
                             '-kernel': 'graft run KERNEL', '-append': '--append STRING', '-p': '--append STRING',
                             '-initrd': '--initrd FILE', '-i': '--initrd FILE', '-drive': '--drive FILE[,format=',
                             '-nographic': '--serial stdio', '-M': 'virt', '-cpu': '--cpu MODEL', '-net': '--net user[,OPTIONS]|tap,ifname=NAME|passt|none',
                             '--mem=512': '--memory SIZE', '--network': '--net user'}.items():
            self.complains(2, ['run', 'a', option, '1'], f"'{option}': here that is ", part)
        self.complains(2, ['run', 'a', '-d', 'disk.img'], 'a list of unimp', '--drive FILE')
        self.complains(2, ['info', '-m'], "unknown argument '-m'")

    @unittest.skipIf(KVM, 'there is a /dev/kvm here')
    def test_without_kvm_it_is_said_what_there_is(self):
        guest = self.path('k.bin', POWEROFF)
        self.complains(1, ['run', guest, '--vm', 'kvm', '--mmu', 'window'], '/dev/kvm', '--vm inproc', 'soft', 'process', 'window')
        self.complains(1, ['run', guest, '--layout', 'ring0'], '--layout ring0', '/dev/kvm')
        self.complains(1, ['run', guest, '--mmu', 'direct'], '--mmu direct', '/dev/kvm')
        r = subprocess.run(['bash', '-c', 'ulimit -v 80000000; "$@"', 'bash', GRAFT, 'run', guest, '--mmu', 'window'],
                           capture_output=True, text=True, timeout=30, check=False)
        self.assertEqual((r.returncode, r.stderr.count('\n')), (1, 1), r.stderr)
        for part in ('--mmu window', 'address space', '--mmu soft'):
            self.assertIn(part, r.stderr)

    def test_help(self):
        for args in (['--help'], ['-h'], ['help'], ['run', '--help'], ['info', '--help'], ['help', 'run'], ['--version']):
            r = self.graft(*args)
            self.assertEqual((r.returncode, r.stderr), (0, b''), args)
            self.assertTrue(r.stdout)
        self.assertIn(b'--drive', self.graft('help', 'run').stdout)
        screen = self.graft('--help').stdout.decode().splitlines()
        self.assertTrue(len(screen) <= 24 and max(map(len, screen)) < 80, screen)

    def test_share_without_one_who_serves_it(self):
        guest = self.path('k.bin', POWEROFF)
        for server, parts in {self.path('none'): ('none', 'cannot be run'), '/bin/false': ('/bin/false', 'cannot be run'),
                              '/bin/true': ('/bin/true', 'vhost-user')}.items():
            os.environ['GRAFT_VIRTIOFSD'] = server
            self.complains(1, ['run', guest, '--vm', VM, '--share', 'x=' + self.dir], *parts)
        self.complains(1, ['run', guest, '--vm', VM, '--share', 'x=' + self.path('none')], 'none', 'No such file')
        self.complains(1, ['run', guest, '--vm', VM, '--share', 'x=' + guest], 'k.bin', 'Not a directory')
        del os.environ['GRAFT_VIRTIOFSD']

    # --- files ---
    def test_missing_files(self):
        kernel = self.path('k.bin', POWEROFF)
        none = self.path('none')
        self.complains(1, ['run', none], none, 'No such file')
        for option in ('--initrd', '--dtb', '--drive'):
            self.complains(1, ['run', kernel, '--vm', VM, option, none], none)
        self.complains(1, ['run', kernel, '--serial', 'file:/none/x'], '/none/x')
        self.complains(1, ['run', self.dir])

    def test_bad_dtb(self):
        kernel = self.path('k.bin', POWEROFF)
        for data in (b'', b'x' * 100, b'\xd0\x0d\xfe\xed' + b'\xff' * 60):
            self.complains(1, ['run', kernel, '--vm', VM, '--dtb', self.path('dtb', data)], 'dtb')

    def test_initrd_too_large(self):
        self.complains(1, ['run', self.path('k.bin', POWEROFF), '--vm', VM, '--memory', '32M',
                           '--initrd', self.path('i', bytes(20 << 20))])

    def test_dump_dtb(self):
        tree = self.path('tree')
        r = self.graft('run', '--dump-dtb', tree, '--append', 'hello')
        self.assertEqual((r.returncode, r.stderr), (0, b''))
        with open(tree, 'rb') as f:
            data = f.read()
        self.assertEqual(data[:4], b'\xd0\x0d\xfe\xed')
        for name in (b'intc@8000000', b'pl011@9000000', b'virtio_mmio@a003e00', b'hello\0', b'arm,gic-v3\0'):
            self.assertIn(name, data)
        self.assertEqual(self.run_guest(POWEROFF, '--dtb', tree, '--append', 'changed').returncode, 0)

    # --- guests ---
    def test_serial_file(self):
        out = self.path('out')
        r = self.run_guest(say('f') + POWEROFF, '--serial', 'file:' + out)
        self.assertEqual((r.returncode, r.stdout), (0, b''))
        with open(out, 'rb') as f:
            self.assertEqual(f.read(), b'f')

    def test_serial_pty(self):
        p = self.start(say('p') + SPIN, '--serial', 'pty', '-D', self.path('log'), stdin=subprocess.DEVNULL, stderr=subprocess.PIPE)
        line = p.stderr.readline().decode()
        self.assertIn('/dev/pts/', line)
        fd = os.open(line.split()[-1], os.O_RDWR | os.O_NOCTTY)
        self.assertEqual(os.read(fd, 1), b'p')
        os.close(fd)
        p.terminate()
        self.assertEqual(p.wait(10), 128 + signal.SIGTERM)
        p.stderr.close()

    def test_stats(self):
        stats = self.path('stats')
        self.assertEqual(self.run_guest(POWEROFF, '--stats', stats).returncode, 0)
        with open(stats, encoding='ascii') as f:
            s = json.load(f)
        self.assertGreater(s['total']['insns_translated'], 2)
        self.assertEqual(len(s['vcpu']), 1)

    def ticks_of(self, p):
        """The processor time of a process."""
        with open(f'/proc/{p.pid}/stat', encoding='ascii') as f:
            return sum(map(int, f.read().rsplit(')', 1)[1].split()[11:13]))

    def wait_for_ticks(self, p, count):
        end = time.monotonic() + 60
        while self.ticks_of(p) < count and time.monotonic() < end:
            time.sleep(0.1)

    def test_profile(self):
        profile = self.path('profile')
        p = self.start(say('p') + SPIN, '--profile', profile, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE)
        self.assertEqual(p.stdout.read(1), b'p')
        self.wait_for_ticks(p, 20)
        p.terminate()
        self.assertEqual(p.wait(10), 128 + signal.SIGTERM)
        with open(profile, encoding='ascii') as f:
            head, first = f.readline().split(), f.readline().split()
        self.assertGreater(int(head[1]), 20)
        self.assertEqual(first[3], 'code')  # the loop
        p.stdout.close()

    def profile_of_loop(self, *args):
        """Lines of the profile of a loop, with its functions by name."""
        profile, symbols = self.path('profile'), self.path('symbols', b'0000000040080000 T loop_forever\n')
        p = self.start(SPIN, '--profile', profile + ',folded', '--symbols', symbols, *args, stdin=subprocess.DEVNULL)
        self.wait_for_ticks(p, 20)
        p.terminate()
        p.wait(10)
        with open(profile, encoding='ascii') as f:
            return f.read().splitlines()

    def test_profile_names_functions_of_the_guest(self):
        lines = dict(line.rsplit(' ', 1) for line in self.profile_of_loop())
        self.assertGreater(int(lines['guest;loop_forever']), 20)
        self.assertEqual([name for name in lines if ';' not in name], [])

    def test_symbols_that_are_none(self):
        guest = self.path('k.bin', POWEROFF)
        for text in (b'', b'\x7fELF', b'hello\n', b'1000 d data\n'):
            self.complains(1, ['run', guest, '--vm', VM, '--symbols', self.path('symbols', text)], '--symbols', 'symbols:')
        self.complains(1, ['run', guest, '--vm', VM, '--symbols', '/none'], 'No such file')
        self.complains(1, ['run', guest, '--vm', VM, '--symbols', self.dir], 'Is a directory')

    def stats_of(self, code, *args):
        path = self.path('stats')
        r = self.run_guest(code, '--stats', path + ',count', *args)
        self.assertEqual((r.returncode, r.stderr), (0, b''))
        with open(path, encoding='ascii') as f:
            return json.load(f)

    def test_stats_count_instructions(self):
        n = 50000
        # mov x0, #n; loop: subs x0, x0, #1; b.ne loop
        total = self.stats_of(words(0xd2800000 | n << 5, 0xf1000400, 0x54ffffe1) + POWEROFF)['total']
        self.assertEqual(total['insns_executed'], 1 + 2 * n + 3)
        self.assertLessEqual(n, total['blocks_executed'])
        self.assertLess(total['blocks_executed'], n + 8)
        for name in ('seconds_code', 'seconds_engine', 'seconds_wait', 'seconds_monitor', 'seconds_translate'):
            self.assertGreaterEqual(total[name], 0, name)

    def test_stats_count_ticks(self):
        """What the engine does before its first dispatch and after its last is in one of the two only, and so is what others do then on its
        processor: not each time."""
        for _ in range(10):
            total = self.stats_of(words(0xd2a00140, 0xf1000400, 0x54ffffe1) + POWEROFF)['total'] # the same loop, 655360 times
            parts = total['ticks_code'] + total['ticks_engine']
            if abs(parts - total['ticks_total']) < 0.5 * total['ticks_total'] + 1e7:
                return
        self.fail(total)

    def test_stats_count_accesses(self):
        n = 50000
        # mov x0, #n; movz x1, #0x4010, lsl #16; loop: ldr x2, [x1]; subs x0, x0, #1; b.ne loop
        code = words(0xd2800000 | n << 5, 0xd2a80201, 0xf9400022, 0xf1000400, 0x54ffffc1) + POWEROFF
        for mmu in [name for name, about in strategies().items()
                    if 'needs --layout' not in about and (VM == 'inproc' or 'needs --vm inproc' not in about)]:
            total = self.stats_of(code, '--mmu', mmu)['total']
            # process has the probe of soft in code that is not hot, and that of window in code that is.
            counters = {'window': ['checks_passed', 'checks_table'], 'soft': ['tlb_hits']}
            fast = sum(total[c] for c in counters.get(mmu, sum(counters.values(), [])))
            self.assertLessEqual(fast, n, mmu)
            self.assertGreater(fast, n - 1000, mmu)
            self.assertLessEqual(n, fast + total['slow_accesses'], mmu)
            self.assertEqual(total['host_faults'], sum(total['host_faults_' + k]
                                                       for k in ('fill', 'code', 'device', 'abort')))

    def test_stats_count_jumps(self):
        n = 30000
        # mov x0, #n; loop: bl f; subs x0, x0, #1; b.ne loop; poweroff; f: ret
        code = words(0xd2800000 | n << 5, 0x94000006, 0xf1000400, 0x54ffffc1) + POWEROFF + words(0xd65f03c0)
        total = self.stats_of(code)['total']
        self.assertGreater(total['returns_predicted'], n - 100)
        self.assertLessEqual(total['returns_predicted'], n)
        self.assertLess(total['jump_cache_hits'], 100)

    def test_perf_map(self):
        p = self.start(say('p') + SPIN, '-d', 'perf', stdin=subprocess.DEVNULL, stdout=subprocess.PIPE)
        path = f'/tmp/perf-{p.pid}.map'
        self.assertEqual(p.stdout.read(1), b'p')
        self.ends(p)
        with open(path, encoding='ascii') as f:
            rows = [line.split() for line in f]
        os.unlink(path)
        self.assertEqual(rows[0][2], 'guest-40080000')
        spans = sorted((int(start, 16), int(start, 16) + int(size, 16)) for start, size, _ in rows)
        self.assertTrue(all(a[0] < a[1] <= b[0] for a, b in zip(spans, spans[1:])))

    def test_dump_filter(self):
        log = self.path('log')

        def dumped(*args):
            self.assertEqual(self.run_guest(code, '-d', 'in,ir,out', '-D', log, *args).returncode, 0)
            with open(log, encoding='utf-8') as f:
                return f.read()
        # b to the next page; there: mov x3, #7
        code = words(0x14000400) + words(*[0xd503201f] * 1023) + words(0xd28000e3) + POWEROFF
        everything = dumped()
        for part in ('IR translate', 'IR forward', 'IR dead', '000040080000', '000040081000'):
            self.assertIn(part, everything)
        one = dumped('--dump-filter', '40081000..40081003')
        self.assertIn('pc 0000000040081000', one)
        self.assertNotIn('pc 0000000040080000', one)
        self.assertEqual(dumped('--dump-filter', '0x1234'), '')

    def test_reset(self):
        p = self.start(say('r') + RESET, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE)
        seen = p.stdout.read(2)
        self.ends(p)
        self.assertEqual(seen, b'rr')

    def test_ctrl_a(self):
        for keys in (b'\x01x', b'abc\x01X'):
            r = self.run_guest(SPIN, stdin=keys)
            self.assertEqual(r.returncode, 0)

    def test_signals(self):
        for code in (SPIN, WFI_LOOP):
            for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
                p = self.start(say('s') + code, '--smp', '2', stdin=subprocess.DEVNULL, stdout=subprocess.PIPE)
                self.assertEqual(p.stdout.read(1), b's')
                p.send_signal(number)
                self.assertEqual(p.wait(10), 128 + number)
                p.stdout.close()

    # --- memory of translated code ---
    def mappings(self, *args):
        """Protection and name of each mapping of a running process that has translated code."""
        p = self.start(say('m') + SPIN, '--vm', 'inproc', '--smp', '2', *args, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE)
        self.assertEqual(p.stdout.read(1), b'm')
        with open(f'/proc/{p.pid}/maps', encoding='utf-8') as f:
            rows = [(line.split()[1], ' '.join(line.split()[5:])) for line in f]
        self.ends(p)
        return rows

    def test_code_is_not_writable_where_it_runs(self):
        for mmu in ('soft', 'process'):
            for args in ((), ('--code', 'split')):
                rows = self.mappings('--mmu', mmu, *args)
                self.assertEqual([row for row in rows if 'w' in row[0] and 'x' in row[0]], [])
                self.assertEqual([row for row in rows if 'x' in row[0] and not row[1]], [])
                self.assertEqual(sorted(row[0] for row in rows if 'memfd:code' in row[1]), ['r-xs', 'rw-s'])
            rows = self.mappings('--mmu', mmu, '--code', 'rwx')
            self.assertEqual([row[0] for row in rows if 'w' in row[0] and 'x' in row[0]], ['rwxp'])

    def test_a_host_that_forbids_such_code(self):
        guest = self.path('guest.bin', POWEROFF)
        equal, any_of, shared = 0x15, 0x45, 1
        memfd_create, mmap, mprotect = 319, 9, 10
        forbids_files = ('split', 'no file in memory', 'try --code rwx', 'rwx')
        for how, (code, why, hint, other) in (
                (without(memfd_create), forbids_files),
                (without(mmap, (2, equal, 5), (3, any_of, shared)), forbids_files),
                (without(mprotect, (2, equal, 7)), ('rwx', 'writable and executable', 'leave out --code rwx', 'split'))):
            def run(code, how=how):
                try:
                    return subprocess.run([GRAFT, 'run', guest, '--vm', 'inproc', '--mmu', 'soft', '--code', code],
                                          stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=30, check=False,
                                          preexec_fn=how)
                except subprocess.SubprocessError:
                    self.skipTest('this host lets a process filter no system calls')
            r = run(code)
            self.assertEqual((r.returncode, r.stderr.count('\n')), (1, 1), r.stderr)
            for part in (why, hint, os.strerror(errno.EACCES)):
                self.assertIn(part, r.stderr)
            r = run(other)
            self.assertEqual((r.returncode, r.stderr), (0, ''))

    def run_ns(self, p):
        """The same, exactly, of its threads and of its own processes."""
        children = subprocess.run(['ps', '-o', 'pid=', '--ppid', str(p.pid)], capture_output=True, text=True, check=False).stdout.split()
        total = 0
        for file in (f for pid in (p.pid, *children) for f in glob.glob(f'/proc/{pid}/task/*/schedstat')):
            with contextlib.suppress(FileNotFoundError), open(file, encoding='ascii') as f:
                total += int(f.read().split()[0])
        return total

    @unittest.skipUnless(os.path.exists('/proc/self/schedstat'), 'SKIP: this kernel does not say what threads use')
    def test_idle_uses_no_processor(self):
        """Less than half a percent of one."""
        p = self.start(say('i') + WFI_LOOP, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE)
        self.assertEqual(p.stdout.read(1), b'i')
        used = []
        while len(used) < 10 and min(used, default=1e9) > 5e6: # its start may take a while, beside others
            before = self.run_ns(p)
            time.sleep(1)
            used.append(self.run_ns(p) - before)
        self.ends(p)
        self.assertLessEqual(min(used), 5e6)

    # --- terminal ---
    def on_terminal(self, end):
        """Runs a guest on a pseudo-terminal, ends it by end(process, fd); the terminal has to be as it was."""
        master, slave = pty.openpty()
        before = termios.tcgetattr(slave)
        p = self.start(say('t') + SPIN, stdin=slave, stdout=slave, stderr=slave)
        self.assertTrue(select.select([master], [], [], 10)[0])
        self.assertEqual(os.read(master, 1), b't')
        self.assertFalse(termios.tcgetattr(slave)[3] & termios.ICANON)
        end(p, master)
        status = p.wait(10)
        after = termios.tcgetattr(slave)
        os.close(master)
        os.close(slave)
        self.assertEqual(before, after)
        return status

    def test_terminal_restored(self):
        self.assertEqual(self.on_terminal(lambda p, fd: os.write(fd, b'\x01x')), 0)
        self.assertEqual(self.on_terminal(lambda p, fd: p.terminate()), 128 + signal.SIGTERM)
        self.assertEqual(self.on_terminal(lambda p, fd: p.send_signal(signal.SIGSEGV)), -signal.SIGSEGV)
        self.assertEqual(self.on_terminal(lambda p, fd: p.send_signal(signal.SIGABRT)), -signal.SIGABRT)

    def test_terminal_restored_by_every_thread(self):
        """Each thread of the monitor has its own filter of system calls; whichever dies has to be able to do it."""
        def thread_dies(p, fd):
            threads = own_threads(p.pid)
            count.append(len(threads))
            self.assertEqual(ctypes.CDLL(None).syscall(SYS_TGKILL, p.pid, threads[len(count) - 1], signal.SIGABRT), 0)
        count = []
        while not count or len(count) < min(count):
            self.assertEqual(self.on_terminal(thread_dies), -signal.SIGABRT)
        self.assertGreater(min(count), 2)

    def test_info(self):
        r = self.graft('info')
        self.assertEqual((r.returncode, r.stderr), (0, b''))
        for part in (b'kvm', b'layout', b'window', b'soft'):
            self.assertIn(part, r.stdout)

    def test_probe(self):
        """One table for a process, on every host, behind one for a virtual machine where there can be one."""
        r = self.graft('info', '--probe')
        self.assertEqual((r.returncode, r.stderr), (0, b''))
        text = r.stdout.decode()
        self.assertEqual('operation in a virtual machine' in text, KVM)
        lines = text[text.index('operation in a process'):].splitlines()[1:]
        rows = dict(re.fullmatch(r'(\S.*?) {2,}(\S.*)', line).groups() for line in lines)
        answers = [name for name in rows if re.match('GS base|huge pages', name)]
        for name in answers:
            self.assertIn(rows[name], ('yes', 'no'), name)
        self.assertGreater(int(rows['vm.max_map_count']), 0)
        times = {name: rows[name] for name in rows if name not in answers and name != 'vm.max_map_count'}
        for name, cost in times.items():
            self.assertRegex(cost, r'^\d+\.\d\d us$', name)
            if name != 'first touch after MAP_POPULATE': # a few nanoseconds
                self.assertGreater(float(cost.split()[0]), 0, name)
        for part in ('getpid', 'ARCH_SET_GS', 'SIGSEGV and back', 'private page', 'shared mapping', '(MADV_POPULATE_WRITE), p',
                     '(MADV_POPULATE_WRITE), s', 'mmap(MAP_FIXED)', 'the same with MAP_POPULATE', 'after MAP_POPULATE',
                     'mprotect', 'MADV_DONTNEED', 'munmap', 'SIGSEGV, mmap'):
            self.assertEqual(len([name for name in times if part in name]), 1, part)
        self.assertEqual((len(times), len(answers)), (14, 3))

    @unittest.skipUnless('GRAFT_INPROC_STRATEGIES' in os.environ, 'without the lists in the environment')
    def test_every_strategy_has_tests(self):
        found = strategies()
        tested = {vm: set(os.environ[f'GRAFT_{vm}_STRATEGIES'].split()) for vm in ('KVM', 'INPROC', 'HW')}
        self.assertEqual(set(found), tested['KVM'] | tested['INPROC'] | tested['HW'])
        for name, about in found.items():
            if 'needs --vm inproc' in about:
                self.assertNotIn(name, tested['KVM'])

    def test_a_run_without_kvm_says_so_once(self):
        """And no more than once, though the guest resets the machine. With KVM, and where it was asked for: nothing."""
        p = subprocess.Popen([GRAFT, 'run', self.path('guest.bin', say('r') + RESET), '--memory', '32M'],
                             stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        p.stdout.read(3)
        p.terminate()
        text = p.communicate(timeout=10)[1].decode()
        self.assertEqual(text.count('\n'), 0 if KVM else 1, text)
        self.assertEqual('/dev/kvm' in text and '--mmu' in text, not KVM, text)

    @unittest.skipUnless(shutil.which('qemu-x86_64'), 'qemu-x86_64 is not installed')
    def test_old_processor(self):
        def on(cpu, *args):
            return subprocess.run(['qemu-x86_64', '-cpu', cpu, GRAFT, *args], stdin=subprocess.DEVNULL,
                                  capture_output=True, timeout=60, check=False)
        if on('Haswell', '--version').returncode:
            self.skipTest('this build does not run under qemu-x86_64')
        guest = self.path('guest.bin', POWEROFF)
        for cpu, lacking in (('Nehalem', 'movbe'), ('Haswell,-aes', 'aes'), ('Haswell,-f16c', 'f16c'),
                             ('Haswell,-bmi2', 'bmi2'), ('Haswell,-abm', 'lzcnt')):
            info, run = on(cpu, 'info').stdout.decode(), on(cpu, 'run', guest, '--vm', 'inproc')
            self.assertRegex(info, r'too old: there is no .*\b%s\b' % lacking)
            self.assertEqual(run.returncode, 1, cpu)
            self.assertIn('this host\'s CPU is too old: it has no %s ' % lacking, run.stderr.decode())
        self.assertNotIn('too old', on('Haswell', 'info').stdout.decode())


if __name__ == '__main__':
    unittest.main(argv=[sys.argv[0]] + sys.argv[2:])
