# SPDX-License-Identifier: Apache-2.0
# Copyright The Graft Authors
"""What scripts/compare and scripts/experiment have in common: values of options, who takes part, where it all runs."""

import os
import platform
import shutil
import subprocess
import sys
import time
from dataclasses import dataclass

from . import contenders, suites

PROGRAM = os.path.basename(sys.argv[0])


# --- messages and options ---------------------------------------------------

def usage_error(text):
    print(f"{PROGRAM}: {text} (see {PROGRAM} --help)", file=sys.stderr)
    sys.exit(2)


def die(text):
    print(f"{PROGRAM}: {text}", file=sys.stderr)
    sys.exit(1)


def strategies(value):
    names = [m for m in value.split(",") if m]
    if not names or not all(m.isalnum() for m in names) or len(set(names)) < len(names):
        usage_error(f"--mmu {value}")
    return names


def program(option, value):
    if not shutil.which(value):
        usage_error(f"{option} {value}: not a program")
    return value


def number(option, value, low, high):
    if not value.isdecimal() or not low <= int(value) <= high:
        usage_error(f"{option} {value}: {low} to {high}")
    return int(value)


def processors(value):
    try:
        cpus = frozenset(int(c) for c in value.split(","))
    except ValueError:
        usage_error(f"--cpus {value}")
    if not cpus <= os.sched_getaffinity(0):
        usage_error(f"--cpus {value}: not there")
    return cpus


# --- preparation ------------------------------------------------------------

def script(name, *arguments):
    if subprocess.run([os.path.join(suites.ROOT, "scripts", name), *arguments], check=False).returncode:
        die(f"scripts/{name} failed")


@dataclass
class Host:
    """What 'graft info' says of this host."""
    kind: str       # none, pvm or hw: what /dev/kvm is
    default: str    # memory strategy
    layouts: dict   # memory strategy -> where the engine runs with it

    def place(self, mmu):
        return f"host {self.kind}, layout {self.layouts[mmu]}, strategy {mmu}"


def parse_info(text):
    fields, strategies, name = {}, [], ""
    for line in text.splitlines():
        name = line[:14].strip() or name
        fields.setdefault(name, line[14:].strip())
        if name == "strategies":
            strategies.append(line[14:].strip())
    layout = fields.get("layout", "unknown").split(":")[0]
    layouts = {s.split()[0]: "in-process" if s.endswith("(needs --vm inproc)") else
               "flat" if s.endswith("(in the layout flat)") else layout
               for s in strategies if not s.endswith("(needs --layout ring0)")}
    default = next((s.split()[0] for s in strategies if "(default)" in s), "")
    return Host(fields.get("kvm", "unknown").split()[0].rstrip(":,"), default, layouts)


def graft_host(path, wanted):
    """The host as the binary at path sees it; ends the program if one of the strategies wanted is not to be had."""
    if not os.access(path, os.X_OK):
        die(f"no {path} (build it first)")
    host = parse_info(output_of(path, "info"))
    for mmu in wanted:
        if mmu not in host.layouts:
            usage_error(f"--mmu {mmu}: {path} has {', '.join(host.layouts)}")
    return host


def output_of(*command):
    try:
        done = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
                              text=True, timeout=60, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout.strip()


def first_line(text):
    return text.splitlines()[0] if text else "unknown"


def make_contenders(options, build, work):
    """In the order in which they take turns: QEMU and Graft are neighbours."""
    found, machine = [], options.machine
    ours = [os.path.join(build, folder, "bin", machine.qemu)
            for folder in (["qemu", "qemu-7.2"] if machine.old_qemu and not options.quick else ["qemu"])]
    for path in [*ours, *options.peers]:
        version = first_line(output_of(path, "--version"))
        name = f"qemu-{version.split('version ')[-1].split()[0]}"
        if name in [c.name for c in found]:
            name += f"-{len(found) + 1}"
        found.append(contenders.Contender(name, "qemu", path, version=version))
    for mmu in options.mmu if options.graft else []:
        version = first_line(output_of(options.graft, "--version"))
        found.append(contenders.Contender(f"graft-{mmu}", "graft", options.graft, mmu, version,
                                          place=options.host.place(mmu)))
    for c in found:
        c.cpus, c.machine = options.cpus, machine
    if options.native:
        found.append(contenders.Native("native", "native", os.path.join(work, "native"),
                                       version=first_line(output_of("gcc", "--version"))))
    return found


# --- what is said about a run -----------------------------------------------

def cpu_name():
    with open("/proc/cpuinfo", encoding="utf-8") as file:
        info = file.read()
    model = next((l.split(":", 1)[1].strip() for l in info.splitlines() if l.startswith("model name")), "unknown")
    return model + (", itself a virtual machine" if " hypervisor" in info else "")


def pinning(cpus):
    last = max(cpus)
    others = ",".join(str(c) for c in sorted(cpus) if c != last)
    where = f"the guest's processor on {last}, the emulator's other threads on {others}" if others else f"all on {last}"
    return f"{where}; native programs on {max(os.sched_getaffinity(0))}"


def load():
    return " ".join(f"{v:.2f}" for v in os.getloadavg())


def describe(options, found, build):
    machine = options.machine
    with open(os.path.join(build, "guest", machine.suite, "version"), encoding="ascii") as file:
        kernel = file.read().strip()
    about = {
        "date": time.strftime("%Y-%m-%d %H:%M:%S %z"),
        "host": f"{cpu_name()}, {os.cpu_count()} processors, Linux {platform.release()}",
        "load before": load(),
        "source": output_of("git", "-C", suites.ROOT, "describe", "--always", "--dirty"),
        "guest": f"{machine.system}, Linux {kernel}, 1 processor, 1 GiB, {machine.qemu_cpu}",
        "pinning": pinning(options.cpus),
        "rounds": str(options.rounds),
        "compilers": first_line(output_of("gcc", "--version")) + "; "
                     + first_line(output_of(machine.tools + "gcc", "--version")),
    }
    for c in found:
        about[c.name] = c.version + (f"; {c.place}" if c.place else "")
    if options.graft:
        about["graft info"] = "; ".join(" ".join(line.split())
                                        for line in output_of(options.graft, "info").splitlines())
    return about


def commands(found, groups=True):
    """The first command line of each contender, in each group: the part of a log's name before the first dash."""
    shown = []
    for c in found:
        firsts = {}
        for log, command in c.commands.items():
            firsts.setdefault(", " + log.partition("-")[0] if groups else "", command)
        shown += [f"{c.name}{group}: " + " ".join(suites.quote(w) if set(w) & set(" '?*;&|<>$") else w for w in command)
                  for group, command in firsts.items()]
    return shown
