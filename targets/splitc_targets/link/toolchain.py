# SPDX-License-Identifier: Apache-2.0
"""zig as C++ compiler and linker for every ISA, from pip alone."""

from __future__ import annotations

import functools
import hashlib
import importlib.util
import os
import subprocess
import sys
import tempfile
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from splitc.cost.board import Board
from splitc.errors import ToolchainError
from splitc.scratch import full_disk
from splitc_targets.link.cache import cached
from splitc_targets.link.elf import undefined_symbols

RUNNER = "splitc-run"
_SOURCES = Path(__file__).parents[1] / "runner"


def zig_target(board: Board) -> str:
    """zig's name of the board's ISA with the oldest C library it must run on."""
    return f"{board.isa}-linux-gnu.{board.glibc}"


def zig_version() -> str:
    """The release of the installed zig.

    Raises:
        ToolchainError: It is not installed.
    """
    try:
        return version("ziglang")
    except PackageNotFoundError as error:
        raise ToolchainError("zig is missing", hint="pip install ziglang") from error


def zig(*arguments: str, cwd: Path | None = None) -> None:
    """Run zig.

    Raises:
        ToolchainError: It is missing or fails; `why` is its last words.
    """
    zig_version()
    command = [sys.executable, "-m", "ziglang", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, cwd=cwd, check=False)
    if done.returncode != 0:
        lines = [line for line in done.stderr.splitlines() if "error" in line] or [done.stderr]
        why = lines[-1].strip()[:300] or f"it ended with status {done.returncode}"
        full = full_disk(cwd or Path.cwd(), _zig_cache(), Path(tempfile.gettempdir()))
        if full is not None:
            hint = "XDG_CACHE_HOME and TMPDIR name folders on other disks"
            raise ToolchainError("zig's disk is full", at=str(full), why=why, hint=hint)
        raise ToolchainError("zig failed", at=" ".join(arguments[:1]), why=why)


def _zig_cache() -> Path:
    """Where zig keeps what it built; or the folder above, where it never did."""
    named = os.environ.get("ZIG_GLOBAL_CACHE_DIR")
    base = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    folder = Path(named) if named else base / "zig"
    return folder if folder.is_dir() else folder.parent


def link_shared(board: Board, output: Path, objects: list[Path]) -> None:
    """Link object files into a shared library for the board.

    Without the C library and the compiler's own helpers where the code calls none of the
    latter: zig would build both for every ISA first. What it calls of the C library, the
    process that loads it has. Runs in the objects' folder with bare names: paths would end
    up in the file.
    """
    link = ("cc", "-target", zig_target(board), "-shared", "-fPIC", "-s", "-Wl,--build-id=none",
            "-o", str(output.resolve()), *(path.name for path in objects))  # fmt: skip
    zig(*link, "-nostdlib", cwd=objects[0].parent)
    if any(name.startswith("__") for name in undefined_symbols(output)):
        zig(*link, cwd=objects[0].parent)


@functools.cache
def runner(isa: str, glibc: str) -> Path:
    """The runner built for an ISA, from the cache or built now.

    Raises:
        ToolchainError: zig or the headers of apache-tvm-ffi are missing.
    """
    sources = sorted(_SOURCES.glob("*.cc"))
    digest = hashlib.sha256(zig_version().encode() + glibc.encode())
    for path in sorted(_SOURCES.iterdir()):
        if path.suffix in (".cc", ".h"):
            digest.update(path.name.encode() + path.read_bytes())
    spec = importlib.util.find_spec("tvm_ffi")
    if spec is None or spec.origin is None:
        raise ToolchainError("apache-tvm-ffi is missing", hint="pip install apache-tvm")
    include = Path(spec.origin).parent / "include"

    def make(folder: Path) -> None:
        target = ("-target", f"{isa}-linux-gnu.{glibc}")
        # As one unit: the library's headers are parsed once and not for every file.
        unit = "".join(f'#include "{path.name}"\n' for path in sources)
        (folder / "runner.cc").write_text(unit, "utf-8")
        zig(
            "c++", "-c", "-std=c++17", "-O2", *target, "-fPIE", "-fno-exceptions", "-fno-rtti",
            "-fno-threadsafe-statics", "-fno-sanitize=undefined", "-ffunction-sections",
            "-fdata-sections", f"-ffile-prefix-map={_SOURCES}=.", "-ffile-prefix-map=./=",
            f"-I{_SOURCES}", f"-I{include}", "runner.cc", "-o", "runner.o",
            cwd=folder,
        )  # fmt: skip
        zig(
            "build-exe", *target, "-fPIE", "-fstrip", "--gc-sections", "-lc",
            "-fno-compiler-rt", "-fno-ubsan-rt", f"-femit-bin={RUNNER}", "runner.o",
            cwd=folder,
        )  # fmt: skip
        for name in ("runner.cc", "runner.o"):
            (folder / name).unlink()

    return cached(f"runner/{isa}-{digest.hexdigest()[:16]}", make) / RUNNER
