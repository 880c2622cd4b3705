# SPDX-License-Identifier: Apache-2.0
"""Run one part of a bundle in a process of its own: what ships, on this machine or emulated."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from splitc.arrays import Array
from splitc.cost.board import host_isa
from splitc.errors import BadBundleError, DeviceError, SplitcError, ToolchainError, UsageError
from splitc.runtime.manifest import PartManifest, read_manifest
from splitc.runtime.part import Contract, Part, load_checked, stack_samples
from splitc.scratch import scratch


@dataclass(frozen=True)
class Timing:
    """What the runner measured, in milliseconds."""

    load_ms: float
    first_ms: float
    median_ms: float


@dataclass(frozen=True)
class Emulator:
    """qemu's user mode for an ISA.

    Args:
        program: Path of `qemu-ISA-static` or `qemu-ISA`.
        sysroot: Folder with that ISA's C library.
    """

    program: str
    sysroot: str


def find_emulator(isa: str) -> Emulator:
    """The emulator for an ISA.

    Raises:
        ToolchainError: qemu or the ISA's C library is not installed.
    """
    program = shutil.which(f"qemu-{isa}-static") or shutil.which(f"qemu-{isa}")
    sysroot = Path(f"/usr/{isa.replace('_', '-')}-linux-gnu")
    hint = "on Debian: apt install qemu-user-static libc6-arm64-cross"
    if program is None:
        raise ToolchainError(f"qemu-{isa} is not installed", hint=hint)
    if not list(sysroot.glob("lib/libc.so.6")):
        raise ToolchainError(f"no {isa} C library", at=str(sysroot), hint=hint)
    return Emulator(program, str(sysroot))


def run_part(
    folder: Path,
    inputs: Sequence[Array],
    *,
    emulator: Emulator | None = None,
    repeat: int = 1,
    threads: int | None = None,
    timeout_s: float | None = None,
) -> tuple[list[Array], Timing]:
    """Run a part on inputs in contract order.

    Args:
        folder: The part's folder, with its manifest.
        inputs: Arrays of the contract's shapes, or all stacked along one more
            leading axis: then every sample is run, and results come stacked.
        emulator: Run under it; by default directly.
        repeat: Runs of the first sample for the timing.
        threads: Worker threads; by default one a core.
        timeout_s: Give up after so many seconds.

    Returns:
        The results in contract order, and the runner's timing.

    Raises:
        BadBundleError: The part has no runner, or refuses itself or the inputs.
        ToolchainError: The part cannot be loaded here.
        DeviceError: It took longer than `timeout_s`, or its graphics processor fails.
    """
    part = read_manifest(folder, PartManifest)
    if part.format != "native":
        return _run_loaded(folder, part, inputs), Timing(0.0, 0.0, 0.0)
    if not part.runner:
        raise BadBundleError(
            f"the {part.part} has no runtime", hint="compile without --runtime none to run it here"
        )
    with scratch() as work:
        names: list[str] = []
        for k, array in enumerate(inputs):
            names.append(str(work / f"in{k}.npy"))
            np.save(names[-1], np.ascontiguousarray(array).reshape(array.shape))
        (work / "out").mkdir()
        command = [str((folder / part.runner).resolve()), "--part", str(folder.resolve()),
                   "--out", str(work / "out"), "--repeat", str(repeat)]  # fmt: skip
        if threads is not None:
            command += ["--threads", str(threads)]
        if emulator is not None:
            command = [emulator.program, "-L", emulator.sysroot, *command]
        report = _call([*command, *names], part, timeout_s)
        results = [np.load(work / "out" / f"{k}.npy") for k in range(len(part.outputs))]
    return results, Timing(report["load_ms"], report["first_ms"], report["median_ms"])


def _call(command: list[str], part: PartManifest, timeout_s: float | None) -> dict[str, Any]:
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=timeout_s, check=False
        )
    except subprocess.TimeoutExpired as error:
        raise DeviceError(f"the {part.part} took over {timeout_s:g} s") from error
    except PermissionError as error:
        hint = f"chmod +x {command[0]}"
        raise ToolchainError(f"may not start the {part.part}", hint=hint) from error
    except OSError as error:
        why = f"built for {part.isa}, this machine is {host_isa()}"
        raise ToolchainError(f"cannot start the {part.part}", why=why) from error
    if done.returncode == 0:
        try:
            return json.loads(done.stdout)
        except ValueError as error:
            raise ToolchainError(f"the {part.part}'s runner gave no report") from error
    lines = done.stderr.strip().splitlines() or [f"exit status {done.returncode}"]
    why = lines[-1].removeprefix("splitc-run: ")
    kind: dict[int, type[SplitcError]] = {2: BadBundleError, 3: BadBundleError, 8: DeviceError}
    raise kind.get(done.returncode, ToolchainError)(f"the {part.part} did not run", why=why)


def _run_loaded(folder: Path, part: PartManifest, inputs: Sequence[Array]) -> list[Array]:
    with load_checked(folder, part) as loaded:
        if not inputs or inputs[0].ndim == len(part.inputs[0].shape):
            return loaded.run(inputs)
        names = [spec.name for spec in part.outputs]
        runs = [
            dict(zip(names, loaded.run([array[k] for array in inputs]), strict=True))
            for k in range(len(inputs[0]))
        ]
    return list(stack_samples(runs).values())


class ProcessPart(Part):
    """A part that this process cannot load: every run is a process, emulated.

    Args:
        folder: The part's folder, its files held against the manifest.
        part: Its manifest.
        emulator: What runs it.
    """

    def __init__(self, folder: Path, part: PartManifest, emulator: Emulator) -> None:
        self.contract = Contract.of(part)
        self._folder = folder
        self._emulator = emulator
        self._closed = False

    def run(self, inputs: Sequence[Array]) -> list[Array]:
        """Run it once: see `Part.run`.

        Raises:
            UsageError: An input does not fit, or the part is closed.
            SplitcError: See `run_part`.
        """
        if self._closed:
            raise UsageError(f"the {self.contract.part} is closed")
        self.contract.check(inputs)
        return run_part(self._folder, inputs, emulator=self._emulator)[0]

    def close(self) -> None:
        """Refuse to run again."""
        self._closed = True
