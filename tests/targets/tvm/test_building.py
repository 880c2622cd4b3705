# SPDX-License-Identifier: Apache-2.0
# pyright: basic
"""What TVM's builder refuses while code is written is a failure of the toolchain, by name."""

from __future__ import annotations

import pytest

from splitc.cost.board import load_board
from splitc.errors import ToolchainError
from splitc_targets import pipeline
from splitc_targets.kernels import elementwise
from splitc_targets.loops import emit
from splitc_targets.tvm import adapter
from tests.targets.nets import Net


def test_a_kernel_that_tvm_cannot_write_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(name: str, *_: object) -> object:
        return emit.function(name, [], lambda code: code.add("no statement"))

    monkeypatch.setattr(elementwise, "kernel", broken)
    net = Net(0)
    net.outputs = [net.op("Exp", net.input(4))]
    with pytest.raises(ToolchainError, match="TVM cannot compile the model") as caught:
        pipeline.compile_module(adapter.lower(net.proto()), load_board("x86-64-v2"))
    assert caught.value.why
    assert caught.value.exit_code == 6
