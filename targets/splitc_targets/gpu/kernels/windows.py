# SPDX-License-Identifier: Apache-2.0
# pyright: basic
"""Windows over maps, a thread a result: depthwise convolution and pooling."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from splitc_targets.gpu.loops import ends
from splitc_targets.gpu.loops.arithmetic import larger, largest
from splitc_targets.gpu.loops.threads import Kernel, Threads, in_range, kernel, where
from splitc_targets.kernels.window.depthwise import Depthwise
from splitc_targets.kernels.window.geometry import Windows
from splitc_targets.kernels.window.pool import Pool, Whole, whole_parameters
from splitc_targets.kernels.window.windows import arguments
from splitc_targets.loops import emit
from splitc_targets.loops.emit import Argument, Array, Index, Value, const, tirx

THREADS = 128
Meet = Callable[[Value, Index, Index, Index], Value]
"""(total, place in the input, place in the window, channel) -> total."""


def depthwise_kernel(name: str, spec: Depthwise) -> Kernel:
    """The kernel (x, packed weights, operands…, y)."""
    taps = spec.kernel[0] * spec.kernel[1]

    def write(code: Threads, *arrays: Array) -> None:
        x, w = arrays[0], arrays[1]

        def meet(total: Value, at: Index, tap: Index, channel: Index) -> Value:
            return total + x.number(at) * w.at(tap * spec.channels + channel)

        _windows(code, spec, arrays, 2, 0.0, meet)

    return _kernel(name, spec, arguments(spec, [Argument("w", (taps * spec.channels,))]), write)


def pool_kernel(name: str, spec: Pool) -> Kernel:
    """The kernel (x, operands…, y)."""

    def write(code: Threads, *arrays: Array) -> None:
        x = arrays[0]
        if spec.kind == "max":
            _windows(code, spec, arrays, 1, -math.inf, lambda t, at, *_: largest(t, x.number(at)))
            return
        _windows(code, spec, arrays, 1, 0.0, lambda t, at, *_: t + x.number(at), _mean(spec))

    return _kernel(name, spec, arguments(spec), write)


def whole_kernel(name: str, spec: Whole) -> Kernel:
    """The kernel (x, operands…, y): neighbouring threads have neighbouring channels."""
    total = spec.batch * spec.channels
    threads = min(THREADS, max(32, 1 << (total - 1).bit_length()))
    start = 0.0 if spec.kind == "mean" else -math.inf
    combine = {"mean": lambda a, b: a + b, "max": largest, "largest": larger}[spec.kind]

    def write(code: Threads, x: Array, *rest: Array) -> None:
        number, inside = in_range(code, total, threads)
        with where(code, inside):
            image = code.bind(emit.div(number, spec.channels), "image")
            channel = code.bind(emit.mod(number, spec.channels), "channel")
            sums = code.local(1)
            code.store(sums, 0, tirx.const(start, "float32"))
            base = code.bind(image * spec.x_image + channel)
            with code.loop("pixel", spec.pixels) as p:
                code.store(sums, 0, combine(sums.at(0), x.number(base + p * spec.x_pixel)))
            value = sums.at(0)
            if spec.kind == "mean":
                value = value * tirx.const(1.0 / spec.pixels, "float32")
            out = image * spec.y_image + channel
            zero = const(0)
            ends.store(
                code, spec, rest[:-1], rest[-1], out, code.bind(value), channel,
                (zero, zero, image), (1, spec.batch),
            )  # fmt: skip

    return kernel(name, whole_parameters(spec), -(-total // threads), threads, write)


def _kernel(
    name: str, spec: Windows, parameters: list[Argument], write: Callable[..., None]
) -> Kernel:
    results = spec.batch * spec.out_height * spec.out_width * spec.channels
    return kernel(name, parameters, -(-results // THREADS), THREADS, write)


def _windows(
    code: Threads, spec: Windows, arrays: tuple[Array, ...], own: int, start: float, meet: Meet,
    finish: Callable[..., Value] | None = None,
) -> None:  # fmt: skip
    """A window's result for each thread, channels side by side."""
    results = spec.batch * spec.out_height * spec.out_width * spec.channels
    number, inside = in_range(code, results, THREADS)
    with where(code, inside):
        pixel = code.bind(emit.div(number, spec.channels), "pixel")
        channel = code.bind(emit.mod(number, spec.channels), "channel")
        column = code.bind(emit.mod(pixel, spec.out_width), "column")
        line = code.bind(emit.div(pixel, spec.out_width), "line")
        row = code.bind(emit.mod(line, spec.out_height), "row")
        image = code.bind(emit.div(line, spec.out_height), "image")
        top = code.bind(row * spec.stride[0] - spec.pad[0], "top")
        left = code.bind(column * spec.stride[1] - spec.pad[1], "left")
        base = code.bind(image * spec.x_image + channel, "base")
        sums = code.local(1)
        code.store(sums, 0, tirx.const(start, "float32"))
        with code.loop("r", spec.kernel[0]) as r, code.loop("s", spec.kernel[1]) as s:
            y = code.bind(top + r * spec.dilation[0], "y")
            x = code.bind(left + s * spec.dilation[1], "x")
            with where(code, _within(spec, y, x)):
                at = base + y * spec.x_row + x * spec.x_pixel
                tap = r * spec.kernel[1] + s
                code.store(sums, 0, meet(sums.at(0), at, tap, channel))
        value = sums.at(0)
        if finish is not None:
            value = finish(code, value, row, column)
        out = image * spec.y_image + row * spec.y_row + column * spec.y_pixel + channel
        ends.store(
            code, spec, arrays[own:-1], arrays[-1], out, code.bind(value), channel,
            (image, row, column), (spec.out_height, spec.out_width),
        )  # fmt: skip


def _within(spec: Windows, y: Index, x: Index) -> Any:
    """Whether a place of a window lies in the map; None where all of them do."""
    checks = []
    for place, axis, size, out in ((y, 0, spec.height, spec.out_height),
                                   (x, 1, spec.width, spec.out_width)):  # fmt: skip
        reach = (spec.kernel[axis] - 1) * spec.dilation[axis]
        last = (out - 1) * spec.stride[axis] - spec.pad[axis] + reach
        if spec.pad[axis] > 0:
            checks.append(tirx.GE(emit.index(place), const(0)))
        if last >= size:
            checks.append(tirx.LT(emit.index(place), const(size)))
    if not checks:
        return None
    whole = checks[0]
    for check in checks[1:]:
        whole = tirx.And(whole, check)
    return whole


def _mean(spec: Pool) -> Callable[..., Value]:
    """A window's sum over how many places count: see `splitc_targets.kernels.window.pool`."""

    def count(code: Threads, at: Index, axis: int) -> Index:
        size, d = spec.kernel[axis], spec.dilation[axis]
        extent = (spec.height, spec.width)[axis]
        start = at * spec.stride[axis]
        if spec.count_padding:
            extent += spec.pad[axis] + spec.pad_after[axis]
            return code.bind(emit.least(size, emit.div(extent - start + d - 1, d)), "count")
        start = code.bind(start - spec.pad[axis], "start")
        first = emit.div(emit.most(0, 0 - start) + d - 1, d)
        last = emit.least(size, emit.div(emit.most(0, extent - start) + d - 1, d))
        return code.bind(last - first, "count")

    def finish(code: Threads, total: Value, row: Index, column: Index) -> Value:
        places = emit.most(1, count(code, row, 0) * count(code, column, 1))
        return total / tirx.Cast("float32", emit.index(places))

    return finish
