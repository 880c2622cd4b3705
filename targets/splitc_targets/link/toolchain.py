# SPDX-License-Identifier: Apache-2.0
"""zig as C++ compiler and linker for every ISA, from pip alone."""

from __future__ import annotations

import functools
import hashlib
import importlib.util
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from splitc.cache import cache_dir, cached
from splitc.cost.board import Board
from splitc.errors import ToolchainError
from splitc.scratch import full_disk
from splitc_targets.link.elf import undefined_symbols

RUNNER = "splitc-run"
LIBRARY = "libsplitc.so"
_SOURCES = Path(__file__).parents[1] / "runner"
_LIBRARY_SOURCES = ("host.cc", "scratch.cc", "pool.cc", "cores.cc")


def zig_target(board: Board) -> str:
    """zig's name of the board's ISA with the oldest C library it must run on."""
    return f"{board.processor.isa}-linux-gnu.{board.processor.glibc}"


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
        full = full_disk(cwd or Path.cwd(), zig_cache(), Path(tempfile.gettempdir()))
        if full is not None:
            hint = "XDG_CACHE_HOME and TMPDIR name folders on other disks"
            raise ToolchainError("zig's disk is full", at=str(full), why=why, hint=hint)
        raise ToolchainError("zig failed", at=" ".join(arguments[:1]), why=why)


def zig_cache() -> Path:
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


@dataclass(frozen=True)
class Runtime:
    """What runs compiled parts on an ISA.

    Args:
        runner: The program that runs a part from the command line.
        library: What loaders in other languages take of it: threads and scratch memory.
        model_host: The object that is linked into every model.
    """

    runner: Path
    library: Path
    model_host: Path


def object_of(board: Board, source: Path) -> Path:
    """The object of a C source beside it, which may include the runner's headers and TVM's.

    Raises:
        ToolchainError: It does not compile.
    """
    compiler = _Compiler(source.parent, board.processor.isa, board.processor.glibc)
    compiler.zig(
        "cc", "-c", *compiler.usual, "-std=c11", "-fPIC", "-fvisibility=hidden",
        f"-I{_tvm_headers()}", source.name, "-o", f"{source.stem}.o",
    )  # fmt: skip
    return source.with_suffix(".o")


def link_model(board: Board, output: Path, objects: list[Path]) -> None:
    """Link a part's object files into a model, which needs no library of TVM's."""
    support = objects[0].with_name("model_host.o")
    shutil.copyfile(runtime(board.processor.isa, board.processor.glibc).model_host, support)
    link_shared(board, output, [*objects, support])


def install_runtime(board: Board, folder: Path) -> None:
    """Put the runner and its library into a part's folder, as `RUNNER` and `LIBRARY`.

    Raises:
        ToolchainError: They cannot be built.
    """
    found = runtime(board.processor.isa, board.processor.glibc)
    shutil.copyfile(found.library, folder / LIBRARY)
    shutil.copyfile(found.runner, folder / RUNNER)
    (folder / RUNNER).chmod(0o755)


@functools.cache
def runtime(isa: str, glibc: str) -> Runtime:
    """The runtime built for an ISA, from the cache or built now.

    Raises:
        ToolchainError: zig or the headers of apache-tvm-ffi are missing.
    """
    folder = cached(runtime_key(isa, glibc), lambda new: _build_runtime(new, isa, glibc))
    return Runtime(folder / RUNNER, folder / LIBRARY, folder / "model_host.o")


def runtime_is_built(isa: str, glibc: str) -> bool:
    """Whether `runtime` finds in the cache what it gives."""
    return (cache_dir() / runtime_key(isa, glibc)).is_dir()


def runtime_key(isa: str, glibc: str) -> str:
    """The folder of the cache that a runtime is in: another one when its sources change."""
    digest = hashlib.sha256(zig_version().encode() + glibc.encode())
    for path in sorted(_SOURCES.iterdir()):
        if path.suffix in (".c", ".cc", ".h", ".zig"):
            digest.update(path.name.encode() + path.read_bytes())
    return f"runner/{isa}-{digest.hexdigest()[:16]}"


@dataclass(frozen=True)
class _Compiler:
    """zig for the runner's sources, for one ISA, in a folder that objects and programs go to."""

    folder: Path
    isa: str
    glibc: str

    @property
    def target(self) -> tuple[str, ...]:
        return ("-target", f"{self.isa}-linux-gnu.{self.glibc}")

    @property
    def usual(self) -> tuple[str, ...]:
        return (
            *self.target, "-O2", "-g0", "-fno-sanitize=undefined", "-ffunction-sections",
            "-fdata-sections", f"-ffile-prefix-map={_SOURCES}=.", "-ffile-prefix-map=./=",
            f"-I{_SOURCES}",
        )  # fmt: skip

    def zig(self, *arguments: str) -> None:
        zig(*arguments, cwd=self.folder)

    def cpp(self, name: str, sources: Iterable[str], *flags: str) -> str:
        """One object of several sources: the library's headers are parsed once for all."""
        lines = "".join(f'#include "{source}"\n' for source in sources)
        (self.folder / f"{name}.cc").write_text(lines, "utf-8")
        self.zig(
            "c++", "-c", "-std=c++17", *self.usual, "-fno-exceptions", "-fno-rtti",
            "-fno-threadsafe-statics", f"-I{_tvm_headers()}", *flags, f"{name}.cc",
            "-o", f"{name}.o",
        )  # fmt: skip
        (self.folder / f"{name}.cc").unlink()
        return f"{name}.o"

    def c(self, name: str, *flags: str) -> None:
        source = str(_SOURCES / f"{name}.c")
        self.zig("cc", "-c", *self.usual, *flags, source, "-o", f"{name}.o")

    def cipher(self) -> list[str]:
        """Objects of what zig's own library does for the runner, for wider vectors too."""
        cpus = {"aead": "baseline"}
        if self.isa == "x86_64":
            cpus["aead_avx2"] = "x86_64_v3"
        for name, cpu in cpus.items():
            self.zig(
                "build-obj", str(_SOURCES / "aead.zig"), *self.target, f"-mcpu={cpu}",
                "-OReleaseFast", "-fPIE", "-fstrip", f"-femit-bin={name}.o",
            )  # fmt: skip
        return [f"{name}.o" for name in cpus]

    def link(self, kind: str, output: str, *arguments: str) -> None:
        """Link objects; they are not needed after that."""
        self.zig(
            *kind.split(), *self.target, "-fstrip", "--gc-sections", "-lc", "-fno-compiler-rt",
            "-fno-ubsan-rt", f"-femit-bin={output}", *arguments,
        )  # fmt: skip
        for name in arguments:
            if name.endswith(".o"):
                (self.folder / name).unlink()


def _tvm_headers() -> Path:
    spec = importlib.util.find_spec("tvm_ffi")
    if spec is None or spec.origin is None:
        raise ToolchainError("apache-tvm-ffi is missing", hint="pip install apache-tvm")
    return Path(spec.origin).parent / "include"


def build_program(source: Path, output: Path, isa: str, glibc: str) -> None:
    """Build a program of some of the runner's sources, such as a benchmark of them.

    Args:
        source: A C++ file with `main`, which includes the sources that it needs; support.cc is
            one of them.
        output: The program, in a folder that is there.
        isa: Of the machine that it is for.
        glibc: The oldest C library that it must run on.

    Raises:
        ToolchainError: zig or the headers of apache-tvm-ffi are missing, or it does not compile.
    """
    compiler = _Compiler(output.parent, isa, glibc)
    program = compiler.cpp(output.name, [str(source.resolve())], "-fPIE")
    compiler.link("build-exe", output.name, "-fPIE", program, *compiler.cipher())


def _build_runtime(folder: Path, isa: str, glibc: str) -> None:
    compiler = _Compiler(folder, isa, glibc)
    # The runner takes longest; what is not of it is built beside it.
    with ThreadPoolExecutor(2) as beside:
        cipher = beside.submit(compiler.cipher)
        others = [
            beside.submit(_build_library, compiler),
            beside.submit(compiler.c, "model_host", "-fPIC"),
        ]
        sources = sorted(path.name for path in _SOURCES.glob("*.cc"))
        runner = compiler.cpp("runner", sources, "-fPIE")
        compiler.link("build-exe", RUNNER, "-fPIE", runner, *cipher.result())
        for other in others:
            other.result()


def _build_library(compiler: _Compiler) -> None:
    library = compiler.cpp("library", _LIBRARY_SOURCES, "-fPIC", "-fvisibility=hidden")
    compiler.link("build-lib -dynamic", LIBRARY, "-fPIC", f"-fsoname={LIBRARY}", library)
