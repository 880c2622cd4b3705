# SPDX-License-Identifier: Apache-2.0
"""splitc: compile a network into a head for the device and a tail for the server.

import splitc

model = splitc.load("resnet50.onnx")
link = splitc.Link("20Mbit", rtt="5ms")
table = splitc.find_cuts(model, head="rpi4", tail="x86-64-v3", link=link)
bundle = splitc.compile(model, cut="auto", head="rpi4", tail="x86-64-v3", link=link)
outputs = bundle.run({"x": array})
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from splitc.version import __version__

if TYPE_CHECKING:
    from splitc.board import Board, load_board
    from splitc.bundle import Bundle
    from splitc.compiler import compile
    from splitc.cost import CostModel, CutCost
    from splitc.cut import Cut
    from splitc.errors import SplitcError
    from splitc.frontend import load, to_torch
    from splitc.graph import Layer, LayerGraph, Tensor
    from splitc.link import Link
    from splitc.model import GraphModel, Model
    from splitc.passes import Pass, Pipeline
    from splitc.plugins import Plugin
    from splitc.printing import print_graph
    from splitc.search import Constraints, CutTable, find_cuts
    from splitc.text import parse_graph

_WHERE = {
    "Board": "board", "load_board": "board", "Bundle": "bundle", "compile": "compiler",
    "CostModel": "cost", "CutCost": "cost", "Cut": "cut", "SplitcError": "errors",
    "load": "frontend", "Layer": "graph", "LayerGraph": "graph", "Tensor": "graph",
    "Link": "link", "GraphModel": "model", "Model": "model", "Pass": "passes",
    "Pipeline": "passes", "Plugin": "plugins", "Constraints": "search", "CutTable": "search",
    "find_cuts": "search", "parse_graph": "text", "print_graph": "printing", "to_torch": "frontend",
}  # fmt: skip

__all__ = [
    "Board", "Bundle", "Constraints", "CostModel", "Cut", "CutCost", "CutTable", "GraphModel",
    "Layer", "LayerGraph", "Link", "Model", "Pass", "Pipeline", "Plugin", "SplitcError", "Tensor",
    "__version__", "compile", "find_cuts", "load", "load_board", "parse_graph", "print_graph",
    "to_torch",
]  # fmt: skip


def __getattr__(name: str) -> Any:
    """Import a public name when it is first used, so that `import splitc` is quick."""
    if name in _WHERE:
        return getattr(importlib.import_module(f"splitc.{_WHERE[name]}"), name)
    raise AttributeError(f"module 'splitc' has no attribute '{name}'")
