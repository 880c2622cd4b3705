# SPDX-License-Identifier: Apache-2.0
"""What `splitc doctor` asks of this pack."""

from __future__ import annotations

import os
from collections import Counter
from functools import partial
from pathlib import Path

from splitc.build.doctor import Check, package
from splitc.cache import cache_dir
from splitc.cost.board import boards
from splitc.errors import ToolchainError
from splitc_targets.link.toolchain import runtime, runtime_is_built, zig, zig_cache


def checks() -> list[Check]:
    """Compiler and linker, and what is built once for each instruction set."""
    found = [
        package("apache-tvm", needed=True),
        package("apache-tvm-ffi", needed=True),
        _zig(),
        _folder("cache", cache_dir(), "SPLITC_CACHE_DIR"),
        _folder("zig's cache", zig_cache(), "ZIG_GLOBAL_CACHE_DIR"),
    ]
    return [*found, *_runners()] if all(check.ok for check in found) else found


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
