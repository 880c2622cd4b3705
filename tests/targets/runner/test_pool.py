# SPDX-License-Identifier: Apache-2.0
"""The threads that compiled loops run on, called as compiled code calls them."""

from __future__ import annotations

import ctypes
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any, ClassVar

import pytest

from splitc.cost.board import host_isa, load_board
from splitc_targets.link.toolchain import runtime


class Group(ctypes.Structure):
    _fields_: ClassVar[Any] = [("barrier", ctypes.c_void_p), ("tasks", ctypes.c_int32)]


TASK = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_int, ctypes.POINTER(Group), ctypes.c_void_p)
LAUNCH = ctypes.CFUNCTYPE(ctypes.c_int, TASK, ctypes.c_void_p, ctypes.c_int)
BORROW = ctypes.CFUNCTYPE(ctypes.c_void_p, ctypes.c_uint64)
GIVE_BACK = ctypes.CFUNCTYPE(None, ctypes.c_void_p)
FAIL = ctypes.CFUNCTYPE(
    None, ctypes.c_char_p, ctypes.POINTER(ctypes.c_char_p), ctypes.c_int32
)  # fmt: skip


class Table(ctypes.Structure):
    _fields_: ClassVar[Any] = [
        ("launch", LAUNCH), ("borrow", BORROW), ("give_back", GIVE_BACK), ("fail", FAIL)
    ]  # fmt: skip


THREADS = 4
"""More than this machine may have cores: then they take turns."""


@pytest.fixture(scope="module")
def library() -> ctypes.CDLL:
    found = ctypes.CDLL(str(runtime(host_isa(), load_board("host").processor.glibc).library))
    found.splitc_host_table.restype = ctypes.POINTER(Table)
    found.splitc_host_error.restype = ctypes.c_char_p
    found.splitc_host_set_threads(THREADS)
    return found


@pytest.fixture
def table(library: ctypes.CDLL) -> Iterator[Any]:
    yield library.splitc_host_table().contents


def counting(task: Callable[[int, int], int] = lambda number, tasks: 0) -> tuple[Any, list[Any]]:
    """A task, and what it was called with: its number, of how many, on which thread."""
    seen: list[tuple[int, int, int]] = []

    def body(number: int, group: Any, data: Any) -> int:
        tasks = group.contents.tasks
        seen.append((number, tasks, threading.get_native_id()))
        return task(number, tasks)

    return TASK(body), seen


def test_every_share_of_a_loop_runs_once(table: Any) -> None:
    for _ in range(100):
        task, seen = counting()
        assert table.launch(task, None, 0) == 0
        assert sorted(number for number, _, _ in seen) == list(range(THREADS))
        assert {tasks for _, tasks, _ in seen} == {THREADS}


def test_shares_run_at_one_time_on_threads_of_their_own(table: Any) -> None:
    met = threading.Barrier(THREADS, timeout=60)
    task, seen = counting(lambda number, tasks: min(met.wait(), 0))
    # The caller waits for the others within its own share, so that it takes none of theirs.
    assert table.launch(task, None, 0) == 0
    assert len({thread for _, _, thread in seen}) == THREADS


def test_the_number_of_threads_is_settled_by_the_first_loop(
    library: ctypes.CDLL, table: Any
) -> None:
    table.launch(counting()[0], None, 0)
    assert library.splitc_host_set_threads(1) == 0
    assert library.splitc_host_threads() == THREADS


def test_a_share_that_fails_fails_the_loop(table: Any) -> None:
    for bad in range(THREADS):
        task, seen = counting(lambda number, tasks, bad=bad: -1 if number == bad else 0)
        assert table.launch(task, None, 0) == -1
        assert len(seen) == THREADS
    assert table.launch(counting()[0], None, 0) == 0


def test_a_loop_within_a_loop_runs_on_the_thread_it_is_in(table: Any) -> None:
    inner, seen = counting()
    outer, _ = counting(lambda number, tasks: table.launch(inner, None, 0))
    assert table.launch(outer, None, 0) == 0
    assert [tasks for _, tasks, _ in seen] == [1] * THREADS


def test_loops_of_several_callers_do_not_mix(table: Any) -> None:
    def loops(_: int) -> bool:
        for _ in range(50):
            task, seen = counting()
            if table.launch(task, None, 0) != 0:
                return False
            tasks = seen[0][1]
            if sorted(seen)[0][0] != 0 or len(seen) != tasks or tasks not in (1, THREADS):
                return False
        return True

    with ThreadPoolExecutor(6) as pool:
        assert all(pool.map(loops, range(6)))


@pytest.mark.parametrize("size", [1, 64, 1000, 2**20])
def test_scratch_memory_is_aligned_and_used_again(table: Any, size: int) -> None:
    first = table.borrow(size)
    assert first % 64 == 0
    ctypes.memset(first, 255, size)
    second = table.borrow(size)
    assert abs(second - first) >= size
    table.give_back(second)
    table.give_back(first)
    assert table.borrow(size) == first
    table.give_back(first)


def test_why_a_call_failed_is_kept_for_its_thread(library: ctypes.CDLL, table: Any) -> None:
    parts = (ctypes.c_char_p * 2)(b"x.shape[0] is 3", b", not 4")
    table.fail(b"ValueError", parts, 2)
    with ThreadPoolExecutor(1) as other:
        assert other.submit(library.splitc_host_error).result() == b""
    assert library.splitc_host_error() == b"ValueError: x.shape[0] is 3, not 4"


def test_a_long_reason_is_cut_short(library: ctypes.CDLL, table: Any) -> None:
    parts = (ctypes.c_char_p * 2)(b"a" * 400, b"b" * 400)
    table.fail(b"E", parts, 2)
    assert library.splitc_host_error() == b"E: " + b"a" * 400 + b"b" * 108
