# SPDX-License-Identifier: Apache-2.0
# pyright: basic
"""A network under construction whose every value is known, by onnxruntime, as it grows.

Beside each value stand its two *shadows*: the same operators on what was nudged by a rounding
error after each step that rounds, either way. Where a shadow strays, the network would turn a
rounding error into another result (a quotient by almost nought, a number half way between two
steps), and no two right implementations need agree: such operators are not appended. So whatever
is appended must be computed alike by everyone, integers exactly.
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnxruntime
from numpy.typing import NDArray
from onnx import ModelProto, NodeProto, helper, numpy_helper
from onnxruntime.capi.onnxruntime_pybind11_state import (
    EPFail,
    Fail,
    InvalidArgument,
    InvalidGraph,
    RuntimeException,
)
from onnxruntime.capi.onnxruntime_pybind11_state import (
    NotImplemented as NoKernel,
)

Array = NDArray[Any]

REFUSALS = (Fail, InvalidArgument, InvalidGraph, NoKernel, RuntimeException, EPFail)
"""What onnxruntime raises where it does not take a model."""
MOST_ELEMENTS = 20_000
STEP = {"float16": 1e-3, "float32": 3e-6, "float64": 1e-9}
"""What a step may be off by rounding, relative to the largest value."""
STRAY = {"float16": 8e-3, "float32": 3e-5, "float64": 1e-8}
"""What a shadow may be off."""

COPIES = frozenset(
    [
        "Abs", "ArgMax", "ArgMin", "Cast", "Ceil", "Clip", "Compress", "Concat", "DepthToSpace",
        "Dropout", "Equal", "Expand", "Flatten", "Floor", "Gather", "GatherElements", "GatherND",
        "GlobalMaxPool", "Greater", "GreaterOrEqual", "Hardmax", "Identity", "Less", "LessOrEqual",
        "Max", "MaxPool", "Min", "Neg", "OneHot", "Pad", "ReduceMax", "ReduceMin", "Relu",
        "Reshape", "Round", "ScatterElements", "ScatterND", "Sign", "Slice", "SpaceToDepth",
        "Split", "Squeeze", "Tile", "TopK", "Transpose", "Trilu", "Unsqueeze", "Where",
    ]
)  # fmt: skip
"""Operators whose results are copies of what they read, or decided by it, without rounding."""
SUMS = frozenset(
    ["Add", "CumSum", "Einsum", "Gemm", "MatMul", "Mul", "ReduceSum", "Sub", "Sum"]
)  # fmt: skip
"""Operators that do not round while all they read is whole and small."""


class UnusableError(Exception):
    """The operator does not fit what there is, or its result would hang on a rounding error."""


@dataclass(frozen=True)
class Value:
    """A tensor of the network.

    Args:
        array: What it is, by onnxruntime.
        shadows: What it would be with rounding errors before it, of one sign and the other.
        exact: No rounding error is allowed in it.
    """

    array: Array
    shadows: tuple[Array, Array]
    exact: bool

    @property
    def shape(self) -> tuple[int, ...]:
        """Its shape."""
        return self.array.shape

    @property
    def dtype(self) -> str:
        """Its element type."""
        return self.array.dtype.name

    @property
    def whole(self) -> bool:
        """Whether it is exact and of whole numbers that are small."""
        if self.array.dtype.kind != "f":
            return True
        a = self.array
        return self.exact and bool((np.abs(a) <= 1024).all() and (a == np.rint(a)).all())


class Network:
    """A network, its inputs' values, and the lines of Python that build it again.

    Args:
        opset: ONNX's version.
        seed: Of its inputs and weights.
        special: Infinities and not-a-numbers may occur.
    """

    def __init__(self, opset: int = 17, seed: int = 0, special: bool = False) -> None:
        self.opset = opset
        self.seed = seed
        self.special = special
        self.lines = [f"n = Network({opset}, {seed}{', special=True' if special else ''})"]
        self.nodes: list[NodeProto] = []
        self.values: dict[str, Value] = {}
        self.inputs: list[str] = []
        self.stored: list[str] = []
        self.outputs: list[str] = []

    def __repr__(self) -> str:
        return "\n".join(["", *self.lines, f"n.outputs = {self.outputs}"])

    def __getitem__(self, name: str) -> Value:
        return self.values[name]

    def input(self, dtype: str, shape: tuple[int, ...], kind: str = "normal") -> str:
        """A new input of the network, of a kind of values."""
        return self._filled("input", self.inputs, dtype, shape, kind)

    def weight(self, dtype: str, shape: tuple[int, ...], kind: str = "normal") -> str:
        """A new stored tensor, of a kind of values."""
        return self._filled("weight", self.stored, dtype, shape, kind)

    def _filled(
        self, how: str, among: list[str], dtype: str, shape: tuple[int, ...], kind: str
    ) -> str:
        name = f"{how[0]}{len(among)}"
        self.lines.append(f'{name} = n.{how}("{dtype}", {tuple(shape)}, "{kind}")')
        rng = np.random.default_rng([self.seed, zlib.crc32(name.encode())])
        array = np.asarray(numbers(rng, kind, tuple(shape))).astype(dtype)
        among.append(name)
        self.values[name] = Value(array, (array, array), True)
        return name

    def put(self, value: Any, dtype: str) -> str:
        """A new stored tensor, written out."""
        array = np.array(value, dtype)
        name = f"w{len(self.stored)}"
        self.lines.append(f'{name} = n.put({array.tolist()}, "{dtype}")')
        self.stored.append(name)
        self.values[name] = Value(array, (array, array), True)
        return name

    def op(self, kind: str, *reads: str, **more: Any) -> str:
        """Append an operator of one result; see `ops`."""
        return self.ops(kind, *reads, **more)[0]

    def ops(
        self, kind: str, *reads: str, results: int = 1, domain: str = "",
        loose: tuple[int, ...] = (), **attributes: Any,
    ) -> list[str]:  # fmt: skip
        """Append an operator.

        Args:
            kind: Its name.
            reads: Names of values; an empty one is an input that is left out.
            results: How many results it has.
            domain: Its domain.
            loose: Inputs, by position, that implementations may take as slightly other
                numbers: they are nudged in the shadow even where they are exact.
            attributes: Of the node.

        Raises:
            UnusableError: onnxruntime does not take it, or its result is not fit to compare.
        """
        start = sum(len(node.output) for node in self.nodes)
        names = [f"t{start + k}" for k in range(results)]
        node = helper.make_node(kind, list(reads), names, names[0], domain=domain, **attributes)
        feed = {name: self.values[name] for name in reads if name}
        found = self._computed(node, {name: value.array for name, value in feed.items()})
        rounds = not self._exact(kind, list(feed.values()), found)
        nudged = [reads[position] for position in loose]
        strayed = [self._strayed(node, feed, found, nudged, sign) for sign in (0, 1)]
        for name, array, one, other in zip(names, found, *strayed, strict=True):
            inexact = rounds and array.dtype.kind == "f"
            shadows = (_nudged(name, one, 1), _nudged(name, other, -1))
            self.values[name] = Value(array, shadows if inexact else (array, array), not inexact)
        self.nodes.append(node)
        self._accept(node, names)
        words = [read or repr(read) for read in reads]
        words += [f"results={results}"] * (results > 1) + [f'domain="{domain}"'] * bool(domain)
        words += [f"{name}={value!r}" for name, value in attributes.items()]
        self.lines.append(f"{', '.join(names)}, = n.ops({', '.join([repr(kind), *words])})")
        return names

    def _strayed(
        self, node: NodeProto, feed: dict[str, Value], found: list[Array], nudged: list[str],
        which: int,
    ) -> list[Array]:  # fmt: skip
        """The results with rounding errors before them, if they are not far off.

        Raises:
            UnusableError: They are.
        """
        shadows = {name: value.shadows[which] for name, value in feed.items()}
        for name in nudged:
            shadows[name] = _scaled(shadows[name], 1 - 2 * which)
        if all(shadows[name] is value.array for name, value in feed.items()):
            strayed = found
        else:
            strayed = self._computed(node, shadows)
        for array, shadow in zip(found, strayed, strict=True):
            self._check(array, shadow)
        return strayed

    def _accept(self, node: NodeProto, names: list[str]) -> None:
        """Take the operator back where onnxruntime takes it alone, but not among the others.

        What a shape is inferred to be and what it is differ in places.
        """
        self.outputs = names
        try:
            run(self.proto(), self.feed)
        except REFUSALS as error:
            self.nodes.remove(node)
            for name in names:
                del self.values[name]
            raise UnusableError(str(error)) from None
        finally:
            self.outputs = []

    def _exact(self, kind: str, reads: list[Value], found: list[Array]) -> bool:
        if not all(value.exact for value in reads):
            return False
        if kind in COPIES:
            return True
        most = max(
            (float(np.abs(a).max(initial=0)) for a in found if a.dtype.kind == "f"), default=0
        )
        return kind in SUMS and all(value.whole for value in reads) and most <= 1024

    def _check(self, array: Array, shadow: Array) -> None:
        if not 0 < array.size <= MOST_ELEMENTS or array.ndim > 6:
            raise UnusableError
        if array.dtype.kind != "f":
            if not np.array_equal(array, shadow):
                raise UnusableError
            return
        finite = np.isfinite(array)
        if not (self.special or finite.all()):
            raise UnusableError
        if not np.array_equal(array[~finite], shadow[~finite], equal_nan=True):
            raise UnusableError
        most = {"float16": 1e4}.get(array.dtype.name, 1e8)
        away = np.abs(array[finite].astype(float) - shadow[finite].astype(float))
        bound = STRAY[array.dtype.name] * _largest(array)
        if not (away <= bound).all() or _largest(array) > most:
            raise UnusableError

    def _computed(self, node: NodeProto, feed: dict[str, Array]) -> list[Array]:
        stored = {n: a for n, a in feed.items() if n in self.stored}
        given = {n: a for n, a in feed.items() if n not in self.stored}
        proto = self._proto([node], given, stored, list(node.output))
        try:
            return run(proto, given)
        except REFUSALS as error:
            raise UnusableError(str(error)) from None

    def _proto(
        self, nodes: list[NodeProto], given: dict[str, Array], stored: dict[str, Array],
        outputs: list[str],
    ) -> ModelProto:  # fmt: skip
        def info(name: str, array: Array | None) -> Any:
            if array is None:
                return helper.make_empty_tensor_value_info(name)
            kind = helper.np_dtype_to_tensor_dtype(array.dtype)
            return helper.make_tensor_value_info(name, kind, array.shape)

        known = {name: value.array for name, value in self.values.items()}
        graph = helper.make_graph(
            nodes,
            "random",
            [info(name, array) for name, array in given.items()],
            [info(name, known.get(name)) for name in outputs],
            [numpy_helper.from_array(array, name) for name, array in stored.items()],
        )
        imports = [helper.make_opsetid("", self.opset)]
        imports += [helper.make_opsetid(d, 1) for d in {n.domain for n in nodes} - {""}]
        return helper.make_model(graph, opset_imports=imports, ir_version=10)

    @property
    def feed(self) -> dict[str, Array]:
        """The inputs' values, of those that something reads."""
        read = {name for node in self.nodes for name in node.input} | {*self.outputs}
        return {name: self.values[name].array for name in self.inputs if name in read}

    def proto(self) -> ModelProto:
        """The network as a model."""
        read = {name for node in self.nodes for name in node.input}
        stored = {name: self.values[name].array for name in self.stored if name in read}
        return self._proto(self.nodes, self.feed, stored, self.outputs)


def _nudged(name: str, array: Array, sign: int) -> Array:
    """Off by a rounding error of each element and of the largest: sums round like their terms."""
    step = STEP.get(array.dtype.name)
    if step is None:
        return array
    rng = np.random.default_rng(zlib.crc32(name.encode()))
    by = sign * step * (np.abs(array) + _largest(array) / 2) * rng.uniform(-1, 1, array.shape)
    return np.asarray(array + np.where(np.isfinite(array), by, 0), array.dtype)


def _scaled(array: Array, sign: int) -> Array:
    """Longer or shorter by a rounding error."""
    return np.asarray(array * (1 + sign * STEP[array.dtype.name]), array.dtype)


def _largest(array: Array) -> float:
    finite = array[np.isfinite(array)]
    return float(np.abs(finite).max(initial=0.0))


def run(proto: ModelProto, feed: dict[str, Array]) -> list[Array]:
    """A model's results by onnxruntime, node by node, without its rewrites."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    options.log_severity_level = 4
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = onnxruntime.InferenceSession(
        proto.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    return [np.asarray(a) for a in session.run(None, feed)]


def numbers(rng: np.random.Generator, kind: str, shape: tuple[int, ...]) -> Array:
    """Values of a kind, as float64 of any type's range.

    normal: about one, either sign. positive: a half to two. whole: small whole numbers, so with
    many ties. ties: halves of whole numbers. zeros: nought, most of them. pixels: 0 to 255.
    signed: -128 to 127. small: 0 to 15. large: about 1e5. special: with infinities, not-a-numbers
    and noughts of either sign among them. yes: nought or one.
    """
    normal = rng.standard_normal(shape)
    if kind == "special":
        values = rng.choice([np.nan, np.inf, -np.inf, 0.0, -0.0, 1.0, -2.5], shape)
        return np.where(rng.random(shape) < 0.3, values, normal)
    return {
        "normal": lambda: normal,
        "positive": lambda: 0.5 + 1.5 * rng.random(shape),
        "whole": lambda: np.rint(2 * normal),
        "ties": lambda: np.rint(4 * normal) / 2,
        "zeros": lambda: np.where(rng.random(shape) < 0.8, 0.0, normal),
        "pixels": lambda: rng.integers(0, 256, shape).astype(float),
        "signed": lambda: rng.integers(-128, 128, shape).astype(float),
        "small": lambda: rng.integers(0, 16, shape).astype(float),
        "large": lambda: 1e5 * normal,
        "yes": lambda: rng.integers(0, 2, shape).astype(float),
    }[kind]()
