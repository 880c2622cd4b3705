# SPDX-License-Identifier: Apache-2.0
"""What hostile manifests must not do: bytes are read as changes to those of a real bundle.

A flipped bit in JSON is mostly no JSON: most inputs choose nodes of a manifest and what to put in
their place. An input whose first octet is odd is a manifest as it stands.
"""

from __future__ import annotations

import atexit
import copy
import json
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from functools import cache
from pathlib import Path
from typing import Any, cast

from splitc.arrays import Array
from splitc.bundle.bundle import Bundle
from splitc.errors import SplitcError
from splitc.runtime.integrity import check_part
from splitc.runtime.manifest import MANIFEST, Manifest, Missing, PartManifest, read_manifest
from splitc.send.ends import Folders
from splitc.send.settings import Settings
from splitc.send.steering import Steering
from splitc.serve.tails import Served
from splitc.wire.answers import Answers
from splitc.wire.boundary import Boundary
from tests.fuzz.conversations import routed_bundle, small_bundle, whole_bundle

PARTS = (
    ("", "head", "tail", "tail-x2"),
    ("", "head-s0", "head-s1", "head-enc1", "head-enc3", "tail-s1", "tail-s2", "tail-dec1"),
    ("", "whole"),
)
"""Whose manifests are changed: a bundle's of one route, of four and of none that sends, and those
of parts of them."""

VALUES: tuple[Any, ...] = (
    None, True, -1, 0, 1, 2, 3, 2**31, 2**63, 2**64, -(2**63), 1e308, -0.5, "", "head", "tail",
    "..", "../tail", "/", "\0", "\ud800", "uint8", "float32", "bool", "NHWC", "device", "server",
    "a" * 300, [], [[]], {}, {"": 0}, [0, 0], [-1], [2**40, 2**40], [1] * 65, ["x"], "ff" * 32,
)  # fmt: skip


_MOST_PLACES = 10_000
"""Of a manifest that is changed further: one that is put into itself again and again doubles."""


@cache
def folders() -> tuple[Path, ...]:
    """Copies of the bundles to write into."""
    scratch = tempfile.TemporaryDirectory()
    atexit.register(scratch.cleanup)
    made: list[Path] = []
    for number, bundle in enumerate((small_bundle(), routed_bundle(), whole_bundle())):
        made.append(Path(scratch.name) / f"{number}.splitc")
        shutil.copytree(bundle.path, made[-1])
    return tuple(made)


@cache
def right() -> tuple[tuple[Path, str, Any], ...]:
    """Every manifest that is changed: its bundle, its part or "", and what it says."""
    return tuple(
        (path, name, json.loads((path / name / MANIFEST).read_text("utf-8")))
        for path, names in zip(folders(), PARTS, strict=True)
        for name in names
    )


def nodes(value: Any) -> Iterator[tuple[Any, Any]]:
    """Every place in a manifest: what holds it, and by what index or key."""
    items: list[tuple[Any, Any]] = []
    if isinstance(value, dict):
        items += cast("dict[str, Any]", value).items()
    elif isinstance(value, list):
        items += enumerate(cast("list[Any]", value))
    for key, inner in items:
        yield value, key
        yield from nodes(inner)


def changed(manifest: Any, edits: bytes) -> Any:
    """A manifest with some places changed: which (u16), how, and by what."""
    made = copy.deepcopy(manifest)
    for at in range(0, len(edits) - 3, 4):
        places = [*nodes(made)]
        if not 0 < len(places) <= _MOST_PLACES:
            break
        holder, key = places[int.from_bytes(edits[at : at + 2], "little") % len(places)]
        how, what = edits[at + 2] % 4, edits[at + 3]
        if how == 0:
            holder[key] = copy.deepcopy(VALUES[what % len(VALUES)])
        elif how == 1:
            del holder[key]
        elif how == 2 and isinstance(holder[key], list):
            holder[key] = holder[key] * 2
        else:
            other, its = places[what % len(places)]
            holder[key] = copy.deepcopy(other[its])
    return made


class _Nowhere:
    """Runs no tail: what is looked at is what comes before."""

    is_here = False

    def run(self, route: int, frames: Sequence[Sequence[Array]]) -> list[list[Array]]:
        """Give nothing."""
        return []

    def close(self) -> None:
        """Nothing is held."""


def manifests(data: bytes) -> None:
    """Manifests of any bytes, to everything that reads them."""
    which = data[0] >> 1 if data else 0
    path, name, manifest = right()[which % len(right())]
    if data and data[0] & 1:
        text = data[1:]
    else:
        text = json.dumps(changed(manifest, data[1:])).encode("utf-8", "surrogatepass")
    file = path / name / MANIFEST
    before = file.read_bytes()
    file.write_bytes(text)
    try:
        for reader in (_open, _serve, _send, _cut):
            try:
                reader(path)
            except SplitcError as error:
                assert str(error)
    finally:
        file.write_bytes(before)


def _open(path: Path) -> None:
    Bundle.open(path).check()


def _serve(path: Path) -> None:
    with Served(path, lambda _: _Nowhere()) as served:
        for tail in served.tails.values():
            _lies(tail.crosses, tail.missing)
            Answers(tail.results, 1404)


def _send(path: Path) -> None:
    first = _first(path)
    for folder in (path, first):
        found = Folders.find(folder)
        steering = Steering(found.manifest.remote, Settings())
        assert steering.choose(0.0).name in [one.name for one in found.manifest.remote]
    for name in PARTS[folders().index(path)][1:]:
        check_part(path / name, name)


def _cut(path: Path) -> None:
    for route in read_manifest(path, Manifest).routes:
        _lies(route.crosses, route.missing)
    for remote in read_manifest(_first(path), PartManifest).remote:
        _lies(remote.crosses, remote.missing)
        Answers(remote.results, 1404)


def _first(path: Path) -> Path:
    """The folder of the part that a device begins with."""
    return path / PARTS[folders().index(path)][1]


def _lies(crosses: Any, missing: Sequence[Missing]) -> None:
    Boundary(crosses, 1404, 0, missing)


def seeds() -> list[bytes]:
    """Manifests as they are, and some changes."""
    known = [manifest for _, _, manifest in right()]
    whole = [bytes([2 * k + 1]) + json.dumps(one).encode() for k, one in enumerate(known)]
    some = [
        bytes([2 * name]) + place.to_bytes(2, "little") + bytes([how, place % 256])
        for name, one in enumerate(known)
        for place in range(0, sum(1 for _ in nodes(one)), 3)
        for how in range(4)
    ]
    return [*whole, *some]
