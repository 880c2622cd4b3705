# SPDX-License-Identifier: Apache-2.0
"""The connections of a server: which have something to say, and which are over."""

from __future__ import annotations

import resource
import select
import time
from collections.abc import Callable

from splitc.net.kernel import Bell
from splitc.net.stream import StreamListener, StreamSocket

_SWEEP_S, _STRANGER_S = 1.0, 5.0
"""How often to look for connections that are over, and how long one may say nothing at first."""
_LAST_S = 0.05
"""How long a peer may take to read the last of what was sent to it."""


class Connections:
    """Connections that come in at one port. One thread waits, any may `wake` it.

    Args:
        listener: Where they come in; it is closed with them.
        most: Connections at once, as far as the process may have so many files.
        packet_bytes: The longest packet that is taken.
    """

    def __init__(self, listener: StreamListener, most: int, packet_bytes: int) -> None:
        files, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
        self._most = min(most, files // 2)
        self._packet_bytes = packet_bytes
        self._listener = listener
        self._streams: dict[int, StreamSocket] = {}
        self._strangers: dict[StreamSocket, float] = {}
        self._bell = Bell()
        self._poll = select.poll()
        self._poll.register(self._bell.fileno(), select.POLLIN)
        self._poll.register(listener.fileno(), select.POLLIN)
        self._sweep_s = 0.0

    def wake(self) -> None:
        """End a wait: a connection has something to write, or is over, or the server is."""
        self._bell.ring()

    def ready(self) -> list[StreamSocket]:
        """Wait for something to happen; the connections that have something to be read."""
        found: list[StreamSocket] = []
        for fd, event in self._poll.poll(_SWEEP_S * 1000 if self._streams else None):
            if fd == self._listener.fileno():
                self._accept()
            elif fd == self._bell.fileno():
                self._bell.silence()
                self._sweep_s = 0.0
            else:
                if event & select.POLLOUT:
                    self._streams[fd].flush()
                    self._sweep_s = 0.0
                if event & ~select.POLLOUT:
                    found.append(self._streams[fd])
        return found

    def _accept(self) -> None:
        stream = self._listener.accept(0, packet_bytes=self._packet_bytes)
        if stream is None:
            return
        if len(self._streams) >= self._most:
            stream.close()
            return
        self._streams[stream.fileno()] = stream
        self._strangers[stream] = time.monotonic() + _STRANGER_S
        self._poll.register(stream.fileno(), select.POLLIN)

    def over(self, is_known: Callable[[StreamSocket], bool]) -> list[StreamSocket]:
        """Close the connections that are over; the others that have to wait to write, do.

        Args:
            is_known: Whether there is a session over a connection.

        Returns:
            Those that were closed: by their peers, by who sends, or as nobody knows them.
        """
        now = time.monotonic()
        if now < self._sweep_s and not any(one.closed for one in self._streams.values()):
            return []
        self._sweep_s = now + _SWEEP_S
        gone: list[StreamSocket] = []
        for fd, stream in list(self._streams.items()):
            known = is_known(stream)
            if known:
                self._strangers.pop(stream, None)
            if not stream.closed and (known or now < self._strangers.get(stream, 0.0)):
                wanted = select.POLLOUT if stream.wants_write else 0
                self._poll.modify(fd, select.POLLIN | wanted)
                continue
            self._poll.unregister(fd)
            del self._streams[fd]
            self._strangers.pop(stream, None)
            stream.close()
            gone.append(stream)
        return gone

    def close(self) -> None:
        """Close all of them, once no thread waits."""
        for stream in self._streams.values():
            stream.flush(_LAST_S)
            stream.close()
        self._streams.clear()
        self._listener.close()
        self._bell.close()
