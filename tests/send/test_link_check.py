# SPDX-License-Identifier: Apache-2.0
"""`splitc doctor --link`: what it finds of a link that is known, and of one that is not there."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema
import pytest

import splitc
from splitc.bundle.bundle import Bundle
from splitc.cli import schema
from splitc.cli.app import run
from splitc.errors import DeviceError
from splitc.net.address import Address
from splitc.net.impairment import Impairment
from splitc.net.relay import Relay
from splitc.net.sockets import DatagramSocket
from splitc.send import link_check
from splitc.serve import Server
from tests.net.namespaces import cable

KEY = bytes(range(32))


@pytest.fixture(scope="module")
def small(small_onnx: Path, tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    folder = tmp_path_factory.mktemp("probed")
    return splitc.compile(small_onnx, cut="block_add", emit="onnx", output=folder / "small.splitc")


@pytest.fixture
def key(tmp_path: Path) -> Path:
    path = tmp_path / "key"
    path.write_text(KEY.hex() + "\n", "utf-8")
    return path


@pytest.fixture
def server(small: Bundle) -> Iterator[Server]:
    with Server([small.path]) as one:
        yield one


def doctor(capsys: pytest.CaptureFixture[str], *options: str) -> tuple[int, dict[str, Any]]:
    """The verb's exit code and what it prints as JSON, held against its schema."""
    code = run(["doctor", *options, "--json"])
    printed = json.loads(capsys.readouterr().out)
    jsonschema.validate(printed, schema.schema_of("doctor"))
    return code, printed


def test_a_slow_and_lossy_link_of_the_kernels_is_measured_over_a_sealed_session(
    small: Bundle, key: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def bandwidth_bps() -> float:
        with cable() as network:
            with network.server.entered():
                server = Server([small.path], bind=f"{network.server.host}:0", key=KEY)
            with server:
                network.slow(network.device, 9e6)
                network.lose(network.server, 0.2)
                with network.device.entered():
                    code, found = doctor(
                        capsys, "--link", str(server.address), "--key", str(key), "--seconds", "3"
                    )
        assert code == 0
        loss = found["loss"]
        assert loss["probes"] > 100
        sd = (0.2 * 0.8 / loss["probes"]) ** 0.5
        assert abs(loss["up_rate"] - 0.2) < 6 * sd
        assert loss["down_rate"] == 0
        assert found["options"][::2] == ["--bandwidth", "--rtt", "--loss", "--mtu"]
        return found["bandwidth_bps"]

    # A packet of 1,500 bytes takes 1,514 of the rate. A quarter more or less is no accuracy to
    # be proud of, but three seconds; a server that was not let run for a while has measured
    # another link.
    assert any(bandwidth_bps() == pytest.approx(9e6, rel=0.25) for _ in range(3))


def test_what_it_prints_are_options_of_other_verbs(
    server: Server, capsys: pytest.CaptureFixture[str], small_onnx: Path
) -> None:
    up = Impairment(bandwidth="20Mbit", delay="5ms", loss=0.1)
    with Relay(server.address, up=up, seed=3) as relay:
        assert run(["doctor", "--link", str(relay.address), "--seconds", "1"]) == 0
    printed = capsys.readouterr().out
    options = printed.partition("options: ")[2].split()
    assert run(["cuts", str(small_onnx), *options, "--json"]) == 0
    link = json.loads(capsys.readouterr().out)["link"]
    assert link["rtt_s"] >= 0.005
    assert 0 < link["loss_rate"] < 0.5
    for name in ("bandwidth", "round trip", "loss", "bursts", "receive buffer"):
        assert f"\n{name} " in f"\n{printed}"


def test_a_wrong_key_and_none_are_named(
    small: Bundle, key: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with Server([small.path], key=KEY[::-1]) as server:
        to = ("--link", str(server.address))
        code, wrong = doctor(capsys, *to, "--key", str(key))
        assert (code, wrong["error"]) == (8, "DeviceError")
        assert "key" in wrong["what"]
        assert doctor(capsys, *to)[0] == 8
        code, missing = doctor(capsys, *to, "--key", str(tmp_path / "nothing"))
        assert (code, missing["what"]) == (2, "cannot read the key")


def test_nobody_there_and_no_address_are_named(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(link_check, "CONNECT_S", 0.3)
    with DatagramSocket.bind(Address("127.0.0.1", 0)) as gone:
        to = gone.address
        code, silent = doctor(capsys, "--link", str(to))
        assert (code, silent["what"], silent["why"]) == (8, f"there is no answer from {to}", "")
    code, closed = doctor(capsys, "--link", str(to))
    assert (code, closed["why"]) == (8, "nothing listens there")
    code, none = doctor(capsys, "--link", "no-such-host.invalid:4353")
    assert (code, none["what"]) == (8, "there is no host 'no-such-host.invalid'")
    assert doctor(capsys, "--link", "nowhere")[0] == 2
    assert doctor(capsys, "--link", "127.0.0.1:4353", "--mtu", "20")[0] == 2
    assert doctor(capsys, "--link", "127.0.0.1:4353", "--seconds", "0")[0] == 2


def test_a_server_that_stops_meanwhile_is_a_named_error(server: Server) -> None:
    with link_check.ProbeSession(server.address, None, 1500) as session:
        session.send(0, range(1), 64)
        assert [echo.number for echo in session.receive(5.0)] == [0]
        server.stop()
        with pytest.raises(DeviceError, match="does not know this session|has stopped meanwhile"):
            link_check.measure(session, 1404, 60, seconds=1)
