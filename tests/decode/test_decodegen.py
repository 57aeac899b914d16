#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
# Copyright The Graft Authors
"""test_decodegen.py: tests of guests/decodegen.py. Bad tables first, then decoders that are compiled and run."""
import ctypes
import os
import random
import re
import shutil
import subprocess
import sys
import tempfile
import unittest

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
sys.path.insert(0, os.path.join(ROOT, 'guests'))
import decodegen  # noqa: E402

X28 = 'x' * 28


def load(text):
    with tempfile.NamedTemporaryFile('w', suffix='.decode') as f:
        f.write(text)
        f.flush()
        return decodegen.load([f.name])


class BadTables(unittest.TestCase):
    def refused(self, text, pattern):
        with self.assertRaisesRegex(decodegen.TableError, pattern):
            load(text)

    def test_width(self):
        self.refused(f'A 000 {X28}', 'describes 31 bits')
        self.refused(f'A 00000 {X28}', 'describes 33 bits')
        self.refused('A a:0 ' + 'x' * 32, '1 to 32 bits')
        self.refused('A a:33', '1 to 32 bits')

    def test_tokens(self):
        self.refused(f'A 0002 {X28}', "cannot read '0002'")
        self.refused(f'A a:x {X28}', 'cannot read')
        self.refused('1A ' + 'x' * 32, 'starts with its name')
        self.refused('@unimplemented', 'starts with its name')
        self.refused(f'A a:4 !a=1 {X28}', 'after an exclusion')

    def test_exclusions(self):
        self.refused(f'A a:4 {X28} !b=1', 'no such field')
        self.refused(f'A a:4 {X28} !a', 'no such field, or not')
        self.refused(f'A a:4 {X28} !a=16', 'does not fit')
        self.refused(f'A a:1 000 {X28} !a=0 !a=1', 'matches nothing')

    def test_names(self):
        self.refused(f'A 0000 {X28}\nA 0001 {X28}', 'A again')

    def test_overlap(self):
        self.refused(f'A 00xx {X28}\nB 000x {X28}', 'B overlaps A .*both match 0x0')
        self.refused(f'A 0x0x {X28}\nB x0x1 {X28}', 'overlaps')
        self.refused(f'A 00xx {X28}\n@unimplemented B 0011 {X28}', 'overlaps')

    def test_overlap_with_exclusions(self):
        self.refused(f'A a:4 {X28} !a=1\nB 000x {X28}', 'both match 0x00000000')
        self.refused(f'A a:4 b:28 !a=1,b=0\nB 0001 {X28}', 'overlaps')
        # Excluding one value of a two-part field leaves the others.
        self.refused('A a:2 0 a:2 xxx xxxxxxxx xxxxxxxx xxxxxxxx !a=6\nB 01010 xxx xxxxxxxx xxxxxxxx xxxxxxxx\n'
                     'C 10010 xxx xxxxxxxx xxxxxxxx xxxxxxxx', 'C overlaps A')


class GoodTables(unittest.TestCase):
    def test_disjoint_by_exclusions(self):
        load(f'A a:4 {X28} !a=1\nB 0001 {X28}')
        load('A a:2 0 a:2 xxx xxxxxxxx xxxxxxxx xxxxxxxx !a=6\nB 01010 xxx xxxxxxxx xxxxxxxx xxxxxxxx')
        load(f'A a:4 {X28} !a=0 !a=1\nB b:4 {X28} !b=2 !b=3 !b=4 !b=5 !b=6 !b=7 !b=8 !b=9 !b=10 !b=11 !b=12 !b=13 !b=14 !b=15')

    def test_split_field(self):
        row = load('A a:2 00 a:4 xxxxxxxx xxxxxxxx xxxxxxxx')[0]
        self.assertEqual(row.extract(0x85000000, 'a'), 0b100101)
        self.assertEqual(row.insert(0, 'a', 0b100101), 0x85000000)
        self.assertEqual(row.width('a'), 6)

    def test_comments_and_marks(self):
        rows = load(f'# nothing\n\nA 0000 {X28} # text\n@unimplemented B 0001 {X28}')
        self.assertEqual([(r.name, r.implemented) for r in rows], [('A', True), ('B', False)])


class Decoders(unittest.TestCase):
    """The C decoder and the table must agree on every word."""

    def decoder(self, directory, paths):
        rows = decodegen.load(paths)
        # Only the decoder: no rows with translators, which would have to be linked.
        text = [line for line in decodegen.source('t', rows)]
        end = next(i for i, line in enumerate(text) if line.startswith('bool t_dispatch'))
        with open(os.path.join(directory, 't_decode.h'), 'w', encoding='utf-8') as f:
            f.write('\n'.join(decodegen.header('t', rows)))
        with open(os.path.join(directory, 't.c'), 'w', encoding='utf-8') as f:
            f.write('\n'.join(text[:end]))
        library = os.path.join(directory, 't.so')
        subprocess.run([shutil.which('cc') or 'gcc', '-O1', '-shared', '-fPIC', '-I', directory, '-I', os.path.join(ROOT, 'include'),
                        '-o', library, os.path.join(directory, 't.c')], check=True)
        decode = ctypes.CDLL(library).t_decode
        decode.argtypes = [ctypes.c_uint32]
        return rows, decode

    def agree(self, paths, count):
        rng = random.Random(1)
        with tempfile.TemporaryDirectory() as directory:
            rows, decode = self.decoder(directory, paths)
            for i in range(count):
                insn = rng.getrandbits(32)
                if i % 4:
                    row = rng.choice(rows)
                    insn = row.value | (insn & ~row.mask)
                    if i % 4 == 3:
                        insn ^= 1 << rng.randrange(32)
                matching = [n for n, row in enumerate(rows, 1) if row.matches(insn)]
                self.assertLessEqual(len(matching), 1)
                self.assertEqual(decode(insn), matching[0] if matching else 0, f'{insn:08x}')

    def test_small_tables(self):
        tables = [f'A 0000 {X28}', f'A a:4 {X28} !a=1\nB 0001 {X28}', 'A ' + 'x' * 32,
                  'A 00 a:2 b:4 xxxxxxxx xxxxxxxx xxxxxxxx !a=1 !a=2,b=3\nB 0001 xxxx xxxxxxxx xxxxxxxx xxxxxxxx\n'
                  'C 0010 0011 xxxxxxxx xxxxxxxx xxxx0000\n@unimplemented D 1 a:31']
        for table in tables:
            with tempfile.NamedTemporaryFile('w', suffix='.decode') as f:
                f.write(table)
                f.flush()
                self.agree([f.name], 2000)

    def test_a64(self):
        folder = os.path.join(ROOT, 'guests/a64')
        self.agree([os.path.join(folder, f) for f in sorted(os.listdir(folder)) if f.endswith('.decode')], 60000)


class CommandLine(unittest.TestCase):
    def test_error_names_the_line(self):
        with tempfile.NamedTemporaryFile('w', suffix='.decode') as f:
            f.write(f'A 0000 {X28}\nB 000 {X28}\n')
            f.flush()
            result = subprocess.run([sys.executable, os.path.join(ROOT, 'guests/decodegen.py'), '--prefix', 'a64', '--check', f.name],
                                    capture_output=True, text=True, check=False)
        self.assertEqual(result.returncode, 1)
        self.assertTrue(re.search(r':2: B describes 31 bits', result.stderr), result.stderr)


if __name__ == '__main__':
    unittest.main()
