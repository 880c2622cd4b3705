# SPDX-License-Identifier: Apache-2.0
# pyright: basic
"""Which kernels compute which layers: the rows, what is chosen by them, and what is planned.

Graphs are made by hand and no code is generated, so that every combination takes milliseconds.
"""

from __future__ import annotations

import itertools
from typing import Any

import msgspec
import numpy as np
import pytest

from splitc.cost.board import Board, load_board
from splitc.cost.precision import at_precision
from splitc_targets.graph.check import InvalidGraphError, check
from splitc_targets.graph.expression import Arg, Do, Expression, Num
from splitc_targets.graph.graph import Graph, Node, Value, constant, made
from splitc_targets.graph.text import parse_graph, print_graph
from splitc_targets.kernels import families
from splitc_targets.kernels.families import FAMILIES
from splitc_targets.loops.fused import TYPES
from splitc_targets.machine.machine import Machine, machine_of
from splitc_targets.plan.planner import Plan, Planner
from splitc_targets.rules.table import RULES
from splitc_targets.transforms.element_types import choose_types
from splitc_targets.tvm.fallback import fall_back

CHANNELS, SIDE = 32, 12
RULES_OF = {
    "direct": {"conv", "gemm", "gemv", "winograd2", "winograd4", "strassen"},
    "dot": {"dot", "bytetiles"},
    "half": {"half"}, "pairs": {"pairs", "pairwinograd2", "tiles"}, "depthwise": {"depthwise"},
    "depthwise_dot": {"depthwise_dot"}, "matmul": {"matmul"},
    "largest": {"pool"}, "mean": {"pool"},
}  # fmt: skip
"""What the steps of a family are called."""


def vnni(name: str, *more: str) -> Board:
    """A board whose core multiplies bytes; more features of it."""
    board = load_board(name)
    unit = msgspec.structs.replace(board.processor, features=("+avx512vnni", *more))
    return msgspec.structs.replace(board, unit=unit)


def bf16(name: str, *more: str) -> Board:
    """A board that multiplies in bfloat16, where that is asked of it; more features of it."""
    board = load_board(name)
    unit = msgspec.structs.replace(board.processor, on_request=("+avx512bf16", *more))
    return at_precision({name: msgspec.structs.replace(board, unit=unit)}, "bf16")[name]


MACHINES = {
    "rpi4": machine_of(load_board("rpi4")), "rpi5": machine_of(load_board("rpi5")),
    "v3": machine_of(load_board("x86-64-v3")), "v4": machine_of(load_board("x86-64-v4")),
    "vnni": machine_of(vnni("x86-64-v4")), "bf16": machine_of(bf16("x86-64-v4")),
    "tiles": machine_of(bf16("x86-64-v4", "+amx-bf16")),
    "byte tiles": machine_of(vnni("x86-64-v4", "+amx-int8")),
}  # fmt: skip


def byte(of: Expression) -> Expression:
    """An expression rounded to whole numbers from 0 to 255."""
    return Do("minimum", (Do("maximum", (Do("round", (of,)), Num(0.0))), Num(255.0)))


def weights(kind: str, *shape: int) -> Value:
    """Constants: whole numbers within a signed byte, beyond one, or fractions."""
    rng = np.random.default_rng(0)
    low, high = {"signed": (-128, 128), "far": (-100, 156), "fractions": (0, 1)}[kind]
    whole = rng.integers(low, high, shape) if high > 1 else rng.standard_normal(shape)
    return constant(whole.astype(np.float32))


class Made:
    """A graph under construction, all of one size of map."""

    def __init__(self, half: bool) -> None:
        self.half = half
        self.x = Value((1, CHANNELS, SIDE, SIDE), "float32", half=half)
        self.nodes: list[Node] = []

    def add(self, op: str, args: list[Any], shape: tuple[int, ...], **attrs: Any) -> Value:
        node = made(op, args, shape, "float32", **attrs)
        node.output.half = self.half
        self.nodes.append(node)
        return node.output

    def map(self, x: Value, expression: Expression) -> Value:
        return self.add("map", [[x]], x.shape, expression=expression)

    def conv(
        self, x: Value, kind: str, kernel: int, stride: int, groups: int,
        expression: Expression, extras: list[Value],
    ) -> Value:  # fmt: skip
        n, c, height, width = x.shape
        shape = (n, CHANNELS, -(-height // stride), -(-width // stride))
        pad = kernel // 2
        return self.add(
            "nn.conv2d", [x, weights(kind, CHANNELS, c // groups, kernel, kernel), extras], shape,
            strides=(stride, stride), padding=(pad,) * 4, dilation=(1, 1), groups=groups,
            data_layout="NCHW", kernel_layout="OIHW", expression=expression,
        )  # fmt: skip

    def pool(self, op: str, x: Value, size: int = 2) -> Value:
        n, c, height, width = x.shape
        return self.add(
            op, [x, []], (n, c, height // size, width // size), pool_size=(size, size),
            strides=(size, size),
            dilation=(1, 1), padding=(0, 0, 0, 0), layout="NCHW", ceil_mode=False,
            count_include_pad=False, expression=Arg(0),
        )  # fmt: skip

    def graph(self, *outputs: Value) -> Graph:
        return Graph([self.x], self.nodes, list(outputs))


def following(net: Made, kind: str, y: Value) -> Value:
    """What reads a layer's result."""
    if kind == "bytes":
        return net.conv(y, "signed", 1, 1, 1, Arg(0), [])
    if kind == "far":
        return net.conv(y, "far", 3, 1, 1, Arg(0), [])
    if kind == "depthwise":
        return net.conv(y, "signed", 3, 1, CHANNELS, Arg(0), [])
    if kind in ("nn.max_pool2d", "nn.avg_pool2d"):
        return net.pool(kind, y)
    return net.map(y, Do("exp", (Arg(0),)))


def chosen(graph: Graph, machine: Machine) -> list[str]:
    """The families of a graph's nodes, once its element types are chosen and checked."""
    choose_types(graph, machine)
    check(graph, "element types", families.faults)
    return [node.family for node in graph.nodes if node.family]


def planned(graph: Graph, machine: Machine) -> Plan:
    return Planner(graph, machine).plan(RULES, fall_back)


@pytest.mark.parametrize("name", MACHINES)
@pytest.mark.parametrize("half", [False, True])
@pytest.mark.parametrize("kind", ["signed", "far", "fractions"])
def test_what_is_chosen_is_what_is_planned(kind: str, half: bool, name: str) -> None:
    forms = [(3, 1, 1), (3, 2, 1), (1, 1, 1), (5, 1, 1), (3, 1, 4), (3, 1, CHANNELS)]
    readers = ["bytes", "far", "depthwise", "nn.max_pool2d", "nn.avg_pool2d", "floats"]
    for form, reader, residual in itertools.product(forms, readers, (False, True)):
        net = Made(half)
        x = net.map(net.x, byte(Arg(0)))
        beside = [x] if residual and form[1] == 1 else []
        total = Do("add", (Arg(0), Arg(1))) if beside else Arg(0)
        y = net.conv(x, kind, *form, byte(Do("multiply", (total, Num(0.01)))), beside)
        graph = net.graph(following(net, reader, y))
        names = chosen(graph, MACHINES[name])
        plan = planned(graph, MACHINES[name])
        rules = [step.rule for step in plan.steps if step.rule != "map"]
        assert not plan.fallbacks
        assert len(rules) == len(names)
        assert all(rule in RULES_OF[family] for rule, family in zip(rules, names, strict=True))


@pytest.mark.parametrize(
    ("name", "kind", "half", "family"),
    [
        ("rpi5", "signed", False, "dot"), ("vnni", "signed", False, "dot"),
        ("bf16", "fractions", False, "pairs"), ("bf16", "fractions", True, "pairs"),
        ("rpi4", "signed", False, "direct"), ("v4", "signed", False, "direct"),
        ("rpi5", "far", False, "direct"), ("rpi5", "fractions", True, "half"),
        ("rpi4", "fractions", True, "direct"), ("rpi5", "fractions", False, "direct"),
    ],
)  # fmt: skip
def test_the_smallest_elements_that_core_and_layer_allow_are_multiplied(
    name: str, kind: str, half: bool, family: str
) -> None:
    net = Made(half)
    x = net.map(net.x, byte(Arg(0)))
    graph = net.graph(net.conv(x, kind, 3, 1, 1, Arg(0), []))
    assert chosen(graph, MACHINES[name]) == [family]


def test_winograds_algorithm_writes_the_float16_that_is_read_next() -> None:
    """A layer too shallow for products of float16, before one that is not."""
    net = Made(half=True)
    net.x = Value((1, 16, SIDE, SIDE), "float32", half=True)
    y = net.conv(net.x, "fractions", 3, 1, 1, Arg(0), [])
    graph = net.graph(net.conv(y, "fractions", 3, 1, 1, Arg(0), []))
    assert chosen(graph, MACHINES["rpi5"]) == ["direct", "half"]
    steps = [step for step in planned(graph, MACHINES["rpi5"]).steps if step.rule != "map"]
    assert [step.rule.rstrip("24") for step in steps] == ["winograd", "half"]
    assert steps[0].args[-1].buffer.dtype == "float16"


@pytest.mark.parametrize(
    ("end", "bytes_next", "exact"),
    [(Arg(0), False, True), (byte(Arg(0)), False, False), (byte(Arg(0)), True, True)],
    ids=["sums", "rounded", "bytes"],
)
def test_sums_that_have_to_be_exact_are_not_computed_by_winograds_algorithm(
    end: Expression, bytes_next: bool, exact: bool
) -> None:
    net = Made(half=False)
    y = net.conv(net.x, "far", 3, 1, 1, end, [])
    graph = net.graph(following(net, "bytes", y) if bytes_next else y)
    chosen(graph, MACHINES["rpi5"])
    rules = [step.rule for step in planned(graph, MACHINES["rpi5"]).steps]
    assert ("conv" in rules) == exact
    assert any(rule.startswith("winograd") for rule in rules) != exact


def test_the_mean_of_whole_maps_reads_float16_and_writes_it() -> None:
    net = Made(half=True)
    x = net.conv(net.x, "fractions", 1, 1, 1, Arg(0), [])
    mean = net.pool("nn.avg_pool2d", x, SIDE)
    graph = net.graph(net.conv(mean, "fractions", 1, 1, 1, Arg(0), []))
    assert chosen(graph, MACHINES["rpi5"]) == ["half", "mean", "half"]
    (step,) = [each for each in planned(graph, MACHINES["rpi5"]).steps if each.rule == "pool"]
    assert step.op == "mean of maps"
    assert [view.buffer.dtype for view in step.args] == ["float16", "float16"]


@pytest.mark.parametrize("family", [each for each in FAMILIES if each.instead_of])
def test_what_takes_anothers_place_reads_and_writes_as_much(family: families.Family) -> None:
    other = families.named(family.instead_of)
    assert other is not None
    assert family.reads >= other.reads
    assert family.weights >= other.weights
    assert family.writes >= other.writes
    assert family.beside >= other.beside


def test_kernels_that_end_in_an_expression_write_every_element_type() -> None:
    for family in FAMILIES:
        if family.name != "matmul":  # of two tensors: attention, which is of floats
            assert family.writes == family.beside == TYPES


def test_a_family_is_printed_and_read_back() -> None:
    net = Made(half=False)
    x = net.map(net.x, byte(Arg(0)))
    graph = net.graph(net.conv(x, "signed", 1, 1, 1, Arg(0), []))
    chosen(graph, MACHINES["rpi5"])
    text = print_graph(graph)
    assert "nn.conv2d[dot](" in text
    assert "offset=128" in text
    data = {"c0": graph.nodes[-1].args[1].data}
    back = parse_graph(text, data)
    assert back.nodes[-1].family == "dot"
    assert print_graph(back) == text


@pytest.mark.parametrize(
    ("family", "why"),
    [
        ("quick", "there is no family 'quick'"),
        ("largest", "the family 'largest' does not compute it"),
        ("dot", "the family 'dot' does not read float32"),
    ],
)
def test_a_node_that_its_family_does_not_compute_is_named(family: str, why: str) -> None:
    net = Made(half=False)
    graph = net.graph(net.conv(net.x, "signed", 1, 1, 1, Arg(0), []))
    graph.nodes[-1].family = family
    with pytest.raises(InvalidGraphError, match=f"after this: nn.conv2d .*{why}"):
        check(graph, "this", families.faults)
