# SPDX-License-Identifier: Apache-2.0
"""Predicted times: from the kernels that are planned, for what a network's shapes tell."""

from __future__ import annotations

import pickle
import subprocess
import sys

import msgspec
import numpy as np
import pytest

import splitc
from splitc.cost.board import Board, load_board
from splitc.cost.prices import BoardCost
from splitc.cost.stress import Stress
from splitc.ir.graph import LayerGraph
from splitc.ir.model import Network
from splitc.ir.text import parse_graph
from splitc_targets import pipeline
from splitc_targets.backend import TvmBackend
from splitc_targets.estimate.groups import groups
from splitc_targets.estimate.network import Kernels, kernel_of
from splitc_targets.estimate.steps import all_seconds
from splitc_targets.machine.machine import machine_of
from splitc_targets.plan.planner import Step
from tests.frontend.torch import nets
from tests.helpers import small_network
from tests.targets.nets import Net
from tests.targets.rules.test_recurrent import layer

OWN_RULES = {"depthwise": "depthwise", "dot": "dot", "half": "half",
             "depthwise_dot": "depthwise_dot"}  # fmt: skip


def network(name: str) -> Network:
    if name == "small":
        return splitc.load(small_network(size=32))
    return splitc.load(nets.build(name), nets.example())


def planned(model: Network, board: str) -> list[Step]:
    return pipeline.plan_module(TvmBackend().lower(model), load_board(board)).steps


def family(step: Step) -> str:
    """The family of a planned product or depthwise convolution; "" for other steps."""
    return step.choice.family if step.choice is not None else OWN_RULES.get(step.rule, "")


@pytest.mark.parametrize("board", ["rpi4", "x86-64-v4"])
@pytest.mark.parametrize("name", ["small", "resnet-b", "shufflenet", "densenet", "efficientnet"])
def test_a_layers_kernel_is_of_the_family_that_is_planned(name: str, board: str) -> None:
    model = network(name)
    graph, machine = model.graph, machine_of(load_board(board))
    own = {graph.layers[group.first].name: group for group in groups(graph)}
    compared = 0
    for step in planned(model, board):
        found = [own[layer] for layer in step.layers if layer in own]
        heavy = [each for each in found if graph.layers[each.first].param_bytes]
        if not family(step) or not heavy:
            continue
        kernel = kernel_of(graph, heavy[0], machine)
        assert kernel is not None
        assert kernel.family == family(step), step.shapes
        compared += 1
    assert compared >= 3


@pytest.mark.parametrize("name", ["small", "resnet-b", "efficientnet"])
def test_layers_are_put_together_as_fusion_puts_them(name: str) -> None:
    model = network(name)
    graph = model.graph
    fused = {
        frozenset(graph.layers[at].name for at in (group.first, *group.behind))
        for group in groups(graph)
        if group.behind and graph.layers[group.first].param_bytes
    }
    steps = {frozenset(step.layers) for step in planned(model, "x86-64-v4")}
    assert fused
    assert [one for one in fused if not any(one <= step for step in steps)] == []


@pytest.mark.parametrize("name", ["small", "resnet-b", "efficientnet"])
def test_layers_take_together_what_the_planned_calls_take(name: str) -> None:
    model, board = network(name), load_board("x86-64-v4")
    calls_s = sum(all_seconds(planned(model, "x86-64-v4"), board))
    assert sum(BoardCost(board).seconds(model.graph)) == pytest.approx(calls_s, rel=0.2)


@pytest.mark.parametrize("cores", [1, 4])
def test_recurrent_layers_take_what_their_planned_calls_take(cores: int) -> None:
    proto, _ = layer("LSTM", steps=20, batch=1, width=96, hidden=160, direction="bidirectional")
    board = msgspec.structs.replace(load_board("x86-64-v4"), cores=cores)
    model = splitc.load(proto)
    steps = pipeline.plan_module(TvmBackend().lower(model), board).steps
    found_s = sum(BoardCost(board).seconds(model.graph))
    assert found_s == pytest.approx(sum(all_seconds(steps, board)), rel=0.25)
    assert found_s != pytest.approx(sum(BoardCost(board, by="shares").seconds(model.graph)))


@pytest.mark.parametrize("form", ["parts", "masked", "operator"])
def test_attention_takes_what_its_planned_call_takes(form: str) -> None:
    net = Net(0, opset=23)
    q, k, v = (net.input(1, 4, 200, 32) for _ in range(3))
    if form == "operator":
        net.outputs = [net.op("Attention", q, k, v)]
    else:
        q = net.op("Mul", q, np.array(0.25, np.float32))
        scores = net.op("MatMul", q, net.op("Transpose", k, perm=[0, 1, 3, 2]))
        scores = net.op("Add", scores, net.input(1, 1, 1, 200)) if form == "masked" else scores
        net.outputs = [net.op("Relu", net.op("MatMul", net.op("Softmax", scores, axis=-1), v))]
    board, model = load_board("x86-64-v4"), splitc.load(net.proto())
    steps = planned(model, "x86-64-v4")
    assert [step.rule for step in steps] == ["attention"]
    found = BoardCost(board).seconds(model.graph)
    assert sum(found) == pytest.approx(sum(all_seconds(steps, board)), rel=0.1)
    assert sum(took > 0 for took in found) == 1


LINE = """
%x = input() : 1x64x56x56
%a = conv(%x) {params=147456, flops=231211008, kind=conv3x3} : 1x64x56x56
%b = relu(%a) {flops=200704} : 1x64x56x56
%c = conv(%b) {params=2304, flops=3612672, kind=depthwise} : 1x64x56x56
%d = lstm(%c) {flops=1000000} : 1x64x56x56
"""


def line() -> LayerGraph:
    return parse_graph(LINE)


def seconds(board: Board, graph: LayerGraph) -> tuple[float, ...]:
    return BoardCost(board).seconds(graph)


def test_what_is_fused_costs_nothing_of_its_own_and_strange_layers_are_priced_by_share() -> None:
    board, graph = load_board("rpi4"), line()
    found = seconds(board, graph)
    assert found[2] == 0.0
    assert found[4] == BoardCost(board, by="shares").seconds(graph)[4]
    assert all(found[at] > 0 for at in (1, 3))


def test_operations_that_no_window_of_the_map_has_are_priced_by_share() -> None:
    board = load_board("rpi3")
    graph = parse_graph(
        "%x = input() : 1x16x32x32\n%y = conv(%x) {params=90000, flops=900000000} : 1x64x16x16"
    )
    assert seconds(board, graph)[1] == BoardCost(board, by="shares").seconds(graph)[1]
    assert seconds(board, graph)[1] > 900e6 / board.peak_flops


def test_more_cores_a_quicker_clock_and_smaller_elements_take_less() -> None:
    board = load_board("rpi5")
    one = msgspec.structs.replace(board, cores=1)
    quick = msgspec.structs.replace(board, clock_hz=2 * board.clock_hz)
    assert seconds(board, line())[1] < seconds(one, line())[1]
    assert seconds(quick, line())[1] < seconds(board, line())[1]
    wide = "%x = input() : {0}\n%y = conv(%x) {{params=65536, flops=102760448, kind=conv1x1}} : {0}"
    whole, half = (parse_graph(wide.format(f"1x128x56x56{d}")) for d in ("", " float16"))
    assert seconds(board, half)[1] < 0.7 * seconds(board, whole)[1]


def test_what_was_said_of_one_graph_is_not_said_of_another_and_goes_to_no_other_process() -> None:
    board, first, second = load_board("rpi4"), line(), parse_graph("%x = input() : 1x8x4x4")
    cost = BoardCost(board)
    before = cost.seconds(first)
    assert cost.seconds(second) == BoardCost(board).seconds(second)
    assert cost.seconds(first) == before == BoardCost(board).seconds(first)
    assert pickle.loads(pickle.dumps(cost)).seconds(first) == before


def test_stress_of_memory_slows_what_waits_for_memory() -> None:
    board = load_board("rpi4")
    idle, busy = (
        BoardCost(board, stress).seconds(line())[3] for stress in (Stress(), Stress(memory=0.5))
    )
    assert idle < busy <= 2.0 * idle


def test_boards_of_unknown_cores_and_gpus_are_left_to_their_files() -> None:
    board = load_board("rpi4")
    assert isinstance(board.unit, msgspec.Struct)
    strange = msgspec.structs.replace(
        board, unit=msgspec.structs.replace(board.processor, cpu="z80")
    )
    assert Kernels().answers(board)
    assert not Kernels().answers(strange)
    assert BoardCost(strange).label == "predicted from board file rpi4"
    by = ", calibrated by ncnn's times"
    assert BoardCost(board).label == f"predicted from splitc's kernels on rpi4{by}"
    assert BoardCost(load_board("rpi5")).label == "predicted from splitc's kernels on rpi5"


def test_it_is_asked_without_tvm() -> None:
    code = (
        "import sys; from splitc.cost.board import load_board\n"
        "from splitc.cost.prices import BoardCost; from splitc.ir.text import parse_graph\n"
        f"BoardCost(load_board('rpi4')).seconds(parse_graph({LINE!r}))\n"
        "print([name for name in ('tvm', 'torch', 'onnx') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
