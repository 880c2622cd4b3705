# SPDX-License-Identifier: Apache-2.0
# pyright: basic
"""Every kernel says which of the network's layers it computes."""

from __future__ import annotations

import numpy as np
import pytest
from onnx import helper

import splitc
from splitc import zoo
from splitc.cost.board import load_board
from splitc.ir.model import Network
from splitc_targets import pipeline
from splitc_targets.backend import TvmBackend
from splitc_targets.plan.planner import Plan
from tests.frontend.torch import nets
from tests.helpers import model_of, small_network, two_headed_network


def planned(model: Network, board: str) -> Plan:
    return pipeline.plan_module(TvmBackend().lower(model), load_board(board))


def assert_named(model: Network, board: str) -> None:
    """One kernel reads the weights of each layer that has any, and says so; none is a stranger."""
    plan = planned(model, board)
    steps = [*plan.preparations, *plan.steps]
    assert all(step.layers for step in steps)
    assert {name for step in steps for name in step.layers} <= set(model.graph.index)
    work = [step for step in plan.steps if any(v.buffer.holds_weights for v in step.args)]
    for layer in model.graph.layers:
        if layer.param_bytes and layer.kind not in ("view", "elementwise"):
            assert sum(layer.name in step.layers for step in work) == 1, layer.name
    names = [*model.graph.index]
    for step in steps:
        assert [*step.layers] == sorted(step.layers, key=names.index)


@pytest.mark.parametrize("board", ["rpi4", "x86-64-v3"])
@pytest.mark.parametrize("name", ["small", "two-headed", "squeezenet", "shufflenet"])
def test_weighted_layers_of_an_onnx_file_have_a_kernel_each(name: str, board: str) -> None:
    own = {"small": small_network, "two-headed": two_headed_network}
    proto = own[name]() if name in own else zoo.build(name)
    assert_named(splitc.load(proto), board)


@pytest.mark.parametrize("name", ["resnet-b", "shufflenet", "densenet", "vit", "efficientnet"])
def test_weighted_layers_of_a_module_have_a_kernel_each(name: str) -> None:
    module = nets.build(name)
    assert_named(splitc.load(module, nets.example()), "rpi4")


def test_a_layer_whose_operations_are_gone_is_named_by_who_took_them_over() -> None:
    """Softplus spelled out by hand is one operation: max(x, 0) + log(1 + exp(-|x|))."""
    one, none = np.ones(1, np.float32), np.zeros(1, np.float32)
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["c"], "conv"),
        helper.make_node("Max", ["c", "none"], ["top"], "bound"),
        helper.make_node("Abs", ["c"], ["size"], "size"),
        helper.make_node("Neg", ["size"], ["below"], "below"),
        helper.make_node("Exp", ["below"], ["power"], "power"),
        helper.make_node("Add", ["power", "one"], ["more"], "one_more"),
        helper.make_node("Log", ["more"], ["log"], "logarithm"),
        helper.make_node("Add", ["top", "log"], ["y"], "sum"),
    ]
    weights = np.ones((2, 2, 1, 1), np.float32)
    model = splitc.load(
        model_of(nodes, {"x": (1, 2, 5, 5)}, ["y"], {"w": weights, "one": one, "none": none})
    )
    step = planned(model, "x86-64-v3").steps[0]
    assert step.op == "conv2d+softplus"
    assert step.layers == tuple(name for name in model.graph.index if name != "x")
