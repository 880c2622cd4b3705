# SPDX-License-Identifier: Apache-2.0
"""Results of PyTorch networks that depend on no input, or come more than once."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from torch import Tensor, nn  # noqa: E402

from splitc.cost.board import load_board  # noqa: E402
from splitc.errors import BadModelError  # noqa: E402
from splitc.frontend.torch.model import TorchModel, load_torch  # noqa: E402
from splitc.ir.cut import Cut  # noqa: E402
from splitc.search.enumerate import all_cuts  # noqa: E402
from splitc_targets.backend import TvmBackend  # noqa: E402

Array = np.ndarray[Any, Any]
Given = Callable[["Net", Tensor], tuple[Tensor, ...]]


class Net(nn.Module):
    """Two layers to cut between, and results made of what they give."""

    def __init__(self, given: Given) -> None:
        super().__init__()
        self.first, self.given = nn.Linear(6, 6), given
        self.priors: Tensor
        self.register_buffer("priors", torch.arange(6.0))

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        return self.given(self, torch.relu(self.first(x)))


RESULTS: dict[str, Given] = {
    "stored": lambda net, x: (net.priors, -x),
    "computed": lambda net, x: (-x, net.priors * 2),
    "made": lambda net, x: (-x, torch.zeros(3, 4), torch.arange(5)),
    "a shape": lambda net, x: (torch.tensor(x.shape), -x),
    "twice": lambda net, x: (net.priors, -x, net.priors),
    "the same": lambda net, x: (-x,) * 2,
    "what crosses": lambda net, x: (x, -x),
    "a view of it": lambda net, x: (x.view(-1), -x, net.priors[:2]),
}


def parts(model: TorchModel, cut: Cut, x: Array, run: Callable[..., dict[str, Array]]) -> Any:
    """The network's results by its two parts."""
    known = {"x": x}
    for part in model.split(cut):
        assert part.graph.inputs
        known |= run(part, {tensor.name: known[tensor.name] for tensor in part.graph.inputs})
    return [known[name] for name in model.layers.names]


def by_code(part: TorchModel, feed: dict[str, Array]) -> dict[str, Array]:
    """A part's results by its compiled code."""
    backend = TvmBackend()
    assert backend.unsupported(part) == []
    code = backend.compile(backend.lower(part), load_board("host"))
    got = code.here()(*feed.values())
    return dict(zip(part.graph.outputs, got, strict=True))


@pytest.mark.parametrize("kind", RESULTS)
def test_every_cut_gives_what_the_module_gives(kind: str) -> None:
    torch.manual_seed(0)
    module, x = Net(RESULTS[kind]).eval(), torch.randn(4, 6)
    with torch.no_grad():
        want = [each.numpy() for each in module(x)]
    model = load_torch(module, x)
    cuts = [cut for cut in all_cuts(model.graph, 100) or () if cut.why_not() is None]
    assert cuts
    for cut in cuts:
        for run in (TorchModel.run, by_code) if cut is cuts[-1] else (TorchModel.run,):
            for got, right in zip(parts(model, cut, x.numpy(), run), want, strict=True):
                assert got.dtype == right.dtype
                np.testing.assert_allclose(got, right, rtol=0, atol=1e-6)


def test_a_module_whose_results_are_all_stored_has_nothing_to_split() -> None:
    class Still(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return torch.ones(2)

    with pytest.raises(BadModelError, match="the same whatever it is"):
        load_torch(Still().eval(), torch.ones(2))


def test_one_hot_needs_no_check_of_its_values() -> None:
    class Hot(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first = nn.Linear(6, 6)

        def forward(self, x: Tensor) -> Tensor:
            return nn.functional.one_hot(self.first(x).argmax(1), 6).float()

    module, x = Hot().eval(), torch.randn(4, 6)
    got = by_code(load_torch(module, x), {"x": x.numpy()})
    np.testing.assert_array_equal(next(iter(got.values())), module(x).numpy())


def test_of_equal_elements_topk_gives_the_first() -> None:
    class Best(nn.Module):
        def forward(self, x: Tensor) -> tuple[Tensor, ...]:
            return (*torch.topk(x.relu(), 3, sorted=False), *x.relu().topk(2, 0, False))

    x = np.array([[1, 2, 1, 2, 2, 0], [0, 0, 0, 0, 0, 0], [2, 1, 0, 3, 0, 3]], np.float32)
    model = load_torch(Best().eval(), torch.from_numpy(x))
    want, got = model.run({"x": x}), by_code(model, {"x": x})
    assert list(want.values())[1].tolist() == [[1, 3, 4], [0, 1, 2], [3, 5, 0]]
    assert list(want.values())[3].tolist() == [[1, 1, 1, 1, 1, 0], [0, 2, 2, 0, 2, 1]]
    for name, right in want.items():
        np.testing.assert_array_equal(got[name], right)


DRAWS: dict[str, Callable[[Tensor], Tensor]] = {
    "rand": lambda x: x + torch.rand(4),
    "randint": lambda x: x + torch.randint(0, 5, (4,)),
    "randperm": lambda x: x + torch.randperm(4),
    "normal": lambda x: x + torch.normal(0.0, 1.0, (4,)),
    "uniform": lambda x: x + torch.empty(4).uniform_(),
    "bernoulli": lambda x: x * torch.empty(4).bernoulli_(0.5),
    "poisson": lambda x: x + torch.poisson(torch.ones(4)),
    "rand_like": lambda x: x + torch.rand_like(x),
}


@pytest.mark.parametrize("name", DRAWS)
def test_numbers_that_are_drawn_are_no_constants(name: str) -> None:
    class Drawing(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return DRAWS[name](x)

    model = load_torch(Drawing().eval(), (torch.ones(4),))
    found = TvmBackend().unsupported(model)
    assert [(each.layer, each.why) for each in found] == [
        (name, "it gives other values at each run")
    ]
