# SPDX-License-Identifier: Apache-2.0
"""An ONNX file or model becomes an `OnnxModel`: read, brought to one form, simplified."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from pathlib import Path

from onnx import ModelProto

from splitc.errors import BadModelError
from splitc.frontend.onnx import simplified
from splitc.frontend.onnx.form import normalise
from splitc.frontend.onnx.known import pick_stored, store_shapes
from splitc.frontend.onnx.layers import build_graph
from splitc.frontend.onnx.model import OnnxModel
from splitc.frontend.onnx.one_sample import fix_batch
from splitc.frontend.onnx.read import (
    check_budget,
    check_names,
    check_weights,
    digest_of,
    over_budget,
    read_proto,
    refuse_external,
    stored_bytes,
)
from splitc.frontend.onnx.shapes import declare_results, infer
from splitc.frontend.onnx.simplifier import Simplifier
from splitc.ir.graph import Tensor
from splitc.ir.model import DEFAULT_MAX_BYTES


def load_onnx(
    source: str | Path | ModelProto,
    *,
    inputs: Mapping[str, Sequence[int]],
    simplify: bool = True,
    max_bytes: int = DEFAULT_MAX_BYTES,
    meanwhile: Callable[[], None] = lambda: None,
) -> OnnxModel:
    """Read an ONNX file or model; `splitc.load` says the rest."""
    with Simplifier() if simplify else nullcontext() as simplifier:
        if isinstance(source, ModelProto):
            given = ModelProto()
            given.CopyFrom(source)
            check_names(given)
            refuse_external(given)
            check_budget(given, max_bytes)
            digest = digest_of(given)
        else:
            given, digest = read_proto(Path(source), max_bytes)
        inputs, fixed = fix_batch(given, inputs)
        large = simplifier is not None and stored_bytes(given) >= simplified.WORTH_BYTES
        key = simplified.key_of(digest, inputs) if large else None
        known = simplified.take(key) if key is not None else None
        if known is not None:
            # It was made of one that had all the checks below.
            proto, tensors = _prepare(known, {}, max_bytes)
            meanwhile()
            return OnnxModel(proto, build_graph(proto, tensors), tensors, digest, note=fixed)
        proto, tensors = _prepare(given, inputs, max_bytes)
        check_weights(proto)
        note = ""
        if simplifier is not None:
            simpler, note = simplifier.run(proto, max_bytes, meanwhile, key)
            if simpler is not None:
                try:
                    proto, tensors = _prepare(simpler, {}, max_bytes)
                except BadModelError as error:
                    note = f"not simplified: what onnxsim made cannot be used ({error.what})"
    told = "; ".join(filter(None, (fixed, note)))
    return OnnxModel(proto, build_graph(proto, tensors), tensors, digest, note=told)


def _prepare(
    given: ModelProto, inputs: Mapping[str, Sequence[int]], max_bytes: int
) -> tuple[ModelProto, dict[str, Tensor]]:
    proto = normalise(given, inputs)
    pick_stored(proto.graph)
    tensors = infer(proto)
    _check_tensors(tensors, max_bytes)
    store_shapes(proto, tensors)
    declare_results(proto, tensors)
    return proto, tensors


def _check_tensors(tensors: Mapping[str, Tensor], max_bytes: int) -> None:
    for tensor in tensors.values():
        if tensor.nbytes is not None and tensor.nbytes > max_bytes:
            raise over_budget(f"tensor '{tensor.name}'", tensor.nbytes, max_bytes)
        if tensor.dtype == "string":
            why = "text has no fixed size and no target computes on it"
            raise BadModelError(f"tensor '{tensor.name}' is a string tensor", why=why)
