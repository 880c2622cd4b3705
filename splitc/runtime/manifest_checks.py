# SPDX-License-Identifier: Apache-2.0
"""What a manifest may say beyond its form: names that stay inside, parts and routes that agree."""

from __future__ import annotations

import math
import re
from typing import TYPE_CHECKING

from splitc.errors import BadBundleError

if TYPE_CHECKING:
    from splitc.runtime.manifest import Manifest, PartManifest, Remote, Route

_MOST_ROUTES = 256
_LONGEST_NAME = 255
MOST_ROUNDING = 1e6
"""Of a tensor's range: any number may be its."""
_GOLDEN = ("boundary", "inputs", "outputs", "received", "received_outputs", "routes")
"""What lies beside the builds of parts for the machine that compiled them."""


def check_part_manifest(part: PartManifest, at: str) -> None:
    """What a part loads and runs is a listed file in its own folder, what it sends for a route.

    Raises:
        BadBundleError: Names what is not, and the manifest's file.
    """
    _check_split(part, at)
    if len({remote.route for remote in part.remote}) < len(part.remote):
        raise BadBundleError("the part sends for one route twice", at=at)
    for remote in part.remote:
        why = _why_not_sent(part, remote)
        if why:
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
    names = [route.name for route in manifest.routes]
    if manifest.default not in names or len({*names}) < len(names):
        why = "it names no route, or there are two of one name"
        raise BadBundleError(f"there is no one route '{manifest.default}'", at=at, why=why)
    if len(names) > _MOST_ROUTES or not all(map(_is_plain_text, names)):
        why = f"a bundle has {_MOST_ROUTES} at most, with names that can be printed"
        raise BadBundleError("the routes cannot be", at=at, why=why)
    for route in manifest.routes:
        _check_route(manifest, route, at)
    for name, rounding in (manifest.rounding or {}).items():
        if not all(0 <= each <= MOST_ROUNDING for each in rounding):
            raise BadBundleError(f"the rounding of '{name}' is no share of its range", at=at)
    for name, part in manifest.parts.items():
        if part.batch < 1:
            raise BadBundleError(f"part '{name}' takes {part.batch} frames a call", at=at)
        if not _is_folder(name) or name in _GOLDEN:
            raise BadBundleError(f"a part is called {name!r}", at=at, why="which is none's name")
        if not _is_folder(part.folder) or part.folder == "golden":
            why = f"its folder is {part.folder!r}, which is none of a part"
            raise BadBundleError(f"part '{name}' is not in the bundle", at=at, why=why)


def _check_route(manifest: Manifest, route: Route, at: str) -> None:
    """Each site runs something, and what it runs is a part for it, once and for one frame.

    A route that names one site alone is the only one of its bundle, and nothing crosses.
    """
    if not route.runs or not all(route.runs.values()):
        idle = next((f"on site '{site}' of" for site, own in route.runs.items() if not own), "on")
        raise BadBundleError(f"nothing runs {idle} route '{route.name}'", at=at)
    if len(route.runs) == 1:
        _check_whole(manifest, route, at)
    _check_missing(route, at)
    if len({*route.parts}) < len(route.parts):
        raise BadBundleError(f"route '{route.name}' runs a part twice", at=at)
    for site, name in ((site, name) for site, own in route.runs.items() for name in own):
        why = ""
        if name not in manifest.parts:
            why = "there is no such part"
        elif manifest.parts[name].batch != 1:
            why = f"it takes {manifest.parts[name].batch} frames a call"
        elif manifest.parts[name].site != site:
            why = f"it is for the {manifest.parts[name].site}, not for the {site}"
        if why:
            raise BadBundleError(f"a route runs '{name}'", at=at, why=why)


def _check_whole(manifest: Manifest, route: Route, at: str) -> None:
    """All on one site: one part on the only route, and nothing is said of a link."""
    crosses = route.crosses or route.boundary_bytes or route.missing or route.codec
    why = ""
    if len(manifest.routes) > 1:
        why = "the bundle has other routes"
    elif len(route.parts) > 1:
        why = f"it runs {len(route.parts)} parts"
    elif crosses:
        why = "something crosses a link"
    if why:
        (site,) = route.runs
        raise BadBundleError(f"route '{route.name}' is all on site '{site}'", at=at, why=why)


def _why_not_sent(part: PartManifest, remote: Remote) -> str:
    """Why a part cannot send so; "" where it can."""
    if not 0 <= remote.route < _MOST_ROUTES:
        return f"a bundle has {_MOST_ROUTES} routes at most, this is number {remote.route}"
    if not _is_plain_text(remote.name):
        return "its name cannot be printed"
    if remote.runs and (remote.runs[0] != part.part or len({*remote.runs}) < len(remote.runs)):
        return f"it is not the first of its parts, each once: {', '.join(remote.runs)[:80]}"
    foreign = next((name for name in remote.runs if not _is_folder(name)), None)
    if foreign is not None:
        return f"{foreign!r} is no folder beside it"
    took = remote.expected
    if took is None:
        return ""
    figures = (took.head_ms, took.tail_ms, took.link_ms)
    if not all(0 <= ms < math.inf for ms in figures) or not 0 <= took.agreement <= 1:
        return "what it is expected to take is no time, or its agreement no share"
    return ""


def _is_folder(name: str) -> bool:
    """Whether a name is that of a folder in another, and of nothing above or below it."""
    foreign = {"/", "\0"} & {*name} or name.startswith(".")
    return bool(name) and not foreign and len(name.encode("utf-8", "replace")) <= _LONGEST_NAME


def _is_plain_text(name: str) -> bool:
    return bool(name) and name.isprintable() and len(name) <= _LONGEST_NAME


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
