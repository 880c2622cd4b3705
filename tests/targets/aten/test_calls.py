# SPDX-License-Identifier: Apache-2.0
# pyright: reportUnknownMemberType=false, reportUnknownArgumentType=false
# pyright: reportUnknownVariableType=false, reportUnknownLambdaType=false
"""Calls of PyTorch's: right, and the table of their arguments whole."""

from __future__ import annotations

import operator
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="needs torch")

from torch import Tensor, nn  # noqa: E402
from torch.export import default_decompositions  # noqa: E402

import splitc  # noqa: E402
from splitc.frontend.torch.model import TorchModel  # noqa: E402
from splitc_targets.aten.arguments import UNREAD, readings  # noqa: E402
from splitc_targets.aten.converters import converters  # noqa: E402
from splitc_targets.aten.program import program_of, rewrites  # noqa: E402
from splitc_targets.aten.refusals import bound, operator_of  # noqa: E402
from splitc_targets.tvm import adapter  # noqa: E402
from tests.targets.aten.calls import Together, assert_right, compiled, refused  # noqa: E402
from tests.targets.aten.samples import GROUPS  # noqa: E402

aten: Any = torch.ops.aten


@pytest.mark.parametrize("group", GROUPS)
def test_calls_with_other_values_than_the_defaults_give_what_pytorch_gives(group: str) -> None:
    assert_right(GROUPS[group]())


def test_the_nearest_pixel_is_rounded_down() -> None:
    x = torch.tensor([[[[0.0, 1.0, 2.0]]]])
    (got,) = compiled(nn.Upsample(size=(1, 5), mode="nearest"), [x])
    np.testing.assert_array_equal(got, [[[[0, 0, 1, 1, 2]]]])


def test_not_a_number_is_unequal_to_itself() -> None:
    class Net(nn.Module):
        def forward(self, x: Tensor) -> Any:
            return torch.nanmean(x), torch.ne(x, x), torch.ne(x.int(), x.int())

    x = torch.tensor([[1.0, float("nan"), 3.0]])
    mean, unequal, whole = compiled(Net(), [x])
    assert mean == 2.0
    np.testing.assert_array_equal(unequal, [[False, True, False]])
    assert not whole.any()


def name_of(op: Any) -> str:
    return str(op.__name__)


def overload(name: str) -> Any:
    packet, _, kind = name.partition(".")
    return getattr(getattr(aten, packet), kind)


def test_the_table_has_every_argument_of_its_operators_and_no_other() -> None:
    for name, reading in readings().items():
        assert tuple(a.name for a in overload(name)._schema.arguments) == reading.arguments, name


def of_tensors(schema: Any) -> bool:
    """Whether an overload takes and gives tensors and changes none."""
    if "Dict" in str(schema):
        return False
    takes = any("Tensor" in str(each.type) for each in schema.arguments)
    gives = any("Tensor" in str(each.type) for each in schema.returns)
    return takes and gives and not schema.is_mutable


def test_the_table_knows_every_overload_of_its_operators() -> None:
    taken_apart = {name_of(each) for each in default_decompositions()}
    known = readings().keys() | taken_apart | set(UNREAD)
    for packet in {name.partition(".")[0] for name in readings()}:
        for kind in getattr(aten, packet).overloads():
            name = f"{packet}.{kind}"
            assert name in known or not of_tensors(overload(name)._schema), name


def test_the_table_knows_every_operator_of_the_importer() -> None:
    taken_apart = {name_of(each) for each in default_decompositions()}
    known = readings().keys() | taken_apart | set(UNREAD)
    new = {name for name in adapter.converted_calls() if "." in name} - known
    assert new == {name for name in new if name.partition(".")[0].endswith("_")}


def test_every_rewrite_and_converter_stands_in_the_table() -> None:
    assert {each.__name__ for each in rewrites()} <= readings().keys()
    own = {name for name, each in readings().items() if each.by == "own"}
    assert own == converters().keys() - {"constant"}


def given_values() -> Iterator[tuple[str, str]]:
    """Operator and argument wherever a call's program gives one another value than its default."""
    for name in GROUPS.keys() - {"recurrent_layers_that_project", "attention"}:
        if name.startswith(("smooth", "bicubic")):
            continue
        made = GROUPS[name]()
        tensors = [each for _, given in made.values() for each in given]
        model = splitc.load(Together(made).eval(), tensors)
        assert isinstance(model, TorchModel)
        for node in program_of(model).graph.nodes:
            if node.op != "call_function" or node.target is operator.getitem:
                continue
            schema = getattr(node.target, "_schema", None)
            for argument in schema.arguments if schema is not None else ():
                value = bound(node).get(argument.name)
                if not argument.has_default_value() or value != argument.default_value:
                    yield operator_of(node), argument.name


def test_the_samples_give_every_argument_that_is_converted_another_value() -> None:
    given = set(given_values())
    wanted = {
        (name, argument)
        for name, reading in readings().items()
        if reading.by != "rewrite"
        for argument in reading.arguments
        if argument not in reading.only and argument not in reading.idle
    }
    assert sorted(wanted - given) == []


class Counting(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("count", torch.zeros(3))

    def forward(self, x: Tensor) -> Tensor:
        self.count += 1
        return x * self.count


def test_a_buffer_that_changes_from_run_to_run_is_refused() -> None:
    with pytest.raises(splitc.errors.BadModelError, match="changes the buffer 'count'"):
        splitc.load(Counting(), torch.ones(1, 3))


@pytest.mark.parametrize(
    ("call", "why"),
    [
        (lambda x: torch.bernoulli(x.sigmoid()), "other values at each run"),
        (lambda x: torch.fft.rfft(x).real, "no conversion"),
    ],
)
def test_what_is_not_converted_is_refused_before_anything_is_lowered(call: Any, why: str) -> None:
    found = refused(call, torch.ones(1, 2, 4, 4))
    assert found
    assert why in found[0].why
