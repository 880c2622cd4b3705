# SPDX-License-Identifier: Apache-2.0
"""What a build and the processes that compile for it say to each other, a line of JSON each."""

from __future__ import annotations

from pathlib import Path

import msgspec

from splitc.build.options import CompileOptions
from splitc.errors import SplitcError


class Failure(msgspec.Struct, frozen=True):
    """Why a bundle was not built: the error's name, what, where, why, and what to do next."""

    error: str
    what: str
    at: str = ""
    why: str = ""
    hint: str = ""
    exit_code: int = 1

    @staticmethod
    def of(error: SplitcError) -> Failure:
        """An error that splitc raises on purpose."""
        return Failure(error.kind, error.what, error.at, error.why, error.hint, error.exit_code)


class Task(msgspec.Struct, frozen=True, tag="task"):
    """Compile one bundle.

    Args:
        number: Of the bundle.
        options: What is asked.
        folder: Where paths in them are relative to.
        output: Where the bundle goes.
    """

    number: int
    options: CompileOptions
    folder: str
    output: str


class Group(msgspec.Struct, frozen=True, tag="group"):
    """Bundles of one model, which one process reads once and compiles one after the other."""

    tasks: tuple[Task, ...]

    @property
    def place(self) -> Path:
        """The folder that all of it is at home in."""
        return Path(self.tasks[0].folder)


class Began(msgspec.Struct, frozen=True, tag="began"):
    """A step of a bundle begins, in words."""

    number: int
    step: str


class Done(msgspec.Struct, frozen=True, tag="done"):
    """A bundle is there, or why not; how long it took, and what to know of it."""

    number: int
    seconds: float
    notes: tuple[str, ...] = ()
    failure: Failure | None = None


class Over(msgspec.Struct, frozen=True, tag="over"):
    """All of a group has been told of."""


Said = Began | Done | Over
