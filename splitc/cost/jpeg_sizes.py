# SPDX-License-Identifier: Apache-2.0
"""How large frames are as JPEG: sample inputs written with Pillow, and counted."""

from __future__ import annotations

from collections.abc import Sequence
from io import BytesIO
from typing import TYPE_CHECKING, Any

import numpy as np

from splitc.arrays import Array, Arrays
from splitc.cost.sent_input import QUALITY, JpegSizes, Plane, plane_of
from splitc.ir.graph import LayerGraph

if TYPE_CHECKING:
    from numpy.typing import NDArray

_MOST = 64
"""Samples that are written at most."""


def jpeg_sizes(graph: LayerGraph, samples: Sequence[Arrays]) -> JpegSizes | None:
    """Bytes that a network's inputs of images take as JPEG, the mean over samples.

    Args:
        graph: The network's layers.
        samples: Arrays by input name.

    Returns:
        None where there is no sample, no input of images, or no Pillow.
    """
    planes = {t.name: plane for t in graph.inputs if (plane := plane_of(t)) is not None}
    image = _pillow()
    taken = samples[:_MOST]
    if image is None or not planes or not taken:
        return None
    exact = True
    nbytes: list[tuple[str, int]] = []
    for name, plane in planes.items():
        total = 0
        for sample in taken:
            frames, lossless = _pixels(sample[name], plane)
            exact &= lossless
            total += sum(_size(image, frame) for frame in frames)
        nbytes.append((name, -(-total // len(taken))))
    return JpegSizes(tuple(nbytes), len(taken), QUALITY, exact)


def _pixels(array: Array, plane: Plane) -> tuple[NDArray[np.uint8], bool]:
    """Frames of bytes [N, H, W, C], and whether their levels are those of the array.

    Floats from 0 to 1 are shares of 255, from 0 to 255 levels; others were moved and scaled by
    channel, as networks are trained, and are brought back to 0 to 255 by channel. That is no
    picture that was, but one with its details, which is what JPEG pays for.
    """
    shape = (plane.frames, plane.height, plane.width, plane.channels)
    if not plane.last:
        shape = (plane.frames, plane.channels, plane.height, plane.width)
    values = np.asarray(array).reshape(shape)
    frames = values if plane.last else values.transpose(0, 2, 3, 1)
    if frames.dtype == np.uint8:
        return np.ascontiguousarray(frames, np.uint8), True
    floats = np.nan_to_num(frames.astype(np.float64), posinf=0.0, neginf=0.0)
    low, high = float(floats.min()), float(floats.max())
    known = low >= 0 and high <= 255
    if known:
        levels = floats * 255 if high <= 1 else floats
    else:
        least = floats.min(axis=(0, 1, 2), keepdims=True)
        span = floats.max(axis=(0, 1, 2), keepdims=True) - least
        levels = (floats - least) / np.where(span > 0, span, 1) * 255
    return np.rint(levels).astype(np.uint8), known


def _size(image: Any, frame: NDArray[np.uint8]) -> int:
    file = BytesIO()
    picture = frame[:, :, 0] if frame.shape[2] == 1 else frame
    image.fromarray(np.ascontiguousarray(picture)).save(file, "JPEG", quality=QUALITY)
    return file.tell()


def _pillow() -> Any:
    try:
        from PIL import Image
    except ImportError:
        return None
    return Image
