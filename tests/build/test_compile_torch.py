# SPDX-License-Identifier: Apache-2.0
"""A PyTorch network compiled and verified: for this machine, and for a board under emulation."""

from __future__ import annotations

from pathlib import Path

import pytest

torch = pytest.importorskip("torch", reason="needs torch")

from torch import Tensor, nn  # noqa: E402

import splitc  # noqa: E402
from splitc.cost.board import load_board  # noqa: E402
from splitc.errors import UnsupportedOpError, UsageError  # noqa: E402
from splitc_targets.backend import TvmBackend  # noqa: E402
from splitc_targets.pipeline import plan_module  # noqa: E402
from tests.frontend.torch.nets import NETS, build, example  # noqa: E402


@pytest.mark.parametrize("head", ["host", "rpi4"])
def test_a_resnet_is_compiled_and_verified(
    head: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    if head != "host":
        request.getfixturevalue("qemu")
    model = splitc.load(build("resnet-b"), example())
    bundle = splitc.compile(model, cut="layer1.1.relu.2", head=head, output=tmp_path / "r.splitc")
    assert bundle.manifest.name == "ResNet"
    assert bundle.manifest.source.sha256 == model.digest
    assert bundle.manifest.route.crosses[0].layout == "channels-last"
    checked = bundle.verify(emulate=head != "host")
    assert checked.worst.relative < 1e-4


@pytest.mark.parametrize("name", NETS)
def test_no_operation_of_common_networks_falls_back_to_slow_loops(name: str) -> None:
    model = splitc.load(build(name), example())
    backend = TvmBackend()
    assert backend.unsupported(model) == []
    assert plan_module(backend.lower(model), load_board("rpi4")).fallbacks == []


class Singular(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return torch.linalg.svdvals(torch.relu(x)) + 1


def test_an_operator_that_tvm_lacks_is_named_before_compiling(tmp_path: Path) -> None:
    model = splitc.load(Singular(), torch.randn(3, 3))
    with pytest.raises(UnsupportedOpError, match="_linalg_svd"):
        splitc.compile(model, cut="relu", head="host", output=tmp_path / "s.splitc")
    assert not list(tmp_path.iterdir())


def test_a_torch_model_is_not_written_as_onnx(tmp_path: Path) -> None:
    model = splitc.load(build("plain"), example())
    with pytest.raises(UsageError, match="only a model read from ONNX"):
        splitc.compile(model, cut="0", emit="onnx", output=tmp_path / "p.splitc")
