# SPDX-License-Identifier: Apache-2.0
"""An ONNX network for several times as many samples a call.

Exporters write the number of samples into the constants that reshapes and expansions read, and
join stored rows of one sample to every sample. Here those are found again by following the
axis that the samples are on; whether all were found is for the caller to check by running it.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

import numpy as np
from onnx import ModelProto, NodeProto, helper, numpy_helper

from splitc.errors import BadModelError
from splitc.frontend.onnx.form import reads
from splitc.frontend.onnx.read import dtype_name, tensor_of
from splitc.frontend.onnx.shapes import Walk, value_info
from splitc.ir.graph import Tensor
from splitc.ir.kinds import kind_of

_JOINING = ("Concat", "Where")


def reshaped(given: Sequence[int], axis: int, made: Sequence[int], batch: int) -> int | None:
    """The axis of the samples behind a reshape: as many elements stand before it as before.

    Samples are the outermost elements along their axis: k rows of one, then k of the next.
    """
    before = math.prod(given[:axis])
    for place, extent in enumerate(made):
        if math.prod(made[:place]) == before and extent % batch == 0:
            return place
    return None


def with_batch(
    proto: ModelProto, tensors: Mapping[str, Tensor], count: int
) -> tuple[ModelProto, dict[str, Tensor]]:
    """A model whose inputs and results hold so many times as many samples along their first axis.

    Args:
        proto: A model in normal form, whose inputs have the samples as their first extent.
        tensors: Its tensors.
        count: How many times.

    Returns:
        The model and its tensors.

    Raises:
        BadModelError: Names the layer that computes with the number of samples, or the input or
            result that has no axis for them.
    """
    made = ModelProto()
    made.CopyFrom(proto)
    del made.graph.value_info[:]
    batches = {_first(tensors[value.name]) for value in made.graph.input}
    if len(batches) != 1:
        raise BadModelError("its inputs hold different numbers of samples")
    for value in made.graph.input:
        value.type.tensor_type.shape.dim[0].dim_value *= count
    grown = _Grown(made, tensors, batches.pop(), count)
    nodes = list(made.graph.node)
    del made.graph.node[:]
    for node in nodes:
        made.graph.node.extend(grown.nodes(node))
    for value in made.graph.output:
        if grown.axes.get(value.name) != 0:
            why = "its first axis is not that of the samples"
            raise BadModelError(f"result '{value.name}' cannot hold several samples", why=why)
        value.CopyFrom(helper.make_value_info(value.name, grown.walk.known[value.name]))
    found = {name: tensor_of(name, one) for name, one in grown.walk.known.items()}
    for tensor in made.graph.initializer:
        dtype = dtype_name(tensor.data_type)
        found[tensor.name] = Tensor(tensor.name, tuple(tensor.dims), dtype)
    return made, found


def _first(tensor: Tensor) -> int:
    if not tensor.shape or not tensor.shape[0]:
        raise BadModelError(
            f"input '{tensor.name}' cannot hold several samples", why="it has no axis for them"
        )
    return tensor.shape[0]


class _Grown:
    """A model that grows node by node.

    Args:
        model: Where new constants go; its inputs have grown already.
        tensors: The model's tensors before.
        batch: Samples before.
        count: How many times as many there are now.
    """

    def __init__(
        self, model: ModelProto, tensors: Mapping[str, Tensor], batch: int, count: int
    ) -> None:
        self._model = model
        self._before = tensors
        self._batch = batch
        self._count = count
        self._taken = set(tensors)
        self._read = {name for node in model.graph.node for name in reads(node)}
        self._read |= {value.name for value in model.graph.output}
        self.walk = Walk(tuple(model.opset_import), {}, {}, {})
        self.walk.enter(model.graph, [None] * len(model.graph.input))
        self.axes: dict[str, int] = {value.name: 0 for value in model.graph.input}
        """The axis of the samples in every tensor that hangs on an input."""

    def nodes(self, node: NodeProto) -> Iterator[NodeProto]:
        """A node for more samples, behind what has to stand before it."""
        if not any(name in self.axes for name in reads(node)):
            self.walk.step(node)
            yield node
            return
        if node.domain in ("", "ai.onnx"):
            if node.op_type == "Reshape":
                self._reshape(node)
            elif node.op_type == "Expand":
                self._expand(node)
            elif node.op_type == "Resize" and len(node.input) > 3 and node.input[3]:
                self._resize(node)
            elif node.op_type in _JOINING or kind_of(node.op_type.lower()) == "elementwise":
                yield from self._repeat(node)
        try:
            self.walk.step(node)
        except BadModelError as error:
            raise self._refused(node, error.why) from error
        for name in node.output:
            if name in self._read:
                self._follow(node, name)
        yield node

    def _follow(self, node: NodeProto, name: str) -> None:
        """Find the axis of the samples in what a node makes: the one that has grown."""
        tensor = self._before.get(name, Tensor(name, None, "unknown"))
        before, now = tensor.shape, self._shape_now(name)
        if now is None and before and before[0] and 0 in map(self.axes.get, node.input):
            # An operator that onnx does not know: most leave the samples where they are.
            now = (before[0] * self._count, *before[1:])
            self.walk.known[name] = value_info(replace(tensor, shape=now)).type
        if before is None or now is None or None in (*before, *now) or len(before) != len(now):
            raise self._refused(node, f"the shape of '{name}' is not known before it runs")
        grown = [i for i, (a, b) in enumerate(zip(before, now, strict=True)) if a != b]
        if len(grown) != 1 or now[grown[0]] != self._count * (before[grown[0]] or 0):
            raise self._refused(node, f"'{name}' does not grow with the samples")
        self.axes[name] = grown[0]

    def _shape_now(self, name: str) -> tuple[int | None, ...] | None:
        found = self.walk.known.get(name)
        return None if found is None else tensor_of(name, found).shape

    def _refused(self, node: NodeProto, why: str) -> BadModelError:
        at = f"layer '{node.name}' ({node.op_type})"
        return BadModelError("it computes with the number of samples", at=at, why=why)

    def _reshape(self, node: NodeProto) -> None:
        source, name = node.input[0], node.output[0]
        shape = list(self._before[name].static_shape)
        axis = self.axes.get(source)
        given = self._before[source].static_shape
        place = None if axis is None else reshaped(given, axis, shape, self._batch)
        if place is None:
            raise self._refused(node, f"the samples are on no axis of '{name}'")
        self._set_shape(node, 1, shape, place)

    def _expand(self, node: NodeProto) -> None:
        name = node.output[0]
        shape = list(self._before[name].static_shape)
        axis = self.axes.get(node.input[0])
        if axis is None:
            raise self._refused(node, f"the shape of '{name}' is computed")
        self._set_shape(node, 1, shape, axis + len(shape) - self._rank(node.input[0]))

    def _resize(self, node: NodeProto) -> None:
        axis, name = self.axes.get(node.input[0]), node.output[0]
        partial = any(attribute.name == "axes" for attribute in node.attribute)
        if axis is not None and not partial:
            self._set_shape(node, 3, list(self._before[name].static_shape), axis)

    def _set_shape(self, node: NodeProto, place: int, shape: list[int], axis: int) -> None:
        """Have a node read a shape that has grown along an axis."""
        shape[axis] *= self._count
        node.input[place] = self._store(f"{node.output[0]}.shape", np.array(shape, np.int64))

    def _repeat(self, node: NodeProto) -> Iterator[NodeProto]:
        """Stored tensors that go with every sample, where numpy's rules do not repeat them.

        A tensor that stands for all samples alike has an extent of 1 there, which broadcasts
        but is not joined; one that differs from sample to sample is repeated for the new ones.
        """
        rank = max(self._rank(name) for name in node.input if name)
        axis = next(
            self.axes[name] + rank - self._rank(name) for name in node.input if name in self.axes
        )
        if node.op_type == "Concat":
            along = next(a.i for a in node.attribute if a.name == "axis") % rank
            if along == axis:
                raise self._refused(node, "it joins tensors along the axis of the samples")
        for k, name in enumerate(node.input):
            place = axis - rank + self._rank(name) if name else -1
            if not name or name in self.axes or place < 0:
                continue
            extent = self._before[name].static_shape[place]
            if extent == self._batch and (extent > 1 or node.op_type == "Concat"):
                repeats = np.ones(self._rank(name), np.int64)
                repeats[place] = self._count
                many = self._named(f"{name}.repeated")
                factors = self._store(f"{many}.factors", repeats)
                tile = helper.make_node("Tile", [name, factors], [many], many)
                self.walk.step(tile)
                node.input[k] = many
                yield tile

    def _rank(self, name: str) -> int:
        return len(self._before[name].static_shape)

    def _store(self, name: str, values: np.ndarray[tuple[int, ...], np.dtype[np.int64]]) -> str:
        constant = numpy_helper.from_array(values, self._named(name))
        self._model.graph.initializer.append(constant)
        self.walk.known[constant.name] = helper.make_tensor_type_proto(
            constant.data_type, constant.dims
        )
        self.walk.values[constant.name] = constant
        return constant.name

    def _named(self, name: str) -> str:
        while name in self._taken:
            name += "'"
        self._taken.add(name)
        return name
