# SPDX-License-Identifier: Apache-2.0
"""The device's end of a split: the head, the whole network where it is there, what is sent."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
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
from splitc.runtime.memory import Arenas
from splitc.runtime.part import Part, load_part, run_by_name
from splitc.wire.header import split_id

WHOLE = "whole"
"""Name of the part that a bundle has for when the server is silent."""


@dataclass(frozen=True)
class Ends:
    """What runs on the device, loaded.

    Args:
        split: What stands for the split in packets.
        first: Name of the part that every route begins with.
        parts: The parts of all routes that frames may take, by name.
        outputs: Names of the network's results, in its order.
        whole: The whole network, for when the server is silent; None where it is not wanted.
    """

    split: int
    first: str
    parts: Mapping[str, Part]
    outputs: tuple[str, ...]
    whole: Part | None

    @property
    def inputs(self) -> tuple[TensorSpec, ...]:
        """What the network reads."""
        return self.parts[self.first].contract.inputs

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
        self.parts[self.first].contract.check([inputs[spec.name] for spec in specs])
        return inputs

    def run_head(self, remote: Remote, inputs: Arrays) -> dict[str, Array]:
        """What the device's parts of a route make, and the network's inputs, by name."""
        known = dict(inputs)
        part = self.parts[self.first]
        for name in remote.runs or (self.first,):
            part = self.parts[name]
            known |= run_by_name(part, known)
        part.rest()
        return known

    def run_whole(self, inputs: Arrays) -> dict[str, Array]:
        """The network's results by name, computed here."""
        assert self.whole is not None
        return self.results(run_by_name(self.whole, inputs))

    def results(self, known: Mapping[str, Array]) -> dict[str, Array]:
        """The network's results among the tensors that are known."""
        return {name: known[name] for name in self.outputs}

    def close(self) -> None:
        """Free all parts."""
        for part in self.parts.values():
            part.close()
        if self.whole is not None:
            self.whole.close()


@dataclass(frozen=True)
class Folders:
    """Where the device's parts are, not loaded yet.

    Args:
        head: The folder of the first part, or of its build for this machine.
        manifest: That part's manifest: it tells of every route.
        whole: The folder of the whole network, where there is one.
        bundle: The bundle that they are of, and its manifest; None for parts copied out of one.
    """

    head: Path
    manifest: PartManifest
    whole: Path | None
    bundle: tuple[Path, Manifest] | None = None

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
        runs = runnable_part(folder, name, head).folder
        return Folders(runs, sender, whole, (folder, bundle))

    def load(self, remotes: Sequence[Remote], *, wants_whole: bool) -> Ends:
        """Load the parts of routes, each once, and the whole network where it may have to answer.

        The parts share the memory that they work in: one runs after another.

        Args:
            remotes: The routes that frames may take.
            wants_whole: Whether the whole network may have to answer.

        Raises:
            UsageError: The whole network is wanted, and there is none.
            BadBundleError: A part of a route is not there, a file is not the one that its
                manifest lists, or the parts are not of one split.
            ToolchainError: A part cannot run on this machine.
        """
        if wants_whole and self.whole is None:
            hint = "compile it with --with-whole, or name a folder with --whole"
            raise UsageError(f"'{self.head}' comes without a part for the whole network", hint=hint)
        first, arenas = self.manifest.part, Arenas()
        with ExitStack() as stack:
            parts = {first: stack.enter_context(load_part(self.head, arenas))}
            for remote in remotes:
                for name in remote.runs:
                    if name not in parts:
                        folder = self._part(name, remote)
                        parts[name] = stack.enter_context(load_part(folder, arenas))
            for remote in remotes:
                _check_route(remote, first, parts)
            whole = None
            if wants_whole and self.whole is not None:
                whole = _load_whole(self.whole, self.manifest)
            stack.pop_all()
        outputs = remotes[0].outputs
        return Ends(split_id(self.manifest.split), first, parts, outputs, whole)

    def _part(self, name: str, remote: Remote) -> Path:
        """The folder of another part of a route, which is of the same split."""
        folder = self.head.parent / name
        if self.bundle is not None:
            path, manifest = self.bundle
            if name not in manifest.parts:
                why = f"route '{remote.name}' runs it"
                raise BadBundleError(f"the bundle has no part '{name}'", at=str(path), why=why)
            folder = runnable_part(path, name, path / manifest.parts[name].folder).folder
        elif not folder.is_dir():
            why = f"route '{remote.name}' runs it after the {self.manifest.part}"
            hint = f"copy {name}/ beside {self.head.name}/, or name a route without it: --route"
            raise BadBundleError(
                f"the device lacks the part '{name}'", at=str(folder), why=why, hint=hint
            )
        if read_manifest(folder, PartManifest).split != self.manifest.split:
            raise BadBundleError(
                f"the {self.manifest.part} and the {name} are of two bundles", at=str(folder)
            )
        return folder


def _sender(folder: Path) -> PartManifest:
    part = read_manifest(folder, PartManifest)
    if not part.remote:
        hint = "give a bundle or its head; one of an older splitc is to be compiled again"
        if part.part == WHOLE:
            hint = "it is the whole network: splitc run BUNDLE, or its own splitc-run, runs it here"
        raise BadBundleError(f"the {part.part} sends nothing", at=str(folder), hint=hint)
    return part


def _check_route(remote: Remote, first: str, parts: Mapping[str, Part]) -> None:
    """What each part of a route reads is there by then, and so is what crosses and comes out."""
    at_hand = {spec.name for spec in parts[first].contract.inputs}
    wanted = [(name, parts[name].contract) for name in remote.runs or (first,)]
    for name, contract in wanted:
        absent = [spec.name for spec in contract.inputs if spec.name not in at_hand]
        if absent:
            why = f"no part before it on route '{remote.name}' makes it"
            raise BadBundleError(f"the {name} reads '{absent[0]}'", why=why)
        at_hand |= {spec.name for spec in contract.outputs}
    crosses = [spec.name for spec in remote.crosses if spec.name not in at_hand]
    at_hand |= {spec.name for spec in remote.results}
    for name in (*crosses, *(name for name in remote.outputs if name not in at_hand)):
        why = f"neither a part of route '{remote.name}' nor the server makes it"
        raise BadBundleError(f"there is no '{name}' on the device", why=why)


def _load_whole(folder: Path, head: PartManifest) -> Part:
    if not folder.is_dir():
        raise UsageError(f"there is no part '{folder}'")
    part = read_manifest(folder, PartManifest)
    if part.split != head.split:
        raise BadBundleError("head and whole network are of two bundles", at=str(folder))
    return load_part(folder)
