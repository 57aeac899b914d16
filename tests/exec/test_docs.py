#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
# Copyright The Graft Authors
"""What docs/exec.md and docs/kernel.md say is done as they say.

usage: test_docs.py GRAFT FOLDER-OF-PAGES FOLDER-OF-GUEST WORK

Each block of commands runs in a folder with a small project, whose tests are `make test`, `make check` and CTest's. XDG_CACHE_HOME has the root; the pages make
several with the same packages, which are one here.
"""

import os
import re
import shutil
import subprocess
import sys

GRAFT, PAGES, GUEST, WORK = (os.path.abspath(a) for a in sys.argv[1:5])
PATIENCE = 800
FILES = {
    'answer.c': '#include <stdio.h>\nint main(void) { return printf("the answer is %d\\n", 42) != 17; }\n',
    'Makefile': 'test check:\n\t$(CC) -o answer answer.c\n\t./answer\n\t@uname -m\n',
    'CMakeLists.txt': 'cmake_minimum_required(VERSION 3.22)\nproject(answer C)\nenable_testing()\nadd_executable(answer answer.c)\n'
                      'add_test(NAME right COMMAND answer)\n',
}
# What each block prints, in their order; a text instead: why it is not run.
EXPECTED = {
    'exec.md': ((r'(?m)^aarch64$', 'the answer is 42'), (r'100% tests passed, 0 tests failed out of 1',), 'Go and Cargo are not there',
                ('the answer is 42', r'(?m)^aarch64$')),
    'kernel.md': ((r'(?m)^Linux \d+\.\d+', 'the answer is 42', r'(?m)^[1-9]$'), ('Linux version',), ('a test that hangs: 124', 'a panic: 255'),
                  'there is no kernel tree', (r'memory', r'(?s)(\d\.\d+\.\d+-\S*arm64\W.*){2}'), (r'(?m)^(engine|guest);\S+ \d+$',)),
}
# A second root with the same packages is the first under another name.
WRAPPER = '''#!/bin/sh
if [ "$1 $2" = "root add" ]; then
    for have in "$XDG_CACHE_HOME"/graft/roots/*; do
        if [ -d "$have" ]; then mv "$have" "$XDG_CACHE_HOME/graft/roots/$3"; exit; fi
    done
fi
exec {} "$@"
'''


def project(name):
    folder = os.path.join(WORK, name)
    shutil.rmtree(folder, ignore_errors=True)
    os.makedirs(os.path.join(folder, 'bin'))
    for file, text in FILES.items():
        with open(os.path.join(folder, file), 'w', encoding='utf-8') as f:
            f.write(text)
    with open(os.path.join(folder, 'bin', 'graft'), 'w', encoding='utf-8') as f:
        f.write(WRAPPER.replace('{}', GRAFT))
    os.chmod(os.path.join(folder, 'bin', 'graft'), 0o755)
    shutil.copy(os.path.join(GUEST, 'initrd.gz'), folder)
    return folder


def kernel():
    """As Debian's package has it: vmlinuz-VERSION, with the modules beside it."""
    with open(os.path.join(GUEST, 'version'), encoding='utf-8') as f:
        version = f.read().strip()
    path = os.path.join(WORK, 'vmlinuz-' + version)
    shutil.copy(os.path.join(GUEST, 'vmlinuz'), path)
    beside = os.path.join(WORK, 'modules', version)
    os.makedirs(os.path.dirname(beside), exist_ok=True)
    if not os.path.islink(beside):
        os.symlink(os.path.join(GUEST, 'tree', 'lib', 'modules', version), beside)
    return path


def run(block, folder, expected):
    script = re.sub('^    ', '', block, flags=re.M)
    print(script)
    if isinstance(expected, str):
        print('NOT RUN:', expected)
        return
    done = subprocess.run(['bash', '-euo', 'pipefail', '-c', script], cwd=folder, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                          env={**os.environ, 'PATH': f'{folder}/bin:{os.environ["PATH"]}', 'KERNEL': kernel(), 'CMAKE_GENERATOR': 'Ninja'}, timeout=PATIENCE, check=False)
    text = done.stdout.decode(errors='replace').replace('\r', '')
    print(text)
    assert done.returncode == 0, done.returncode
    for pattern in expected:
        assert re.search(pattern, text), pattern


def main():
    os.makedirs(WORK, exist_ok=True)
    for page, expected in EXPECTED.items():
        with open(os.path.join(PAGES, page), encoding='utf-8') as f:
            blocks = re.findall(r'(?:^    .*\n)+', f.read(), re.M)
        assert len(blocks) == len(expected), blocks
        folder = project(page.removesuffix('.md'))
        for block, what in zip(blocks, expected):
            run(block, folder, what)
    print('ALL PASS')


main()
