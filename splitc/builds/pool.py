# SPDX-License-Identifier: Apache-2.0
"""Processes that compile groups of bundles beside each other; one that dies takes none along."""

from __future__ import annotations

import os
import queue
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Generator, Sequence
from contextlib import suppress
from typing import Any

import msgspec

from splitc.builds.messages import Began, Done, Failure, Group, Over, Said, Task

_STOP_S = 12.0
"""How long processes that are told to stop are waited for."""
_LAST_WORDS = 4096


class Pool:
    """So many processes, each with one group at a time.

    Args:
        jobs: How many processes.
    """

    def __init__(self, jobs: int) -> None:
        self._jobs = jobs
        self._running: set[subprocess.Popen[bytes]] = set()
        self._stopping = False

    def each(self, groups: Sequence[Group]) -> Generator[Began | Done]:
        """Compile groups; what is said of each bundle, as it is said.

        However this ends, no process is left.
        """
        left: queue.SimpleQueue[Group] = queue.SimpleQueue()
        for group in groups:
            left.put(group)
        said: queue.SimpleQueue[Began | Done | None] = queue.SimpleQueue()
        count = min(self._jobs, len(groups))
        for _ in range(count):
            threading.Thread(target=self._work, args=(left, said), daemon=True).start()
        try:
            while count:
                one = said.get()
                if one is None:
                    count -= 1
                else:
                    yield one
        finally:
            self._stop()

    def _work(
        self, left: queue.SimpleQueue[Group], said: queue.SimpleQueue[Began | Done | None]
    ) -> None:
        """Start a process, give it groups; another one after one that died."""
        try:
            while not self._stopping:
                group = left.get_nowait()
                tasks = group.tasks
                while tasks and not self._stopping:
                    tasks = self._process(Group(tasks), left, said)
        except queue.Empty:
            pass
        finally:
            said.put(None)

    def _process(
        self, group: Group, left: queue.SimpleQueue[Group],
        said: queue.SimpleQueue[Began | Done | None],
    ) -> tuple[Task, ...]:  # fmt: skip
        """Have one process do a group and all that are left; the tasks of the group that it died
        in, but for the one that it died of."""
        with tempfile.TemporaryFile() as words:
            process = _start(words)
            self._running.add(process)
            try:
                while True:
                    undone = _converse(process, group, said)
                    if undone is not None:
                        break
                    group = left.get_nowait()
            except queue.Empty:
                return ()
            finally:
                self._end(process)
            if self._stopping or not undone:
                return ()
            of, *others = undone
            said.put(Done(of.number, 0.0, failure=_died(process.returncode, words)))
            return tuple(others)

    def _end(self, process: subprocess.Popen[bytes]) -> None:
        """Close a process's input, and wait until it is no more."""
        with suppress(OSError):
            if process.stdin is not None:
                process.stdin.close()
        try:
            process.wait(_STOP_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        if process.stdout is not None:
            process.stdout.close()
        self._running.discard(process)

    def _stop(self) -> None:
        self._stopping = True
        for process in [*self._running]:
            with suppress(OSError):
                process.terminate()
        for process in [*self._running]:
            self._end(process)


def _start(words: Any) -> subprocess.Popen[bytes]:
    # -P: what lies in the folder that this runs in is no part of splitc.
    command = [sys.executable, "-P", "-m", "splitc.builds.worker"]
    path = os.pathsep.join(each for each in sys.path if each)
    return subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=words,
        env={**os.environ, "PYTHONPATH": path},
    )  # fmt: skip


def _converse(
    process: subprocess.Popen[bytes], group: Group,
    said: queue.SimpleQueue[Began | Done | None],
) -> list[Task] | None:  # fmt: skip
    """Give a process a group and pass on what it says; the tasks that it did not come to, where it
    died."""
    undone = {task.number: task for task in group.tasks}
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        process.stdin.write(msgspec.json.encode(group) + b"\n")
        process.stdin.flush()
        for line in process.stdout:
            one: Any = msgspec.json.decode(line, type=Said)
            if isinstance(one, Over):
                return None
            if isinstance(one, Done):
                undone.pop(one.number)
            said.put(one)
    except (OSError, ValueError):  # it is gone, or its pipe was closed
        pass
    return [*undone.values()]


def _died(code: int, words: Any) -> Failure:
    """What to say of a process that ended where it should not."""
    words.seek(0, os.SEEK_END)
    words.seek(max(0, words.tell() - _LAST_WORDS))
    last = words.read().decode("utf-8", "replace").strip().splitlines()[-1:]
    how = signal.Signals(-code).name if code < 0 else f"exit code {code}"
    why = f"{how}: {last[0][:300]}" if last else how
    hint = "it ran out of memory, perhaps: --jobs 1" if code == -signal.SIGKILL else ""
    return Failure("ToolchainError", "the compiler died", why=why, hint=hint, exit_code=6)
