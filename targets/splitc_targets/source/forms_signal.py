# SPDX-License-Identifier: Apache-2.0
"""Fourier transforms as products with their matrices.

Equations and letters are those of onnx's operator documentation: complex numbers are pairs on the
last axis.
"""

from __future__ import annotations

import numpy as np

from splitc_targets.source.draft import Array, Node

LARGEST = 2**22
"""Elements of a transform's matrix: 2,048 samples, whole."""

AXIS_AS_INPUT = 20
"""The opset from which DFT reads its axis."""


def fourier(node: Node) -> bool:
    """DFT of real or complex numbers, whole or the half that a real signal's says all of."""
    shape, given, draft = node.shape(), node.given, node.draft
    inverse, half = bool(given.get("inverse")), bool(given.get("onesided"))
    length, axis = _said(node, 1), _axis(node)
    if shape is None or axis is None or length == 0 or shape[-1] not in (1, 2):
        return False
    if node.dtype() not in ("float32", "float64") or (half and shape[-1] != 1 + inverse):
        return False
    samples = shape[axis]
    back_to_real = inverse and half
    whole = (2 * (samples - 1) if back_to_real else samples) if length is None else length
    if whole < 1 or not samples or samples * whole > LARGEST:
        return False
    last = len(shape) - 2
    order = [k for k in range(len(shape)) if k != axis]
    order.insert(last, axis)
    x = draft.add("Transpose", node.input(0), perm=order) if order != sorted(order) else ""
    parts = _parts(node, x or node.input(0), shape[-1])
    if back_to_real:
        made = _real_signal(node, parts, min(samples, whole // 2 + 1), whole)
    else:
        made = _transformed(node, parts, min(samples, whole), whole, inverse=inverse, half=half)
    back = [order.index(k) for k in range(len(shape))]
    draft.add("Transpose", made, output=node.output(0), perm=back)
    return True


def short_time_fourier(node: Node) -> bool:
    """STFT: the transform of each frame, the frames gathered and weighted by the window."""
    shape, draft = node.shape(), node.draft
    step, length = _said(node, 1), _said(node, 3)
    half = bool(node.given.get("onesided", 1))
    if shape is None or not step or node.dtype() not in ("float32", "float64"):
        return False
    window = node.shape(2) if node.input(2) else None
    if length is None and window is not None:
        length = window[0]
    complex_signal = len(shape) == 3 and shape[2] == 2
    if not length or length > shape[1] or length * length > LARGEST or (half and complex_signal):
        return False
    count = (shape[1] - length) // step + 1
    places = np.arange(count)[:, None] * step + np.arange(length)
    x = node.input(0)
    if len(shape) == 2:
        x = draft.add("Unsqueeze", x, draft.constant(np.array([2], np.int64)))
    frames = draft.add("Gather", x, draft.constant(places.astype(np.int64)), axis=1)
    if window is not None:
        tall = draft.constant(np.array([length, 1], np.int64))
        frames = draft.add("Mul", frames, draft.add("Reshape", node.input(2), tall))
    parts = _parts(node, frames, 2 if complex_signal else 1)
    made = _transformed(node, parts, length, length, inverse=False, half=half)
    draft.add("Identity", made, output=node.output(0))
    return True


def _said(node: Node, place: int) -> int | None:
    """The one number that an input holds; None where it is left out, 0 where it is computed."""
    if not node.input(place):
        return None
    value = node.value(place)
    return 0 if value is None or value.size != 1 else int(value.ravel()[0])


def _axis(node: Node) -> int | None:
    """The axis that is transformed, which is not the pairs'; None where it is computed."""
    shape = node.shape() or ()
    axis: int = node.given.get("axis", 1)
    if node.draft.opset >= AXIS_AS_INPUT:
        axis = -2
        if node.input(2):
            value = node.value(2)
            if value is None:
                return None
            axis = int(value.ravel()[0])
    if not -len(shape) <= axis < len(shape) or axis % len(shape) == len(shape) - 1:
        return None
    return axis % len(shape)


def _parts(node: Node, x: str, count: int) -> list[str]:
    """The real and, where there is one, the imaginary part: [..., samples]."""
    return [
        node.draft.add("Gather", x, node.draft.constant(np.array(k, np.int64)), axis=-1)
        for k in range(count)
    ]


def _transformed(
    node: Node, parts: list[str], kept: int, length: int, *, inverse: bool, half: bool
) -> str:
    """Transform the last axis of parts, of which so many samples are kept; pairs behind it."""
    draft, dtype = node.draft, np.dtype(node.dtype())
    parts = _first(node, parts, kept)
    real, imaginary = _matrices(kept, length, length // 2 + 1 if half else length)
    if inverse:
        real, imaginary = real / length, -imaginary / length
    cosine, sine = (draft.constant(m.astype(dtype)) for m in (real, imaginary))
    made = [draft.add("MatMul", parts[0], matrix) for matrix in (cosine, sine)]
    if len(parts) == 2:
        made = [
            draft.add("Sub", made[0], draft.add("MatMul", parts[1], sine)),
            draft.add("Add", made[1], draft.add("MatMul", parts[1], cosine)),
        ]
    behind = draft.constant(np.array([-1], np.int64))
    return draft.add("Concat", *(draft.add("Unsqueeze", m, behind) for m in made), axis=-1)


def _first(node: Node, parts: list[str], kept: int) -> list[str]:
    """So many samples of the last axis, which has as many or more."""
    draft = node.draft
    ends = [np.array([n], np.int64) for n in (0, kept, -1)]
    return [draft.add("Slice", part, *map(draft.constant, ends)) for part in parts]


def _real_signal(node: Node, parts: list[str], kept: int, length: int) -> str:
    """A real signal from the half of its transform: what is left out is the mirror's conjugate."""
    draft, dtype = node.draft, np.dtype(node.dtype())
    real, imaginary = _matrices(kept, length, length)
    twice = np.full((kept, 1), 2.0)
    twice[0] = 1.0
    if length % 2 == 0 and kept > length // 2:
        twice[length // 2] = 1.0
    matrices = (m * twice / length for m in (real, imaginary))
    cosine, sine = (draft.constant(m.astype(dtype)) for m in matrices)
    first, second = _first(node, parts, kept)
    made = draft.add("Add", draft.add("MatMul", first, cosine), draft.add("MatMul", second, sine))
    return draft.add("Unsqueeze", made, draft.constant(np.array([-1], np.int64)))


def _matrices(kept: int, length: int, results: int) -> tuple[Array, Array]:
    """Real and imaginary part of exp(-2 pi i k n / length): [kept, results]."""
    # Whole turns are taken off as integers, where they are exact.
    turns = np.outer(np.arange(kept), np.arange(results)) % length
    angles = -2.0 * np.pi * turns / length
    return np.cos(angles), np.sin(angles)
