# SPDX-License-Identifier: Apache-2.0
"""When a layer without a gradient of its own lets one pass straight through."""

from __future__ import annotations

import torch
from torch import Tensor


def wants_gradient(x: Tensor) -> bool:
    """Whether somebody trains through `x`; never while a network is traced or exported.

    The mode of a module does not tell: parts that are frozen are trained through in eval mode.

    References:
        Bengio, Leonard, Courville, "Estimating or Propagating Gradients Through
        Stochastic Neurons", 2013, arXiv:1308.3432: the straight-through estimator.
    """
    return torch.is_grad_enabled() and x.requires_grad
