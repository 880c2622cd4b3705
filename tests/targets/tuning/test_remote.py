# SPDX-License-Identifier: Apache-2.0
"""Kernels of compiled code, timed where TVM's own RPC server runs: here, on the loopback."""

from __future__ import annotations

import socket
import threading
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from onnx import ModelProto, helper

import splitc
from splitc.build.profile_rpc import rpc_profile
from splitc.cost.board import load_board
from splitc.errors import DeviceError, UsageError
from splitc.frontend.onnx.model import OnnxModel
from tests.helpers import model_of, save
from tests.targets.rpc import server

pytestmark = pytest.mark.skipif(
    not load_board("host").processor.cpu.startswith("x86-64"), reason="code for x86-64 is run"
)


def network() -> ModelProto:
    """A wide 3x3 convolution, whose weights are packed at load, a narrow one, and a product."""
    rng = np.random.default_rng(0)

    def weight(*shape: int) -> np.ndarray[tuple[int, ...], np.dtype[np.float32]]:
        return (rng.standard_normal(shape) / np.sqrt(np.prod(shape[1:]))).astype(np.float32)

    return model_of(
        [
            helper.make_node("Conv", ["x", "w1"], ["c"], "wide", pads=[1, 1, 1, 1]),
            helper.make_node("Relu", ["c"], ["r"], "relu"),
            helper.make_node("Conv", ["r", "w2"], ["d"], "narrow"),
            helper.make_node("GlobalAveragePool", ["d"], ["g"], "average"),
            helper.make_node("Flatten", ["g"], ["f"], "flatten"),
            helper.make_node("Gemm", ["f", "w3"], ["y"], "classifier"),
        ],
        {"x": [1, 64, 28, 28]},
        ["y"],
        {"w1": weight(64, 64, 3, 3), "w2": weight(8, 64, 1, 1), "w3": weight(8, 10)},
    )


@pytest.fixture(scope="module")
def model() -> OnnxModel:
    return splitc.load(network())


@pytest.fixture(scope="module")
def board() -> Iterator[str]:
    with server() as address:
        yield address


def test_layers_are_timed_on_a_board(board: str, tmp_path: Path) -> None:
    said: list[str] = []
    path = save(network(), tmp_path / "net.onnx")
    made = rpc_profile(path, board, target="host", seconds=0.2, threads=1, progress=said.append)
    assert (made.figures, made.network) == ("measured", "net")
    assert made.machine == f"host at {board}, 1 thread"
    assert said[-1] == f"measuring at {board} for 0.2 s"
    assert set(made.layers) == {"wide", "relu", "narrow", "average", "classifier"}
    assert all(0 < kernel.ms < 1000 for kernel in made.kernels)
    # 28.9 million multiply-adds against 0.4 million, on the same core.
    assert made.layers["wide"] > made.layers["narrow"] > 0
    assert sum(made.layers.values()) == pytest.approx(sum(each.ms for each in made.kernels))


def test_a_board_that_does_not_run_the_code_says_so(model: OnnxModel, board: str) -> None:
    with pytest.raises(DeviceError, match="the board gives no times"):
        rpc_profile(model, board, target="rpi4", seconds=0.2)


@contextmanager
def dropping(address: str, most: int) -> Generator[str]:
    """A relay to a server that cuts every connection once it has brought so many bytes."""
    host, _, port = address.partition(":")

    def carry(source: socket.socket, target: socket.socket, left: int) -> None:
        with source, target:
            while left > 0 and (data := source.recv(min(65536, left))):
                target.sendall(data)
                left -= len(data)
            for end in (source, target):
                end.shutdown(socket.SHUT_RDWR)

    def quietly(*ends: object) -> None:
        try:
            carry(*ends)  # type: ignore[arg-type]
        except OSError:
            return  # the other direction was cut

    def serve(listening: socket.socket) -> None:
        while True:
            try:
                near, _ = listening.accept()
            except OSError:
                return
            far = socket.create_connection((host, int(port)))
            for ends in ((near, far, most), (far, near, 2**40)):
                threading.Thread(target=quietly, args=ends, daemon=True).start()

    with socket.create_server(("127.0.0.1", 0)) as listening:
        threading.Thread(target=serve, args=(listening,), daemon=True).start()
        yield f"127.0.0.1:{listening.getsockname()[1]}"


def test_a_board_that_drops_midway_ends_it(model: OnnxModel, board: str) -> None:
    # The last to use the server: TVM's takes no other session behind one that broke off.
    # The handshake comes through, and a part of the code.
    with dropping(board, 5000) as address, pytest.raises(DeviceError) as failed:
        rpc_profile(model, address, target="host", seconds=0.2)
    assert failed.value.exit_code == 8
    assert failed.value.what == "the board gives no times"
    assert failed.value.at == address


@pytest.mark.parametrize(
    ("address", "seconds", "error", "says"),
    [
        ("127.0.0.1:1", 1.0, DeviceError, "no board answers"),
        ("127.0.0.1:1,pi", 1.0, DeviceError, "no board answers"),
        ("nowhere", 1.0, UsageError, "'nowhere' is no address of a board"),
        ("127.0.0.1:1", 0.0, UsageError, "cannot measure for 0 seconds"),
        ("127.0.0.1:1", float("nan"), UsageError, "cannot measure for nan seconds"),
    ],
)
def test_where_no_board_is_nothing_is_compiled(
    model: OnnxModel, address: str, seconds: float, error: type[Exception], says: str
) -> None:
    with pytest.raises(error, match=says):
        rpc_profile(model, address, target="host", seconds=seconds)
