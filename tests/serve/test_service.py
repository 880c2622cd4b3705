# SPDX-License-Identifier: Apache-2.0
"""The server's logic, packets and times in, packets out: sessions, frames, answers."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from splitc.arrays import Array
from splitc.errors import ToolchainError
from splitc.policy.gauge import Report
from splitc.serve.door import Door
from splitc.serve.limits import Limits
from splitc.serve.measures import Measures
from splitc.serve.refusals import Refusals
from splitc.serve.service import Service
from splitc.serve.tails import Served, Tail
from splitc.wire.datagrams import Datagrams
from splitc.wire.handshake import Code, Refuse, Welcome
from splitc.wire.header import Header, Kind, Transport, read_header, write_header
from splitc.wire.nack import NOTHING_CAME, Gap, missing_bits, missing_rows
from splitc.wire.parity import Parity
from splitc.wire.probe import probes, read_echoes
from splitc.wire.report import read_report
from tests.helpers import compile_routed
from tests.serve.device import Device, answers, run_all

Lines = list[tuple[str, Mapping[str, Any]]]
KEY = bytes(range(32))


class Desk:
    """A service, and what it wrote in its journal."""

    def __init__(self, served: Served, *, key: bytes | None = None, **limits: Any) -> None:
        self.lines: Lines = []
        self.bundles = {served.split: served}
        bounds = Limits(**limits)
        measures = Measures()
        random = np.random.default_rng(7).bytes
        refusals = Refusals(bounds.refusals_per_s, measures, self._write)
        door = Door(self.bundles, bounds, refusals, key=key, payload_bytes=2000, entropy=random)
        self.service = Service(door, refusals, bounds, measures, self._write)
        self.measures = measures

    def _write(self, event: str, text: str, /, **fields: str | int | float) -> None:
        self.lines.append((event, {**fields, "text": text}))

    def events(self, event: str) -> list[Mapping[str, Any]]:
        return [fields for name, fields in self.lines if name == event]


@pytest.fixture
def desk(served: Served) -> Desk:
    return Desk(served)


Make = Callable[..., Device]


def crossing(served: Served, seed: int = 0) -> list[Array]:
    rng = np.random.default_rng(seed)
    specs = served.tails[0].crosses
    return [rng.standard_normal([n or 1 for n in s.shape]).astype(s.dtype) for s in specs]


def expected(served: Served, arrays: list[Array]) -> bytes:
    (results,) = served.tails[0].run([arrays])
    return b"".join(array.tobytes() for array in results)


def came(desk: Desk, served: Served, **how: Any) -> Device:
    device = Device(desk.service, served, **how)
    assert isinstance(device.greet(0.0), Welcome)
    return device


@pytest.mark.parametrize("key", [None, KEY], ids=["open", "sealed"])
@pytest.mark.parametrize("transport", [Transport.UDP, Transport.RESEND])
def test_a_frame_is_answered_with_what_the_tail_makes(
    served: Served, key: bytes | None, transport: Transport
) -> None:
    desk = Desk(served, key=key)
    device = came(desk, served, key=key, transport=transport)
    arrays = crossing(served)
    assert device.hand(device.packets(arrays, 0), now=0.1) == []
    read = device.read(device.mine(run_all(desk.service, 0.2)))
    assert answers(read) == {0: expected(served, arrays)}
    assert all(header.extra == 0xFFFF for header, _ in read)
    assert desk.measures.answers == 1
    assert desk.measures.complete == 1


def test_a_device_that_does_not_prove_its_address_gets_a_cookie_and_no_session(
    served: Served, desk: Desk
) -> None:
    device = Device(desk.service, served)
    for _ in range(3):
        hello = device.hello().write()
        (answer,) = device.say(hello, now=0.0)
        assert len(answer) < len(hello)
    assert desk.service.now.peers == 0


def test_a_cookie_is_worth_nothing_at_another_address_or_a_minute_later(
    served: Served, desk: Desk
) -> None:
    from splitc.wire.handshake import Challenge

    device, thief = Device(desk.service, served, 1), Device(desk.service, served, 2)
    hello = device.hello()
    challenge = Challenge.read(device.say(hello.write(), now=0.0)[0])
    assert challenge is not None
    stolen = device.hello(challenge.cookie, hello.client_nonce).write()
    assert read_kinds(thief.say(stolen, now=0.0)) == [Kind.CHALLENGE]
    assert read_kinds(device.say(stolen, now=61.0)) == [Kind.CHALLENGE]
    assert read_kinds(device.say(stolen, now=1.0)) == [Kind.WELCOME]


def read_kinds(packets: list[bytes]) -> list[Kind]:
    headers = [read_header(packet) for packet in packets]
    return [header.kind for header in headers if header is not None]


def test_a_welcome_that_was_lost_is_said_again(served: Served, desk: Desk) -> None:
    from splitc.wire.handshake import Challenge

    device = Device(desk.service, served)
    hello = device.hello()
    challenge = Challenge.read(device.say(hello.write(), now=0.0)[0])
    assert challenge is not None
    again = device.hello(challenge.cookie, hello.client_nonce).write()
    first = device.say(again, now=0.0)
    assert device.say(again, now=0.1) == first
    assert desk.service.now.peers == 1


def test_a_device_that_comes_anew_has_one_session(served: Served, desk: Desk) -> None:
    device = came(desk, served)
    before = device.session
    assert isinstance(device.greet(1.0), Welcome)
    assert device.session != before
    assert desk.service.now.peers == 1


@pytest.mark.parametrize(
    ("server", "device", "why"),
    [
        (KEY, None, "server wants one"),
        (KEY, bytes(32), "another key than the server"),
        (None, KEY, "the device has a key, the server has none"),
    ],
)
def test_a_wrong_key_is_one_clear_line_on_both_sides(
    served: Served, server: bytes | None, device: bytes | None, why: str
) -> None:
    desk = Desk(served, key=server)
    one = Device(desk.service, served, key=device)
    for now in (0.0, 0.1, 0.2):
        refused = one.greet(now)
        assert isinstance(refused, Refuse)
        assert refused.code == Code.KEY
        assert why in refused.text
    (line,) = desk.events("refused")
    assert why in line["text"]
    assert line["peer"].startswith("10.0.0.1:")
    assert desk.service.now.peers == 0


def test_a_head_of_another_bundle_is_refused(served: Served, desk: Desk) -> None:
    desk.bundles[served.split + 1] = desk.bundles.pop(served.split)
    refused = Device(desk.service, served).greet(0.0)
    assert isinstance(refused, Refuse)
    assert refused.code == Code.BUNDLE


def test_another_version_is_told_so(served: Served, desk: Desk) -> None:
    device = Device(desk.service, served)
    hello = bytearray(device.hello().write())
    hello[2] = 9
    (answer,) = device.say(bytes(hello), now=0.0)
    refused = Refuse.read(answer)
    assert refused is not None
    assert refused.code == Code.VERSION
    assert "9" in refused.text


@pytest.mark.parametrize(
    "asks",
    [
        {"payload_bytes": 8},
        {"payload_bytes": 9000},
        {"transport": Transport.TCP},
        {"transport": Transport.UDP, "stream": "a connection"},
    ],
)
def test_what_makes_no_sense_is_refused_with_the_reason(
    served: Served, desk: Desk, asks: dict[str, Any]
) -> None:
    refused = Device(desk.service, served, **asks).greet(0.0)
    assert isinstance(refused, Refuse)
    assert refused.code == Code.BAD
    assert refused.text


def test_a_connection_needs_no_cookie(served: Served, desk: Desk) -> None:
    device = Device(desk.service, served, transport=Transport.TCP, stream="a connection")
    assert isinstance(device.greet(0.0), Welcome)
    assert device.hellos == 1
    arrays = crossing(served)
    device.hand(device.packets(arrays, 0), now=0.1)
    read = device.read(device.mine(run_all(desk.service, 0.1)))
    assert answers(read) == {0: expected(served, arrays)}


def test_an_unknown_session_learns_so_from_the_shortest_question(served: Served) -> None:
    desk = Desk(served)
    device = came(desk, served)
    device.service = Desk(served).service
    question = Gap(0, 0, 0, NOTHING_CAME).packet(device.session, served.split, 0)
    assert int(question.lengths[0]) == 33, "without a key; a frame of few bytes is as short"
    (answer,) = device.hand(question, now=5.0)
    refused = Refuse.read(answer)
    assert refused is not None
    assert (refused.code, refused.session, len(answer)) == (Code.SESSION, device.session, 33)


def test_an_unknown_session_is_told_to_come_anew_and_not_too_often(
    served: Served, desk: Desk
) -> None:
    device = came(desk, served)
    restarted = Desk(served)
    device.service = restarted.service
    packets = device.packets(crossing(served), 0)
    (answer,) = device.hand(packets, now=5.0)
    refused = Refuse.read(answer)
    assert refused is not None
    assert refused.code == Code.SESSION
    assert refused.session == device.session
    assert len(answer) <= int(packets.lengths[0])
    assert device.hand(packets, now=5.04) == []
    assert len(device.hand(packets, now=5.2)) == 1
    assert isinstance(device.greet(6.0), Welcome)


def test_a_session_belongs_to_the_address_that_it_was_given_to(served: Served, desk: Desk) -> None:
    device = came(desk, served)
    packets = device.packets(crossing(served), 0)
    device.address = Device(desk.service, served, 2).address
    (answer,) = device.hand(packets, now=0.0)
    assert read_kinds([answer]) == [Kind.REFUSE]
    assert desk.service.work.take(0.0, quick=True) is None


def test_a_frame_with_holes_is_answered_when_it_is_over(served: Served, desk: Desk) -> None:
    device = came(desk, served, deadline_s=0.1, grace_s=0.005)
    packets = device.packets(crossing(served), 0)
    assert len(packets) > 2
    device.hand(packets.take([0, len(packets) - 1]), now=1.0)
    due = desk.service.next_due()
    assert due is not None
    assert 1.0 < due < 1.01
    assert desk.service.due(1.0) == []
    assert desk.service.work.take(1.0, quick=True) is None
    desk.service.due(due)
    read = device.read(device.mine(run_all(desk.service, due)))
    ((header, _),) = read
    assert header.kind == Kind.ANSWER
    assert 0 < header.extra < 0xFFFF
    assert desk.measures.chunks_missing == len(packets) - 2


def test_at_its_deadline_a_frame_is_answered_whatever_came(served: Served, desk: Desk) -> None:
    device = came(desk, served, transport=Transport.RESEND, deadline_s=0.1)
    packets = device.packets(crossing(served), 0)
    out = device.hand(packets.take([1]), now=1.0)
    for now in np.arange(1.0, 1.098, 0.004):
        out += device.mine(desk.service.due(float(now)))
    assert Kind.NACK in read_kinds(out)
    assert desk.service.work.take(1.0999, quick=True) is None
    desk.service.due(1.1001)
    read = device.read(device.mine(run_all(desk.service, 1.1001)))
    assert [header.kind for header, _ in read] == [Kind.ANSWER]
    assert desk.measures.at_deadline == 1
    assert desk.measures.late == 1


def test_a_frame_whose_last_packet_is_lost_is_over_when_the_device_says_so(
    served: Served, desk: Desk
) -> None:
    device = came(desk, served, deadline_s=0.5, grace_s=0.005)
    packets = device.packets(crossing(served), 0)
    device.hand(packets.take(slice(0, len(packets) - 1)), now=1.0)
    assert desk.service.next_due() == pytest.approx(1.5)
    device.hand(device.one(Header(Kind.NACK, frame=0), NOTHING_CAME), now=1.1)
    desk.service.due(1.12)
    assert desk.service.work.take(1.12, quick=True) is not None


def test_a_frame_may_have_a_deadline_of_its_own(served: Served, desk: Desk) -> None:
    device = came(desk, served, deadline_s=0.5, grace_s=0.5)
    device.hand(device.packets(crossing(served), 0, extra=40).take([0]), now=1.0)
    assert desk.service.next_due() == pytest.approx(1.04)
    desk.service.due(1.041)
    run_all(desk.service, 1.03)
    assert desk.measures.late == 0
    assert desk.measures.at_deadline == 1


def test_what_is_lost_of_an_answer_is_sent_again_the_same(served: Served) -> None:
    desk = Desk(served, key=KEY)
    device = came(desk, served, key=KEY)
    device.hand(device.packets(crossing(served), 0), now=0.0)
    first = device.mine(run_all(desk.service, 0.0))
    all_of_it = device.one(Header(Kind.NACK, frame=0, chunk=0), NOTHING_CAME)
    assert device.hand(all_of_it, now=0.1) == first
    bits = missing_bits(np.zeros(len(first), bool))
    some = device.one(Header(Kind.NACK, frame=0, chunk=1, chunks=len(first)), bits)
    assert device.hand(some, now=0.1) == first
    of_another = device.one(Header(Kind.NACK, frame=3, chunk=2), NOTHING_CAME)
    assert device.hand(of_another, now=0.1) == []
    assert desk.measures.resent == 2 * len(first)


@pytest.mark.parametrize("transport", [Transport.UDP, Transport.PARITY])
def test_a_frame_of_which_every_packet_was_lost_is_answered_when_it_is_asked_for(
    served: Served, desk: Desk, transport: Transport
) -> None:
    device = came(desk, served, transport=transport, parity_percent=25, grace_s=0.005)
    device.hand(device.packets(crossing(served), 0), now=1.0)
    run_all(desk.service, 1.0)
    device.hand(device.one(Header(Kind.NACK, frame=1), NOTHING_CAME), now=1.1)
    desk.service.due(1.106)
    ((header, payload),) = device.read(device.mine(run_all(desk.service, 1.106)))
    assert (header.kind, header.frame, header.extra) == (Kind.ANSWER, 1, 0)
    assert payload == expected(served, [np.zeros_like(array) for array in crossing(served)])
    device.hand(device.packets(crossing(served), 1), now=1.2)
    assert desk.service.work.take(1.2, quick=True) is None


def test_what_is_sent_again_is_asked_for_where_every_packet_was_lost(
    served: Served, desk: Desk
) -> None:
    device = came(desk, served, transport=Transport.RESEND, grace_s=0.005)
    device.hand(device.one(Header(Kind.NACK, frame=0), NOTHING_CAME), now=1.0)
    ((header, bitmap),) = device.read(device.mine(desk.service.due(1.006)))
    packets = device.packets(crossing(served), 0)
    assert header.kind == Kind.NACK
    assert missing_rows(bitmap, header.chunks).tolist() == list(range(len(packets)))
    device.hand(packets, now=1.01)
    read = device.read(device.mine(run_all(desk.service, 1.01)))
    assert answers(read) == {0: expected(served, crossing(served))}


def test_asking_for_frames_that_never_were_holds_no_more_than_frames_do(
    served: Served, desk: Desk
) -> None:
    device = came(desk, served)
    one = sum(array.nbytes for array in crossing(served))
    for frame in range(50):
        nack = Header(Kind.NACK, frame=frame, route=frame % 2)
        device.hand(device.one(nack, NOTHING_CAME), now=1.0)
        assert desk.service.now.memory_bytes < 3 * 8 * (one + 1404)
    device.hand(device.one(Header(Kind.NACK, frame=2**31), NOTHING_CAME), now=1.0)
    assert desk.service.now.queue <= 8


def test_parity_makes_up_for_what_is_lost(served: Served, desk: Desk) -> None:
    device = came(desk, served, transport=Transport.PARITY, parity_percent=50)
    arrays = crossing(served)
    packets = device.packets(arrays, 0)
    parity = Parity(len(packets), 1404, 50).pack(packets)
    device.hand(packets.take(slice(1, len(packets))), now=0.0)
    assert desk.service.work.take(0.0, quick=True) is None
    device.hand(parity.take([0]), now=0.001)
    read = device.read(device.mine(run_all(desk.service, 0.002)))
    assert answers(read) == {0: expected(served, arrays)}


def reported(read: list[tuple[Header, bytes]]) -> list[tuple[Header, Report]]:
    """The reports among packets of the server."""
    found: list[tuple[Header, Report]] = []
    for header, payload in read:
        if header.kind == Kind.REPORT:
            one = read_report(Datagrams.packets([join(header, payload)]))
            assert one is not None
            found.append((header, one))
    return found


@pytest.mark.parametrize("key", [None, KEY], ids=["open", "sealed"])
def test_a_device_that_asks_for_reports_is_told_before_each_answer_what_became_of_its_frame(
    served: Served, key: bytes | None
) -> None:
    desk = Desk(served, key=key)
    device = came(desk, served, key=key, wants_reports=True, grace_s=0.02, payload_bytes=500)
    packets = device.packets(crossing(served), 0)
    count = len(packets)
    assert count > 8
    # Two are read at once, then each by itself; the last but one is lost.
    device.hand(packets.take([0, 1]), now=1.0)
    for row in (*range(2, count - 2), count - 1):
        device.hand(packets.take([row]), now=1.0 + row / 1000)
    desk.service.due(1.0 + (count - 1) / 1000 + 0.02)
    began = 1.0 + (count - 1) / 1000 + 0.05
    batch = desk.service.work.take(began, quick=True)
    assert batch is not None
    out = desk.service.work.done(batch, batch.tail.run(batch.inputs), began + 0.007)
    read = device.read(device.mine(out))
    assert [header.kind for header, _ in read][:2] == [Kind.REPORT, Kind.ANSWER]
    ((header, report),) = reported(read)
    assert (header.frame, header.chunks, header.extra) == (0, count, 0)
    rest = [*range(2, count - 2), count - 1]
    assert report == Report(
        spread_s=(count - 1) / 1000,
        spread_bytes=sum(int(packets.lengths[row]) + 28 for row in rest),
        wait_s=0.03, tail_s=0.007, came=count - 1, chunks=count,
    )  # fmt: skip
    again = device.hand(device.one(Header(Kind.NACK, frame=0), NOTHING_CAME), now=1.2)
    assert {header.kind for header, _ in device.read(again)} == {Kind.ANSWER}


def test_who_did_not_ask_for_reports_gets_none(served: Served, desk: Desk) -> None:
    device = came(desk, served)
    device.hand(device.packets(crossing(served), 0), now=0.0)
    assert reported(device.read(device.mine(run_all(desk.service, 0.0)))) == []


def test_what_parity_computed_did_not_come(served: Served, desk: Desk) -> None:
    device = came(desk, served, transport=Transport.PARITY, parity_percent=50, wants_reports=True)
    packets = device.packets(crossing(served), 0)
    parity = Parity(len(packets), 1404, 50).pack(packets)
    device.hand(packets.take(slice(2, len(packets))), now=0.0)
    device.hand(parity.take([0, 1]), now=0.004)
    ((_, report),) = reported(device.read(device.mine(run_all(desk.service, 0.004))))
    assert (report.chunks, report.came) == (len(packets), len(packets) - 2)
    assert (report.spread_s, report.spread_bytes) == (0.004, 2 * (1404 + 32 + 28))


def test_what_came_after_it_was_asked_for_tells_no_rate(served: Served, desk: Desk) -> None:
    device = came(desk, served, transport=Transport.RESEND, grace_s=0.005, wants_reports=True)
    packets = device.packets(crossing(served), 0)
    device.hand(packets.take([0]), now=1.0)
    device.hand(packets.take([1]), now=1.001)
    assert read_kinds(device.mine(desk.service.due(1.007))) == [Kind.NACK]
    device.hand(packets.take(slice(2, len(packets))), now=1.05)
    ((_, report),) = reported(device.read(device.mine(run_all(desk.service, 1.05))))
    assert report.came == report.chunks
    assert (report.spread_s, report.spread_bytes) == (0.001, 1404 + 32 + 28)


@pytest.mark.parametrize("percent", [0, 255])
def test_parity_that_is_none_is_refused(served: Served, desk: Desk, percent: int) -> None:
    device = Device(desk.service, served, transport=Transport.PARITY, parity_percent=percent)
    told = device.greet(0.0)
    assert isinstance(told, Refuse)
    assert told.code == Code.BAD
    assert "parity" in told.text
    assert desk.service.now.peers == 0


def test_only_so_many_answers_are_kept(served: Served) -> None:
    desk = Desk(served, frames_in_flight=2)
    device = came(desk, served)
    for frame in range(4):
        device.hand(device.packets(crossing(served), frame), now=float(frame))
        run_all(desk.service, float(frame))
    asked = [
        len(device.hand(device.one(Header(Kind.NACK, frame=n), NOTHING_CAME), now=9.0))
        for n in range(4)
    ]
    assert asked[:2] == [0, 0]
    assert all(asked[2:])


def test_frames_of_several_peers_run_together_where_the_tail_takes_them(
    served: Served, in_pairs: Tail, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(served.tails, 0, in_pairs)
    desk = Desk(served)
    devices = [came(desk, served, number=number) for number in range(1, 6)]
    for number, device in enumerate(devices):
        device.hand(device.packets(crossing(served, number), 0), now=0.0)
    out = run_all(desk.service, 0.0)
    assert desk.measures.calls == 3
    for number, device in enumerate(devices):
        (answer,) = answers(device.read(device.mine(out))).values()
        wanted = np.frombuffer(expected(served, crossing(served, number)), np.float32)
        np.testing.assert_allclose(np.frombuffer(answer, np.float32), wanted, rtol=1e-5, atol=1e-6)


def test_frames_run_together_with_those_of_their_own_route(
    small_onnx: Path, tmp_path: Path
) -> None:
    bundle = compile_routed(
        small_onnx, tmp_path / "routed.splitc", emit="onnx", batch_sizes=(2,), head="rpi4"
    )
    with Served(bundle.path) as several:
        desk = Desk(several)
        devices = [came(desk, several, number=number) for number in range(1, 7)]
        given: list[list[Array]] = []
        for number, device in enumerate(devices):
            tail = several.tails[number % 3]
            rng = np.random.default_rng(number)
            shapes = [[n or 1 for n in s.shape] for s in tail.crosses]
            given.append([
                (10 * rng.random(shape)).astype(s.dtype)
                for s, shape in zip(tail.crosses, shapes, strict=True)
            ])  # fmt: skip
            device.hand(device.packets(given[-1], 0, route=number % 3), now=0.0)
        out = run_all(desk.service, 0.0)
        assert desk.measures.calls == 3
        names = [bundle.manifest.routes[number].name for number in range(3)]
        assert desk.measures.routes == {f"{bundle.manifest.name}/{name}": 2 for name in names}
        for number, device in enumerate(devices):
            (answer,) = answers(device.read(device.mine(out))).values()
            (alone,) = several.tails[number % 3].run([given[number]])
            found = np.frombuffer(answer, np.float32)
            np.testing.assert_allclose(found, alone[0].reshape(-1), rtol=1e-4, atol=1e-6)


def test_a_tail_that_fails_is_told_to_the_device(served: Served, desk: Desk) -> None:
    device = came(desk, served)
    device.hand(device.packets(crossing(served), 0), now=0.0)
    batch = desk.service.work.take(0.0, quick=True)
    assert batch is not None
    out = desk.service.work.failed(batch, str(ToolchainError("no memory")), 0.0)
    ((header, payload),) = device.read(device.mine(out))
    assert header.kind == Kind.FAIL
    assert payload == b"no memory"
    assert [line["why"] for line in desk.events("failed")] == ["no memory"]
    assert device.hand(device.one(Header(Kind.NACK, frame=0), NOTHING_CAME), now=0.1)


def test_packets_that_nobody_sealed_are_dropped_and_counted(served: Served) -> None:
    desk = Desk(served, key=KEY)
    device = came(desk, served, key=KEY)
    packets = device.packets(crossing(served), 0)
    bad = packets.take(slice(0, 1))
    bad.block = bad.block.copy()
    bad.block[0, 40] ^= 1
    assert device.hand(bad, now=0.0) == []
    assert desk.measures.dropped["seal"] == 1
    device.hand(device.packets(crossing(served), 0), now=0.0)
    assert desk.service.work.take(0.0, quick=True) is not None


def test_whatever_comes_raises_nothing(served: Served, desk: Desk) -> None:
    device = came(desk, served)
    rng = np.random.default_rng(3)
    right = [bytes(device.packets(crossing(served), 0).packet(0)), device.hello().write()]
    for kind in Kind:
        right.append(write_header(Header(kind, device.session, served.split, 1)) + bytes(40))
    for round_ in range(400):
        packet = bytearray(right[round_ % len(right)])
        for _ in range(int(rng.integers(0, 4))):
            packet[int(rng.integers(0, min(48, len(packet))))] = int(rng.integers(0, 256))
        cut = len(packet) if rng.random() < 0.7 else int(rng.integers(1, len(packet)))
        device.say(bytes(packet[:cut]), now=round_ / 100)
        desk.service.due(round_ / 100)
        run_all(desk.service, round_ / 100)
    assert desk.measures.dropped.total() > 0


def test_a_full_server_refuses_until_a_silent_peer_makes_room(served: Served) -> None:
    desk = Desk(served, peers=2)
    first, second = came(desk, served, number=1), came(desk, served, number=2)
    third = Device(desk.service, served, 3)
    refused = third.greet(1.0)
    assert isinstance(refused, Refuse)
    assert refused.code == Code.FULL
    second.hand(second.packets(crossing(served), 0), now=5.5)
    assert isinstance(third.greet(5.6), Welcome)
    assert read_kinds(first.hand(first.packets(crossing(served), 0), now=5.7)) == [Kind.REFUSE]
    assert [line["peer"] for line in desk.events("evicted")] == ["10.0.0.1:4353"]


def test_a_silent_peer_is_forgotten_and_holds_nothing(served: Served) -> None:
    desk = Desk(served, idle_s=10.0)
    device = came(desk, served)
    device.hand(device.packets(crossing(served), 0), now=1.0)
    run_all(desk.service, 1.0)
    assert desk.service.now.memory_bytes > 0
    for _ in range(100):
        due = desk.service.next_due()
        if due is None:
            break
        desk.service.due(due)
        assert due < 20
    assert desk.service.now.peers == 0
    assert desk.service.now.memory_bytes == 0


def test_goodbye_ends_a_session(served: Served, desk: Desk) -> None:
    device = came(desk, served)
    device.hand(device.packets(crossing(served), 0), now=0.0)
    device.hand(device.one(Header(Kind.BYE)), now=0.0)
    assert desk.service.now == type(desk.service.now)(0, 0, 0)
    assert desk.service.work.take(0.0, quick=True) is None


def test_a_flood_stays_under_the_cap_and_the_honest_peer_is_served(served: Served) -> None:
    cap = 1_000_000
    desk = Desk(served, memory_bytes=cap, peers=256)
    honest = came(desk, served, number=999)
    crowd = [came(desk, served, number=number) for number in range(1, 201)]
    arrays = crossing(served)
    most = 0
    answered: set[int] = set()
    for frame in range(20):
        now = 1.0 + frame / 100
        for one in crowd:
            one.hand(one.packets(arrays, frame).take(slice(0, 2)), now=now)
            most = max(most, desk.service.now.memory_bytes)
        honest.hand(honest.packets(arrays, frame), now=now)
        # As many as one honest device needs, however many others wait.
        for _ in range(2):
            batch = desk.service.work.take(now, quick=True)
            if batch is not None:
                out = desk.service.work.done(batch, batch.tail.run(batch.inputs), now)
                answered |= set(answers(honest.read(honest.mine(out))))
    one_frame = sum(array.nbytes for array in arrays)
    assert most <= cap + 2 * one_frame
    assert len(answered) >= 18
    assert desk.measures.evicted_frames > 0


def test_a_peer_that_does_not_wait_for_answers_loses_its_own_frames(served: Served) -> None:
    desk = Desk(served, frames_in_flight=4)
    device, other = came(desk, served, number=1), came(desk, served, number=2)
    other.hand(other.packets(crossing(served), 0), now=0.0)
    told: list[Kind] = []
    for frame in range(10):
        told += read_kinds(device.hand(device.packets(crossing(served), frame), now=0.0))
    assert told == [Kind.FAIL] * 6
    assert desk.service.now.queue == 5
    frames = [
        batch.frames[0].received.frame
        for batch in iter(lambda: desk.service.work.take(0.0, quick=True), None)
    ]
    assert frames == [0, 6, 7, 8, 9]


def test_a_device_may_only_measure_the_link(served: Served) -> None:
    desk = Desk(served, key=KEY)
    device = Device(desk.service, None, key=KEY)
    assert isinstance(device.greet(0.0), Welcome)
    sent = device.seal(probes(1, range(3), 200, session=device.session))
    out = device.hand(sent, now=2.0)
    echoes = read_echoes(Datagrams.packets([join(*one) for one in device.read(out)]))
    assert [(echo.number, echo.clock_ns) for echo in echoes] == [(n, 2 * 10**9) for n in range(3)]
    assert all(len(packet) <= int(sent.lengths[0]) for packet in out)
    device.hand(device.one(Header(Kind.DATA, chunks=1), bytes(200)), now=0.0)
    assert desk.measures.dropped["malformed"] == 1


def join(header: Header, payload: bytes) -> bytes:
    return write_header(header) + payload


def test_a_server_that_stops_answers_what_it_has_and_says_goodbye(
    served: Served, desk: Desk
) -> None:
    device = came(desk, served)
    packets = device.packets(crossing(served), 0)
    device.hand(packets.take(slice(0, 2)), now=0.0)
    desk.service.stop()
    assert not desk.service.finished
    device.hand(device.packets(crossing(served), 1), now=0.01)
    assert desk.service.work.take(0.01, quick=True) is None
    device.hand(packets.take(slice(2, len(packets))), now=0.02)
    assert not desk.service.finished
    assert set(answers(device.read(device.mine(run_all(desk.service, 0.03))))) == {0}
    assert desk.service.finished
    late = Device(desk.service, served, 2).greet(0.04)
    assert isinstance(late, Refuse)
    assert late.code == Code.STOPPING
    assert [h.kind for h, _ in device.read(device.mine(desk.service.goodbye()))] == [Kind.BYE]
    assert desk.service.now.peers == 0
