# SPDX-License-Identifier: Apache-2.0
# pyright: reportUnknownMemberType=false, reportUnknownArgumentType=false
# pyright: reportUnknownVariableType=false
"""Exported programs for any number of samples become programs for one, or are refused by name."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="needs torch")

from torch import Tensor, nn  # noqa: E402
from torch.export import Dim, ExportedProgram  # noqa: E402

import splitc  # noqa: E402
from splitc.errors import BadModelError  # noqa: E402


class Net(nn.Module):
    """Reads the number of samples, as most classifiers do before their last layer."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 8, 3, padding=1)
        self.norm = nn.BatchNorm2d(8)
        self.last = nn.Linear(8 * 16, 5)

    def forward(self, x: Tensor) -> Tensor:
        y = nn.functional.adaptive_avg_pool2d(torch.relu(self.norm(self.conv(x))), 4)
        return self.last(y.view(y.shape[0], -1))


class Sum(nn.Module):
    def forward(self, a: Tensor, b: Tensor) -> Tensor:
        return (a + b).relu()


class Heads(nn.Module):
    """Computes with the number of samples."""

    def forward(self, x: Tensor) -> Tensor:
        return x.view(x.shape[0] * 2, 4).relu()


def program(module: nn.Module, dims: dict[int, Any], *shapes: tuple[int, ...]) -> ExportedProgram:
    torch.manual_seed(0)
    examples = tuple(torch.randn(shape) for shape in shapes)
    return torch.export.export(module.eval(), examples, dynamic_shapes=tuple(dims for _ in shapes))


def saved(given: ExportedProgram, folder: Path) -> Path:
    torch.export.save(given, folder / "net.pt2")
    return folder / "net.pt2"


@pytest.mark.parametrize("dim", [Dim("batch"), Dim("batch", min=1, max=8)], ids=["any", "to 8"])
def test_an_open_number_of_samples_becomes_1(dim: Any, tmp_path: Path) -> None:
    given = program(Net(), {0: dim}, (2, 3, 16, 16))
    model = splitc.load(saved(given, tmp_path))
    assert "the number of samples is open and was fixed: x:1x3x16x16" in model.note
    assert model.graph.inputs[0].shape == (1, 3, 16, 16)
    x = torch.randn(1, 3, 16, 16)
    (made,) = model.run({"x": x.numpy()}).values()
    with torch.no_grad():
        wanted = given.module()(x).numpy()
    np.testing.assert_array_equal(made, wanted)


def test_each_input_becomes_one_sample(tmp_path: Path) -> None:
    given = program(Sum(), {0: Dim("batch")}, (3, 4), (3, 4))
    for source in (given, saved(given, tmp_path)):
        model = splitc.load(source)
        assert model.note.endswith("fixed: a:1x4, b:1x4")
        a, b = torch.randn(1, 4), torch.randn(1, 4)
        (made,) = model.run({"a": a.numpy(), "b": b.numpy()}).values()
        np.testing.assert_array_equal(made, given.module()(a, b).numpy())


def test_a_static_file_says_nothing_of_samples(tmp_path: Path) -> None:
    given = torch.export.export(Net().eval(), (torch.randn(1, 3, 16, 16),))
    assert "samples" not in splitc.load(saved(given, tmp_path)).note


@pytest.mark.parametrize(
    ("module", "dims", "shape", "match"),
    [
        (Net(), {2: Dim("h", min=8, max=64)}, (1, 3, 16, 16), "open that is not the first"),
        (Sum(), {0: Dim.AUTO}, (3, 4), "not said to take 1 sample"),
    ],
    ids=["height", "two at least"],
)
def test_other_open_extents_are_refused(
    module: nn.Module, dims: dict[int, Any], shape: tuple[int, ...], match: str
) -> None:
    shapes = (shape, shape) if isinstance(module, Sum) else (shape,)
    with pytest.raises(BadModelError, match=match):
        splitc.load(program(module, dims, *shapes))


def test_a_file_that_computes_with_the_number_of_samples_is_refused(tmp_path: Path) -> None:
    path = saved(program(Heads(), {0: Dim("batch")}, (3, 8)), tmp_path)
    with pytest.raises(BadModelError, match="evaluates no formula of a file"):
        splitc.load(path)
