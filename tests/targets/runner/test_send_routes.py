# SPDX-License-Identifier: Apache-2.0
"""`splitc-run --send` with several routes: each frame may take another, and none is lost."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest

import splitc
from splitc.arrays import Array
from splitc.bundle.bundle import Bundle
from splitc.link.link_trace import LinkTrace
from splitc.net.address import Address
from splitc.net.impairment import Impairment
from splitc.net.relay import Relay
from splitc.runtime.process import find_emulator
from splitc.serve.server import Server
from splitc.wire.key_file import make_key, read_key
from tests.helpers import compile_routed, small_network
from tests.targets.runner.routes import edit

CUTS = ("stem_relu", "block_add", "pool")
PLAIN = ",".join(CUTS)
EXACT, ROUGH = "stem_relu", "stem_relu:8bit"
LIMIT_S = 60


@pytest.fixture(scope="module")
def several(small_onnx: Path, tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    folder = tmp_path_factory.mktemp("several")
    return compile_routed(small_onnx, folder / "small.splitc", cuts=CUTS)


@pytest.fixture(scope="module")
def key(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The server's."""
    path = tmp_path_factory.mktemp("key") / "key"
    make_key(path)
    return path


@pytest.fixture(scope="module")
def server(several: Bundle, key: Path) -> Iterator[Server]:
    with Server([several.path], key=read_key(key)) as running:
        yield running


@pytest.fixture(scope="module")
def frames(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twelve inputs, stacked."""
    path = tmp_path_factory.mktemp("frames") / "x.npy"
    np.save(path, np.random.default_rng(1).standard_normal((12, 1, 3, 12, 12)).astype(np.float32))
    return path


@pytest.fixture(scope="module")
def wanted(frames: Path) -> Array:
    """What onnxruntime makes of them by the whole network."""
    session: Any = onnxruntime.InferenceSession(small_network().SerializeToString())
    return np.stack([session.run(None, {"x": x})[0] for x in np.load(frames)])


def send(
    head: Path, to: object, *flags: object, emulated: bool = False, code: int = 0
) -> dict[str, Any]:
    """What it reports."""
    command = [str(head / "splitc-run"), "--send", str(to), *(str(flag) for flag in flags)]
    if emulated:
        emulator = find_emulator("aarch64")
        command = [emulator.program, "-L", emulator.sysroot, *command, "--part", str(head)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=LIMIT_S)
    assert done.returncode == code, done.stderr
    return json.loads(done.stdout)


@pytest.mark.parametrize("transport", ["udp", "resend", "parity", "tcp"])
def test_every_frame_may_take_another_route_than_the_one_before(
    several: Bundle, server: Server, key: Path, frames: Path, wanted: Array, tmp_path: Path,
    transport: str,
) -> None:  # fmt: skip
    flags = ("--route", PLAIN, "--in-flight", 4, "--transport", transport, "--repeat", 10)
    told = send(
        several.path / "head-s0", server.address, *flags, "--key", key, "--out", tmp_path, frames
    )
    assert told["answered"] == told["frames"] == 120
    assert told["routes"] == dict.fromkeys(CUTS, 40)
    assert told["switches"] == 119
    assert told["malformed"] == 0
    np.testing.assert_allclose(np.load(tmp_path / "0.npy"), wanted, atol=1e-6)


def test_fewer_bits_are_another_route_of_a_cut(
    several: Bundle, server: Server, key: Path, frames: Path, wanted: Array, tmp_path: Path
) -> None:
    exact = send(several.path / "head-s0", server.address, "--key", key, "--route", EXACT, frames)
    flags = ("--key", key, "--route", ROUGH, "--out", tmp_path, frames)
    rough = send(several.path / "head-s0", server.address, *flags)
    assert rough["bytes_sent"] < exact["bytes_sent"] / 2
    found = np.load(tmp_path / "0.npy")
    assert 1e-6 < float(np.abs(found - wanted).max()) < 0.05


def test_a_lossy_link_costs_no_frame_on_any_route(
    several: Bundle, server: Server, key: Path, frames: Path, wanted: Array, tmp_path: Path
) -> None:
    lossy = Impairment(loss=0.2)
    with Relay(Address.parse(str(server.address)), up=lossy, down=lossy, seed=4) as relay:
        flags = ("--route", PLAIN, "--transport", "resend", "--mtu", 300, "--out", tmp_path)
        patient = ("--deadline", "10s", "--silent-after", "20s", "--key", key)
        told = send(several.path / "head-s0", relay.address, *flags, *patient, frames)
    assert told["answered"] == 12
    assert told["packets_resent"] > 0
    np.testing.assert_allclose(np.load(tmp_path / "0.npy"), wanted, atol=1e-6)


def test_a_last_answer_stands_in_whatever_route_it_took(
    several: Bundle, server: Server, key: Path, frames: Path
) -> None:
    down = Impairment(trace=np.array([False] * 20 + [True] * 60))
    with Relay(Address.parse(str(server.address)), down=down) as relay:
        flags = ("--route", PLAIN, "--when-silent", "last", "--silent-after", "100ms")
        told = send(
            several.path / "head-s0", relay.address, *flags, "--key", key, "--repeat", 3, frames
        )
    assert told["sources"]["last"] == told["silent"] > 0
    assert told["sources"]["server"] + told["sources"]["last"] == 36


def head_of_two(bundle: Path, copy: Path) -> Path:
    """A head on which two routes are left, and 8 bits are said to cost answers."""
    shutil.copytree(bundle, copy)
    remote = json.loads((copy / "head-s0" / "manifest.json").read_text("utf-8"))["remote"]
    kept = [one for one in remote if one["name"] in (EXACT, ROUGH)]
    for one in kept:
        one["expected"] |= {"agreement": 1.0 if one["name"] == EXACT else 0.9}
    edit(copy / "head-s0", remote=kept)
    return copy / "head-s0"


def test_it_goes_to_fewer_bits_while_the_link_is_slow_and_back(
    several: Bundle, server: Server, key: Path, frames: Path, tmp_path: Path
) -> None:
    """By what it measures: reports on a route of many packets, probes on one of few."""
    head = head_of_two(several.path, tmp_path / "two")
    slow = LinkTrace((0.0, 1.5, 4.0), (10e6, 0.2e6, 10e6), (0.0, 0.0, 0.0))
    up = Impairment(varying=slow)
    with Relay(Address.parse(str(server.address)), up=up) as relay:
        flags = ("--within", "200ms", "--policy", "adaptive(margin=0.1)", "--mtu", 300)
        flags = (*flags, "--rate", 20, "--repeat", 14)
        patient = ("--deadline", "5s", "--silent-after", "20s", "--key", key)
        told = send(head, relay.address, *flags, *patient, frames)
    assert told["answered"] == told["frames"] == 168
    assert told["routes"].keys() == {EXACT, ROUGH}
    assert told["switches"] == 2


def test_a_head_with_one_route_has_nothing_to_choose(
    small_onnx: Path, frames: Path, tmp_path: Path
) -> None:
    bundle = splitc.compile(small_onnx, cut="pool", head="host", output=tmp_path / "one.splitc")
    with Server([bundle.path]) as server:
        told = send(bundle.path / "head", server.address, "--policy", "adaptive", frames)
    assert told["routes"] == {"cut": 12}
    assert told["switches"] == 0


def test_an_arm_device_switches_too(
    small_onnx: Path, frames: Path, wanted: Array, tmp_path: Path, qemu: None
) -> None:
    bundle = compile_routed(small_onnx, tmp_path / "arm.splitc", cuts=CUTS, head="rpi4")
    with Server([bundle.path]) as server:
        flags = ("--route", PLAIN, "--deadline", "5s", "--silent-after", "20s", "--out", tmp_path)
        told = send(bundle.path / "head-s0", server.address, *flags, frames, emulated=True)
        policy = ("--policy", "adaptive", "--deadline", "5s", "--silent-after", "20s")
        chosen = send(bundle.path / "head-s0", server.address, *policy, frames, emulated=True)
    assert told["routes"] == dict.fromkeys(CUTS, 4)
    np.testing.assert_allclose(np.load(tmp_path / "0.npy"), wanted, atol=1e-5)
    assert chosen["answered"] == 12
