# SPDX-License-Identifier: Apache-2.0
"""How a convolution is computed by products of tiles (AMX), and what that is predicted to cost."""

from __future__ import annotations

from dataclasses import dataclass, replace

from splitc_targets.kernels.product import geometry
from splitc_targets.kernels.product.geometry import Conv
from splitc_targets.loops.tiles import RIGHT, ROWS, WORDS
from splitc_targets.machine import tiles
from splitc_targets.machine.core import TileProduct
from splitc_targets.machine.machine import Machine


@dataclass(frozen=True)
class Plan:
    """A convolution on tiles.

    Args:
        source: As the input lies, in words, flattened.
        conv: As tiles read it.
        copied: Whether that is a copy.
        above, below: Rows that the copy has before and behind the map's.
        left, right: Columns, likewise.
    """

    source: Conv
    conv: Conv
    copied: bool
    above: int
    below: int
    left: int
    right: int

    @property
    def rows(self) -> int:
        """Pixels of a tile."""
        return min(ROWS, self.conv.out_width)

    @property
    def tiles(self) -> int:
        """Of a row of the result."""
        return -(-self.conv.out_width // self.rows)

    @property
    def copy_words(self) -> int:
        """Of the copy; 0 where there is none."""
        return self.conv.batch * self.conv.x_image if self.copied else 0


def supported(conv: Conv, group: int) -> bool:
    """Whether a convolution is computed so: of groups only where they are whole words' tiles."""
    return conv.w_image == 0 and (conv.groups == 1 or conv.channels % (group * WORDS) == 0)


def plan(conv: Conv, *, rows: bool = False) -> Plan:
    """How a convolution in words is computed.

    Args:
        conv: The convolution.
        rows: Whether rows beyond the map are in the copy too: where they are not zeros' bits.
            Kernel rows that meet none of the map's are left out otherwise.
    """
    source = geometry.flattened(conv)
    channels = -(-source.channels // WORDS) * WORDS
    above, below = _beyond(source, 0) if rows else (0, 0)
    left, right = _beyond(source, 1)
    copied = channels != source.channels or above + below + left + right > 0
    pixel = channels * source.groups
    made = source
    if copied:
        row = (source.width + left + right) * pixel
        made = replace(
            source, channels=channels, width=source.width + left + right,
            height=source.height + above + below,
            pad=(source.pad[0] - above, source.pad[1] - left), x_pixel=pixel, x_row=row,
            x_image=row * (source.height + above + below),
        )  # fmt: skip
    vectors = min(len(RIGHT), -(-(source.out_channels // source.groups) // WORDS))
    made = replace(made, tile=tiles.Tile(min(ROWS, made.out_width), vectors))
    return Plan(source, made, copied, above, below, left, right)


def _beyond(conv: Conv, axis: int) -> tuple[int, int]:
    """Rows or columns that a convolution reads before and behind the map's."""
    size, out = ((conv.height, conv.out_height), (conv.width, conv.out_width))[axis]
    last = (out - 1) * conv.stride[axis] - conv.pad[axis]
    last += (conv.kernel[axis] - 1) * conv.dilation[axis]
    return max(0, conv.pad[axis]), max(0, last - (size - 1))


def workers(tasks: int, conv: Conv, machine: Machine) -> int:
    """Cores that share so many tasks of a convolution in words."""
    return min(machine.cores, tasks) if machine.shares(2 * conv.flops) else 1


def cycles(conv: Conv, row: TileProduct, machine: Machine) -> float:
    """Predicted cycles of a convolution in words, rows of the result shared by all cores.

    Not measured: from the instructions' published rates, and what the expression and the copy
    read and write.
    """
    made = plan(conv)
    lines = made.conv.batch * made.conv.out_height
    vectors = -(-made.conv.out_channels // made.conv.groups // WORDS) * made.conv.groups
    steps = made.conv.kernel[0] * made.conv.kernel[1] * made.conv.channels // WORDS
    each = steps * row.cycles + _STORED * made.rows
    copied = _COPIED * made.copy_words / WORDS
    total = lines * made.tiles * vectors * each + copied
    return total / workers(lines * made.tiles, conv, machine)


RULES = {"bfloat16": "tiles", "int8": "bytetiles"}
"""What steps are called, by the weights that their instruction multiplies by."""

_STORED = 3.0
"""Cycles of one row of a tile of sums: stored, loaded, and the expression's result stored."""

_COPIED = 2.0
"""Cycles of a vector of the copy, written and read again."""
