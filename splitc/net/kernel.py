# SPDX-License-Identifier: Apache-2.0
"""Calls of Linux that Python does not have: many datagrams at once, and waits in microseconds.

Structures are numpy arrays laid out as C has them, so that a batch is described by a few
vector operations; ctypes gives the interpreter's lock back during each call. Elsewhere
(`HAS_BATCHES` is false) sockets do without.
"""

from __future__ import annotations

import ctypes
import os
import select
import socket
import sys
from collections.abc import Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from splitc.arrays import Array
from splitc.net.address import PEER_BYTES, name_of, peer_bytes, peer_of

_IOVEC = np.dtype([("base", np.uintp), ("length", np.uintp)], align=True)
_MSGHDR = np.dtype(
    [
        ("name", np.uintp), ("name_bytes", np.uint32), ("iov", np.uintp), ("iovs", np.uintp),
        ("control", np.uintp), ("control_bytes", np.uintp), ("flags", np.int32),
    ],
    align=True,
)  # fmt: skip
_MMSGHDR = np.dtype([("header", _MSGHDR), ("length", np.uint32)], align=True)
"""As glibc has it. musl writes `iovs` as an int and padding: the same bytes, little end first."""
_POLLFD = np.dtype([("fd", np.int32), ("events", np.int16), ("came", np.int16)])

_MSG_DONTWAIT, _MSG_NOSIGNAL = 0x40, 0x4000


class _Timespec(ctypes.Structure):
    _fields_ = (("seconds", ctypes.c_long), ("nanoseconds", ctypes.c_long))


def _libc() -> ctypes.CDLL | None:
    if sys.platform != "linux":
        return None
    libc = ctypes.CDLL(None, use_errno=True)
    return libc if all(hasattr(libc, n) for n in ("sendmmsg", "recvmmsg", "ppoll")) else None


_LIBC = _libc()
HAS_BATCHES = _LIBC is not None and sys.byteorder == "little"


class Batches(Protocol):
    """Many datagrams in one call, or as if; not for two threads at once.

    `rows` is how many at most, `peers` [rows, 28] who sent what was received last.
    """

    rows: int
    peers: NDArray[np.uint8]

    def send(self, out: socket.socket, block: Array, lengths: NDArray[np.int64], to: bytes) -> int:
        """Send rows as datagrams, without waiting.

        Args:
            out: The socket.
            block: The rows, uint8 [n, stride].
            lengths: Bytes of each that are sent [n].
            to: The peer that all go to; empty for a connected socket's own.

        Returns:
            How many the kernel took, from 1 to `rows`.

        Raises:
            OSError: It took none.
        """
        ...

    def receive(
        self, at: socket.socket, block: Array
    ) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
        """Receive what has come, without waiting.

        Args:
            at: The socket.
            block: Where to, uint8 [rows, stride].

        Returns:
            Bytes of each datagram [n], n from 1, and whether it was longer than its row [n].

        Raises:
            OSError: Nothing has come (BlockingIOError), or the socket failed.
        """
        ...


class KernelBatches(Batches):
    """One system call for all: `sendmmsg` and `recvmmsg`."""

    def __init__(self, rows: int) -> None:
        self.rows = rows
        self.peers = np.zeros((rows, PEER_BYTES), np.uint8)
        self._counted = np.arange(rows, dtype=np.uintp)
        self._iovecs = np.zeros(rows, _IOVEC)
        self._messages = np.zeros(rows, _MMSGHDR)
        self._headers = self._messages["header"]
        self._headers["iov"] = _addresses(self._iovecs, self._counted)
        self._headers["iovs"] = 1
        self._names = _addresses(self.peers, self._counted)

    def send(self, out: socket.socket, block: Array, lengths: NDArray[np.int64], to: bytes) -> int:
        """See `Batches`."""
        count = self._point(block, lengths[: self.rows])
        name = np.frombuffer(to[: peer_bytes(to)] if to else b"", np.uint8)
        self._headers["name"][:count] = name.ctypes.data if to else 0
        self._headers["name_bytes"][:count] = len(name)
        return self._call("sendmmsg", out, count, _MSG_DONTWAIT | _MSG_NOSIGNAL)

    def receive(
        self, at: socket.socket, block: Array
    ) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
        """See `Batches`."""
        count = self._point(block, block.shape[1])
        self._headers["name"][:count] = self._names[:count]
        self._headers["name_bytes"][:count] = PEER_BYTES
        came = self._call("recvmmsg", at, count, _MSG_DONTWAIT, None)
        cut = (self._headers["flags"][:came] & socket.MSG_TRUNC) != 0
        return self._messages["length"][:came].astype(np.int64), cut

    def _point(self, block: Array, lengths: NDArray[np.int64] | int) -> int:
        count = min(len(block), self.rows)
        self._iovecs["base"][:count] = _addresses(block, self._counted[:count])
        self._iovecs["length"][:count] = lengths
        return count

    def _call(self, name: str, on: socket.socket, count: int, flags: int, *more: None) -> int:
        messages = ctypes.c_void_p(self._messages.ctypes.data)
        done = getattr(_LIBC, name)(on.fileno(), messages, ctypes.c_uint(count), flags, *more)
        if done < 0:
            _fail()
        return done


class SingleBatches(Batches):
    """One call a datagram, of a socket that does not block: on any system."""

    def __init__(self, rows: int) -> None:
        self.rows = rows
        self.peers = np.zeros((rows, PEER_BYTES), np.uint8)

    def send(self, out: socket.socket, block: Array, lengths: NDArray[np.int64], to: bytes) -> int:
        """See `Batches`."""
        for number, (row, length) in enumerate(zip(block, lengths.tolist(), strict=True)):
            try:
                if number == self.rows:
                    return number
                if to:
                    out.sendto(row[:length], name_of(to))
                else:
                    out.send(row[:length])
            except OSError:
                if number == 0:
                    raise
                return number
        return len(block)

    def receive(
        self, at: socket.socket, block: Array
    ) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
        """See `Batches`."""
        lengths: list[int] = []
        cut: list[bool] = []
        for row, peer in zip(block, self.peers, strict=True):
            try:
                length, _, flags, name = at.recvmsg_into([row])
            except OSError:
                if not lengths:
                    raise
                break
            peer[:] = np.frombuffer(peer_of(at.family, name), np.uint8)
            lengths.append(length)
            cut.append(bool(flags & socket.MSG_TRUNC))
        return np.array(lengths, np.int64), np.array(cut, np.bool_)


def batches(rows: int) -> Batches:
    """Of so many datagrams at most, the quickest kind that there is here."""
    return KernelBatches(rows) if HAS_BATCHES else SingleBatches(rows)


class Waiter:
    """Waits until something can be read of some sockets, or there is room to write to others.

    Args:
        reads: File descriptors to read of.
        writes: File descriptors to write to.
    """

    def __init__(self, reads: Sequence[int], writes: Sequence[int] = ()) -> None:
        events = dict.fromkeys(reads, select.POLLIN)
        for number in writes:
            events[number] = events.get(number, 0) | select.POLLOUT
        self._fds = np.array([(*each, 0) for each in events.items()], _POLLFD)
        self._poll = select.poll()
        for each in events.items():
            self._poll.register(*each)

    def wait(self, timeout_s: float | None) -> list[int]:
        """Wait for so long at most, None is for ever; where there is no `ppoll`, in milliseconds.

        Returns:
            The file descriptors that something happened to.
        """
        if timeout_s is not None:
            timeout_s = min(max(timeout_s, 0.0), 1e6)
        if _LIBC is None:
            limit = None if timeout_s is None else int(-(-timeout_s * 1e3 // 1))
            return [number for number, _ in self._poll.poll(limit)]
        limit = None
        if timeout_s is not None:
            whole = int(timeout_s)
            limit = ctypes.byref(_Timespec(whole, int((timeout_s - whole) * 1e9)))
        fds = ctypes.c_void_p(self._fds.ctypes.data)
        if _LIBC.ppoll(fds, ctypes.c_ulong(len(self._fds)), limit, None) < 0:
            try:
                _fail()
            except InterruptedError:  # A signal: its handler runs now, and may raise.
                return []
        return self._fds["fd"][self._fds["came"] != 0].tolist()


class Bell:
    """Something to wait for beside a socket, that any thread can set off."""

    def __init__(self) -> None:
        self._ear, self._button = socket.socketpair()
        self._ear.setblocking(False)
        self._button.setblocking(False)

    def fileno(self) -> int:
        """What a `Waiter` waits for."""
        return self._ear.fileno()

    def ring(self) -> None:
        """Set it off; nothing where it is closed."""
        try:
            self._button.send(b"\1")
        except OSError:
            return

    def silence(self) -> None:
        """Take back what has set it off."""
        try:
            while self._ear.recv(4096):
                pass
        except BlockingIOError:
            return

    def close(self) -> None:
        """Close it."""
        self._ear.close()
        self._button.close()


def _addresses(array: Array, numbers: NDArray[np.uintp]) -> NDArray[np.uintp]:
    """Where rows of an array lie."""
    return numbers * np.uintp(array.strides[0]) + np.uintp(array.ctypes.data)


def _fail() -> None:
    number = ctypes.get_errno()
    raise OSError(number, os.strerror(number))
