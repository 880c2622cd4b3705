# SPDX-License-Identifier: Apache-2.0
# pyright: reportUnknownMemberType=false, reportUnknownArgumentType=false
# pyright: reportUnknownVariableType=false
"""Grad-CAM of every layer: how much its output has to do with the right answer."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import fx
from torch.utils._pytree import tree_map

from splitc.arrays import Array
from splitc.errors import BadModelError, DataError, UsageError, one_line
from splitc.evaluate.samples import Samples
from splitc.frontend.torch.channel import Watch, taken
from splitc.frontend.torch.model import TorchModel
from splitc.frontend.torch.trace import FAILURES, as_at_inference
from splitc.ir.chain import FLOATS
from splitc.search.importance import SCHEMA, Importance


def importance(
    model: TorchModel, samples: Samples, *, network: str = "", told: Callable[[str], object] = str
) -> Importance:
    """How much the output of each layer has to do with the right class, averaged over samples.

    Of a sample, A a layer's output [1, K, …] and y_c the score of its right class c, before the
    softmax where the network ends in one::

        alpha_k = mean over space of d y_c / d A_k
        map     = ReLU(sum over k of alpha_k A_k)
        importance = |sum of map| / size of map

    Samples are taken one by one: a mean over a batch would mix them.

    Args:
        model: The network; its weights stay as they are, and its mode.
        samples: Frames and their right classes.
        network: Its name, for the file.
        told: Is called with what is done.

    Raises:
        UsageError: The network does not end in one score for each class.
        DataError: A label is no class of it.
        BadModelError: The module does not run.

    References:
        Selvaraju et al., "Grad-CAM", ICCV 2017; Cunico et al., "I-SPLIT", ICPR 2022.
    """
    scores, classes = _scores(model)
    names = {
        layer.outputs[0].name: layer.name
        for layer in model.graph.layers
        if not layer.is_input and layer.outputs[0].dtype in FLOATS
    }
    sums = dict.fromkeys(names.values(), 0.0)
    for number, (frame, label) in enumerate(zip(samples.frames, samples.labels, strict=True)):
        told(f"sample {number + 1} of {len(samples.frames)}")
        if not 0 <= label < classes:
            why = f"the network has {classes} classes, numbered from 0"
            raise DataError(f"label {label} of sample {number} is no class", why=why)
        for name, value in _of_sample(model, frame, scores, label, [*names]).items():
            sums[names[name]] += value
    count = len(samples.frames)
    wrong = next((name for name, total in sums.items() if not math.isfinite(total)), None)
    if wrong is not None:
        raise BadModelError("the importance is no number", at=f"layer '{wrong}'")
    return Importance(
        schema=SCHEMA, kind="splitc-importance", network=network, samples=count,
        layers={name: value / count for name, value in sums.items()},
    )  # fmt: skip


def _scores(model: TorchModel) -> tuple[str, int]:
    """The tensor that has a score for each class, and how many there are."""
    graph = model.graph
    if len(graph.outputs) != 1:
        why = f"it has {len(graph.outputs)} results"
        raise UsageError("importance is of a network with one result: scores of classes", why=why)
    last = graph.layers[graph.producer[graph.outputs[0]]]
    softmax = last.op in ("softmax", "logsoftmax") and len(last.inputs) == 1
    name = last.inputs[0] if softmax else graph.outputs[0]
    shape = graph.tensors[name].static_shape
    classes = max(shape, default=1)
    if shape[:1] != (1,) or classes < 2 or sorted(shape)[:-1] != [1] * (len(shape) - 1):
        shown = "x".join(map(str, shape))
        raise UsageError("the network does not end in one score for each class", why=f"{shown}")
    return name, classes


class _Tracked(Watch):
    """Keeps what nodes give so that gradients can be had, what follows reading a copy of it."""

    def run_node(self, n: fx.Node) -> Any:
        made = super().run_node(n)
        if n not in self.nodes:
            return made
        copies: Any = tree_map(_tracked, made)
        self.seen[n] = copies
        return tree_map(_copied, copies)


def _tracked(value: Any) -> Any:
    """A tensor with a gradient; one that depends on no input or weight begins anew."""
    if isinstance(value, torch.Tensor) and value.is_floating_point() and not value.requires_grad:
        return value.detach().requires_grad_()
    return value


def _copied(value: Any) -> Any:
    """A copy, so that what works in place does not change what was kept."""
    return value.clone() if isinstance(value, torch.Tensor) else value


def _of_sample(
    model: TorchModel, frame: Mapping[str, Array], scores: str, label: int, tensors: list[str]
) -> dict[str, float]:
    """The importance of some tensors for one sample, by their names."""
    layers = model.layers
    ends = {name: layers.element[name] for name in {*tensors, scores}}
    runner = _Tracked(model.module, {node for node, _ in ends.values()})
    with as_at_inference(model.module), torch.enable_grad():
        try:
            runner.run(*model.feed(frame))
        except FAILURES as error:
            raise BadModelError("the module does not run", why=one_line(error)) from error
        held = {name: taken(runner.seen[node], keys) for name, (node, keys) in ends.items()}
        score = held[scores].flatten()[label]
        gradients: tuple[Any, ...] = torch.autograd.grad(
            score, [held[n] for n in tensors], allow_unused=True
        )
    return {
        name: 0.0 if slope is None else _grad_cam(held[name].detach(), slope)
        for name, slope in zip(tensors, gradients, strict=True)
    }


def _grad_cam(made: torch.Tensor, slope: torch.Tensor) -> float:
    """|sum of the map| / its size; a tensor [1, K, …], or one without channels: K is 1."""
    rows = (1, 1, -1) if made.dim() < 2 else (*made.shape[:2], -1)
    maps, slopes = made.reshape(rows), slope.reshape(rows)
    alpha = slopes.mean(dim=(0, 2))
    seen = torch.relu((alpha[None, :, None] * maps).sum(dim=1))
    return float(seen.sum().abs() / seen.numel())
