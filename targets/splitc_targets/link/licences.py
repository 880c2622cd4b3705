# SPDX-License-Identifier: Apache-2.0
"""Whose code is in a native part, and the licences that go with it."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator
from importlib.metadata import Distribution, PackageNotFoundError, distribution
from pathlib import Path

from splitc.build.backend import Shipped
from splitc.errors import ToolchainError

FOLDER = "LICENSES"
_LLVM = "Apache-2.0 WITH LLVM-exception"


def install_licences(
    folder: Path, isa: str, beside: tuple[Shipped, ...] = ()
) -> tuple[Shipped, ...]:
    """Put the licences of what a native part is made of beside it, as `LICENSES/NAME.txt`.

    A model has splitc's own functions in it, the runner and its library what their sources
    include: templates of the C++ library, TVM's headers, a cipher of zig's. Both have the C
    library's and zig's small objects that begin a program or stand in for instructions.

    Args:
        folder: The part's.
        isa: Of its code.
        beside: What else is in it, by installed packages' names.

    Raises:
        ToolchainError: A package that the code comes from is not installed.
    """
    place = folder / FOLDER
    place.mkdir()
    pieces = (*_pieces(), *beside)
    for piece in pieces:
        text = "\n\n".join(_texts(piece.name, isa))
        (place / f"{piece.name}.txt").write_text(f"{text}\n", "utf-8")
    return pieces


def _pieces() -> Iterator[Shipped]:
    splitc, ffi, zig = (_installed(n).version for n in ("splitc", "apache-tvm-ffi", "ziglang"))
    yield Shipped("splitc", splitc, "Apache-2.0", f"pkg:pypi/splitc@{splitc}")
    yield Shipped("apache-tvm-ffi", ffi, "Apache-2.0", f"pkg:pypi/apache-tvm-ffi@{ffi}")
    yield Shipped("libcxx", f"zig-{zig}", _LLVM)
    yield Shipped("zig", zig, "MIT", f"pkg:pypi/ziglang@{zig}")
    yield Shipped("glibc-start", f"zig-{zig}", "LGPL-2.1-or-later WITH GCC-exception-2.0-note")


def _texts(piece: str, isa: str) -> Iterator[str]:
    """What a piece's authors want to go with it."""
    if piece == "glibc-start":
        # The exception that lets a program that begins with it have any licence.
        library = _zig() / "lib" / "libc" / "glibc"
        source = (library / "sysdeps" / isa / "start.S").read_text("utf-8")
        yield source.partition("/*")[2].partition("*/")[0].strip()
        yield _text(library / "LICENSES")
    elif piece == "libcxx":
        yield _text(_zig() / "lib" / "libcxx" / "LICENSE.TXT")
    elif piece == "zig":
        yield _text(_zig() / "LICENSE")
    else:
        found = _installed(piece)
        names = (path for path in found.files or () if path.parent.name == "licenses")
        for path in sorted(names):
            yield _text(Path(str(found.locate_file(path))))


def _text(path: Path) -> str:
    return path.read_text("utf-8").strip("\n")


def _installed(package: str) -> Distribution:
    try:
        return distribution(package)
    except PackageNotFoundError as error:
        raise ToolchainError(f"{package} is missing", hint="pip install splitc") from error


def _zig() -> Path:
    """zig's own folder."""
    spec = importlib.util.find_spec("ziglang")
    if spec is None or spec.origin is None:
        raise ToolchainError("zig is missing", hint="pip install ziglang")
    return Path(spec.origin).parent
