# SPDX-License-Identifier: Apache-2.0
"""Image files as frames: for networks that read bytes, as one compiled with `--preprocess` does."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from splitc.arrays import Array
from splitc.errors import ToolchainError, UsageError
from splitc.runtime.manifest import TensorSpec

SUFFIXES = (".jpeg", ".jpg", ".png")
_FORMATS = ("JPEG", "PNG")
_MODES = {1: "L", 3: "RGB", 4: "RGBA"}
_MOST_PIXELS = 2**27


def image_input(path: Path, specs: Sequence[TensorSpec]) -> TensorSpec:
    """The input that an image file is for.

    Raises:
        UsageError: The network has several inputs, or its input is no image of bytes.
    """
    if len(specs) != 1:
        names = ", ".join(spec.name for spec in specs)
        why = f"the network has {len(specs)} inputs: {names}"
        raise UsageError(f"'{path}' is one image", why=why, hint="write arrays to an .npz file")
    spec = specs[0]
    if spec.dtype != "uint8" or _plane(spec) is None:
        shape = "x".join(map(str, spec.shape))
        raise UsageError(
            f"'{path}' is an image, and input '{spec.name}' takes none",
            why=f"it is {spec.dtype} {shape}, not one image of bytes",
            hint="splitc compile MODEL --preprocess 'uint8 nhwc …' lets the network read bytes",
        )
    return spec


def read_image(path: Path, spec: TensorSpec) -> Array:
    """An image file as one frame of an input: RGB, RGBA or grey, resized where its size differs.

    Args:
        path: JPEG or PNG.
        spec: The input, one that `image_input` gave.

    Returns:
        uint8 of the input's shape.

    Raises:
        UsageError: The file is broken, or of more than 2^27 pixels.
        ToolchainError: Pillow is not installed.
    """
    image = _pillow()
    plane = _plane(spec)
    assert plane is not None
    height, width, channels, last = plane
    try:
        with image.open(path, formats=_FORMATS) as file:
            if file.width * file.height > _MOST_PIXELS:
                why = f"{file.width} x {file.height} pixels, the limit is 2^27"
                raise UsageError(f"'{path}' is too large", why=why)
            made = file.convert(_MODES[channels])
    except (OSError, ValueError, SyntaxError, image.DecompressionBombError) as error:
        raise UsageError(f"'{path}' is no image that can be read", why=str(error)) from error
    if made.size != (width, height):
        made = made.resize((width, height), image.Resampling.BILINEAR)
    array = np.asarray(made, np.uint8).reshape(height, width, channels)
    return np.ascontiguousarray(array if last else array.transpose(2, 0, 1)).reshape(
        [extent or 1 for extent in spec.shape]
    )


def _plane(spec: TensorSpec) -> tuple[int, int, int, bool] | None:
    """Height, width, channels of an input of one image, and whether they are last."""
    shape = [extent or 0 for extent in spec.shape]
    if len(shape) == 4 and shape[0] == 1:
        shape = shape[1:]
    if len(shape) != 3 or min(shape) < 1:
        return None
    if shape[2] in _MODES:
        return shape[0], shape[1], shape[2], True
    return (shape[1], shape[2], shape[0], False) if shape[0] in _MODES else None


def _pillow() -> Any:
    try:
        from PIL import Image
    except ImportError as error:
        raise ToolchainError(
            "reading images needs Pillow", why=str(error), hint="pip install pillow"
        ) from error
    return Image
