# SPDX-License-Identifier: Apache-2.0
"""`splitc-run --send` over bad links, to servers that stop and come back, with flags of all kinds.

What it does over a good one, sealed and emulated, is in tests/serve/test_with_runner.py.
"""

from __future__ import annotations

import json
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest

import splitc
from splitc.bundle.bundle import Bundle
from splitc.cost.board import load_board
from splitc.net.address import Address
from splitc.net.impairment import Impairment
from splitc.net.relay import Relay
from splitc.serve.server import Server
from splitc.wire.key_file import make_key
from tests.helpers import small_network
from tests.targets.emulated import build

LIMIT_S = 60


class Ended(NamedTuple):
    code: int
    report: dict[str, Any]
    line: str


@pytest.fixture(scope="module")
def small(small_onnx: Path, tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    folder = tmp_path_factory.mktemp("send")
    return splitc.compile(small_onnx, cut="block_add", head="host", output=folder / "small.splitc")


@pytest.fixture(scope="module")
def server(small: Bundle) -> Iterator[Server]:
    with Server([small.path]) as running:
        yield running


@pytest.fixture(scope="module")
def frames(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twelve inputs, stacked."""
    path = tmp_path_factory.mktemp("frames") / "x.npy"
    np.save(path, np.random.default_rng(0).standard_normal((12, 1, 3, 12, 12)).astype(np.float32))
    return path


@pytest.fixture(scope="module")
def wanted(small: Bundle, frames: Path) -> np.ndarray[Any, Any]:
    with small.open_parts() as split:
        return np.stack([split(x)["y"] for x in np.load(frames)])


def command(head: Path, to: object, *flags: object) -> list[str]:
    return [str(head / "splitc-run"), "--send", str(to), *(str(flag) for flag in flags)]


def send(head: Path, to: object, *flags: object) -> Ended:
    argv = command(head, to, *flags)
    done = subprocess.run(argv, capture_output=True, text=True, check=False, timeout=LIMIT_S)
    return ended(done.returncode, done.stdout, done.stderr)


def ended(code: int, out: str, err: str) -> Ended:
    return Ended(code, json.loads(out) if out else {}, err)


def is_refused(end: Ended, code: int, why: str) -> None:
    assert end.code == code, end
    assert end.report == {}
    assert end.line.startswith("splitc-run: ")
    assert end.line.count("\n") == 1
    assert why in end.line


def test_results_that_the_head_makes_itself_stand_in_the_networks_order(
    two_headed: Bundle, tmp_path: Path
) -> None:
    random = np.random.default_rng(0)
    inputs = {name: random.standard_normal((2, 4)).astype(np.float32) for name in "ab"}
    for name, array in inputs.items():
        np.save(tmp_path / f"{name}.npy", array)
    with two_headed.open_parts() as split:
        wanted = split(inputs)
    with Server([two_headed.path]) as server:
        paths = [tmp_path / "a.npy", tmp_path / "b.npy"]
        end = send(two_headed.path / "head", server.address, "--out", tmp_path, *paths)
    assert end.code == 0, end.line
    assert [one["name"] for one in end.report["outputs"]] == ["early", "late"]
    for number, name in enumerate(("early", "late")):
        np.testing.assert_allclose(np.load(tmp_path / f"{number}.npy"), wanted[name], atol=1e-6)


def test_over_a_lossy_link_every_frame_is_answered_and_says_what_came(
    small: Bundle, server: Server, frames: Path
) -> None:
    lossy = Impairment(loss=0.3)
    with Relay(Address.parse(str(server.address)), up=lossy, down=lossy, seed=1) as relay:
        flags = ("--mtu", 300, "--deadline", "50ms", "--repeat", 4, "--silent-after", "20s")
        end = send(small.path / "head", relay.address, *flags, frames)
    assert end.code == 0, end.line
    assert end.report["answered"] == 48
    assert 0.5 < end.report["share_p50"] < 0.9
    assert end.report["nacks"] > 0


def test_what_is_sent_again_comes_whole(
    small: Bundle, server: Server, frames: Path, wanted: np.ndarray[Any, Any], tmp_path: Path
) -> None:
    lossy = Impairment(loss=0.2)
    with Relay(Address.parse(str(server.address)), up=lossy, down=lossy, seed=4) as relay:
        flags = ("--transport", "resend", "--deadline", "10s", "--silent-after", "20s")
        end = send(small.path / "head", relay.address, *flags, "--out", tmp_path, frames)
    assert end.code == 0, end.line
    assert end.report["packets_resent"] > 0
    np.testing.assert_allclose(np.load(tmp_path / "0.npy"), wanted, atol=1e-6)


def test_parity_packets_stand_for_lost_ones(
    small: Bundle, server: Server, frames: Path, wanted: np.ndarray[Any, Any], tmp_path: Path
) -> None:
    with Relay(Address.parse(str(server.address)), up=Impairment(loss=0.1), seed=5) as relay:
        flags = ("--transport", "parity", "--parity", "100%", "--mtu", 300, "--silent-after", "20s")
        end = send(small.path / "head", relay.address, *flags, "--out", tmp_path, frames)
    assert end.code == 0, end.line
    np.testing.assert_allclose(np.load(tmp_path / "0.npy"), wanted, atol=1e-6)


def test_damaged_packets_are_dropped_and_counted(
    small: Bundle, frames: Path, tmp_path: Path
) -> None:
    bad = Impairment(corrupt=0.2, duplicate=0.2, reorder=0.2)
    key = make_key(tmp_path / "key")
    with (
        Server([small.path], key=key) as server,
        Relay(Address.parse(str(server.address)), up=bad, down=bad, seed=6) as relay,
    ):
        flags = ("--key", tmp_path / "key", "--repeat", 8, "--silent-after", "20s")
        end = send(small.path / "head", relay.address, *flags, frames)
    assert end.code == 0, end.line
    assert end.report["answered"] == 96
    assert end.report["bad_seal"] + end.report["malformed"] > 0
    assert end.report["duplicate"] > 0


def test_a_bandwidth_is_kept_to(small: Bundle, server: Server, frames: Path) -> None:
    end = send(small.path / "head", server.address, "--bandwidth", "1Mbit", frames)
    assert end.code == 0, end.line
    # 4 packets of 4,608 bytes of values a frame, and what may be sent at once at first.
    assert end.report["frame_ms"]["p50"] > 4608 * 8 / 1e6 * 1e3 - 5


def test_a_wrong_key_is_one_line(small: Bundle, frames: Path, tmp_path: Path) -> None:
    key = make_key(tmp_path / "key")
    make_key(tmp_path / "other")
    head = small.path / "head"
    with Server([small.path], key=key) as server:
        is_refused(send(head, server.address, "--key", tmp_path / "other", frames), 8, "wrong key")
        is_refused(send(head, server.address, frames), 8, "wrong key")
    with Server([small.path]) as server:
        is_refused(send(head, server.address, "--key", tmp_path / "key", frames), 8, "key")


def test_where_nobody_listens_is_one_line(small: Bundle, frames: Path) -> None:
    with Server([small.path]) as server:
        address = server.address
    started = [
        subprocess.Popen(
            command(small.path / "head", address, "--transport", transport, frames),
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )
        for transport in ("udp", "tcp")
    ]  # fmt: skip
    for process in started:
        out, err = process.communicate(timeout=LIMIT_S)
        is_refused(ended(process.returncode, out, err), 8, "Connection refused")


@pytest.mark.parametrize(
    ("flags", "code", "why"),
    [
        (["--send", "nowhere"], 2, "10.0.0.1:9000"),
        (["--send", "127.0.0.1:0"], 2, "no such port"),
        (["--send", "host.invalid:1"], 8, "cannot find the host"),
        (["--send", "127.0.0.1:1", "--mtu", "96"], 2, "97 to 65535"),
        (["--send", "127.0.0.1:1", "--mtu", "99"], 2, "--mtu"),
        (["--send", "127.0.0.1:1", "--deadline", "soon"], 2, "5ms"),
        (["--send", "127.0.0.1:1", "--bandwidth", "fast"], 2, "20Mbit"),
        (["--send", "127.0.0.1:1", "--bandwidth", "20"], 2, "write 20Mbit or 20kbit"),
        (["--send", "127.0.0.1:1", "--within", "5"], 2, "write 5ms or 5s"),
        (["--send", "127.0.0.1:1", "--rate", "0"], 2, "frames a second"),
        (["--send", "127.0.0.1:1", "--transport", "pigeon"], 2, "udp, resend, parity, tcp"),
        (["--send", "127.0.0.1:1", "--when-silent", "whole"], 2, "--whole DIR"),
        (["--send", "127.0.0.1:1", "--key", "/dev/null"], 2, "is not a key"),
        (["--send", "127.0.0.1:1", "--key", "/nowhere"], 2, "cannot read the key"),
        (["--deadline", "5ms"], 2, "--send"),
    ],
)
def test_flags_that_make_no_sense_are_one_line(
    small: Bundle, frames: Path, flags: list[str], code: int, why: str
) -> None:
    argv = [str(small.path / "head" / "splitc-run"), *flags, str(frames)]
    done = subprocess.run(argv, capture_output=True, text=True, check=False, timeout=LIMIT_S)
    is_refused(ended(done.returncode, done.stdout, done.stderr), code, why)


def test_a_tail_cannot_send(small: Bundle, frames: Path) -> None:
    is_refused(send(small.path / "tail", "127.0.0.1:1", frames), 3, "is no head")


class Running:
    """A device that sends until it is told to stop, 100 frames a second."""

    def __init__(self, head: Path, to: object, frames: Path, *flags: object) -> None:
        argv = command(head, to, "--rate", 100, "--repeat", 10_000, *flags, frames)
        self.process = subprocess.Popen(
            argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )

    def end(self, by: signal.Signals | None = None) -> Ended:
        if by is not None:
            self.process.send_signal(by)
        out, err = self.process.communicate(timeout=LIMIT_S)
        return ended(self.process.returncode, out, err)


def wait_for(what: str, until: Any) -> None:
    limit = time.monotonic() + LIMIT_S
    while not until():
        assert time.monotonic() < limit, what
        time.sleep(0.01)


def answered(server: Server, count: int) -> None:
    wait_for("answers", lambda: server.measures.answers >= count)


def test_a_stop_in_the_middle_ends_with_the_counters(
    small: Bundle, server: Server, frames: Path, tmp_path: Path
) -> None:
    before = server.measures.answers
    device = Running(small.path / "head", server.address, frames, "--out", tmp_path)
    answered(server, before + 20)
    end = device.end(signal.SIGINT)
    assert end.code == 130
    assert end.line == ""
    assert end.report["stopped"] is True
    assert end.report["answered"] >= 19
    assert list(tmp_path.iterdir()) == []


def test_a_server_that_comes_back_is_gone_on_with(small: Bundle, frames: Path) -> None:
    with Server([small.path]) as server:
        address = str(server.address)
        device = Running(small.path / "head", address, frames, "--when-silent", "last")
        answered(server, 20)
    with Server([small.path], bind=address) as server:
        answered(server, 20)
        end = device.end(signal.SIGTERM)
    assert end.code == 130, end.line
    assert end.report["sessions"] == 2
    assert end.report["malformed"] == 0


def test_a_silent_server_is_an_error_where_nothing_else_is_said(
    small: Bundle, frames: Path
) -> None:
    with Server([small.path]) as server:
        flags = ("--silent-after", "200ms")
        device = Running(small.path / "head", server.address, frames, *flags)
        answered(server, 20)
    is_refused(device.end(), 8, "no answer to frame")


def test_the_whole_network_answers_for_a_silent_server(
    small: Bundle, frames: Path, wanted: np.ndarray[Any, Any], tmp_path: Path
) -> None:
    (tmp_path / "whole").mkdir()
    build(small_network(), load_board("host"), tmp_path / "whole")
    down = Impairment(loss=0.6)
    with (
        Server([small.path]) as server,
        Relay(Address.parse(str(server.address)), down=down, seed=1) as relay,
    ):
        flags = ("--when-silent", "whole", "--whole", tmp_path / "whole", "--silent-after", "3ms")
        end = send(small.path / "head", relay.address, *flags, "--out", tmp_path, frames)
    assert end.code == 0, end.line
    assert end.report["sources"]["whole"] == end.report["silent"] > 0
    np.testing.assert_allclose(np.load(tmp_path / "0.npy"), wanted, atol=1e-6)
