# SPDX-License-Identifier: Apache-2.0
# Copyright The Graft Authors
"""What there is to run: bench/suites.txt, the programs built from it, their input, and the guest's initial RAM disk."""

import gzip
import os
import random
import shutil
import subprocess
from dataclasses import dataclass

from .machines import DEFAULT

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
BENCH = os.path.join(ROOT, "bench")
PROGRAM_SUITES = ("int", "fp", "fpvec", "mem", "sys", "apps", "held")
SUITES = PROGRAM_SUITES + ("boot", "micro")
PAYLOADS = os.path.join(ROOT, "tests", "payloads")

# One set of flags for each suite; the same for all architectures. Scalar code must not be vectorised or fused
# behind our back: GCC does both at -O2 on AArch64.
SCALAR = ["-O2", "-ffp-contract=off", "-fno-tree-vectorize", "-fno-math-errno"]
FLAGS = {"int": ["-O2"], "fp": SCALAR, "fpvec": ["-O3", "-fno-math-errno"], "mem": ["-O2"], "sys": ["-O2"],
         "apps": ["-O2"], "held": ["-O2", "-ffp-contract=off", "-fno-math-errno"]}
PAYLOAD_FLAGS = ["-O2", "-ffreestanding", "-nostdlib", "-static", "-fno-pic", "-fno-stack-protector",
                 "-Wl,--build-id=none", "-Wl,--no-warn-rwx-segments"]


@dataclass
class Benchmark:
    suite: str
    name: str
    program: str
    checksum: str
    args: list

    def expected(self, arch):
        """The checksum that has to come out, or None when the runs only have to agree."""
        if self.checksum.startswith("agree"):
            return None
        guest, _, native = self.checksum.partition(":")
        return guest if arch == "guest" or not native else native

    def arguments(self, programs, places):
        values = dict(places)
        values["@CC1@"] = programs.cc1
        values["@PYTHON@"] = programs.python
        values["@PRIME@"] = str(2 ** 1279 - 1)
        result = []
        for arg in self.args:
            for key, value in values.items():
                arg = arg.replace(key, value)
            result.append(arg)
        return result


def load(only=None, path=os.path.join(BENCH, "suites.txt")):
    """{suite: [Benchmark]}; only: just the benchmarks of that name."""
    table = {suite: [] for suite in PROGRAM_SUITES + ("micro",)}
    with open(path, encoding="utf-8") as file:
        for number, line in enumerate(file, 1):
            words = line.split()
            if not words or words[0].startswith("#"):
                continue
            if len(words) < 4 or words[0] not in table:
                raise ValueError(f"{path}:{number}: not a benchmark")
            if only in (None, words[1]):
                table[words[0]].append(Benchmark(words[0], words[1], words[2], words[3], words[4:]))
    return table


def sources_of(suite):
    folder = os.path.join(BENCH, suite)
    return sorted(os.path.join(folder, f) for f in os.listdir(folder) if f.endswith(".c"))


def newest(paths):
    return max(os.stat(p).st_mtime for p in paths)


def compilers(machine):
    return {"guest": machine.tools + "gcc", "native": "gcc"}


def build(suites, out, machine=DEFAULT):
    """Compiles the programs of these suites for the machine and for this one; only what is out of date."""
    headers = [os.path.join(f, h) for f in (BENCH, os.path.join(BENCH, "int"), os.path.join(BENCH, "sys"))
               for h in os.listdir(f) if h.endswith(".h")]
    for arch, compiler in compilers(machine).items():
        for suite in suites:
            folder = os.path.join(out, arch, suite)
            os.makedirs(folder, exist_ok=True)
            for source in sources_of(suite):
                target = os.path.join(folder, os.path.basename(source)[:-2])
                inputs = headers + [source, os.path.abspath(__file__)]
                if os.path.exists(target) and os.stat(target).st_mtime > newest(inputs):
                    continue
                command = [compiler, *FLAGS[suite], "-Wall", "-static", "-I", BENCH, source, "-o", target, "-lm"]
                subprocess.run(command, check=True)


def build_payload(source, target, flags=(), machine=DEFAULT):
    """target.bin, a flat binary from one source and the payloads' library; returns its name."""
    library, elf, image = os.path.join(PAYLOADS, "lib"), target + ".elf", target + ".bin"
    shared = [os.path.join(library, f) for f in sorted(os.listdir(library)) if f.endswith((".c", ".S"))]
    subprocess.run([machine.tools + "gcc", *PAYLOAD_FLAGS, *machine.payload, *flags, "-I", library, *shared, source,
                    f"-Wl,-T,{library}/payload.lds", "-o", elf], check=True)
    subprocess.run([machine.tools + "objcopy", "-O", "binary", elf, image], check=True)
    return image


def build_payloads(out):
    """The flat binaries of the micro suite, by name."""
    folder, sources = os.path.join(out, "micro"), os.path.join(PAYLOADS, "bench")
    os.makedirs(folder, exist_ok=True)
    return {name[:-2]: build_payload(os.path.join(sources, name), os.path.join(folder, name[:-2]))
            for name in sorted(os.listdir(sources)) if name.endswith(".c")}


# --- input of Debian's programs ---------------------------------------------

SQL = """
CREATE TABLE person(id INTEGER PRIMARY KEY, name TEXT, city INTEGER, score INTEGER);
CREATE TABLE city(id INTEGER PRIMARY KEY, name TEXT);
WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 200)
INSERT INTO city SELECT i, 'city' || (i * 7919 % 1000) FROM n;
WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 60000)
INSERT INTO person SELECT i, 'name' || (i * 7919 % 10007), i * 31 % 200 + 1, i * 12345 % 1000 FROM n;
CREATE INDEX by_name ON person(name);
SELECT city.name, count(*), sum(score), max(person.name) FROM person JOIN city ON city.id = person.city
  GROUP BY city.name ORDER BY 3 DESC LIMIT 20;
UPDATE person SET score = score + 1 WHERE name LIKE 'name1%';
SELECT count(*), sum(length(name) * score) FROM person WHERE name BETWEEN 'name2' AND 'name7';
DELETE FROM person WHERE id % 3 = 0;
SELECT count(DISTINCT name), total(score) FROM person;
"""

PERL = r"""
my (%count, %next, $previous, $long);
while (my $line = <STDIN>) {
    for my $word (split /[ \n]+/, $line) {
        $count{$word}++;
        $next{$previous}{$word}++ if defined $previous;
        $previous = $word;
        $long++ if $word =~ /^([a-z])[a-z]*?\1[a-z]+$/;
        $word =~ s/([aeiou])/uc $1/ge;
    }
}
my @order = sort { $count{$b} <=> $count{$a} || $a cmp $b } keys %count;
printf "%s %d %d\n", $_, $count{$_}, scalar keys %{$next{$_}} for @order[0 .. 40];
print "$long\n", join(",", map { sprintf "%03x", length $_ } @order[0 .. 100]), "\n";
"""

PYTHON = """
def primes(limit):
    sieve = bytearray([1]) * limit
    for i in range(2, int(limit ** 0.5) + 1):
        if sieve[i]:
            sieve[i * i::i] = bytes(len(range(i * i, limit, i)))
    return [i for i in range(2, limit) if sieve[i]]


class Node:
    def __init__(self, key):
        self.key, self.left, self.right = key, None, None

    def insert(self, key):
        side = 'left' if key < self.key else 'right'
        child = getattr(self, side)
        if child is None:
            setattr(self, side, Node(key))
        else:
            child.insert(key)

    def walk(self):
        if self.left:
            yield from self.left.walk()
        yield self.key
        if self.right:
            yield from self.right.walk()


def collatz(n, seen={1: 0}):
    if n not in seen:
        seen[n] = 1 + collatz(n // 2 if n % 2 == 0 else 3 * n + 1)
    return seen[n]


found = primes(200000)
tree = Node(50021)
for i in range(6000):
    tree.insert(i * 7919 % 100003)
words = {}
for i in range(60000):
    key = 'k%x' % (i * i % 5003)
    words[key] = words.get(key, 0) + len(key)
print(len(found), sum(found), sum(k * i % 97 for i, k in enumerate(tree.walk())))
print(max(collatz(n) for n in range(1, 30000)), sorted(words.items(), key=lambda p: (-p[1], p[0]))[:20])
print(pow(3, 2 ** 11213 % (2 ** 600), 2 ** 607 - 1) % 10 ** 30, sum(float(i) ** 0.5 for i in range(1, 1000)) > 0)
"""


def prose(size, seed):
    generator = random.Random(seed)
    letters = "etaoinshrdlucmfwypvbgk"
    words = ["".join(generator.choice(letters[:generator.randrange(3, 22)]) for _ in range(generator.randrange(2, 10)))
             for _ in range(3000)]
    out, length = [], 0
    while length < size:
        word = words[int(3000 * generator.random() ** 3)]
        out.append(word + ("\n" if generator.random() < 0.1 else " "))
        length += len(out[-1])
    return "".join(out)[:size - 1] + "\n"


def make_data(out, machine):
    """Input files, deterministic, in out/data; `big` only for native runs: the guest makes its own."""
    data = os.path.join(out, "data")
    stamp = os.path.join(data, ".done")
    if os.path.exists(stamp) and os.stat(stamp).st_mtime > os.stat(os.path.abspath(__file__)).st_mtime:
        return data
    shutil.rmtree(data, ignore_errors=True)
    os.makedirs(data)

    def put(name, text):
        with open(os.path.join(data, name), "w", encoding="ascii") as file:
            file.write(text)

    text = prose(400000, 1)
    put("text", text)
    put("big", text * 20)
    put("sqlite.sql", SQL)
    put("words.pl", PERL)
    put("work.py", PYTHON)
    with open(os.path.join(data, "text.xz"), "wb") as file:
        subprocess.run(["xz", "-6", "-T1", "-c"], input=(text * 8).encode(), stdout=file, check=True)
    source = os.path.join(BENCH, "int", "hashtable.c")
    for arch, compiler in compilers(machine).items():
        target = os.path.join(data, f"input-{arch}.i")
        subprocess.run([compiler, "-E", "-P", "-O2", "-I", BENCH, source, "-o", target], check=True)
    shutil.copy(os.path.join(data, "input-native.i"), os.path.join(data, "input.i"))
    open(stamp, "w", encoding="ascii").close()
    return data


# --- the guest's initial RAM disk -------------------------------------------

GUEST_SCRIPT = r"""#!/bin/sh
# Made by scripts/compare: runs the programs of one suite, in order, or only one of them.
dmesg -n 1
mkdir -p /mnt /tmp
if [ "$graft_bench" = apps ]; then
    mount -t ext4 -o ro,noload /dev/vda /mnt || echo "BENCH trouble: no disk"
    mount -o bind /data /mnt/data
    mount -o bind /dev /mnt/dev
    mount -t proc proc /mnt/proc
    mount -t tmpfs tmpfs /mnt/tmp
    i=0
    while [ $i -lt 20 ]; do cat /data/text; i=$((i + 1)); done >/data/big
elif [ -b /dev/vda ]; then
    mount -t ext4 /dev/vda /mnt || echo "BENCH trouble: no disk"
fi
run() {
    name=$1
    shift
    if [ -n "$graft_only" ] && [ "$graft_only" != "$name" ]; then return; fi
    echo "BENCH begin $name"
    "$@"
    echo "BENCH end $name $?"
}
. "/bench/$graft_bench.sh"
cd /
umount /mnt/tmp /mnt/proc /mnt/dev /mnt/data /mnt 2>/dev/null
echo "BENCH complete"
"""


def quote(word):
    return "'" + word.replace("'", "'\\''") + "'"


def make_initrd(base, table, out, machine=DEFAULT):
    """The base image followed by an archive with our programs; the kernel unpacks one after the other."""
    root = os.path.join(out, "overlay")
    shutil.rmtree(root, ignore_errors=True)
    os.makedirs(os.path.join(root, "scripts"))
    os.makedirs(os.path.join(root, "bench"))
    with open(os.path.join(root, "scripts", "compare"), "w", encoding="ascii") as file:
        file.write(GUEST_SCRIPT)
    places = {"@ROOT@": "/mnt", "@DATA@": "/data", "@DISK@": "/mnt"}
    for suite, benchmarks in table.items():
        os.makedirs(os.path.join(root, "bench", suite))
        lines = []
        for b in benchmarks:
            target = os.path.join(root, "bench", suite, b.program)
            if not os.path.exists(target):
                shutil.copy(os.path.join(out, "guest", suite, b.program), target)
            words = [b.name, f"/bench/{suite}/{b.program}", *b.arguments(machine.programs, places)]
            lines.append("run " + " ".join(quote(w) for w in words) + "\n")
        with open(os.path.join(root, "bench", suite + ".sh"), "w", encoding="ascii") as file:
            file.writelines(lines)
    if "apps" in table:
        data = make_data(out, machine)
        target = os.path.join(root, "data")
        os.makedirs(target)
        for name in ("text", "text.xz", "sqlite.sql", "words.pl", "work.py"):
            shutil.copy(os.path.join(data, name), target)
        shutil.copy(os.path.join(data, "input-guest.i"), os.path.join(target, "input.i"))
    names = subprocess.run(["find", ".", "-print0"], cwd=root, stdout=subprocess.PIPE, check=True).stdout
    names = b"\0".join(sorted(names.split(b"\0")[:-1])) + b"\0"
    archive = subprocess.run(["cpio", "--quiet", "-0", "-o", "-H", "newc", "-R", "0:0"], cwd=root, input=names,
                             stdout=subprocess.PIPE, check=True).stdout
    some = "" if set(table) == set(PROGRAM_SUITES) else "-" + "-".join(table)
    initrd = os.path.join(out, f"initrd{some}.gz")
    with open(initrd, "wb") as file, open(base, "rb") as first:
        shutil.copyfileobj(first, file)
        file.write(gzip.compress(archive, 6, mtime=0))
    return initrd


def make_scratch_disk(out):
    """An empty ext4 file system for the sys suite; every boot gets a fresh copy."""
    disk = os.path.join(out, "scratch.ext4")
    if not os.path.exists(disk):
        with open(disk + ".new", "wb") as file:
            file.truncate(128 << 20)
        environment = dict(os.environ, PATH=os.environ["PATH"] + ":/sbin:/usr/sbin")
        subprocess.run(["mkfs.ext4", "-q", "-F", "-L", "scratch", disk + ".new"], check=True, env=environment)
        os.rename(disk + ".new", disk)
    return disk
