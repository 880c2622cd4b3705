# SPDX-License-Identifier: Apache-2.0
"""PyTorch models: traced, read as layers, cut, with weights that can be trained."""

from __future__ import annotations

from typing import TYPE_CHECKING

from splitc.lazy_names import lazy_names, listed_names

if TYPE_CHECKING:
    from splitc.frontend.torch.batch import any_batch
    from splitc.frontend.torch.model import TorchModel, load_torch

__all__ = ["TorchModel", "any_batch", "load_torch"]

__getattr__ = lazy_names(__name__, {
    "TorchModel": "model",
    "load_torch": "model",
    "any_batch": "batch",
})  # fmt: skip

__dir__ = listed_names(__name__)
