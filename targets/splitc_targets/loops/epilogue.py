# SPDX-License-Identifier: Apache-2.0
# pyright: basic
"""What every kernel does between its sums and memory, in one place.

A kernel that computes a map or a matrix ends in an expression: bias, scale, residual,
activation, rounding, clipping, in whatever order the network has them. Operand 0 is the sum;
the others are read beside it, each in its own element type. What comes out is converted to the
result's element type and stored, of the last channels only as many as there are.

So all kernels read beside, and write, the same element types: which kernel computes a layer
never decides how the layer's tensors lie in memory.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence

import numpy as np

from splitc_targets.graph.expression import Clamped, Expression, clamped, in_few_steps
from splitc_targets.loops import emit
from splitc_targets.loops.arithmetic import evaluate
from splitc_targets.loops.emit import Argument, Array, Code, Index, Value
from splitc_targets.loops.fused import Fused, converts
from splitc_targets.loops.narrowing import narrows, nearest_bytes


def parameters(spec: Fused, batch: int, height: int, width: int, channels: int) -> list[Argument]:
    """A kernel's parameters for the operands of its expression."""
    return [
        Argument(f"e{number}", (operand.size(batch, height, width, channels),), operand.dtype)
        for number, operand in enumerate(spec.operands)
    ]


_TOGETHER = (4, 2)
"""Vectors that may be finished together, the most first."""


def _saturating(expression: Expression, dtype: str) -> Clamped | None:
    """A kernel's end as rounding and clipping within its result's bytes, if it is that."""
    if dtype not in _BYTES:
        return None
    ends, limits = clamped(expression), np.iinfo(dtype)
    if ends is None or abs(ends.shift) > _FAR:
        return None
    # Beyond a byte numbers wrap: what is not clipped to it, or to nothing within, is no clamp.
    return ends if limits.min <= ends.low <= ends.high <= limits.max else None


_BYTES = ("int8", "uint8")

_FAR = 1024
"""Shifts up to which a number clipped to 16 bits and shifted is still beyond a byte."""


class Epilogue:
    """Writes one kernel's ends.

    Args:
        code: Gets the statements.
        spec: The kernel's description.
        lanes: Of a vector of channels.
        extra: The operands' arrays.
        y: The result's.
        together: Vectors of sums that are finished as one.
        near: Whether what is rounded to bytes is known to lie within `narrowing.FAR_END` of 0.
    """

    def __init__(
        self, code: Code, spec: Fused, lanes: int, extra: Sequence[Array], y: Array,
        together: int = 1, *, near: bool = False,
    ) -> None:  # fmt: skip
        self.code, self.spec, self.lanes = code, spec, lanes * together
        self.extra, self.y = extra, y
        self._vector, self._near = lanes, near
        whole = [k + 1 for k, each in enumerate(spec.operands) if each.dtype in _BYTES]
        self._expression = in_few_steps(spec.expression, whole)
        self._bytes = _saturating(self._expression, spec.y_dtype)
        self._narrows = self._bytes is not None and narrows(self.lanes, lanes)

    def shares(self, vectors: int, used: int) -> Iterator[tuple[Epilogue, int, int]]:
        """How a pixel's vectors of sums are finished: with what, which first, and how many.

        Several together where the target narrows them to bytes so.

        Args:
            vectors: Of sums.
            used: Channels of them all.
        """
        j = 0
        while j < vectors:
            count = next((n for n in _TOGETHER if self._whole(n, used - j * self.lanes)), 1)
            yield (self if count == 1 else self.of(count)), j, count
            j += count

    def _whole(self, count: int, used: int) -> bool:
        """Whether so many vectors are narrowed together, all of whose channels are there."""
        lanes = count * self.lanes
        return self._bytes is not None and lanes <= used and narrows(lanes, self._vector)

    def of(self, count: int) -> Epilogue:
        """The same for so many vectors together."""
        given = self.code, self.spec, self.lanes, self.extra, self.y
        return Epilogue(*given, count, near=self._near)

    def _nearest(self, ends: Clamped, read: Callable[[int], Value]) -> Value:
        """Bytes by a conversion that rounds and narrowing that saturates."""
        value = evaluate(self.code, ends.value, read, self.lanes)
        dtype = self.spec.y_dtype
        made = nearest_bytes(self.code, value, self.lanes, ends.shift, dtype, near=self._near)
        limits = np.iinfo(dtype)
        if ends.low > limits.min:
            low = emit.number(int(ends.low), self.lanes, dtype)
            made = emit.tirx.max(self.code.bind(made), low)
        if ends.high < limits.max:
            high = emit.number(int(ends.high), self.lanes, dtype)
            made = emit.tirx.min(self.code.bind(made), high)
        return made

    def constant(self, number: int, channel: Index, used: int | None) -> Value:
        """An operand that is the same at every pixel, for the channels from `channel` on."""
        if self.spec.operands[number].kind == "scalar":
            return self.extra[number].everywhere(0, self.lanes)
        return self.extra[number].at(channel, self.lanes, used)

    def constants(self, channel: Index, used: int | None) -> dict[int, Value]:
        """Every operand that is the same at every pixel, by its number."""
        return {
            number: self.code.bind(self.constant(number, channel, used))
            for number, operand in enumerate(self.spec.operands)
            if not operand.by_pixel
        }

    def places(
        self, where: Callable[[tuple[int, int, int]], Index], height: int, width: int
    ) -> dict[int, Index]:
        """Where in each operand that pixels differ in something lies, by the operand's number.

        Args:
            where: The place, given the distances between images, rows and pixels.
            height, width: The result's.
        """
        return {
            number: self.code.bind(where(operand.steps(height, width)))
            for number, operand in enumerate(self.spec.operands)
            if operand.by_pixel
        }

    def store(
        self, out: Index, total: Value, constants: Mapping[int, Value],
        place: Callable[[int], Index], used: int | None,
    ) -> None:  # fmt: skip
        """Store what becomes of one vector of sums.

        Args:
            out: Its first element in the result.
            total: The sums, as floats.
            constants: As `constants` gives them.
            place: The first element to read of the operand with that number, which pixels
                differ in.
            used: Channels of the vector.
        """

        def read(number: int) -> Value:
            return total if number == 0 else self._beside(number - 1, constants, place, used)

        if self._bytes is not None and self._narrows:
            value = self._nearest(self._bytes, read)
        else:
            value = finished(self.code, self._expression, read, self.lanes, self.spec.y_dtype)
        self.code.store(self.y, out, value, self.lanes, used)

    def _beside(
        self, number: int, constants: Mapping[int, Value], place: Callable[[int], Index],
        used: int | None,
    ) -> Value:  # fmt: skip
        """An operand beside a vector of sums."""
        if number in constants:
            return constants[number]
        if self.spec.operands[number].kind == "pixel":
            return emit.splat(self.extra[number].number(place(number)), self.lanes)
        return self.extra[number].number(place(number), self.lanes, used)

    def store_row(
        self, count: int, out: Callable[[Index], Index], total: Callable[[int], Value],
        constants: Mapping[int, Value], place: Callable[[int, Index], Index], used: int,
    ) -> None:  # fmt: skip
        """Store what becomes of the sums of several pixels.

        Long expressions (exponentials) are written in loops over sums that were stored as they
        are: written out for every pixel they would take most of the compile time.
        """
        if converts(self.spec.expression):
            for i in range(count):
                self.store(out(i), total(i), constants, lambda n, i=i: place(n, i), used)
            return
        parts = _parts(count)
        again = sum(parts.values()) > 1
        for i in range(count) if again else ():
            self.code.store(self.y, out(i), total(i), self.lanes, used)
        first = 0
        for size, many in parts.items():
            with self.code.loop("i", many) as i:
                pixels = [first + i * size + k for k in range(size)]
                totals = [
                    self.y.at(out(pixel), self.lanes, used) if again else total(pixel)
                    for pixel in pixels
                ]
                self._store_pixels(pixels, out, totals, constants, place, used)
            first += size * many

    def _store_pixels(
        self, pixels: Sequence[Index], out: Callable[[Index], Index], totals: Sequence[Value],
        constants: Mapping[int, Value], place: Callable[[int, Index], Index], used: int,
    ) -> None:  # fmt: skip
        """Store what becomes of one vector of sums of each of some pixels, computed as one."""
        if len(pixels) == 1:
            (pixel,), (total,) = pixels, totals
            self.store(out(pixel), total, constants, lambda n: place(n, pixel), used)
            return
        code, lanes = self.code, self.lanes * len(pixels)

        def read(number: int) -> Value:
            vectors = totals if number == 0 else [
                self._beside(number - 1, constants, lambda n, p=pixel: place(n, p), used)
                for pixel in pixels
            ]  # fmt: skip
            return emit.shuffle(vectors, range(lanes))

        value = code.bind(finished(code, self.spec.expression, read, lanes, self.spec.y_dtype))
        for k, pixel in enumerate(pixels):
            part = emit.shuffle([value], range(k * self.lanes, (k + 1) * self.lanes))
            code.store(self.y, out(pixel), part, self.lanes, used)


_SIDE_BY_SIDE = 4
"""Pixels whose long expressions are computed as one on AArch64.

Each operation of such waits for the one before; those of others fill the time, and a core finds
only so many of them by itself.
"""


def _parts(count: int) -> dict[int, int]:
    """Pixels that a long expression is computed of at once, powers of two, and how often."""
    left, found, size = count, dict[int, int](), _SIDE_BY_SIDE if emit.on_aarch64() else 1
    while left:
        many, left = divmod(left, size)
        if many:
            found[size] = many
        size //= 2
    return found


def finished(
    code: Code, expression: Expression, operand: Callable[[int], Value], lanes: int, dtype: str,
    floats: str = "float32",
) -> Value:  # fmt: skip
    """An expression's value, converted to an element type.

    Args:
        code: Gets the statements.
        expression: Over operands in the floats it is computed in.
        operand: Gives them.
        lanes: Of the vectors.
        dtype: What it is converted to.
        floats: What it is computed in.
    """
    value = evaluate(code, expression, operand, lanes, floats)
    return emit.converted(value, floats, dtype, lanes)
