# SPDX-License-Identifier: Apache-2.0
# Copyright The Graft Authors
"""Experiments: one mechanism against one parameter, every contender side by side, as a table and as a plot."""

import csv
import os
import re
import subprocess
from dataclasses import dataclass

from . import contenders, machines, report, suites

STAYING = " staying"
COLOURS = ("#c44e52", "#1f77b4", "#2ca02c", "#444444", "#9467bd", "#8c564b")
SWITCHES = re.compile(r"switches=(\d+)")


class Setting:
    """What an experiment needs from the build: the kernel, the base initial RAM disk, and a place for its own files."""

    def __init__(self, build, work):
        guest = os.path.join(build, "guest", machines.DEFAULT.suite)
        self.kernel, self.base = os.path.join(guest, "vmlinuz"), os.path.join(guest, "initrd.gz")
        self.work = work


@dataclass
class Axes:
    title: str
    x: str
    y: str
    x_bytes: bool = False


class AsidSwitch:
    """Cost of an address-space switch against the pages that each space uses: a bare-metal guest for each point."""
    name = "asid-switch"
    axes = Axes("Pages touched in another address space each time (solid), in the same (dashed)",
                "pages used in each address space", "nanoseconds to touch all pages once")
    points = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024, 2048)
    native = False

    def prepare(self, setting):
        self.images = {}
        for pages in self.points:
            image = os.path.join(setting.work, f"{self.name}-{pages}")
            source = os.path.join(suites.BENCH, "experiments", self.name + ".c")
            self.images[pages] = suites.build_payload(source, image, [f"-DPAGES={pages}"])

    def run(self, contender, pages, log):
        wanted = [suites.Benchmark("experiment", name, name, "agree", []) for name in ("staying", "switching")]
        samples, reason = contender.run_payload(wanted, contenders.Guest(self.images[pages]), log)
        with open(log, encoding="utf-8", errors="replace") as file:
            count = SWITCHES.search(file.read())
        if reason or not count:
            raise RuntimeError(reason or "no result")
        return {"": samples["switching"].ns / int(count[1]), STAYING: samples["staying"].ns / int(count[1])}


class MemoryLatency:
    """Time of a dependent load against the memory that is used: bench/mem/chase.c, each point in a boot of its own."""
    name = "memory-latency"
    axes = Axes("Latency of dependent loads", "working set", "nanoseconds for each load", x_bytes=True)
    points = tuple(k << 10 for k in (4, 16, 32, 128, 512, 1024, 2048, 4096, 8192, 16384, 65536, 262144, 524288))
    native = True

    @staticmethod
    def steps(size):
        return 20000000 if size <= 256 << 10 else 4000000 if size <= 4 << 20 else 1000000

    def prepare(self, setting):
        self.setting = setting
        self.programs = {size: suites.Benchmark("mem", f"chase-{size >> 10}K", "chase", "agree",
                                                [f"{size >> 10}K", str(self.steps(size))]) for size in self.points}
        suites.build({"mem": []}, setting.work)
        self.initrd = suites.make_initrd(setting.base, {"mem": list(self.programs.values())}, setting.work)

    def run(self, contender, size, log):
        program = self.programs[size]
        where = {}
        if contender.kind != "native":
            words = " ".join(["console=" + machines.DEFAULT.console, *machines.DEFAULT.quiet, "graft.script=compare",
                              "graft.bench=mem", "graft.only=" + program.name])
            where = contenders.Guest(self.setting.kernel, self.initrd, words)
        samples, reason = contender.run_suite([program], where, log)
        sample = samples[program.name]
        if reason or sample.error:
            raise RuntimeError(reason or sample.error)
        return {"": sample.ns / self.steps(size)}


EXPERIMENTS = {e.name: e for e in (AsidSwitch, MemoryLatency)}


def measure(experiment, found, rounds, logs, progress):
    """{point: {contender, with what was measured: [value of each round]}}; contenders take turns at every point."""
    values = {p: {} for p in experiment.points}
    for number in range(rounds):
        for point in experiment.points:
            for contender in found:
                progress(number, point, contender)
                log = os.path.join(logs, f"{point}-{contender.name}-{number + 1}.log")
                for suffix, value in experiment.run(contender, point, log).items():
                    values[point].setdefault(contender.name + suffix, []).append(value)
    return values


def write_table(experiment, values, path, where=""):
    """Median, smallest and largest of the rounds; where, if it is known, in a comment above them."""
    names = list(next(iter(values.values())))
    with open(path, "w", encoding="ascii", newline="") as file:
        if where:
            file.write(f"# {where}\n")
        out = csv.writer(file, lineterminator="\n")
        out.writerow([experiment.axes.x] + [n + suffix for n in names for suffix in ("", " min", " max")])
        for point, by_name in values.items():
            cells = [(report.median(by_name[n]), min(by_name[n]), max(by_name[n])) for n in names]
            out.writerow([point] + [f"{v:.2f}" for cell in cells for v in cell])


def plot(experiment, values, target, where):
    """target.svg and target.png: medians as lines, smallest and largest as bars."""
    names, axes = list(next(iter(values.values()))), experiment.axes
    blocks, plots = [], []
    for i, name in enumerate(names):
        rows = "\n".join(f"{p} {report.median(v[name]):.4g} {min(v[name]):.4g} {max(v[name]):.4g}"
                         for p, v in values.items())
        blocks.append(f"$data{i} << EOD\n{rows}\nEOD")
        base = name.removesuffix(STAYING)
        series = [n for n in names if not n.endswith(STAYING)].index(base)
        style = f"pointtype {series + 5} linewidth 2 linecolor rgb '{COLOURS[series % len(COLOURS)]}'"
        style += " dashtype 2" if base != name else ""
        plots.append(f"$data{i} using 1:2:3:4 with yerrorlines {style} title {report.quoted(name)}")
    labels = ""
    if axes.x_bytes:
        ticks = [(f"{p >> 20}M" if p >> 20 else f"{p >> 10}K", p) for p in experiment.points[::2]]
        labels = "set xtics (" + ", ".join(f'"{text}" {at}' for text, at in ticks) + ")"
    script = "\n".join([*blocks, f"set title {report.titled(axes.title, where)} noenhanced", f"set xlabel {report.quoted(axes.x)}",
                        f"set ylabel {report.quoted(axes.y)}", "set logscale x 2", "set logscale y", labels,
                        "set grid", "set key top left noenhanced",
                        f"set xrange [{min(values) * 0.8}:{max(values) * 1.25}]",
                        "plot " + ", ".join(plots), ""])
    for terminal, suffix in (("svg size 800,480 background rgb 'white'", "svg"), ("pngcairo size 800,480", "png")):
        head = f"set terminal {terminal}\nset output {report.quoted(f'{target}.{suffix}')}\n"
        subprocess.run(["gnuplot"], input=head + script, text=True, check=True)
