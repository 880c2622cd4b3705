# SPDX-License-Identifier: Apache-2.0
"""What this machine has and lacks, for `splitc doctor`."""

from __future__ import annotations

import platform
import socket
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version

from splitc.cost.board import host_isa, x86_level
from splitc.errors import ToolchainError
from splitc.net.sockets import BUFFER_BYTES, Buffers
from splitc.plugins import FAILS_TO_IMPORT, broken_packs, find, plugins
from splitc.runtime.process import find_emulator


@dataclass(frozen=True)
class Check:
    """One thing that was looked at.

    Args:
        name: What it is.
        found: Its version or state; empty where it is missing.
        needed: Whether `splitc compile` fails without it.
        hint: How to get it.
        make: Makes it, where splitc can: `splitc doctor --fetch` does.
    """

    name: str
    found: str
    needed: bool
    hint: str = ""
    make: Callable[[], object] | None = None

    @property
    def ok(self) -> bool:
        """Whether it is there."""
        return bool(self.found)


def package(name: str, *, needed: bool, hint: str = "") -> Check:
    """Whether a Python distribution is installed."""
    try:
        return Check(name, version(name), needed)
    except PackageNotFoundError:
        return Check(name, "", needed, hint or f"pip install {name}")


def receive_buffer() -> Check:
    """Whether the kernel keeps as much of what a server has not read yet as it is asked for."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as one:
        got = Buffers.ask(one, BUFFER_BYTES)
    found = "" if got.warning else f"{got.receive // 1000} kB for packets"
    return Check("receive buffer", found, needed=False, hint=got.warning)


def _asked(name: str) -> list[Check]:
    """What a pack's own check found."""
    try:
        return find("checks", name)()
    except FAILS_TO_IMPORT as error:
        return [Check(f"check {name}", "", needed=False, hint=f"{type(error).__name__}: {error}")]


def diagnose() -> list[Check]:
    """Look at this machine: Python packages, buffers, emulator, and what the packs ask for."""
    level = x86_level() or host_isa()
    found = [
        Check("python", platform.python_version(), needed=True),
        Check("machine", f"{platform.system()} {level}", needed=True),
    ]
    found += [
        package(name, needed=True)
        for name in ("numpy", "networkx", "onnx", "onnxruntime", "onnxsim", "msgspec")
    ]
    found.append(package("torch", needed=False, hint="pip install 'splitc[torch]'"))
    found.append(receive_buffer())
    for name in plugins().checks:
        found += _asked(name)
    found += [Check(f"pack {pack.name}", "", False, str(pack)) for pack in broken_packs()]
    for isa in ("aarch64",):
        try:
            emulator = find_emulator(isa)
            found.append(Check(f"qemu-{isa}", emulator.program, needed=False))
        except ToolchainError as error:
            found.append(Check(f"qemu-{isa}", "", needed=False, hint=error.hint))
    return found
