# SPDX-License-Identifier: Apache-2.0
"""zig as C++ compiler and linker for every ISA, from pip alone."""

from __future__ import annotations

import functools
import hashlib
import importlib.util
import subprocess
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from splitc.board import Board
from splitc.errors import ToolchainError
from splitc_targets.cache import cached

RUNNER = "splitc-run"
_SOURCES = Path(__file__).parent / "runner"


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
        raise ToolchainError("zig failed", at=" ".join(arguments[:1]), why=lines[-1].strip()[:300])


def link_shared(board: Board, output: Path, objects: list[Path]) -> None:
    """Link object files into a shared library for the board.

    Runs in the objects' folder with bare names: paths would end up in the file.
    """
    zig(
        "cc", "-target", zig_target(board), "-shared", "-fPIC", "-s",
        "-Wl,--build-id=none", "-o", str(output.resolve()), *(path.name for path in objects),
        cwd=objects[0].parent,
    )  # fmt: skip


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
        zig(
            "c++", "-std=c++17", "-O2", "-s", "-target", f"{isa}-linux-gnu.{glibc}",
            "-fPIE", "-pie", "-fno-sanitize=undefined", "-ffunction-sections",
            "-fdata-sections", "-Wl,--gc-sections", f"-ffile-prefix-map={_SOURCES}=.",
            f"-I{include}", *(path.name for path in sources), "-o", str(folder / RUNNER),
            "-ldl", "-lpthread",
            cwd=_SOURCES,
        )  # fmt: skip

    return cached(f"runner/{isa}-{digest.hexdigest()[:16]}", make) / RUNNER
