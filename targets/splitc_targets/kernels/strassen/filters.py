# SPDX-License-Identifier: Apache-2.0
# pyright: basic, reportAttributeAccessIssue=false, reportArgumentType=false
"""Sums of quarters of the weights, made of plain weights once, when a part is loaded.

Plain weights lie as [channels][out channels]; what is made of them as `kernel` reads it,
[block][7][register block][half the channels][its channels, of half].
"""

from __future__ import annotations

from typing import Any

import numpy as np

from splitc_targets.kernels.product.geometry import Conv
from splitc_targets.kernels.strassen.plan import filter_size, plan
from splitc_targets.kernels.winograd.filters import FilterWriter
from splitc_targets.loops import emit
from splitc_targets.loops.emit import Argument, Index
from splitc_targets.machine.machine import Machine


def plain(weights: np.ndarray[Any, Any]) -> Any:
    """Weights [out channels][channels][1][1] as the kernel here reads them."""
    return np.ascontiguousarray(weights.reshape(weights.shape[:2]).T, np.float32)


def key(conv: Conv, machine: Machine) -> tuple[Any, ...]:
    """What the kernel depends on."""
    made = plan(conv, machine)
    return ("quarters", conv.channels, made.vectors, made.group)


def kernel(name: str, conv: Conv, machine: Machine) -> Any:
    """The kernel (plain weights, their sums) in TVM's tensor IR."""
    made = plan(conv, machine)
    arguments = [
        Argument("g", (conv.channels * conv.out_channels,)),
        Argument("u", (filter_size(conv, machine),)),
    ]
    return emit.function(
        name, arguments, lambda code, g, u: _Quarters(code, machine, made, g, u).write()
    )


class _Quarters(FilterWriter):
    """The right factors of the seven products."""

    taps = 2

    def vector(self, source: Index, taps: int, target: Index, step: Index) -> None:
        code, lanes, do = self.code, self.lanes, self.do
        low = self.channels * 2 * taps
        b11, b12, b21, b22 = (
            code.bind(self.g.at(source + at, lanes), "b") for at in (0, taps, low, low + taps)
        )
        t1, t3 = do.sub(b12, b11), do.sub(b22, b12)
        t2 = do.sub(b22, t1)
        for position, value in enumerate((b11, b21, b22, do.sub(t2, b21), t1, t2, t3)):
            code.store(self.u, target + position * step, value, lanes)
