# SPDX-License-Identifier: Apache-2.0
"""The threads and sockets around a session.

Whoever waits for an answer receives for all who wait: one thread wakes up for an answer, not
two. `stream` has a thread of its own do so, as who reads answers may be busy with them.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager, suppress

from splitc.arrays import Array
from splitc.errors import DeviceError, SplitcError, UsageError
from splitc.runtime.manifest import Remote
from splitc.send.line import Line
from splitc.send.session import Session
from splitc.send.talk import Outcome


class Exchange:
    """A session on a socket.

    Args:
        session: What is said and heard.
        line: The socket.
    """

    def __init__(self, session: Session, line: Line) -> None:
        self.session = session
        self._line = line
        self._lock = threading.Lock()
        self._receiving = threading.Lock()
        self._news = threading.Condition()
        self._outcomes: dict[int, Outcome] = {}
        self._unwanted: set[int] = set()
        self._sleeps_until = float("-inf")
        self._failed: SplitcError | None = None

    def choose(self) -> Remote:
        """The route of the next frame."""
        with self._lock:
            return self.session.steering.choose(time.monotonic())

    def submit(self, ticket: int, route: int, arrays: Sequence[Array], head_s: float) -> None:
        """Send a frame, from any thread. Raises as `wait` and `Session.submit` do.

        Args:
            ticket: See `Session.submit`.
            route: See `Session.submit`.
            arrays: See `Session.submit`.
            head_s: Seconds that the device's parts took.
        """
        with self._lock:
            if self._failed is not None:
                raise self._failed
            self.session.steering.head_took(route, head_s)
            self.session.submit(ticket, route, arrays, time.monotonic())
            next_s = self._send()
        if next_s is not None and next_s < self._sleeps_until:
            self._line.wake()

    def outcome(self, ticket: int) -> Outcome:
        """Wait until it is known what became of a frame."""
        self.wait(lambda: ticket in self._outcomes)
        return self._outcomes.pop(ticket)

    def forget(self, ticket: int) -> None:
        """Nobody wants to know what becomes of a frame."""
        with self._lock:
            if self._outcomes.pop(ticket, None) is None:
                self._unwanted.add(ticket)

    def wait(self, done: Callable[[], bool], until: float | None = None) -> None:
        """Wait until something is so, receiving meanwhile if nobody else does.

        Args:
            done: Whether it is so; answers change it.
            until: Give up then, in seconds of `time.monotonic`.

        Raises:
            DeviceError: The network has failed.
            UsageError: It is closed.
        """
        while not done() and (until is None or time.monotonic() < until):
            if self._failed is not None:
                raise self._failed
            if self._receiving.acquire(blocking=False):
                try:
                    self._receive(done, until)
                except DeviceError as error:
                    self._failed = error
                finally:
                    self._receiving.release()
                    self._tell()
            else:
                left = None if until is None else max(until - time.monotonic(), 0.0)
                with self._news:
                    self._news.wait_for(lambda: done() or self._may_receive, left)

    @property
    def _may_receive(self) -> bool:
        """Whether who waits has something to do: nobody receives, or nobody can any more."""
        return self._failed is not None or not self._receiving.locked()

    def look(self) -> None:
        """Send what is due and take what has come, without waiting."""
        if self._receiving.acquire(blocking=False):
            try:
                with self._lock:
                    self._send()
                self._take(0.0)
            finally:
                self._receiving.release()
                self._tell()

    @contextmanager
    def receiving(self) -> Generator[None]:
        """A thread that receives meanwhile, whatever those who wait for answers are busy with."""
        over = threading.Event()
        thread = threading.Thread(target=self._receive_until, args=(over,), daemon=True)
        thread.start()
        try:
            yield
        finally:
            over.set()
            self._line.wake()
            self._tell()
            thread.join()

    def _receive_until(self, over: threading.Event) -> None:
        with suppress(SplitcError):  # Who waits for an answer gets it.
            self.wait(over.is_set)

    def why(self) -> str:
        """Why nothing comes, as far as the network said; else empty."""
        return self._line.why()

    def close(self) -> None:
        """Say goodbye and close the socket; who waits still is told."""
        with self._lock, suppress(DeviceError):
            for datagrams in self.session.close(time.monotonic()):
                self._line.send(datagrams)
        self._failed = UsageError("the device is closed")
        self._line.wake()
        self._tell()
        with self._receiving:
            self._line.close()

    def _receive(self, done: Callable[[], bool], until: float | None) -> None:
        while True:
            with self._lock:
                next_s = self._send()
                over = until is not None and time.monotonic() >= until
                if over or done() or self._failed is not None:
                    return
                ends = [each for each in (next_s, until) if each is not None]
                self._sleeps_until = min(ends, default=float("inf"))
            wait_s = self._sleeps_until - time.monotonic()
            self._take(None if wait_s == float("inf") else max(wait_s, 0.0))

    def _take(self, timeout_s: float | None) -> None:
        """Take what comes within so long."""
        found = self._line.receive(timeout_s)
        self._sleeps_until = float("-inf")
        with self._lock:
            if found is None:
                self.session.lost(time.monotonic())
            elif len(found):
                self.session.take(found, time.monotonic())

    def _send(self) -> float | None:
        """Do what is due, send what leaves, tell what is known; when to do so again."""
        now = time.monotonic()
        outcomes = self.session.step(now)
        if self.session.wants_new_line:
            self.session.wants_new_line = False
            self._line.renew()
        for datagrams in self.session.leave(now):
            self._line.send(datagrams)
        if outcomes:
            for one in outcomes:
                if one.ticket in self._unwanted:
                    self._unwanted.remove(one.ticket)
                else:
                    self._outcomes[one.ticket] = one
            self._tell()
        return self.session.next_s(now)

    def _tell(self) -> None:
        with self._news:
            self._news.notify_all()
