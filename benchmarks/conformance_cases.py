# SPDX-License-Identifier: Apache-2.0
# pyright: reportUnknownMemberType=false
"""The test cases that the onnx wheel carries, in forms that can be cut."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import ModelProto, helper, numpy_helper
from onnx.reference import ReferenceEvaluator

from splitc.frontend.onnx.older import opset_of

KINDS = ("node", "simple", "pytorch-converted", "pytorch-operator")
FRONT = "conformance.front"
"""The harmless layer in front of what would leave no cut."""

ORACLE_OPSET = 26
"""The newest that onnxruntime reads; golden vectors need it."""
ORACLE_IR = 11
"""Of the format, likewise."""
_STORED_IR = 4
"""The first version of the format in which what is stored need not be an input."""

Values = Mapping[str, Any]
Array = np.ndarray[Any, Any]


@dataclass(frozen=True)
class Case:
    """One model of onnx's, values for its inputs and what they give.

    Args:
        name: Its name.
        kind: One of `KINDS`.
        proto: The model.
        inputs: Arrays by input name; lists, None and others where they are no tensors.
        outputs: Likewise by output name.
        rtol: Relative tolerance that the case asks for.
        atol: Absolute tolerance.
    """

    name: str
    kind: str
    proto: ModelProto
    inputs: Values
    outputs: Values
    rtol: float
    atol: float


@dataclass(frozen=True)
class Form:
    """A case as a network that can be cut: what is stored in it, and what is handed in.

    Args:
        name: "given" with all inputs handed in, "stored" with all but the first stored.
        proto: The model.
        feed: Arrays by input name.
        layered: Whether a layer was put in front of the first input.
    """

    name: str
    proto: ModelProto
    feed: Mapping[str, Array]
    layered: bool


@cache
def listed(kind: str) -> tuple[Any, ...]:
    from onnx.backend.test.loader import load_model_tests

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found: Sequence[Any] = load_model_tests(kind=kind)
    return tuple(sorted(found, key=lambda one: one.name))


def names() -> list[str]:
    """The names of all cases, sorted by kind."""
    return [case.name for kind in KINDS for case in listed(kind)]


def case_of(name: str) -> Case:
    """A case by its name."""
    kind, made = next((kind, each) for kind in KINDS for each in listed(kind) if each.name == name)
    if made.model is not None:
        proto, (inputs, outputs) = made.model, made.data_sets[0]
    else:
        folder = Path(made.model_dir)
        proto = onnx.load(folder / "model.onnx")
        stored = {tensor.name for tensor in proto.graph.initializer}
        wanted = [value for value in proto.graph.input if value.name not in stored]
        inputs = list(_read(folder / "test_data_set_0", "input", [v.type for v in wanted]))
        outputs = list(
            _read(folder / "test_data_set_0", "output", [v.type for v in proto.graph.output])
        )
    stored = {tensor.name for tensor in proto.graph.initializer}
    into = [value.name for value in proto.graph.input if value.name not in stored]
    return Case(
        name, kind, proto, dict(zip(into, map(_value, inputs), strict=False)),
        dict(zip((v.name for v in proto.graph.output), map(_value, outputs), strict=False)),
        made.rtol, made.atol,
    )  # fmt: skip


def _value(given: Any) -> Any:
    """A tensor as an array: those of types that numpy has not come as onnx writes them."""
    return numpy_helper.to_array(given) if isinstance(given, onnx.TensorProto) else given


def _read(folder: Path, what: str, types: Sequence[onnx.TypeProto]) -> Iterator[Any]:
    for k, declared in enumerate(types):
        data = (folder / f"{what}_{k}.pb").read_bytes()
        if declared.HasField("tensor_type"):
            yield numpy_helper.to_array(onnx.TensorProto.FromString(data))
        else:
            yield data


def within(case: Case, got: Array, want: Array) -> Array:
    """Which elements are within the case's tolerance of what is wanted."""
    if want.dtype.kind not in "biufc":
        got, want = got.astype(np.float32), want.astype(np.float32)
    return np.isclose(got, want, rtol=case.rtol, atol=case.atol, equal_nan=True)


def exact_where_refuted(case: Case) -> Values | None:
    """The values that onnx's own reference gives in float64, rounded once to the case's types,
    where the case's are further from them than its own tolerance; None where they are not.

    A sum of float32 that cancels leaves its rounding: two inverse transforms expect 1.9e-7 where
    the value is 0, with a tolerance of 1e-7.
    """
    arrays = {name: np.asarray(value) for name, value in case.inputs.items()}
    if not any(array.dtype == np.float32 for array in arrays.values()):
        return None
    wide = {n: a.astype(np.float64) if a.dtype == np.float32 else a for n, a in arrays.items()}
    try:
        found: list[Any] = list(ReferenceEvaluator(case.proto).run(None, dict(wide)))  # pyright: ignore[reportArgumentType]
    except (RuntimeError, ValueError, TypeError, KeyError, IndexError, NotImplementedError):
        return None  # The reference takes no float64 there.
    given = {name: np.asarray(value) for name, value in case.outputs.items()}
    exact = {
        name: np.asarray(value).astype(given[name].dtype)
        for name, value in zip(given, found, strict=True)
    }
    same = all(
        exact[name].shape == given[name].shape and within(case, given[name], exact[name]).all()
        for name in given
    )
    return None if same else exact


def forms(case: Case) -> Iterator[Form]:
    """The forms of a case, the one with most values handed in first."""
    feed: dict[str, Array] = {}
    for name, value in case.inputs.items():
        if hasattr(value, "dtype"):  # neither list nor absent
            feed[name] = np.asarray(value)
    for layered in (False, True):
        yield _form("given", case.proto, feed, {}, layered)
        first = next(iter(feed), None)
        others = {name: value for name, value in feed.items() if name != first}
        if first is not None and others and len(feed) == len(case.inputs):
            yield _form("stored", case.proto, {first: feed[first]}, others, layered)


def _form(name: str, given: ModelProto, feed: Values, stored: Values, layered: bool) -> Form:
    proto = ModelProto()
    proto.CopyFrom(given)
    _label_older(proto)
    kept = [value for value in proto.graph.input if value.name not in stored]
    del proto.graph.input[:]
    proto.graph.input.extend(kept)
    proto.graph.initializer.extend(
        numpy_helper.from_array(value, name) for name, value in stored.items()
    )
    if layered and feed:
        _put_in_front(proto, next(iter(feed)))
    return Form(name, proto, feed, layered)


def _label_older(proto: ModelProto) -> None:
    """Name an opset that onnxruntime knows, where all operators are the same in it."""
    proto.ir_version = max(_STORED_IR, min(proto.ir_version, ORACLE_IR))
    known = opset_of(proto)
    since = [
        onnx.defs.get_schema(node.op_type, known).since_version
        for node in proto.graph.node
        if node.domain in ("", "ai.onnx") and onnx.defs.has(node.op_type, "")
    ]
    if known > ORACLE_OPSET >= max(since, default=1):
        for opset in proto.opset_import:
            if opset.domain in ("", "ai.onnx"):
                opset.version = ORACLE_OPSET


def _put_in_front(proto: ModelProto, name: str) -> None:
    """Let the nodes read a copy of an input."""
    for node in proto.graph.node:
        node.input[:] = [FRONT if each == name else each for each in node.input]
    layer = helper.make_node("Identity", [name], [FRONT], FRONT)
    proto.graph.node.insert(0, layer)
