# SPDX-License-Identifier: Apache-2.0
"""How inputs would be sent to a server that runs all of a network: what a split has to beat."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, get_args

from splitc.errors import UsageError
from splitc.ir.graph import LayerGraph, Tensor

SentAs = Literal["tensor", "uint8", "jpeg"]
ServerInput = Literal["auto", "tensor", "uint8", "jpeg"]
SERVER_INPUTS: tuple[ServerInput, ...] = get_args(ServerInput)
"""`tensor` is the input as the network reads it; `auto` each of the three that fits it."""

QUALITY = 90
"""Of JPEG where frames are there to be measured, with 4:2:0 chroma as libjpeg has it."""
BITS_A_PIXEL = 2.0
"""Of JPEG where none are: the most of "1.5 to 2.0 bits/pixel, usually indistinguishable from the
original" (Wallace, "The JPEG Still Picture Compression Standard", CACM 34(4), 1991)."""
HEADER_BYTES = 623
"""Markers, quantisation tables and the Huffman tables of the standard's Annex K, in colour."""

_CHANNELS = (1, 3)
_SMALLEST = 16
"""Rows and columns below which an input is taken for no image."""
_PIXELS = ("float16", "float32", "uint8")
_FLOATS = ("float16", "float32", "float64", "bfloat16")


@dataclass(frozen=True)
class JpegSizes:
    """How large the frames of some samples are as JPEG.

    Args:
        nbytes: Mean bytes of one call's frames, by the input's name.
        samples: How many were measured.
        quality: What they were written with.
        exact: Whether they came as pixels, not as floats that had to be made such.
    """

    nbytes: tuple[tuple[str, int], ...]
    samples: int
    quality: int = QUALITY
    exact: bool = True


@dataclass(frozen=True)
class Sent:
    """One way to send a network's inputs.

    Args:
        how: What they are sent as.
        nbytes: Bytes of each input, in the network's order.
        source: Where the bytes are from, in words; starts with `exact`, `measured` or `assumed`.
    """

    how: SentAs
    nbytes: tuple[int, ...]
    source: str


@dataclass(frozen=True)
class Plane:
    """What an input of images holds.

    Args:
        frames: How many images.
        height: Rows of each.
        width: Columns of each.
        channels: 1 or 3.
        last: Whether the channels are the last axis, not the one before rows.
    """

    frames: int
    height: int
    width: int
    channels: int
    last: bool

    @property
    def pixels(self) -> int:
        """Of all frames."""
        return self.frames * self.height * self.width


def plane_of(tensor: Tensor) -> Plane | None:
    """The images of an input of four axes with one or three channels; None where it is none."""
    shape = tensor.shape or ()
    if len(shape) != 4 or tensor.dtype not in _PIXELS:
        return None
    frames, first, second, last = (extent or 0 for extent in shape)
    if not min(frames, first, second, last):
        return None
    if first in _CHANNELS:
        return Plane(frames, second, last, first, last=False)
    return Plane(frames, first, second, last, last=True) if last in _CHANNELS else None


def looks_like_an_image(tensor: Tensor) -> bool:
    """Whether an input is taken for images unless the user says what it is."""
    plane = plane_of(tensor)
    return plane is not None and min(plane.height, plane.width) >= _SMALLEST


def ways_to_send(
    graph: LayerGraph, given: ServerInput = "auto", jpeg: JpegSizes | None = None
) -> tuple[Sent, ...]:
    """The ways in which the inputs of a network would be sent, the network's own first.

    Args:
        graph: The network's layers.
        given: The one way that the user says, or `auto`.
        jpeg: What was measured.

    Returns:
        With `auto`, as the network reads them, and where inputs look like images those as bytes
        of their pixels and as JPEG too. Else the one that was said.

    Raises:
        UsageError: The user says a way that fits no input.
    """
    own = Sent("tensor", tuple(t.nbytes or 0 for t in graph.inputs), "exact, as the network reads")
    if given == "tensor":
        return (own,)
    if given == "auto":
        if not any(map(looks_like_an_image, graph.inputs)):
            return (own,)
        pictures = [looks_like_an_image(t) for t in graph.inputs]
        as_bytes, as_jpeg = _as_bytes(graph, pictures), _as_jpeg(graph, pictures, jpeg)
        same = as_bytes.nbytes == own.nbytes
        return (own, as_jpeg) if same else (own, as_bytes, as_jpeg)
    if given == "uint8":
        some = [t.dtype in _FLOATS or t.dtype == "uint8" for t in graph.inputs]
        _refuse_none(graph, some, given, "no input holds floats that bytes could stand for")
        return (_as_bytes(graph, some),)
    some = [plane_of(t) is not None for t in graph.inputs]
    why = "images are inputs of four axes, one or three of them channels"
    _refuse_none(graph, some, given, why)
    return (_as_jpeg(graph, some, jpeg),)


def _refuse_none(graph: LayerGraph, some: Sequence[bool], given: str, why: str) -> None:
    if not any(some):
        forms = ", ".join(f"{t.name} {t}" for t in graph.inputs)
        raise UsageError(
            f"--server-input {given} fits no input", at=forms, why=why,
            hint="--server-input tensor sends them as the network reads them",
        )  # fmt: skip


def _as_bytes(graph: LayerGraph, some: Sequence[bool]) -> Sent:
    """Some inputs a byte an element, as cameras and decoders give them."""
    inputs = zip(graph.inputs, some, strict=True)
    nbytes = (
        math.prod(extent or 0 for extent in t.shape or ()) if picked else t.nbytes or 0
        for t, picked in inputs
    )  # fmt: skip
    return Sent("uint8", tuple(nbytes), "exact, a byte an element")


def _as_jpeg(graph: LayerGraph, some: Sequence[bool], jpeg: JpegSizes | None) -> Sent:
    known = dict(jpeg.nbytes) if jpeg is not None else {}
    sizes: list[int] = []
    assumed = False
    for tensor, picked in zip(graph.inputs, some, strict=True):
        plane = plane_of(tensor) if picked else None
        if plane is None:
            sizes.append(tensor.nbytes or 0)
        elif tensor.name in known:
            sizes.append(known[tensor.name])
        else:
            assumed = True
            sizes.append(_assumed_bytes(plane))
    if jpeg is None or assumed:
        return Sent("jpeg", tuple(sizes), f"assumed, {BITS_A_PIXEL:g} bits a pixel")
    plural = "" if jpeg.samples == 1 else "s"
    made = "" if jpeg.exact else ", their floats scaled to bytes"
    source = f"measured, mean of {jpeg.samples} sample{plural} at quality {jpeg.quality}{made}"
    return Sent("jpeg", tuple(sizes), source)


def _assumed_bytes(plane: Plane) -> int:
    return plane.frames * HEADER_BYTES + math.ceil(plane.pixels * BITS_A_PIXEL / 8)
