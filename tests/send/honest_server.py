# SPDX-License-Identifier: Apache-2.0
"""A small server that does what docs/wire.md says and no more, one device at a time.

It is pure; `serving` puts it behind a socket.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

from splitc.arrays import Array
from splitc.net.address import Address
from splitc.net.sockets import DatagramSocket
from splitc.net.stream import StreamListener, StreamSocket
from splitc.runtime.manifest import Remote
from splitc.wire.answers import Answers
from splitc.wire.assembly import Assembly, Received
from splitc.wire.boundary import Boundary
from splitc.wire.datagrams import Datagrams
from splitc.wire.handshake import NO_COOKIE, Challenge, Code, Hello, Refuse, Welcome, hello_signed
from splitc.wire.header import Header, Kind, Transport, read_header
from splitc.wire.keys import session_keys
from splitc.wire.nack import missing_rows
from splitc.wire.seal import Seal

Tail = Callable[[Sequence[Array]], list[Array]]

COOKIE = b"c" * 32


@dataclass
class Meeting:
    """One session.

    Args:
        welcome: What it was opened with.
        hello: What it was asked for with.
        frames: Puts frames together.
        seal: Seals what is sent; None without a key.
        opener: Opens what comes; None without a key.
        answers: What was answered, sealed, by frame.
        nacks: How many were sent.
    """

    welcome: Welcome
    hello: Hello
    frames: Assembly
    seal: Seal | None
    opener: Seal | None
    answers: dict[int, Datagrams] = field(default_factory=dict[int, Datagrams])
    nacks: int = 0


class HonestServer:
    """The tail's end of the wire.

    Args:
        remote: What comes, and what goes back.
        split: What stands for its bundle.
        tail: What computes the results.
        key: The key that devices must have.
        refuses: Refuse every HELLO for this reason.
    """

    def __init__(
        self,
        remote: Remote,
        split: int,
        tail: Tail,
        *,
        key: bytes | None = None,
        refuses: Code | None = None,
    ) -> None:
        self.remote, self.split, self.tail, self.key = remote, split, tail, key
        self.refuses = refuses
        self.meetings: dict[int, Meeting] = {}
        self.deaf = False
        self.received: list[Received] = []
        self._next = 1000

    def forget(self) -> None:
        """Start anew, as a server does that was killed."""
        self.meetings.clear()

    def take(self, packet: bytes, now: float) -> list[Datagrams]:
        """What to send back for a packet."""
        header = read_header(packet)
        if self.deaf or header is None:
            return []
        if header.kind == Kind.HELLO:
            return self._greet(packet)
        meeting = self.meetings.get(header.session)
        if meeting is None:
            return _packets(
                Refuse(Code.SESSION, session=header.session, split=self.split).write(len(packet))
            )
        one = Datagrams.packets([packet])
        if meeting.opener is not None:
            one, bad = meeting.opener.open(one)
            if bad:
                return []
        if header.kind == Kind.NACK:
            return self._asked(meeting, header, one, now)
        if header.kind == Kind.BYE:
            del self.meetings[header.session]
            return []
        return self._answer(meeting, meeting.frames.add(one, now))

    def due(self, now: float) -> list[Datagrams]:
        """What to send as time went by."""
        out: list[Datagrams] = []
        for meeting in self.meetings.values() if not self.deaf else ():
            out += self._answer(meeting, meeting.frames.due(now))
            for gap in meeting.frames.gaps(now):
                session = meeting.welcome.session
                out.append(_sealed(meeting, gap.packet(session, self.split, meeting.nacks)))
                meeting.nacks += 1
        return out

    def _greet(self, packet: bytes) -> list[Datagrams]:
        hello = Hello.read(packet)
        if hello is None:
            return []
        code = self.refuses
        if hello.split != self.split:
            code = code or Code.BUNDLE
        elif not hello_signed(packet, self.key):
            code = code or Code.KEY
        if code is not None:
            return _packets(Refuse(code, hello.client_nonce, split=hello.split).write(len(packet)))
        if hello.cookie == NO_COOKIE and hello.transport != Transport.TCP:
            return _packets(Challenge(hello.client_nonce, COOKIE, self.split).write())
        known = (m for m in self.meetings.values() if m.hello.client_nonce == hello.client_nonce)
        meeting = next(known, None) or self._meet(hello)
        return _packets(meeting.welcome.write(self.key))

    def _meet(self, hello: Hello) -> Meeting:
        self._next += 1
        welcome = Welcome(self._next, hello.client_nonce, b"s" * 16, 5, 8, self.split)
        seal = opener = None
        if self.key is not None:
            keys = session_keys(self.key, hello.client_nonce, welcome.server_nonce)
            seal, opener = Seal(keys.server), Seal(keys.device)
        frames = Assembly(
            {self.remote.route: Boundary(self.remote.crosses, hello.payload_bytes, 5)},
            session=welcome.session, split=self.split, kind=Kind.DATA, transport=hello.transport,
            deadline_s=hello.deadline_us / 1e6, grace_s=hello.grace_us / 1e6,
            parity_percent=hello.parity_percent,
        )  # fmt: skip
        meeting = Meeting(welcome, hello, frames, seal, opener)
        self.meetings[welcome.session] = meeting
        return meeting

    def _answer(self, meeting: Meeting, frames: Sequence[Received]) -> list[Datagrams]:
        out: list[Datagrams] = []
        answers = Answers(self.remote.results, meeting.hello.payload_bytes)
        session = meeting.welcome.session
        for one in frames:
            self.received.append(one)
            try:
                packed = answers.pack(
                    self.tail(one.arrays), session=session, split=self.split, frame=one.frame,
                    route=one.route, share=one.share,
                )  # fmt: skip
            except ArithmeticError as error:
                header = Header(Kind.FAIL, session, self.split, one.frame, one.route)
                packed = Datagrams.of(header, str(error).encode())
            meeting.answers[one.frame] = _sealed(meeting, packed)
            out.append(meeting.answers[one.frame])
        return out

    def _asked(
        self, meeting: Meeting, header: Header, one: Datagrams, now: float
    ) -> list[Datagrams]:
        answer = meeting.answers.get(header.frame)
        if answer is None:
            ended = meeting.frames.ended(header.frame, header.route, now)
            return self._answer(meeting, ended)
        if not header.chunks:
            return [answer]
        return [answer.take(missing_rows(one.payload(0), len(answer)))]


def _sealed(meeting: Meeting, packets: Datagrams) -> Datagrams:
    return packets if meeting.seal is None else meeting.seal.seal(packets)


def _packets(packet: bytes | None) -> list[Datagrams]:
    return [] if packet is None else [Datagrams.packets([packet])]


@contextmanager
def serving(server: HonestServer, *, tcp: bool = False, port: int = 0) -> Generator[Address]:
    """The server behind a socket of this machine."""
    stop = threading.Event()
    at = Address("127.0.0.1", port)
    if tcp:
        with StreamListener(at) as listener:
            thread = threading.Thread(target=_serve_streams, args=(server, listener, stop))
            with _running(thread, stop):
                yield listener.address
        return
    with DatagramSocket.bind(at) as socket:
        thread = threading.Thread(target=_serve_datagrams, args=(server, socket, stop))
        with _running(thread, stop):
            yield socket.address


@contextmanager
def _running(thread: threading.Thread, stop: threading.Event) -> Generator[None]:
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


def _serve_datagrams(server: HonestServer, socket: DatagramSocket, stop: threading.Event) -> None:
    peer, over = b"", False
    while not over:
        over = stop.is_set()  # What came before is taken still.
        arrived = socket.receive(1e-3)
        for row in range(len(arrived.datagrams)):
            peer = arrived.peers[row].tobytes()
            packet = bytes(arrived.datagrams.packet(row))
            for reply in server.take(packet, time.monotonic()):
                socket.send(reply, peer)
        for reply in server.due(time.monotonic()):
            socket.send(reply, peer)


def _serve_streams(server: HonestServer, listener: StreamListener, stop: threading.Event) -> None:
    streams: list[StreamSocket] = []
    over = False
    while not over:
        over = stop.is_set()
        came = listener.accept(1e-3)
        streams += [came] if came is not None else []
        for stream in streams:
            found = stream.receive(0).datagrams
            for row in range(len(found)):
                for reply in server.take(bytes(found.packet(row)), time.monotonic()):
                    stream.send(reply)
    for stream in streams:
        stream.close()
