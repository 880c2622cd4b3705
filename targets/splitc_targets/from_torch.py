# SPDX-License-Identifier: Apache-2.0
# pyright: reportUnknownMemberType=false, reportUnknownArgumentType=false
# pyright: reportUnknownVariableType=false, reportUnknownLambdaType=false
"""From a PyTorch part to Relax, by way of torch.export."""

from __future__ import annotations

from typing import Any

from splitc.backend import Unsupported
from splitc.frontend.torch import TorchModel
from splitc.frontend.torch_read import quiet
from splitc.model import Network
from splitc_targets import adapter
from splitc_targets.aten.program import layer_of, program_of


def unsupported(model: Network) -> list[Unsupported]:
    """Layers that call an operator, or one with arguments, that is not converted."""
    assert isinstance(model, TorchModel)
    with quiet():
        program = program_of(model)
    known = adapter.converted_calls()
    found: list[Unsupported] = []
    for node in program.graph.nodes:
        name = str(getattr(node.target, "__name__", node.target))
        if node.op != "call_function" or name in known or name.partition(".")[0] in known:
            continue
        layer = layer_of(node)
        why = _why(model, layer) or "TVM has no converter for it"
        found.append(Unsupported(layer, name, why))
    return found


def _why(model: TorchModel, layer: str) -> str:
    """Why a module is not to be compiled, where it says so itself."""
    called: Any = dict(model.module.named_modules()).get(layer)
    return str(getattr(called, "splitc_uncompiled", ""))


def lower(model: Network) -> adapter.Module:
    """The part as a Relax module, weights as constants.

    Raises:
        UnsupportedOpError: torch.export or TVM's front end refuses it.
    """
    assert isinstance(model, TorchModel)
    with quiet():
        return adapter.lower_exported(program_of(model), layer_of)
