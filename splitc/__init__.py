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

from typing import TYPE_CHECKING

from splitc.lazy_names import lazy_names, listed_names
from splitc.version import __version__

if TYPE_CHECKING:
    from splitc.build.compiler import compile
    from splitc.build.options import CompileOptions
    from splitc.build.profile_here import profile
    from splitc.build.route_spec import RouteSpec
    from splitc.builds.run import Builds, build_all
    from splitc.bundle.bundle import Bundle
    from splitc.bundle.unpack import unpack
    from splitc.cost.board import Board, load_board
    from splitc.cost.prices import CostModel, CutCost
    from splitc.errors import SplitcError
    from splitc.figures.diff import Diff, diff
    from splitc.frontend import load, to_torch
    from splitc.frontend.preprocess import Preprocess
    from splitc.ir.cut import Cut
    from splitc.ir.graph import Layer, LayerGraph, Tensor
    from splitc.ir.model import GraphModel, Model
    from splitc.ir.printing import print_graph
    from splitc.ir.text import parse_graph
    from splitc.link.link import Link
    from splitc.passes.base import Pass, Pipeline
    from splitc.plugins import Plugin
    from splitc.reporting.make import report
    from splitc.search.condition_plan import ConditionPlan, plan_for_conditions
    from splitc.search.cutter import Cutter, Solution
    from splitc.search.find import find_cuts
    from splitc.search.grid import Grid, read_grid
    from splitc.search.limits import Constraints
    from splitc.search.loss_choice import LossPlan, plan_for_loss
    from splitc.search.placing import Placed, find_placement
    from splitc.search.problem import Problem
    from splitc.search.scenario import Scenario
    from splitc.search.table import CutTable
    from splitc.search.tested import Trained, read_tested, write_tested

__all__ = [
    "Board", "Builds", "Bundle", "CompileOptions", "ConditionPlan", "Constraints", "CostModel",
    "Cut", "CutCost", "CutTable", "Cutter", "Diff", "GraphModel", "Grid", "Layer", "LayerGraph",
    "Link", "LossPlan", "Model", "Pass", "Pipeline", "Placed", "Plugin", "Preprocess", "Problem",
    "RouteSpec", "Scenario", "Solution", "SplitcError", "Tensor", "Trained", "__version__",
    "build_all", "compile", "diff", "find_cuts", "find_placement", "load", "load_board",
    "parse_graph", "plan_for_conditions", "plan_for_loss", "print_graph", "profile", "read_grid",
    "read_tested", "report", "to_torch", "unpack", "write_tested",
]  # fmt: skip

__getattr__ = lazy_names(__name__, {
    "Board": "cost.board", "load_board": "cost.board", "Bundle": "bundle.bundle",
    "unpack": "bundle.unpack",
    "build_all": "builds.run", "Builds": "builds.run", "CompileOptions": "build.options",
    "compile": "build.compiler", "RouteSpec": "build.route_spec",
    "profile": "build.profile_here",
    "CostModel": "cost.prices", "CutCost": "cost.prices",
    "Diff": "figures.diff", "diff": "figures.diff",
    "Cut": "ir.cut", "SplitcError": "errors", "load": "frontend", "to_torch": "frontend",
    "Preprocess": "frontend.preprocess",
    "Layer": "ir.graph", "LayerGraph": "ir.graph", "Tensor": "ir.graph", "Link": "link.link",
    "GraphModel": "ir.model", "Model": "ir.model", "Pass": "passes.base",
    "Pipeline": "passes.base", "Plugin": "plugins", "Constraints": "search.limits",
    "Placed": "search.placing", "find_placement": "search.placing",
    "Problem": "search.problem", "Scenario": "search.scenario", "Cutter": "search.cutter",
    "Solution": "search.cutter", "CutTable": "search.table", "find_cuts": "search.find",
    "parse_graph": "ir.text", "print_graph": "ir.printing", "LossPlan": "search.loss_choice",
    "ConditionPlan": "search.condition_plan", "plan_for_conditions": "search.condition_plan",
    "report": "reporting.make", "Grid": "search.grid", "read_grid": "search.grid",
    "plan_for_loss": "search.loss_choice", "Trained": "search.tested",
    "read_tested": "search.tested", "write_tested": "search.tested",
})  # fmt: skip

__dir__ = listed_names(__name__)
