# SPDX-License-Identifier: Apache-2.0
"""Baselines: what was known of a bundle, as a small file that goes beside the code."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from splitc.errors import BadBundleError, UsageError
from splitc.figures.table import Source
from splitc.figures.values import Values, of_bundle, of_printed
from splitc.runtime.codec_entry import Strict
from splitc.runtime.manifest import Source as Model
from splitc.runtime.manifest import read_plain
from splitc.scratch import scratch, write_whole

if TYPE_CHECKING:
    from splitc.bundle.bundle import Bundle
    from splitc.runtime.manifest import Manifest, PartManifest

SCHEMA = 1
SUFFIX = ".baseline.json"
_MOST_BYTES = 16 * 2**20
_KIND = "splitc baseline"


class PartRecord(Strict, frozen=True):
    """What a part is compiled for, how many layers it has, and what fell back in it."""

    target: str
    cpu: str
    layers: int
    schedule: str
    fallbacks: tuple[str, ...]

    @staticmethod
    def of(part: PartManifest, layers: int) -> PartRecord:
        """A part of a bundle."""
        cpu = " +".join((f"{part.isa} {part.cpu}", *(f.lstrip("+") for f in part.features)))
        return PartRecord(
            target=part.target, cpu=cpu, layers=layers, schedule=part.schedule or part.format,
            fallbacks=part.fallbacks,
        )  # fmt: skip


class RouteRecord(Strict, frozen=True):
    """A route: where it is cut, or on which side all of it is; its codec as text or null, and
    where its times are from."""

    cut: str
    codec: str | None
    predicted_from: str
    parts: tuple[str, ...]


class Found(Strict, frozen=True):
    """Values of one source: by route and figure; see `Values`."""

    source: Source
    default: str | None
    routes: dict[str, dict[str, float]]


class Baseline(Strict, frozen=True, kw_only=True):
    """What was known of a bundle. `digest` is the bundle's, `source` the model that it is of."""

    kind: str = _KIND
    schema: int = SCHEMA
    name: str
    digest: str
    source: Model
    default: str
    routes: dict[str, RouteRecord]
    parts: dict[str, PartRecord]
    tools: dict[str, str]
    config: dict[str, str]
    figures: tuple[Found, ...]

    @staticmethod
    def of(bundle: Bundle, measured: Sequence[Values] = ()) -> Baseline:
        """What is known of a bundle.

        Args:
            bundle: The bundle.
            measured: What verbs found of it: `read_measured`.

        Raises:
            BadBundleError: A part has no manifest, or it is malformed.
        """
        manifest = bundle.manifest
        routes = {
            one.name: RouteRecord(
                cut=manifest.where(one).removeprefix("cut after "),
                codec=one.codec.pipeline if one.codec else None,
                predicted_from=one.predicted.figures, parts=one.parts,
            )
            for one in manifest.routes
        }  # fmt: skip
        parts = {
            name: PartRecord.of(bundle.part(name), one.layers)
            for name, one in manifest.parts.items()
        }
        values = (of_bundle(bundle), *measured)
        return Baseline(
            name=manifest.name, digest=bundle.digest, source=manifest.source,
            default=manifest.default, routes=routes, parts=parts, tools=manifest.tools,
            config=manifest.config,
            figures=tuple(
                Found(source=one.source, default=one.default,
                      routes={name: dict(each) for name, each in one.by_route.items()})
                for one in values
            ),
        )  # fmt: skip

    @property
    def values(self) -> dict[Source, Values]:
        """Its figures, by source."""
        return {one.source: Values(one.source, one.routes, one.default) for one in self.figures}


def write_baseline(path: str | Path, baseline: Baseline) -> None:
    """Write a baseline, the same bytes for the same one.

    Raises:
        OutputError: It cannot be written.
    """
    data = msgspec.json.format(msgspec.json.encode(baseline, order="sorted"), indent=1) + b"\n"
    write_whole(path, data)


def read_baseline(path: str | Path) -> Baseline:
    """Read a baseline's file.

    Raises:
        UsageError: There is no such file.
        BadBundleError: It is none, malformed, too large, or of another schema.
    """
    place = _file(path)
    data = read_plain(place, _MOST_BYTES, "baseline")
    try:
        plain = msgspec.json.decode(data, type=dict[str, Any])
        if plain.get("kind") != _KIND:
            hint = "splitc baseline BUNDLE writes one"
            raise BadBundleError("this is no baseline", at=str(path), hint=hint)
        if plain.get("schema") != SCHEMA:
            why = f"its schema is {plain.get('schema')}, this splitc reads {SCHEMA}"
            hint = "write it again: splitc baseline BUNDLE"
            raise BadBundleError("baseline of another schema", at=str(path), why=why, hint=hint)
        found = msgspec.json.decode(data, type=Baseline)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise BadBundleError("baseline is malformed", at=str(path), why=str(error)) from error
    if found.default not in found.routes:
        raise BadBundleError("baseline is malformed", at=str(path), why="it has no default route")
    return found


def _file(path: str | Path) -> Path:
    if not Path(path).is_file():
        raise UsageError(f"there is no file '{path}'")
    return Path(path).resolve()


def read_measured(paths: Sequence[str | Path], manifest: Manifest) -> tuple[Values, ...]:
    """What verbs printed of a bundle with `--json`, kept in files.

    Args:
        paths: The files, of verbs that differ.
        manifest: The bundle's.

    Raises:
        UsageError: There is no such file, or two are of one verb.
        BadBundleError: It is what no verb prints that has figures, or of another bundle.
    """
    found: dict[Source, Values] = {}
    for path in paths:
        data = read_plain(_file(path), _MOST_BYTES, "file of figures")
        try:
            printed: Any = json.loads(data)
            one = of_printed(manifest, printed)
        except (ValueError, RecursionError) as error:
            raise BadBundleError("no JSON", at=str(path), why=str(error)) from error
        except BadBundleError as error:
            raise BadBundleError(error.what, at=str(path), hint=error.hint) from error
        if one.source in found:
            raise UsageError(f"'{path}': {one.source}'s figures are given twice")
        found[one.source] = one
    return tuple(found.values())


def known_of(what: str | Path | Bundle, measured: Sequence[str | Path] = ()) -> Baseline:
    """What is known of a bundle, however it is given.

    Args:
        what: A bundle, its folder, a packed one, or the file of a baseline.
        measured: Files of what verbs printed of it.

    Raises:
        UsageError: There is nothing there, or figures are given of a baseline.
        BadBundleError: It is malformed, altered, or of another schema.
    """
    from splitc.bundle.bundle import Bundle
    from splitc.bundle.unpack import unpack

    if isinstance(what, Bundle):
        return Baseline.of(what, read_measured(measured, what.manifest))
    path = Path(what)
    if path.is_dir():
        return known_of(Bundle.open(path), measured)
    if _is_zip(_file(path)):
        with scratch() as folder:
            return known_of(unpack(path, folder / "unpacked.splitc"), measured)
    if measured:
        hint = "write it again with them: splitc baseline BUNDLE --measured FILE"
        raise UsageError(f"'{path}' is a baseline, which has its figures already", hint=hint)
    return read_baseline(path)


def _is_zip(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(2) == b"PK"
