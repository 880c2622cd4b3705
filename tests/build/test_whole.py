# SPDX-License-Identifier: Apache-2.0
"""Whole networks: all on the device, which sends nothing, and all on the server, which gets it."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort
import pytest
from onnx import helper

import splitc
from splitc.arrays import Array
from splitc.build.job import choose, plan
from splitc.bundle.bundle import Bundle
from splitc.cli.app import run
from splitc.errors import (
    BadBundleError,
    IllegalCutError,
    NoGainError,
    NoLegalCutError,
    UsageError,
)
from splitc.net.address import Address
from splitc.runtime.manifest import Manifest, read_manifest, write_manifest
from splitc.send import Device
from splitc.serve.server import Server
from splitc.serve.tails import Served
from splitc.simulate import TwoWays, simulate
from splitc.simulate.parts import BundleParts
from tests.helpers import model_of, save

KEY = bytes(range(32))
FAST, SLOW = "10Gbit", "10kbit"
Capture = pytest.CaptureFixture[str]


def image(seed: int = 0) -> Array:
    return np.random.default_rng(seed).random((1, 3, 12, 12), np.float32)


def true(model: Path, feed: dict[str, Array]) -> list[Any]:
    """What onnxruntime makes of a network."""
    session: Any = ort.InferenceSession(model.read_bytes(), providers=["CPUExecutionProvider"])
    return [*session.run(None, feed)]


@pytest.fixture(scope="module")
def on_device(small_onnx: Path, tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    output = tmp_path_factory.mktemp("whole") / "device.splitc"
    return splitc.compile(small_onnx, cut="device", head="rpi4", output=output)


@pytest.fixture(scope="module")
def on_server(small_onnx: Path, tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    output = tmp_path_factory.mktemp("whole") / "server.splitc"
    return splitc.compile(small_onnx, cut="server", head="rpi4", output=output)


@pytest.fixture(scope="module")
def in_bytes(small_onnx: Path, tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """All on the server, the image sent in 8 bits."""
    return splitc.compile(
        small_onnx, cut="server", head="host", codec="quantize-boundary",
        batches=[{"x": image(seed)} for seed in range(4)],
        output=tmp_path_factory.mktemp("whole") / "bytes.splitc",
    )  # fmt: skip


def test_all_on_the_device_is_one_part_and_no_link(on_device: Bundle, small_onnx: Path) -> None:
    route = on_device.manifest.route
    assert route.runs == {"device": ("whole",)}
    assert (route.crosses, route.boundary_bytes, route.behind) == ((), 0, ())
    assert on_device.manifest.where(route) == "all on the device"
    assert (route.predicted.link_ms, route.predicted.site_ms["server"]) == (0.0, 0.0)
    assert on_device.verify().passed
    (result,) = on_device.run(image()).values()
    np.testing.assert_allclose(result, true(small_onnx, {"x": image()})[0], atol=1e-5)


def test_the_board_runs_the_whole_network_by_itself(
    on_device: Bundle, small_onnx: Path, tmp_path: Path, qemu: None
) -> None:
    assert on_device.verify(emulate=True).passed
    np.save(tmp_path / "x.npy", image())
    here = on_device.path / "golden" / "whole" / "splitc-run"
    command = [str(here), "--out", str(tmp_path), str(tmp_path / "x.npy")]
    told = json.loads(subprocess.run(command, capture_output=True, check=True).stdout)
    assert told["part"] == "whole"
    result = np.load(tmp_path / told["outputs"][0]["file"])
    np.testing.assert_allclose(result, true(small_onnx, {"x": image()})[0], atol=1e-5)


def test_who_would_send_or_serve_it_is_told_where_it_runs(
    on_device: Bundle, tmp_path: Path
) -> None:
    with pytest.raises(BadBundleError, match=r"has no tail to serve\n.*runs on the device"):
        Served(on_device.path)
    with pytest.raises(BadBundleError, match=r"sends nothing\n(?s:.*)splitc run BUNDLE"):
        Device(on_device.path, "127.0.0.1:1")
    np.save(tmp_path / "x.npy", image())
    command = [str(on_device.path / "golden" / "whole" / "splitc-run"), "--send", "127.0.0.1:1"]
    done = subprocess.run(
        [*command, str(tmp_path / "x.npy")], capture_output=True, text=True, check=False
    )
    assert (done.returncode, "nothing says what it sends" in done.stderr) == (3, True)


def test_all_on_the_server_sends_the_inputs_as_they_are(on_server: Bundle) -> None:
    route, head = on_server.manifest.route, on_server.manifest.parts["head"]
    assert route.runs == {"device": ("head",), "server": ("tail",)}
    assert [(one.name, one.bytes) for one in route.crosses] == [("x", 3 * 12 * 12 * 4)]
    assert (route.cut, head.layers, route.predicted.site_ms["device"]) == (("x",), 0, 0.0)
    assert on_server.manifest.where(route) == "all on the server"
    assert on_server.verify().passed
    assert on_server.part("head").weight_bytes < 4096


def test_a_quantiser_at_the_input_sends_a_quarter(on_server: Bundle, in_bytes: Bundle) -> None:
    plain, coded = on_server.manifest.route, in_bytes.manifest.route
    assert plain.boundary_bytes == 4 * coded.boundary_bytes
    assert [one.dtype for one in coded.crosses] == ["uint8"]
    assert in_bytes.manifest.where(coded) == "all on the server"
    assert in_bytes.verify().passed
    assert coded.codec is not None
    assert coded.codec.cost is not None
    assert coded.codec.cost.agreement == 1.0


@pytest.mark.parametrize("which", ["on_server", "in_bytes"])
def test_a_server_answers_what_a_device_sends(
    which: str, small_onnx: Path, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    bundle: Bundle = request.getfixturevalue(which)
    (tmp_path / "key").write_text(KEY.hex() + "\n", "ascii")
    np.save(tmp_path / "x.npy", image())
    with Server([bundle.path], key=KEY) as server:
        with Device(bundle.path, str(server.address), key=KEY) as device:
            answer = device(image())
        told = _sent_by_runner(bundle, server.address, tmp_path)
    expected = true(small_onnx, {"x": image()})[0]
    assert (answer.origin, answer.share) == ("server", 1.0)
    assert told["answered"] == 1
    for found in (answer["y"], np.load(tmp_path / told["outputs"][0]["file"])):
        np.testing.assert_allclose(found.reshape(expected.shape), expected, atol=2e-2)


def _sent_by_runner(bundle: Bundle, to: Address, folder: Path) -> dict[str, Any]:
    """What the device's own program says that sent a frame."""
    head = bundle.path / "golden" / "head"
    head = head if head.is_dir() else bundle.path / "head"
    done = subprocess.run(
        [str(head / "splitc-run"), "--send", str(to), "--key", str(folder / "key"),
         "--out", str(folder), str(folder / "x.npy")],
        capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_it_is_simulated_like_any_split(on_server: Bundle) -> None:
    with BundleParts.open(on_server.path) as parts:
        link = TwoWays.of(bandwidth="9Mbit", rtt="4ms")
        found = simulate(parts, link, frames=4, inputs=[{"x": image()}])
    assert [record.share for record in found.records] == [1.0] * 4


def test_inputs_that_nothing_reads_and_results_that_are_inputs_stay_on_the_device(
    tmp_path: Path,
) -> None:
    weights = np.random.default_rng(0).standard_normal((4, 4)).astype(np.float32)
    nodes = [
        helper.make_node("MatMul", ["a", "w"], ["m"], "left"),
        helper.make_node("Relu", ["m"], ["early"], "early"),
        helper.make_node("Add", ["early", "b"], ["sum"], "join"),
    ]
    inputs: dict[str, Sequence[int]] = {"a": [2, 4], "b": [2, 4], "c": [3]}
    results = ["early", "sum", "b"]
    path = save(model_of(nodes, inputs, results, {"w": weights}), tmp_path / "odd.onnx")
    feed = {n: np.random.default_rng(1).random(s, np.float32) for n, s in inputs.items()}
    for cut, crosses in (("server", ["a", "b"]), ("device", [])):
        bundle = splitc.compile(path, cut=cut, emit="onnx", output=tmp_path / f"{cut}.splitc")
        assert [one.name for one in bundle.manifest.route.crosses] == crosses
        for got, expected in zip(bundle.run(feed).values(), true(path, feed), strict=True):
            np.testing.assert_allclose(got, expected, atol=1e-6)


def test_a_torch_network_is_left_whole_as_well(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    module = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.ReLU(), torch.nn.Flatten())
    given = torch.rand(1, 3, 5, 5)
    model = splitc.load(module.eval(), (given,))
    for cut in ("device", "server"):
        bundle = splitc.compile(
            model, cut=cut, head="host", output=tmp_path / f"{cut}.splitc", name="net"
        )
        (result,) = bundle.run(given.numpy()).values()
        np.testing.assert_allclose(result, module(given).detach().numpy(), atol=1e-5)


def test_the_server_is_one_route_of_several(small_onnx: Path, tmp_path: Path) -> None:
    bundle = splitc.compile(
        small_onnx, cuts=["pool", "server"], bits=[8], head="host", emit="onnx",
        batches=[{"x": image()}], output=tmp_path / "many.splitc",
    )  # fmt: skip
    routes = {route.name: route for route in bundle.manifest.routes}
    assert [*routes] == ["server", "server:8bit", "pool", "pool:8bit"]
    assert routes["server"].boundary_bytes == 4 * routes["server:8bit"].boundary_bytes
    assert len({route.before[0] for route in routes.values()}) == 1
    with bundle.open_parts() as split:
        expected = true(small_onnx, {"x": image()})[0]
        for name in routes:
            np.testing.assert_allclose(split(image(), route=name)["y"], expected, atol=2e-2)


def test_the_device_alone_is_no_route_of_several(small_onnx: Path) -> None:
    with pytest.raises(UsageError, match=r"'device' is no route beside others\n.*--with-whole"):
        plan(small_onnx, cuts=["pool", "device"])


def test_the_best_is_a_split_only_where_one_is(small_onnx: Path) -> None:
    for bandwidth, kind in ((SLOW, "device"), (FAST, "server")):
        link = splitc.Link(bandwidth, rtt="0ms")
        table = splitc.find_cuts(splitc.load(small_onnx), head="rpi4", tail="host", link=link)
        assert choose(table, "best").kind == kind
        assert choose(table, "auto").kind in ("single", "multi")
        proper = replace(table, device=table.server)
        assert choose(proper, "best").cost == table.baseline.cost


def test_limits_hold_for_whole_networks_too(small_onnx: Path) -> None:
    model = splitc.load(small_onnx)
    little = splitc.Constraints(max_head_bytes=3000)
    with pytest.raises(IllegalCutError, match=r"cannot leave all to the device\n.*limit"):
        plan(model, cut="device", constraints=little)
    with pytest.raises(IllegalCutError, match=r"cannot leave all to the server\n.*at least 2"):
        plan(model, cut="server", constraints=splitc.Constraints(min_depth=2))
    assert plan(model, cut="best", constraints=little).row.kind != "device"
    with pytest.raises(NoLegalCutError, match=r"no cut keeps every limit"):
        plan(model, cut="best", constraints=splitc.Constraints(max_head_bytes=1))


def test_what_only_a_split_has_is_refused(small_onnx: Path) -> None:
    model = splitc.load(small_onnx)
    with pytest.raises(IllegalCutError, match=r"nothing crosses that a codec\n?(?s:.*)--codec out"):
        plan(model, cut="device", codec="quantize-boundary")
    with pytest.raises(UsageError, match=r"batch sizes, and all is on the device"):
        plan(model, cut="device", batch_sizes=(2,))
    with pytest.raises(IllegalCutError, match=r"the tail would be empty\n.*--cut device"):
        plan(model, cut="softmax")


def test_only_if_it_pays_holds_for_whole_networks(small_onnx: Path) -> None:
    model = splitc.load(small_onnx)
    slow, fast = splitc.Link(SLOW, rtt="0ms"), splitc.Link(FAST, rtt="0ms")
    plan(model, cut="device", link=slow).refuse_no_gain()
    plan(model, cut="server", head="rpi4", link=fast).refuse_no_gain()
    with pytest.raises(NoGainError, match=r"server does not pay: all on the device is better"):
        plan(model, cut="server", link=slow).refuse_no_gain()
    with pytest.raises(NoGainError, match=r"the split does not pay: all on the server is as good"):
        plan(model, cut="stem", head="rpi4", link=fast).refuse_no_gain()


def test_the_table_names_the_command_that_builds_it(
    small_onnx: Path, capsys: Capture, tmp_path: Path
) -> None:
    assert run(["cuts", str(small_onnx), "--bandwidth", SLOW]) == 0
    assert "all on the device (--cut device)" in " ".join(capsys.readouterr().out.split())
    line = ["compile", str(small_onnx), "--emit", "onnx", "--bandwidth", SLOW]
    assert run([*line, "--cut", "none", "-o", str(tmp_path / "n.splitc")]) == 0
    out = capsys.readouterr().out
    assert "▸   all on the device" in out
    assert "No split: all on the device saves" in out
    assert run([*line, "--cut", "server", "-o", str(tmp_path / "s.splitc")]) == 0
    out = capsys.readouterr().out
    assert "▸   all on the server" in out
    assert "more than all on the device" in " ".join(out.split())
    for name, where in (("n", "all on the device"), ("s", "all on the server")):
        assert run(["inspect", str(tmp_path / f"{name}.splitc")]) == 0
        assert capsys.readouterr().out.startswith(f"small, {where}\n")
    assert run(["verify", str(tmp_path / "n.splitc")]) == 0
    capsys.readouterr()
    for verb in ("serve", "simulate"):
        assert run([verb, str(tmp_path / "n.splitc")]) == 3
        assert "has no tail to serve" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("change", "why"),
    [({"boundary_bytes": 4}, "something crosses"), ({"runs": {"device": ()}}, "nothing runs"),
     ({"runs": {"device": ("whole",), "server": ()}}, "nothing runs on site 'server'"),
     ({"runs": {"server": ("whole",)}}, "it is for the device")],
)  # fmt: skip
def test_a_manifest_that_says_otherwise_is_refused(
    on_device: Bundle, tmp_path: Path, change: dict[str, Any], why: str
) -> None:
    import msgspec

    (route,) = on_device.manifest.routes
    routes = (msgspec.structs.replace(route, **change),)
    write_manifest(tmp_path, msgspec.structs.replace(on_device.manifest, routes=routes))
    with pytest.raises(BadBundleError, match=why):
        read_manifest(tmp_path, Manifest)


def test_it_is_no_route_beside_another(on_device: Bundle, tmp_path: Path) -> None:
    import msgspec

    (route,) = on_device.manifest.routes
    routes = (route, msgspec.structs.replace(route, name="other"))
    write_manifest(tmp_path, msgspec.structs.replace(on_device.manifest, routes=routes))
    with pytest.raises(BadBundleError, match=r"all on site 'device'\n(?s:.*)has other routes"):
        read_manifest(tmp_path, Manifest)
