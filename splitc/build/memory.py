# SPDX-License-Identifier: Apache-2.0
"""Memory that was freed and that the C library keeps: hundreds of MB after a network was run."""

from __future__ import annotations

import ctypes
import sys


def return_memory() -> None:
    """Give it back to the system, where the C library is glibc."""
    if sys.platform == "linux":
        trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
        if trim is not None:
            trim(0)
