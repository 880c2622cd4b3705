# SPDX-License-Identifier: Apache-2.0
"""A part that is loaded once and run many times, in this process.

Nothing here imports a compiler: numpy and the part's own files are enough for compiled parts,
onnxruntime for those in ONNX.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, Self

import numpy as np

from splitc.arrays import Array, Arrays
from splitc.errors import BadBundleError, UsageError
from splitc.plugins import find, plugins
from splitc.runtime.integrity import check_part, unchanged
from splitc.runtime.manifest import PartManifest, TensorSpec
from splitc.runtime.memory import Arenas


@dataclass(frozen=True)
class Contract:
    """What a part reads and makes, in order.

    Args:
        part: Its name, "head" or "tail".
        inputs: What it reads.
        outputs: What it makes.
    """

    part: str
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]

    @staticmethod
    def of(part: PartManifest) -> Contract:
        """The contract in a part's manifest."""
        return Contract(part.part, part.inputs, part.outputs)

    def check(self, inputs: Sequence[Array]) -> None:
        """Hold inputs against it.

        Raises:
            UsageError: Names the input of another shape or element type.
        """
        if len(inputs) != len(self.inputs):
            why = f"{len(inputs)} given, it takes {len(self.inputs)}"
            raise UsageError(f"the {self.part} takes other inputs", why=why)
        for spec, array in zip(self.inputs, inputs, strict=True):
            known = array.dtype.name == spec.dtype and array.dtype.isnative
            if not spec.fits(array.shape) or not known:
                why = f"it is {array.dtype} {array.shape}, the contract {spec.dtype} {spec.shape}"
                raise UsageError(f"input '{spec.name}' does not fit", why=why)


class Part(Protocol):
    """A loaded part. `run` may be called from several threads at once.

    Args:
        contract: What it reads and makes.
    """

    contract: Contract

    def run(self, inputs: Sequence[Array]) -> list[Array]:
        """Run it once.

        Args:
            inputs: Arrays of the contract's shapes and element types, in its order.

        Returns:
            New arrays in the contract's order.

        Raises:
            UsageError: An input does not fit, or the part is closed.
        """
        ...

    def work_in(self, arenas: Arenas) -> None:
        """Take scratch memory from there, which parts that run one after another share.

        To be called before the first run; a part that plans no scratch memory goes on as it is.
        """

    def rest(self) -> None:
        """Say that the next run is not at once: what is kept ready for it may sleep."""

    def close(self) -> None:
        """Free what it holds; calls that are running end first. A second time does nothing."""
        ...

    def __enter__(self) -> Self:
        """The part itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close it."""
        self.close()


def run_by_name(part: Part, known: Arrays) -> dict[str, Array]:
    """Run a part on the tensors that it reads among those that are known; its results by name."""
    contract = part.contract
    made = part.run([known[spec.name] for spec in contract.inputs])
    return {spec.name: array for spec, array in zip(contract.outputs, made, strict=True)}


def stack_samples(runs: Sequence[Arrays]) -> dict[str, Array]:
    """The results of several runs, by name, each along one more leading axis.

    Raises:
        UsageError: A result has another shape for each.
    """
    for name in runs[0]:
        if len({run[name].shape for run in runs}) > 1:
            why = f"'{name}' has another shape for each, as its extents hang on the data"
            raise UsageError("the samples do not go together", why=why, hint="run them one by one")
    return {name: np.stack([run[name] for run in runs]) for name in runs[0]}


Loader = Callable[[Path, PartManifest], Part]
"""Loads the part in a folder whose files were held against its manifest."""


def load_part(folder: Path, arenas: Arenas | None = None) -> Part:
    """Load the part in a folder, every file held against its manifest once.

    Args:
        folder: The part's.
        arenas: Scratch memory that it shares with others; by default its own.

    Raises:
        BadBundleError: A file is missing, altered or not listed, changes while it is loaded, or
            the part is of a format that nothing here loads.
        ToolchainError: The part cannot run on this machine.
    """
    with unchanged(folder):
        part = check_part(folder, folder.name)
        return load_checked(folder, part, arenas)


def load_checked(folder: Path, part: PartManifest, arenas: Arenas | None = None) -> Part:
    """Load a part whose files were held against its manifest. Raises as `load_part` does."""
    known = plugins().loaders
    if part.format not in known:
        hint = f"there is {', '.join(sorted(known))}"
        raise BadBundleError(f"nothing loads parts in '{part.format}'", hint=hint)
    load: Loader = find("loaders", part.format)
    loaded = load(folder, part)
    if arenas is not None:
        loaded.work_in(arenas)
    return loaded
