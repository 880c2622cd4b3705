# SPDX-License-Identifier: Apache-2.0
"""The ONNX front end: an ONNX graph as a `Model`."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import onnx
from onnx import ModelProto, NodeProto, TensorProto, numpy_helper

from splitc.arrays import nudged
from splitc.errors import BadModelError, UnsupportedOpError
from splitc.frontend.onnx.batch import with_batch
from splitc.frontend.onnx.channels_last import turn
from splitc.frontend.onnx.form import name_nodes, reads, runnable
from splitc.frontend.onnx.indices import divisors, index_extents
from splitc.frontend.onnx.insert import bypass_nodes, insert_nodes
from splitc.frontend.onnx.layers import build_graph
from splitc.frontend.onnx.read import (
    PROTO_LIMIT,
    digest_of,
    stored_bytes,
)
from splitc.frontend.onnx.settled import settled_inputs
from splitc.frontend.onnx.shapes import value_info
from splitc.ir.chain import Code, Insertion, check_bypass, check_chain, codes_of
from splitc.ir.cut import Cut
from splitc.ir.graph import LayerGraph, Tensor
from splitc.ir.layout import Layouts
from splitc.ir.model import SplitInTwo
from splitc.ir.segment import Segment
from splitc.scratch import scratch

if TYPE_CHECKING:
    from splitc.arrays import Array
    from splitc.runtime.ort import Reference, Session

_FLOATS = (TensorProto.FLOAT, TensorProto.DOUBLE)


@dataclass(frozen=True)
class OnnxModel(SplitInTwo):
    """A layer graph with its weights in an ONNX model.

    Nodes that compute constants from constants are no layers: they belong to
    the layers that read their results, and go with them when the model is split.
    A network's result that is a constant is given by the last layer beside its own.

    Args:
        proto: The ONNX model in normal form; nodes are named like layers.
        graph: The layer DAG.
        tensors: Every tensor of the model by name, weights included.
        digest: sha256 of the source file, or of the model given in memory.
        cut: The cut a pass chose.
        note: What the reader should know: say, that onnxsim gave up.
        codes: Of tensors that are codes, how lost elements are read.
    """

    proto: ModelProto = field(repr=False)
    graph: LayerGraph
    tensors: Mapping[str, Tensor] = field(repr=False)
    digest: str
    cut: Cut | None = None
    note: str = ""
    codes: Mapping[str, Code] = field(default_factory=dict[str, Code], repr=False)

    @property
    def name(self) -> str:
        """The ONNX graph's name."""
        return self.proto.graph.name

    @property
    def index_extents(self) -> dict[str, int]:
        """How many places an input's elements choose from, by input name, where it is indices."""
        return index_extents(self.proto.graph, self.tensors)

    @property
    def divisors(self) -> frozenset[str]:
        """The inputs whose quotients are integers: 0 has no meaning there."""
        return divisors(self.proto.graph, self.tensors)

    @property
    def settled(self) -> dict[str, Array]:
        """The values of inputs that decide declared shapes, by input name."""
        return settled_inputs(self.proto.graph, self.tensors)

    def with_graph(self, graph: LayerGraph) -> OnnxModel:
        """The model with an annotated graph over the same layers."""
        return replace(self, graph=graph)

    def with_cut(self, cut: Cut) -> OnnxModel:
        """The model with a chosen cut."""
        return replace(self, cut=cut)

    def fingerprint(self) -> str:
        """Changes when the graph, the cut or the weights do."""
        text = str(self.graph) + (self.cut.name if self.cut else "") + self.digest
        return hashlib.sha256(text.encode()).hexdigest()

    def insert(self, tensor: str, chain: Sequence[Insertion]) -> OnnxModel:
        """The model with a chain of layers behind a tensor, each one node.

        Raises:
            UnsupportedOpError: ONNX has no operator for one of them.
        """
        check_chain(self.graph, tensor, chain)
        proto, tensors = insert_nodes(self.proto, self.tensors, tensor, chain)
        return self._changed(proto, tensors, {**self.codes, **codes_of(tensor, chain)})

    def fed(self, name: str, given: Tensor, chain: Sequence[Insertion]) -> OnnxModel:
        """The model whose input is another tensor, of which a chain of layers makes the old one.

        Raises:
            UnsupportedOpError: ONNX has no operator for one of them.
        """
        check_chain(self.graph, name, chain)
        proto, tensors = insert_nodes(self.proto, self.tensors, name, chain)
        for value in proto.graph.input:
            if value.name == name:
                value.CopyFrom(value_info(given))
        made = self._changed(proto, {**tensors, name: given}, self.codes)
        return replace(made, digest=self.digest)

    def bypass(self, layers: Collection[str]) -> OnnxModel:
        """The model without some layers of one input and one output."""
        check_bypass(self.graph, layers)
        return self._changed(bypass_nodes(self.proto, layers), self.tensors, self.codes)

    def replace_head(self, cut: Cut, chain: Sequence[Insertion]) -> OnnxModel:
        """A new head has to be trained, which an ONNX graph cannot be.

        Raises:
            UnsupportedOpError: Always.
        """
        raise UnsupportedOpError(
            f"the head before '{cut.name}' cannot be replaced in an ONNX graph",
            why="the new one has to be trained",
            hint="load the network as a PyTorch module, or convert it: splitc.to_torch(model)",
        )

    def _changed(
        self, proto: ModelProto, tensors: Mapping[str, Tensor], codes: Mapping[str, Code]
    ) -> OnnxModel:
        graph = build_graph(proto, tensors)
        return OnnxModel(proto, graph, tensors, digest_of(proto), note=self.note, codes=codes)

    def extract(self, segment: Segment, layouts: Layouts | None = None) -> OnnxModel:
        """A segment of this model's graph as a valid ONNX model, nothing dead in it.

        Constants that several segments read stand in each.

        Args:
            segment: What to take out.
            layouts: How the tensors that it reads and makes lie; a map that crosses
                channels-last does so under its own name: the segment's last layer or its
                first transposes it, which costs nothing where code lays maps so anyway.
        """
        outputs = [tensor.name for tensor in segment.makes]
        wanted = set(segment.layers)
        nodes = [node for node in self.proto.graph.node if node.name in wanted]
        nodes = [*self._constant_nodes(nodes, outputs), *nodes]
        part = ModelProto(ir_version=self.proto.ir_version, producer_name="splitc")
        part.opset_import.extend(self.proto.opset_import)
        part.graph.name = segment.name
        part.graph.node.extend(nodes)
        needed = {name for node in nodes for name in reads(node)}
        part.graph.initializer.extend(
            t for t in self.proto.graph.initializer if t.name in needed or t.name in outputs
        )
        declared = {v.name: v for v in self.proto.graph.output}
        part.graph.input.extend(value_info(tensor) for tensor in segment.reads)
        for tensor in segment.makes:
            # A result that is no tensor, or of unknown rank: what the source declares stands.
            known = tensor.shape is not None or tensor.name not in declared
            part.graph.output.append(value_info(tensor) if known else declared[tensor.name])
        turned = segment.turned(layouts or {})
        tensors = turn(part.graph, self.tensors, turned) if turned else self.tensors
        # A node may be called like a tensor that comes in, which is an input layer now.
        name_nodes(part.graph)
        names = ",".join((*outputs, *(f"{name}:channels-last" for name in turned)))
        digest = hashlib.sha256(f"{self.digest}:{segment.name}:{names}".encode())
        return OnnxModel(part, build_graph(part, tensors), tensors, digest.hexdigest())

    def batched(self, count: int) -> OnnxModel:
        """The model for so many times as many samples, along the first axis of what crosses.

        Raises:
            BadModelError: It computes with the number of samples.
        """
        proto, tensors = with_batch(self.proto, self.tensors, count)
        name_nodes(proto.graph)
        digest = hashlib.sha256(f"{self.digest}:x{count}".encode()).hexdigest()
        return OnnxModel(proto, build_graph(proto, tensors), tensors, digest)

    def nudged(self, seed: int) -> OnnxModel:
        """The model with each weight up to two of its type's steps off; see `Network.nudged`."""
        rng = np.random.Generator(np.random.PCG64(seed))
        proto = ModelProto()
        proto.CopyFrom(self.proto)
        for tensor in proto.graph.initializer:
            if len(tensor.dims) > 1 and tensor.data_type in _FLOATS:
                array = nudged(numpy_helper.to_array(tensor), rng)
                tensor.CopyFrom(numpy_helper.from_array(array, tensor.name))
        return replace(self, proto=proto)

    def _constant_nodes(
        self, nodes: Iterable[NodeProto], results: Iterable[str]
    ) -> list[NodeProto]:
        """The nodes that compute what layers, or a part's results, have of constants."""
        layer_names = self.graph.index
        makers = {
            name: node
            for node in self.proto.graph.node
            if node.name not in layer_names
            for name in node.output
        }
        wanted: set[str] = set()
        todo = [*results, *(name for node in nodes for name in reads(node))]
        while todo:
            maker = makers.get(todo.pop())
            if maker is not None and maker.name not in wanted:
                wanted.add(maker.name)
                todo.extend(reads(maker))
        return [node for node in self.proto.graph.node if node.name in wanted]

    def run(self, inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Run the model with onnxruntime on the CPU.

        Args:
            inputs: Arrays by input name, of the graph's shapes and dtypes.

        Returns:
            Arrays by result name.

        Raises:
            BadModelError: onnxruntime cannot load or run it, or gives a result of another
                shape than was found: what the file says of a tensor is not true.
        """
        missing = [t.name for t in self.graph.inputs if t.name not in inputs]
        if missing:
            raise BadModelError(f"no value for input '{missing[0]}'")
        feed = {t.name: inputs[t.name] for t in self.graph.inputs}
        values = self._session.run(self.graph.outputs, feed)
        for tensor, array in zip(self.graph.output_tensors, values, strict=True):
            _check_shape(tensor, array)
        return dict(zip(self.graph.outputs, values, strict=True))

    def unload(self) -> None:
        """Free the session, which holds the weights a second time."""
        self.__dict__.pop("_session", None)

    @cached_property
    def _session(self) -> Session | Reference:
        from splitc.runtime.ort import Reference, Session

        if stored_bytes(self.proto) < PROTO_LIMIT:
            proto = runnable(self.proto)
            if proto is None:
                return Reference(self.proto.SerializeToString())
            return Session(proto.SerializeToString())
        with scratch() as folder:
            path = folder / "model.onnx"
            self.save(path)
            return Session(path)

    def save(self, path: Path) -> list[Path]:
        """Write the model; weights go to `NAME.data` beside it when over 2 GiB.

        Returns:
            The files written.
        """
        if stored_bytes(self.proto) < PROTO_LIMIT:
            path.write_bytes(self.proto.SerializeToString(deterministic=True))
            return [path]
        copy = ModelProto()
        copy.CopyFrom(self.proto)
        onnx.save_model(  # pyright: ignore[reportUnknownMemberType]
            copy, str(path), save_as_external_data=True, location=path.name + ".data",
            size_threshold=1024,
        )  # fmt: skip
        return [path, path.with_name(path.name + ".data")]


def _check_shape(tensor: Tensor, array: object) -> None:
    """Refuse a result that is not as it was found; a sequence is no array."""
    shape: tuple[int, ...] | None = getattr(array, "shape", None)
    if shape is None or tensor.shape is None:
        return
    same = len(shape) == len(tensor.shape)
    if not same or any(a not in (None, b) for a, b in zip(tensor.shape, shape, strict=True)):
        found = "x".join("?" if n is None else str(n) for n in tensor.shape) or "a scalar"
        given = "x".join(map(str, shape)) or "a scalar"
        raise BadModelError(
            f"result '{tensor.name}' has another shape than was found",
            why=f"the model says {found}, running it gives {given}",
        )
