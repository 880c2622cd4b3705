# SPDX-License-Identifier: Apache-2.0
# pyright: reportUnknownMemberType=false
"""Tensors without elements: a network may take and give them, a link does not carry them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import splitc
from splitc.cost.board import load_board
from splitc.errors import BadModelError
from splitc_targets import pipeline
from splitc_targets.backend import TvmBackend

torch: Any = pytest.importorskip("torch", reason="needs torch")


class TakesNothing(torch.nn.Module):
    """Reads an input without elements early or late, gives a result without, and some with."""

    def __init__(self, *, late: bool) -> None:
        super().__init__()
        self.first, self.last = torch.nn.Linear(4, 8), torch.nn.Linear(8, 2)
        self.late = late

    def forward(self, x: Any, empty: Any) -> Any:
        near = torch.relu(self.first(x) + (0 if self.late else empty.sum()))
        made = self.last(near)
        if self.late:
            return made + empty.sum(), torch.cat([made, empty.reshape(0, 2)])
        return made, torch.cat([empty, empty], 1)


def example() -> tuple[Any, Any]:
    return torch.arange(4.0)[None], torch.zeros(1, 0, 4)


def test_a_network_takes_and_gives_tensors_without_elements(tmp_path: Path) -> None:
    module, (x, empty) = TakesNothing(late=False).eval(), example()
    network = splitc.load(module, (x, empty))
    made = splitc.compile(network, cut="device", head="host", output=tmp_path / "net.splitc")
    fed = zip((tensor.name for tensor in network.graph.inputs), (x, empty), strict=True)
    found = list(made.run({name: value.numpy() for name, value in fed}).values())
    for ours, right in zip(found, module(x, empty), strict=True):
        assert ours.shape == tuple(right.shape)
        np.testing.assert_allclose(ours, right.detach().numpy(), atol=1e-6)


@pytest.mark.parametrize("cut", ["relu", "server"])
def test_none_goes_over_a_link(cut: str, tmp_path: Path) -> None:
    network = splitc.load(TakesNothing(late=True).eval(), example())
    with pytest.raises(BadModelError, match="cannot cross") as refused:
        splitc.compile(network, cut=cut, head="host", output=tmp_path / "net.splitc")
    assert refused.value.why == "it has no elements"


@pytest.mark.parametrize("shapes", [((4, 5), (0, 5)), ((0, 5), (4, 5)), ((2, 3, 4), (2, 0, 4))])
def test_a_result_without_elements_has_any_extents(
    shapes: tuple[tuple[int, ...], ...],
) -> None:
    class Distances(torch.nn.Module):
        def forward(self, a: Any, b: Any) -> Any:
            return torch.cdist(a, b)

    given = tuple(torch.ones(shape) for shape in shapes)
    network = splitc.load(Distances().eval(), given)
    code = pipeline.compile_module(TvmBackend().lower(network), load_board("host"))
    (got,) = code.here()(*(each.numpy() for each in given))
    assert got.shape == tuple(torch.cdist(*given).shape)
    assert got.size == 0
