# SPDX-License-Identifier: Apache-2.0
"""What is due of frames under way: to ask, to send again, to give up."""

from __future__ import annotations

import numpy as np
import pytest

from splitc.send.delay import Delay
from splitc.send.window import Flight, Window
from tests.send.test_pacing import packets


def flight(frame: int, began_s: float = 0.0, chunks: int = 8) -> Flight:
    return Flight(100 + frame, 0, [], began_s, frame, packets(chunks))


def window(delay: Delay | None = None) -> Window:
    return Window(0.1, 1.0, lambda: delay or Delay(0.05), rtt_s=0.01)


def chunks_again(one: Window, counter: int, missing: list[int], now: float) -> list[int]:
    return one.again(0, counter, np.array(missing), now).headers["chunk"].tolist()


def test_the_delay_is_that_of_rfc_6298() -> None:
    delay = Delay(0.5, least_s=0.001)
    assert delay.limit_s == 0.5
    delay.add(0.1)  # SRTT = R, RTTVAR = R / 2
    assert delay.limit_s == pytest.approx(0.1 + 4 * 0.05)
    delay.add(0.2)  # RTTVAR = 3/4 RTTVAR + 1/4 |SRTT - R|, then SRTT = 7/8 SRTT + 1/8 R
    assert delay.limit_s == pytest.approx(0.1125 + 4 * (0.75 * 0.05 + 0.25 * 0.1))


def test_the_delay_settles_on_what_is_measured() -> None:
    delay = Delay(0.5, least_s=0.001)
    for _ in range(200):
        delay.add(0.02)
    assert delay.limit_s == pytest.approx(0.021)


def test_an_answer_that_is_late_is_asked_for_more_and_more_seldom() -> None:
    one = window()
    one.begin(late := flight(0))
    assert one.overdue(10.0) == [], "nothing is late of what has not left"
    one.left(late, 0.0)
    asked = [now / 1000 for now in range(200) if one.overdue(now / 1000)]
    assert asked == pytest.approx([0.05, 0.07, 0.095, 0.126, 0.165], abs=5e-3)


def test_over_a_connection_nothing_is_due_but_to_give_a_frame_up() -> None:
    one = Window(0.1, 1.0, lambda: Delay(0.05), rtt_s=0.01, asks=False)
    one.begin(late := flight(0, began_s=2.0))
    one.left(late, 2.5)
    assert one.next_s() == 3.0
    assert one.overdue(2.999) == []


def test_a_slow_answer_is_asked_for_by_the_round_trip_until_one_in_a_million_is_lost() -> None:
    delay = Delay(0.5)
    for _ in range(50):
        delay.add(0.2)
    one = Window(0.1, 1.0, lambda: delay, rtt_s=0.002)
    one.begin(late := flight(0))
    one.left(late, 0.0)
    asked = sum(bool(one.overdue(now / 1000)) for now in range(1000))
    lost = 0.3  # each way
    assert lost * (1 - (1 - lost) ** 2) ** asked < 1e-5


def test_an_answer_is_asked_for_at_the_deadline_if_not_before() -> None:
    delay = Delay(0.05)
    for _ in range(30):
        delay.too_early()  # Where packets are sent again, hardly any delay is measured.
    one = window(delay)
    one.begin(late := flight(0))
    one.left(late, 0.0)
    assert one.overdue(0.1) == []
    assert one.overdue(0.12) == [late], "100 ms are the deadline, 10 the round trip"


def test_an_answer_that_began_to_come_is_not_asked_for_as_a_whole() -> None:
    one = window()
    one.begin(late := flight(0))
    one.left(late, 0.0)
    one.heard(0, 0.01)
    assert one.overdue(0.9) == []


def test_only_answers_to_frames_sent_once_are_measured() -> None:
    delay = Delay(0.05)
    one = window(delay)
    one.begin(late := flight(0))
    one.left(late, 0.0)
    assert one.overdue(0.06) == [late]
    one.heard(0, 0.07)
    assert delay.limit_s == pytest.approx(1.25 * 0.05), "it may have been too short"


def test_a_limit_that_is_always_too_early_grows_until_it_is_not() -> None:
    delay = Delay(0.01)
    one = window(delay)
    asked: list[bool] = []
    for number in range(40):
        one.begin(each := flight(number))
        one.left(each, 0.0)
        asked.append(bool(one.overdue(0.08)))
        one.heard(number, 0.08)
        one.end(number)
    assert asked == [True] * 10 + [False] * 30, "0.01 * 1.25^10 > 0.08"


def test_a_frame_is_given_up_in_time_and_then_unknown() -> None:
    one = window()
    one.begin(first := flight(0, 0.0))
    one.begin(flight(1, 0.5))
    assert one.given_up(0.99) == []
    assert one.given_up(1.0) == [first]
    assert one.get(0) is None
    assert one.end(0) is None
    assert one.next_s() == 1.5


def test_what_the_server_lacks_goes_again_while_the_deadline_lets_it() -> None:
    one = window()
    one.begin(late := flight(0))
    assert chunks_again(one, 0, [1], 0.0) == [], "it has not even left"
    one.left(late, 0.01)
    assert chunks_again(one, 0, [2, 5], 0.02) == [2, 5]
    assert chunks_again(one, 0, [2, 5], 0.03) == [], "the same question, by another way"
    assert chunks_again(one, 1, [7, 8, 500], 0.03) == [7]
    assert chunks_again(one, 2, [2], 0.1) == []
    assert late.again == 3


def test_a_server_cannot_make_a_device_send_for_ever() -> None:
    one = window()
    one.begin(late := flight(0))
    one.left(late, 0.0)
    again = [len(chunks_again(one, counter, list(range(8)), 0.05)) for counter in range(100)]
    assert sum(again) == 8 * 8


def test_a_session_that_ends_gives_its_frames_back() -> None:
    one = window()
    flights = [flight(k) for k in range(3)]
    for each in flights:
        one.begin(each)
    assert one.empty() == flights
    assert len(one) == 0
    assert one.next_s() is None


def test_how_long_answers_take_is_learnt_for_each_route() -> None:
    one = Window(1.0, 5.0, lambda: Delay(0.2, least_s=0.001), rtt_s=0.01)
    for frame in range(50):
        one.begin(quick := flight(frame))
        one.left(quick, 0.0)
        one.heard(frame, 0.01)
        one.end(frame)
    one.begin(quick := flight(100))
    one.begin(other := Flight(201, 1, [], 0.0, 101, packets(8)))
    for each in (quick, other):
        one.left(each, 0.0)
    assert [late.frame for late in one.overdue(0.1)] == [100]
    assert other in one.overdue(0.2)


def test_a_lost_answer_to_what_went_again_is_asked_for_as_soon_as_others_of_them_came() -> None:
    """A whole frame takes 200 ms to be answered, what was missing of one 20."""
    one = Window(1.0, 5.0, lambda: Delay(0.3, least_s=0.001), rtt_s=0.01)
    for number in range(40):
        begun = flight(number, began_s=number * 1.0)
        one.begin(begun)
        one.left(begun, number * 1.0)
        one.again(number, number, np.array([3]), number + 0.2)
        one.heard(number, number + 0.22)
        one.end(number)
    one.begin(late := flight(40, began_s=50.0))
    one.left(late, 50.0)
    assert one.overdue(50.29) == [], "of whole frames nothing was measured"
    one.again(40, 40, np.array([3]), 50.2)
    assert one.overdue(50.215) == []
    assert one.overdue(50.23) == [late]


def test_what_left_behind_all_that_came_is_not_sent_again_while_more_comes() -> None:
    one = window()
    one.begin(begun := flight(0))
    one.left(begun, 0.0)
    assert chunks_again(one, 1, [1, 2, 3, 4, 5, 6, 7], 0.01) == [], "all of it may be under way"
    assert chunks_again(one, 2, [1, 4, 5, 6, 7], 0.02) == [1], "2 and 3 came: 1 is lost"
    assert chunks_again(one, 3, [1, 6, 7], 0.03) == [], "1 left again behind all that came"
    assert chunks_again(one, 4, [1, 6, 7], 0.04) == [1, 6, 7], "no more comes: they are lost"
    assert chunks_again(one, 5, [6], 0.05) == [6], "7 came, which left again behind 6"


def test_of_a_frame_of_which_nothing_came_all_is_sent_again() -> None:
    one = window()
    one.begin(begun := flight(0, chunks=3))
    one.left(begun, 0.0)
    assert chunks_again(one, 1, [0, 1, 2], 0.01) == [0, 1, 2]
