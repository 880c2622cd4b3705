# SPDX-License-Identifier: Apache-2.0
# pyright: reportUnknownMemberType=false, reportUnknownArgumentType=false
# pyright: reportUnknownVariableType=false, reportUnknownLambdaType=false
"""Traced networks at any batch size: against the module that was traced."""

from __future__ import annotations

from collections.abc import Callable

import pytest

torch = pytest.importorskip("torch", reason="needs torch")

from torch import Tensor, nn  # noqa: E402

import splitc  # noqa: E402
from splitc.errors import BadModelError  # noqa: E402
from splitc.frontend.torch.batch import any_batch  # noqa: E402
from tests.frontend.torch.nets import NETS, build, example  # noqa: E402


class Calls(nn.Module):
    """A function as a module, with a parameter [1, 1, 4]."""

    def __init__(self, function: Callable[[Tensor, Tensor], Tensor]) -> None:
        super().__init__()
        self.token = nn.Parameter(torch.randn(1, 1, 4))
        self.function = function

    def forward(self, x: Tensor) -> Tensor:
        return self.function(x, self.token)


FUNCTIONS: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "view": lambda x, _: x.view(x.shape[0], -1),
    "view of a tuple": lambda x, _: x.view((x.shape[0], 2, 10)),
    "reshape by name": lambda x, _: torch.reshape(x, shape=(x.size(0), 20)),
    "batch folded": lambda x, _: (x.reshape(x.shape[0] * 5, 4) * 2).reshape(x.shape[0], 5, 4),
    "view as a type": lambda x, _: x.view(torch.int32).view(torch.float32),
    "expand": lambda x, t: torch.cat([t.expand(x.shape[0], -1, -1), x], 1),
    "broadcast_to": lambda x, t: torch.cat([torch.broadcast_to(t, (x.shape[0], 1, 4)), x], 1),
    "expand of the batch": lambda x, _: x[:, :1].expand(x.shape[0], 5, 4),
    "repeat": lambda x, t: torch.cat([t.repeat(x.shape[0], 2, 1), x], 1),
    "repeat of the batch": lambda x, _: x.repeat(1, 2, 1),
    "new zeros": lambda x, _: torch.cat([x.new_zeros(x.shape[0], 1, 4), x], 1),
    "new full": lambda x, _: torch.cat([x.new_full((x.shape[0], 1, 4), 3.0), x], 1),
    "constant": lambda x, _: torch.cat([torch.ones(x.shape[0], 1, 4), x], dim=1),
    "parameter": lambda x, t: torch.cat([t, x], dim=1) if len(x) == 1 else x,
}  # fmt: skip


@pytest.mark.parametrize("name", NETS)
def test_every_architecture_takes_any_batch_and_shares_its_weights(name: str) -> None:
    net = build(name)
    model = splitc.load(net, example())
    made = any_batch(model)
    assert {id(p) for p in made.parameters()} == {id(p) for p in net.parameters()}
    x = torch.randn(5, 3, 32, 32, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        torch.testing.assert_close(made.eval()(x), net.eval()(x), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", [n for n in FUNCTIONS if n != "parameter"])
def test_extents_written_by_tracing_become_the_batchs(name: str) -> None:
    net = Calls(FUNCTIONS[name])
    made = any_batch(splitc.load(net, torch.zeros(1, 5, 4)))
    x = torch.randn(3, 5, 4, generator=torch.Generator().manual_seed(1))
    torch.testing.assert_close(made(x), net(x), rtol=0, atol=0)


def test_a_stored_tensor_joined_to_one_sample_is_joined_to_each() -> None:
    net = Calls(FUNCTIONS["parameter"])
    made = any_batch(splitc.load(net, torch.zeros(1, 5, 4)))
    x = torch.randn(3, 5, 4)
    torch.testing.assert_close(made(x)[:, 1:], x, rtol=0, atol=0)
    torch.testing.assert_close(made(x)[:, :1], net.token.expand(3, 1, 4), rtol=0, atol=0)


@pytest.mark.parametrize("name", ["view", "batch folded", "expand", "repeat", "new zeros"])
def test_examples_of_several_samples_do_too(name: str) -> None:
    net = Calls(FUNCTIONS[name])
    made = any_batch(splitc.load(net, torch.zeros(4, 5, 4)))
    x = torch.randn(3, 5, 4, generator=torch.Generator().manual_seed(1))
    torch.testing.assert_close(made(x), net(x), rtol=0, atol=0)


@pytest.mark.parametrize("name", ["vit", "shufflenet", "plain"])
def test_an_exported_program_does_too(name: str) -> None:
    net = build(name)
    made = any_batch(splitc.load(torch.export.export(net, (example(),))))
    x = torch.randn(5, 3, 32, 32, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        (got,) = made(x)
        torch.testing.assert_close(got, net(x), rtol=1e-4, atol=1e-5)


FIXED: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "the first sample": lambda x, _: x[0] * 2,
    "a batch squeezed away": lambda x, _: x.squeeze(0) * 2,
    "a mean over the batch": lambda x, _: x - x.mean(0),
    "another extent first": lambda x, _: x.transpose(0, 1).reshape(5, x.shape[0] * 4),
    "no batch at all": lambda x, _: x.sum(),
}


@pytest.mark.parametrize("name", FIXED)
def test_what_needs_the_batch_of_its_example_is_refused(name: str) -> None:
    model = splitc.load(Calls(FIXED[name]), torch.zeros(1, 5, 4))
    with pytest.raises(BadModelError, match="fixed batch of 1[^$]*training batch"):
        any_batch(model)


def test_inputs_without_extents_are_refused() -> None:
    with pytest.raises(BadModelError, match="takes no batches"):
        any_batch(splitc.load(nn.ReLU(), torch.tensor(1.0)))


def test_two_inputs_have_the_same_batch() -> None:
    class Two(nn.Module):
        def forward(self, x: Tensor, index: Tensor) -> Tensor:
            return x.reshape(x.shape[0], -1).gather(1, index)

    net = Two()
    examples = (torch.zeros(1, 2, 3), torch.zeros(1, 2, dtype=torch.int64))
    made = any_batch(splitc.load(net, examples))
    x, index = torch.randn(4, 2, 3), torch.tensor([[0, 5], [1, 1], [2, 3], [4, 0]])
    torch.testing.assert_close(made(x, index), net(x, index), rtol=0, atol=0)
