# SPDX-License-Identifier: Apache-2.0
# Copyright The Graft Authors
"""From samples to figures: paired ratios, geometric means, results.json, the Markdown table and the charts."""

import json
import math
import os
import statistics
import subprocess


def median(values):
    return statistics.median(values) if values else None


def geometric_mean(values):
    values = [v for v in values if v]
    return math.exp(sum(map(math.log, values)) / len(values)) if values else None


def places(contenders):
    """Where each Graft ran: written beside every table and figure."""
    return "; ".join(f"{c.name}: {c.place}" for c in contenders if c.place)


def titled(title, where):
    """A chart's title, quoted for gnuplot, with where on a line of its own."""
    return quoted(title + ("\n" + where if where else ""))


class Row:
    """One benchmark: the samples of every contender, in rounds."""

    def __init__(self, group, name, contenders):
        self.group, self.name = group, name
        self.samples = {c.name: [] for c in contenders}

    def errors(self):
        return [(name, s.error) for name, samples in self.samples.items() for s in samples if s and s.error]

    def failed(self, name):
        return any(s and s.error for s in self.samples[name])

    def times(self, name):
        return [s.ns for s in self.samples.get(name, []) if s and not s.error]

    def time(self, name):
        return None if name not in self.samples or self.failed(name) else median(self.times(name))

    def better(self, names):
        """The fastest of these on this benchmark."""
        timed = [(self.time(n), n) for n in names if self.time(n)]
        return min(timed)[1] if timed else None

    def ratios(self, slow, fast):
        """time(slow) / time(fast), round by round."""
        if not slow or not fast or self.failed(slow) or self.failed(fast):
            return []
        pairs = zip(self.samples[slow], self.samples[fast])
        return [a.ns / b.ns for a, b in pairs if a and b and a.ns and b.ns]


class Report:
    def __init__(self, contenders, rows, about):
        self.rows, self.about = rows, about
        self.qemus = [c.name for c in contenders if c.kind == "qemu"]
        self.grafts = [c.name for c in contenders if c.kind == "graft"]
        self.native = next((c.name for c in contenders if c.kind == "native"), None)
        self.places = {c.name: c.place for c in contenders if c.place}
        self.where = places(contenders)
        self.charts = True
        self.groups = list(dict.fromkeys(r.group for r in rows))

    def in_group(self, group):
        return [r for r in self.rows if r.group == group]

    def mean_speedup(self, group, graft):
        return geometric_mean([median(r.ratios(r.better(self.qemus), graft)) for r in self.in_group(group)])

    def mean_against_native(self, group, name):
        if not self.native:
            return None
        return geometric_mean([median(r.ratios(name, self.native)) for r in self.in_group(group)])

    def against_native(self):
        return self.qemus + self.grafts if self.native else []

    def failures(self):
        return [f"{r.group}/{r.name}: {who}: {why}" for r in self.rows for who, why in r.errors()]

    def without_speedup(self):
        """Rows on which Graft (the first strategy) is slower than the better QEMU."""
        if not self.grafts:
            return []
        pairs = [(r, median(r.ratios(r.better(self.qemus), self.grafts[0]))) for r in self.rows]
        return [f"{r.group}/{r.name}" for r, ratio in pairs if ratio and ratio < 1]

    # --- results.json -------------------------------------------------------

    def as_json(self):
        return {
            "about": self.about,
            "places": self.places,
            "geomean": {g: self.mean_speedup(g, self.grafts[0]) for g in self.groups} if self.grafts else {},
            "geomean_by_strategy": {n: {g: self.mean_speedup(g, n) for g in self.groups} for n in self.grafts},
            "slowdown_against_native": {n: {g: self.mean_against_native(g, n) for g in self.groups}
                                        for n in self.qemus + self.grafts},
            "failures": self.failures(),
            "slower_than_qemu": self.without_speedup(),
            "benchmarks": [self.row_json(r) for r in self.rows],
        }

    def row_json(self, row):
        better = row.better(self.qemus)
        return {
            "group": row.group, "name": row.name, "better_qemu": better,
            "median_ns": {n: row.time(n) for n in row.samples},
            "speedup": {n: median(row.ratios(better, n)) for n in self.grafts},
            "samples": {n: [s.as_json() if s else None for s in samples] for n, samples in row.samples.items()},
        }

    # --- Markdown -----------------------------------------------------------

    def markdown(self):
        out = ["# Graft against QEMU TCG", ""]
        out += [f"* {key}: {value}" for key, value in self.about.items() if isinstance(value, str)]
        out += ["", "Times are medians. A speed-up is the median of the ratios of neighbouring runs, QEMU's time",
                "divided by Graft's (above 1: Graft is faster), with the smallest and the largest; where several",
                "QEMUs ran, the one that was better on that benchmark.", ""]
        if self.failures():
            out += ["**FAILED:**", "", *[f"* {f}" for f in self.failures()], ""]
        out += self.summary_table()
        for group in self.groups:
            out += self.group_table(group)
        out += ["## Command lines", "", "```", *self.about["commands"], "```", ""]
        return "\n".join(out)

    def summary_table(self):
        head = ["group"] + [f"{g} / QEMU" for g in self.grafts] + [f"{n} / native" for n in self.against_native()]
        out = ["## Geometric means", "", *self.where_lines(), line(head), line(["---"] + ["---:"] * (len(head) - 1))]
        for group in self.groups:
            cells = [group] + [ratio(self.mean_speedup(group, g)) for g in self.grafts]
            cells += [ratio(self.mean_against_native(group, n)) for n in self.against_native()]
            out.append(line(cells))
        return out + [""]

    def group_table(self, group):
        rows = self.in_group(group)
        fresh = {r.name: r for r in self.in_group(group + "_fresh")}
        native = self.native if any(r.samples.get(self.native) for r in rows) else None
        head = ["benchmark"] + ([native] if native else []) + self.qemus
        for g in self.grafts:
            head += [g, f"{g} / QEMU"] + ([f"{g} / native"] if native else [])
        head += [f"{g} / QEMU, fresh boot" for g in self.grafts if fresh]
        out = [f"## {group}", "", *self.where_lines(), line(head), line(["---"] + ["---:"] * (len(head) - 1))]
        for row in rows:
            out.append(line(self.row_cells(row, native) + [self.speedup_cell(fresh[row.name], g) if row.name in fresh
                                                           else "-" for g in self.grafts if fresh]))
        out += ["", f"![{group}]({group}.svg)", ""] if self.charts and self.bars(group) else [""]
        return out

    def where_lines(self):
        return [f"{self.where}.", ""] if self.where else []

    def row_cells(self, row, native):
        cells = [row.name] + [self.time_cell(row, n) for n in ([native] if native else []) + self.qemus]
        for g in self.grafts:
            cells += [self.time_cell(row, g), self.speedup_cell(row, g)]
            cells += [ratio(median(row.ratios(g, native)))] if native else []
        return cells

    @staticmethod
    def time_cell(row, name):
        if row.failed(name):
            return "FAILED"
        time = row.time(name)
        return "-" if time is None else f"{time / 1e6:.1f} ms"

    def speedup_cell(self, row, graft):
        if row.failed(graft):
            return "FAILED"
        values = row.ratios(row.better(self.qemus), graft)
        return f"**{median(values):.2f}x** ({min(values):.2f}-{max(values):.2f})" if values else "-"

    # --- charts -------------------------------------------------------------

    def bars(self, group):
        """(name, [value of each series]) for a group's chart: speed-ups, or QEMU's slow-downs where it ran alone."""
        series = self.series()
        if group == "means":
            bars = [(g, [value(self, g) for _, _, value in series]) for g in self.groups]
        else:
            bars = [(r.name, [value(r) for _, value, _ in series]) for r in self.in_group(group)]
        return [b for b in bars if any(b[1])]

    def series(self):
        """(title, function of a row, function of the report and a group)"""
        if self.grafts:
            return [(g, lambda r, g=g: median(r.ratios(r.better(self.qemus), g)),
                     lambda s, group, g=g: s.mean_speedup(group, g)) for g in self.grafts]
        return [(q, lambda r, q=q: median(r.ratios(q, self.native)),
                 lambda s, group, q=q: s.mean_against_native(group, q)) for q in self.qemus]

    def chart(self, group, out):
        bars, titles = self.bars(group), [t for t, _, _ in self.series()]
        if not bars or not titles:
            return
        what = "speed-up over QEMU TCG" if self.grafts else "time, native = 1"
        data = "\n".join(quoted(name) + " " + " ".join(f"{v:.4g}" if v else "NaN" for v in values)
                         for name, values in bars)
        plots = ", ".join(f"$data using {i + 2}:xtic(1) title {quoted(t)}" for i, t in enumerate(titles))
        highest = max((v for _, values in bars for v in values if v), default=1)
        width = max(480, 60 * len(bars) + 160)
        script = f"""
$data << EOD
{data}
EOD
set style data histogram
set style histogram clustered gap 1
set style fill solid 0.8 noborder
set boxwidth 0.9
set title {titled(f'{group}: {what}', self.where)} noenhanced
set ylabel {quoted(what)} noenhanced
set xtics rotate by -40 noenhanced
set grid ytics
set key top left noenhanced
set yrange [0:{max(1.2, highest * 1.15)}]
set arrow from graph 0, first 1 to graph 1, first 1 nohead dashtype 2
"""
        for terminal, suffix in ((f"svg size {width},420 background rgb 'white'", "svg"),
                                 (f"pngcairo size {width},420", "png")):
            commands = f"set terminal {terminal}\nset output {quoted(os.path.join(out, f'{group}.{suffix}'))}\n"
            subprocess.run(["gnuplot"], input=commands + script + f"plot {plots}\n", text=True, check=True)

    def write(self, out, charts=True):
        self.charts = charts
        with open(os.path.join(out, "results.json"), "w", encoding="utf-8") as file:
            json.dump(self.as_json(), file, indent=1)
            file.write("\n")
        with open(os.path.join(out, "results.md"), "w", encoding="utf-8") as file:
            file.write(self.markdown())
        for group in ["means", *self.groups] if self.charts else []:
            self.chart(group, out)


def ratio(value):
    return f"{value:.2f}x" if value else "-"


def line(cells):
    return "| " + " | ".join(cells) + " |"


def quoted(text):
    return '"' + str(text).replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n") + '"'
