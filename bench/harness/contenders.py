# SPDX-License-Identifier: Apache-2.0
# Copyright The Graft Authors
"""Who runs the programs: Graft with a strategy, a QEMU, or this machine itself. Each gives samples in the same form."""

import os
import re
import selectors
import shutil
import signal
import subprocess
import threading
import time
from dataclasses import dataclass, field

from . import machines

RESULT = re.compile(r"(\S+) checksum=([0-9a-f]{16}) time_ns=(\d+) total_ns=(\d+)")
BEGIN = re.compile(r"BENCH begin (\S+)")
END = re.compile(r"BENCH end (\S+) (\d+)")
FIRST_LINE = "graft-init: userspace reached"
POWER_DOWN = "reboot: Power down"
LOGIN_PROMPT = "graft login: "
SHELL_PROMPT = re.compile(r"root@graft:\S*# ")
VCPU_THREAD = re.compile(r"vcpu0|CPU 0/")


@dataclass
class Sample:
    """One run of one benchmark. error is None when it succeeded."""
    ns: int = 0
    checksum: str = ""
    host_ns: int = 0
    total_ns: int = 0
    error: str = None

    def as_json(self):
        return {k: v for k, v in self.__dict__.items() if v not in (None, "")}


@dataclass
class Guest:
    """What is booted."""
    kernel: str
    initrd: str = ""
    append: str = ""
    memory: str = "1G"
    disk: str = ""
    read_only: bool = False


def thread_names(pid):
    names, folder = {}, f"/proc/{pid}/task"
    for thread in os.listdir(folder):
        with open(f"{folder}/{thread}/comm", encoding="ascii", errors="replace") as file:
            names[int(thread)] = file.read()
    return names


def pin_vcpu(process, cpus):
    """The guest's processor gets one of ours to itself, as far as we can say: the emulator's other threads go
    elsewhere. The threads are found by their names, as soon as they are there."""
    own = {max(cpus)}
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline and process.poll() is None:
        try:
            names = thread_names(process.pid)
            if any(map(VCPU_THREAD.match, names.values())):
                for thread, name in names.items():
                    os.sched_setaffinity(thread, own if VCPU_THREAD.match(name) else cpus - own)
                return
        except OSError:
            pass  # a thread or the process has just ended
        time.sleep(0.005)


class Console:
    """Lines of a process's output with the time at which they came; ends it when nothing comes for too long."""

    def __init__(self, command, log, quiet_limit, cpus):
        self.log = open(log, "wb")
        self.limit = quiet_limit
        allowed = (lambda: os.sched_setaffinity(0, cpus)) if cpus else None
        self.start = time.monotonic_ns()
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                        stderr=subprocess.STDOUT, preexec_fn=allowed, start_new_session=True)
        self.timed_out = False
        if len(cpus) > 1:
            threading.Thread(target=pin_vcpu, args=(self.process, cpus), daemon=True).start()

    def type(self, text):
        self.process.stdin.write(text.encode())
        self.process.stdin.flush()

    def lines(self, unfinished=False):
        """unfinished: also what has come so far of a line, again and again: prompts."""
        pending = b""
        selector = selectors.DefaultSelector()
        selector.register(self.process.stdout, selectors.EVENT_READ)
        while True:
            if not selector.select(self.limit):
                self.timed_out = True
                self.stop()
                break
            chunk = os.read(self.process.stdout.fileno(), 65536)
            now = time.monotonic_ns()
            if not chunk:
                break
            self.log.write(chunk)
            *whole, pending = (pending + chunk).split(b"\n")
            for line in whole:
                yield now, line.decode("utf-8", "replace").rstrip("\r")
            if unfinished and pending:
                yield now, pending.decode("utf-8", "replace")
        if pending:
            yield time.monotonic_ns(), pending.decode("utf-8", "replace")
        self.finish()

    def stop(self):
        try:
            os.killpg(self.process.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass

    def finish(self):
        try:
            self.process.wait(30)
        except subprocess.TimeoutExpired:
            self.timed_out = True
            self.stop()
            self.process.wait()
        self.process.stdin.close()
        self.end = time.monotonic_ns()
        self.log.close()

    def verdict(self):
        """Why the run as a whole was no good, or None."""
        if self.timed_out:
            return f"nothing on the console for {self.limit:g} s"
        if self.process.returncode:
            return f"exit status {self.process.returncode}"
        return None


def clock_error(sample):
    """A guest's clock has to agree with ours: the program's life as we saw it is a little longer than it says."""
    if sample.total_ns > sample.host_ns * 1.05 + 100e6:
        return "the guest's clock is fast"
    if sample.total_ns < sample.host_ns * 0.8 - 1000e6:
        return "the guest's clock is slow"
    return None


def collect(console, benchmarks, arch):
    """Samples by name from the console of a guest that runs scripts/compare."""
    samples, begun, current, complete = {}, {}, None, False
    for now, line in console.lines():
        if match := BEGIN.search(line):
            current = match[1]
            begun[current] = now
        elif match := RESULT.search(line):
            if current and match[1] == current:
                samples[current] = Sample(int(match[3]), match[2], now - begun[current], int(match[4]))
        elif match := END.search(line):
            if match[2] != "0":
                samples[match[1]] = Sample(error=f"exit status {match[2]}")
        elif "BENCH complete" in line:
            complete = True
    reason = console.verdict() or (None if complete else "the guest ended early")
    for benchmark in benchmarks:
        sample = samples.setdefault(benchmark.name, Sample(error="no result" + (f" ({reason})" if reason else "")))
        judge(sample, benchmark, arch)
        if not sample.error and arch == "guest":
            sample.error = clock_error(sample)
    return samples, reason


def judge(sample, benchmark, arch):
    wanted = benchmark.expected(arch)
    if not sample.error and wanted and sample.checksum != wanted:
        sample.error = f"checksum {sample.checksum}, not {wanted}"


@dataclass
class Contender:
    name: str
    kind: str
    path: str = ""
    mmu: str = ""
    version: str = ""
    place: str = ""  # Graft's host, layout and strategy in words
    machine: machines.Machine = machines.DEFAULT
    commands: dict = field(default_factory=dict)
    cpus: frozenset = frozenset()
    quiet_limit: float = 180

    def command(self, guest, log):
        if self.kind == "qemu":
            return self.qemu_command(guest)
        return self.graft_command(guest) + ["--stats", os.path.splitext(log)[0] + ".stats.json"]

    def graft_command(self, guest):
        command = [self.path, "run", guest.kernel, "--memory", guest.memory, *self.machine.graft]
        if guest.initrd:
            command += ["--initrd", guest.initrd, "--append", guest.append]
        command += ["--mmu", self.mmu]
        if guest.disk:
            command += ["--drive", guest.disk + (",ro" if guest.read_only else "")]
        return command

    def qemu_command(self, guest):
        command = [self.path, "-name", "guest,debug-threads=on", "-M", self.machine.board,
                   "-cpu", self.machine.qemu_cpu, "-smp", "1", "-m", guest.memory, "-accel", "tcg", "-nodefaults", "-display", "none",
                   "-serial", "mon:stdio", "-no-reboot",
                   "-global", "virtio-mmio.force-legacy=false", "-device", "virtio-rng-device",
                   "-kernel", guest.kernel]
        if guest.initrd:
            command += ["-initrd", guest.initrd, "-append", guest.append]
        if guest.disk:
            only = ",readonly=on" if guest.read_only else ""
            command += ["-drive", f"file={guest.disk},if=none,format=raw,id=disk0{only}",
                        "-device", "virtio-blk-device,drive=disk0"]
        return command

    def console(self, guest, log):
        command = self.command(guest, log)
        self.commands[os.path.basename(log)] = command
        return Console(command, log, self.quiet_limit, self.cpus)

    def run_suite(self, benchmarks, guest, log):
        return collect(self.console(guest, log), benchmarks, "guest")

    def run_payload(self, benchmarks, guest, log):
        """A bare-metal guest that measures several mechanisms; it says so when one of them did not work."""
        samples, trouble = {}, None
        console = self.console(guest, log)
        for now, line in console.lines():
            if match := RESULT.search(line):
                samples[match[1]] = Sample(int(match[3]), match[2], now - console.start, int(match[4]))
            elif "FAIL" in line:
                trouble = line
        reason = console.verdict() or trouble
        for b in benchmarks:
            sample = samples.setdefault(b.name, Sample(error="no result" + (f" ({reason})" if reason else "")))
            judge(sample, b, "guest")
        return {b.name: samples[b.name] for b in benchmarks}, reason

    def run_boot(self, guest, log):
        """Times from the start of the process to the first line of the guest's init, and to the process's end."""
        console, first, down = self.console(guest, log), 0, False
        for now, line in console.lines():
            if not first and FIRST_LINE in line:
                first = now
            down = down or POWER_DOWN in line
        reason = console.verdict()
        if not reason and not (first and down):
            reason = "did not boot and power off"
        return {"first-init-line": Sample(first - console.start if first else 0, error=reason if not first else None),
                "poweroff": Sample(console.end - console.start, error=reason)}, reason

    def run_disk_boot(self, guest, log):
        """Times from the start of the process to the login prompt of the root disk, and, after root has logged in and
        said poweroff, to the process's end."""
        console, login, shell, down = self.console(guest, log), 0, False, False
        for now, line in console.lines(unfinished=True):
            if not login and LOGIN_PROMPT in line:
                login = now
                console.type("root\n")
            elif login and not shell and SHELL_PROMPT.search(line):
                shell = True
                console.type("poweroff\n")
            down = down or POWER_DOWN in line
        reason = console.verdict()
        if not reason and not (login and shell and down):
            reason = "did not come to the login prompt, or not to the end"
        return {"disk-login": Sample(login - console.start if login else 0, error=reason if not login else None),
                "disk-poweroff": Sample(console.end - console.start, error=reason)}, reason


class Native(Contender):
    """The same programs, built for this machine or from its own packages, one after the other on one CPU."""

    def run_suite(self, benchmarks, places, log):
        samples = {}
        cpu = {max(os.sched_getaffinity(0))}
        with open(log, "w", encoding="utf-8") as out:
            for b in benchmarks:
                samples[b.name] = self.run_one(b, places, out, cpu)
        return samples, None

    def run_one(self, benchmark, places, log, cpu):
        arguments = benchmark.arguments(machines.NATIVE, places)
        if benchmark.suite == "apps" and not shutil.which(arguments[3]):
            return None
        command = [os.path.join(self.path, benchmark.suite, benchmark.program), *arguments]
        self.commands.setdefault(benchmark.suite, command)
        try:
            done = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                                  text=True, timeout=120, check=False,
                                  preexec_fn=lambda: os.sched_setaffinity(0, cpu))
        except subprocess.TimeoutExpired:
            return Sample(error="still running after 120 s")
        log.write(done.stdout)
        match = RESULT.search(done.stdout)
        if done.returncode or not match:
            return Sample(error=f"exit status {done.returncode}: {done.stdout.strip()[-80:]}")
        sample = Sample(int(match[3]), match[2], total_ns=int(match[4]))
        judge(sample, benchmark, "native")
        return sample
