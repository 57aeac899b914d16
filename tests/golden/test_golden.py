#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
# Copyright The Graft Authors
"""The host code of hot blocks, beside what it was when somebody last looked.

usage: test_golden.py GOLDEN GUEST [--hot] [--update]

GOLDEN is the program (golden.c); GUEST.blocks has what it translates, GUEST.golden what came out, GUEST-hot.golden what does if all are hot. A difference is a failure and is
shown: if it is meant, --update keeps it, and the change of GUEST.golden is part of the commit. The last line says how many host
instructions a guest instruction takes. Exit status 0: as it was, or updated; 1: not; 2: wrong usage.
"""

import difflib
import os
import re
import subprocess
import sys

FOLDER = os.path.dirname(os.path.abspath(__file__))
SHOWN = 200  # lines of a difference


def counts(text):
    """Guest instructions, host instructions, bytes, bytes with stubs: of all blocks together."""
    rows = re.findall(r'^block \S+ (\d+) guest instructions, (\d+) host instructions, (\d+) bytes, (\d+) with stubs$', text, re.M)
    return [sum(column) for column in zip(*(map(int, row) for row in rows))]


def say_counts(text):
    guest, host, size, with_stubs = counts(text)
    return f'{guest} guest instructions; for each {host / guest:.3f} host instructions, {size / guest:.2f} bytes, {with_stubs / guest:.2f} with stubs'


def main(words):
    update, hot = '--update' in words, ['hot'] if '--hot' in words else []
    words = [word for word in words if word not in ('--update', '--hot')]
    if len(words) != 2:
        print(__doc__.strip().split('\n\n')[1], file=sys.stderr)
        return 2
    program, guest = words
    golden = os.path.join(FOLDER, '-'.join([guest, *hot]) + '.golden')
    now = subprocess.run([program, guest, os.path.join(FOLDER, guest + '.blocks'), *hot], capture_output=True, text=True, check=False)
    if now.returncode:
        print(now.stderr, end='')
        return 1
    if update:
        with open(golden, 'w', encoding='utf-8') as f:
            f.write(now.stdout)
        print(say_counts(now.stdout))
        return 0
    with open(golden, encoding='utf-8') as f:
        was = f.read()
    if now.stdout == was:
        print(say_counts(was))
        return 0
    difference = list(difflib.unified_diff(was.splitlines(), now.stdout.splitlines(), 'as it was', 'now', lineterm='', n=3))
    print('\n'.join(difference[:SHOWN]))
    if len(difference) > SHOWN:
        print(f'... {len(difference) - SHOWN} lines more')
    print(f'was: {say_counts(was)}\nnow: {say_counts(now.stdout)}')
    print(f'If that is meant: {sys.argv[0]} {program} {guest} {"--hot " if hot else ""}--update')
    return 1


if __name__ == '__main__':
    sys.exit(main(sys.argv[1:]))
