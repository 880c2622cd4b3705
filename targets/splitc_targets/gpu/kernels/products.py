# SPDX-License-Identifier: Apache-2.0
# pyright: basic
"""How a product is computed: by tiles, on the ordinary units or on tensor cores, or by vectors.

A block computes a tile of pixels by channels. Step by step it brings a slice of both operands
into shared memory while it multiplies the one before, with its sums in registers. Where there are
a few rows only, its threads share the depth instead.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from splitc_targets.gpu.device import Device
from splitc_targets.gpu.kernels import ordinary_products, tensor_products
from splitc_targets.gpu.kernels.product import Product, arguments, dense, few, store
from splitc_targets.gpu.loops.threads import Kernel, Threads, kernel
from splitc_targets.kernels.product.geometry import Conv
from splitc_targets.loops import emit
from splitc_targets.loops.emit import Array, Index, const, tirx


def packed(
    weights: np.ndarray[Any, Any], conv: Conv, device: Device, aligned: int = 1
) -> tuple[Product, np.ndarray[Any, Any]]:
    """A product by constant weights, and these as its kernel reads them.

    Args:
        weights: [out channels][channels][rows][columns], or the same without the last two.
        conv: The product.
        device: What computes it.
        aligned: The input begins at a multiple of so many elements.
    """
    product = replace(dense(conv), x_aligned=aligned)
    laid = _laid(weights, conv.groups)
    if _by_tensor_cores(product, device):
        return tensor_products.packed(product, laid, device.precision)
    laid = np.pad(laid, ((0, 0), (0, 0), (0, product.w_columns - product.columns)))
    if bytes_of_weights(product, device) == 2:
        with np.errstate(over="ignore"):
            laid = laid.astype(np.float16)
    return product, laid.ravel()


def bytes_of_weights(product: Product, device: Device) -> int:
    """Of each number of a right operand that the ordinary units read, as memory has it.

    A product of few rows takes as long as its weights are read. Of tensors whose types are still
    to be chosen it is 4.
    """
    return 2 if device.precision == "float16" and product.w_group and few(product) else 4


def _laid(weights: np.ndarray[Any, Any], groups: int) -> np.ndarray[Any, Any]:
    """Weights [out channels][channels][rows][columns] as [group][row, column, channel][out]."""
    out, *rest = weights.shape
    laid = weights.reshape(groups, out // groups, *rest).transpose(0, 3, 4, 2, 1)
    return np.ascontiguousarray(laid, dtype=np.float32).reshape(groups, -1, out // groups)


def _by_tensor_cores(product: Product, device: Device) -> bool:
    """Whether tensor cores are predicted to be quicker; what has few rows waits for memory."""
    if not device.tensor or few(product):
        return False
    return tensor_products.cycles(product, device) < ordinary_products.cycles(product, device)


def product_kernel(name: str, product: Product, device: Device) -> Kernel:
    """The kernel (x, right operand, operands…, y)."""
    if few(product):
        return _few_rows(name, product)
    if product.words or (not product.w_group and _by_tensor_cores(product, device)):
        return tensor_products.product_kernel(name, product, device)
    return ordinary_products.product_kernel(name, product, device)


_SLICES = 8
WIDE = 32
"""Columns of a block of a product of few rows."""


def _few_rows(name: str, product: Product) -> Kernel:
    """A block a few columns: threads side by side read neighbours, others share the depth."""
    conv = product.conv
    across = -(-product.columns // WIDE)

    def write(code: Threads, *arrays: Array) -> None:
        x, w, *extra = arrays[:-1]
        column = code.bind(emit.mod(code.thread, WIDE), "lane")
        part = code.bind(emit.div(code.thread, WIDE), "slice")
        n = code.bind(emit.mod(code.block, across) * WIDE + column, "column")
        share = code.bind(emit.div(code.block, across), "share")
        image: Index = emit.div(share, conv.groups) if product.w_image else 0
        group: Index = emit.mod(share, conv.groups)
        inside = tirx.LT(emit.index(n), const(product.columns))
        sums = code.local(product.rows, name="sum")
        places = []
        for row in range(product.rows):
            code.store(sums, row, tirx.const(0.0, "float32"))
            pixel = row % conv.out_width
            line = row // conv.out_width
            own = image if product.w_image or conv.batch == 1 else line // conv.out_height
            places.append((own, line % conv.out_height, pixel))
        base = image * product.w_image + group * product.w_group
        with code.when(inside), code.loop("step", -(-product.depth // _SLICES)) as step:
            k = code.bind(step * _SLICES + part, "k")
            whole = product.depth % _SLICES == 0
            with code.when(tirx.LT(emit.index(k), const(product.depth)) if not whole
                           else tirx.const(1, "bool")):  # fmt: skip
                b = code.bind(w.at(base + k * product.w_depth + n * product.w_column), "b")
                for row, (own, line, pixel) in enumerate(places):
                    at = own * conv.x_image + line * conv.x_row + pixel * conv.x_pixel
                    at = at + (group * conv.channels + k) * conv.x_channel
                    code.store(sums, row, sums.at(row) + x.at(at) * b)
        held = code.shared(_SLICES * WIDE * product.rows, name="held")
        for row in range(product.rows):
            code.store(held, code.thread * product.rows + row, sums.at(row))
        code.meet()
        first = tirx.And(tirx.EQ(emit.index(part), const(0)), inside)
        with code.when(first):
            for row, (own, line, pixel) in enumerate(places):
                total = code.local(1)
                code.store(total, 0, tirx.const(0.0, "float32"))
                for other in range(_SLICES):
                    at = (other * WIDE + column) * product.rows + row
                    code.store(total, 0, total.at(0) + held.at(at))
                place = (own, emit.index(line), emit.index(pixel))
                store(code, product, extra, arrays[-1], place, group, n, total.at(0))

    blocks = across * product.shares
    return kernel(name, arguments(product), blocks, WIDE * _SLICES, write)
