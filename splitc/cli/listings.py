# SPDX-License-Identifier: Apache-2.0
"""What verbs print with `--json` that list: networks, bundles, boards, passes, epochs."""

from __future__ import annotations

from dataclasses import fields
from typing import TYPE_CHECKING, Any

import msgspec

from splitc.cli.objects import SCHEMA, MissingObject, Printed, TensorObject
from splitc.cost.board import Board
from splitc.runtime.manifest import Manifest, PartManifest

if TYPE_CHECKING:
    from splitc.build.doctor import Check
    from splitc.finetune.callbacks import EpochRecord
    from splitc.ir.cut import Cut
    from splitc.ir.graph import Layer, LayerGraph


class LayerObject(msgspec.Struct, frozen=True, kw_only=True):
    """A layer of a network."""

    name: str
    op: str
    kind: str
    block: int | None
    inputs: tuple[str, ...]
    outputs: tuple[TensorObject, ...]
    flops: int
    param_bytes: int

    @staticmethod
    def of(layer: Layer) -> LayerObject:
        """A layer of a graph."""
        return LayerObject(
            name=layer.name, op=layer.op, kind=layer.kind, block=layer.block,
            inputs=layer.inputs, outputs=tuple(map(TensorObject.of, layer.outputs)),
            flops=layer.flops, param_bytes=layer.param_bytes,
        )  # fmt: skip


class Totals(msgspec.Struct, frozen=True, kw_only=True):
    """Sums over a network's layers, inputs left out."""

    layers: int
    blocks: int
    flops: int
    param_bytes: int

    @staticmethod
    def of(graph: LayerGraph) -> Totals:
        """The sums of a graph."""
        return Totals(
            layers=len(graph) - graph.input_count,
            blocks=1 + max((layer.block or 0 for layer in graph.layers), default=0),
            flops=sum(layer.flops for layer in graph.layers),
            param_bytes=sum(layer.param_bytes for layer in graph.layers),
        )


class ModelObject(Totals, frozen=True, kw_only=True):
    """`splitc inspect MODEL`."""

    schema: int = SCHEMA
    sha256: str
    note: str
    inputs: tuple[TensorObject, ...]
    outputs: tuple[TensorObject, ...]
    graph: tuple[LayerObject, ...]


class BundleObject(Printed, frozen=True):
    """`splitc inspect BUNDLE`: its digest, its manifest, and its parts' by name."""

    digest: str
    manifest: Manifest
    parts: dict[str, PartManifest]


class TargetsObject(Printed, frozen=True):
    """`splitc targets`."""

    targets: tuple[Board, ...]


class OptionObject(msgspec.Struct, frozen=True, kw_only=True):
    """An option of a pass, cutter or recipe."""

    name: str
    type: str
    required: bool
    default: Any


class ItemObject(msgspec.Struct, frozen=True, kw_only=True):
    """A pass, cutter or recipe."""

    name: str
    options: tuple[OptionObject, ...]
    specification: str


class PassesObject(Printed, frozen=True):
    """`splitc passes`."""

    passes: tuple[ItemObject, ...] = ()
    cutters: tuple[ItemObject, ...] = ()
    recipes: tuple[ItemObject, ...] = ()


class OpsObject(Printed, frozen=True):
    """`splitc ops`: how often each operator stands in the network, and what cannot be compiled."""

    ops: dict[str, int]
    unsupported: tuple[MissingObject, ...]
    compiles: bool


class FoundObject(msgspec.Struct, frozen=True, kw_only=True):
    """One thing that `splitc doctor` looked at; `found` is empty where it is missing."""

    name: str
    found: str
    needed: bool
    ok: bool
    hint: str

    @staticmethod
    def of(check: Check) -> FoundObject:
        """A check; the hint only where there is something to do."""
        return FoundObject(
            name=check.name, found=check.found, needed=check.needed, ok=check.ok,
            hint="" if check.ok else check.hint,
        )  # fmt: skip


class DoctorObject(Printed, frozen=True):
    """`splitc doctor`."""

    ready: bool
    checks: tuple[FoundObject, ...]


class EpochObject(msgspec.Struct, frozen=True, kw_only=True):
    """One epoch of a stage; epoch 0 is the network as the stage found it."""

    stage: str
    epoch: int
    train_loss: float | None
    validation_loss: float | None
    metric: float | None
    best: bool
    learning_rate: float
    seconds: float

    @staticmethod
    def of(record: EpochRecord) -> EpochObject:
        """An epoch that was trained."""
        return EpochObject(**{f.name: getattr(record, f.name) for f in fields(record)})


class StageObject(msgspec.Struct, frozen=True, kw_only=True):
    """A stage of a recipe: how it began, and its best epoch."""

    stage: str
    epochs: int
    best_epoch: int
    loss_before: float | None
    loss_after: float | None
    metric_before: float | None
    metric_after: float | None


class FinetuneObject(Printed, frozen=True):
    """`splitc finetune`: what was written, where it is cut, and how the training went."""

    folder: str
    recipe: str
    pipeline: str
    cut: str | None
    boundary: tuple[TensorObject, ...]
    stages: tuple[StageObject, ...]
    history: tuple[EpochObject, ...]


def boundary_of(cut: Cut | None) -> tuple[TensorObject, ...]:
    """What crosses a cut; nothing where there is none."""
    return tuple(map(TensorObject.of, cut.boundary)) if cut is not None else ()
