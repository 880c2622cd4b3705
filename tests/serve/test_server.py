# SPDX-License-Identifier: Apache-2.0
"""The server on real sockets: datagrams, connections, threads, restarts and faults."""

from __future__ import annotations

import threading
import time
import urllib.request
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import pytest
from onnx import helper
from prometheus_client.parser import text_string_to_metric_families

import splitc
from splitc.arrays import Array
from splitc.bundle.bundle import Bundle
from splitc.errors import DeviceError, UsageError
from splitc.net.address import Address
from splitc.net.stream import StreamListener, StreamSocket
from splitc.serve.limits import Limits
from splitc.serve.server import Server
from splitc.serve.tails import Served, Tail
from splitc.wire.handshake import Code, Refuse, Welcome
from splitc.wire.header import Header, Kind, Transport
from tests.helpers import model_of, save
from tests.serve.device import answers
from tests.serve.test_service import crossing, expected
from tests.serve.wired import WITHIN_S, WiredDevice

KEY = bytes(range(32))


@pytest.fixture
def server(small: Bundle) -> Iterator[Server]:
    with Server([small.path]) as one:
        yield one


def came(server: Server, served: Served, **how: Any) -> WiredDevice:
    device = WiredDevice(server.address, served, **how)
    assert isinstance(device.greet(0.0), Welcome)
    return device


def answer(device: WiredDevice, arrays: list[Array], frame: int) -> bytes:
    packets = device.hand(device.packets(arrays, frame), now=0.0)
    return answers(device.read(packets))[frame]


@pytest.mark.parametrize("key", [None, KEY], ids=["open", "sealed"])
@pytest.mark.parametrize("transport", [Transport.UDP, Transport.TCP])
def test_a_frame_that_is_sent_is_answered(
    small: Bundle, served: Served, key: bytes | None, transport: Transport
) -> None:
    with Server([small.path], key=key) as server:
        devices = [came(server, served, key=key, transport=transport) for _ in range(3)]
        for frame in range(5):
            for number, device in enumerate(devices):
                arrays = crossing(served, 10 * frame + number)
                assert answer(device, arrays, frame) == expected(served, arrays)
    assert server.measures.answers == 15
    assert [device.read(device.next())[0][0].kind for device in devices] == [Kind.BYE] * 3


@pytest.fixture(scope="session")
def wide(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """A network whose results are as large as what crosses: 64 kB."""
    nodes = [
        helper.make_node("Relu", ["x"], ["crossing"], "head"),
        helper.make_node("Neg", ["crossing"], ["y"], "tail"),
    ]
    folder = tmp_path_factory.mktemp("wide")
    model = save(model_of(nodes, {"x": [1, 16384]}, ["y"]), folder / "wide.onnx")
    return splitc.compile(model, cut="head", emit="onnx", output=folder / "wide.splitc")


def test_several_bundles_share_a_port(small: Bundle, wide: Bundle) -> None:
    with Server([small.path, wide.path]) as server:
        for served in server.bundles.values():
            device = came(server, served)
            packets = device.hand(device.packets(crossing(served), 0), now=0.0)
            found = device.read(packets)
            while sum(header.kind == Kind.ANSWER for header, _ in found) < found[0][0].chunks:
                found += device.read(device.next())
            assert answers(found) == {0: expected(served, crossing(served))}


def every_tail(server: Server) -> list[Tail]:
    return [tail for one in server.bundles.values() for tail in one.tails.values()]


def test_a_tail_that_takes_long_runs_in_a_thread_of_its_own(small: Bundle, served: Served) -> None:
    with Server([small.path], workers=2) as server:
        for tail in every_tail(server):
            tail.seconds = 1.0
        devices = [came(server, served) for _ in range(2)]
        for frame in range(20):
            for device in devices:
                arrays = crossing(served, frame)
                assert answer(device, arrays, frame) == expected(served, arrays)


class Elsewhere:
    """Runs tails in a process of its own, and fails every third call."""

    is_here = False

    def __init__(self, bundle: Bundle) -> None:
        self.reached: list[str] = []
        self._pool = ProcessPoolExecutor(1, get_context("spawn"), _load, (bundle.path,))

    def run(self, route: int, frames: Sequence[Sequence[Array]]) -> list[list[Array]]:
        self.reached.append(threading.current_thread().name)
        if len(self.reached) % 3 == 0:
            raise DeviceError("the replica is gone")
        return self._pool.submit(_run, route, frames).result(WITHIN_S)

    def close(self) -> None:
        self._pool.shutdown()


_loaded: list[Served] = []


def _load(path: Path) -> None:
    _loaded.append(Served(path))


def _run(route: int, frames: Sequence[Sequence[Array]]) -> list[list[Array]]:
    return _loaded[0].tails[route].run(frames)


def test_tails_may_run_elsewhere_and_the_reader_never_waits_for_them(
    small: Bundle, served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    def unmeasured(_: Tail) -> None:
        """The calls are counted from the first frame on."""

    monkeypatch.setattr(Tail, "measure", unmeasured)
    made: list[Elsewhere] = []

    def opened(bundle: Bundle) -> Elsewhere:
        made.append(Elsewhere(bundle))
        return made[0]

    with Server([small.path], open_runner=opened) as server:
        device = came(server, served)
        for frame in range(6):
            arrays = crossing(served, frame)
            packets = device.hand(device.packets(arrays, frame), now=0.0)
            if frame % 3 == 2:
                ((header, why),) = device.read(packets)
                assert (header.kind, why) == (Kind.FAIL, b"the replica is gone")
            else:
                assert answers(device.read(packets)) == {frame: expected(served, arrays)}
    (runner,) = made
    assert len(set(runner.reached)) == 1
    with pytest.raises(RuntimeError, match="after shutdown"):
        runner.run(0, [])


def test_at_its_deadline_a_frame_is_answered_over_the_network(
    server: Server, served: Served
) -> None:
    device = came(server, served, deadline_s=0.05)
    packets = device.packets(crossing(served), 0)
    ((header, _),) = device.read(device.hand(packets.take([0]), now=0.0))
    assert header.kind == Kind.ANSWER
    assert 0 < header.extra < 0xFFFF
    assert server.measures.at_deadline == 1


def test_a_server_that_was_restarted_has_its_devices_again(small: Bundle, served: Served) -> None:
    with Server([small.path]) as first:
        device = came(first, served)
        at = first.address
        before = device.session
        answer(device, crossing(served), 0)
    assert [header.kind for header, _ in device.read(device.next())] == [Kind.BYE]
    with Server([small.path], bind=at) as second:
        (told,) = device.hand(device.packets(crossing(served), 1), now=0.0)
        refused = Refuse.read(told)
        assert refused is not None
        assert (refused.code, refused.session) == (Code.SESSION, before)
        assert isinstance(device.greet(0.0), Welcome)
        assert answer(device, crossing(served), 0) == expected(served, crossing(served))
        assert second.now.peers == 1


def test_a_clock_that_jumps_changes_nothing(
    server: Server, served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    device = came(server, served)
    for frame, jump in enumerate((-1e9, 1e9, 0.0)):
        monkeypatch.setattr(time, "time", lambda jump=jump: 1.8e9 + jump)
        assert answer(device, crossing(served), frame) == expected(served, crossing(served))
    assert server.measures.late == 0
    assert server.now.peers == 1


def test_a_port_in_use_is_named(server: Server, small: Bundle) -> None:
    with pytest.raises(DeviceError, match="cannot listen on") as caught:
        Server([small.path], bind=server.address)
    assert "in use" in caught.value.why


def test_a_free_port_is_one_that_is_free_for_both(
    small: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    found: list[Address] = []

    def listener(address: Address) -> StreamListener:
        found.append(address)
        if len(found) < 3:
            # Somebody else came first.
            with StreamListener(address):
                return StreamListener(address)
        return StreamListener(address)

    monkeypatch.setattr("splitc.serve.server.StreamListener", listener)
    with Server([small.path]) as server:
        assert server.address == found[-1]
    assert len(found) == 3


def test_a_server_that_was_not_started_is_closed_all_the_same(small: Bundle) -> None:
    server = Server([small.path])
    server.close()
    server.close()
    with Server([small.path], bind=server.address) as again:
        assert again.address == server.address


@pytest.mark.parametrize("how", [{"workers": 0}, {"bind": "nowhere"}])
def test_what_makes_no_sense_is_a_usage_error(small: Bundle, how: dict[str, Any]) -> None:
    with pytest.raises(UsageError, match="workers 0|is no address"):
        Server([small.path], **how)


def test_metrics_are_on_a_page_as_prometheus_reads_them(small: Bundle, served: Served) -> None:
    with Server([small.path], metrics="127.0.0.1:0") as server:
        device = came(server, served)
        for frame in range(2):
            answer(device, crossing(served), frame)
        with urllib.request.urlopen(f"http://{server.metrics}/metrics", timeout=WITHIN_S) as page:
            text = page.read().decode()
    found = {
        (sample.name, *sorted(sample.labels.values())): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }
    assert found["splitc_frames_total",] == 2
    assert found["splitc_answers_total",] == 2
    assert found["splitc_route_answers_total", small.manifest.name] == 2
    assert found["splitc_peers",] == 1
    assert found["splitc_queue",] == 0
    assert found["splitc_memory_bytes",] > 0
    for stage in ("collect", "wait", "tail", "answer"):
        # An answer is on its way before it is counted how long that took.
        counts = (1, 2) if stage == "answer" else (2,)
        assert found["splitc_stage_seconds_bucket", "+Inf", stage] in counts
        assert found["splitc_stage_seconds_count", stage] in counts
        assert found["splitc_stage_seconds_sum", stage] >= 0


def test_a_metrics_port_in_use_is_named(small: Bundle) -> None:
    with (
        Server([small.path], metrics="127.0.0.1:0") as server,
        pytest.raises(DeviceError, match="cannot show metrics"),
    ):
        Server([small.path], metrics=server.metrics)


def test_a_device_that_does_not_read_its_answers_holds_up_nobody(wide: Bundle) -> None:
    with Server([wide.path]) as server:
        (served,) = server.bundles.values()
        deaf = came(server, served, transport=Transport.TCP)
        honest = came(server, served)
        arrays = crossing(served)
        frame = 0
        carrier = deaf.wired.carrier
        assert isinstance(carrier, StreamSocket)
        until = time.monotonic() + WITHIN_S
        while server.now.peers == 2:
            assert time.monotonic() < until
            carrier.send(deaf.packets(arrays, frame), timeout_s=0.05)
            honest.send(honest.packets(arrays, frame))
            read = honest.read(honest.next())
            while sum(header.chunk + 1 == header.chunks for header, _ in read) == 0:
                read += honest.read(honest.next())
            assert {header.frame for header, _ in read} == {frame}
            frame += 1
        assert server.now.peers == 1


def test_connections_that_say_nothing_do_not_pile_up(small: Bundle, served: Served) -> None:
    with Server([small.path], limits=Limits(peers=2)) as server:
        silent = [StreamSocket.connect(server.address) for _ in range(8)]
        until = time.monotonic() + WITHIN_S
        while sum(one.closed for one in silent) < 4:
            assert time.monotonic() < until
            for one in silent:
                one.receive(0.01)
        device = came(server, served)
        assert answer(device, crossing(served), 0)
        for one in silent:
            one.close()


def test_a_server_that_stops_closes_its_connections(small: Bundle, served: Served) -> None:
    with Server([small.path]) as server:
        device = came(server, served, transport=Transport.TCP)
    assert [header.kind for header, _ in device.read(device.next())] == [Kind.BYE]
    assert device.next() == []
    assert isinstance(device.wired.carrier, StreamSocket)
    assert device.wired.carrier.closed


def test_rubbish_over_a_connection_ends_it_alone(server: Server, served: Served) -> None:
    import socket

    device = came(server, served, transport=Transport.TCP)
    with socket.create_connection((server.address.host, server.address.port), WITHIN_S) as raw:
        raw.sendall(b"GET / HTTP/1.1\r\n\r\n" * 100)
        raw.settimeout(WITHIN_S)
        assert raw.recv(100) == b""
    assert answer(device, crossing(served), 0) == expected(served, crossing(served))


def divides(frames: Any) -> int:
    return 1 // 0


def test_a_fault_of_its_own_stops_the_server_and_is_not_hidden(
    small: Bundle, served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = Server([small.path])
    device = WiredDevice(server.address, served)
    with pytest.raises(ZeroDivisionError), server:
        assert isinstance(device.greet(0.0), Welcome)
        for tail in every_tail(server):
            monkeypatch.setattr(tail, "run", divides)
        device.send(device.packets(crossing(served), 0))
        until = time.monotonic() + WITHIN_S
        while not server.broken:
            assert time.monotonic() < until
            time.sleep(0.001)


def test_a_frame_in_its_tail_is_answered_before_the_server_stops(
    small: Bundle, served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    entered, leave = threading.Event(), threading.Event()
    server = Server([small.path])
    device = WiredDevice(server.address, served)
    with server:
        assert isinstance(device.greet(0.0), Welcome)
        for tail in every_tail(server):
            run = tail.run

            def slow(frames: Any, run: Any = run) -> Any:
                entered.set()
                assert leave.wait(WITHIN_S)
                return run(frames)

            tail.seconds = 1.0
            monkeypatch.setattr(tail, "run", slow)
        device.send(device.packets(crossing(served), 0))
        assert entered.wait(WITHIN_S)
        stopping = threading.Thread(target=server.stop)
        stopping.start()
        leave.set()
        heard = device.read(device.next())
        assert answers(heard) == {0: expected(served, crossing(served))}
        stopping.join(WITHIN_S)
        assert not stopping.is_alive()
    # On a busy machine the goodbye comes in one read with the answer, or the answer once more.
    kinds = [header.kind for header, _ in heard]
    while Kind.BYE not in kinds:
        kinds += [header.kind for header, _ in device.read(device.next())]
    assert kinds.count(Kind.BYE) == 1
    assert {*kinds} == {Kind.ANSWER, Kind.BYE}


def test_datagrams_that_are_none_of_ours_are_counted(server: Server, served: Served) -> None:
    device = came(server, served)
    device.send(device.one(Header(Kind.ANSWER)))
    assert answer(device, crossing(served), 0)
    assert server.unused == {"malformed": 1}
    assert Address.parse(str(server.address)) == server.address
