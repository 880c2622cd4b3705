# SPDX-License-Identifier: Apache-2.0
# pyright: basic
"""Parts are lowered in threads at once; TVM's block builders share one stack."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest

from splitc.cost.board import load_board
from splitc_targets import pipeline
from splitc_targets.tvm import adapter
from tests.targets.nets import Net


@pytest.fixture
def switching() -> Iterator[None]:
    """Threads take turns as often as they can."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(before)


@pytest.mark.usefixtures("switching")
def test_networks_are_lowered_in_threads_at_once() -> None:
    net = Net(0)
    value = net.input(4)
    for _ in range(20):
        value = net.op("Exp", value)
    net.outputs = [value]
    proto = net.proto()
    with ThreadPoolExecutor(4) as threads:
        made = list(threads.map(adapter.lower, [proto] * 8))
    assert [adapter.results(module) for module in made] == [[((4,), "float32")]] * 8


@pytest.mark.usefixtures("switching")
def test_loops_of_tvm_are_asked_for_in_threads_at_once() -> None:
    net = Net(0)
    value = net.input(4)
    for _ in range(8):
        value = net.op("CumSum", value, np.array(0))
    net.outputs = [value]
    proto, board = net.proto(), load_board("x86-64-v2")

    def compiled(_: int) -> Any:
        return pipeline.compile_module(adapter.lower(proto), board)

    with ThreadPoolExecutor(4) as threads:
        assert len(list(threads.map(compiled, range(4)))) == 4
