# SPDX-License-Identifier: Apache-2.0
"""What `splitc doctor` asks of this pack."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable
from functools import partial
from pathlib import Path

from splitc.build.doctor import Check, package
from splitc.cache import cache_dir
from splitc.cost.board import Gpu, boards
from splitc.cost.gpu_driver import cuda_gpus, cuda_version
from splitc.errors import DeviceError, ToolchainError
from splitc.runtime.devices import opencl_devices
from splitc_targets.gpu import cuda
from splitc_targets.link.toolchain import runtime, runtime_is_built, zig, zig_cache


def checks() -> list[Check]:
    """Compiler and linker, and what is built once for each instruction set."""
    found = [
        package("apache-tvm", needed=True),
        package("apache-tvm-ffi", needed=True),
        _zig(),
        _folder("cache", cache_dir(), "SPLITC_CACHE_DIR"),
        _folder("zig's cache", zig_cache(), "ZIG_GLOBAL_CACHE_DIR"),
        _cuda_compiler(),
        _driver("CUDA driver", _cuda),
        _driver("OpenCL driver", lambda: ", ".join(opencl_devices())),
    ]
    broken = any(check.needed and not check.ok for check in found)
    return found if broken else [*found, *_runners()]


def _zig() -> Check:
    """Whether zig is installed and starts: its wheel holds a program for one kind of machine."""
    installed = package("ziglang", needed=True)
    if not installed.ok:
        return installed
    try:
        zig("version")
    except ToolchainError as error:
        why = f"{installed.found} does not run here: {error.why}"
        return Check("ziglang", "", needed=True, hint=why)
    return installed


def _cuda_compiler() -> Check:
    """NVIDIA's compiler, and the boards that it makes code for."""
    name = "CUDA compiler"
    try:
        known = cuda.architectures()
    except ToolchainError as error:
        why = f"{error.why}: {error.hint}" if error.hint else error.why
        return Check(name, "", needed=False, hint=f"for targets like cuda-sm90: {why}")
    gpus = {name: one.unit.arch for name, one in boards().items() if isinstance(one.unit, Gpu)}
    made = ", ".join(name for name, arch in gpus.items() if arch in known)
    return Check(name, f"{cuda.PACKAGE} {cuda.compiler_version()}: {made}", needed=False)


def _cuda() -> str:
    gpus = ", ".join(f"{gpu.name} ({gpu.arch})" for gpu in cuda_gpus())
    return f"CUDA {cuda_version()}: {gpus}"


def _driver(name: str, found: Callable[[], str]) -> Check:
    """A driver and the devices that it has."""
    try:
        return Check(name, found(), needed=False, hint="it has no device that parts run on")
    except DeviceError as error:
        return Check(name, "", needed=False, hint=f"{error.what}: {error.hint or error.why}")


def _folder(name: str, folder: Path, variable: str) -> Check:
    """Whether files can be written into a folder, or into the one that it will be made in."""
    there = next(each for each in (folder, *folder.absolute().parents) if each.exists())
    if there.is_dir() and os.access(there, os.W_OK | os.X_OK):
        return Check(name, str(folder), needed=True)
    hint = f"{there} cannot be written to; name another folder in {variable}"
    return Check(name, "", needed=True, hint=hint)


def _runners() -> list[Check]:
    """The runners, with the C libraries that zig builds for them.

    For each ISA that for the C library that most boards have: a board with an older one has its
    runner built when it is first compiled for.
    """
    processors = [board.processor for board in boards().values()]
    known = [
        (isa, Counter(one.glibc for one in processors if one.isa == isa).most_common(1)[0][0])
        for isa in sorted({one.isa for one in processors})
    ]
    hint = "the first compile builds it, about half a minute; splitc doctor --fetch does it now"
    return [
        Check(
            f"runner {isa}", f"built, for glibc {glibc}" if runtime_is_built(isa, glibc) else "",
            needed=False, hint=hint, make=partial(runtime, isa, glibc),
        )
        for isa, glibc in known
    ]  # fmt: skip
