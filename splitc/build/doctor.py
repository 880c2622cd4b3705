# SPDX-License-Identifier: Apache-2.0
"""What this machine has and lacks, for `splitc doctor`."""

from __future__ import annotations

import platform
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version

from splitc.cost.board import host_isa, x86_level
from splitc.errors import ToolchainError
from splitc.plugins import find, plugins
from splitc.runtime.process import find_emulator


@dataclass(frozen=True)
class Check:
    """One thing that was looked at.

    Args:
        name: What it is.
        found: Its version or state; empty where it is missing.
        needed: Whether `splitc compile` fails without it.
        hint: How to get it.
    """

    name: str
    found: str
    needed: bool
    hint: str = ""

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


def diagnose() -> list[Check]:
    """Look at this machine: Python packages, emulator, and what the packs ask for."""
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
    for name in plugins().checks:
        found += find("checks", name)()
    for isa in ("aarch64",):
        try:
            emulator = find_emulator(isa)
            found.append(Check(f"qemu-{isa}", emulator.program, needed=False))
        except ToolchainError as error:
            found.append(Check(f"qemu-{isa}", "", needed=False, hint=error.hint))
    return found
