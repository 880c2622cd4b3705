# SPDX-License-Identifier: Apache-2.0
"""Two steps, the first of the next thing beside the second of this one."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest

from splitc.send.pipeline import Pipeline

LIMIT_S = 20.0


def test_results_come_in_order() -> None:
    pipeline = Pipeline[int, int, int](lambda x: x + 1, lambda x: x * 2, 2)
    assert list(pipeline.run(range(500))) == [2 * (x + 1) for x in range(500)]


def test_the_next_ones_first_step_runs_beside_the_second() -> None:
    next_began = threading.Event()

    def begin(x: int) -> int:
        if x == 1:
            next_began.set()
        return x

    def end(x: int) -> int:
        assert next_began.wait(LIMIT_S), "nothing else began meanwhile"
        return x

    assert list(Pipeline(begin, end, 2).run(range(3))) == [0, 1, 2]


@pytest.mark.parametrize("most", [1, 2, 5])
def test_no_more_are_under_way_than_are_to_be(most: int) -> None:
    lock, under_way, seen = threading.Lock(), 0, list[int]()

    def begin(x: int) -> int:
        nonlocal under_way
        with lock:
            under_way += 1
            seen.append(under_way)
        return x

    def end(x: int) -> int:
        nonlocal under_way
        with lock:
            under_way -= 1
        return x

    assert list(Pipeline(begin, end, most).run(range(100))) == list(range(100))
    assert max(seen) <= most


def test_what_a_step_raises_is_raised_where_results_are_taken() -> None:
    def begin(x: int) -> float:
        return 1 / (3 - x)

    got: list[float] = []
    with pytest.raises(ZeroDivisionError, match="division by zero"):
        got.extend(Pipeline[int, float, float](begin, lambda x: x, 2).run(range(9)))
    with pytest.raises(ZeroDivisionError, match="division by zero"):
        list(Pipeline[int, int, float](lambda x: x, begin, 2).run(range(9)))


def test_what_the_source_raises_comes_behind_its_results() -> None:
    def source() -> Iterator[int]:
        yield from range(3)
        raise OSError("the camera fell down")

    taken = Pipeline[int, int, int](lambda x: x, lambda x: x, 2).run(source())
    assert [next(taken) for _ in range(3)] == [0, 1, 2]
    with pytest.raises(OSError, match="the camera fell down"):
        next(taken)


def test_who_wants_no_more_stops_the_source() -> None:
    began: list[int] = []
    before = threading.active_count()
    dropped: list[int] = []

    def begin(x: int) -> int:
        began.append(x)
        return x

    pipeline = Pipeline[int, int, int](begin, lambda x: x, 3, dropped.append)
    taken = pipeline.run(iter(range(10**9)))
    next(taken)
    taken.close()
    assert threading.active_count() == before
    assert began == [0, *dropped]
    assert len(dropped) <= 3
