# SPDX-License-Identifier: Apache-2.0
"""Probes and echoes: who sees what, and that nothing is answered twice or by more."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from splitc.wire.datagrams import Datagrams
from splitc.wire.header import HEADER_BYTES, Kind, read_header
from splitc.wire.probe import ECHO_BYTES, MOST, SEEN, Echoes, probes, read_echoes
from splitc.wire.seal import Seal, nonce


def test_an_echo_has_its_probes_header_the_servers_clock_and_what_was_seen() -> None:
    sent = probes(7, range(3), 100, session=5, split=6)
    assert [len(sent.packet(row)) for row in range(3)] == [HEADER_BYTES + 100] * 3
    answer = Echoes().answer(sent.take([0, 2]), 123)
    for row, number in enumerate((0, 2)):
        header = read_header(answer.packet(row))
        assert header is not None
        assert header == read_header(sent.packet(number))._replace(kind=Kind.ECHO)  # type: ignore[union-attr]
        assert header[1:6:2] == (5, 7, number)
    assert read_echoes(answer) == [(7, 0, 123, 0b1), (7, 2, 123, 0b101)]


def test_an_echo_is_as_long_as_was_asked_and_never_longer_than_its_probe() -> None:
    for asked, expected in ((0, ECHO_BYTES), (50, 50), (100, 100), (5000, 100)):
        answer = Echoes().answer(probes(0, range(1), 100, echo_bytes=asked), 0)
        assert answer.lengths.tolist() == [HEADER_BYTES + expected]


def test_probes_too_short_for_an_answer_get_none() -> None:
    echoes = Echoes()
    short = probes(0, range(2), ECHO_BYTES)
    short.lengths[:] = (HEADER_BYTES + ECHO_BYTES - 1, HEADER_BYTES)
    assert len(echoes.answer(short, 0)) == 0
    assert echoes.ignored == 2
    assert read_echoes(short) == []
    assert len(echoes.answer(Datagrams.packets([]), 0)) == 0


def test_repeated_late_and_old_probes_get_no_answer() -> None:
    echoes = Echoes()
    train = probes(1, range(200), ECHO_BYTES)
    assert len(echoes.answer(train.take([100, 100, 36, 37, 37]), 0)) == 2
    assert len(echoes.answer(probes(0, range(1), ECHO_BYTES), 0)) == 0
    assert len(echoes.answer(probes(2, range(1), ECHO_BYTES), 0)) == 1
    assert len(echoes.answer(train.take([150]), 0)) == 0
    assert echoes.ignored == 5


def test_a_train_may_be_as_long_as_numbers_go() -> None:
    echoes = Echoes()
    ends = probes(0, range(MOST - 1, MOST + 1), ECHO_BYTES)
    found = read_echoes(echoes.answer(ends, 0))
    assert [(echo.number, echo.seen) for echo in found] == [(MOST - 1, 1), (MOST, 3)]


@given(
    order=st.lists(
        st.tuples(st.integers(0, 2), st.integers(0, 200) | st.just(MOST)), max_size=150
    )
)  # fmt: skip
def test_echoes_tell_what_came_whatever_comes_in_whatever_order(
    order: list[tuple[int, int]],
) -> None:
    echoes = Echoes()
    come: dict[int, set[int]] = {}
    answered: set[tuple[int, int]] = set()
    for train, number in order:
        one = probes(train, range(number, number + 1), ECHO_BYTES)
        found = read_echoes(echoes.answer(one, 0))
        last = max(come, default=-1)
        if found:
            come.setdefault(train, set()).add(number)
            (echo,) = found
            assert echo[:2] == (train, number)
            assert (train, number) not in answered
            answered.add((train, number))
            expected = sum(1 << i for i in range(SEEN) if number - i in come[train])
            assert echo.seen == expected
        else:
            assert (
                train < last
                or number in come.get(train, set())
                or number <= max(come[train]) - SEEN
            )


def test_no_two_echoes_of_a_session_are_sealed_with_one_nonce() -> None:
    """Whatever is repeated: two plaintexts under one nonce would give both away."""
    pytest.importorskip("cryptography")
    echoes, seal = Echoes(), Seal(bytes(32))
    rng = np.random.default_rng(1)
    sealed: set[bytes] = set()
    count = 0
    for now in range(300):
        train = int(rng.integers(now // 100, now // 100 + 2))
        numbers = rng.integers(0, 80, 10)
        found = probes(train, range(80), 40).take(numbers)
        answer = seal.seal(echoes.answer(found, now))
        nonces = [nonce(answer.packet(row)[:HEADER_BYTES]) for row in range(len(answer))]
        count += len(nonces)
        sealed.update(nonces)
    assert len(sealed) == count > 100
