# SPDX-License-Identifier: Apache-2.0
"""Whether the parts of a bundle compute what the network does."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import msgspec
import numpy as np

from splitc.arrays import Array
from splitc.bundle.difference import (
    BFLOAT16_TOLERANCE,
    LOOSEST_TOLERANCE,
    TOLERANCE,
    Difference,
    worst_of,
)
from splitc.bundle.proof_file import ProofCheck
from splitc.bundle.runnable import Runnable, runnable_parts
from splitc.bundle.vectors import count_samples, of_route, read_vectors
from splitc.cost.precision import in_bf16
from splitc.errors import BadBundleError, DeviceError, ToolchainError, VerificationError
from splitc.runtime.manifest import Manifest, PartManifest, Route, read_manifest, write_manifest
from splitc.runtime.process import Timing

_DOUBT = 0.1
"""Of the tolerance."""


@dataclass(frozen=True)
class Ran:
    """What ran of a part.

    Args:
        how: On this machine, its host build, or emulated, in words.
        timing: Its timing.
    """

    how: str
    timing: Timing


@dataclass(frozen=True)
class RouteCheck:
    """What was found on one route.

    Args:
        boundary: Difference of each boundary tensor from the golden one.
        outputs: Difference of each result from the unsplit model's, its codec inside.
        received: Difference of each result made behind the link, on what the seeded channel
            leaves of what crosses, from the trained tail's; empty where there is no channel.
    """

    boundary: tuple[Difference, ...]
    outputs: tuple[Difference, ...]
    received: tuple[Difference, ...] = ()

    @property
    def results(self) -> tuple[Difference, ...]:
        """All but what crosses."""
        return (*self.outputs, *self.received)

    def passed(self, tolerance: float) -> bool:
        """Whether every result, and all that crosses, is within the tolerance.

        Arg-max counts for results only: in a feature map, ties are common.
        """
        crossing = all(one.near(tolerance) for one in self.boundary)
        return crossing and all(one.within(tolerance) for one in self.results)


@dataclass(frozen=True)
class Verification:
    """What was found on the golden vectors.

    Args:
        routes: What was found on each route, by its name.
        default: Name of the bundle's default route.
        ran: What ran of each part, by its name.
        samples: How many golden inputs there are.
        tolerance: What was allowed.
        others: Difference of each result of the parts beside the routes', by the part's name.
        proofs: What was found of the proofs of the cuts.
    """

    routes: Mapping[str, RouteCheck]
    default: str
    ran: Mapping[str, Ran]
    samples: int
    tolerance: float
    others: Mapping[str, tuple[Difference, ...]] = field(
        default_factory=dict[str, tuple[Difference, ...]]
    )
    proofs: tuple[ProofCheck, ...] = ()

    @property
    def boundary(self) -> tuple[Difference, ...]:
        """Of the default route."""
        return self.routes[self.default].boundary

    @property
    def outputs(self) -> tuple[Difference, ...]:
        """Of the default route."""
        return self.routes[self.default].outputs

    @property
    def received(self) -> tuple[Difference, ...]:
        """Of the default route."""
        return self.routes[self.default].received

    @property
    def results(self) -> tuple[Difference, ...]:
        """Every result, of all routes and of the parts beside them."""
        beside = (one for differences in self.others.values() for one in differences)
        return (*(one for each in self.routes.values() for one in each.results), *beside)

    @property
    def everything(self) -> tuple[Difference, ...]:
        """Every result, and all that crosses."""
        return (*self.results, *(one for each in self.routes.values() for one in each.boundary))

    @property
    def worst(self) -> Difference:
        """The result, or else the crossing tensor, that is furthest off."""
        far = [d for d in self.results if not d.same_argmax]
        far = far or [d for d in self.everything if not d.near(self.tolerance)]
        return max(far or self.everything, key=lambda d: d.relative)

    @property
    def doubtful(self) -> bool:
        """Whether something in float32 is off by so much that its own rounding is to be known.

        Results of networks that compute as they should are a hundredth of the tolerance off.
        """
        if self.tolerance > TOLERANCE:
            return False
        return not self.passed or any(d.relative > _DOUBT * self.tolerance for d in self.everything)

    @property
    def failed(self) -> tuple[str, ...]:
        """Names of the routes that are off."""
        return tuple(name for name, one in self.routes.items() if not one.passed(self.tolerance))

    @property
    def passed(self) -> bool:
        """Whether every route passed, and every part beside them."""
        beside = (one for differences in self.others.values() for one in differences)
        return not self.failed and all(one.within(self.tolerance) for one in beside)


def verify(folder: Path, manifest: Manifest, parts: Mapping[str, Runnable]) -> Verification:
    """Run each of a bundle's routes on its golden inputs, and compare.

    Where integers of a quantiser cross, what comes behind runs on the golden ones: a number
    that the head rounds the other way than the reference did is no error of either.

    Args:
        folder: The bundle's.
        manifest: Its manifest.
        parts: What runs, by the parts' names: those of the routes, and others to be checked.

    Raises:
        BadBundleError: Golden vectors do not fit their contract.
        ToolchainError: A part does not run.
    """
    check = _Check(folder / "golden", manifest, parts)
    routes = {route.name: check.route(k, route) for k, route in enumerate(manifest.routes)}
    routed = {name for route in manifest.routes for name in route.parts}
    others = {name: check.beside(name) for name in parts if name not in routed}
    ran = {name: check.ran[name] for name in parts if name in check.ran}
    return Verification(routes, manifest.default, ran, check.samples, check.tolerance, others)


def _most_error(parts: Mapping[str, Runnable]) -> float:
    """The relative error that no bundle may ask to exceed, by what its parts multiply."""
    rounded = any(in_bf16(one.manifest.features) for one in parts.values())
    return BFLOAT16_TOLERANCE if rounded else LOOSEST_TOLERANCE


class _Check:
    """Runs a bundle's parts on its golden vectors."""

    def __init__(self, golden: Path, manifest: Manifest, parts: Mapping[str, Runnable]) -> None:
        self._golden, self._manifest, self._parts = golden, manifest, parts
        # A bundle may ask for less error, never for more than any may have.
        self.tolerance = min(manifest.tolerance, _most_error(parts))
        self._feed = read_vectors(golden / "inputs", manifest.source.inputs)
        self._whole = read_vectors(golden / "outputs", manifest.source.outputs)
        self.samples = count_samples({**self._feed, **self._whole})
        counts = {len(each) for each in (manifest.rounding or {}).values()}
        if counts - {self.samples}:
            raise BadBundleError("the manifest has the rounding of another number of samples")
        self.ran: dict[str, Ran] = {}
        self._before: dict[str, dict[str, Array]] = {}
        """What the parts before the link made: the same on each of their routes."""
        self._behind: dict[str, tuple[dict[str, Array], dict[str, Array]]] = {}
        """What was there for each part behind the link, and what it made of it."""

    def route(self, number: int, route: Route) -> RouteCheck:
        """Run one route, and compare."""
        place = of_route(self._golden, number, len(self._manifest.routes))
        crossing = read_vectors(place / "boundary", route.crosses)
        expected = self._whole
        if place != self._golden and (place / "outputs").is_dir():
            expected = read_vectors(place / "outputs", self._manifest.source.outputs)
        count_samples({**self._feed, **crossing, **expected})
        boundary = dict(self._feed)
        for name in route.before:
            if name not in self._before:
                self._before[name] = self._run(name, boundary)
            boundary |= self._before[name]
        # Bytes that cross are a quantiser's, whether or not the manifest knows of one.
        coded = route.codec is not None
        whole = {
            n: a for n, a in crossing.items()
            if a.dtype.kind in "iu" and (coded or a.dtype.itemsize == 1)
        }  # fmt: skip
        crossed = {**{n: boundary[n] for n in crossing}, **whole}
        made = {**self._run_behind(route, crossed), **boundary}
        rounds = coded or self.tolerance > TOLERANCE
        return RouteCheck(
            boundary=tuple(self._compare(n, a, made, n in whole) for n, a in crossing.items()),
            outputs=tuple(
                self._compare(n, a, made, rounds and _is_level(a)) for n, a in expected.items()
            ),
            received=self._received(place, route),
        )

    def beside(self, name: str) -> tuple[Difference, ...]:
        """Run a part that is on no route, and compare.

        What takes several frames is held against what the part for one made of the same.
        """
        manifest, batch = self._manifest, self._manifest.parts[name].batch
        alone = manifest.batched(name).get(1, name)
        known, expected = self._behind.get(alone, (self._feed, self._whole))
        places = np.arange(-(-self.samples // batch) * batch) % self.samples
        together = batch > 1
        made = (
            self._run_together(name, known, places, batch) if together else self._run(name, known)
        )
        coded = any(route.codec is not None for route in manifest.routes)
        rounds = coded or self.tolerance > TOLERANCE
        return tuple(
            self._compare(n, expected[n][places], made, rounds and _is_level(expected[n]), places)
            for n in made
        )

    def _run_behind(self, route: Route, crossed: Mapping[str, Array]) -> dict[str, Array]:
        """What the parts behind the link make of what crosses."""
        known = {**self._feed, **crossed}
        for name in route.behind:
            made = self._run(name, known)
            self._behind.setdefault(name, (known, made))
            known = {**known, **made}
        return known

    def _received(self, place: Path, route: Route) -> tuple[Difference, ...]:
        """What is behind the link on what the golden channel left of what crosses."""
        if route.codec is None or not route.codec.received:
            return ()
        left = read_vectors(place / "received", route.crosses)
        makes = {
            name: read_manifest(self._parts[name].folder, PartManifest).outputs
            for name in route.parts
        }
        results = route.results(makes, [spec.name for spec in self._manifest.source.outputs])
        expected = read_vectors(place / "received_outputs", results)
        count_samples({**self._feed, **left, **expected})
        made = self._run_behind(route, left)
        return tuple(self._compare(n, a, made, rough=False) for n, a in expected.items())

    def _compare(
        self, name: str, reference: Array, made: Mapping[str, Array], rough: bool,
        places: Array | None = None,
    ) -> Difference:  # fmt: skip
        got = _stacked(made[name], reference)
        known = self._manifest.rounding_of(name)
        if known and places is not None:
            known = tuple(known[int(k)] for k in places)
        return worst_of(name, got, reference, self.tolerance, quantised=rough, rounding=known)

    def _run_together(
        self, name: str, known: Mapping[str, Array], places: Array, batch: int
    ) -> dict[str, Array]:
        """What a part that takes several frames a call makes of samples, by their places."""
        calls = len(places) // batch
        part = read_manifest(self._parts[name].folder, PartManifest)
        given = {spec.name: known[spec.name][places] for spec in part.inputs}
        together = {n: a.reshape(calls, batch * a.shape[1], *a.shape[2:]) for n, a in given.items()}
        made = self._run(name, together)
        return {
            n: a.reshape(len(places), a.shape[1] // batch, *a.shape[2:]) for n, a in made.items()
        }

    def _run(self, name: str, known: Mapping[str, Array]) -> dict[str, Array]:
        """What a part makes, and take in how it ran."""
        made, timing = self._parts[name].run(known)
        self.ran[name] = Ran(self._parts[name].ran, timing)
        return made


def _is_level(array: Array) -> bool:
    """Whether its elements may be a quantiser's."""
    return array.dtype.name in ("int8", "uint8")


def _stacked(array: Array, reference: Array) -> Array:
    """The results of a part without inputs once for each sample; others as they are."""
    if array.ndim == reference.ndim - 1:
        return np.broadcast_to(array, (len(reference), *array.shape))
    return array


def require(verification: Verification) -> None:
    """Raise where a verification failed.

    Raises:
        VerificationError: Names the result that is furthest off.
    """
    if verification.passed:
        return
    worst = verification.worst
    crossing = any(worst in one.boundary for one in verification.routes.values())
    off = f"relative error {worst.relative:.2e}, tolerance {verification.tolerance:.0e}"
    same = "" if crossing else f"arg-max {'equal' if worst.same_argmax else 'differs'}"
    which = ""
    if verification.failed and len(verification.routes) > 1:
        which = " on route " + ", ".join(f"'{name}'" for name in verification.failed)
    raise VerificationError(
        f"head and tail do not compute what the whole network does{which}",
        at=f"{'crossing tensor' if crossing else 'result'} '{worst.name}'",
        why="; ".join(filter(None, (off, same, worst.wrong))),
    )


def verify_built(
    folder: Path, manifest: Manifest, scratch: Path | None,
    rounding: Callable[[], dict[str, tuple[float, ...]]] = dict,
) -> Verification:  # fmt: skip
    """Run the parts of a bundle that is not yet in its place on its golden vectors.

    Where something is far off, the network's own rounding is measured, and the manifest is
    written again with it: who verifies the bundle elsewhere rounds otherwise once more.

    Args:
        folder: The bundle's.
        manifest: Its manifest.
        scratch: Where parts lie that are only to be checked.
        rounding: Measures what rounding alone makes of the network, see `rounding_of`.

    Raises:
        VerificationError: They compute something else.
        ToolchainError: They do not run.
        DeviceError: Nor does the graphics processor that they are for.
    """
    hint = "this is a fault of splitc: please report it; --no-check writes the bundle even so"
    built = () if scratch is None else ((name, scratch / name) for name in manifest.parts)
    elsewhere = {name: place for name, place in built if place.is_dir()}
    try:
        parts = runnable_parts(folder, manifest, elsewhere=elsewhere)
        found = verify(folder, manifest, parts)
        if found.doubtful and (known := rounding()):
            manifest = msgspec.structs.replace(manifest, rounding=known)
            write_manifest(folder, manifest)
            found = verify(folder, manifest, parts)
        require(found)
    except VerificationError as error:
        raise VerificationError(error.what, at=error.at, why=error.why, hint=hint) from error
    except (ToolchainError, BadBundleError, DeviceError) as error:
        why = ": ".join(filter(None, (error.what, error.why)))
        hint = "--no-check writes the bundle without running it"
        if isinstance(error, DeviceError):
            raise DeviceError("the compiled parts do not run here", why=why, hint=hint) from error
        raise ToolchainError("the compiled parts do not run here", why=why, hint=hint) from error
    return found
