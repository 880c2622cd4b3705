# SPDX-License-Identifier: Apache-2.0
"""What a manifest may say beyond its form: names that stay inside, parts and routes that agree."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from splitc.errors import BadBundleError

if TYPE_CHECKING:
    from splitc.runtime.manifest import Manifest, PartManifest, Remote, Route


def check_part_manifest(part: PartManifest, at: str) -> None:
    """What a part loads and runs is a listed file in its own folder, what it sends for a route.

    Raises:
        BadBundleError: Names what is not, and the manifest's file.
    """
    _check_split(part, at)
    for remote in part.remote:
        if not 0 <= remote.route < 2**16:
            why = f"routes have numbers of 16 bits, not {remote.route}"
            raise BadBundleError(f"the part sends for '{remote.name}'", at=at, why=why)
        _check_missing(remote, at)
    optional = [name for name in (part.runner, part.weights) if name]
    for name in (part.model, *part.libraries, *optional):
        if "/" in name or name.startswith(".") or name not in part.files:
            why = "it is no file of the part"
            raise BadBundleError(f"the part names '{name}'", at=at, why=why)


def check_bundle_manifest(manifest: Manifest, at: str) -> None:
    """The default is a route, routes run parts that there are, and those lie in the bundle.

    Raises:
        BadBundleError: Names what is not, and the manifest's file.
    """
    _check_split(manifest, at)
    for route in manifest.routes:
        if not route.runs or not all(route.runs.values()):
            idle = next(
                (f"on site '{site}' of" for site, own in route.runs.items() if not own), "on"
            )
            raise BadBundleError(f"nothing runs {idle} route '{route.name}'", at=at)
        _check_missing(route, at)
    names = [route.name for route in manifest.routes]
    if manifest.default not in names or len({*names}) < len(names):
        why = "it names no route, or there are two of one name"
        raise BadBundleError(f"there is no one route '{manifest.default}'", at=at, why=why)
    for name in (name for route in manifest.routes for name in route.parts):
        if name not in manifest.parts:
            raise BadBundleError(f"a route runs '{name}'", at=at, why="there is no such part")
        if manifest.parts[name].batch != 1:
            why = f"it takes {manifest.parts[name].batch} frames a call"
            raise BadBundleError(f"a route runs '{name}'", at=at, why=why)
    for name, part in manifest.parts.items():
        if part.batch < 1:
            raise BadBundleError(f"part '{name}' takes {part.batch} frames a call", at=at)
        foreign = {"/", "\0"} & {*part.folder} or part.folder.startswith(".")
        if foreign or part.folder in ("", "golden"):
            why = f"its folder is {part.folder!r}, which is none of a part"
            raise BadBundleError(f"part '{name}' is not in the bundle", at=at, why=why)


def _check_split(manifest: Manifest | PartManifest, at: str) -> None:
    """A split is a sha256."""
    if re.fullmatch("[0-9a-f]{64}", manifest.split) is None:
        why = "its split is not 64 hexadecimal digits"
        raise BadBundleError("manifest is malformed", at=at, why=why)


def _check_missing(route: Route | Remote, at: str) -> None:
    """What stands for missing elements is said of each tensor that crosses, or of none."""
    what = f"route '{route.name}' does not say what stands for what is missing"
    if len(route.missing) not in (0, len(route.crosses)):
        why = f"{len(route.crosses)} tensors cross, it tells of {len(route.missing)}"
        raise BadBundleError(what, at=at, why=why)
    for spec, one in zip(route.crosses, route.missing, strict=False):
        try:
            size = len(one.pattern)
        except ValueError as error:
            why = f"the fill of '{spec.name}' is not in hexadecimal"
            raise BadBundleError(what, at=at, why=why) from error
        if size > max(1, spec.bytes):
            why = f"the fill of '{spec.name}' is longer than the tensor"
            raise BadBundleError(what, at=at, why=why)
        if one.unit < 1:
            why = f"{one.unit} elements of '{spec.name}' travel together"
            raise BadBundleError(what, at=at, why=why)
