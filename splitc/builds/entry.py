# SPDX-License-Identifier: Apache-2.0
"""One bundle to build, and the files that it is built from."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from splitc.build.options import DATA, CompileOptions

_PATH = re.compile(r"[\w./+-]+\.\w+")


@dataclass(frozen=True)
class Entry:
    """One bundle to build.

    Args:
        options: What is asked of its compilation; paths in it are relative to `folder`.
        output: Where the bundle goes, absolute.
        folder: Where the compilation is at home, absolute.
        fail_on: Gates that the bundle has to pass, as text.
    """

    options: CompileOptions
    output: Path
    folder: Path
    fail_on: tuple[str, ...] = ()

    @property
    def model(self) -> Path:
        """The model's file or folder."""
        return self.folder / self.options.model

    @property
    def data(self) -> tuple[Path, ...]:
        """The files besides that the options name: values, a plan, what a codec or cut reads."""
        options = self.options
        named = [name for option in DATA if (name := getattr(options, option))]
        texts = (options.codec, options.cuts, options.cutter, *options.preprocess)
        for text in texts:
            named += _PATH.findall(str(text or ""))
        paths = dict.fromkeys(self.folder / name for name in named)
        return tuple(path for path in paths if path.exists())

    @property
    def named(self) -> str:
        """The output as one would type it."""
        path = os.path.relpath(self.output)
        return str(self.output) if path.startswith("../..") else path


def files_below(path: Path) -> Iterator[Path]:
    """A file, or every file in a folder, in order."""
    if path.is_dir():
        yield from sorted(each for each in path.rglob("*") if each.is_file())
    else:
        yield path
