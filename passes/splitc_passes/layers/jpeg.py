# SPDX-License-Identifier: Apache-2.0
# pyright: reportUnknownMemberType=false, reportUnknownArgumentType=false
# pyright: reportUnknownVariableType=false
"""Feature maps as one JPEG image, by Pillow."""

from __future__ import annotations

import io
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from splitc.errors import BadModelError, ToolchainError
from splitc_passes.layers import coded
from splitc_passes.layers.coded import Values

_BITS = 8
LONGEST = 65_500
"""Pixels of the longest side that JPEG's library takes."""


@dataclass(frozen=True)
class Jpeg:
    """A coder: levels of 8 bits, maps side by side in a nearly square grey image, JPEG.

    Args:
        shape: A sample's. Its last two extents are a map's; a vector is maps of one pixel.
        low: The value of level 0.
        high: The value of level 255.
        quality: Pillow's, 1 to 100.
    """

    shape: tuple[int, ...]
    low: float
    high: float
    quality: int

    @property
    def grid(self) -> tuple[int, int]:
        """Rows and columns of maps in the image."""
        maps, _, _ = coded.map_shape(self.shape)
        columns = math.isqrt(max(maps - 1, 0)) + 1
        return -(-maps // columns), columns

    @property
    def size(self) -> tuple[int, int]:
        """Rows and columns of pixels in the image."""
        _, height, width = coded.map_shape(self.shape)
        return self.grid[0] * height, self.grid[1] * width

    def image(self, values: Values) -> np.ndarray[Any, np.dtype[np.uint8]]:
        """The image of a sample; where the last row has no maps left it is black."""
        maps, height, width = coded.map_shape(self.shape)
        rows, columns = self.grid
        tiles = np.zeros((rows * columns, height, width), np.uint8)
        levels = coded.to_levels(values, self.low, self.high, _BITS)
        tiles[:maps] = levels.reshape(maps, height, width)
        apart = tiles.reshape(rows, columns, height, width)
        return np.ascontiguousarray(apart.transpose(0, 2, 1, 3).reshape(self.size))

    def encode(self, values: Values) -> bytes:
        """The file, whole."""
        buffer = io.BytesIO()
        pillow().fromarray(self.image(values)).save(buffer, "JPEG", quality=self.quality)
        return buffer.getvalue()

    def decode(self, data: bytes) -> Values:
        """The sample in a file.

        Raises:
            BadModelError: It is no JPEG file, or of an image of another size.
        """
        try:
            with pillow().open(io.BytesIO(data), formats=("JPEG",)) as file:
                if (file.height, file.width) != self.size:
                    why = f"its image is {file.height}x{file.width} pixels"
                    raise BadModelError(f"a sample of another size than {self.size}", why=why)
                image = np.asarray(file.convert("L"))
        except OSError as error:
            raise BadModelError("a sample is no JPEG file", why=str(error)) from error
        maps, height, width = coded.map_shape(self.shape)
        apart = image.reshape(self.grid[0], height, self.grid[1], width).transpose(0, 2, 1, 3)
        levels = apart.reshape(-1, height, width)[:maps].reshape(self.shape)
        return coded.from_levels(levels, self.low, self.high, _BITS)


def pillow() -> Any:
    """Pillow's module for images.

    Raises:
        ToolchainError: It is not installed.
    """
    try:
        from PIL import Image
    except ImportError as error:
        raise ToolchainError(
            "JPEG needs Pillow", why=str(error), hint="pip install 'splitc[torch]'"
        ) from error
    return Image


class JpegEncoder(coded.Encoder[Jpeg]):
    """The JPEG file of each sample; see `Jpeg` and `coded.Encoder`."""

    splitc_op: ClassVar[str] = "jpeg_encode"

    def run(self, x: Tensor) -> Tensor:
        """The files of `x`."""
        code = self.code
        return torch.ops.splitc.jpeg_encode(x, code.low, code.high, code.quality, self.capacity)


class JpegDecoder(coded.Decoder[Jpeg]):
    """The samples in JPEG files; see `Jpeg` and `coded.Decoder`."""

    splitc_op: ClassVar[str] = "jpeg_decode"

    def run(self, x: Tensor) -> Tensor:
        """The samples in the files."""
        return torch.ops.splitc.jpeg_decode(x, self.code.shape, self.code.low, self.code.high)


@torch.library.custom_op(
    "splitc::jpeg_encode", mutates_args=(),
    schema="(Tensor x, float low, float high, int quality, int capacity) -> Tensor",
)  # fmt: skip
def _encode(x: Tensor, low: float, high: float, quality: int, capacity: int) -> Tensor:
    code = Jpeg(tuple(x.shape[1:]), low, high, quality)
    return coded.framed(coded.encoded(code, x), capacity).to(x.device)


@_encode.register_fake
def _(x: Tensor, low: float, high: float, quality: int, capacity: int) -> Tensor:
    return x.new_empty((x.shape[0], capacity), dtype=torch.uint8)


@torch.library.custom_op(
    "splitc::jpeg_decode", mutates_args=(),
    schema="(Tensor x, int[] shape, float low, float high) -> Tensor",
)  # fmt: skip
def _decode(x: Tensor, shape: Sequence[int], low: float, high: float) -> Tensor:
    code = Jpeg(tuple(shape), low, high, quality=1)  # a file says its own quality
    return coded.decoded(code, coded.unframed(x)).to(x.device)


@_decode.register_fake
def _(x: Tensor, shape: Sequence[int], low: float, high: float) -> Tensor:
    return x.new_empty((x.shape[0], *shape), dtype=torch.float32)
