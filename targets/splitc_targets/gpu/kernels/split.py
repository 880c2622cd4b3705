# SPDX-License-Identifier: Apache-2.0
# pyright: basic
"""Products whose depth is shared among blocks (split-K), where the results are too few for them.

A part of the depth is a part of the channels, and products of parts lie beside each other as those
of groups do: so the parts are computed by the kernel of a product of so many groups, into memory
of their own. A second kernel adds them, always in the same order, and stores what becomes of the
sums.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from splitc_targets.gpu.device import Device
from splitc_targets.gpu.kernels import ordinary_products
from splitc_targets.gpu.kernels.product import Product, dense, few, store
from splitc_targets.gpu.kernels.products import WIDE, bytes_of_weights
from splitc_targets.gpu.loops.threads import Kernel, Threads, in_range, kernel, where
from splitc_targets.kernels.product import geometry
from splitc_targets.kernels.product.direct import operand_arguments
from splitc_targets.kernels.product.geometry import Conv
from splitc_targets.loops import emit
from splitc_targets.loops.emit import Argument, Array, tirx
from splitc_targets.loops.fused import SUM

THREADS = 256
_MOST_PARTS = 32
_LEAST_DEPTH = 64
"""What a part has at least to sum over."""
_LAUNCH = 4000.0
"""Cycles that one kernel more takes: 2 to 3 us at a GPU's clock. An assumption."""
_WORTH = 0.75
"""What part of the whole's cycles parts may take at most, as predicted: the model is rough."""
_BYTES, _BLOCK_BYTES = 10.0, 3.0
"""Bytes a cycle that a multiprocessor gets of memory, and that a block of a product of few rows
asks for: two loads of 4 bytes of each thread under way, some 600 cycles each. Assumptions."""


@dataclass(frozen=True)
class Parts:
    """Sums in so many parts, [image][row][pixel][part][channel], and what becomes of them.

    Args:
        conv: The whole product.
        count: Parts.
    """

    conv: Conv
    count: int

    @property
    def size(self) -> int:
        """Elements of all parts."""
        conv = self.conv
        return conv.batch * conv.out_height * conv.out_width * self.count * conv.out_channels


def parts_of(product: Product, device: Device) -> int:
    """Parts of the depth that are predicted to be quickest; 1 leaves it whole."""
    conv = product.conv
    if conv.groups > 1 or product.words or (device.tensor and not few(product)):
        return 1
    taps = conv.kernel[0] * conv.kernel[1]
    fit = [
        count
        for count in range(2, _MOST_PARTS + 1)
        if conv.channels % count == 0 and conv.channels // count * taps >= _LEAST_DEPTH
    ]

    def cycles(count: int) -> float:
        if count == 1:
            return _WORTH * _cycles(product, device)
        moved = 8.0 * Parts(conv, count).size / (device.units * _BYTES)
        return _cycles(of_parts(product, count), device) + moved + _LAUNCH

    return min([1, *fit], key=cycles)


def _cycles(product: Product, device: Device) -> float:
    """Cycles of the product's kernel."""
    if not few(product):
        return ordinary_products.cycles(product, device)
    blocks = product.shares * -(-product.columns // WIDE)
    each = bytes_of_weights(product, device)
    read = float(each) * product.shares * product.depth * product.columns
    return read / min(device.units * _BYTES, blocks * _BLOCK_BYTES * each / 4)


def split(conv: Conv, count: int) -> Conv:
    """A product's parts as a product of so many groups."""
    pixel = count * conv.out_channels
    return replace(
        conv, groups=count, channels=conv.channels // count, out_channels=pixel,
        y_pixel=pixel, y_row=conv.out_width * pixel,
        y_image=conv.out_height * conv.out_width * pixel,
        expression=SUM, operands=(), y_dtype="float32",
    )  # fmt: skip


def of_parts(product: Product, count: int) -> Product:
    """The parts of a product whose right operand has a row for each channel.

    That of a wider window has to be laid anew, see `regrouped`.
    """
    conv = split(product.conv, count)
    if product.conv.kernel != (1, 1):
        return dense(conv)
    return replace(product, conv=conv, w_group=conv.channels * product.w_depth)


def regrouped(weights: np.ndarray[Any, Any], count: int) -> np.ndarray[Any, Any]:
    """Weights [out][channels][…] as those of the parts, [part and out][channels of a part][…]."""
    out, channels, *rest = weights.shape
    parts = weights.reshape(out, count, channels // count, *rest)
    return np.moveaxis(parts, 1, 0).reshape(count * out, channels // count, *rest)


def sum_kernel(name: str, spec: Parts) -> Kernel:
    """The kernel (parts, operands…, y), a thread a result."""
    conv = spec.conv
    pixels = conv.batch * conv.out_height * conv.out_width
    total = pixels * conv.out_channels

    def write(code: Threads, parts: Array, *rest: Array) -> None:
        number, inside = in_range(code, total, THREADS)
        with where(code, inside):
            column = code.bind(emit.mod(number, conv.out_channels), "column")
            pixel = code.bind(emit.div(number, conv.out_channels), "pixel")
            line = code.bind(emit.div(pixel, conv.out_width))
            place = (
                code.bind(emit.div(line, conv.out_height)),
                code.bind(emit.mod(line, conv.out_height)),
                code.bind(emit.mod(pixel, conv.out_width)),
            )
            sums = code.local(1, name="sum")
            code.store(sums, 0, tirx.const(0.0, "float32"))
            with code.loop("part", spec.count) as part:
                at = (pixel * spec.count + part) * conv.out_channels + column
                code.store(sums, 0, sums.at(0) + parts.at(at))
            *extra, y = rest
            store(code, dense(conv), extra, y, place, 0, column, sums.at(0))

    arguments = [
        Argument("parts", (spec.size,)),
        *operand_arguments(conv),
        Argument("y", (geometry.result_size(conv),), conv.y_dtype),
    ]
    return kernel(name, arguments, -(-total // THREADS), THREADS, write)
