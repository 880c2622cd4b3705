# SPDX-License-Identifier: Apache-2.0
"""A device over real sockets against a small honest server: answers, policies, refusals."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import threading
from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import splitc
from splitc.arrays import Array
from splitc.bundle.bundle import Bundle
from splitc.errors import BadBundleError, DeviceError, UsageError
from splitc.net.address import Address
from splitc.net.relay import Impairment, Relay
from splitc.net.sockets import DatagramSocket
from splitc.runtime.part import load_part
from splitc.send import Answer, Device
from splitc.send.ends import Folders
from splitc.wire.handshake import Code
from splitc.wire.header import split_id
from tests.helpers import ROOT
from tests.send.honest_server import HonestServer, serving

KEY = b"k" * 32


def image(seed: int = 0) -> Array:
    return np.random.default_rng(seed).standard_normal((1, 3, 12, 12)).astype(np.float32)


@pytest.fixture(scope="module")
def results(compiled: Bundle) -> list[dict[str, Array]]:
    """What the bundle makes of the first images."""
    with compiled.open_parts() as split:
        return [split(image(seed)) for seed in range(40)]


@contextmanager
def server_of(bundle: Bundle, **options: Any) -> Generator[HonestServer]:
    """The honest server with a bundle's tail."""
    manifest = Folders.find(bundle.path).manifest
    with load_part(bundle.path / "tail") as part:
        yield HonestServer(manifest.remote[0], split_id(manifest.split), part.run, **options)


def assert_same(answers: Sequence[Answer], results: Sequence[dict[str, Array]]) -> None:
    """The server's answers to all of what was sent are the bundle's results."""
    assert len(answers) == len(results)
    for number, (answer, right) in enumerate(zip(answers, results, strict=True)):
        assert (answer.frame, answer.origin, answer.share) == (number, "server", 1.0)
        assert [*answer.results] == [*right]
        for name, array in right.items():
            np.testing.assert_allclose(answer[name], array, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("key", [None, KEY])
@pytest.mark.parametrize("transport", ["udp", "resend", "parity", "tcp"])
def test_answers_are_the_bundles_results(
    compiled: Bundle, results: list[dict[str, Array]], transport: str, key: bytes | None
) -> None:
    with (
        server_of(compiled, key=key) as server,
        serving(server, tcp=transport == "tcp") as address,
        Device(compiled.path, str(address), transport=transport, key=key) as device,
    ):
        answers = [device(image(seed)) for seed in range(3)]
        answers += device.stream(image(seed) for seed in range(3, 40))
        assert_same(answers, results)
        assert device.counters.frames == device.counters.answered == 40
        assert device.tally.origins == {"server": 40}
        times = device.tally
        assert 0 < (times.head.p50 or 0) < (times.frame.p50 or 0) <= (times.frame.p99 or 0)
    assert server.meetings == {}, "it says goodbye"


def test_a_head_alone_is_enough_to_send(compiled: Bundle, results: list[dict[str, Array]]) -> None:
    head = compiled.path / "golden" / "head"
    with (
        server_of(compiled) as server,
        serving(server) as address,
        Device(head, str(address)) as device,
    ):
        assert_same([device(image())], results[:1])


def test_results_of_the_head_are_results_too(two_headed: Bundle) -> None:
    feed = {"a": np.ones((2, 4), np.float32), "b": np.ones((2, 4), np.float32)}
    with (
        server_of(two_headed) as server,
        serving(server) as address,
        Device(two_headed.path, str(address)) as device,
    ):
        answer = device(feed)
    right = two_headed.run(feed)
    assert [*answer.results] == [*right] == ["early", "late"]
    for name, array in right.items():
        np.testing.assert_allclose(answer[name], array, rtol=1e-5)


def test_many_threads_may_call_it_at_once(
    compiled: Bundle, results: list[dict[str, Array]]
) -> None:
    with (
        server_of(compiled) as server,
        serving(server) as address,
        Device(compiled.path, str(address), in_flight=4) as device,
    ):
        found: dict[int, Answer] = {}

        def call(seed: int) -> None:
            found[seed] = device(image(seed))

        threads = [threading.Thread(target=call, args=(seed,)) for seed in range(16)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    for seed, answer in found.items():
        np.testing.assert_allclose(answer["y"], results[seed]["y"], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("transport", ["udp", "resend"])
@pytest.mark.parametrize("loss", [0.0, 0.3])
def test_frames_are_answered_over_a_bad_link(compiled: Bundle, loss: float, transport: str) -> None:
    bad = Impairment(loss=loss, duplicate=0.1, reorder=0.1, corrupt=0.02)
    with (
        server_of(compiled, key=KEY) as server,
        serving(server) as address,
        Relay(address, up=bad, down=bad, seed=1) as relay,
        Device(
            compiled.path, str(relay.address), key=KEY, transport=transport, in_flight=4,
            deadline=0.2, silent_after=0.6, when_silent="last",
        ) as device,
    ):  # fmt: skip
        answers = list(device.stream(image(seed) for seed in range(40)))
    assert [answer.frame for answer in answers] == list(range(40))
    answered = [answer for answer in answers if answer.origin == "server"]
    # Each way loses packets: a question or its answer is lost 51 % of the time, and asked again.
    assert len(answered) >= (40 if loss == 0 else 36)
    if transport == "resend":
        assert np.mean([answer.share for answer in answered]) > 0.9


def test_it_goes_on_when_the_server_was_started_anew(
    compiled: Bundle, results: list[dict[str, Array]]
) -> None:
    with (
        server_of(compiled) as server,
        serving(server) as address,
        Device(compiled.path, str(address)) as device,
    ):
        answers = [device(image(seed)) for seed in range(3)]
        server.forget()
        answers += [device(image(seed)) for seed in range(3, 6)]
        assert device.counters.sessions == 2
    assert_same(answers, results[:6])


def frames_over_a_silence(device: Device, server: HonestServer) -> Iterator[Answer]:
    """Three answers, three without a server, three when it is back."""
    yield from device.stream(image(seed) for seed in range(3))
    server.deaf = True
    yield from device.stream(image(seed) for seed in range(3, 6))
    server.deaf = False
    limit = threading.Event()
    while device.silent and not limit.wait(0.01):
        device(image(0))
    yield from device.stream(image(seed) for seed in range(6, 9))


def test_the_last_answer_stands_in_for_a_silent_server(compiled: Bundle) -> None:
    with (
        server_of(compiled) as server,
        serving(server) as address,
        Device(compiled.path, str(address), when_silent="last", silent_after=0.1) as device,
    ):
        answers = list(frames_over_a_silence(device, server))
        origins = [answer.origin for answer in answers]
        assert origins == ["server"] * 3 + ["last"] * 3 + ["server"] * 3
        np.testing.assert_array_equal(answers[4]["y"], answers[2]["y"])
        assert str(answers[3].why_not).startswith("the server did not answer within 0.1 s")


@pytest.fixture(scope="module")
def with_whole(small_onnx: Path, tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """A bundle whose device has the whole network too."""
    folder = tmp_path_factory.mktemp("whole") / "small.splitc"
    return splitc.compile(small_onnx, cut="block_add", head="host", output=folder, with_whole=True)


def test_the_whole_network_stands_in_for_a_silent_server(
    with_whole: Bundle, results: list[dict[str, Array]]
) -> None:
    with (
        server_of(with_whole) as server,
        serving(server) as address,
        Device(with_whole.path, str(address), when_silent="whole", silent_after=0.1) as device,
    ):
        answers = list(frames_over_a_silence(device, server))
        origins = [answer.origin for answer in answers]
        assert origins == ["server"] * 3 + ["whole"] * 3 + ["server"] * 3
        for number, answer in enumerate(answers):
            right = results[number]["y"]
            np.testing.assert_allclose(answer["y"], right, rtol=1e-4, atol=1e-6)


def test_with_the_whole_network_it_starts_without_a_server(
    with_whole: Bundle, results: list[dict[str, Array]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("splitc.send.device.CONNECT_S", 0.1)
    head, whole = with_whole.path / "head", with_whole.path / "whole"
    for where, own in ((with_whole.path, None), (head, whole)):
        with Device(where, free_port(), when_silent="whole", whole=own) as device:
            answer = device(image())
        assert answer.origin == "whole"
        np.testing.assert_allclose(answer["y"], results[0]["y"], rtol=1e-4, atol=1e-6)


def test_a_silent_server_is_an_error_where_nothing_stands_in(compiled: Bundle) -> None:
    with (
        server_of(compiled) as server,
        serving(server) as address,
        Device(compiled.path, str(address), silent_after=0.1) as device,
    ):
        device(image())
        server.deaf = True
        with pytest.raises(DeviceError, match=r"did not answer within 0\.1 s"):
            list(device.stream(image(seed) for seed in range(3)))


def test_a_device_that_is_closed_while_frames_are_under_way_lets_nobody_wait(
    compiled: Bundle,
) -> None:
    with server_of(compiled) as server, serving(server) as address:
        device = Device(compiled.path, str(address), silent_after=60)
        answers = device.stream(image(seed) for seed in range(100))
        next(answers)
        server.deaf = True
        closing = threading.Timer(0.05, device.close)
        closing.start()
        with pytest.raises(UsageError, match="is closed"):
            list(answers)
        closing.join()
        with pytest.raises(UsageError, match="is closed"):
            device(image())


def free_port() -> str:
    """Where nobody listens."""
    with DatagramSocket.bind(Address("127.0.0.1", 0)) as socket:
        return str(socket.address)


@pytest.mark.parametrize("transport", ["udp", "tcp"])
def test_nobody_there_is_told(
    compiled: Bundle, transport: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("splitc.send.device.CONNECT_S", 0.3)
    address = Address.parse(free_port())
    with pytest.raises(DeviceError, match="there is no answer from") as caught:
        Device(compiled.path, str(address), transport=transport)
    assert caught.value.why == "nothing listens there"


@pytest.mark.parametrize(
    ("options", "error", "what"),
    [
        ({"refuses": Code.FULL}, DeviceError, "the server is full"),
        ({"refuses": Code.VERSION}, DeviceError, "another version of the wire format"),
        ({"refuses": Code.BUNDLE}, BadBundleError, "the server has another bundle"),
        ({"key": b"o" * 32}, DeviceError, "the server has another key"),
    ],
)
def test_a_refusal_is_one_named_error(
    compiled: Bundle, options: dict[str, Any], error: type[Exception], what: str
) -> None:
    with (
        server_of(compiled, **options) as server,
        serving(server) as address,
        pytest.raises(error, match=what),
    ):
        Device(compiled.path, str(address), key=KEY)


@pytest.mark.parametrize(
    ("inputs", "why"),
    [
        (np.zeros((1, 3, 12, 11), np.float32), "input 'x' does not fit"),
        (np.zeros((1, 3, 12, 12), np.float64), "input 'x' does not fit"),
        ({"x": np.zeros((1, 3, 12, 12), np.float32), "z": np.zeros(1)}, "there is no input 'z'"),
        ({}, "no value for input 'x'"),
    ],
)
def test_an_input_that_does_not_fit_is_named_and_not_sent(
    compiled: Bundle, inputs: Any, why: str
) -> None:
    with (
        server_of(compiled) as server,
        serving(server) as address,
        Device(compiled.path, str(address)) as device,
    ):
        with pytest.raises(UsageError, match=why):
            device(inputs)
        with pytest.raises(UsageError, match=why):
            list(device.stream([inputs]))
        assert device.counters.frames == 0
        assert device(image()).origin == "server"


@pytest.mark.parametrize("to", ["nowhere", "127.0.0.1:0", "127.0.0.1:99999"])
def test_what_is_no_address_is_named(compiled: Bundle, to: str) -> None:
    with pytest.raises(UsageError, match="is no address"):
        Device(compiled.path, to)


def test_a_folder_without_a_head_is_named(compiled: Bundle, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="there is no bundle and no head"):
        Device(tmp_path / "none", "127.0.0.1:1")
    with pytest.raises(BadBundleError, match="the tail sends nothing"):
        Device(compiled.path / "tail", "127.0.0.1:1")
    with pytest.raises(UsageError, match="comes without a part for the whole network"):
        Device(compiled.path, "127.0.0.1:1", when_silent="whole")


def test_a_device_loads_nothing_that_compiles(compiled: Bundle) -> None:
    heavy = ("torch", "onnx", "onnxruntime", "tvm", "networkx", "typer", "rich", "cryptography")
    code = (
        "import sys, numpy as np\n"
        "from splitc.send import Device\n"
        "with Device(sys.argv[1], sys.argv[2]) as device:\n"
        "    device(np.zeros((1, 3, 12, 12), np.float32))\n"
        f"print([name for name in {heavy!r} if name in sys.modules])"
    )
    with server_of(compiled) as server, serving(server) as address:
        done = subprocess.run(
            [sys.executable, "-c", code, str(compiled.path), str(address)],
            capture_output=True, text=True, cwd=ROOT, check=True,
        )  # fmt: skip
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize(
    ("change", "what"),
    [
        ({"runs": ["head-s0", "head-enc3"]}, "the head-enc3 reads '.*'"),
        ({"runs": ["head-s0", "head-s1"]}, "there is no '.*' on the device"),
        ({"outputs": ["y", "z"]}, "there is no 'z' on the device"),
        ({"runs": ["head-s0", "head-s9"]}, "the device lacks the part 'head-s9'"),
        ({"runs": ["head-s1", "head-s0"]}, "the part sends for 'block_add:8bit'"),
        ({"runs": ["head-s0", "../head-s1"]}, "the part sends for 'block_add:8bit'"),
    ],
)
def test_a_route_that_makes_no_sense_is_named(
    routed: Bundle, tmp_path: Path, change: dict[str, Any], what: str
) -> None:
    for name, part in routed.manifest.parts.items():
        if part.site == "device":
            shutil.copytree(routed.path / part.folder, tmp_path / name)
    first = tmp_path / "head-s0" / "manifest.json"
    manifest = json.loads(first.read_text("utf-8"))
    manifest["remote"][3].update(change)
    first.write_text(json.dumps(manifest), "utf-8")
    with pytest.raises(BadBundleError, match=what):
        Device(tmp_path / "head-s0", "127.0.0.1:9")
