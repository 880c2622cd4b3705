# SPDX-License-Identifier: Apache-2.0
"""What people call layers: whole names, ends of them, modules."""

from __future__ import annotations

import pytest

from splitc.errors import UsageError
from splitc.ir.cut import Cut
from splitc.ir.layer_names import find_name, unique_endings
from splitc.ir.text import parse_graph

TORCH = ("conv1", "layer1.0.relu", "layer2.0.conv1", "layer2.0.relu", "layer2.1.add", "fc")
ONNX = ("/c3/c3.0/body/body.0/Conv", "/c3/c3.0/body/body.1/Relu", "/c4/c4.0/body/body.0/Conv")


@pytest.mark.parametrize(
    ("text", "names", "meant"),
    [
        ("layer2.0.conv1", TORCH, "layer2.0.conv1"),
        ("layer2", TORCH, "layer2.1.add"),
        ("layer2.0", TORCH, "layer2.0.relu"),
        ("add", TORCH, "layer2.1.add"),
        ("…1.add", TORCH, "layer2.1.add"),
        ("c3", ONNX, "/c3/c3.0/body/body.1/Relu"),
        ("c4.0", ONNX, "/c4/c4.0/body/body.0/Conv"),
        ("body.1/Relu", ONNX, "/c3/c3.0/body/body.1/Relu"),
        # A layer's own name comes before a module's, and both before the end of a name.
        ("conv1", TORCH, "conv1"),
        ("a", ("a.b", "a"), "a"),
        ("a", ("a.b", "a.c", "x.a"), "a.c"),
    ],
)  # fmt: skip
def test_a_name_its_end_and_its_module_all_mean_a_layer(
    text: str, names: tuple[str, ...], meant: str
) -> None:
    assert find_name(text, names) == meant


def test_what_several_layers_are_called_is_refused_by_naming_them() -> None:
    with pytest.raises(UsageError, match="no layer's whole name") as error:
        find_name("body.0/Conv", ONNX)
    assert "/c3/c3.0/body/body.0/Conv" in error.value.hint
    with pytest.raises(UsageError, match="no layer 'ayer2'"):
        find_name("ayer2", TORCH)
    with pytest.raises(UsageError, match="there is no layer ''"):
        find_name("", TORCH)


@pytest.mark.parametrize("names", [TORCH, ONNX, ("a/", "a.a", "/", "…", "a.b.a")])
def test_every_short_name_that_is_shown_is_one_that_is_taken(names: tuple[str, ...]) -> None:
    for name in names:
        for shown in unique_endings(name, names):
            assert find_name(shown, names) == name


def test_a_cut_takes_a_module() -> None:
    graph = parse_graph("%x = input() : 4\n%a.b = relu(%x) : 4\n%a.c = relu(%a.b) : 4\n"
                        "%y = relu(%a.c) : 4")  # fmt: skip
    assert Cut.named(graph, "a").name == "a.c"
