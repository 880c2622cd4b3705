# SPDX-License-Identifier: Apache-2.0
"""A bundle: the folder that `splitc compile` writes, read back, run and verified."""

from __future__ import annotations

import math
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from splitc.errors import (
    BadBundleError,
    OutputError,
    UsageError,
    VerificationError,
    nearest,
)
from splitc.golden import (
    LOOSEST_TOLERANCE,
    Array,
    Difference,
    difference,
    quantised_difference,
)
from splitc.manifest import (
    MANIFEST,
    Manifest,
    PartManifest,
    TensorSpec,
    list_files,
    read_manifest,
)
from splitc.runtime.part import (
    Emulator,
    Timing,
    check_part,
    compare_files,
    find_emulator,
    host_isa,
    run_part,
)

SUFFIX = ".splitc"


@dataclass(frozen=True)
class Verification:
    """What `verify` found.

    Args:
        boundary: Difference of each boundary tensor from the golden one.
        outputs: Difference of each result from the unsplit model's.
        received: Difference of each of the tail's results, on what the seeded channel leaves
            of what crosses, from the trained tail's; empty where there is no channel.
        head: Timing of the head that ran.
        tail: Timing of the tail.
        head_ran: Which head ran: on this machine, its host build, or emulated.
        tolerance: What was allowed.
    """

    boundary: tuple[Difference, ...]
    outputs: tuple[Difference, ...]
    head: Timing
    tail: Timing
    head_ran: str
    tolerance: float
    received: tuple[Difference, ...] = ()

    @property
    def worst(self) -> Difference:
        """The result, or else the crossing tensor, that is furthest off."""
        results = (*self.outputs, *self.received)
        far = [d for d in results if not d.same_argmax] or [*results, *self.boundary]
        return max(far, key=lambda d: d.relative)

    @property
    def passed(self) -> bool:
        """Whether every result, and all that crosses, is within the tolerance.

        Arg-max counts for results only: in a feature map, ties are common.
        """
        crossing = all(d.relative <= self.tolerance for d in self.boundary)
        results = (*self.outputs, *self.received)
        return crossing and all(d.within(self.tolerance) for d in results)


@dataclass(frozen=True)
class Bundle:
    """A compiled split network on disk.

    Args:
        path: Its folder.
        manifest: What the folder says it is. Files are not checked until
            `check`, `run` or `verify`.
    """

    path: Path
    manifest: Manifest

    @staticmethod
    def open(path: str | Path) -> Bundle:
        """Read a bundle's manifest; loads no code.

        Raises:
            UsageError: There is no such folder.
            BadBundleError: It holds no bundle of this schema.
        """
        folder = Path(path)
        if not folder.is_dir():
            hint = "a bundle is a folder; unpack a packed one first" if folder.is_file() else ""
            raise UsageError(f"there is no bundle '{path}'", hint=hint)
        return Bundle(folder, read_manifest(folder, Manifest))

    def part(self, name: str) -> PartManifest:
        """The manifest of `head` or `tail`."""
        return read_manifest(self.path / name, PartManifest)

    def check(self) -> None:
        """Check every file, and that head and tail belong together.

        Raises:
            BadBundleError: Names the file that is missing, altered or extra, or
                the part that is another model's.
        """
        compare_files(self.manifest.files, list_files(self.path, but=(MANIFEST,)), self.path.name)
        parts = {name: check_part(self.path / name, name) for name in ("head", "tail")}
        for name, part in parts.items():
            if part.split != self.manifest.split or part.part != name:
                raise BadBundleError(
                    f"the {name} belongs to another split",
                    why=f"its digest is {part.split[:12]}…, the bundle's "
                    f"{self.manifest.split[:12]}…",
                    hint="compile the bundle again",
                )
        self._check_contract(parts["head"], parts["tail"])
        if (self.path / "golden" / "head").is_dir():
            twin = check_part(self.path / "golden" / "head", "golden/head")
            for field in ("split", "schedule", "inputs", "outputs"):
                if getattr(twin, field) != getattr(parts["head"], field):
                    raise BadBundleError(f"golden/head and head disagree about their {field}")

    def _check_contract(self, head: PartManifest, tail: PartManifest) -> None:
        """Every tensor that is read is made before it, with the same shape and dtype."""
        manifest = self.manifest
        known = {spec.name: spec for spec in manifest.source.inputs}
        steps = (
            ("head", head.inputs, head.outputs),
            ("tail", tail.inputs, tail.outputs),
            ("result", manifest.source.outputs, ()),
            ("boundary", manifest.cut.boundary, ()),
        )
        for what, reads, makes in steps:
            for spec in reads:
                if known.get(spec.name) != spec:
                    raise BadBundleError(f"{what} and what makes it disagree about '{spec.name}'")
            known |= {spec.name: spec for spec in makes}
        if not manifest.source.outputs:
            raise BadBundleError("the bundle has no results")

    def run(
        self, inputs: Mapping[str, Array] | Array, *, emulate: bool = False
    ) -> dict[str, Array]:
        """Run head and tail one after the other.

        Args:
            inputs: Arrays by input name, or the one array of a one-input network,
                of the contract's shapes or all stacked along one more leading axis.
            emulate: Run a head for another ISA under qemu; by default its build
                for the tail's ISA runs.

        Returns:
            Arrays by result name.

        Raises:
            UsageError: An input is missing, unknown, or of the wrong shape.
            BadBundleError: A file is not the one the manifest lists.
        """
        self.check()
        feed = self._feed(inputs)
        folder, emulator, _ = self._runnable_head(emulate)
        boundary, _ = self._run_head(folder, feed, emulator)
        results, _ = self._run_tail({**feed, **boundary})
        made = {**feed, **boundary, **results}
        return {spec.name: made[spec.name] for spec in self.manifest.source.outputs}

    def verify(self, *, emulate: bool = False) -> Verification:
        """Check the files, run head and tail on the golden inputs, compare.

        Where a codec's integers cross, the tail runs on the golden ones: a number that the
        head rounds the other way than the reference did is no error of either.

        Args:
            emulate: Run the real head of another ISA under qemu.

        Returns:
            Every difference; whether it passed is `passed`.

        Raises:
            BadBundleError: The files are not what the manifest lists.
            ToolchainError: A part cannot run on this machine.
        """
        self.check()
        golden = self.path / "golden"
        source = self.manifest.source
        feed = _load(golden / "inputs", source.inputs)
        folder, emulator, ran = self._runnable_head(emulate)
        boundary, head_time = self._run_head(folder, feed, emulator)
        crossing = _load(golden / "boundary", self.manifest.cut.boundary)
        whole = {n for n, a in crossing.items() if self.manifest.codec and a.dtype.kind in "iu"}
        rounded = {n: crossing[n] for n in whole}
        results, tail_time = self._run_tail({**feed, **boundary, **rounded})
        made = {**feed, **boundary, **results}
        expected = _load(golden / "outputs", source.outputs)
        return Verification(
            boundary=tuple(
                (quantised_difference if n in whole else difference)(n, made[n], a)
                for n, a in crossing.items()
            ),
            outputs=tuple(difference(n, made[n], a) for n, a in expected.items()),
            head=head_time,
            tail=tail_time,
            head_ran=ran,
            # A bundle may ask for less error, never for more than any may have.
            tolerance=min(self.manifest.tolerance, LOOSEST_TOLERANCE),
            received=self._verify_received(feed),
        )

    def _verify_received(self, feed: Mapping[str, Array]) -> tuple[Difference, ...]:
        """The tail on what the golden channel left of what crosses."""
        codec = self.manifest.codec
        if codec is None or not codec.received:
            return ()
        golden = self.path / "golden"
        left = _load(golden / "received", self.manifest.cut.boundary)
        results, _ = self._run_tail({**feed, **left})
        expected = _load(golden / "received_outputs", self.part("tail").outputs)
        return tuple(difference(n, results[n], a) for n, a in expected.items())

    def pack(self, target: Path) -> Path:
        """Write the bundle as one zip, the same bytes for the same bundle.

        Raises:
            BadBundleError: A file is not the one the manifest lists.
            OutputError: The zip cannot be written.
        """
        self.check()
        beside = target.with_name(f".{target.name}.new")
        try:
            with zipfile.ZipFile(beside, "w", zipfile.ZIP_DEFLATED, compresslevel=6) as archive:
                for name in [MANIFEST, *self.manifest.files]:
                    info = zipfile.ZipInfo(f"{self.path.name}/{name}", (1980, 1, 1, 0, 0, 0))
                    mode = 0o755 if (self.path / name).stat().st_mode & 0o100 else 0o644
                    info.external_attr = (0o100000 | mode) << 16
                    info.compress_type = zipfile.ZIP_DEFLATED
                    archive.writestr(info, (self.path / name).read_bytes())
            beside.replace(target)
        except OSError as error:
            raise OutputError(f"cannot write '{target}'", why=error.strerror or "") from error
        finally:
            beside.unlink(missing_ok=True)
        return target

    def _feed(self, inputs: Mapping[str, Array] | Array) -> dict[str, Array]:
        specs = self.manifest.source.inputs
        if isinstance(inputs, np.ndarray):
            if len(specs) != 1:
                names = ", ".join(s.name for s in specs)
                raise UsageError("give the inputs by name", why=f"the network has {names}")
            inputs = {specs[0].name: inputs}
        for spec in specs:
            if spec.name not in inputs:
                raise UsageError(f"no value for input '{spec.name}'")
            array = inputs[spec.name]
            if array.shape not in (spec.shape, (len(array), *spec.shape) if array.ndim else ()) or (
                array.dtype.name != spec.dtype
            ):
                why = f"it is {array.dtype} {array.shape}, the contract {spec.dtype} {spec.shape}"
                raise UsageError(f"input '{spec.name}' does not fit", why=why)
        names = {spec.name for spec in specs}
        for name in inputs.keys() - names:
            raise UsageError(f"there is no input '{name}'", hint=nearest(name, names))
        counts = {
            len(inputs[s.name]) if inputs[s.name].ndim > len(s.shape) else None for s in specs
        }
        if len(counts) > 1 or 0 in counts:
            raise UsageError("the inputs hold different numbers of samples, or none")
        return {spec.name: inputs[spec.name] for spec in specs}

    def _runnable_head(self, emulate: bool) -> tuple[Path, Emulator | None, str]:
        part = self.part("head")
        if part.model.endswith(".onnx"):
            if emulate:
                raise UsageError("an ONNX head has no code to emulate")
            return self.path / "head", None, "onnxruntime on this machine"
        if emulate and part.isa != host_isa():
            return self.path / "head", find_emulator(part.isa), f"{part.target} under qemu"
        if (self.path / "golden" / "head").is_dir() and part.isa != host_isa():
            return self.path / "golden" / "head", None, f"host build of the {part.target} head"
        return self.path / "head", None, part.target

    def _run_head(
        self, folder: Path, feed: Mapping[str, Array], emulator: Emulator | None
    ) -> tuple[dict[str, Array], Timing]:
        part = read_manifest(folder, PartManifest)
        arrays, timing = run_part(folder, [feed[s.name] for s in part.inputs], emulator=emulator)
        return {s.name: a for s, a in zip(part.outputs, arrays, strict=True)}, timing

    def _run_tail(self, known: Mapping[str, Array]) -> tuple[dict[str, Array], Timing]:
        folder = self.path / "tail"
        part = read_manifest(folder, PartManifest)
        arrays, timing = run_part(folder, [known[s.name] for s in part.inputs])
        return {s.name: a for s, a in zip(part.outputs, arrays, strict=True)}, timing


def require(verification: Verification) -> None:
    """Raise where a verification failed.

    Raises:
        VerificationError: Names the result that is furthest off.
    """
    if verification.passed:
        return
    worst = verification.worst
    raise VerificationError(
        "head and tail do not compute what the whole network does",
        at=f"result '{worst.name}'",
        why=f"relative error {worst.relative:.2e}, tolerance {verification.tolerance:.0e}; "
        f"arg-max {'equal' if worst.same_argmax else 'differs'}",
    )


def _load(folder: Path, specs: tuple[TensorSpec, ...]) -> dict[str, Array]:
    """The golden vectors of a contract; a header is held against it before anything is read."""
    found: dict[str, Array] = {}
    for k, spec in enumerate(specs):
        path = folder / f"{k}.npy"
        bad = BadBundleError(f"golden vector of '{spec.name}' does not fit its contract")
        try:
            with path.open("rb") as file:
                version = np.lib.format.read_magic(file)
                if version != (1, 0):
                    raise bad
                shape, fortran, dtype = np.lib.format.read_array_header_1_0(file)
                if fortran or shape != spec.shape or dtype.name != spec.dtype:
                    raise bad
                values = np.fromfile(file, dtype, count=math.prod(shape))
        except (OSError, ValueError) as error:
            raise bad from error
        if values.size != math.prod(shape):
            raise bad
        found[spec.name] = values.reshape(shape)
    return found
