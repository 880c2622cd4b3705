# SPDX-License-Identifier: Apache-2.0
# pyright: reportUnknownMemberType=false, reportUnknownArgumentType=false
# pyright: reportUnknownVariableType=false, reportUnknownLambdaType=false
"""From a PyTorch part to Relax, by way of torch.export."""

from __future__ import annotations

from typing import Any

from splitc.build.backend import Unsupported
from splitc.frontend.torch.model import TorchModel
from splitc.frontend.torch.read import quiet
from splitc.ir.model import Network
from splitc_targets.aten.program import layer_of, program_of
from splitc_targets.aten.refusals import operator_of, refusal
from splitc_targets.tvm import adapter


def unsupported(model: Network) -> list[Unsupported]:
    """Layers that call an operator, or one with arguments, that is not converted."""
    assert isinstance(model, TorchModel)
    with quiet():
        program = program_of(model)
    changed = (*program.graph_signature.buffers_to_mutate.values(),
               *program.graph_signature.user_inputs_to_mutate.values())  # fmt: skip
    found = [Unsupported(name, "copy_", "it is changed from run to run") for name in changed]
    for node in program.graph.nodes:
        why = refusal(node)
        if why:
            layer = layer_of(node)
            found.append(Unsupported(layer, operator_of(node), _why(model, layer) or why))
    return found


def _why(model: TorchModel, layer: str) -> str:
    """Why a module is not to be compiled, where it says so itself."""
    if layer not in model.graph.index:
        return ""
    # A layer may stand elsewhere in the module than its name says: in a pass's own corner.
    node, _ = model.layers.element[model.graph.layer(layer).outputs[0].name]
    called: Any = model.module
    called = called.get_submodule(node.target) if node.op == "call_module" else None
    return str(getattr(called, "splitc_uncompiled", ""))


def lower(model: Network) -> adapter.Module:
    """The part as a Relax module, weights as constants.

    Raises:
        UnsupportedOpError: torch.export or TVM's front end refuses it.
    """
    assert isinstance(model, TorchModel)
    with quiet():
        return adapter.lower_exported(program_of(model), layer_of)
