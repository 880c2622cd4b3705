# SPDX-License-Identifier: Apache-2.0
"""Who comes in: handshakes."""

from __future__ import annotations

import secrets
from collections import OrderedDict
from collections.abc import Callable, Mapping
from typing import NamedTuple

from splitc.link.packets import payload_bytes as payload_bytes_of
from splitc.serve.limits import Limits
from splitc.serve.peer import Outgoing, Peer, Place
from splitc.serve.refusals import Refusals
from splitc.serve.tails import Hosted
from splitc.wire.answers import Answers
from splitc.wire.assembly import Assembly
from splitc.wire.boundary import Boundary
from splitc.wire.datagrams import Datagrams
from splitc.wire.handshake import Challenge, Code, Hello, Welcome, hello_signed, is_signed
from splitc.wire.header import TAG_BYTES, VERSION, Transport, version_of
from splitc.wire.keys import EPOCH_S, NONCE_BYTES, cookie, cookie_fits
from splitc.wire.seal import Seal, seals_of

_LEAST_PAYLOAD = 64
_KEPT_CUTS = 16
"""Ways to cut a bundle's tensors into packets that are kept: devices choose how."""


class Cut(NamedTuple):
    """How the tensors of a bundle lie in packets of one size, by route.

    Args:
        boundaries: Those that cross.
        answers: The results.
    """

    boundaries: Mapping[int, Boundary]
    answers: Mapping[int, Answers]


class Door:
    """Lets peers in.

    Args:
        bundles: What is served, by the number that packets name it by.
        limits: What the server grants.
        refusals: What tells the others.
        key: What the devices have to know, 32 bytes; None where nothing is sealed.
        payload_bytes: The most that a packet may carry.
        entropy: So many random bytes.

    Raises:
        UsageError: A bundle's tensors fill too many packets.
        BadBundleError: What crosses in a bundle has no fixed size.
        ToolchainError: Nothing can be sealed here.
    """

    def __init__(
        self,
        bundles: Mapping[int, Hosted],
        limits: Limits,
        refusals: Refusals,
        *,
        key: bytes | None,
        payload_bytes: int,
        entropy: Callable[[int], bytes] = secrets.token_bytes,
    ) -> None:
        self._bundles = bundles
        self._limits = limits
        self._refusals = refusals
        self._key = key
        self._payload_bytes = payload_bytes
        self._entropy = entropy
        self._secret = entropy(32)
        self._order_seed = int.from_bytes(entropy(8), "little")
        self._cuts: OrderedDict[tuple[int, int], Cut] = OrderedDict()
        if key is not None:
            Seal(key)
        for split in bundles:
            # The first device does not wait for it.
            self._cut(split, payload_bytes_of(1500))

    def judge(self, packet: Datagrams, place: Place, now: float) -> Hello | list[Outgoing]:
        """What a HELLO comes to.

        Args:
            packet: It.
            place: Where it came from.
            now: The time.

        Returns:
            What it asks for where its device is where it says and may be served, else what to
            send, which is not longer than the packet.
        """
        data = bytes(packet.packet(0))
        version = version_of(data)
        if version != VERSION:
            text = f"the server speaks version {VERSION} of the wire, the device {version}"
            return self._refusals.tell(Code.VERSION, packet, place, now, text)
        hello = Hello.read(data)
        if hello is None:
            return self._refusals.tell(Code.BAD, packet, place, now)
        nonce = hello.client_nonce
        # A connection has proved that its peer is where it says.
        if place.stream is None and not cookie_fits(
            hello.cookie, self._secret, place.address, nonce, now
        ):
            proof = cookie(self._secret, place.address, nonce, int(now // EPOCH_S))
            challenge = Challenge(nonce, proof, hello.split).write()
            return [Outgoing(Datagrams.packets([challenge]), place)]
        why_not = self._why_not(hello, data, place)
        if why_not is None:
            return hello
        code, text = why_not
        return self._refusals.tell(code, packet, place, now, text, nonce)

    def _why_not(self, hello: Hello, data: bytes, place: Place) -> tuple[Code, str] | None:
        """Why a device is not served whose address is known; None where it is."""
        if hello.split and hello.split not in self._bundles:
            split = hello.split.to_bytes(8, "little").hex()
            return Code.BUNDLE, f"its head is of split {split}…, which is not served"
        if not hello_signed(data, self._key):
            return Code.KEY, self._about_key(data)
        if (hello.transport is Transport.TCP) != (place.stream is not None):
            return Code.BAD, "transport tcp is for connections, the others for datagrams"
        if not _LEAST_PAYLOAD <= hello.payload_bytes <= self._payload_bytes:
            takes = f"{_LEAST_PAYLOAD} to {self._payload_bytes}"
            return Code.BAD, f"{hello.payload_bytes} bytes in a packet, the server takes {takes}"
        return None

    def _about_key(self, packet: bytes) -> str:
        """Why a HELLO's signature is not right."""
        if self._key is None:
            return "the device has a key, the server has none"
        if not is_signed(packet):
            return "the device has no key, the server wants one"
        return "the device has another key than the server"

    def admit(self, hello: Hello, place: Place, now: float) -> Peer:
        """Begin a session.

        Args:
            hello: What the device asked for, as `judge` gave it.
            place: Where it is.
            now: The time.

        Raises:
            UsageError: Its packets are too small, or its parity is none.
            ToolchainError: This machine cannot compute parity.
        """
        session = int.from_bytes(self._entropy(8), "little") | 1
        welcome = Welcome(
            session, hello.client_nonce, self._entropy(NONCE_BYTES), self._order_seed,
            self._limits.frames_in_flight, hello.split,
        )  # fmt: skip
        deadline_s = self._limits.deadline(hello.deadline_us / 1e6)
        cut, served = None, self._bundles.get(hello.split)
        if served is not None:
            cut = self._cut(hello.split, hello.payload_bytes)
        return Peer(
            session,
            place,
            hello,
            served,
            self._assembly(hello, session, cut, deadline_s) if cut is not None else None,
            cut.answers if cut is not None else {},
            welcome=Outgoing(Datagrams.packets([welcome.write(self._key)]), place),
            seals=seals_of(self._key, hello.client_nonce, welcome.server_nonce),
            tag_bytes=TAG_BYTES if self._key is not None else 0,
            deadline_s=deadline_s,
            now=now,
        )

    def _assembly(self, hello: Hello, session: int, cut: Cut, deadline_s: float) -> Assembly:
        return Assembly(
            cut.boundaries,
            session=session,
            split=hello.split,
            transport=hello.transport,
            deadline_s=deadline_s,
            grace_s=self._limits.grace(hello.grace_us / 1e6, deadline_s),
            window=self._limits.window,
            in_flight=self._limits.frames_in_flight,
            parity_percent=hello.parity_percent,
        )

    def _cut(self, split: int, payload_bytes: int) -> Cut:
        """How a bundle's tensors lie in packets that hold so much."""
        found = self._cuts.get((split, payload_bytes))
        if found is None:
            tails = self._bundles[split].tails
            boundaries = {
                route: Boundary(tail.crosses, payload_bytes, self._order_seed, tail.missing)
                for route, tail in tails.items()
            }
            answers = {route: Answers(tail.answers, payload_bytes) for route, tail in tails.items()}
            found = self._cuts[split, payload_bytes] = Cut(boundaries, answers)
            if len(self._cuts) > _KEPT_CUTS:
                self._cuts.popitem(last=False)
        self._cuts.move_to_end((split, payload_bytes))
        return found
