# SPDX-License-Identifier: Apache-2.0
"""Head and tail with a cable of the kernel's between them, slow and lossy, and nobody sends again.

Losses are the kernel's own draws, so the bounds are such as one run in a thousand million breaks.
"""

from __future__ import annotations

import json
import math
import subprocess
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from onnx import helper

import splitc
from splitc.bundle.bundle import Bundle
from splitc.serve.server import Server
from tests.helpers import model_of, save
from tests.net.namespaces import Cable, cable

CHUNKS = 47
"""Packets of the 64 kB that cross, at an MTU of 1500."""
PACKET_BYTES = 14 + 20 + 8 + 32 + 1404
SIGMAS = 6.2
FRAMES = 60


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """64 kB cross, and the tail gives back how many of them are there."""
    nodes = [
        helper.make_node("Relu", ["x"], ["crossing"], "head"),
        helper.make_node("Sign", ["crossing"], ["one"], "sign"),
        helper.make_node("ReduceMean", ["one"], ["y"], "mean", axes=[1], keepdims=1),
    ]
    folder = tmp_path_factory.mktemp("cable")
    model = save(model_of(nodes, {"x": [1, 16384]}, ["y"]), folder / "wide.onnx")
    return splitc.compile(model, cut="head", head="host", output=folder / "wide.splitc")


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("inputs") / "x.npy"
    np.save(path, np.ones((1, 16384), np.float32))
    return path


@pytest.fixture
def network() -> Iterator[Cable]:
    with cable() as made:
        yield made


@contextmanager
def serving(bundle: Bundle, network: Cable) -> Generator[Server]:
    with network.server.entered():
        server = Server([bundle.path], bind=f"{network.server.host}:0")
    with server:
        yield server


def sent(bundle: Bundle, network: Cable, server: Server, inputs: Path, *flags: str) -> Any:
    """What `head/splitc-run` tells that ran at the other end of the cable."""
    command = network.device.command(
        str(bundle.path / "head" / "splitc-run"), "--send", str(server.address), *flags, str(inputs)
    )
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.mark.parametrize("loss", [0.0, 0.3, 0.6])
def test_what_comes_is_binomial_and_every_frame_is_answered(
    bundle: Bundle, network: Cable, inputs: Path, loss: float
) -> None:
    with serving(bundle, network) as server:
        # The handshake too: it is said again until it comes through.
        network.lose(network.server, loss)
        told = sent(
            bundle, network, server, inputs, "--repeat", str(FRAMES), "--deadline", "200ms",
            "--silent-after", "5s",
        )  # fmt: skip
    assert (told["frames"], told["answered"]) == (FRAMES, FRAMES)
    measures = server.measures
    assert measures.frames == FRAMES
    assert measures.chunks == FRAMES * CHUNKS
    deviation = math.sqrt(loss * (1 - loss) / measures.chunks)
    assert abs(measures.chunks_missing / measures.chunks - loss) <= SIGMAS * deviation
    spread = SIGMAS * math.sqrt(loss * (1 - loss) / CHUNKS) + 1e-3
    assert abs(told["share_p50"] - (1 - loss)) <= spread


def test_answers_come_through_a_link_that_loses_a_third_of_them(
    bundle: Bundle, network: Cable, inputs: Path
) -> None:
    with serving(bundle, network) as server:
        network.lose(network.server, 0.3)
        network.lose(network.device, 0.3)
        told = sent(
            bundle, network, server, inputs, "--repeat", str(FRAMES), "--silent-after", "5s"
        )
    assert (told["frames"], told["answered"]) == (FRAMES, FRAMES)
    assert server.measures.resent > 0


def test_a_frame_takes_the_time_that_its_packets_take_on_the_wire(
    bundle: Bundle, network: Cable, inputs: Path
) -> None:
    bits_per_s = 20e6
    whole_ms = CHUNKS * PACKET_BYTES * 8 / bits_per_s * 1e3
    with serving(bundle, network) as server:
        network.slow(network.device, bits_per_s)
        network.lose(network.server, 0.3)
        told = sent(
            bundle, network, server, inputs, "--repeat", "20", "--deadline", "500ms",
            "--in-flight", "1",
        )  # fmt: skip
    assert told["answered"] == 20
    # tbf lets the first two packets go at once; nobody here waits for what is lost.
    assert 0.9 * whole_ms <= told["frame_ms"]["p50"] <= whole_ms + 60


def test_at_its_deadline_a_frame_is_answered_with_what_a_slow_link_let_through(
    bundle: Bundle, network: Cable, inputs: Path
) -> None:
    with serving(bundle, network) as server:
        network.slow(network.device, 4e6)
        told = sent(
            bundle, network, server, inputs, "--repeat", "5", "--deadline", "60ms",
            "--in-flight", "1", "--silent-after", "5s",
        )  # fmt: skip
    assert told["answered"] == 5
    assert server.measures.at_deadline == 5
    assert 0.2 < told["share_p50"] < 0.6
