# SPDX-License-Identifier: Apache-2.0
"""What importing TVM costs is what it needs."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tests.helpers import ROOT

ONNX_THEN_TORCH = """
import sys
from splitc_targets.tvm import adapter
assert "torch" not in sys.modules, "TVM brought PyTorch"
import torch
from splitc import load
from splitc.cost.board import load_board
from splitc_targets.backend import TvmBackend
net = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.ReLU()).eval()
x = torch.linspace(-1, 1, 3 * 6 * 6).reshape(1, 3, 6, 6)
backend = TvmBackend()
code = backend.compile(backend.lower(load(net, (x,))), load_board("host"))
print(float(abs(code.here()(x.numpy())[0] - net(x).detach().numpy()).max()))
"""


def test_pytorch_is_imported_for_networks_of_its_own_only() -> None:
    pytest.importorskip("torch")
    done = subprocess.run(
        [sys.executable, "-c", ONNX_THEN_TORCH],
        capture_output=True, text=True, check=False, cwd=ROOT,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert float(done.stdout) < 1e-5
