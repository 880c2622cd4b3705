# SPDX-License-Identifier: Apache-2.0
"""The canonical text: what is printed is what is read back."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from splitc.errors import BadModelError
from splitc.ir.graph import Layer, LayerGraph, Tensor
from splitc.ir.printing import print_graph
from splitc.ir.text import parse_graph
from tests.strategies import graphs

NAMES = st.text(st.characters(blacklist_categories=("Cs",)), min_size=1, max_size=8)


@given(graphs(), st.data())
def test_a_graph_survives_printing_and_parsing(graph: LayerGraph, data: st.DataObject) -> None:
    layers = [
        replace(
            layer,
            param_bytes=data.draw(st.integers(0, 9)),
            flops=data.draw(st.integers(0, 9)),
            kind=data.draw(st.sampled_from(["conv", "elementwise"])),
            block=data.draw(st.one_of(st.none(), st.integers(0, 5))),
        )
        for layer in graph.layers
    ]
    given_graph = graph.with_layers(layers)
    assert parse_graph(print_graph(given_graph)) == given_graph


@given(NAMES, NAMES, NAMES, st.booleans())
def test_any_name_and_op_can_be_printed_and_parsed(
    layer_name: str, tensor_name: str, op: str, result: bool
) -> None:
    layer = Layer(layer_name, op, (), (Tensor(tensor_name, (1, None), "int8"),))
    graph = LayerGraph((layer,), (tensor_name,) if result else ())
    assert parse_graph(print_graph(graph)) == graph


def test_the_text_of_a_small_graph() -> None:
    text = (
        "%x = input() : 1x3x8x8\n"
        "%t = conv(%x) {params=448, flops=27648} : 1x4x8x8\n"
        '%a, %b = split(%t) {name="halves"} : 1x2x8x8, 1x2x8x8\n'
        "%i = argmax(%a) : 1x1x8x8 int64\n"
        "%n = size(%x) : scalar int64\n"
        "%z = nonzero(%x) : 4x? int64\n"
        "return %b, %i, %n, %z\n"
    )
    graph = parse_graph(text)
    assert graph.layer("halves").outputs[1].shape == (1, 2, 8, 8)
    assert graph.tensors["z"].nbytes is None
    assert graph.tensors["n"].nbytes == 8
    assert print_graph(graph) == text.replace("return %b, %i, %n, %z\n", "")


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("%x = input( : 1", "expected"),
        ("%x = input() : 1xq", "bad shape"),
        ("%x = input() {colour=3} : 1", "unknown attribute"),
        ("%x = input() {params=many} : 1", "must be an integer"),
        ("%x = input() : 1 float32 more", "unexpected"),
        ("x = input() : 1", "expected name"),
        ("%x = input() : 1\n%y = relu(%q) : 1", "reads 'q'"),
        ("%x = input() : 1\n%x = relu(%x) : 1", "two layers"),
        ("%x = input() : 1\n@ = relu(%x) : 1", "line 2"),
    ],
)
def test_malformed_text_is_refused_with_its_place(text: str, why: str) -> None:
    with pytest.raises(BadModelError, match=why):
        parse_graph(text)
