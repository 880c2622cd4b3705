# SPDX-License-Identifier: Apache-2.0
# pyright: reportUnknownMemberType=false, reportUnknownArgumentType=false
# pyright: reportUnknownVariableType=false
"""Losses and metrics by name, as functions of (results, targets)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from splitc.errors import DataError, UsageError
from splitc.finetune.stage import Loss, Metric, Stage
from splitc.frontend.torch.values import leaves
from splitc.ir.graph import LayerGraph


def loss_of(stage: Stage, graph: LayerGraph) -> Loss:
    """The stage's loss for a network.

    Raises:
        UsageError: The network has several results, which the named losses do not take.
    """
    if not isinstance(stage.loss, str):
        return stage.loss
    if len(graph.outputs) != 1:
        names = ", ".join(graph.outputs)
        hint = "--loss FILE.py:FUNCTION, a function of (results, targets); in Python loss=…"
        why = f"the network has {len(graph.outputs)}: {names}"
        what = f"stage '{stage.name}': loss '{stage.loss}' takes one result"
        raise UsageError(what, why=why, hint=hint)
    if stage.loss == "mse":
        return _mse
    last = graph.layers[graph.producer[graph.outputs[0]]].op
    return _behind_softmax if last == "softmax" else _cross_entropy


def metric_of(stage: Stage) -> Metric | None:
    """The stage's metric; None for the validation loss."""
    if not isinstance(stage.metric, str):
        return stage.metric
    by_default = "accuracy" if stage.loss == "cross-entropy" else "loss"
    return accuracy if (stage.metric or by_default) == "accuracy" else None


def _cross_entropy(results: Any, targets: Any) -> Tensor:
    return functional.cross_entropy(only(results), targets)


def _behind_softmax(results: Any, targets: Any) -> Tensor:
    return functional.cross_entropy(only(results).clamp_min(1e-12).log(), targets)


def _mse(results: Any, targets: Any) -> Tensor:
    return functional.mse_loss(only(results), targets)


def accuracy(results: Any, targets: Any) -> Tensor:
    """The share of arg-max over axis 1 that is the target's class."""
    found, wanted = only(results).argmax(1), targets
    if wanted.is_floating_point():
        wanted = wanted.argmax(1)
    return (found == wanted).float().mean()


def only(results: Any) -> Tensor:
    """The one tensor among a network's results."""
    return next(iter(leaves(results).values()))


def penalty(module: nn.Module) -> Tensor | float:
    """What modules with a method `penalty` add to the loss of the batch that just ran."""
    total: Tensor | float = 0.0
    for each in module.modules():
        added: Callable[[], Tensor] | None = getattr(each, "penalty", None)
        if callable(added):
            total = total + added()
    return total


def refuse_targets(stage: Stage, results: Any, targets: Any, which: str) -> None:
    """Raise where the named losses cannot take the targets; others take what they take.

    Raises:
        DataError: They have the wrong shape, type or range.
    """
    if not isinstance(stage.loss, str):
        return
    out = only(results)
    shown = f"{which}: the targets"
    if not isinstance(targets, Tensor):
        raise DataError(f"{shown} are no tensor", why=f"they are of type {type(targets).__name__}")
    same, classes = tuple(out.shape), (out.shape[0], *out.shape[2:])
    given = tuple(targets.shape)
    if targets.is_floating_point():
        if given != same:
            raise DataError(f"{shown} are {_x(given)}", why=f"the results are {_x(same)}")
        if stage.loss == "cross-entropy":
            _refuse_shares(out, targets, shown)
        return
    if stage.loss == "mse":
        raise DataError(f"{shown} are {_dtype(targets)}", why="the loss 'mse' compares floats")
    if targets.dtype != torch.int64 or given != classes:
        raise DataError(
            f"{shown} are {_x(given)} {_dtype(targets)}", hint="targets.long()",
            why=f"class numbers for results of {_x(same)} are {_x(classes)} int64",
        )  # fmt: skip
    low, high = int(targets.min()), int(targets.max())
    if high >= out.shape[1] or low < -100 or -100 < low < 0:
        why = f"the network has the classes 0 to {out.shape[1] - 1}"
        raise DataError(f"{shown} go from {low} to {high}", why=why)


def _refuse_shares(results: Tensor, targets: Tensor, shown: str) -> None:
    """Raise where floats are no shares of the classes: the cross-entropy would mean nothing."""
    hint = "--loss mse compares numbers; --loss FILE.py:FUNCTION is a loss of your own"
    if results.shape[1] == 1:
        why = "over one class the cross-entropy is 0 whatever the network gives"
        raise DataError(f"{shown} are floats for one class", why=why, hint=hint)
    total = targets.sum(1)
    if bool((targets < 0).any()) or not bool(
        torch.allclose(total, torch.ones_like(total), atol=0.01)
    ):
        why = "the cross-entropy takes the shares of the classes, which sum to 1 along axis 1"
        raise DataError(f"{shown} are floats that are no shares", why=why, hint=hint)


def _x(shape: tuple[int, ...]) -> str:
    return "x".join(map(str, shape)) or "a scalar"


def _dtype(value: Tensor) -> str:
    return str(value.dtype).removeprefix("torch.")
