# SPDX-License-Identifier: Apache-2.0
"""onnxruntime as the oracle: the one place that starts it and names its errors."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, cast

import onnxruntime

from splitc.arrays import Array
from splitc.errors import BadModelError, one_line

_ort: Any = onnxruntime
"""onnxruntime has no types of its own."""

_state = cast("dict[str, Any]", vars(_ort.capi.onnxruntime_pybind11_state))
_ERRORS: tuple[type[Exception], ...] = (
    RuntimeError,
    ValueError,
    *(one for one in _state.values() if isinstance(one, type) and issubclass(one, Exception)),
)
"""onnxruntime's errors derive from nothing in common but `Exception`."""


_REFERENCE_ERRORS = (
    RuntimeError, ValueError, TypeError, KeyError, IndexError, AttributeError, ArithmeticError,
    NotImplementedError, MemoryError,
)  # fmt: skip
"""It is numpy, and raises what numpy does."""


class Session:
    """A model loaded by onnxruntime on the CPU, as written: no node fused, no log.

    What it rewrites by default computes something else: DequantizeLinear of int8 weights and
    MatMul become one MatMulNBits that rounds the activations to bytes too, 3e-3 off; a
    quantised convolution is summed in integers.

    Args:
        source: A serialised model, or the path of one with external data.

    Raises:
        BadModelError: onnxruntime cannot load it.
    """

    def __init__(self, source: bytes | Path) -> None:
        _ort.set_default_logger_severity(4)
        options = _ort.SessionOptions()
        options.log_severity_level = 4
        options.graph_optimization_level = _ort.GraphOptimizationLevel.ORT_DISABLE_ALL
        given = source if isinstance(source, bytes) else str(source)
        try:
            self._session: Any = _ort.InferenceSession(
                given, options, providers=["CPUExecutionProvider"]
            )
        except _ERRORS as error:
            raise BadModelError("onnxruntime cannot load it", why=one_line(error)) from error

    @property
    def outputs(self) -> list[str]:
        """Names of the results, in the model's order."""
        return [one.name for one in self._session.get_outputs()]

    def run(self, outputs: Sequence[str], feed: Mapping[str, Array]) -> list[Array]:
        """Run the model.

        Args:
            outputs: Names of the results wanted.
            feed: Arrays by input name.

        Raises:
            BadModelError: onnxruntime cannot run it on these inputs.
        """
        try:
            return list(self._session.run(list(outputs), dict(feed)))
        except _ERRORS as error:
            raise BadModelError("onnxruntime cannot run it", why=one_line(error)) from error


class Reference:
    """A model run by onnx's own reference: slow, for operators that onnxruntime has not yet.

    Raises:
        BadModelError: The reference does not know one of its operators.
    """

    def __init__(self, source: bytes) -> None:
        from onnx.reference import ReferenceEvaluator

        try:
            self._model: Any = ReferenceEvaluator(source)
        except _REFERENCE_ERRORS as error:
            raise BadModelError("onnx's reference cannot load it", why=one_line(error)) from error

    def run(self, outputs: Sequence[str], feed: Mapping[str, Array]) -> list[Array]:
        """Run the model; see `Session.run`.

        Raises:
            BadModelError: The reference cannot run it on these inputs.
        """
        try:
            return list(self._model.run(list(outputs), dict(feed)))
        except _REFERENCE_ERRORS as error:
            raise BadModelError("onnx's reference cannot run it", why=one_line(error)) from error
