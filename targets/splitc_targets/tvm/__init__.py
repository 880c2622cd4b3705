# SPDX-License-Identifier: Apache-2.0
"""TVM: its front ends, its loops where no rule has any, and modules for its code generator."""

from __future__ import annotations

import sys

if "torch" not in sys.modules:
    # TVM's FFI imports PyTorch where it is installed: over a second and 200 MB, and nothing of it
    # is used unless a network comes from there, when it is imported already.
    sys.modules["torch"] = None  # pyright: ignore[reportArgumentType]
    try:
        import tvm as _tvm  # pyright: ignore[reportUnusedImport]  # noqa: F401
    finally:
        del sys.modules["torch"]
