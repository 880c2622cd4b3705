# SPDX-License-Identifier: Apache-2.0
# pyright: reportUnknownMemberType=false, reportUnknownArgumentType=false
# pyright: reportUnknownVariableType=false, reportPrivateUsage=false
"""A PyTorch network as the operators that are converted to Relax, each with its layer's name."""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache
from typing import Any

import torch
from torch import fx, nn
from torch._export.verifier import SpecViolationError
from torch.export import ExportedProgram, default_decompositions
from torch.fx.traceback import preserve_node_meta

from splitc.errors import UnsupportedOpError, one_line
from splitc.frontend.torch.form import NAME
from splitc.frontend.torch.model import TorchModel
from splitc.frontend.torch.read import quiet
from splitc.frontend.torch.trace import FAILURES, as_at_inference
from splitc_targets.aten import (
    bags,
    constants,
    decompositions,
    distances,
    promotion,
    recurrent,
    resampling,
    scatters,
    windows,
)
from splitc_targets.aten.promotion import Rewrite

_LAYER = "splitc_layer"
_CHECKS = ("_assert_tensor_metadata", "_assert_scalar", "_assert_async")
"""What stops a run whose values are not as they must be: PyTorch's, which parts do not have."""


@cache
def rewrites() -> dict[Any, Rewrite]:
    """The operators that are taken apart here, with how."""
    return {
        **promotion.rewrites(),
        **decompositions.rewrites(),
        **windows.rewrites(),
        **resampling.rewrites(),
        **scatters.rewrites(),
        **distances.rewrites(),
        **bags.rewrites(),
    }


def _table(nodes: Iterable[fx.Node]) -> dict[Any, Any]:
    """How a program of these nodes is taken apart."""
    nodes = list(nodes)
    whole = recurrent.kept_whole(nodes) | bags.kept_whole(nodes)
    table = {**default_decompositions(), **rewrites()}
    table = {operator: how for operator, how in table.items() if operator not in whole}
    del table[torch.ops.aten._unsafe_index_put.default]  # what `index_put` is rewritten to
    return table


def program_of(model: TorchModel) -> ExportedProgram:
    """The network at inference, taken apart, without what it computes from no input.

    Raises:
        UnsupportedOpError: torch.export refuses it.
    """
    found: ExportedProgram | None = model.__dict__.get(_LAYER)
    if found is None:
        found = _taken_apart(model)
        model.__dict__[_LAYER] = found  # a frozen data class: as its cached properties are kept
    return found


def layer_of(node: fx.Node) -> str:
    """The layer that a node of a program belongs to."""
    return str((node.meta.get("custom") or {}).get(_LAYER, node.name))


def _taken_apart(model: TorchModel) -> ExportedProgram:
    try:
        with quiet(), as_at_inference(model.module), preserve_node_meta():
            program = torch.export.export(_Named(model.module), model.examples(), strict=False)
            program = program.run_decompositions(_table(program.graph.nodes))
    except (*FAILURES, SpecViolationError) as error:
        raise UnsupportedOpError("torch.export refuses the module", why=one_line(error)) from error
    graph = program.graph
    for node in list(graph.nodes):
        if (
            not node.users
            and str(getattr(node.target, "__name__", "")).partition(".")[0] in _CHECKS
        ):
            graph.erase_node(node)
        elif _asks_for_not_a_number(node):
            node.target, node.args = torch.ops.aten.isnan.default, (node.args[0],)
    constants.fold(graph)
    graph.eliminate_dead_code()
    return program


def _asks_for_not_a_number(node: fx.Node) -> bool:
    """Whether it is x != x on floats, which TVM's simplifier answers with no."""
    if node.target is not torch.ops.aten.ne.Tensor or node.args[0] is not node.args[1]:
        return False
    operand: Any = node.args[0]
    return bool(operand.meta["val"].dtype.is_floating_point)


class _Named(nn.Module):
    """A graph module whose nodes' layers are remembered while it is exported."""

    def __init__(self, module: fx.GraphModule) -> None:
        super().__init__()
        self.network = module
        self.training = module.training

    def forward(self, *tensors: torch.Tensor) -> Any:
        """What the network makes of them."""
        return _Naming(self.network).run(*tensors)


class _Naming(fx.Interpreter):
    def run_node(self, n: fx.Node) -> Any:
        """Run a node; what it is exported as carries the name."""
        n.meta["custom"] = {_LAYER: str(n.meta.get(NAME, n.name))}
        return super().run_node(n)
