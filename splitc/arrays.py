# SPDX-License-Identifier: Apache-2.0
"""Tensors at hand: numpy arrays of any element type, alone and by name."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

Array = np.ndarray[Any, np.dtype[Any]]

Arrays = Mapping[str, Array]
"""By the name of the tensor."""

_STEPS = 2


def nudged(array: Array, rng: np.random.Generator) -> Array:
    """Each element of an array of floats up to two of its type's steps off."""
    steps = rng.integers(-_STEPS, _STEPS + 1, array.shape, np.int8)
    return np.asarray(array * (1 + steps * np.finfo(array.dtype).eps), array.dtype)
