# SPDX-License-Identifier: Apache-2.0
"""How a device comes to a session: HELLO until a server says WELCOME.

No socket and no clock: times are seconds that the caller says, random bytes are given.
"""

from __future__ import annotations

from splitc.errors import BadBundleError, DeviceError, SplitcError
from splitc.link.packets import payload_bytes
from splitc.send.settings import TRANSPORTS, Settings
from splitc.wire.datagrams import Datagrams
from splitc.wire.handshake import (
    NO_COOKIE,
    NO_NONCE,
    WANTS_REPORTS,
    Challenge,
    Code,
    Hello,
    Refuse,
    Welcome,
    is_signed,
    welcome_signed,
)
from splitc.wire.header import VERSION, Transport, version_of

_OFTEN_S, _OFTEN, _SELDOM_S = 0.1, 50, 1.0
"""Between two HELLOs: of so many first ones, as where most packets are lost it takes a dozen to
come to a session; and of those that follow, as then there is probably nobody."""

_BELIEVED = 3
"""HELLOs that must be refused: nobody signs a refusal, and one that was damaged on the way is
refused by its key."""

_PASSING = frozenset({Code.STOPPING, Code.SESSION})
"""Refusals after which the same question may soon be answered otherwise."""


class Greeting:
    """One attempt at a session.

    Args:
        split: What stands for the device's split.
        settings: What to ask for.
        key: The key that both share; None without one.
        nonce: 16 random bytes, for this attempt alone.
        now: Seconds; the first HELLO is due at once.
        wants_reports: Ask for a report with each answer.
    """

    def __init__(
        self,
        split: int,
        settings: Settings,
        key: bytes | None,
        nonce: bytes,
        now: float,
        *,
        wants_reports: bool = False,
    ) -> None:
        self._split, self._settings, self._key, self._nonce = split, settings, key, nonce
        self._flags = WANTS_REPORTS if wants_reports else 0
        self._cookie = NO_COOKIE
        self._said_s = now
        self.said = 0
        """How many HELLOs were."""
        self._refusals: set[int] = set()
        self.next_s = now
        """When the next HELLO is due."""
        self.refused: SplitcError | None = None
        """Why the server does not want this device, where it said so."""
        self.rtt_s = 0.0
        """How long the server took to say what it last said, at least."""
        self.final = False
        """Whether asking again is of no use until somebody changes something."""

    def due(self, now: float) -> Datagrams:
        """The HELLO that is due, if one is."""
        if now < self.next_s:
            return Datagrams.packets([])
        self.next_s = now + (_OFTEN_S if self.said < _OFTEN else _SELDOM_S)
        self.said += 1
        self._said_s = now
        settings = self._settings
        hello = Hello(
            client_nonce=self._nonce,
            payload_bytes=payload_bytes(settings.mtu),
            transport=Transport(TRANSPORTS.index(settings.transport)),
            deadline_us=round(settings.deadline_s * 1e6),
            grace_us=round(settings.grace_s * 1e6),
            cookie=self._cookie,
            parity_percent=settings.parity_percent if settings.transport == "parity" else 0,
            flags=self._flags,
            split=self._split,
        )
        return Datagrams.packets([hello.write(self._key)])

    def take(self, packet: bytes, now: float) -> Welcome | None:
        """What the server said; its WELCOME, once it does.

        What is no answer to this HELLO changes nothing.
        """
        version = version_of(packet)
        if version not in (None, VERSION):
            self._end(_other_version(f"it speaks version {version}, this device {VERSION}"))
        if (challenge := Challenge.read(packet)) is not None:
            if challenge.client_nonce == self._nonce and challenge.cookie != self._cookie:
                self._cookie = challenge.cookie
                self.next_s = now
        elif (refuse := Refuse.read(packet)) is not None:
            # Nonces are left out where a server could not read them.
            if refuse.client_nonce in (self._nonce, NO_NONCE) and not refuse.session:
                self._end(_refusal(refuse), final=refuse.code not in _PASSING)
        elif (welcome := Welcome.read(packet)) is not None:
            self.rtt_s = now - self._said_s
            return self._welcomed(welcome, packet)
        return None

    def _welcomed(self, welcome: Welcome, packet: bytes) -> Welcome | None:
        if welcome.client_nonce != self._nonce or welcome.split != self._split:
            return None
        if welcome_signed(packet, self._key):
            return welcome
        self._end(self._other_key(packet))
        return None

    def _end(self, why: SplitcError, *, final: bool = True) -> None:
        """Note a refusal; it counts once for each HELLO."""
        self.refused = why
        self._refusals.add(self.said)
        self.final = final and len(self._refusals) >= _BELIEVED

    def _other_key(self, packet: bytes) -> SplitcError:
        if self._key is None:
            return DeviceError(
                "the server has a key", hint="give the device the same one: --key FILE"
            )
        if not is_signed(packet):
            return DeviceError(
                "the server has no key, this device has one",
                why="what it says could be anybody's",
                hint="start the server with the key, or leave --key out",
            )
        return _wrong_key()


def _refusal(refuse: Refuse) -> SplitcError:
    """What a refusal means for who started the device."""
    why = "".join(c for c in refuse.text if c.isprintable())
    if refuse.code == Code.VERSION:
        return _other_version(why)
    if refuse.code == Code.BUNDLE:
        return BadBundleError(
            "the server has another bundle than this head's",
            why=why,
            hint="serve the bundle that the head is of, or copy its head/ here",
        )
    if refuse.code == Code.KEY:
        return _wrong_key(why)
    if refuse.code in (Code.FULL, Code.STOPPING):
        what = "full" if refuse.code == Code.FULL else "stopping"
        return DeviceError(f"the server is {what}", why=why, hint="try again later")
    return DeviceError("the server refuses what this device asks for", why=why)


def _wrong_key(why: str = "") -> SplitcError:
    return DeviceError(
        "the server has another key", why=why, hint="copy the server's key file, give it with --key"
    )


def _other_version(why: str) -> SplitcError:
    return DeviceError(
        "the server speaks another version of the wire format",
        why=why,
        hint="install the same splitc on both sides",
    )
