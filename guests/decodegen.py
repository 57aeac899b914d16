#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
# Copyright The Graft Authors
"""decodegen.py: compiles decode tables (guests/*/*.decode) into a decoder in C.

    decodegen.py --prefix a64 --out DIR TABLE...     writes DIR/a64_decode.h and DIR/a64_decode.c
    decodegen.py --prefix a64 --list TABLE...        prints one row a line: name, mask, value, state
    decodegen.py --prefix a64 --check TABLE...       only checks

One row a line:

    [@unimplemented] NAME  token...  [!field=value[,field=value...] ...]    # comment

The tokens describe exactly 32 bits, from bit 31 down: runs of 0, 1 and x (either), and `field:width`, an unsigned
field. A field name that appears again is continued, high part first. An exclusion `!f=v` says that the row does not
match where f has that value; with several terms, where all of them hold. An @unimplemented row is known and listed
but decodes as undefined.

No encoding may match two rows. That is checked exactly, on cubes: pairs (mask, value) of a set of encodings.
"""
import argparse
import os
import re
import sys

WORD = 0xFFFFFFFF


class TableError(Exception):
    pass


class Row:
    def __init__(self, where, name, implemented):
        self.where, self.name, self.implemented = where, name, implemented
        self.mask = self.value = 0
        self.fields = {}  # name -> [(lsb, width)], high part first, in order of appearance
        self.excluded = []  # cubes that the row does not match
        self.exclusion_terms = []  # the same as lists of (field, value), for the emitted conditions

    def width(self, field):
        return sum(width for _, width in self.fields[field])

    def extract(self, insn, field):
        result = 0
        for lsb, width in self.fields[field]:
            result = result << width | (insn >> lsb & ((1 << width) - 1))
        return result

    def insert(self, insn, field, value):
        for lsb, width in reversed(self.fields[field]):
            part = (1 << width) - 1
            insn = insn & ~(part << lsb) | (value & part) << lsb
            value >>= width
        return insn

    def matches(self, insn):
        return insn & self.mask == self.value and not any(insn & m == v for m, v in self.excluded)


def parse_line(where, line):
    words = line.split()
    implemented = words[0] != '@unimplemented'
    if not implemented:
        words = words[1:]
    if not words or not re.fullmatch(r'[A-Za-z_][A-Za-z0-9_]*', words[0]):
        raise TableError(f'{where}: a row starts with its name')
    row = Row(where, words[0], implemented)
    exclusions = []
    at = 32
    for word in words[1:]:
        if word.startswith('!'):
            exclusions.append(word[1:])
            continue
        if exclusions:
            raise TableError(f'{where}: {word} after an exclusion')
        if re.fullmatch(r'[01x]+', word):
            at -= len(word)
            if at >= 0:
                row.mask |= int(word.replace('0', '1').replace('x', '0'), 2) << at
                row.value |= int(word.replace('x', '0'), 2) << at
        elif match := re.fullmatch(r'([A-Za-z_][A-Za-z0-9_]*):(\d+)', word):
            width = int(match[2])
            if not 1 <= width <= 32:
                raise TableError(f'{where}: {word}: a field has 1 to 32 bits')
            at -= width
            row.fields.setdefault(match[1], []).append((at, width))
        else:
            raise TableError(f'{where}: cannot read {word!r}')
    if at != 0:
        raise TableError(f'{where}: {row.name} describes {32 - at} bits, not 32')
    for text in exclusions:
        add_exclusion(row, text)
    if not subtract((row.mask, row.value), row.excluded):
        raise TableError(f'{where}: {row.name} matches nothing')
    return row


def add_exclusion(row, text):
    mask = value = 0
    terms = []
    for term in text.split(','):
        match = re.fullmatch(r'([A-Za-z_][A-Za-z0-9_]*)=(0b[01]+|0x[0-9a-fA-F]+|\d+)', term)
        if not match or match[1] not in row.fields:
            raise TableError(f'{row.where}: !{text}: no such field, or not field=value')
        number = int(match[2], 0)
        if number >> row.width(match[1]):
            raise TableError(f'{row.where}: !{text}: the value does not fit into {match[1]}')
        mask |= row.insert(0, match[1], WORD)
        value |= row.insert(0, match[1], number)
        terms.append((match[1], number))
    row.excluded.append((mask, value))
    row.exclusion_terms.append(terms)


def meet(a, b):
    """The intersection of two cubes, or None."""
    if (a[1] ^ b[1]) & a[0] & b[0]:
        return None
    return a[0] | b[0], a[1] | b[1]


def subtract(cube, holes):
    """A member of cube outside all holes as a one-element list, or [] if there is none."""
    for i, hole in enumerate(holes):
        if not meet(cube, hole):
            continue
        rest = holes[i + 1:]
        free = hole[0] & ~cube[0]
        for bit in (1 << n for n in range(32) if free >> n & 1):
            # The part of the cube that differs from the hole in this bit (and agrees in the earlier ones).
            found = subtract((cube[0] | bit, cube[1] | (~hole[1] & bit)), rest)
            if found:
                return found
            cube = (cube[0] | bit, cube[1] | (hole[1] & bit))
        return []
    return [cube[1]]


def load(paths):
    rows, names = [], {}
    for path in paths:
        with open(path, encoding='utf-8') as f:
            for number, line in enumerate(f, 1):
                line = line.split('#', 1)[0].strip()
                if not line:
                    continue
                row = parse_line(f'{path}:{number}', line)
                if row.name in names:
                    raise TableError(f'{row.where}: {row.name} again, first at {names[row.name].where}')
                names[row.name] = row
                rows.append(row)
    for i, a in enumerate(rows):
        for b in rows[:i]:
            both = meet((a.mask, a.value), (b.mask, b.value))
            found = both and subtract(both, a.excluded + b.excluded)
            if found:
                raise TableError(f'{a.where}: {a.name} overlaps {b.name} ({b.where}): both match 0x{found[0]:08x}')
    return rows


# --- the decision tree -------------------------------------------------------------------------------------------

def split(rows, lsb, width):
    """Rows by the value of bits [lsb, lsb+width); a row that does not fix them all appears several times."""
    part = (1 << width) - 1
    children = {}
    for row in rows:
        mask, value = row.mask >> lsb & part, row.value >> lsb & part
        free = part & ~mask
        fill = free
        while True:
            children.setdefault(value | fill, []).append(row)
            if fill == 0:
                break
            fill = (fill - 1) & free
    return children


def best_window(rows):
    best = None
    for lsb in range(32):
        for width in range(1, min(8, 32 - lsb) + 1):
            # Bits that no row fixes at either end of the window only make the table larger.
            ends = 1 << lsb | 1 << (lsb + width - 1)
            if any(not any(row.mask & ends & e for row in rows) for e in (1 << lsb, 1 << (lsb + width - 1))):
                continue
            children = split(rows, lsb, width)
            largest = max(len(c) for c in children.values())
            if largest == len(rows):
                continue
            total = sum(len(c) for c in children.values())
            # Expected number of rows left, what is copied, and the size of the jump table.
            score = sum(len(c) ** 2 for c in children.values()) / total + 0.05 * (total - len(rows)) + 0.04 * (1 << width)
            if best is None or score < best[0]:
                best = score, lsb, width
    return best and best[1:]


def condition(row, known):
    tests = []
    mask = row.mask & ~known
    if mask:
        tests.append(f'(insn & 0x{mask:08x}u) == 0x{row.value & mask:08x}u')
    for mask, value in row.excluded:
        tests.append(f'(insn & 0x{mask:08x}u) != 0x{value:08x}u')
    return ' && '.join(tests)


def emit_tree(out, found, rows, known, depth):
    """found(row): the statement for an encoding that is that row's. False if it is always reached."""
    pad = '    ' * depth
    window = best_window(rows) if len(rows) > 1 else None
    if window is None:
        for row in rows:
            test = condition(row, known)
            if test:
                out.append(f'{pad}if ({test})')
                out.append(f'{pad}    {found(row)}')
            else:
                out.append(pad + found(row))
                return False
        return True
    lsb, width = window
    out.append(f'{pad}switch (insn >> {lsb} & 0x{(1 << width) - 1:x}) {{')
    known |= ((1 << width) - 1) << lsb
    groups = {}
    for value, children in sorted(split(rows, lsb, width).items()):
        groups.setdefault(tuple(children), []).append(value)
    for children, values in groups.items():
        line = ' '.join(f'case 0x{v:x}:' for v in values)
        while len(line) + len(pad) > 116:
            cut = line.rfind(' case', 0, 116 - len(pad))
            out.append(pad + line[:cut])
            line = line[cut + 1:]
        out.append(pad + line)
        if emit_tree(out, found, list(children), known, depth + 1):
            out.append(f'{pad}    break;')
    out.append(f'{pad}}}')
    return True


# --- output --------------------------------------------------------------------------------------------------------

def header(prefix, rows):
    up = prefix.upper()
    out = ['/* SPDX-License-Identifier: Apache-2.0', ' * Copyright The Graft Authors */',
           f'/* {prefix}_decode.h: generated by guests/decodegen.py from guests/{prefix}/ *.decode; do not edit. */',
           f'#ifndef GRAFT_{up}_DECODE_H', f'#define GRAFT_{up}_DECODE_H', '#include "graft/base.h"',
           f'struct {prefix}_trans;', f'enum {prefix}_row {{', f'    {up}_ROW_NONE, /* no row matches */']
    out += [f'    {up}_ROW_{row.name},' for row in rows]
    out += [f'    {up}_ROW_COUNT', '};', f'struct {prefix}_row_info {{', '    const char *name;', '    uint32_t mask, value;',
            '    bool implemented;', '};', f'extern const struct {prefix}_row_info {prefix}_rows[{up}_ROW_COUNT];',
            f'enum {prefix}_row {prefix}_decode(uint32_t insn);',
            f'/* {prefix}_dispatch(): decodes insn and calls its trans function; false if there is none or it says so. */',
            f'bool {prefix}_dispatch(struct {prefix}_trans *t, uint32_t insn);']
    for row in rows:
        if row.implemented:
            members = f'uint32_t {", ".join(row.fields)}; ' if row.fields else ''
            out.append(f'struct arg_{row.name} {{ {members}}};')
            out.append(f'#define trans_{row.name} {prefix}_trans_{row.name}')
            out.append(f'bool trans_{row.name}(struct {prefix}_trans *t, const struct arg_{row.name} *a);')
    out.append('#endif')
    return out


def extraction(parts):
    text, below = [], sum(width for _, width in parts)
    for lsb, width in parts:
        below -= width
        piece = 'insn' if lsb == 0 else f'insn >> {lsb}'
        if lsb + width < 32:
            piece = f'({piece} & 0x{(1 << width) - 1:x})' if below else f'{piece} & 0x{(1 << width) - 1:x}'
        elif below:
            piece = f'({piece})'
        text.append(f'{piece} << {below}' if below else piece)
    return ' | '.join(f'({t})' if len(text) > 1 else t for t in text)


def source(prefix, rows):
    up = prefix.upper()
    out = ['/* SPDX-License-Identifier: Apache-2.0', ' * Copyright The Graft Authors */',
           f'/* {prefix}_decode.c: generated by guests/decodegen.py; do not edit. */',
           f'#include "{prefix}_decode.h"', '',
           f'const struct {prefix}_row_info {prefix}_rows[{up}_ROW_COUNT] = {{',
           '    {"(none)", 0, 0, false},']
    for row in rows:
        out.append(f'    {{"{row.name}", 0x{row.mask:08x}, 0x{row.value:08x}, {"true" if row.implemented else "false"}}},')
    out += ['};', '', f'enum {prefix}_row {prefix}_decode(uint32_t insn) {{']
    if not rows or emit_tree(out, lambda row: f'return {up}_ROW_{row.name};', rows, 0, 1):
        out.append(f'    return {up}_ROW_NONE;')
    # The same tree once more, with the rows' work at its leaves: no second jump through a table.
    out += ['}', '', f'bool {prefix}_dispatch(struct {prefix}_trans *t, uint32_t insn) {{']
    if not rows or emit_tree(out, lambda row: f'goto row_{row.name};' if row.implemented else 'return false;', rows, 0, 1):
        out.append('    return false;')
    for row in rows:
        if not row.implemented:
            continue
        values = ', '.join(f'.{name} = {extraction(parts)}' for name, parts in row.fields.items())
        out += [f'row_{row.name}: {{', f'    struct arg_{row.name} a = {{{values}}};',
                f'    return trans_{row.name}(t, &a);', '}']
    out += ['}']
    return out


def write(path, lines):
    text = '\n'.join(lines) + '\n'
    temporary = path + '.tmp'
    with open(temporary, 'w', encoding='utf-8') as f:
        f.write(text)
    os.replace(temporary, path)


def main():
    parser = argparse.ArgumentParser(description='compile decode tables into a decoder in C')
    parser.add_argument('--prefix', required=True)
    parser.add_argument('--out', help='directory for PREFIX_decode.h and PREFIX_decode.c')
    parser.add_argument('--list', action='store_true', help='print the rows')
    parser.add_argument('--check', action='store_true', help='only check the tables')
    parser.add_argument('tables', nargs='+')
    args = parser.parse_args()
    try:
        rows = load(sorted(args.tables))
    except (TableError, OSError) as error:
        sys.exit(f'decodegen: {error}')
    if args.list:
        for row in rows:
            print(f'{row.name} 0x{row.mask:08x} 0x{row.value:08x} {"implemented" if row.implemented else "unimplemented"}')
    if args.out and not args.check:
        os.makedirs(args.out, exist_ok=True)
        write(os.path.join(args.out, f'{args.prefix}_decode.h'), header(args.prefix, rows))
        write(os.path.join(args.out, f'{args.prefix}_decode.c'), source(args.prefix, rows))


if __name__ == '__main__':
    main()
