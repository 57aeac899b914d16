# SPDX-License-Identifier: Apache-2.0
# Copyright The Graft Authors
"""cases.py: random instances of the rows of the decode tables, with register values that make them do something.

A case is struct icase of insn.h. What a row needs beyond random fields is in `memory()` (where the access goes) and
`branch()` (where the branch goes).
"""
import fnmatch
import random
import struct

CODE, CODE_SLOTS, SLOT_BYTES, SLOT_FIRST, MAX_INSNS = 0x20000000, 2048, 128, 4, 24
SCRATCH, SCRATCH_BYTES = 0x20080000, 0x10000
WINDOW = SCRATCH + 0x7F00
NOP = 0xD503201F
MEMORY, ALIGNED = 1, 2
UNUSED = 0xFF

# Rows that a user program cannot run, or whose effect is not in the registers. Shown by bare-metal payloads instead.
EXCLUDED = {
    'SVC': 'a system call', 'HVC': 'EL1 only', 'SMC': 'no EL3', 'BRK': 'a debug exception', 'HLT': 'a debug exception',
    'ERET': 'EL1 only', 'SYS': 'cache, TLB and address translation operations', 'SYSL': 'none is allocated',
    'MSR_imm': 'PSTATE fields of EL1',
}
NZCV, FPCR = (3, 4, 2, 0), (3, 4, 4, 0)  # op1, CRn, CRm, op2 of the system registers that are tested here


def sext(value, bits):
    return value - (1 << bits) if value >> (bits - 1) & 1 else value


class Case:
    def __init__(self, row, number, insn, seed):
        self.row, self.number, self.insn, self.seed = row, number, insn, seed
        self.before, self.flags, self.overrides = NOP, 0, []

    def pack(self):
        regs = [r for r, _ in self.overrides] + [UNUSED] * (4 - len(self.overrides))
        values = [v & (1 << 64) - 1 for _, v in self.overrides] + [0] * (3 - len(self.overrides))
        insns = self.insns()
        return struct.pack('<Q3Q4BHHI24II', self.seed, *values, *regs, self.number, self.flags, len(insns),
                           *insns, *[NOP] * (MAX_INSNS - len(insns)), 0)

    def insns(self):
        return [self.before, self.insn]


def field(row, insn, name):
    return row.extract(insn, name) if name in row.fields else None


def random_insn(rng, row):
    while True:
        insn = row.value | (rng.getrandbits(32) & ~row.mask)
        if rng.random() < 0.25:  # the same register more than once
            names = [n for n in ('rd', 'rn', 'rm', 'rt', 'rt2', 'rs', 'ra') if n in row.fields]
            if len(names) > 1:
                a, b = rng.sample(names, 2)
                insn = row.insert(insn, a, row.extract(insn, b))
        if row.matches(insn):
            return insn


def shape(rng, row, insn):
    """Adjusts fields that random values would make useless; None to try again."""
    name = row.name
    if name in ('LOGIC_reg', 'ADDSUB_reg', 'EXTR', 'BITFIELD') and not field(row, insn, 'sf') and rng.random() < 0.9:
        for f in ('imm', 'imms', 'immr'):
            if f in row.fields:
                insn = row.insert(insn, f, row.extract(insn, f) & 31)
    if name == 'HINT' and field(row, insn, 'CRm') == 0 and field(row, insn, 'op2') in (1, 2, 3):
        return None  # WFE and WFI may sleep; at YIELD qemu-aarch64 clears the exclusive monitor, as it may
    if name in ('MSR', 'MRS'):
        key = NZCV if name == 'MSR' or rng.random() < 0.5 else FPCR
        insn = row.insert(insn, 'o0', 1)
        for f, v in zip(('op1', 'CRn', 'CRm', 'op2'), key):
            insn = row.insert(insn, f, v)
    if name == 'LDSTP' and field(row, insn, 'L') and field(row, insn, 'rt') == field(row, insn, 'rt2'):
        return None  # CONSTRAINED UNPREDICTABLE: versions of the reference differ
    if name == 'CASP' and rng.random() < 0.9:
        insn = row.insert(row.insert(insn, 'rs', row.extract(insn, 'rs') & 30), 'rt', row.extract(insn, 'rt') & 30)
    return insn if row.matches(insn) else None


def branch(rng, case):
    """Branches go to the slot's exit for taken branches, two instructions on."""
    row, insn = case.row, case.insn
    if row.name in ('B', 'BL', 'CBZ', 'B_cond', 'TBZ'):
        case.insn = row.insert(insn, 'imm', 2)
        if row.name == 'CBZ' and rng.random() < 0.5 and field(row, insn, 'rt') < 31:
            case.overrides.append((field(row, insn, 'rt'), rng.choice([0, 1 << 32, 1])))
    elif row.name in ('BR', 'BLR', 'RET'):
        rn = field(row, insn, 'rn')
        if rn == 31:
            return False
        case.overrides.append((rn, slot_of(case) + SLOT_FIRST + 12))
    return True


def slot_of(case):
    return CODE + case.position % CODE_SLOTS * SLOT_BYTES


ATOMICS = {'STXR', 'LDXR', 'STXP', 'LDXP', 'STLR', 'LDAR', 'CAS', 'CASP', 'LDOP', 'SWP'}


# --- memory -------------------------------------------------------------------------------------------------------

def access_bytes(row, insn):
    """Bytes that an access covers, and the alignment that the architecture demands of it."""
    f = lambda n: field(row, insn, n)
    name = row.name
    if name in ('STXR', 'LDXR', 'STLR', 'LDAR', 'CAS', 'LDOP', 'SWP'):
        return 1 << f('size'), 1 << f('size')
    if name in ('STXP', 'LDXP', 'CASP'):
        return 8 << f('sz'), 8 << f('sz')
    if name.startswith('LDSTP'):
        return 2 << scale(row, insn), 1
    if name.startswith('LDST_multi') or name.startswith('LDST_single'):
        return 64, 1
    return 16, 1


def scale(row, insn):
    f = lambda n: field(row, insn, n)
    if row.name == 'LDSTP':
        return 3 if f('opc') == 2 else 2
    if row.name == 'LDSTP_v':
        return 2 + f('opc')
    return (f('q') or 0) << 2 | f('size')


def displacement(row, insn):
    f = lambda n: field(row, insn, n)
    name = row.name
    if name.startswith('LDSTP'):
        return 0 if f('idx') == 1 else sext(f('imm'), 7) << scale(row, insn)
    if 'post' in name or name.startswith('LDST_multi') or name.startswith('LDST_single'):
        return 0
    if 'uimm' in name:
        return f('imm') << scale(row, insn)
    if 'imm' in row.fields:
        return sext(f('imm'), 9)
    return 0


def effective_address(rng, row, insn):
    length, align = access_bytes(row, insn)
    if rng.random() < 0.02:  # into the page after the last
        return (SCRATCH + SCRATCH_BYTES - rng.randrange(length + 8)) & -align
    return (WINDOW + 256 + rng.randrange(512)) & -align


def literal(rng, case):
    row = case.row
    target = WINDOW + 4 * rng.randrange(200)
    case.insn = row.insert(case.insn, 'imm', (target - (slot_of(case) + SLOT_FIRST + 4)) >> 2)
    case.flags |= MEMORY
    return True


def memory(rng, case, rows):
    row, insn = case.row, case.insn
    if row.name.startswith('LDR_lit'):
        return literal(rng, case)
    if not (row.name.startswith('LDST') or row.name in ATOMICS):
        return True
    case.flags |= MEMORY
    rn = field(row, insn, 'rn')
    address = effective_address(rng, row, insn)
    if rng.random() < 0.2:
        address &= -16
        case.flags |= ALIGNED
    base = address - displacement(row, insn)
    if row.name.startswith('LDST_reg'):
        rm, shift = field(row, insn, 'rm'), scale(row, insn) if field(row, insn, 'S') else 0
        if rm == rn:
            return False
        index = rng.randrange(-64, 64) if field(row, insn, 'xr') or field(row, insn, 'sx') else rng.randrange(64)
        if rm == 31:
            index = 0
        base -= index << shift
        if rm < 31:
            case.overrides.append((rm, index if field(row, insn, 'xr') else (index & 0xffffffff) | rng.getrandbits(32) << 32))
    if rn == 31 and base & 15:  # SP has to be aligned
        base &= ~15
        case.flags &= ~ALIGNED
    case.overrides.append((rn, base))
    if row.name in ('STXR', 'STXP') and rng.random() < 0.8:
        arm_monitor(rng, case, rows)
    if row.name == 'CAS' and rng.random() < 0.5:  # make it succeed: read what is there first
        prepare_cas(rng, case, rows)
    return True


def arm_monitor(rng, case, rows):
    """A load-exclusive of the same place before the store-exclusive."""
    row, insn = case.row, case.insn
    load = rows['LDXR' if row.name == 'STXR' else 'LDXP']
    before = load.value | (0x1F << 16)
    for f in ('size', 'sz', 'rn'):
        if f in load.fields:
            before = load.insert(before, f, row.extract(insn, f))
    busy = {row.extract(insn, 'rn')}
    free = [r for r in range(31) if r not in busy]
    before = load.insert(before, 'rt', rng.choice(free))
    if 'rt2' in load.fields:
        before = load.insert(before, 'rt2', rng.choice(free))
    else:
        before |= 0x1F << 10
    case.before = before


def prepare_cas(rng, case, rows):
    row, insn = case.row, case.insn
    rn, rs = row.extract(insn, 'rn'), row.extract(insn, 'rs')
    if rs in (rn, 31):
        return
    load = rows['LDST_uimm']
    before = load.insert(load.insert(load.value, 'size', row.extract(insn, 'size')), 'opc', 1)
    case.before = load.insert(load.insert(before, 'rn', rn), 'rt', rs)


def flags_before(rng, case, rows):
    """Sometimes an instruction that sets the flags comes first, so that they are a value inside the block."""
    if case.before != NOP or rng.random() > 0.3:
        return
    row = rows[rng.choice(['ADDSUB_reg', 'ADDSUB_imm', 'ADDSUB_ext', 'LOGIC_reg', 'ADC', 'CCMP_reg', 'CCMP_imm'])]
    for _ in range(20):
        insn = random_insn(rng, row)
        if row.name == 'LOGIC_reg':
            insn = row.insert(insn, 'opc', 3)
        if 'S' in row.fields:
            insn = row.insert(insn, 'S', 1)
        if 'rd' in row.fields:
            insn = row.insert(insn, 'rd', 31)
        if row.name in ('LOGIC_reg', 'ADDSUB_reg') and not row.extract(insn, 'sf'):
            insn = row.insert(insn, 'imm', row.extract(insn, 'imm') & 31)
        if row.matches(insn):
            case.before = insn
            return


def make(rng, row, number, position, rows):
    while True:
        insn = shape(rng, row, random_insn(rng, row))
        if insn is None:
            continue
        case = Case(row, number, insn, rng.getrandbits(64))
        case.position = position
        if branch(rng, case) and memory(rng, case, rows) and len(case.overrides) <= 3:
            flags_before(rng, case, rows)
            return case


class Unallocated:
    """Words that no row matches: undefined here, so they should be so in the reference."""
    name = 'UNALLOCATED'

    def __init__(self, rows):
        self.rows = rows

    def make(self, rng, number, position):
        while True:
            insn = rng.getrandbits(32)
            if rng.random() < 0.8:  # near a row: one bit of its fixed part is wrong
                row = rng.choice(self.rows)
                insn = (row.value | (insn & ~row.mask)) ^ (1 << rng.randrange(32))
            if not any(row.matches(insn) for row in self.rows):
                case = Case(self, number, insn, rng.getrandbits(64))
                case.position = position
                return case


def weight(row):
    """A row that holds many instructions, by its opcode fields, comes more often."""
    bits = sum(row.width(f) for f in row.fields if f in ('opcode', 'size', 'u', 'q', 'op', 'rmode', 'ftype', 'immh', 'cmode'))
    return max(1, min(16, 1 << max(bits - 3, 0)))


def select(rows, pattern, unallocated):
    def wanted(name):
        return any(fnmatch.fnmatch(name, p) for p in pattern.split(','))

    chosen = [r for r in rows if r.implemented and r.name not in EXCLUDED and wanted(r.name)]
    if unallocated and wanted('UNALLOCATED'):
        chosen.append(Unallocated(rows))
    return [r for r in chosen for _ in range(1 if isinstance(r, Unallocated) else weight(r))]


def generate(chosen, rows, seed, first, count):
    """count cases from number first on; every row comes equally often."""
    by_name = {r.name: r for r in rows}
    for i in range(first, first + count):
        rng = random.Random(f'{seed}/{i}')
        number = i % len(chosen)
        row = chosen[number]
        if isinstance(row, Unallocated):
            yield row.make(rng, number, i - first)
        else:
            yield make(rng, row, number, i - first, by_name)


# --- programs: straight lines of many instructions with forward branches and a loop ----------------------------------

# Registers that only the program's own accesses and loop use; from FOLLOW on, but for COUNTER, loops' programs alone.
BASE, FOLLOW, COUNTER, WALK, INDEX, TABLE = 21, 22, 23, 24, 25, 26
WRITTEN = ('rd', 'rt', 'rt2', 'rs', 'rn')
IN_PROGRAMS = {'LDST_unscaled', 'LDST_uimm', 'LDST_unscaled_v', 'LDST_uimm_v', 'LDSTP', 'LDSTP_v', 'LDST_multi', 'LDST_single',
               'LDOP', 'SWP', 'CAS', 'LDXR', 'STXR', 'LDAR', 'STLR'}
NOT_IN_PROGRAMS = {'UNALLOCATED', 'B', 'BL', 'CBZ', 'B_cond', 'TBZ', 'BR', 'BLR', 'RET', 'LDR_lit', 'LDR_lit_v', 'ADR', 'CASP',
                   'LDXP', 'STXP'}


def program_insn(row, insn):
    """The instruction with its access, if any, off BASE and inside the window; None if it does not fit in a program."""
    if row.name in NOT_IN_PROGRAMS:
        return None
    if row.name in IN_PROGRAMS:
        insn = row.insert(insn, 'rn', BASE)
        if row.name.startswith('LDSTP'):
            insn = row.insert(row.insert(insn, 'imm', sext(row.extract(insn, 'imm'), 7) // 8), 'idx', 2)
        elif 'uimm' in row.name:
            insn = row.insert(insn, 'imm', row.extract(insn, 'imm') % 24)
        elif 'imm' in row.fields:
            insn = row.insert(insn, 'imm', sext(row.extract(insn, 'imm'), 9))
        if row.name in ('LDXR', 'STXR'):  # a pair of different sizes may or may not succeed
            insn = row.insert(insn, 'size', 3)
        names = ('rt', 'rt2', 'rs')
    elif row.name.startswith('LDST'):
        return None
    else:
        names = WRITTEN
    if any(n in row.fields and row.extract(insn, n) in (BASE, COUNTER) for n in names) or not row.matches(insn):
        return None
    return insn


class Program(Case):
    def __init__(self, number, seed, body):
        super().__init__(None, number, 0, seed)
        self.body = body
        self.flags = MEMORY
        self.overrides = [(BASE, WINDOW + 512), (COUNTER, 1 + seed % 4)]

    def insns(self):
        return self.body


def forward_branch(rng, rows, distance):
    name = rng.choice(['B_cond', 'B_cond', 'CBZ', 'TBZ', 'B'])
    row = rows[name]
    while True:
        insn = row.insert(random_insn(rng, row), 'imm', distance)
        if row.matches(insn):
            return insn


def program(rng, number, pool, rows):
    count = rng.randrange(4, MAX_INSNS + 1)
    body = [rng.choice(pool)[1] for _ in range(count)]
    loop_end = None
    if count > 6 and rng.random() < 0.4:  # sub x23, x23, 1; cbnz x23, back
        loop_end = rng.randrange(5, count)
        start = rng.randrange(0, loop_end - 1)
        body[loop_end - 1] = 0xD1000400 | COUNTER << 5 | COUNTER
        body[loop_end] = 0xB5000000 | ((start - loop_end) & 0x7FFFF) << 5 | COUNTER
    for at in range(count):
        if rng.random() < 0.12 and (loop_end is None or at not in (loop_end - 1, loop_end)):
            target = rng.randrange(at + 1, count + 2)
            if target != loop_end:
                body[at] = forward_branch(rng, rows, target - at)
    return Program(number, rng.getrandbits(64), body)


# --- loops: registers with and without a host register of their own, and something that may fault on the way ----------

IN_LOOPS = {'ADDSUB_imm', 'ADDSUB_reg', 'ADDSUB_ext', 'LOGIC_imm', 'LOGIC_reg', 'MOVW', 'BITFIELD', 'EXTR', 'ADC', 'CCMP_reg', 'CCMP_imm',
            'CSEL', 'SHIFTV', 'RBIT', 'REV64', 'CLZ', 'MADD', 'MADDL', 'MULH', 'DIV', 'LDST_unscaled', 'LDST_uimm', 'LDST_unscaled_v',
            'LDST_uimm_v', 'LDSTP', 'LDSTP_v', 'FP_DP1', 'FP_DP2', 'FP_DP3', 'FP_CMP', 'FP_CSEL', 'V3SAME', 'VELEM', 'VCOPY', 'VPERMUTE'}
NAMES = ('rd', 'rn', 'rm', 'ra', 'rt', 'rt2', 'rs')
POST_LOAD, POST_STORE = 0xF8400400, 0xF8000400  # ldr, str xt, [xn], imm


def renamed(row, insn, names):
    """The instruction on few registers; None if it would be another one."""
    for f in NAMES:
        if f in row.fields and not (f == 'rn' and row.name in IN_PROGRAMS):
            r = row.extract(insn, f)
            to = r if r == 31 else names[r % len(names)]
            if to >> row.width(f):
                return None
            insn = row.insert(insn, f, to)
    moved = [row.extract(insn, f) for f in ('rt', 'rt2', 'rs') if f in row.fields]
    return insn if row.matches(insn) and len(set(moved)) == len(moved) else None


def few_registers(rng):
    free = [r for r in range(31) if r not in (BASE, FOLLOW, COUNTER, WALK, INDEX, TABLE)]
    return rng.sample(free, rng.randrange(3, 20))


def straight(rng, pool, names, count):
    insns = []
    while len(insns) < count:
        insn = renamed(*rng.choice(pool), names)
        if insn is not None:
            insns.append(insn)
    return insns


def back_edge(rng, distance):
    """Instructions that count down and branch so far back from the first of them."""
    if rng.random() < 0.5:
        return [0xD1000400 | COUNTER << 5 | COUNTER, 0xB5000000 | ((-distance - 1) & 0x7FFFF) << 5 | COUNTER]
    return [0xF1000400 | COUNTER << 5 | COUNTER, 0x54000001 | ((-distance - 1) & 0x7FFFF) << 5]  # subs; b.ne


def follow(rng):
    """What makes FOLLOW from WALK."""
    return rng.choice([0x91000000, 0xD1000000]) | 8 * rng.randrange(12) << 10 | WALK << 5 | FOLLOW  # add, sub


# With a register as the offset: ldr, str of a byte, x and q; ldr of w.
INDEXED = [0x38600800, 0x38200800, 0xF8600800, 0xF8200800, 0x3CE00800, 0x3CA00800, 0xB8600800]


def indexed(rng, names):
    """An access off TABLE, which never changes, by INDEX, or the other way round."""
    option = rng.choice([3, 3, 3, 3, 2, 6]) << 13 | rng.randrange(2) << 12  # LSL, UXTW, SXTW; scaled
    rn, rm = (TABLE, INDEX) if rng.random() < 0.8 else (INDEX, TABLE)
    if rn == INDEX:
        option &= ~(1 << 12)
    return rng.choice(INDEXED) | option | rm << 16 | rn << 5 | rng.choice(names)


def summed(rng, names):
    """The same in two instructions: what the first one makes, in FOLLOW, is there to be read. With what comes in front of the loop,
    as a branch may skip the first one."""
    shift, rt = rng.randrange(1, 4), rng.choice(names)
    if rng.random() < 0.5:  # add FOLLOW, TABLE, INDEX, lsl shift; ldr, str xt, [FOLLOW]
        first = 0x8B000000 | INDEX << 16 | shift << 10 | TABLE << 5 | FOLLOW
        second = rng.choice([0xF9400000, 0xF9000000]) | FOLLOW << 5 | rt
    else:  # lsl FOLLOW, INDEX, shift; ldr, str xt, [TABLE, FOLLOW]
        first = 0xD3400000 | (64 - shift) << 16 | (63 - shift) << 10 | INDEX << 5 | FOLLOW
        second = rng.choice([0xF8606800, 0xF8206800]) | FOLLOW << 16 | TABLE << 5 | rt
    return [first], [first, second]


def step(rng):
    """What INDEX moves by."""
    return rng.choice([0x91000000, 0xD1000000]) | rng.choice([1, 1, 2, 4, 8, 16, 24]) << 10 | INDEX << 5 | INDEX


def with_aside(rng, rows, body, before, more):
    """The loop from `before` on, with its back edge at the end of body, and another one behind it, to which a branch leads. In front of
    that is the way out, if control is not to go on there."""
    at = rng.randrange(before, len(body) - 2)
    out, aside = more[:1] + [0x14000000], more[1:]  # b
    if rng.random() < 0.3:
        out, aside = [], [0xB4000000 | COUNTER] + aside  # cbz
    start = len(body) + len(out)
    end = back_edge(rng, start + len(aside) - before)
    if out:
        out[-1] |= 1 + len(aside) + len(end)
    else:
        aside[0] |= (len(aside) + len(end)) << 5
    while True:
        body[at] = forward_branch(rng, rows, start - at)
        if body[at] >> 26 != 5:  # not always
            return body + out + aside + end


class Loop(Program):
    def __init__(self, rng, number, body):
        super().__init__(number, rng.getrandbits(64), body)
        rounds = 1 + rng.randrange(16)
        left = rng.randrange(1, 2 * rounds)  # accesses of WALK before the end of its page, or of what is mapped
        end = rng.choice([WINDOW + 256, SCRATCH + SCRATCH_BYTES])
        self.overrides = [(BASE, WINDOW + 512), (COUNTER, rounds), (WALK, end - 8 * min(left, 16))]


def loop(rng, number, pool, rows):
    simple = [p for p in pool if p[0].name in IN_LOOPS] if rng.random() < 0.8 else pool
    names = few_registers(rng)
    with_index = rng.random() < 0.5
    before, inside, after = rng.randrange(3), rng.randrange(2, 6 if with_index else 15), rng.randrange(3)
    body = straight(rng, simple, names, before + inside)
    for at in range(before, before + inside):
        if rng.random() < 0.08:
            body[at] = forward_branch(rng, rows, rng.randrange(1, before + inside - at + 1))
    follows = False
    if rng.random() < 0.5:
        walk = rng.choice([POST_LOAD, POST_STORE]) | 8 << 12 | WALK << 5 | rng.choice(names)
        body.insert(rng.randrange(before, len(body) + 1), walk)
        follows = rng.random() < 0.5
        if follows:
            access = rng.choice([0xF9400000, 0xF9000000]) | FOLLOW << 5 | rng.choice(names)  # ldr, str xt, [xn]
            body.insert(rng.randrange(before, len(body) + 1), access)
            body.insert(len(body) if rng.random() < 0.8 else rng.randrange(before, len(body) + 1), follow(rng))
            body.insert(0, follow(rng))
            before += 1
    if with_index:
        first = []
        for _ in range(rng.randrange(1, 4)):
            at = rng.randrange(before, len(body) + 1)
            if rng.random() < 0.2 and not first and not follows:
                first, body[at:at] = summed(rng, names)
            else:
                body.insert(at, indexed(rng, names))
        body.insert(len(body) if rng.random() < 0.8 else rng.randrange(before, len(body) + 1), step(rng))
        table = 0xD1000000 | 8 * rng.randrange(17, 64) << 10 | BASE << 5 | TABLE  # sub; it is in the first page or not
        first = [table, 0xD2800000 | rng.choice([0, 16, 128]) << 5 | INDEX] + first  # movz
        body[:0] = first
        before += len(first)
    body += back_edge(rng, len(body) - before)
    if not follows and len(body) < MAX_INSNS - 9 and rng.random() < 0.4:
        more = straight(rng, simple, names, rng.randrange(1, 4))
        if with_index:
            more += [rng.choice([indexed(rng, names), step(rng)]), step(rng)][: rng.randrange(3)]
        body = with_aside(rng, rows, body, before, more)
    return Loop(rng, number, body + straight(rng, simple, names, after))


def generate_programs(pool, rows, seed, first, count, make_one=program):
    by_name = {r.name: r for r in rows}
    for i in range(first, first + count):
        yield make_one(random.Random(f'{make_one.__name__} {seed}/{i}'), 0, pool, by_name)
