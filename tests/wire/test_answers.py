# SPDX-License-Identifier: Apache-2.0
"""Answers: all of them or none, and what is asked for when packets are missing."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from splitc.errors import BadBundleError, UsageError
from splitc.runtime.manifest import TensorSpec
from splitc.wire.answers import WHOLE_SHARE, Answers
from splitc.wire.assembly import Assembly
from splitc.wire.header import Kind, Transport, read_header
from splitc.wire.nack import Gap, missing_bits, missing_rows
from tests.wire.test_boundary import spec, values

RESULTS = [spec("float32", 1, 10), spec("int64", 3), spec("bool", 1, 7)]


def test_results_stand_one_after_another_as_they_lie() -> None:
    answers = Answers(RESULTS, 20)
    arrays = [values(one, k) for k, one in enumerate(RESULTS)]
    packets = answers.pack(arrays, session=1, split=2, frame=3, route=4, share=0.25)
    payloads = [bytes(packets.payload(k)) for k in range(len(packets))]
    assert b"".join(payloads) == b"".join(array.tobytes() for array in arrays)
    assert [len(payload) for payload in payloads] == [20, 20, 20, 11] == answers.sizes.tolist()
    for number in range(4):
        header = read_header(packets.packet(number))
        assert header == (Kind.ANSWER, 1, 2, 3, 4, number, 4, round(0.25 * WHOLE_SHARE))


@given(st.integers(1, 90))
def test_results_come_back_whole_or_not_at_all(payload_bytes: int) -> None:
    answers = Answers(RESULTS, payload_bytes)
    arrays = [values(one, k) for k, one in enumerate(RESULTS)]
    packets = answers.pack(arrays, session=1, split=2, frame=3)
    rows = np.zeros((answers.chunks, payload_bytes), np.uint8)
    for number in range(len(packets)):
        payload = packets.payload(number)
        rows[number, : len(payload)] = np.frombuffer(payload, np.uint8)
    came = np.ones(answers.chunks, bool)
    back, share = answers.unpack(rows, came)
    assert share == 1
    for array, received in zip(arrays, back, strict=True):
        assert received.dtype == array.dtype
        np.testing.assert_array_equal(received, array)
    came[-1] = False
    assert answers.unpack(rows, came)[0] == []


def test_results_of_no_bytes_are_one_empty_packet() -> None:
    answers = Answers([spec("float32", 0)], 100)
    packets = answers.pack([np.zeros(0, np.float32)], session=1, split=2, frame=3)
    assert packets.lengths.tolist() == [32]
    (back,), _ = answers.unpack(np.zeros((1, 100), np.uint8), np.ones(1, bool))
    assert back.shape == (0,)
    assert Answers([], 100).chunks == 1


def test_a_device_puts_an_answer_together_and_asks_for_what_is_missing() -> None:
    answers = Answers([spec("float32", 1, 100)], 40)
    device = Assembly(
        {4: answers}, session=1, split=2, kind=Kind.ANSWER, transport=Transport.RESEND,
        deadline_s=1, grace_s=0.25,
    )  # fmt: skip
    array = values(answers.specs[0])
    packets = answers.pack([array], session=1, split=2, frame=0, route=4, share=0.5)
    assert device.add(packets.take([0, 1, 3, 9]), 10.0) == []
    assert device.gaps(10.2) == [] and device.next_due() == 10.25
    (gap,) = device.gaps(10.25)
    assert gap == Gap(0, 4, 10, missing_bits(np.isin(range(10), [0, 1, 3, 9])))
    assert device.gaps(10.5) == [] and device.next_due() == 10.75
    wanted = missing_rows(gap.bitmap, gap.chunks)
    assert wanted.tolist() == [2, 4, 5, 6, 7, 8]
    (received,) = device.add(packets.take(wanted), 10.6)
    np.testing.assert_array_equal(received.arrays[0], array)
    assert received.why == "complete"
    assert received.extra == round(0.5 * WHOLE_SHARE)


def test_an_answer_that_is_not_whole_in_time_is_none() -> None:
    answers = Answers([spec("float32", 1, 100)], 40)
    device = Assembly(
        {0: answers}, session=1, split=2, kind=Kind.ANSWER, transport=Transport.RESEND,
        deadline_s=1, grace_s=0.25,
    )  # fmt: skip
    packets = answers.pack([values(answers.specs[0])], session=1, split=2, frame=0)
    device.add(packets.take([0]), 10.0)
    (received,) = device.due(11.0)
    assert (received.arrays, received.why, received.came) == ([], "deadline", 1)


@given(st.lists(st.booleans(), min_size=1, max_size=100), st.binary(max_size=3))
def test_a_bitmap_says_which_chunks_are_missing_and_no_others(
    came: list[bool], more: bytes
) -> None:
    bitmap = missing_bits(np.array(came))
    assert len(bitmap) == -(-len(came) // 8)
    wanted = [k for k, one in enumerate(came) if not one]
    assert missing_rows(bitmap + more, len(came)).tolist() == wanted
    for k in range(len(came)):
        assert (bitmap[k // 8] >> k % 8 & 1) == (not came[k])


def test_a_bitmap_that_is_too_short_asks_for_what_it_names() -> None:
    assert missing_rows(b"", 100).tolist() == []
    assert missing_rows(b"\xff", 100).tolist() == list(range(8))
    assert missing_rows(b"\xff\xff", 3).tolist() == [0, 1, 2]


def test_no_two_nacks_of_a_session_agree_in_what_makes_their_nonce() -> None:
    gap = Gap(7, 3, 9, b"\x01\x01")
    made = [gap.packet(1, 2, number) for number in (0, 1, 0xFFFF, 0x10000, 0x10001)]
    headers = [read_header(one.packet(0)) for one in made]
    assert len({(h.chunk, h.extra) for h in headers if h is not None}) == 5
    assert headers[0] == (Kind.NACK, 1, 2, 7, 3, 0, 9, 0)
    assert bytes(made[0].payload(0)) == b"\x01\x01"


@pytest.mark.parametrize(
    ("specs", "error", "match"),
    [
        ([spec("float32", 1, None)], BadBundleError, "'t' cannot be sent"),
        ([spec("uint8", 70_000)], UsageError, "it cannot be answered"),
    ],
)
def test_what_cannot_be_answered_is_refused(
    specs: list[TensorSpec], error: type[Exception], match: str
) -> None:
    with pytest.raises(error, match=match):
        Answers(specs, 1)


def test_a_part_that_breaks_its_contract_is_told() -> None:
    answers = Answers([spec("float32", 1, 4)], 99)
    for wrong in (np.zeros((1, 4), np.float64), np.zeros((1, 5), np.float32)):
        with pytest.raises(BadBundleError, match="result 't' does not fit"):
            answers.pack([wrong], session=1, split=1, frame=0)


def test_only_answers_are_taken_for_answers() -> None:
    answers = Answers([spec("float32", 1, 4)], 16)
    device = Assembly({0: answers}, session=1, split=2, kind=Kind.ANSWER, deadline_s=1, grace_s=1)
    packets = answers.pack([values(answers.specs[0])], session=1, split=2, frame=0)
    packets.headers["kind"] = Kind.DATA
    assert device.add(packets, 0) == []
    assert device.counters.malformed == 1
