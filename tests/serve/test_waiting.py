# SPDX-License-Identifier: Apache-2.0
"""Frames in line: each peer has its turn, and several run at once where a tail takes them."""

from __future__ import annotations

from dataclasses import dataclass

from hypothesis import given
from hypothesis import strategies as st

from splitc.serve.waiting import Waiting


@dataclass(frozen=True)
class Some:
    """A tail of some sizes."""

    batches: tuple[int, ...] = (1,)


@dataclass(frozen=True)
class One:
    """A peer's frame."""

    tail: Some
    owner: str
    number: int


ONE = Some()
FOUR = Some((1, 2, 4))


def line(tail: Some, *owners: str) -> Waiting[One]:
    waiting: Waiting[One] = Waiting()
    for number, owner in enumerate(owners):
        waiting.add(One(tail, owner, number))
    return waiting


def test_who_sends_much_waits_for_himself() -> None:
    waiting = line(ONE, "a", "a", "a", "a", "b", "c")
    assert [waiting.take()[0].owner for _ in range(6)] == ["a", "b", "c", "a", "a", "a"]
    assert waiting.take() == []


def test_as_many_run_together_as_wait_and_never_more_than_there_are() -> None:
    waiting = line(FOUR, *"abcdefg")
    assert [len(waiting.take()) for _ in range(4)] == [4, 2, 1, 0]


def test_tails_take_turns() -> None:
    waiting = line(ONE, "a", "a")
    for number in range(2):
        waiting.add(One(FOUR, "b", number))
    waiting.add(One(FOUR, "c", 0))
    taken = [waiting.take() for _ in range(4)]
    assert [frames[0].tail for frames in taken] == [ONE, FOUR, ONE, FOUR]


def test_a_peers_oldest_frame_can_be_taken_out_and_all_of_them() -> None:
    waiting = line(ONE, "a", "b", "a", "b")
    dropped = waiting.drop_oldest("b")
    assert dropped is not None
    assert dropped.number == 1
    assert [frame.number for frame in waiting.drop("a")] == [0, 2]
    assert len(waiting) == 1
    assert waiting.drop_oldest("a") is None
    assert [frame.number for frame in waiting.take()] == [3]


@given(st.lists(st.tuples(st.sampled_from([ONE, FOUR]), st.sampled_from("abc"))))
def test_every_frame_is_taken_once_and_a_peers_in_their_order(
    added: list[tuple[Some, str]],
) -> None:
    waiting: Waiting[One] = Waiting()
    frames = [One(tail, owner, number) for number, (tail, owner) in enumerate(added)]
    for frame in frames:
        waiting.add(frame)
    taken: list[One] = []
    while batch := waiting.take():
        assert len(batch) in batch[0].tail.batches
        assert len({frame.tail for frame in batch}) == 1
        taken += batch
    assert sorted(taken, key=lambda f: f.number) == frames
    for tail, owner in {(frame.tail, frame.owner) for frame in frames}:
        numbers = [f.number for f in taken if (f.tail, f.owner) == (tail, owner)]
        assert numbers == sorted(numbers)
