# SPDX-License-Identifier: Apache-2.0
"""The verb `splitc serve`: what it says, its key, how it ends, and what it refuses."""

from __future__ import annotations

import json
import os
import shutil
import signal
import stat
import subprocess
import sys
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from splitc.bundle.bundle import Bundle
from splitc.cli.app import run
from splitc.cli.schema import schema_of
from splitc.net.address import Address
from splitc.net.sockets import DatagramSocket
from splitc.serve.tails import Served
from splitc.wire.handshake import Code, Refuse, Welcome
from splitc.wire.header import Kind
from splitc.wire.key_file import read_key
from tests.helpers import ROOT
from tests.serve.device import answers
from tests.serve.test_service import crossing, expected
from tests.serve.wired import WiredDevice

Capture = pytest.CaptureFixture[str]
MAIN = "from splitc.cli import main; main()"


@pytest.fixture(autouse=True)
def somewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    parts = [str(ROOT / name) for name in ("", "passes", "targets")]
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(parts))


class Process:
    """`splitc serve` in a process of its own, with its journal as JSON."""

    def __init__(self, arguments: Sequence[str]) -> None:
        command = [sys.executable, "-c", MAIN, "serve", *arguments, "--log-json"]
        self.process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        self.events: dict[str, dict[str, Any]] = {}
        assert self.process.stderr is not None
        for line in self.process.stderr:
            event = json.loads(line)
            self.events[event["event"]] = event
            if event["event"] == "device":
                break
        self.address = Address.parse(self.events["serving"]["address"])

    def stop(self, number: int = signal.SIGINT) -> tuple[int, str, list[dict[str, Any]]]:
        """Its exit code, what it printed, and the journal's last lines."""
        self.process.send_signal(number)
        out, err = self.process.communicate(timeout=20)
        return self.process.returncode, out, [json.loads(line) for line in err.splitlines()]


@contextmanager
def serving(*arguments: str) -> Generator[Process]:
    made = Process(arguments)
    try:
        yield made
    finally:
        made.process.kill()
        made.process.wait()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_it_serves_until_it_is_stopped_and_tells_what_it_did(
    small: Bundle, served: Served, number: int
) -> None:
    with serving(str(small.path), "--bind", "127.0.0.1:0", "--json") as server:
        device = WiredDevice(server.address, served)
        assert isinstance(device.greet(0.0), Welcome)
        packets = device.hand(device.packets(crossing(served), 0), now=0.0)
        assert answers(device.read(packets)) == {0: expected(served, crossing(served))}
        code, out, lines = server.stop(number)
        assert code == 0
        assert [header.kind for header, _ in device.read(device.next())] == [Kind.BYE]
    got = json.loads(out)
    jsonschema.validate(got, schema_of("serve"))
    assert got["counters"]["answers"] == 1
    assert got["address"] == str(server.address)
    assert got["sealed"] is False
    assert [line["event"] for line in lines if line["event"] != "buffer"] == ["welcomed", "left"]
    assert server.events["device"]["command"].startswith("splitc send small.splitc --to 127.0.0.1:")


def test_it_says_which_routes_a_bundle_has(routed: Bundle) -> None:
    with serving(str(routed.path), "--bind", "127.0.0.1:0", "--json") as server:
        names = "stem_relu, stem_relu:8bit, block_add, block_add:8bit"
        said = server.events["serving"]["text"]
        assert said.startswith(f"serving {routed.manifest.name} (routes {names}) at 127.0.0.1:")
        _, out, _ = server.stop()
    assert json.loads(out)["routes"] == {}


def test_a_key_is_made_where_others_can_come_and_is_needed(
    small: Bundle, served: Served, tmp_path: Path
) -> None:
    with serving(str(small.path), "--bind", "0.0.0.0:0") as server:
        path = tmp_path / "config" / "splitc" / "key"
        assert server.events["key"]["path"] == str(path)
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        assert server.events["device"]["command"].endswith(" --key key")
        here = Address("127.0.0.1", server.address.port)
        device = WiredDevice(here, served, key=read_key(path))
        assert isinstance(device.greet(0.0), Welcome)
        refused = WiredDevice(here, served).greet(0.0)
        assert isinstance(refused, Refuse)
        assert refused.text == "the device has no key, the server wants one"
        code, _, lines = server.stop()
    assert code == 0
    (told,) = [line["text"] for line in lines if line["event"] == "refused"]
    assert told.endswith(f" is not served: {refused.text}")
    with serving(str(small.path), "--bind", "0.0.0.0:0") as server:
        assert "key" not in server.events


def test_a_server_that_was_killed_has_its_devices_again_when_it_is_back(
    small: Bundle, served: Served
) -> None:
    with serving(str(small.path), "--bind", "127.0.0.1:0") as server:
        device = WiredDevice(server.address, served)
        assert isinstance(device.greet(0.0), Welcome)
        server.process.kill()
    with serving(str(small.path), "--bind", str(server.address)):
        (told,) = device.hand(device.packets(crossing(served), 0), now=0.0)
        refused = Refuse.read(told)
        assert refused is not None
        assert (refused.code, refused.session) == (Code.SESSION, device.session)
        assert isinstance(device.greet(0.0), Welcome)
        packets = device.hand(device.packets(crossing(served), 0), now=0.0)
        assert answers(device.read(packets)) == {0: expected(served, crossing(served))}


def test_people_read_lines_of_a_terminals_width(small: Bundle) -> None:
    command = [sys.executable, "-c", MAIN, "serve", str(small.path), "--bind", "127.0.0.1:0"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stderr is not None
    lines = [process.stderr.readline()]
    while "splitc send" not in lines[-1]:
        lines.append(process.stderr.readline())
        assert lines[-1]
    process.send_signal(signal.SIGINT)
    out, _ = process.communicate(timeout=20)
    assert process.returncode == 0
    assert lines[0].startswith("splitc: serving small at 127.0.0.1:")
    shown = [line for line in lines if "sysctl" not in line]
    assert all(len(line.rstrip()) <= 80 for line in (*shown, *out.splitlines()))
    assert out.startswith("0 frames in ")


def failing(capsys: Capture, *arguments: str) -> tuple[int, dict[str, Any]]:
    code = run(["serve", *arguments, "--json", "--quiet"])
    got = json.loads(capsys.readouterr().out)
    jsonschema.validate(got, schema_of("serve"))
    assert got["exit_code"] == code
    return code, got


def test_a_port_in_use_ends_with_8(small: Bundle, capsys: Capture) -> None:
    with DatagramSocket.bind(Address("127.0.0.1", 0)) as taken:
        code, got = failing(capsys, str(small.path), "--bind", str(taken.address))
    assert code == 8
    assert got["why"] == "the port is in use"


def test_an_altered_bundle_ends_with_3(small: Bundle, tmp_path: Path, capsys: Capture) -> None:
    shutil.copytree(small.path, tmp_path / "b.splitc")
    model = tmp_path / "b.splitc" / "tail" / small.part("tail").model
    model.write_bytes(model.read_bytes()[:-1])
    code, got = failing(capsys, "b.splitc", "--bind", "127.0.0.1:0")
    assert code == 3
    assert "was altered" in got["what"]


@pytest.mark.parametrize(
    ("arguments", "what"),
    [
        (["--bind", "everywhere"], "is no address"),
        (["--key", "short"], "the file holds no key"),
        (["--key", "."], "cannot read the key"),
        (["--key", "short", "--no-key"], "contradict each other"),
        (["--deadline", "0s"], "a deadline of 0 s cannot be kept"),
        (["--deadline", "soon"], "'soon'"),
        (["--memory", "much"], "is no size"),
        (["--max-peers", "0"], "peers 0 is not above 0"),
        (["--workers", "0"], "workers 0 is not above 0"),
        (["--mtu", "20"], "mtu 20"),
        (["--metrics", "9100"], "is no address"),
    ],
)
def test_what_makes_no_sense_ends_with_2(
    small: Bundle, capsys: Capture, arguments: list[str], what: str
) -> None:
    Path("short").write_text("abc\n", "ascii")
    bind = [] if "--bind" in arguments else ["--bind", "127.0.0.1:0"]
    code, got = failing(capsys, str(small.path), *bind, *arguments)
    assert code == 2
    assert what in got["what"]


def test_a_bundle_that_is_not_there_ends_with_2(capsys: Capture) -> None:
    code, got = failing(capsys, "absent.splitc", "--bind", "127.0.0.1:0")
    assert code == 2
    assert got["what"] == "there is no bundle 'absent.splitc'"
