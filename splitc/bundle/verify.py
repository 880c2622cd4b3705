# SPDX-License-Identifier: Apache-2.0
"""Parts as this machine runs them, and whether they compute what the network does."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from splitc.arrays import Array
from splitc.bundle.difference import LOOSEST_TOLERANCE, TOLERANCE, Difference, worst_of
from splitc.cost.board import host_isa, why_not_here
from splitc.errors import BadBundleError, ToolchainError, UsageError, VerificationError
from splitc.runtime.manifest import Manifest, PartManifest, Route, TensorSpec, read_manifest
from splitc.runtime.part import Part, load_checked
from splitc.runtime.process import Emulator, ProcessPart, Timing, find_emulator, run_part

_MOST_SAMPLES = 64


@dataclass(frozen=True)
class Runnable:
    """A part as this machine runs it.

    Args:
        folder: The part's folder, or its twin's.
        ran: What runs, in words.
        emulator: Run it under that.
    """

    folder: Path
    ran: str
    emulator: Emulator | None = None

    def run(self, known: Mapping[str, Array]) -> tuple[dict[str, Array], Timing]:
        """Run it on its inputs, of the contract's shapes or stacked along one more first axis.

        Args:
            known: Arrays by tensor name, the part's inputs among them.

        Returns:
            Its results by name, and its timing.
        """
        part = read_manifest(self.folder, PartManifest)
        given = [known[spec.name] for spec in part.inputs]
        arrays, timing = run_part(self.folder, given, emulator=self.emulator)
        return {s.name: a for s, a in zip(part.outputs, arrays, strict=True)}, timing

    def open(self) -> Part:
        """Load it: into this process, or to be emulated. Its files are held against nothing.

        Raises:
            BadBundleError: It came without its runtime.
            ToolchainError: It cannot be loaded here.
        """
        part = read_manifest(self.folder, PartManifest)
        if self.emulator is not None:
            return ProcessPart(self.folder, part, self.emulator)
        return load_checked(self.folder, part)


def twin_folder(bundle: Path, name: str) -> Path:
    """Where a bundle has a part's build for the machine that compiled it."""
    return bundle / "golden" / name


def runnable_parts(
    bundle: Path,
    manifest: Manifest,
    *,
    emulate: bool = False,
    elsewhere: Mapping[str, Path] | None = None,
) -> dict[str, Runnable]:
    """What to run of a bundle's default route, by the parts' names, in order.

    Args:
        bundle: Its folder.
        manifest: Its manifest.
        emulate: Run a part for another ISA under qemu, not its build for this machine.
        elsewhere: Folders to run in the place of parts, by their names.

    Raises:
        UsageError: There is nothing to emulate.
        ToolchainError: A part cannot run here.
    """
    return {
        name: _runnable(
            bundle, name, bundle / manifest.parts[name].folder, emulate, elsewhere or {}
        )
        for name in manifest.route.parts
    }


def _runnable(
    bundle: Path, name: str, folder: Path, emulate: bool, elsewhere: Mapping[str, Path]
) -> Runnable:
    part = read_manifest(folder, PartManifest)
    if part.format != "native":
        if emulate:
            raise UsageError(f"the {name} is in {part.format.upper()}: no code to emulate")
        what = "onnxruntime" if part.format == "onnx" else part.format
        return Runnable(folder, f"{what} on this machine")
    twin = elsewhere.get(name, twin_folder(bundle, name))
    why = why_not_here(part.isa, part.cpu, part.features)
    if not why:
        return Runnable(elsewhere.get(name, folder), part.target)
    foreign = part.isa != host_isa()
    if emulate and foreign:
        return Runnable(folder, f"{part.target} under qemu", find_emulator(part.isa))
    if twin.is_dir():
        built = read_manifest(twin, PartManifest)
        if not why_not_here(built.isa, built.cpu, built.features):
            return Runnable(twin, f"host build of the {part.target} {name}")
    if not part.runner:
        raise BadBundleError(
            f"the {name} has no runtime", hint="compile without --runtime none to run it here"
        )
    hint = "splitc verify --emulate runs it under qemu" if foreign else "compile the bundle here"
    raise ToolchainError(f"cannot start the {name} on this machine", why=why, hint=hint)


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

    @property
    def worst(self) -> Difference:
        """The result, or else the crossing tensor, that is furthest off."""
        results = (*self.outputs, *self.received)
        everything = (*results, *self.boundary)
        far = [d for d in results if not d.same_argmax] or [d for d in everything if d.wrong]
        return max(far or everything, key=lambda d: d.relative)

    @property
    def passed(self) -> bool:
        """Whether every result, and all that crosses, is within the tolerance.

        Arg-max counts for results only: in a feature map, ties are common.
        """
        crossing = all(d.near(self.tolerance) for d in self.boundary)
        results = (*self.outputs, *self.received)
        return crossing and all(d.within(self.tolerance) for d in results)


def verify(folder: Path, manifest: Manifest, parts: Mapping[str, Runnable]) -> Verification:
    """Run a bundle's default route on its golden inputs, and compare.

    Where integers of a quantiser cross, what comes behind runs on the golden ones: a number
    that the head rounds the other way than the reference did is no error of either.

    Args:
        folder: The bundle's.
        manifest: Its manifest.
        parts: What runs, by the names of the route's parts.

    Raises:
        BadBundleError: Golden vectors do not fit their contract.
        ToolchainError: A part does not run.
    """
    golden, source, route = folder / "golden", manifest.source, manifest.route
    # A bundle may ask for less error, never for more than any may have.
    tolerance = min(manifest.tolerance, LOOSEST_TOLERANCE)
    feed = _load(golden / "inputs", source.inputs)
    crossing = _load(golden / "boundary", route.crosses)
    expected = _load(golden / "outputs", source.outputs)
    samples = _samples({**feed, **crossing, **expected})
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

    return Verification(
        boundary=tuple(compared(n, a, made, n in whole) for n, a in crossing.items()),
        outputs=tuple(compared(n, a, made, n in quantised) for n, a in expected.items()),
        ran=ran | more,
        samples=samples,
        tolerance=tolerance,
        received=_received(golden, route, parts, feed, tolerance),
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
    left = _load(golden / "received", route.crosses)
    made = (read_manifest(parts[name].folder, PartManifest).outputs for name in behind)
    outputs = tuple(spec for specs in made for spec in specs)
    expected = _load(golden / "received_outputs", outputs)
    _samples({**feed, **left, **expected})
    results, _ = _run(parts, behind, {**feed, **left})
    return tuple(worst_of(n, results[n], a, tolerance) for n, a in expected.items())


def _stacked(array: Array, reference: Array) -> Array:
    """The results of a part without inputs once for each sample; others as they are."""
    if array.ndim == reference.ndim - 1:
        return np.broadcast_to(array, (len(reference), *array.shape))
    return array


def _samples(arrays: Mapping[str, Array]) -> int:
    """How many samples the golden vectors hold."""
    counts = {len(array) for array in arrays.values()}
    if len(counts) != 1 or not 0 < min(counts) <= _MOST_SAMPLES:
        raise BadBundleError("the golden vectors hold different numbers of samples, or none")
    return counts.pop()


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
        found = verify(folder, manifest, runnable_parts(folder, manifest, elsewhere=elsewhere))
        require(found)
    except VerificationError as error:
        raise VerificationError(error.what, at=error.at, why=error.why, hint=hint) from error
    except (ToolchainError, BadBundleError) as error:
        why = ": ".join(filter(None, (error.what, error.why)))
        hint = "--no-check writes the bundle without running it"
        raise ToolchainError("the compiled parts do not run here", why=why, hint=hint) from error
    return found


def _load(folder: Path, specs: tuple[TensorSpec, ...]) -> dict[str, Array]:
    """The golden vectors of a contract, samples along the first axis.

    A header is held against the contract before anything is read. Older bundles have one
    sample, and no axis for it.
    """
    found: dict[str, Array] = {}
    for k, spec in enumerate(specs):
        bad = BadBundleError(f"golden vector of '{spec.name}' does not fit its contract")
        try:
            with (folder / f"{k}.npy").open("rb") as file:
                version = np.lib.format.read_magic(file)
                if version != (1, 0):
                    raise bad
                shape, fortran, dtype = np.lib.format.read_array_header_1_0(file)
                samples = shape[0] if len(shape) == len(spec.shape) + 1 else 1
                one = shape[len(shape) - len(spec.shape) :]
                fits = spec.fits(one) and shape in (one, (samples, *one))
                if fortran or not fits or samples > _MOST_SAMPLES or dtype.name != spec.dtype:
                    raise bad
                # An extent that the contract leaves open is only the header's word.
                if math.prod(shape) * dtype.itemsize > os.fstat(file.fileno()).st_size:
                    raise bad
                values = np.fromfile(file, dtype, count=math.prod(shape))
        except (OSError, ValueError) as error:
            raise bad from error
        if values.size != math.prod(shape):
            raise bad
        found[spec.name] = values.reshape(samples, *one)
    return found
