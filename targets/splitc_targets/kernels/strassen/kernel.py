# SPDX-License-Identifier: Apache-2.0
# pyright: basic, reportAttributeAccessIssue=false, reportArgumentType=false
"""Strassen's product in Winograd's form, of 1x1 convolutions: seven products of halves for eight.

Of two pixels of an image, one after the other, the channels' halves are A11 A12 and A21 A22, of
the weights B the halves by both channels, of the result C likewise::

    S1 = A21 + A22   S2 = S1 - A11    S3 = A11 - A21    S4 = A12 - S2
    T1 = B12 - B11   T2 = B22 - T1    T3 = B22 - B12    T4 = T2 - B21
    P1 = A11 B11     P2 = A12 B21     P3 = S4 B22       P4 = A22 T4
    P5 = S1 T1       P6 = S2 T2       P7 = S3 T3
    C11 = P1 + P2    C12 = P1 + P6 + P5 + P3
    C21 = P1 + P6 + P7 - P4           C22 = P1 + P6 + P7 + P5

The stages and loops are those of Winograd's convolution, with pairs of pixels for tiles and seven
positions; T, made at load by `filters`, lies as u does.

What is infinite or not a number in one of two pixels is so in results of both.

References:
    Strassen, "Gaussian Elimination is not Optimal", Numerische Mathematik 13, 1969.
    Higham, "Accuracy and Stability of Numerical Algorithms", 2nd ed., 2002, 23.2.2.
"""

from __future__ import annotations

from typing import Any

from splitc_targets.kernels.product.geometry import Conv
from splitc_targets.kernels.strassen.plan import plan
from splitc_targets.kernels.winograd.kernel import Writer, parameters
from splitc_targets.kernels.winograd.stages import Place
from splitc_targets.loops import emit
from splitc_targets.loops.emit import Index
from splitc_targets.machine.machine import Machine


def workspace(conv: Conv, machine: Machine) -> int:
    """Elements of scratch that the kernel needs; best on a cache line's boundary."""
    return plan(conv, machine).workspace


def kernel(name: str, conv: Conv, machine: Machine, packed: int) -> Any:
    """The kernel (x, packed weights, operands…, workspace, y) in TVM's tensor IR."""
    made = plan(conv, machine)
    return emit.function(
        name, parameters(conv, packed, made.workspace),
        lambda code, *arrays: _Writer(code, conv, machine, made, arrays).write(),
    )  # fmt: skip


class _Writer(Writer):
    """Pairs of pixels in the place of tiles of a map."""

    def filter(self, position: Index) -> Index:
        return position

    def parts(self) -> int:
        return 1

    def place(self, tile: Index) -> Place:
        """The image of a pair, and the number of its first pixel in it."""
        pairs, bind = self.work.across, self.code.bind
        return Place(bind(emit.div(tile, pairs)), 0, bind(emit.mod(tile, pairs) * 2))

    def _pixel(self, place: Place, number: int) -> Place:
        """One of a pair's pixels; of a pair that lacks the second, the first again."""
        conv, bind = self.conv, self.code.bind
        last = conv.out_height * conv.out_width - 1
        at = place.column if number == 0 else bind(emit.least(place.column + 1, last))
        width = conv.out_width
        return Place(place.image, bind(emit.div(at, width)), bind(emit.mod(at, width)))

    def input(self, tile: Index, v: Index, part: Index, border: Index) -> None:
        conv, code, do, lanes = self.conv, self.code, self.do, self.machine.lanes
        place, half, step = self.place(tile), self.work.channels, self.plan.v_step
        pixels = [self._pixel(place, number) for number in range(2)]
        at = [
            code.bind(
                pixel.image * conv.x_image + pixel.row * (conv.stride[0] * conv.x_row)
                + pixel.column * (conv.stride[1] * conv.x_pixel)
            )
            for pixel in pixels
        ]  # fmt: skip
        with code.loop("c", half // lanes) as c:
            a11, a12, a21, a22 = (
                code.bind(self.x.at(first + skip + c * lanes, lanes), "a")
                for first in at
                for skip in (0, half)
            )
            s1, s3 = do.add(a21, a22), do.sub(a11, a21)
            s2 = do.sub(s1, a11)
            for position, value in enumerate((a11, a12, do.sub(a12, s2), a22, s1, s2, s3)):
                code.store(self.v, v + position * step + c * lanes, value, lanes)

    def output(self, place: Place, p: Index, block: Index, border: Index) -> None:
        code, plan, lanes = self.code, self.plan, self.machine.lanes
        first, second = (self._pixel(place, number) for number in range(2))
        wide = plan.width // lanes
        here = code.bind(emit.least(wide, self.work.out_channels // lanes - block * wide))
        channel = code.bind(block * plan.width)
        pixels = self.conv.out_height * self.conv.out_width
        if pixels % 2 == 0:
            self._vectors((first, second), p, channel, here)
            return
        alone = emit.tirx.EQ(emit.index(place.column), emit.const(pixels - 1))
        with code.when(emit.tirx.Not(alone)):
            self._vectors((first, second), p, channel, here)
        with code.when(alone):
            self._vectors((first,), p, channel, here)

    def _vectors(self, pixels: tuple[Place, ...], p: Index, channel: Index, count: Index) -> None:
        """The results of one or both pixels of a pair, in a block's channels of both halves."""
        code, do, lanes = self.code, self.do, self.machine.lanes
        with code.loop("c", count) as c:
            p1, p2, p3, p4, p5, p6, p7 = (
                code.bind(self.space.at(p + k * self.plan.p_step + c * lanes, lanes), "p")
                for k in range(self.work.positions)
            )
            u2 = do.add(p1, p6)
            u3 = do.add(u2, p7)
            results = (
                (do.add(p1, p2), do.add(do.add(u2, p5), p3)),
                (do.sub(u3, p4), do.add(u3, p5)),
            )
            for half in range(2):
                at = code.bind(channel + half * self.work.out_channels + c * lanes)
                fixed = self.epilogue.constants(at, None)
                for pixel, values in zip(pixels, results, strict=False):
                    self._store(pixel, 0, 0, at, values[half], fixed, None)
