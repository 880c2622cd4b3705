# SPDX-License-Identifier: Apache-2.0
"""Values of figures: of a bundle, and of what a verb printed of it."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

import msgspec

from splitc.errors import BadBundleError
from splitc.figures.table import PRINTED, Source
from splitc.runtime.codec_entry import CodecCost

if TYPE_CHECKING:
    from splitc.bundle.bundle import Bundle
    from splitc.runtime.manifest import Manifest, PartManifest, Route

NATIVE = "native"


@dataclass(frozen=True)
class Values:
    """Figures of one source.

    Args:
        source: Where they are from.
        by_route: By route and figure; what one had no value for is left out. What stands for
            a route is a way of sending in simulate, and a condition in evaluate.
        default: The route that is meant where none is named; None for all of them.
    """

    source: Source
    by_route: Mapping[str, Mapping[str, float]]
    default: str | None = None

    def routes(self, asked: str | None) -> tuple[str, ...]:
        """The routes that are meant: None for the default, "*" for all."""
        if asked == "*" or (asked is None and self.default is None):
            return tuple(self.by_route)
        return (self.default or "",) if asked is None else (asked,)


def of_bundle(bundle: Bundle) -> Values:
    """What a bundle's manifests say.

    Raises:
        BadBundleError: A part has none, or it is malformed.
    """
    manifest = bundle.manifest
    parts = {name: bundle.part(name) for route in manifest.routes for name in route.parts}
    sizes = {name: _bytes_below(manifest, manifest.parts[name].folder) for name in parts}
    found = {route.name: _of_route(route, parts, sizes) for route in manifest.routes}
    return Values("manifest", found, manifest.default)


def _bytes_below(manifest: Manifest, folder: str) -> int:
    below = f"{folder}/"
    return sum(one.bytes for name, one in manifest.files.items() if name.startswith(below))


def _of_route(
    route: Route, parts: Mapping[str, PartManifest], sizes: Mapping[str, int]
) -> dict[str, float]:
    took = route.predicted
    sites = list(took.site_ms.values())
    found = {
        "head_ms": sites[0] if sites else 0.0,
        "tail_ms": sum(sites[1:]),
        "link_ms": took.link_ms,
        "total_ms": sum(sites) + took.link_ms,
        "boundary_bytes": float(route.boundary_bytes),
        "fallback_kernels": float(sum(len(parts[name].fallbacks) for name in route.parts)),
    }
    for side, names in (("head", route.before), ("tail", route.behind)):
        found |= _memory(side, [parts[name] for name in names])
        found[f"{side}_bytes"] = float(sum(sizes[name] for name in names))
    return _finite(found | _of_codec(route.codec.cost if route.codec else None))


def _memory(side: str, parts: list[PartManifest]) -> dict[str, float]:
    """What the parts on one side take, where their backend plans it."""
    if not all(part.format == NATIVE for part in parts):
        return {}
    constants = sum(part.weight_bytes for part in parts)
    packed = sum(part.packed_bytes for part in parts)
    # parts of one side run one after the other, in the same memory
    live = max((part.activation_bytes for part in parts), default=0)
    return {
        f"{side}_weight_bytes": float(constants),
        f"{side}_memory_bytes": float(constants + packed + live),
    }


def _of_codec(cost: CodecCost | None) -> dict[str, float]:
    """What a codec costs."""
    if cost is None:
        return {}
    found = {"agreement": cost.agreement}
    if cost.results:
        found["codec_error"] = max(one.relative_error for one in cost.results)
    if cost.accuracy is not None:
        found["accuracy"] = cost.accuracy
        if cost.given_accuracy is not None:
            found["accuracy_drop"] = cost.given_accuracy - cost.accuracy
    return found


def _finite(found: Mapping[str, float | None]) -> dict[str, float]:
    """Without those that are no number."""
    return {n: v for n, v in found.items() if v is not None and math.isfinite(v)}


class _Read(msgspec.Struct, frozen=True, kw_only=True):
    """What is read of a verb's JSON: other fields may be there."""


class _Apart(_Read, frozen=True):
    relative_error: float | None


class _Check(_Read, frozen=True):
    boundary: tuple[_Apart, ...]
    outputs: tuple[_Apart, ...]
    received: tuple[_Apart, ...]


class _Verify(_Read, frozen=True):
    routes: dict[str, _Check]
    codec_cost: CodecCost | None = None


class _Times(_Read, frozen=True):
    median_ms: float
    p95_ms: float
    p99_ms: float


class _Part(_Read, frozen=True):
    load_ms: float
    first_ms: float
    resident_bytes: int
    times: _Times


class _Bench(_Read, frozen=True):
    parts: dict[str, _Part]
    routes: dict[str, _Times]
    resident_bytes: int


class _Latency(_Read, frozen=True):
    mean: float | None
    p50: float | None
    p95: float | None
    p99: float | None


class _Run(_Read, frozen=True):
    name: str
    frames: int
    missed: int
    unanswered: int
    share: float
    accuracy: float | None
    energy_mj: float | None
    latency_ms: _Latency
    packets_sent: int
    packets_resent: int
    packets_lost: int
    queue_full: int
    switches: int


class _Simulate(_Read, frozen=True):
    link: dict[str, Any]
    runs: tuple[_Run, ...]


class _Point(_Read, frozen=True):
    name: str
    accuracy: float
    accuracy_drop: float | None


class _Evaluate(_Read, frozen=True):
    points: tuple[_Point, ...]


def of_printed(manifest: Manifest, printed: Any) -> Values:
    """What a verb printed of a bundle with `--json`.

    Args:
        manifest: The bundle's.
        printed: The object, as lists, dictionaries, text and numbers.

    Raises:
        BadBundleError: It is what no verb prints that has figures, or of another bundle.
    """
    if (bench := _as(printed, _Bench)) is not None:
        return _of_bench(manifest, bench)
    if (simulated := _as(printed, _Simulate)) is not None:
        return _of_simulate(simulated)
    if (evaluated := _as(printed, _Evaluate)) is not None:
        return _of_points(evaluated)
    if (verified := _as(printed, _Verify)) is not None:
        return _of_verify(manifest, verified)
    verbs = ", ".join(verb for verb in PRINTED if verb not in ("compile", "build", "report"))
    raise BadBundleError("these are no measured figures", hint=f"--json of one of: {verbs}")


R = TypeVar("R", bound=_Read)


def _as(printed: Any, kind: type[R]) -> R | None:
    """An object of a verb, where it is one."""
    try:
        return msgspec.convert(printed, kind)
    except msgspec.ValidationError:
        return None


def _refuse_unknown(what: str, names: Iterable[str], known: Iterable[str]) -> None:
    others = sorted({*names} - {*known})
    if others:
        raise BadBundleError(f"figures of another bundle: it has no {what} '{others[0]:.100}'")


def _of_verify(manifest: Manifest, printed: _Verify) -> Values:
    _refuse_unknown("route", printed.routes, (route.name for route in manifest.routes))
    found: dict[str, dict[str, float]] = {}
    for name, one in printed.routes.items():
        off = [each.relative_error for each in (*one.boundary, *one.outputs, *one.received)]
        codec = manifest.route_named(name).codec
        found[name] = _of_codec(codec.cost if codec else None)
        numbers = [each for each in off if each is not None]
        if numbers and len(numbers) == len(off):
            found[name]["worst_error"] = max(numbers)
    return Values("verify", {name: _finite(one) for name, one in found.items()}, manifest.default)


def _of_bench(manifest: Manifest, printed: _Bench) -> Values:
    _refuse_unknown("route", printed.routes, (route.name for route in manifest.routes))
    _refuse_unknown("part", printed.parts, manifest.parts)
    found: dict[str, dict[str, float]] = {}
    for name, times in printed.routes.items():
        route = manifest.route_named(name)
        one = {
            "total_ms": times.median_ms, "total_p95_ms": times.p95_ms,
            "total_p99_ms": times.p99_ms, "resident_bytes": float(printed.resident_bytes),
        }  # fmt: skip
        for side, names in (("head", route.before), ("tail", route.behind)):
            parts = [printed.parts[each] for each in names if each in printed.parts]
            if len(parts) == len(names):
                one[f"{side}_ms"] = sum(part.times.median_ms for part in parts)
                one[f"{side}_load_ms"] = sum(part.load_ms for part in parts)
                one[f"{side}_first_ms"] = sum(part.first_ms for part in parts)
                one[f"{side}_resident_bytes"] = float(sum(part.resident_bytes for part in parts))
        found[name] = _finite(one)
    default = manifest.default if manifest.default in found else None
    return Values("bench", found, default)


def _of_simulate(printed: _Simulate) -> Values:
    found: dict[str, dict[str, float]] = {}
    for run in printed.runs:
        latency, frames = run.latency_ms, max(run.frames, 1)
        found[run.name] = _finite({
            "latency_mean_ms": latency.mean, "latency_p50_ms": latency.p50,
            "latency_p95_ms": latency.p95, "latency_p99_ms": latency.p99,
            "missed_rate": run.missed / frames, "unanswered_rate": run.unanswered / frames,
            "received_share": run.share, "accuracy": run.accuracy, "energy_mj": run.energy_mj,
            "packets_sent": float(run.packets_sent), "packets_resent": float(run.packets_resent),
            "packets_lost": float(run.packets_lost), "queue_full_packets": float(run.queue_full),
            "switches": float(run.switches),
        })  # fmt: skip
    return Values("simulate", found)


def of_evaluated(printed: Any) -> Values:
    """What `splitc evaluate` printed with `--json`, whatever it evaluated.

    Raises:
        BadBundleError: It is something else.
    """
    found = _as(printed, _Evaluate)
    if found is None:
        raise BadBundleError("this is not what splitc evaluate prints")
    return _of_points(found)


def _of_points(printed: _Evaluate) -> Values:
    """What evaluate found, by condition."""
    found = {
        one.name: _finite({"accuracy": one.accuracy, "accuracy_drop": one.accuracy_drop})
        for one in printed.points
    }
    return Values("evaluate", found)
