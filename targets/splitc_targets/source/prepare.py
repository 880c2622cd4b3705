# SPDX-License-Identifier: Apache-2.0
# pyright: reportUnknownMemberType=false
"""Rewrite an ONNX graph until TVM's front end reads every node of it rightly.

What hangs on fixed shapes alone is computed here: no Shape, Range or arithmetic with extents
reaches TVM. Operators that onnx defines as functions of others, and that TVM does not know or
misreads, are replaced by those. Others are written as what TVM reads rightly (forms_*.py).
`table.py` says what is left to refuse.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping

import numpy as np
from onnx import GraphProto, ModelProto, NodeProto, helper

from splitc.frontend.onnx.form import reads
from splitc.frontend.onnx.older import opset_of
from splitc.frontend.onnx.read import dtype_name, subgraphs_of
from splitc.frontend.onnx.shapes import tensor_of
from splitc.ir.graph import Tensor
from splitc_targets.source import forms_arrays as arrays
from splitc_targets.source import forms_counts as counts
from splitc_targets.source import forms_numbers as numbers
from splitc_targets.source import forms_signal as signal
from splitc_targets.source import forms_windows as windows
from splitc_targets.source.draft import Draft, Node
from splitc_targets.source.einsum import einsum
from splitc_targets.source.forms_features import DOMAIN, FEATURES
from splitc_targets.source.forms_resize import resize
from splitc_targets.source.forms_sequences import reverse_sequence
from splitc_targets.source.known import (
    body_of,
    branch_of,
    in_single,
    infer,
    stored_by,
    values_of,
)
from splitc_targets.source.settled import counted_range, settled
from splitc_targets.source.unrolled import turns_of


def _layer_norm(node: Node) -> bool:
    """Its mean is read, it is scaled by what is broadcast, or wider than TVM knows."""
    shape = node.shape()
    if shape is None or node.dtype() not in ("float16", "float32"):
        return shape is not None
    axis = node.given.get("axis", -1) % len(shape)
    plain = all(not node.input(k) or node.shape(k) == shape[axis:] for k in (1, 2))
    return not plain or node.reads(1) or node.reads(2)


def _has_axes(node: Node) -> bool:
    return node.shape() != ()


def _always(_: Node) -> bool:
    return True


FUNCTIONS: dict[str, Callable[[Node], bool]] = {
    "Celu": _has_axes,
    "LayerNormalization": _layer_norm,
    **dict.fromkeys(
        (
            "Attention", "BlackmanWindow", "CausalConvWithState", "CenterCropPad",
            "HammingWindow", "HannWindow", "LinearAttention",
            "NegativeLogLikelihoodLoss", "RotaryEmbedding", "SoftmaxCrossEntropyLoss", "SwiGLU",
            "Swish",
        ),
        _always,
    ),
}  # fmt: skip
"""Operators that are replaced by the function that defines them, and when."""

SINGLE = frozenset(("Elu", "GroupNormalization", "LRN", "MeanVarianceNormalization", "Selu"))
"""Operators that TVM's front end writes with float32 constants."""

REWRITES: dict[str, tuple[Callable[[Node], bool], ...]] = {
    "AveragePool": (windows.explicit_pads,),
    "BatchNormalization": (numbers.trained,),
    "Celu": (numbers.celu,),
    "Clip": (numbers.clip,),
    "Conv": (windows.explicit_pads,),
    "Col2Im": (arrays.from_patches,),
    "ConvTranspose": (windows.transposed_conv,),
    "CumProd": (arrays.products_so_far,),
    "DFT": (signal.fourier,),
    "DeformConv": (windows.deformed_conv,),
    "Det": (arrays.determinant,),
    "Dropout": (numbers.dropout,),
    "Einsum": (einsum,),
    "EyeLike": (numbers.eye_like,),
    "Hardmax": (numbers.flat_hardmax, numbers.hardmax),
    "IsInf": (numbers.is_inf,),
    "LRN": (windows.response_normalization,),
    "LpNormalization": (arrays.unit_norm,),
    "LpPool": (windows.norm_pool,),
    "MaxPool": (counts.pooled_places, windows.max_pool),
    "MaxUnpool": (windows.unpool,),
    "MeanVarianceNormalization": (numbers.mean_and_variance,),
    "OneHot": (numbers.one_hot,),
    "PRelu": (numbers.parametric_relu,),
    "Pad": (windows.pads_within,),
    "Pow": (numbers.power,),
    "Range": (counted_range,),
    "RMSNormalization": (numbers.root_mean_square,),
    "Resize": (resize,),
    "ReverseSequence": (reverse_sequence,),
    "RoiAlign": (windows.regions,),
    "STFT": (signal.short_time_fourier,),
    "SequenceInsert": (numbers.insert,),
    "Shrink": (numbers.shrink,),
    "SpaceToDepth": (windows.space_to_depth,),
    "SplitToSequence": (numbers.to_sequence,),
    "TensorScatter": (arrays.written_at,),
    "TfIdfVectorizer": (counts.ngrams,),
    "ThresholdedRelu": (numbers.thresholded,),
    "Unsqueeze": (arrays.axis_as_vector,),
    **dict.fromkeys(
        (
            "ReduceL1", "ReduceL2", "ReduceLogSum", "ReduceLogSumExp", "ReduceMax", "ReduceMean",
            "ReduceMin", "ReduceProd", "ReduceSum", "ReduceSumSquare",
        ),
        (numbers.reduction,),
    ),
}  # fmt: skip
"""Operators and what may write them otherwise, tried in turn."""


def draft_of(proto: ModelProto, tensors: Mapping[str, Tensor], was: int) -> Draft:
    """The graph of a model, rewritten.

    Args:
        proto: The model.
        tensors: Shape and type of what is known.
        was: The opset that the file named.

    Returns:
        Nodes of default form; the layer that each belongs to is its `doc_string`.
    """
    draft = Draft(dict(tensors), {}, opset_of(proto), was)
    _rewrite(draft, proto.graph, "")
    return draft


def _rewrite(draft: Draft, graph: GraphProto, owner: str) -> None:
    """Write the nodes of a graph; `owner` is the layer that has it inside, if one does."""
    results = {value.name for value in graph.output}
    draft.read = {name for node in graph.node for name in reads(node)} | results
    for tensor in graph.initializer:
        draft.stored[tensor.name] = tensor
        known = Tensor(tensor.name, tuple(tensor.dims), dtype_name(tensor.data_type))
        draft.tensors[tensor.name] = known
    todo = deque((_copy(node), owner or node.name) for node in graph.node)
    while todo:
        node, layer = todo.popleft()
        draft.at(layer)
        if node.domain not in ("", "ai.onnx"):
            _of_other_domain(draft, node, layer)
            continue
        body = _step(draft, node, layer, results)
        for each in reversed(body):
            draft.read.update(each.input)
            todo.appendleft((each, layer))
    draft.nodes = _live(draft.nodes, results)


def _of_other_domain(draft: Draft, node: NodeProto, layer: str) -> None:
    """Write a node of another domain: as ONNX's own operators, or as it is."""
    write = FEATURES.get(node.op_type) if node.domain == DOMAIN else None
    before = len(draft.nodes)
    if write is None or not write(Node(node, draft, layer)):
        draft.keep(node)
    for made in draft.nodes[before:]:
        infer(made, draft)


def _bodies(draft: Draft, node: NodeProto, layer: str) -> None:
    """Rewrite the graphs inside a node."""
    for attribute in node.attribute:
        for graph in subgraphs_of(attribute):
            inner = Draft(
                dict(draft.tensors), dict(draft.stored), draft.opset, draft.was,
                prefix=f"{draft.prefix}{len(draft.nodes)}.{attribute.name}.",
            )  # fmt: skip
            for value in graph.input:
                inner.tensors[value.name] = tensor_of(value.name, value.type)
                inner.stored.pop(value.name, None)
            _rewrite(inner, graph, layer)
            draft.bodies.append(inner)
            del graph.node[:]
            graph.node.extend(inner.nodes)
            graph.initializer.extend(inner.made)


def _copy(node: NodeProto) -> NodeProto:
    copy = NodeProto()
    copy.CopyFrom(node)
    return copy


def _step(draft: Draft, node: NodeProto, layer: str, results: set[str]) -> list[NodeProto]:
    """Write one node; gives the nodes that stand for it where those are still to be written."""
    infer(node, draft)
    seen = Node(node, draft, layer)
    said = settled(seen)
    if said is not None:
        return [said]
    turns = turns_of(seen)
    if turns is not None:
        return turns
    _bodies(draft, node, layer)
    if node.op_type == "Constant":
        value = stored_by(node)
        values = None if value is None else [value]
    else:
        values = values_of(seen)
    if values is not None:
        for name, value in zip(filter(None, node.output), values, strict=True):
            made = draft.constant(value, f"{name}//known" if name in results else name)
            if name in results:
                draft.stored[name] = draft.stored[made]
                draft.add("Identity", made, output=name)
        return []
    body = _replaced(seen)
    if body is not None:
        return body
    before = len(draft.nodes)
    if not any(rewrite(seen) for rewrite in REWRITES.get(node.op_type, ())):
        draft.keep(node)
    for made in draft.nodes[before:]:
        infer(made, draft)
    return []


def _replaced(node: Node) -> list[NodeProto] | None:
    """The nodes that stand for one, and are to be written in their turn; None where it stays."""
    if node.op == "If":
        return branch_of(node)
    if node.op in SINGLE:
        return in_single(node)
    if node.op == "LayerNormalization":
        wider = _widened(node)
        if wider is not None:
            return wider
    wanted = FUNCTIONS.get(node.op)
    return body_of(node) if wanted is not None and wanted(node) else None


def _widened(node: Node) -> list[NodeProto] | None:
    """LayerNormalization with a scale and bias of the size of what they scale.

    They may be smaller and are broadcast; the function that defines it flattens them.
    """
    shape = node.shape()
    if shape is None:
        return None
    wide = shape[node.given.get("axis", -1) % len(shape) :]
    copy = _copy(node.proto)
    made: list[NodeProto] = []
    for place in (1, 2):
        narrow = node.shape(place) if node.input(place) else wide
        if narrow is None or narrow == wide or not _spreads(narrow, wide):
            continue
        extents = node.draft.constant(np.array(wide, np.int64))
        copy.input[place] = node.draft.fresh("Expand")
        names = [node.input(place), extents]
        made.append(helper.make_node("Expand", names, [copy.input[place]]))
    return [*made, copy] if made else None


def _spreads(narrow: tuple[int, ...], wide: tuple[int, ...]) -> bool:
    """Whether one shape is broadcast to another."""
    last = wide[len(wide) - len(narrow) :]
    return len(narrow) <= len(wide) and all(a in (1, b) for a, b in zip(narrow, last, strict=True))


def _live(nodes: list[NodeProto], results: set[str]) -> list[NodeProto]:
    """The nodes that a result hangs on."""
    needed, kept = set(results), list[NodeProto]()
    for node in reversed(nodes):
        if any(name in needed for name in node.output):
            kept.append(node)
            needed.update(reads(node))
    return kept[::-1]


def _same(written: NodeProto, given: NodeProto) -> bool:
    """Whether a node was kept as it is."""
    if written.op_type != given.op_type or len(written.attribute) != len(given.attribute):
        return False
    copy = _copy(written)
    copy.ClearField("doc_string")
    if given.HasField("doc_string"):
        copy.doc_string = given.doc_string
    return copy == given


def model_of(proto: ModelProto, draft: Draft) -> ModelProto:
    """A model of the nodes of a draft; the model itself where nothing was rewritten."""
    if len(draft.nodes) == len(proto.graph.node) and all(map(_same, draft.nodes, proto.graph.node)):
        return proto
    made = ModelProto(ir_version=proto.ir_version, producer_name=proto.producer_name)
    made.opset_import.extend(proto.opset_import)
    graph: GraphProto = made.graph
    graph.name = proto.graph.name
    graph.node.extend(draft.nodes)
    graph.input.extend(proto.graph.input)
    graph.output.extend(proto.graph.output)
    needed = {name for node in draft.nodes for name in reads(node)}
    graph.initializer.extend(t for t in proto.graph.initializer if t.name in needed)
    graph.initializer.extend(t for t in draft.made if t.name in needed)
    return made
