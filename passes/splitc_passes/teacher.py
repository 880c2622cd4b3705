# SPDX-License-Identifier: Apache-2.0
"""What a student head is trained to: the head that it replaces, and data with its results."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, fx

from splitc.cut import Cut
from splitc.finetune.data import Batches, count, read, split
from splitc.frontend.torch import TorchModel
from splitc.frontend.torch_batch import any_batch
from splitc_passes.distill_head import head_cut


def teacher_head(model: TorchModel, cut: str = "") -> fx.GraphModule:
    """A frozen copy of the head that `distill-head` replaces.

    Args:
        model: The network before the pass.
        cut: The layer that its head ends with; "" for the model's cut.

    Returns:
        A module in eval mode, from the input [N, C, H, W] of any batch to the boundary.

    Raises:
        IllegalCutError: Not one floating-point tensor crosses there.
        BadModelError: The head takes one size of batch only.
    """
    head, _ = model.split(head_cut(model, cut))
    made = copy.deepcopy(any_batch(head))
    for each in made.modules():
        each.training = False
    return made.requires_grad_(False)


def student_head(model: TorchModel, tensor: str) -> TorchModel:
    """The part of a rewritten network from its input to the student's last layer.

    Training it trains the network, with which it shares its weights.

    Args:
        model: The network behind the pass.
        tensor: What crossed before the pass, after which the student is named.
    """
    last = [name for name in model.graph.index if name.startswith(f"{tensor}.student")][-1]
    student, _ = model.split(Cut.sending(model.graph, last))
    return student


class Taught:
    """Batches (inputs, what the teacher makes of them), as `fine_tune` takes data.

    Args:
        data: Batches (inputs, targets) for the network; the targets are not read.
        which: "train" or "validate", for errors.
        teacher: The head that is learned from.
        model: The network, for the form of its input.
        device: Where the teacher is.
    """

    def __init__(
        self, data: Batches, which: str, teacher: fx.GraphModule, model: TorchModel,
        device: str | torch.device,
    ) -> None:  # fmt: skip
        self.data = data
        self.which = which
        self.teacher = teacher
        self.entries = model.graph.inputs
        self.device = torch.device(device)
        # what `fine_tune` seeds of a loader
        self.generator: Any = getattr(data, "generator", None)
        self.sampler: Any = getattr(data, "sampler", None)
        self.batch_sampler: Any = getattr(data, "batch_sampler", None)

    def __call__(self, epoch: int) -> Iterator[tuple[Tensor, Tensor]]:
        """The batches of an epoch.

        Raises:
            DataError: The data is not what the network takes.
        """
        for batch in read(self.data, self.which, epoch):
            (inputs,), _ = split(batch, self.which, self.entries, self.device)
            with torch.no_grad():
                wanted = self.teacher(inputs)
            yield inputs, wanted

    def __len__(self) -> int:
        known = count(self.data)
        if known is None:
            raise TypeError("how many batches there are is not known before")
        return known
