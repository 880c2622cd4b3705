# SPDX-License-Identifier: Apache-2.0
"""The device's end of a split: the head, the whole network where it is there, what is sent."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from splitc.arrays import Array, Arrays
from splitc.bundle.runnable import runnable_part
from splitc.errors import BadBundleError, UsageError, nearest
from splitc.runtime.manifest import (
    Manifest,
    PartManifest,
    Remote,
    TensorSpec,
    holds_part,
    read_manifest,
)
from splitc.runtime.part import Part, load_part, run_by_name
from splitc.wire.header import split_id

WHOLE = "whole"
"""Name of the part that a bundle has for when the server is silent."""


@dataclass(frozen=True)
class Ends:
    """What runs on the device, loaded.

    Args:
        split: What stands for the split in packets.
        remote: What the head sends, and what comes back.
        head: The head.
        whole: The whole network, for when the server is silent; None where it is not wanted.
    """

    split: int
    remote: Remote
    head: Part
    whole: Part | None

    @property
    def inputs(self) -> tuple[TensorSpec, ...]:
        """What the network reads."""
        return self.head.contract.inputs

    def check(self, inputs: Arrays | Array) -> Arrays:
        """Inputs of one frame by name.

        Raises:
            UsageError: One is missing, unknown, or of another shape or element type.
        """
        specs = self.inputs
        if isinstance(inputs, np.ndarray):
            if len(specs) != 1:
                names = ", ".join(spec.name for spec in specs)
                raise UsageError("give the inputs by name", why=f"the network has {names}")
            inputs = {specs[0].name: inputs}
        known = {spec.name for spec in specs}
        for name in inputs:
            if name not in known:
                raise UsageError(f"there is no input '{name}'", hint=nearest(name, known))
        for spec in specs:
            if spec.name not in inputs:
                raise UsageError(f"no value for input '{spec.name}'")
        self.head.contract.check([inputs[spec.name] for spec in specs])
        return inputs

    def run_head(self, inputs: Arrays) -> dict[str, Array]:
        """The head's results, and the network's inputs, by name."""
        made = run_by_name(self.head, inputs)
        self.head.rest()
        return {**inputs, **made}

    def run_whole(self, inputs: Arrays) -> dict[str, Array]:
        """The network's results by name, computed here."""
        assert self.whole is not None
        return self.results(run_by_name(self.whole, inputs))

    def results(self, known: Mapping[str, Array]) -> dict[str, Array]:
        """The network's results among the tensors that are known."""
        return {name: known[name] for name in self.remote.outputs}

    def close(self) -> None:
        """Free both parts."""
        self.head.close()
        if self.whole is not None:
            self.whole.close()


@dataclass(frozen=True)
class Folders:
    """Where the device's parts are, not loaded yet.

    Args:
        head: The folder of the head, or of its build for this machine.
        manifest: The head's manifest.
        whole: The folder of the whole network, where there is one.
    """

    head: Path
    manifest: PartManifest
    whole: Path | None

    @property
    def inputs(self) -> tuple[TensorSpec, ...]:
        """What the network reads."""
        return self.manifest.inputs

    @staticmethod
    def find(folder: Path, *, whole: Path | None = None) -> Folders:
        """The parts of a bundle that run here, or a head that was copied out of one.

        Args:
            folder: The bundle's or the head's.
            whole: The whole network's; by default the bundle's.

        Raises:
            UsageError: There is no such folder.
            BadBundleError: It holds neither, or a head that sends nothing.
            ToolchainError: A part cannot run on this machine.
        """
        if not folder.is_dir():
            raise UsageError(f"there is no bundle and no head '{folder}'")
        if holds_part(folder):
            return Folders(folder, _sender(folder), whole)
        bundle = read_manifest(folder, Manifest)
        name = bundle.route.parts[0]
        head = folder / bundle.parts[name].folder
        sender = _sender(head)
        if whole is None and WHOLE in bundle.parts:
            own = folder / bundle.parts[WHOLE].folder
            whole = runnable_part(folder, WHOLE, own).folder
        return Folders(runnable_part(folder, name, head).folder, sender, whole)

    def load(self, *, wants_whole: bool) -> Ends:
        """Load the head, and the whole network where it may have to answer.

        Raises:
            UsageError: The whole network is wanted, and there is none.
            BadBundleError: A file is not the one that its manifest lists, or the parts are not
                of one split.
            ToolchainError: A part cannot run on this machine.
        """
        whole = None
        if wants_whole:
            if self.whole is None:
                hint = "compile it with --with-whole, or name a folder with --whole"
                raise UsageError(
                    f"'{self.head}' comes without a part for the whole network", hint=hint
                )
            whole = _load_whole(self.whole, self.manifest)
        split = split_id(self.manifest.split)
        return Ends(split, self.manifest.remote[0], load_part(self.head), whole)


def _sender(folder: Path) -> PartManifest:
    part = read_manifest(folder, PartManifest)
    if not part.remote:
        hint = "give a bundle or its head; one of an older splitc is to be compiled again"
        raise BadBundleError(f"the {part.part} sends nothing", at=str(folder), hint=hint)
    return part


def _load_whole(folder: Path, head: PartManifest) -> Part:
    if not folder.is_dir():
        raise UsageError(f"there is no part '{folder}'")
    part = read_manifest(folder, PartManifest)
    if part.split != head.split:
        raise BadBundleError("head and whole network are of two bundles", at=str(folder))
    return load_part(folder)
