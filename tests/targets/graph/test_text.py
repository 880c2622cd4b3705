# SPDX-License-Identifier: Apache-2.0
"""The rules' graph as text and back, and the check that every rewrite is held against."""

from __future__ import annotations

import numpy as np
import pytest

import splitc
from splitc import zoo
from splitc.cost.board import load_board
from splitc_targets import pipeline
from splitc_targets.graph.check import InvalidGraphError, check
from splitc_targets.graph.expression import Arg, Do, Num
from splitc_targets.graph.graph import Graph, Value, made
from splitc_targets.graph.text import GraphTextError, parse_graph, print_graph
from splitc_targets.machine.machine import machine_of
from splitc_targets.transforms.fuse import fuse
from splitc_targets.transforms.simplify import simplify
from splitc_targets.tvm import adapter


def test_elementwise_operations_fuse_into_one_map() -> None:
    graph = parse_graph("""
        %x : float32 2x7
        %s = sigmoid(%x) : float32 2x7
        %y = multiply(%s, %x) : float32 2x7
        return %y
    """)
    fuse(graph)
    assert print_graph(graph) == (
        "%x0 : float32 2x7\n"
        "%0 = map([%x0]) {expression=multiply(sigmoid(x0), x0)} : float32 2x7\n"
        "return %0\n"
    )


def test_the_numbers_of_small_constants_are_written_and_read_to_the_last_digit() -> None:
    data = np.array([0.1, -0.0, np.inf, 3e-45], np.float32)
    step = made("add", [value := Value((4,), "float32"), Value((4,), "float32", data=data)],
                (4,), "float32")  # fmt: skip
    written = print_graph(Graph([value], [step], [step.output]))
    back = parse_graph(written).nodes[0].args[1].data
    assert back.tobytes() == data.tobytes()
    assert print_graph(parse_graph(written)) == written


@pytest.mark.parametrize("name", ["squeezenet", "shufflenet"])
def test_a_networks_graph_reads_back_as_what_was_printed(name: str) -> None:
    lowered = adapter.lower(splitc.load(zoo.build(name)).proto)
    graph = pipeline.prepared(lowered, machine_of(load_board("x86-64-v3")))
    written = print_graph(graph)
    data = {
        line.split(" =")[0].lstrip("%"): value.data
        for line, value in zip(
            [line for line in written.splitlines() if " = constant(" in line],
            dict.fromkeys(v for node in graph.nodes for v in node.inputs if v.data is not None),
            strict=True,
        )
        if value.data is not None
    }
    back = parse_graph(written, data)
    check(back, "parsing")
    assert print_graph(back) == written


def test_an_expression_keeps_numbers_that_six_digits_do_not_hold() -> None:
    node = made("map", [[Value((1,), "float32")]], (1,), "float32",
                expression=Do("add", (Arg(0), Num(1.00000012))))  # fmt: skip
    graph = Graph(node.inputs, [node], [node.output])
    assert parse_graph(print_graph(graph)).nodes[0].attrs == node.attrs


@pytest.mark.parametrize(
    ("source", "why"),
    [
        ("%y = relu(%x) : float32 1", "%x was not made"),
        ("%x : float32 1\nrelu(%x) : float32 1", "no value"),
        ("%x : float32 1\n%y = relu(%x : float32 1", "not closed"),
        ("%w = constant(#0123) : float32 100", "%w has no numbers"),
        ("%w = constant(1 2 3) : float32 2", "%w is float32"),
        ("%x : float32 1\n%y = relu(%x, two) : float32 1", "neither a value nor plain"),
    ],
)
def test_what_is_no_graph_is_refused(source: str, why: str) -> None:
    with pytest.raises(GraphTextError, match=why):
        parse_graph(source)


def test_a_value_read_before_it_is_made_is_named_with_the_rewrite() -> None:
    graph = parse_graph("""
        %x : float32 2x7
        %a = relu(%x) : float32 2x7
        %b = tanh(%a) : float32 2x7
        return %b
    """)
    check(graph, "reading")
    graph.nodes.reverse()
    with pytest.raises(InvalidGraphError, match=r"after reversing: tanh .* not made before it"):
        check(graph, "reversing")


def test_a_rewrite_that_breaks_a_shape_a_type_or_an_operand_is_named() -> None:
    x = Value((2, 3), "float32")
    wrong = [
        (made("reshape", [x, (5,)], (5,), "float32"), "other elements"),
        (made("permute_dims", [x], (3, 3), "float32"), "no permutation"),
        (made("map", [[x]], (4, 3), "float32", expression=Arg(0)), "do not broadcast"),
        (made("map", [[x]], (2, 3), "float32", expression=Arg(1)), "operand 1 of 1"),
        (made("relu", [x], (2, -3), "float32"), "negative"),
        (made("add", [x, Value((1,), "int8", data=np.zeros(1, np.float32))], (2, 3), "float32"),
         "says int8"),
    ]  # fmt: skip
    for node, why in wrong:
        with pytest.raises(InvalidGraphError, match=why):
            check(Graph([x], [node], [node.output]), "this")


def test_every_rewrite_of_a_network_is_checked_in_tests(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(graph: Graph) -> None:
        simplify(graph)
        graph.nodes[0].outputs[0].producer = None

    monkeypatch.setattr(pipeline, "simplify", broken)
    lowered = adapter.lower(splitc.load(zoo.build("squeezenet")).proto)
    with pytest.raises(InvalidGraphError, match="after simplify: .* names another producer"):
        pipeline.prepared(lowered, machine_of(load_board("x86-64-v3")))
