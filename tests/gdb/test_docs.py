#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
# Copyright The Graft Authors
"""What docs/debugging.md says is done as it says.

usage: test_docs.py GRAFT PAGE KERNEL.ELF
"""

import os
import re
import shutil
import subprocess
import sys
import tempfile

GRAFT, PAGE, KERNEL = sys.argv[1:4]
PATIENCE = 200
EXPECTED = (('Breakpoint 1, every_fifth', 'New value = 5', 'vCPU 0', 'CPU #0: pc=', 'detached'),
            ("'status': 'running'", "'target': 'aarch64'", "'event': 'STOP'", "'event': 'RESUME'", "quit {'return': {}}"))

if not shutil.which('gdb-multiarch'):
    print('SKIPPED: no gdb-multiarch (scripts/deps test)')
    sys.exit(77)
with open(PAGE, encoding='utf-8') as f:
    blocks = re.findall(r'(?:^    .*\n)+', f.read(), re.M)
assert len(blocks) == len(EXPECTED), blocks
folder = tempfile.mkdtemp(prefix='graft-docs.')
try:
    shutil.copy(KERNEL, os.path.join(folder, 'kernel.elf'))
    os.symlink(os.path.abspath(GRAFT), os.path.join(folder, 'graft'))
    for block, expected in zip(blocks, EXPECTED):
        script = re.sub('^    ', '', block, flags=re.M)
        done = subprocess.run(['bash', '-euc', script], cwd=folder, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                              env={**os.environ, 'PATH': f'{folder}:{os.environ["PATH"]}', 'HOME': folder}, timeout=PATIENCE, check=False)
        text = done.stdout.decode(errors='replace')
        print(script, text, sep='\n')
        assert done.returncode == 0, done.returncode
        for word in expected:
            assert word in text, word
    with open(os.path.join(folder, 'console.txt'), encoding='utf-8') as f:
        assert 'ALL PASS' in f.read()
finally:
    shutil.rmtree(folder)
