# SPDX-License-Identifier: Apache-2.0
# pyright: basic, reportAttributeAccessIssue=false, reportArgumentType=false
"""Places that are computed at run time stay within the tensor that is read or written there.

TVM's loops trust them: a token's number beyond the table reads, and a place to scatter to beyond
the result writes, memory of somebody else's. Models name no place beyond (ONNX calls it an
error); what comes over a link may. Such a place is the nearest within.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import tvm
from tvm import relax
from tvm.relax.expr_functor import PyExprMutator, mutator

from splitc_targets.tvm.rewriting import rewritten


def kept_within(module: Any) -> Any:
    """A lowered module none of whose operators reads or writes beyond a tensor."""
    return rewritten(module, _Within)


@mutator
class _Within(PyExprMutator):
    """Rewrites the calls of operators with places."""

    def visit_call_(self, op: Any) -> Any:
        """A call, its places within."""
        call = super().visit_call_(op)
        name = call.op.name if isinstance(call.op, tvm.ir.Op) else ""
        if name == "relax.take" and call.attrs.mode == "fast":
            return relax.op.take(*call.args, axis=call.attrs.axis, mode="clip")
        bounded = {
            "relax.gather_elements": self._one_axis, "relax.scatter_elements": self._one_axis,
            "relax.gather_nd": self._rows, "relax.scatter_nd": self._rows,
            "relax.index_put": self._every_axis, "relax.vision.roi_align": self._regions,
        }.get(name)  # fmt: skip
        if bounded is None:
            return call
        args = [call.args[0], bounded(call), *call.args[2:]]
        return relax.Call(call.op, args, call.attrs, call.ty_args)

    def _one_axis(self, call: Any) -> Any:
        size = _sizes(call.args[0])[call.attrs.axis]
        return self._within(call.args[1], [size], "scatter" in call.op.name)

    def _rows(self, call: Any) -> Any:
        """Of each row, one place of each of the first axes."""
        scatters = "scatter" in call.op.name
        sizes = _sizes(call.args[0])[0 if scatters else call.attrs.batch_dims :]
        return self._within(call.args[1], sizes[: _sizes(call.args[1])[-1]], scatters)

    def _every_axis(self, call: Any) -> Any:
        pairs = zip(call.args[1].fields, _sizes(call.args[0]), strict=True)
        return relax.Tuple([self._within(places, [size], True) for places, size in pairs])

    def _regions(self, call: Any) -> Any:
        """Of each region, the sample it lies in."""
        far = np.full(4, np.inf)
        last = _sizes(call.args[0])[0] - 1
        return self._between(call.args[1], np.append(0, -far), np.append(last, far))

    def _within(self, places: Any, sizes: Sequence[int], from_either_end: bool) -> Any:
        ends = np.array(sizes)
        if isinstance(places, tvm.ir.GenericConst):
            held = places.value.numpy()
            if ((held >= 0) & (held < ends)).all():
                return places
        if from_either_end:
            dtype = str(places.ty.dtype)
            behind = self._emit(relax.op.add, places, relax.const(ends, dtype))
            below = self._emit(relax.op.less, places, relax.const(0, dtype))
            places = self._emit(relax.op.where, below, behind, places)
        return self._between(places, np.zeros_like(ends), ends - 1)

    def _between(self, values: Any, low: Any, high: Any) -> Any:
        dtype = str(values.ty.dtype)
        least = self._emit(relax.op.maximum, values, relax.const(low, dtype))
        return self._emit(relax.op.minimum, least, relax.const(high, dtype))

    def _emit(self, operator: Any, *args: Any) -> Any:
        return self.builder_.emit(operator(*args))


def _sizes(tensor: Any) -> list[int]:
    return [int(size) for size in tensor.ty.shape.values]
