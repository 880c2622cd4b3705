# SPDX-License-Identifier: Apache-2.0
"""Every failure a user can meet: what, where, why, and what to do next."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence
from typing import ClassVar, TypeVar

W = TypeVar("W", bound=str)


class SplitcError(Exception):
    """Base of all errors that splitc raises on purpose.

    Args:
        what: The thing that failed, in one clause.
        at: The layer, file or field it failed at.
        why: The reason.
        hint: What the user can do next.
    """

    exit_code: ClassVar[int] = 1

    def __init__(self, what: str, *, at: str = "", why: str = "", hint: str = "") -> None:
        self.what = what
        self.at = at
        self.why = why
        self.hint = hint
        super().__init__(what)

    @property
    def kind(self) -> str:
        """The error's class name, stable across versions."""
        return type(self).__name__

    def __str__(self) -> str:
        lines = [self.what]
        for label, text in (("at", self.at), ("why", self.why), ("hint", self.hint)):
            if text:
                lines.append(f"{label:>6}: {text}")
        return "\n".join(lines)


class UsageError(SplitcError):
    """A flag, an option or a name that splitc does not know."""

    exit_code = 2


class BadModelError(SplitcError):
    """A model file that is broken, hostile, or outside what ONNX allows."""

    exit_code = 3


class BadBundleError(SplitcError):
    """A bundle that is incomplete, altered, or of another schema."""

    exit_code = 3


class SignatureError(BadBundleError):
    """A bundle that is not signed, by another key, or not as it was when it was signed."""


class UnsupportedOpError(SplitcError):
    """An operator that the chosen target cannot compile."""

    exit_code = 4


class NoLegalCutError(SplitcError):
    """No cut satisfies the constraints."""

    exit_code = 5


class NoGainError(SplitcError):
    """A split was wanted only if it pays, and it does not."""

    exit_code = 5


class IllegalCutError(SplitcError):
    """The cut that was asked for is not one."""

    exit_code = 5


class ToolchainError(SplitcError):
    """A compiler, linker, package or emulator is missing or failed."""

    exit_code = 6


class VerificationError(SplitcError):
    """The split network does not compute what the whole network computes."""

    exit_code = 7


class OutputError(SplitcError):
    """The output folder cannot be written; choose another."""

    exit_code = 2


class DeviceError(SplitcError):
    """A device or the network failed."""

    exit_code = 8


class GateError(SplitcError):
    """A figure is beyond what a gate allows, or worse than a baseline's by more than that."""

    exit_code = 9


class DataError(SplitcError):
    """The training data, or the function that gives it, is not what the model takes."""

    exit_code = 2


class TrainingError(SplitcError):
    """Training cannot go on: the loss is no number, say."""

    exit_code = 2


class PassError(SplitcError):
    """A pass's precondition or promise does not hold."""

    exit_code = 1


def one_line(error: BaseException) -> str:
    """An error's message without line breaks, 300 characters of it at most."""
    return " ".join(str(error).split())[:300]


def printable(text: str) -> str:
    """Text out of a model or a bundle, without what has no picture: controls, line ends."""
    return "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in text)


def one_of(known: Sequence[W], text: str, what: str) -> W:
    """One of a few words.

    Args:
        known: The words.
        text: What the user gave.
        what: What such a word is.

    Raises:
        UsageError: It is none of them; the hint lists the nearest.
    """
    for one in known:
        if text == one:
            return one
    raise UsageError(f"there is no {what} '{text}'", hint=nearest(text, known))


def nearest(name: str, known: Iterable[str], *, count: int = 3) -> str:
    """A hint listing the known names that look most like `name`.

    Args:
        name: What the user typed.
        known: The names that would have been accepted.
        count: How many to offer at most.
    """
    names = list(known)
    lower = {n.lower(): n for n in names}
    close = difflib.get_close_matches(name.lower(), lower, n=count, cutoff=0.4)
    if close:
        return "did you mean " + ", ".join(f"'{lower[c]}'" for c in close) + "?"
    if len(names) <= 12:
        return "one of: " + ", ".join(sorted(names))
    return ""
