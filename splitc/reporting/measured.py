# SPDX-License-Identifier: Apache-2.0
"""Results of `splitc bench --json` and `splitc verify --json`, for a report to show."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import msgspec

from splitc.errors import UsageError
from splitc.runtime.manifest import Manifest

_MAX_BYTES = 16 * 2**20

Name = Annotated[str, msgspec.Meta(max_length=4096)]
Number = Annotated[float, msgspec.Meta(ge=0, le=1e15)]


class TimesFound(msgspec.Struct, frozen=True):
    """Times of calls."""

    calls: int
    median_ms: Number
    p95_ms: Number


class PartFound(msgspec.Struct, frozen=True):
    """What a part took: what ran, in words, how many frames a call, its memory."""

    ran: Name
    frames: int
    resident_bytes: int
    times: TimesFound


class BenchFound(msgspec.Struct, frozen=True):
    """What `splitc bench --json` prints, as far as a report shows it."""

    parts: dict[str, PartFound]
    routes: dict[str, TimesFound]
    threads: int | None


class DifferenceFound(msgspec.Struct, frozen=True):
    """How far one tensor is from the golden one."""

    relative_error: Number | None
    same_argmax: bool


class RouteFound(msgspec.Struct, frozen=True):
    """What was found of one route."""

    passed: bool
    boundary: tuple[DifferenceFound, ...]
    outputs: tuple[DifferenceFound, ...]
    received: tuple[DifferenceFound, ...]

    @property
    def worst(self) -> float | None:
        """The largest relative error; None where one is no number."""
        every = (*self.boundary, *self.outputs, *self.received)
        errors = [one.relative_error for one in every]
        return None if None in errors else max((e for e in errors if e is not None), default=0.0)


class RanFound(msgspec.Struct, frozen=True):
    """What ran of a part, in words."""

    ran: Name


class VerifyFound(msgspec.Struct, frozen=True):
    """What `splitc verify --json` prints, as far as a report shows it."""

    passed: bool
    tolerance: Number
    samples: int
    parts: dict[str, RanFound]
    routes: dict[str, RouteFound]


@dataclass(frozen=True)
class Measured:
    """What was measured of a bundle; None of what was not. `printed` are the objects whole."""

    bench: BenchFound | None = None
    verify: VerifyFound | None = None
    printed: tuple[Any, ...] = ()


def read_measured(paths: Sequence[str | os.PathLike[str]], manifest: Manifest) -> Measured:
    """Read what `bench` and `verify` printed of a bundle; of two of a kind the last one.

    Args:
        paths: The files.
        manifest: The bundle's.

    Raises:
        UsageError: One cannot be read, is neither, or is of another bundle.
    """
    found = Measured()
    for path in map(Path, paths):
        one, whole = _read(path)
        bench = one if isinstance(one, BenchFound) else found.bench
        check = one if isinstance(one, VerifyFound) else found.verify
        found = Measured(bench, check, (*found.printed, whole))
        _refuse_others(path, "parts", one.parts, manifest.parts)
        _refuse_others(path, "routes", one.routes, [route.name for route in manifest.routes])
    return found


def _read(path: Path) -> tuple[BenchFound | VerifyFound, Any]:
    hint = "give what `splitc bench --json` or `splitc verify --json` printed"
    try:
        with path.open("rb") as file:
            data = file.read(_MAX_BYTES + 1)
    except OSError as error:
        raise UsageError(f"cannot read '{path}'", why=error.strerror or "", hint=hint) from error
    if len(data) > _MAX_BYTES:
        raise UsageError(f"'{path}' is too large", hint=hint)
    why = ""
    for kind in (BenchFound, VerifyFound):
        try:
            return msgspec.json.decode(data, type=kind), msgspec.json.decode(data)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            why = str(error)
    raise UsageError(f"'{path}' holds nothing that was measured", why=why, hint=hint)


def _refuse_others(path: Path, what: str, given: Iterable[str], known: Iterable[str]) -> None:
    """Raise where a measurement is of parts or routes that the bundle has not."""
    for name in given:
        if name not in known:
            why = f"the bundle has no {what.removesuffix('s')} '{name}'"
            raise UsageError(f"'{path}' was measured with another bundle", why=why)
