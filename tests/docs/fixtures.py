# SPDX-License-Identifier: Apache-2.0
"""The small network and the data that pages call net.py and data.py."""

from __future__ import annotations

NET = """
import torch
from torch import nn

class Net(nn.Sequential):
    def __init__(self):
        super().__init__()
        self.layer1 = nn.Sequential(nn.Conv2d(1, 8, 3, padding=1), nn.ReLU())
        self.layer2 = nn.Conv2d(8, 16, 3, padding=1)
        self.relu = nn.ReLU()
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.flatten = nn.Flatten()
        self.linear = nn.Linear(16, 2)

def net():
    torch.manual_seed(0)
    return Net(), torch.zeros(1, 1, 8, 8)
"""
DATA = """
import torch

def loaders():
    draw = torch.Generator().manual_seed(0)
    y = torch.arange(32) % 2
    x = torch.randn(32, 1, 8, 8, generator=draw) + y.view(-1, 1, 1, 1)
    batches = list(zip(x.split(8), y.split(8)))
    return batches, batches
"""
