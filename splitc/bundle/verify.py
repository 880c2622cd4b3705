# SPDX-License-Identifier: Apache-2.0
"""Whether the parts of a bundle compute what the network does."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from splitc.arrays import Array
from splitc.bundle.difference import LOOSEST_TOLERANCE, TOLERANCE, Difference, worst_of
from splitc.bundle.runnable import Runnable, runnable_parts
from splitc.bundle.vectors import count_samples, read_vectors
from splitc.errors import BadBundleError, ToolchainError, VerificationError
from splitc.runtime.manifest import Manifest, PartManifest, Route, read_manifest
from splitc.runtime.process import Timing


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
class Verification:
    """What was found on the golden vectors.

    Args:
        boundary: Difference of each boundary tensor from the golden one.
        outputs: Difference of each result from the unsplit model's.
        received: Difference of each of the tail's results, on what the seeded channel leaves
            of what crosses, from the trained tail's; empty where there is no channel.
        others: Difference of each result of the parts beside the route's, by the part's name.
        ran: What ran of each part, by its name.
        samples: How many golden inputs there are.
        tolerance: What was allowed.
    """

    boundary: tuple[Difference, ...]
    outputs: tuple[Difference, ...]
    ran: dict[str, Ran]
    samples: int
    tolerance: float
    received: tuple[Difference, ...] = ()
    others: Mapping[str, tuple[Difference, ...]] = field(
        default_factory=dict[str, tuple[Difference, ...]]
    )

    @property
    def _results(self) -> tuple[Difference, ...]:
        beside = (one for differences in self.others.values() for one in differences)
        return (*self.outputs, *self.received, *beside)

    @property
    def worst(self) -> Difference:
        """The result, or else the crossing tensor, that is furthest off."""
        results = self._results
        everything = (*results, *self.boundary)
        far = [d for d in results if not d.same_argmax] or [d for d in everything if d.wrong]
        return max(far or everything, key=lambda d: d.relative)

    @property
    def passed(self) -> bool:
        """Whether every result, and all that crosses, is within the tolerance.

        Arg-max counts for results only: in a feature map, ties are common.
        """
        crossing = all(d.near(self.tolerance) for d in self.boundary)
        return crossing and all(d.within(self.tolerance) for d in self._results)


def verify(folder: Path, manifest: Manifest, parts: Mapping[str, Runnable]) -> Verification:
    """Run a bundle's default route on its golden inputs, and compare.

    Where integers of a quantiser cross, what comes behind runs on the golden ones: a number
    that the head rounds the other way than the reference did is no error of either.

    Args:
        folder: The bundle's.
        manifest: Its manifest.
        parts: What runs, by the parts' names: those of the route, and others to be checked.

    Raises:
        BadBundleError: Golden vectors do not fit their contract.
        ToolchainError: A part does not run.
    """
    golden, source, route = folder / "golden", manifest.source, manifest.route
    # A bundle may ask for less error, never for more than any may have.
    tolerance = min(manifest.tolerance, LOOSEST_TOLERANCE)
    feed = read_vectors(golden / "inputs", source.inputs)
    crossing = read_vectors(golden / "boundary", route.crosses)
    expected = read_vectors(golden / "outputs", source.outputs)
    samples = count_samples({**feed, **crossing, **expected})
    first, behind = _before_and_behind(route)
    boundary, ran = _run(parts, first, feed)
    # Bytes that cross are a quantiser's, whether or not the manifest knows of one.
    coded = route.codec is not None
    whole = {
        n: a for n, a in crossing.items()
        if a.dtype.kind in "iu" and (coded or a.dtype.itemsize == 1)
    }  # fmt: skip
    results, more = _run(parts, behind, {**feed, **boundary, **whole})
    made = {**feed, **boundary, **results}
    rounds = coded or tolerance > TOLERANCE
    quantised = {n: a for n, a in expected.items() if rounds and a.dtype.name in ("int8", "uint8")}

    def compared(name: str, reference: Array, of: Mapping[str, Array], rough: bool) -> Difference:
        got = _stacked(of[name], reference)
        return worst_of(name, got, reference, tolerance, quantised=rough)

    others: dict[str, tuple[Difference, ...]] = {}
    for name in (name for name in parts if name not in route.parts):
        batch = manifest.parts[name].batch
        places = np.arange(-(-samples // batch) * batch) % samples
        found, how = _run_together(parts, name, {**feed, **crossing}, places, batch)
        others[name] = tuple(compared(n, expected[n][places], found, n in quantised) for n in found)
        more |= how
    return Verification(
        boundary=tuple(compared(n, a, made, n in whole) for n, a in crossing.items()),
        outputs=tuple(compared(n, a, made, n in quantised) for n, a in expected.items()),
        ran=ran | more,
        samples=samples,
        tolerance=tolerance,
        received=_received(golden, route, parts, feed, tolerance),
        others=others,
    )


def _before_and_behind(route: Route) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The parts of a route's first site, and those behind the link."""
    first, *others = route.runs.values()
    return first, tuple(name for names in others for name in names)


def _run(
    parts: Mapping[str, Runnable], names: Sequence[str], known: Mapping[str, Array]
) -> tuple[dict[str, Array], dict[str, Ran]]:
    """What parts make, one after the other, and how each ran."""
    made: dict[str, Array] = {}
    ran: dict[str, Ran] = {}
    for name in names:
        results, timing = parts[name].run({**known, **made})
        made |= results
        ran[name] = Ran(parts[name].ran, timing)
    return made, ran


def _run_together(
    parts: Mapping[str, Runnable], name: str, known: Mapping[str, Array], places: Array, batch: int
) -> tuple[dict[str, Array], dict[str, Ran]]:
    """What a part that takes several frames a call makes of samples, by their places."""
    if batch == 1:
        return _run(parts, [name], known)
    calls = len(places) // batch
    part = read_manifest(parts[name].folder, PartManifest)
    given = {spec.name: known[spec.name][places] for spec in part.inputs}
    together = {n: a.reshape(calls, batch * a.shape[1], *a.shape[2:]) for n, a in given.items()}
    made, ran = _run(parts, [name], together)
    apart = {n: a.reshape(len(places), a.shape[1] // batch, *a.shape[2:]) for n, a in made.items()}
    return apart, ran


def _received(
    golden: Path,
    route: Route,
    parts: Mapping[str, Runnable],
    feed: Mapping[str, Array],
    tolerance: float,
) -> tuple[Difference, ...]:
    """What is behind the link on what the golden channel left of what crosses."""
    if route.codec is None or not route.codec.received:
        return ()
    _, behind = _before_and_behind(route)
    left = read_vectors(golden / "received", route.crosses)
    made = (read_manifest(parts[name].folder, PartManifest).outputs for name in behind)
    outputs = tuple(spec for specs in made for spec in specs)
    expected = read_vectors(golden / "received_outputs", outputs)
    count_samples({**feed, **left, **expected})
    results, _ = _run(parts, behind, {**feed, **left})
    return tuple(worst_of(n, results[n], a, tolerance) for n, a in expected.items())


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
    crossing = worst in verification.boundary
    off = f"relative error {worst.relative:.2e}, tolerance {verification.tolerance:.0e}"
    same = "" if crossing else f"arg-max {'equal' if worst.same_argmax else 'differs'}"
    raise VerificationError(
        "head and tail do not compute what the whole network does",
        at=f"{'crossing tensor' if crossing else 'result'} '{worst.name}'",
        why="; ".join(filter(None, (off, same, worst.wrong))),
    )


def verify_built(folder: Path, manifest: Manifest, scratch: Path | None) -> Verification:
    """Run the parts of a bundle that is not yet in its place on its golden vectors.

    Raises:
        VerificationError: They compute something else.
        ToolchainError: They do not run.
    """
    hint = "this is a fault of splitc: please report it; --no-check writes the bundle even so"
    elsewhere = {} if scratch is None else {name: scratch / name for name in manifest.parts}
    try:
        found = verify(
            folder, manifest, runnable_parts(folder, manifest, elsewhere=elsewhere, every=True)
        )
        require(found)
    except VerificationError as error:
        raise VerificationError(error.what, at=error.at, why=error.why, hint=hint) from error
    except (ToolchainError, BadBundleError) as error:
        why = ": ".join(filter(None, (error.what, error.why)))
        hint = "--no-check writes the bundle without running it"
        raise ToolchainError("the compiled parts do not run here", why=why, hint=hint) from error
    return found
