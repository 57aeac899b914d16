#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
# Copyright The Graft Authors
"""A real comparison, as short as it can be: one program on QEMU, Graft and this machine. Argument: the guest. GRAFT: the
binary."""

import json
import os
import subprocess
import sys
import tempfile

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
COMPARE = os.path.join(ROOT, "scripts", "compare")


def check(good, what):
    print(("PASS " if good else "FAIL ") + what)
    return good


def judge(out):
    with open(os.path.join(out, "results.json"), encoding="utf-8") as file:
        results = json.load(file)
    with open(os.path.join(out, "results.md"), encoding="utf-8") as file:
        text = file.read()
    row = results["benchmarks"][0]
    names = list(row["median_ns"])
    graft = names[1]
    stats = [f for f in os.listdir(os.path.join(out, "logs")) if f.endswith(".stats.json")]
    return all([
        check(len(results["benchmarks"]) == 1 and row["name"] == "crc32", "one benchmark, the one asked for"),
        check(names[0].startswith("qemu-") and graft.startswith("graft-") and names[2:] == ["native"], "who took part"),
        check(all(v and v > 0 for v in row["median_ns"].values()), "everybody was measured"),
        check(results["geomean"].get("int", 0) > 0, "geomean has the group"),
        check(not results["failures"], "no failure"),
        check(len(stats) == 1, "Graft's statistics are there"),
        check("| benchmark | native | qemu-" in text and "## Command lines" in text, "the table"),
        check("int" in results["slowdown_against_native"][graft], "the time as a multiple of native"),
        check(all(part in results["places"][graft] for part in ("host ", "layout ", graft.split("-")[1])) and
              results["places"][graft] in text, "where Graft ran"),
    ])


def main():
    with tempfile.TemporaryDirectory(prefix="graft-compare.") as out:
        command = [COMPARE, "--guest", sys.argv[1], "--quick", "--suite", "int", "--only", "crc32", "--no-charts", "--out", out]
        done = subprocess.run(command, check=False)
        good = check(done.returncode == 0, f"exit status {done.returncode}") and judge(out)
    sys.exit(0 if good else 1)


if __name__ == "__main__":
    main()
