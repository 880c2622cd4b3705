# SPDX-License-Identifier: Apache-2.0
"""The layers of an ONNX model in normal form."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from onnx import ModelProto, NodeProto

from splitc.errors import BadModelError
from splitc.frontend.onnx.flops import flops, kind_of
from splitc.frontend.onnx.form import reads
from splitc.ir.graph import INPUT_OP, Layer, LayerGraph, Tensor

_RANDOM = ("RandomNormal", "RandomUniform", "RandomNormalLike", "RandomUniformLike",
           "Multinomial", "Bernoulli")  # fmt: skip


def build_graph(proto: ModelProto, tensors: Mapping[str, Tensor]) -> LayerGraph:
    """The layer DAG of a model in normal form.

    Args:
        proto: The model; nodes sorted and uniquely named.
        tensors: Shape and type of every tensor.

    Raises:
        BadModelError: No result is computed from an input.
    """
    graph = proto.graph
    constant = {t.name: tensors[t.name].nbytes or 0 for t in graph.initializer}
    counted: set[str] = set()
    layers = [Layer(v.name, INPUT_OP, (), (tensors[v.name],)) for v in graph.input]
    for node in graph.node:
        read = list(dict.fromkeys(reads(node)))
        # A weight that several layers share is held once: its first reader counts it.
        first = [name for name in read if name in constant and name not in counted]
        param_bytes = sum(constant[name] for name in first)
        counted.update(first)
        outputs = tuple(_known(tensors, name) for name in node.output if name)
        if all(name in constant for name in read) and node.op_type not in _RANDOM:
            constant.update({t.name: 0 for t in outputs})
            constant[outputs[0].name] = param_bytes or (outputs[0].nbytes or 0)
            continue
        layers.append(
            Layer(
                name=node.name,
                op=node.op_type.lower(),
                inputs=tuple(n for n in _layer_reads(node) if n not in constant),
                outputs=outputs,
                param_bytes=param_bytes,
                flops=flops(node, tensors),
                kind=kind_of(node, tensors),
            )
        )
    results = tuple(v.name for v in graph.output)
    given = {name: constant[name] for name in results if name in constant}
    if given:
        beside = sum(size for name, size in given.items() if name not in counted)
        _give_beside(layers, [tensors[name] for name in given], beside)
    return LayerGraph(tuple(layers), results)


def _give_beside(layers: list[Layer], constants: Sequence[Tensor], param_bytes: int) -> None:
    """Have the last layer give the results that depend on no input, beside its own.

    So they are made where that layer is, and a part never has to run without an input.

    Raises:
        BadModelError: No layer reads an input.
    """
    if not layers or not layers[-1].inputs:
        names = ", ".join(f"'{tensor.name}'" for tensor in constants)
        raise BadModelError(
            f"no layer computes anything from an input: {names} is the same whatever it is",
            why="there is nothing to split",
        )
    last = layers[-1]
    layers[-1] = replace(
        last, outputs=(*last.outputs, *constants), param_bytes=last.param_bytes + param_bytes
    )


def _layer_reads(node: NodeProto) -> list[str]:
    plain = [name for name in node.input if name]
    return [*plain, *(n for n in dict.fromkeys(reads(node)) if n not in plain)]


def _known(tensors: Mapping[str, Tensor], name: str) -> Tensor:
    return tensors.get(name, Tensor(name, None, "unknown"))
