# SPDX-License-Identifier: Apache-2.0
"""No part is compiled that would call what nothing that ships with it has."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import splitc
from splitc.cost.board import load_board
from splitc.errors import UnsupportedOpError
from splitc_targets.backend import TvmBackend
from tests.targets.nets import Net


def model_of(net: Net) -> Any:
    """The network as it was written, loaded."""
    return splitc.load(net.proto(), simplify=False)


def counting(kind: str) -> Net:
    """A network that ends in an operator whose result is as long as values make it."""
    net = Net(0)
    x = net.op("Relu", net.input(2, 3))
    if kind == "Compress":
        flat = net.op("Reshape", net.op("Cast", x, to=9), np.array([6]))
        net.outputs = [net.op("Compress", x, flat)]
    elif kind == "Squeeze":
        axes = net.op("ArgMax", net.input(2, 1), axis=0, keepdims=0)
        net.outputs = [net.op("Squeeze", net.input(1, 3, 1), axes)]
    else:
        net.outputs = [net.op(kind, x)]
    net.nodes[-1].name = "ends"
    return net


@pytest.mark.parametrize(
    ("kind", "why"),
    [
        ("NonZero", "how many elements are not zero"),
        ("Unique", "how many elements are different"),
        ("Compress", "how many elements it keeps"),
        ("Squeeze", "which is computed while it runs, decides the shape"),
    ],
)
def test_a_result_without_a_fixed_shape_is_refused_by_name(kind: str, why: str) -> None:
    found = TvmBackend().unsupported(model_of(counting(kind)))
    assert [(one.layer, one.op) for one in found] == [("ends", kind)]
    assert why in found[0].why


@pytest.mark.parametrize("kind", ["NonZero", "Unique"])
def test_code_that_would_die_at_a_call_is_refused_when_it_is_compiled(kind: str) -> None:
    backend = TvmBackend()
    net = counting(kind)
    # What is given has a fixed shape, so that nothing but the call is in the way.
    net.outputs = [net.op("ReduceSum", net.op("Cast", net.outputs[0], to=1), keepdims=0)]
    lowered = backend.lower(model_of(net))
    with pytest.raises(UnsupportedOpError, match="a part cannot be compiled") as caught:
        backend.compile(lowered, load_board("host"))
    assert caught.value.at == f"layer 'ends' ({kind.lower()})"
