# SPDX-License-Identifier: Apache-2.0
"""Tensors at hand: numpy arrays of any element type, alone and by name."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

Array = np.ndarray[Any, np.dtype[Any]]

Arrays = Mapping[str, Array]
"""By the name of the tensor."""
