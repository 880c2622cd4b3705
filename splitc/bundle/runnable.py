# SPDX-License-Identifier: Apache-2.0
"""Parts as this machine runs them: themselves, their builds for it, or emulated."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from splitc.arrays import Array
from splitc.cost.board import host_isa
from splitc.errors import BadBundleError, DeviceError, ToolchainError, UsageError
from splitc.runtime.devices import fails_by_device, why_not_run
from splitc.runtime.manifest import Manifest, PartManifest, read_manifest
from splitc.runtime.memory import Arenas
from splitc.runtime.part import Part, load_checked
from splitc.runtime.process import Emulator, ProcessPart, Timing, find_emulator, run_part


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

    @property
    def manifest(self) -> PartManifest:
        """What it needs to run."""
        return read_manifest(self.folder, PartManifest)

    def run(self, known: Mapping[str, Array]) -> tuple[dict[str, Array], Timing]:
        """Run it on its inputs, of the contract's shapes or stacked along one more first axis.

        Args:
            known: Arrays by tensor name, the part's inputs among them.

        Returns:
            Its results by name, and its timing.
        """
        part = self.manifest
        given = [known[spec.name] for spec in part.inputs]
        arrays, timing = run_part(self.folder, given, emulator=self.emulator)
        return {s.name: a for s, a in zip(part.outputs, arrays, strict=True)}, timing

    def open(self, arenas: Arenas | None = None) -> Part:
        """Load it: into this process, or to be emulated. Its files are held against nothing.

        Args:
            arenas: Scratch memory that it shares with others; by default its own.

        Raises:
            BadBundleError: It came without its runtime.
            ToolchainError: It cannot be loaded here.
            DeviceError: Nor on its graphics processor.
        """
        part = read_manifest(self.folder, PartManifest)
        if self.emulator is not None:
            return ProcessPart(self.folder, part, self.emulator)
        return load_checked(self.folder, part, arenas)


def twin_folder(bundle: Path, name: str) -> Path:
    """Where a bundle has a part's build for the machine that compiled it."""
    return bundle / "golden" / name


def runnable_parts(
    bundle: Path,
    manifest: Manifest,
    names: Iterable[str] | None = None,
    *,
    emulate: bool = False,
    elsewhere: Mapping[str, Path] | None = None,
) -> dict[str, Runnable]:
    """What to run of a bundle's parts, by their names, in order.

    Args:
        bundle: Its folder.
        manifest: Its manifest.
        names: Of the parts; by default all of them.
        emulate: Run a part for another ISA under qemu, not its build for this machine.
        elsewhere: Folders to run in the place of parts, by their names.

    Raises:
        UsageError: There is nothing to emulate.
        ToolchainError: A part cannot run here.
        DeviceError: Nor does the graphics processor that it is for.
    """
    return {
        name: runnable_part(bundle, name, bundle / manifest.parts[name].folder, emulate, elsewhere)
        for name in (manifest.parts if names is None else names)
    }


def runnable_part(
    bundle: Path,
    name: str,
    folder: Path,
    emulate: bool = False,
    elsewhere: Mapping[str, Path] | None = None,
) -> Runnable:
    """What to run of one part; see `runnable_parts`."""
    part = read_manifest(folder, PartManifest)
    if part.format != "native":
        if emulate:
            raise UsageError(f"the {name} is in {part.format.upper()}: no code to emulate")
        what = "onnxruntime" if part.format == "onnx" else part.format
        return Runnable(folder, f"{what} on this machine")
    instead = elsewhere or {}
    twin = instead.get(name, twin_folder(bundle, name))
    why = why_not_run(part)
    if not why:
        return Runnable(instead.get(name, folder), part.target)
    foreign = part.isa != host_isa()
    if emulate and foreign:
        return Runnable(folder, f"{part.target} under qemu", find_emulator(part.isa))
    if twin.is_dir():
        built = read_manifest(twin, PartManifest)
        if not why_not_run(built):
            return Runnable(twin, f"host build of the {part.target} {name}")
    if not part.runner:
        raise BadBundleError(
            f"the {name} has no runtime", hint="compile without --runtime none to run it here"
        )
    hint = "splitc verify --emulate runs it under qemu" if foreign else "compile the bundle here"
    hint += "; --no-run checks files alone"
    if not twin.is_dir():
        why += f"; the bundle has no golden/{name}, a build of it for where it was compiled"
    if fails_by_device(part):
        raise DeviceError(f"cannot start the {name} on this machine", why=why, hint=hint)
    raise ToolchainError(f"cannot start the {name} on this machine", why=why, hint=hint)
