# SPDX-License-Identifier: Apache-2.0
# pyright: reportUnknownMemberType=false, reportUnknownArgumentType=false
# pyright: reportUnknownVariableType=false, reportUnknownLambdaType=false
"""Batches that are not what the network takes: refused by name before training begins."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="needs torch")

from torch import Tensor, nn  # noqa: E402

import splitc  # noqa: E402
from splitc.errors import DataError, SplitcError, TrainingError, UsageError  # noqa: E402
from splitc.finetune.callbacks import Callback  # noqa: E402
from splitc.finetune.loop import fine_tune  # noqa: E402
from splitc.finetune.stage import Stage  # noqa: E402
from tests.finetune.nets import blobs, loaded  # noqa: E402

GOOD = blobs(8, size=4)
X, Y = GOOD[0]


class Fails:
    def __iter__(self) -> Any:
        raise KeyError("images")


REFUSED: dict[str, tuple[Any, str]] = {
    "nothing": (None, "train gives no batches\n.*NoneType"),
    "a function of nothing": (lambda epoch: 5, "train gives no batches\n.*int"),
    "empty": ([], "train is empty"),
    "read once": (iter(GOOD), "cannot be read at every epoch\n.*only once"),
    "a tensor": ([X], "train gives the wrong thing\n.*of type Tensor, not"),
    "three": ([(X, Y, Y)], "gives the wrong thing\n.*3 values, not"),
    "two inputs": ([((X, X), Y)], "train gives 2 inputs\n.*takes 1: input"),
    "other name": ([({"image": X}, Y)], "no input 'input'\n.*'?image'?"),
    "no tensor": ([("cat.png", Y)], "input 'input' is no tensor\n.*of type str"),
    "other extents": ([(X[:, :, :5], Y)], "is 4x2x5x6 float32\n.*takes Nx2x6x6 float32"),
    "channels last": ([(X.permute(0, 2, 3, 1), Y)], "4x6x6x2[^$]*permute"),
    "one sample": ([(X[0], Y[0])], "is 2x6x6 float32[^$]*unsqueeze"),
    "bytes": ([((X * 9).byte(), Y)], "is 4x2x6x6 uint8[^$]*to\\(torch.float32\\)"),
    "no samples": ([(X[:0], Y[:0])], "'input' has 0 samples"),
    "short targets": ([(X, Y[:3])], "the targets are 3 int64\n.*are 4 int64"),
    "int32 targets": ([(X, Y.int())], "the targets are 4 int32\n.*int64\n.*long"),
    "class 4": ([(X, Y + 4)], "the targets go from 4 to .\n.*classes 0 to 3"),
    "class -1": ([(X, Y - 1)], "the targets go from -1"),
    "names": ([(X, ["a"] * 4)], "the targets are no tensor\n.*list"),
    "shares": ([(X, torch.zeros(4, 3))], "the targets are 4x3\n.*results are 4x4"),
    "its own error": (Fails(), "train fails\n.*test_data.py:\\d+\n.*KeyError: 'images'"),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
@pytest.mark.parametrize("which", ["train", "validate"])
def test_it_is_refused_before_anything_is_trained(case: str, which: str) -> None:
    data, match = REFUSED[case]
    model = loaded()
    before = model.digest
    batches = {"train": GOOD, "validate": GOOD, which: data}
    with pytest.raises(DataError, match=match.replace("train", which)):
        fine_tune(model, [Stage("s", 1)], batches["train"], batches["validate"])
    assert model.digest == before


def test_targets_of_the_squared_error_have_the_results_shape() -> None:
    with pytest.raises(DataError, match="the targets are int64\n.*'mse' compares floats"):
        fine_tune(loaded(), [Stage("s", 1, loss="mse")], GOOD, GOOD)


def test_inputs_may_be_named_or_numpy_arrays() -> None:
    wanted = fine_tune(loaded(), [Stage("s", 1)], GOOD, GOOD).history[1].train_loss
    arrays = [(x.numpy(), y.numpy()) for x, y in GOOD]
    named = [({"input": x}, y) for x, y in GOOD]
    for given in (arrays, named):
        assert fine_tune(loaded(), [Stage("s", 1)], given, GOOD).history[1].train_loss == wanted


class Two(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.fc = nn.Linear(4, 2)

    def forward(self, x: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        y = self.fc(x) * mask
        return y, y.square()


def test_several_inputs_and_results_take_a_loss_of_ones_own() -> None:
    model = splitc.load(Two(), (torch.zeros(1, 4), torch.zeros(1, 2)))
    batch = ((torch.randn(4, 4), torch.ones(4, 2)), np.zeros(4))
    with pytest.raises(UsageError, match="'cross-entropy' takes one result\n.*has 2"):
        fine_tune(model, [Stage("s", 1)], [batch], [batch])
    stage = Stage("s", 2, 0.1, loss=lambda results, targets: results[1].mean())
    history = fine_tune(model, [stage], [batch], [batch]).history
    assert history[-1].validation_loss < history[0].validation_loss
    uneven = ((torch.randn(4, 4), torch.ones(3, 2)), np.zeros(4))
    with pytest.raises(DataError, match="'mask' has 3 samples\n.*'x' has 4"):
        fine_tune(model, [stage], [uneven], [batch])


def test_a_batch_that_fails_later_names_the_place() -> None:
    with pytest.raises(DataError, match="train: input 'input' is 1x6x6"):
        fine_tune(loaded(), [Stage("s", 1)], [*GOOD, (X[0, :1], Y[:1])], GOOD)
    alone = [*GOOD, (X[:1], Y[:1])]
    norm = nn.Sequential(nn.Flatten(), nn.BatchNorm1d(72), nn.Linear(72, 4))
    with pytest.raises(TrainingError, match=r"a batch fails\n.*stage 's', epoch 1, batch 3"):
        fine_tune(loaded(norm), [Stage("s", 1)], alone, GOOD)


def test_what_a_callback_raises_comes_out_as_it_is() -> None:
    class Bad(Callback):
        def on_batch_end(self, stage: Stage, epoch: int, batch: int, loss: float) -> None:
            raise ValueError("mine")

    with pytest.raises(ValueError, match="mine") as caught:
        fine_tune(loaded(), [Stage("s", 1)], GOOD, GOOD, callbacks=[Bad()])
    assert not isinstance(caught.value, SplitcError)
