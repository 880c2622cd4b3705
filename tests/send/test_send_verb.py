# SPDX-License-Identifier: Apache-2.0
"""`splitc send` as a user types it, against a server of splitc's."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Generator
from pathlib import Path
from typing import Any

import jsonschema
import numpy as np
import pytest

from splitc.bundle.bundle import Bundle
from splitc.cli.app import run
from splitc.cli.schema import schema_of
from splitc.net.relay import Impairment, Relay
from splitc.serve import Server
from tests.helpers import ROOT
from tests.send.honest_server import serving
from tests.send.test_device import KEY, free_port, image, server_of

Capture = pytest.CaptureFixture[str]


@pytest.fixture
def server(compiled: Bundle) -> Generator[Server]:
    with Server([compiled.path]) as one:
        yield one


@pytest.fixture
def images(tmp_path: Path) -> Path:
    """Eight frames along one more axis."""
    np.save(tmp_path / "images.npy", np.stack([image(seed) for seed in range(8)]))
    return tmp_path / "images.npy"


def send(bundle: Bundle, to: object, inputs: Path, *more: str) -> int:
    return run(["send", str(bundle.path), "--to", str(to), "--input", str(inputs), *more])


def test_results_are_written_as_splitc_run_does(
    compiled: Bundle, server: Server, images: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    assert send(compiled, server.address, images, "--out", str(out)) == 0
    right = compiled.run(np.load(images))["y"]
    assert [path.name for path in out.iterdir()] == ["0.npy"]
    np.testing.assert_allclose(np.load(out / "0.npy"), right, rtol=1e-5, atol=1e-6)


def test_one_frame_gives_one_result(compiled: Bundle, server: Server, tmp_path: Path) -> None:
    np.savez(tmp_path / "one.npz", x=image())
    assert send(compiled, server.address, tmp_path / "one.npz", "--out", str(tmp_path)) == 0
    np.testing.assert_allclose(
        np.load(tmp_path / "0.npy"), compiled.run(image())["y"], rtol=1e-5, atol=1e-6
    )


def test_json_has_counters_times_and_accuracy(
    compiled: Bundle, server: Server, images: Path, tmp_path: Path, capsys: Capture
) -> None:
    labels = np.argmax(compiled.run(np.load(images))["y"].reshape(8, -1), 1)
    labels[:2] += 1
    np.save(tmp_path / "labels.npy", labels)
    arguments = ["--labels", str(tmp_path / "labels.npy"), "--repeat", "3", "--json"]
    assert send(compiled, server.address, images, *arguments) == 0
    got: dict[str, Any] = json.loads(capsys.readouterr().out)
    jsonschema.validate(got, schema_of("send"))
    assert got["frames"] == got["answered"] == 24
    assert got["accuracy"] == 0.75
    assert got["share_p50"] == 1.0
    assert got["origins"] == {"server": 24}
    assert got["unanswered"] == []
    assert 0 < got["head_ms"]["p50"] < got["frame_ms"]["p50"] <= got["frame_ms"]["p99"]
    assert got["packets_sent"] >= 24 * 4


def test_people_read_who_answered_and_how_long_it_took(
    compiled: Bundle, server: Server, images: Path, capsys: Capture
) -> None:
    assert send(compiled, server.address, images) == 0
    shown = capsys.readouterr()
    assert f"8 frames to {server.address} over udp: 8 by the server" in shown.out
    assert "share of the boundary received: 100.0% at the median" in shown.out
    assert "whole frame" in shown.out
    assert shown.err == "", "no progress where there is no terminal"


def test_a_folder_is_sent_in_the_order_of_its_names(
    compiled: Bundle, server: Server, tmp_path: Path
) -> None:
    (tmp_path / "in").mkdir()
    for seed, name in ((0, "b.npy"), (1, "a.npy"), (2, "c.npy")):
        np.save(tmp_path / "in" / name, image(seed))
    assert send(compiled, server.address, tmp_path / "in", "--out", str(tmp_path)) == 0
    right = np.stack([compiled.run(image(seed))["y"] for seed in (1, 0, 2)])
    np.testing.assert_allclose(np.load(tmp_path / "0.npy"), right, rtol=1e-5, atol=1e-6)


def test_it_tells_which_routes_frames_took(
    routed: Bundle, images: Path, tmp_path: Path, capsys: Capture
) -> None:
    with Server([routed.path]) as server:
        for how, routes in (
            (["--route", "block_add:8bit"], {"block_add:8bit": 8}),
            (["--policy", 'fixed(route="stem_relu")'], {"stem_relu": 8}),
        ):
            out = str(tmp_path / "out")
            assert send(routed, server.address, images, *how, "--out", out, "--json") == 0
            got: dict[str, Any] = json.loads(capsys.readouterr().out)
            jsonschema.validate(got, schema_of("send"))
            assert (got["routes"], got["switches"]) == (routes, 0)
            (route,) = routes
            right = routed.run(np.load(images), route=route)["y"]
            np.testing.assert_allclose(np.load(f"{out}/0.npy"), right, rtol=1e-4, atol=1e-6)
        assert send(routed, server.address, images, "--within", "1s") == 0
        assert re.search(r"routes: \d by .*; (1 change|\d changes)$", capsys.readouterr().out, re.M)


def test_a_route_that_there_is_not_and_ways_to_pick_that_contradict_are_named(
    routed: Bundle, images: Path, capsys: Capture
) -> None:
    for how, said in (
        (["--route", "stem"], "there is no route 'stem'"),
        (["--policy", "adaptiv"], "'adaptiv'"),
        (["--policy", "adaptive(hold_s=-1)"], "hold_s -1 is below 0"),
        (["--within", "soon"], "'soon' is no duration"),
        (["--route", "stem_relu", "--within", "1s"], "give --route alone"),
    ):
        assert send(routed, free_port(), images, *how) == 2
        assert said in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--transport", "pigeon"], "there is no transport 'pigeon'"),
        (["--deadline", "soon"], "'soon' is no duration"),
        (["--when-silent", "whole"], "comes without a part for the whole network"),
        (["--repeat", "0"], "--repeat is at least 1"),
        (["--key", "/nowhere/key"], "/nowhere/key"),
        (["--labels", "/nowhere/labels.npy"], "there is no file '/nowhere/labels.npy'"),
    ],
)
def test_what_makes_no_sense_is_named(
    compiled: Bundle, server: Server, images: Path, arguments: list[str], said: str, capsys: Capture
) -> None:
    assert send(compiled, server.address, images, *arguments) == 2
    assert said in capsys.readouterr().err


def test_inputs_that_do_not_fit_are_named_before_anything_is_sent(
    compiled: Bundle, tmp_path: Path, capsys: Capture
) -> None:
    np.save(tmp_path / "bad.npy", np.zeros((1, 3, 12, 11), np.float32))
    assert send(compiled, free_port(), tmp_path / "bad.npy") == 2
    assert "the array for input 'x' does not fit" in capsys.readouterr().err


def test_nobody_there_is_a_failure_of_the_network(
    compiled: Bundle, images: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("splitc.send.device.CONNECT_S", 0.3)
    assert send(compiled, free_port(), images) == 8
    shown = capsys.readouterr().err
    assert "there is no answer from 127.0.0.1" in shown
    assert "nothing listens there" in shown


def test_a_server_that_falls_silent_ends_it_with_the_counters(
    compiled: Bundle, images: Path, capsys: Capture
) -> None:
    gone = Impairment(trace=np.arange(10_000) > 18)
    with (
        server_of(compiled) as server,
        serving(server) as address,
        Relay(address, up=gone, seed=1) as relay,
    ):
        assert send(compiled, relay.address, images, "--silent-after", "100ms") == 8
    shown = capsys.readouterr()
    assert "the server did not answer within 0.1 s" in shown.err
    assert "by the server" in shown.out
    assert "whole frame" in shown.out


def test_the_verb_loads_nothing_that_compiles(
    compiled: Bundle, server: Server, images: Path
) -> None:
    heavy = ("torch", "onnx", "onnxruntime", "tvm", "networkx", "onnxsim", "cryptography")
    code = (
        "import sys\nfrom splitc.cli import main\n"
        "try: main()\nexcept SystemExit as end: code = end.code\n"
        f"print(code, [name for name in {heavy!r} if name in sys.modules], file=sys.stderr)"
    )
    arguments = ["--to", str(server.address), "--input", str(images)]
    done = subprocess.run(
        [sys.executable, "-c", code, "send", str(compiled.path), *arguments],
        capture_output=True, text=True, cwd=ROOT, check=True,
    )  # fmt: skip
    assert done.stderr == "0 []\n"


def test_a_server_with_a_key_wants_it(
    compiled: Bundle, images: Path, tmp_path: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "key").write_text(KEY.hex() + "\n", "utf-8")
    (tmp_path / "key").chmod(0o600)
    with Server([compiled.path], key=KEY) as server:
        assert send(compiled, server.address, images) == 8
        assert "key" in capsys.readouterr().err
        assert send(compiled, server.address, images, "--key", str(tmp_path / "key")) == 0
        monkeypatch.setenv("SPLITC_KEY", str(tmp_path / "key"))
        assert send(compiled, server.address, images) == 0


def test_a_server_of_another_bundle_is_refused(
    compiled: Bundle, two_headed: Bundle, images: Path, capsys: Capture
) -> None:
    with Server([two_headed.path]) as server:
        assert send(compiled, server.address, images) == 3
    assert "the server has another bundle than this head's" in capsys.readouterr().err


def test_ctrl_c_ends_with_the_counters_and_a_goodbye(
    compiled: Bundle, server: Server, images: Path
) -> None:
    command = [
        sys.executable, "-c", "from splitc.cli import main; main()", "send", str(compiled.path),
        "--to", str(server.address), "--input", str(images), "--rate", "50", "--repeat", "100000",
        "--json",
    ]  # fmt: skip
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=ROOT,
        env=os.environ,
    )  # fmt: skip
    waiting = threading.Event()
    while not server.measures.answers:
        assert process.poll() is None
        waiting.wait(0.01)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=30)
    got = json.loads(out)
    assert got["stopped"]
    assert got["answered"] >= 1
    assert (process.returncode, err) == (130, "splitc: stopped\n")
    for _ in range(1000):
        if not server.now.peers:
            return
        waiting.wait(0.01)
    pytest.fail("it said no goodbye")
