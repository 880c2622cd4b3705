# SPDX-License-Identifier: Apache-2.0
"""The tensor that crosses a cut, for passes that change it."""

from __future__ import annotations

from splitc.errors import IllegalCutError, UsageError
from splitc.ir.chain import FLOATS
from splitc.ir.cut import Cut
from splitc.ir.graph import Layer, LayerGraph, Tensor
from splitc.ir.model import Model


def crossing_tensor(model: Model, cut: str) -> Tensor:
    """The one floating-point tensor that crosses after a layer, for passes that change it.

    Args:
        model: The model to cut.
        cut: The layer's name, or its module's; "" for where the model is cut already.

    Raises:
        IllegalCutError: There is no such layer, nothing reads its output, an edge goes
            round it, it makes several tensors, or the tensor is not of numbers with a
            fraction.
    """
    graph = model.graph
    if not cut:
        if model.cut is None:
            hint = 'name one, cut="LAYER", or put find-min-cut before'
            raise IllegalCutError("the model has no cut", hint=hint)
        found = model.cut
    else:
        try:
            layer = graph.layer(cut)
        except UsageError as error:
            raise IllegalCutError(error.what, why=error.why, hint=error.hint) from None
        found = _cut_after(graph, layer)
    shown = f"%{found.name}"
    if cut:
        shown += f" : {graph.layer(cut).op}"
    what = f"cannot cut after '{cut or found.name}'"
    if len(found.boundary) != 1:
        names = ", ".join(t.name for t in found.boundary)
        made = {t.name for t in graph.layer(cut).outputs} if cut else set[str]()
        round_it = [t.name for t in found.boundary if t.name not in made]
        why = f"an edge goes round it: '{round_it[0]}'" if cut and round_it else ""
        raise IllegalCutError(
            what, at=shown, why=why or f"{len(found.boundary)} tensors cross: {names}",
            hint="`splitc cuts MODEL` lists cuts where one tensor crosses",
        )  # fmt: skip
    tensor = found.boundary[0]
    reason = found.why_not()
    if reason is not None:
        raise IllegalCutError(what, at=shown, why=reason)
    if tensor.dtype not in FLOATS:
        why = f"'{tensor.name}' is {tensor.dtype}: only floating-point values can be changed"
        raise IllegalCutError(what, at=shown, why=why)
    return tensor


def _cut_after(graph: LayerGraph, layer: Layer) -> Cut:
    if not any(graph.readers[t.name] for t in layer.outputs):
        before = ", ".join(
            dict.fromkeys(graph.layers[graph.producer[t]].name for t in layer.inputs)
        )
        raise IllegalCutError(
            f"cannot cut after '{layer.name}'", at=f"%{layer.name} : {layer.op}",
            why="no layer reads its output, so the tail would be empty",
            hint=f"cut after one of its inputs: {before}",
        )  # fmt: skip
    return Cut.after(graph, [layer.name])
