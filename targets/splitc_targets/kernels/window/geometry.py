# SPDX-License-Identifier: Apache-2.0
"""Windows over channels-last maps as numbers: sizes, distances, tiles and how cores share them."""

from __future__ import annotations

from dataclasses import dataclass

from splitc_targets.graph.expression import Expression
from splitc_targets.loops.fused import SUM, Operand
from splitc_targets.machine.machine import Machine

# Of depthwise convolutions of bytes (bytes.py):
FOUR = 4
"""Products of a lane."""
UNIT = 16
"""Channels of a tile: bytes of a vector of 128 bits."""
LANES = UNIT // FOUR
"""Lanes of the instruction: wider vectors would have to be put together from narrow ones."""


@dataclass(frozen=True)
class Windows:
    """An operation on a window of each channel; sizes and distances are in elements.

    Args:
        batch, height, width, channels: The input's maps.
        out_height, out_width: The result's map.
        kernel, stride, dilation: Rows and columns of the window.
        pad: Rows above and columns left of the input; what lies below and right follows.
        x_pixel, x_row, x_image: Distances in the input.
        y_pixel, y_row, y_image: Distances in the result.
        expression: What is stored; operand 0 is the window's result.
        operands: Its other operands.
        x_dtype, y_dtype: Element types of the input and the result: what turns into floats.
    """

    batch: int
    height: int
    width: int
    channels: int
    out_height: int
    out_width: int
    kernel: tuple[int, int]
    stride: tuple[int, int]
    dilation: tuple[int, int]
    pad: tuple[int, int]
    x_pixel: int
    x_row: int
    x_image: int
    y_pixel: int
    y_row: int
    y_image: int
    expression: Expression = SUM
    operands: tuple[Operand, ...] = ()
    x_dtype: str = "float32"
    y_dtype: str = "float32"

    @property
    def flops(self) -> int:
        """Operations of the mathematics, two for each value of each window."""
        results = self.batch * self.out_height * self.out_width * self.channels
        return 2 * results * self.kernel[0] * self.kernel[1]


def tile_columns(out_width: int, stride: int, machine: Machine) -> int:
    """Columns of a tile: the fewest tiles of at most eight, as equal as can be.

    Eight chains of additions hide their latency, and leave half of sixteen registers. Where
    additions cannot read memory, the input under a tile takes registers too: with a stride,
    half as many columns.
    """
    limit = 8 if stride == 1 or not machine.lane_fma else 4
    return -(-out_width // -(-out_width // limit))


def share(spec: Windows, machine: Machine, channels: int) -> tuple[int, int]:
    """Tiles of so many channels, and rows of the result, that one task takes.

    A task's rows stay in L2, and a vector's in L1, while windows overlap; there are
    enough tasks for every core to take a few.
    """
    cores, vectors = machine.cores, -(-spec.channels // channels)
    row_bytes = max(1, 4 * spec.width * spec.x_pixel * spec.stride[0])  # 0 where repeated
    band = max(1, min(spec.out_height, machine.l2_bytes // 2 // row_bytes))
    tasks = 4 * cores if cores > 1 else 1
    while band > 4 and spec.batch * -(-spec.out_height // band) < tasks:
        band = -(-band // 2)
    bands = spec.batch * -(-spec.out_height // band)
    block = vectors if bands >= tasks else max(1, vectors * bands // tasks)
    return block, band
