#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
# Copyright The Graft Authors
"""scripts/compare and scripts/experiment without a guest: figures from recorded samples and consoles. Usage errors of all
scripts."""

import csv
import json
import os
import re
import subprocess
import sys
import tempfile
import unittest

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
sys.path.insert(0, os.path.join(ROOT, "bench"))
sys.dont_write_bytecode = True

from harness import contenders, experiments, machines, report, setup, suites  # noqa: E402  (needs the path above)
from harness.contenders import Contender, Sample  # noqa: E402

TEAM = [Contender("qemu-10", "qemu"), Contender("qemu-7", "qemu"), Contender("graft-window", "graft"),
        Contender("native", "native")]


def row(group, name, **times):
    """times: qemu10=[ns or an error, ...] and so on."""
    keys = {"qemu10": "qemu-10", "qemu7": "qemu-7", "graft": "graft-window", "native": "native"}
    made = report.Row(group, name, TEAM)
    for key, values in times.items():
        made.samples[keys[key]] = [Sample(v) if isinstance(v, int) else Sample(error=v) for v in values]
    return made


ROWS = [row("int", "even", qemu10=[400, 440, 400], qemu7=[500, 500, 500], graft=[100, 110, 200], native=[50, 50, 50]),
        row("int", "better7", qemu10=[900, 900, 900], qemu7=[90, 90, 90], graft=[90, 100, 80], native=[45, 45, 45]),
        row("fp", "slow", qemu10=[100], qemu7=[100], graft=[125], native=[10])]


class Figures(unittest.TestCase):
    def test_ratio_is_paired_and_against_the_better_qemu(self):
        even, better7, _ = ROWS
        self.assertEqual(even.better(["qemu-10", "qemu-7"]), "qemu-10")
        self.assertEqual(even.ratios("qemu-10", "graft-window"), [4, 4, 2])
        self.assertEqual(better7.better(["qemu-10", "qemu-7"]), "qemu-7")

    def test_json(self):
        result = report.Report(TEAM, ROWS, {"commands": []}).as_json()
        self.assertAlmostEqual(result["geomean"]["int"], (4 * 1) ** 0.5)
        self.assertAlmostEqual(result["geomean"]["fp"], 0.8)
        self.assertEqual(result["slower_than_qemu"], ["fp/slow"])
        self.assertAlmostEqual(result["slowdown_against_native"]["graft-window"]["int"], (2.2 * 2) ** 0.5)
        self.assertEqual(result["benchmarks"][1]["better_qemu"], "qemu-7")
        json.dumps(result)

    def test_table(self):
        text = report.Report(TEAM, ROWS, {"host": "here", "commands": ["how"]}).markdown()
        for part in ("* host: here", "| benchmark | native | qemu-10 | qemu-7 | graft-window | graft-window / QEMU |",
                     "| even | ", "**4.00x** (2.00-4.00)", "| 2.20x |", "how"):
            self.assertIn(part, text)

    def test_where_it_ran_is_said_at_every_table(self):
        team = [TEAM[0], Contender("graft-soft", "graft", place="host none, layout x, strategy soft")]
        one = report.Row("int", "x", team)
        for c in team:
            one.samples[c.name] = [Sample(100)]
        made = report.Report(team, [one], {"commands": []})
        self.assertEqual(made.as_json()["places"], {"graft-soft": "host none, layout x, strategy soft"})
        self.assertEqual(made.markdown().count("graft-soft: host none, layout x, strategy soft."), 2)

    def test_fresh_boots_are_a_column(self):
        rows = [row("mem", "chase", qemu10=[100], qemu7=[100], graft=[50], native=[10]),
                row("mem_fresh", "chase", qemu10=[500], qemu7=[600], graft=[50], native=[10])]
        text = report.Report(TEAM, rows, {"commands": []}).markdown()
        self.assertIn("| graft-window / QEMU | graft-window / native | graft-window / QEMU, fresh boot |", text)
        self.assertIn("| **2.00x** (2.00-2.00) | 5.00x | **10.00x** (10.00-10.00) |", text)

    def test_failure_is_shown_and_not_averaged(self):
        rows = [ROWS[0], row("int", "bad", qemu10=[100], qemu7=[100], graft=["checksum 1, not 2"], native=[10])]
        made = report.Report(TEAM, rows, {"commands": []})
        self.assertEqual(made.failures(), ["int/bad: graft-window: checksum 1, not 2"])
        self.assertAlmostEqual(made.as_json()["geomean"]["int"], 4)
        self.assertIn("| bad | 0.0 ms | 0.0 ms | 0.0 ms | FAILED | FAILED | - |", made.markdown())

    def test_one_strategy_counts_all_are_shown(self):
        team = TEAM + [Contender("graft-soft", "graft")]
        one = report.Row("int", "x", team)
        for name, ns in (("qemu-10", 100), ("qemu-7", 100), ("graft-window", 50), ("native", 10), ("graft-soft", 25)):
            one.samples[name] = [Sample(ns)]
        result = report.Report(team, [one], {"commands": []}).as_json()
        self.assertAlmostEqual(result["geomean"]["int"], 2)
        self.assertAlmostEqual(result["geomean_by_strategy"]["graft-soft"]["int"], 4)


class FakeConsole:
    """Lines that were recorded, ten milliseconds apart."""

    def __init__(self, text, verdict=None):
        self.text, self.reason = text, verdict
        self.start, self.typed = 0, []
        self.end = (len(text) + 1) * 10_000_000

    def lines(self, unfinished=False):
        for i, line in enumerate(self.text):
            yield (i + 1) * 10_000_000, line

    def type(self, text):
        self.typed.append(text)

    def verdict(self):
        return self.reason


def benchmark(name, checksum="00000000000000aa"):
    return suites.Benchmark("int", name, name, checksum, [])


def result(name, checksum="00000000000000aa", total=8_000_000):
    return f"{name} checksum={checksum} time_ns=5000000 total_ns={total}"


class Consoles(unittest.TestCase):
    def collect(self, text, names=("a",), verdict=None):
        return contenders.collect(FakeConsole(text, verdict), [benchmark(n) for n in names], "guest")

    def test_good(self):
        samples, reason = self.collect(["BENCH begin a", result("a"), "BENCH end a 0", "BENCH complete"])
        self.assertIsNone(reason)
        self.assertEqual((samples["a"].ns, samples["a"].error), (5000000, None))

    def test_wrong_checksum(self):
        samples, _ = self.collect(["BENCH begin a", result("a", "00000000000000ab"), "BENCH end a 0", "BENCH complete"])
        self.assertIn("checksum 00000000000000ab, not", samples["a"].error)

    def test_exit_status_and_missing(self):
        samples, reason = self.collect(["BENCH begin a", "BENCH end a 1"], ("a", "b"), "exit status 3")
        self.assertEqual(samples["a"].error, "exit status 1")
        self.assertEqual(samples["b"].error, "no result (exit status 3)")
        self.assertEqual(reason, "exit status 3")

    def test_result_of_another_program_does_not_count(self):
        samples, _ = self.collect(["BENCH begin a", result("b"), "BENCH end a 0", "BENCH complete"])
        self.assertIn("no result", samples["a"].error)

    def test_clock_that_is_wrong(self):
        text = ["BENCH begin a", result("a", total=900_000_000), "BENCH end a 0", "BENCH complete"]
        self.assertIn("clock is fast", self.collect(text)[0]["a"].error)

    def boot(self, text, verdict=None):
        console = FakeConsole(text, verdict)
        contender = Contender("graft-window", "graft")
        contender.console = lambda guest, log: console
        return (*contender.run_disk_boot(None, ""), console.typed)

    def test_disk_boot(self):
        samples, reason, typed = self.boot(["Debian GNU/Linux 12 graft ttyAMA0", "graft login: ", "root@graft:~# ",
                                            "[   9.0] reboot: Power down"])
        self.assertIsNone(reason)
        self.assertEqual(typed, ["root\n", "poweroff\n"])
        self.assertEqual(samples["disk-login"].ns, 20_000_000)
        self.assertEqual(samples["disk-poweroff"].ns, 50_000_000)

    def test_disk_boot_that_hangs(self):
        samples, reason, _ = self.boot(["graft login: "], "nothing on the console for 180 s")
        self.assertEqual((samples["disk-poweroff"].error, samples["disk-login"].error), (reason, None))


class Experiments(unittest.TestCase):
    VALUES = {1: {"qemu-10": [5.0, 7.0, 6.0], "qemu-10 staying": [1.0, 1.0, 1.0]},
              4: {"qemu-10": [9.0, 8.0, 7.0], "qemu-10 staying": [2.0, 2.0, 3.0]}}

    def test_table(self):
        with tempfile.TemporaryDirectory() as folder:
            path = os.path.join(folder, "x.csv")
            experiments.write_table(experiments.AsidSwitch, self.VALUES, path, "here")
            with open(path, encoding="ascii") as file:
                rows = list(csv.reader(file))
        self.assertEqual(rows[0], ["# here"])
        self.assertEqual(rows[1][1:4], ["qemu-10", "qemu-10 min", "qemu-10 max"])
        self.assertEqual(rows[2], ["1", "6.00", "5.00", "7.00", "1.00", "1.00", "1.00"])

    def test_turns(self):
        class Fake:
            points = (1, 2)

            def __init__(self):
                self.seen = []

            def run(self, contender, point, log):
                self.seen.append((point, contender.name))
                return {"": 1.0}
        fake = Fake()
        values = experiments.measure(fake, TEAM[:2], 2, "", lambda *a: None)
        self.assertEqual(fake.seen[:4], [(1, "qemu-10"), (1, "qemu-7"), (2, "qemu-10"), (2, "qemu-7")])
        self.assertEqual(values[2]["qemu-7"], [1.0, 1.0])


INFO = """graft         0.1.0, ABI 1
kvm           %s
processor     sse4.1 avx2
layout        %s: where
strategies    window   host pages%s
              soft     a software TLB
              process  pages of the process%s
              direct   the guest's own addresses%s
"""


class Hosts(unittest.TestCase):
    def test_none(self):
        host = setup.parse_info(INFO % ("none (/dev/kvm: No such file)", "in-process", "", " (default)", " (needs --layout ring0)"))
        self.assertEqual((host.kind, host.default, list(host.layouts)), ("none", "process", ["window", "soft", "process"]))
        self.assertEqual(host.place("soft"), "host none, layout in-process, strategy soft")

    def test_pvm(self):
        host = setup.parse_info(INFO % ("pvm: shadow page tables", "flat", " (default)", " (needs --vm inproc)",
                                         " (needs --layout ring0)"))
        self.assertEqual((host.kind, host.default), ("pvm", "window"))
        self.assertEqual(host.place("window"), "host pvm, layout flat, strategy window")
        self.assertEqual(host.place("process"), "host pvm, layout in-process, strategy process")
        self.assertNotIn("direct", host.layouts)

    def test_hw(self):
        host = setup.parse_info(INFO % ("hw: VMX or SVM", "ring0", "", " (needs --vm inproc)", " (default)"))
        self.assertEqual((host.kind, host.default), ("hw", "direct"))
        self.assertEqual(host.place("direct"), "host hw, layout ring0, strategy direct")


class Machines(unittest.TestCase):
    def command(self, kind, name):
        contender = Contender(kind, kind, "PROGRAM", "soft", machine=machines.MACHINES[name])
        return " ".join(contender.command(contenders.Guest("KERNEL", "INITRD", "WORDS"), "x.log"))

    def test_graft_gets_the_processor_that_qemu_has(self):
        self.assertIn("-M virt,gic-version=3 -cpu cortex-a72 -smp 1", self.command("qemu", "arm64"))
        self.assertIn("--memory 1G --cpu cortex-a72 --initrd", self.command("graft", "arm64"))
        self.assertIn("-M virt -cpu rv64 -smp 1", self.command("qemu", "riscv64"))
        self.assertNotIn("--cpu", self.command("graft", "riscv64"))

    def test_programs_are_where_that_debian_has_them(self):
        wanted = {b.name: b for b in suites.load()["apps"]}
        for name, python in (("arm64", "python3.11"), ("riscv64", "python3.13")):
            programs = machines.MACHINES[name].programs
            self.assertIn("/usr/bin/" + python, wanted["python3"].arguments(programs, {}))
            self.assertIn(programs.cc1, wanted["cc1"].arguments(programs, {}))

    def test_what_a_machine_lacks_is_a_suite(self):
        for machine in machines.MACHINES.values():
            self.assertLessEqual(set(machine.lacks), set(suites.SUITES))


class Documentation(unittest.TestCase):
    def test_every_statistic_is_explained(self):
        with open(os.path.join(ROOT, "include", "graft", "abi_stats.def"), encoding="ascii") as file:
            names = re.findall(r"^ABI_STAT(?:_COUNTED)?\((\w+),", file.read(), re.M)
        with open(os.path.join(ROOT, "docs", "experiments.md"), encoding="utf-8") as file:
            text = file.read()
        self.assertGreater(len(names), 40)
        self.assertEqual([n for n in names if f"`{n}`" not in text], [])


class Manners(unittest.TestCase):
    def status(self, script, *arguments):
        done = subprocess.run([os.path.join(ROOT, "scripts", script), *arguments], capture_output=True, text=True,
                              timeout=60, check=False)
        return done.returncode, done.stdout, done.stderr

    def test_usage_errors(self):
        for script, arguments in (("compare", ["--frob"]), ("compare", ["--suite", "none"]), ("compare", ["--rounds"]),
                                  ("compare", ["--rounds", "x"]), ("compare", ["--mmu", "a,a"]),
                                  ("compare", ["--peer", "/none"]), ("compare", ["--cpus", "9999"]),
                                  ("compare", ["--kpti", "on"]), ("compare", ["--guest", "m68k"]),
                                  ("compare", ["--guest", "riscv64", "--suite", "micro"]),
                                  ("compare", ["--guest", "riscv64", "--kpti", "off"]),
                                  ("fetch-root", ["--guest", "m68k"]), ("fetch-apps", ["--guest"]),
                                  ("compare", ["--suite", "int", "--only", "nbody"]),
                                  ("experiment", []), ("experiment", ["none"]), ("experiment", ["--points", "x"]),
                                  ("experiment", ["asid-switch", "--rounds", "0"]), ("fetch-root", ["x"]),
                                  ("demo", ["--frob"]), ("demo", ["--suite", "sid"]), ("deps", ["none"]),
                                  ("fetch-guest", ["--suite", "sid"]), ("bench-boot", ["-n", "x"]),
                                  ("linux-test", ["--suite", "sid"]), ("linux-test", ["--gic"]),
                                  ("bench-translate", ["--frob"]), ("bench-translate", ["--rounds", "0"]),
                                  ("bench-translate", ["/none"]), ("bench-translate", ["--program", "/none"]),
                                  ("bench-disk", ["--frob"]), ("bench-disk", ["--rounds", "x"]), ("bench-disk", ["--format", "vdi"]),
                                  ("bench-exec", ["--frob"]), ("bench-exec", ["--rounds", "0"]), ("test-crash", ["--frob"]),
                                  ("soak", ["--frob", "1"]), ("soak", ["--seconds", "x"]),
                                  ("test-hw", ["--frob"]), ("test-fresh", ["--suite", "sid"])):
            code, out, err = self.status(script, *arguments)
            self.assertEqual((code, out, err.count("\n")), (2, "", 1), (script, arguments, err))

    def test_help(self):
        for script in ("compare", "experiment", "fetch-root", "fetch-apps", "demo", "deps", "fetch-guest", "bench-boot",
                       "linux-test", "bench-translate", "bench-disk", "bench-exec", "test-crash", "soak", "test", "test-hw", "test-fresh"):
            code, out, err = self.status(script, "--help")
            self.assertEqual((code, err), (0, ""), script)
            self.assertIn("usage: scripts/" + script, out)

    def test_list_of_benchmarks(self):
        table = suites.load()
        for suite in suites.PROGRAM_SUITES:
            self.assertTrue(table[suite], suite)
            sources = {os.path.basename(s)[:-2] for s in suites.sources_of(suite)}
            self.assertEqual({b.program for b in table[suite]} - sources, set(), suite)
            names = [b.name for b in table[suite]]
            self.assertEqual(len(names), len(set(names)), suite)
        self.assertEqual([b.name for b in suites.load("lu")["fp"]], ["lu"])


if __name__ == "__main__":
    unittest.main()
