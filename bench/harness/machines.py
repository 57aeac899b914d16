# SPDX-License-Identifier: Apache-2.0
# Copyright The Graft Authors
"""The machines that can be compared: what differs between their tools, their Debian and their command lines."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Programs:
    """Where Debian has what the version is part of the name of."""
    cc1: str
    python: str


@dataclass(frozen=True)
class Machine:
    name: str               # as scripts/fetch-apps and fetch-root have it
    system: str             # what runs on it, in words
    qemu_cpu: str           # QEMU's -cpu
    graft: tuple            # options of Graft's that make it the same processor
    suite: str              # of scripts/fetch-guest
    folder: str             # below build/compare; "" is that folder itself
    tools: str              # prefix of the cross compiler's programs
    qemu: str               # program
    board: str              # QEMU's -M
    console: str            # the kernel's name of the serial port
    programs: Programs
    quiet: tuple            # kernel words without which a boot has more to do than what is measured
    lacks: tuple = ()       # suites that there are not for it
    has_kpti: bool = False  # is there a boot with KPTI, too?
    old_qemu: bool = False  # is QEMU 7.2 worth comparing with?
    native_apps: bool = False  # are its programs of Debian's the host's versions?
    payload: tuple = ()     # flags of bare-metal guests


ARM64 = Machine(
    name="arm64", system="Debian 12 arm64", qemu_cpu="cortex-a72", graft=("--cpu", "cortex-a72"), suite="bookworm", folder="",
    tools="aarch64-linux-gnu-", qemu="qemu-system-aarch64", board="virt,gic-version=3", console="ttyAMA0",
    quiet=("nokaslr", "kpti=off"), has_kpti=True, old_qemu=True, native_apps=True,
    payload=("-mgeneral-regs-only", "-mstrict-align", "-mno-outline-atomics", "-march=armv8-a"),
    programs=Programs("/usr/lib/gcc/aarch64-linux-gnu/12/cc1", "/usr/bin/python3.11"))

# micro: its payloads are written in instructions of the other. Graft has no Sv57, with which a walk takes one step more.
RISCV64 = Machine(
    name="riscv64", system="Debian 13 riscv64", qemu_cpu="rv64", graft=(), suite="riscv64", folder="riscv64",
    tools="riscv64-linux-gnu-", qemu="qemu-system-riscv64", board="virt", console="ttyS0",
    quiet=("nokaslr",), lacks=("micro",),
    programs=Programs("/usr/libexec/gcc/riscv64-linux-gnu/14/cc1", "/usr/bin/python3.13"))

NATIVE = Programs("/usr/lib/gcc/x86_64-linux-gnu/12/cc1", "/usr/bin/python3.11")
DEFAULT = ARM64
MACHINES = {m.name: m for m in (ARM64, RISCV64)}
