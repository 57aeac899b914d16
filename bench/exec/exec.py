# SPDX-License-Identifier: Apache-2.0
# Copyright The Graft Authors
"""How long graft exec takes, beside qemu-user and booting machines: see scripts/bench-exec.

usage: exec.py ROUNDS JOBS GRAFT ROOT QEMU-FOLDER GUEST-FOLDER WORK-FOLDER
"""

import ctypes
import os
import resource
import statistics
import subprocess
import sys
import time

ROUNDS, JOBS = int(sys.argv[1]), sys.argv[2] == '1'
GRAFT, ROOT, QEMU, GUEST, WORK = sys.argv[3:8]
PATIENCE = 300  # seconds for anything
PR_SET_CHILD_SUBREAPER = 36
LOOP = 1500000

# The same work for both: a dictionary of 1000 keys.
PYTHON = f'd = {{}}\nfor i in range({LOOP}):\n k = i % 1000\n d[k] = d.get(k, 0) + i\nprint(sum(d.values()))\n'
PERL = f'my %d; for my $i (0 .. {LOOP - 1}) {{ $d{{$i % 1000}} += $i }} my $s = 0; $s += $_ for values %d; print "$s\\n"'
FUNCTION = 'int f{n}(int *a, int n) {{ int s = {n}; for (int i = 0; i < n; i++) {{ s += a[i] * (s ^ i); if (s & 4) a[i] = s >> 2; ' \
           'switch (a[i] & 7) {{ case 0: s++; break; case 3: s -= i; break; case 5: s *= 3; }} }} return s; }}\n'


def graft(*options):
    return lambda *words: [GRAFT, 'exec', '--root', ROOT, *options, '--', *words]


def qemu(*words):
    return [f'{QEMU}/qemu-aarch64', '-L', ROOT, ROOT + words[0], *words[1:]]


def boots():
    """To the first process and off again, without root, folder and network."""
    append = 'console=ttyAMA0 rdinit=/bin/busybox -- poweroff -f'
    files = [f'{GUEST}/Image', f'{GUEST}/initrd.gz', append]
    return {'graft run, to the first process and off': [GRAFT, 'run', files[0], '--initrd', files[1], '--append', append],
            'QEMU, the same': [f'{QEMU}/qemu-system-aarch64', '-M', 'virt,gic-version=3', '-cpu', 'cortex-a72', '-m', '1G', '-accel', 'tcg', '-nodefaults',
                               '-display', 'none', '-serial', 'mon:stdio', '-no-reboot', '-kernel', files[0], '-initrd', files[1], '-append', append]}


def jobs():
    """A command by graft exec and by qemu-user each."""
    source = os.path.join(WORK, 'functions.i')
    with open(source, 'w', encoding='ascii') as f:
        f.writelines(FUNCTION.format(n=n) for n in range(150))
    for name, words in (('python3', ['/usr/bin/python3', '-c', PYTHON]), ('perl', ['/usr/bin/perl', '-e', PERL]),
                        ('cc1 -O2', ['/usr/lib/gcc/aarch64-linux-gnu/12/cc1', '-quiet', '-O2', source, '-o', os.path.join(WORK, 'functions.s')])):
        yield f'{name}: graft exec', graft()(*words)
        yield f'{name}: qemu-aarch64', qemu(*words)


def contenders():
    rows = {'true: graft exec, resumed': graft()('true'), 'true: graft exec --cold': graft('--cold')('true'), 'true: qemu-aarch64': qemu('/usr/bin/true')}
    rows.update(boots())
    return {**rows, **dict(jobs())} if JOBS else rows


def processor():
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def run(words):
    """Seconds until it has ended, and of processor time, with all that it has started (this process is their reaper)."""
    before, start = processor(), time.monotonic()
    done = subprocess.run(words, cwd=WORK, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=PATIENCE, check=False)
    elapsed = time.monotonic() - start
    if done.returncode:
        sys.exit(f'bench-exec: {" ".join(words)[:200]}: status {done.returncode}: {done.stdout.decode(errors="replace")[-500:]}')
    while True:
        try:
            os.wait()
        except ChildProcessError:
            return elapsed, processor() - before


def main():
    if ctypes.CDLL(None, use_errno=True).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0):
        sys.exit('bench-exec: prctl: ' + os.strerror(ctypes.get_errno()))
    rows = contenders()
    run(next(iter(rows.values())))  # the guest is kept
    samples = {name: [] for name in rows}
    for _ in range(ROUNDS):
        for name, words in rows.items():
            samples[name].append(run(words))
    print('| seconds | smallest | median | largest | processor |\n|---|---:|---:|---:|---:|')
    for name, got in samples.items():
        elapsed = [e for e, _ in got]
        print(f'| {name} | {min(elapsed):.2f} | {statistics.median(elapsed):.2f} | {max(elapsed):.2f} | {statistics.median(p for _, p in got):.2f} |')


main()
