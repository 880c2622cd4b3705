# SPDX-License-Identifier: Apache-2.0
"""How a device comes to a session, and what keeps it from one."""

from __future__ import annotations

import pytest

from splitc.errors import BadBundleError, DeviceError, SplitcError
from splitc.send.greeting import Greeting
from splitc.send.settings import Settings
from splitc.wire.handshake import NO_COOKIE, Challenge, Code, Hello, Refuse, Welcome, hello_signed
from splitc.wire.header import Transport

NONCE, SPLIT, KEY = b"n" * 16, 0x1234_5678, b"k" * 32
LONGEST = 288


def greeting(settings: Settings | None = None, key: bytes | None = None) -> Greeting:
    return Greeting(SPLIT, settings or Settings(), key, NONCE, 0.0)


def hello_of(one: Greeting, now: float) -> Hello:
    hello = Hello.read(bytes(one.due(now).packet(0)))
    assert hello is not None
    return hello


def welcome(nonce: bytes = NONCE, split: int = SPLIT) -> Welcome:
    return Welcome(77, nonce, b"s" * 16, 5, 8, split)


def refuse(code: Code, nonce: bytes = NONCE, text: str = "") -> bytes:
    packet = Refuse(code, nonce, text, split=SPLIT).write(LONGEST)
    assert packet is not None
    return packet


def test_hello_asks_for_what_was_set() -> None:
    settings = Settings(
        transport="parity", parity_percent=30, deadline_s=0.05, grace_s=0.002, mtu=1280
    )
    one = greeting(settings, KEY)
    packet = bytes(one.due(0.0).packet(0))
    assert hello_signed(packet, KEY)
    assert Hello.read(packet) == Hello(
        NONCE, 1280 - 96, Transport.PARITY, 50_000, 2_000, NO_COOKIE, 30, 0, SPLIT
    )


def test_hello_is_said_again_often_at_first_and_then_seldom() -> None:
    one = greeting()
    said = [now / 100 for now in range(1000) if len(one.due(now / 100))]
    assert said[:51] == pytest.approx([k / 10 for k in range(51)], abs=0.011 * 51)
    assert said[51:] == pytest.approx([said[50] + k for k in range(1, len(said) - 50)], abs=0.2)


def test_a_cookie_is_said_at_once() -> None:
    one = greeting()
    assert hello_of(one, 0.0).cookie == NO_COOKIE
    assert one.take(Challenge(NONCE, b"c" * 32, SPLIT).write(), 0.01) is None
    assert hello_of(one, 0.01).cookie == b"c" * 32
    one.take(Challenge(NONCE, b"c" * 32, SPLIT).write(), 0.02)
    assert not len(one.due(0.02)), "a copy of the challenge makes nobody talk"


def test_another_ones_challenge_or_welcome_changes_nothing() -> None:
    one = greeting()
    one.due(0.0)
    assert one.take(Challenge(b"x" * 16, b"c" * 32, SPLIT).write(), 0.01) is None
    assert one.take(welcome(b"x" * 16).write(), 0.01) is None
    assert one.take(welcome(split=9).write(), 0.01) is None
    assert one.take(b"SC\x01\x03 and nothing more", 0.01) is None
    assert one.take(b"", 0.01) is None
    assert not len(one.due(0.01))
    assert one.refused is None


@pytest.mark.parametrize("key", [None, KEY])
def test_a_welcome_by_the_same_key_opens_a_session(key: bytes | None) -> None:
    assert greeting(key=key).take(welcome().write(key), 0.0) == welcome()


@pytest.mark.parametrize(
    ("ours", "theirs", "what"),
    [
        (KEY, b"o" * 32, "the server has another key"),
        (KEY, None, "the server has no key, this device has one"),
        (None, KEY, "the server has a key"),
    ],
)
def test_a_welcome_by_another_key_is_refused(
    ours: bytes | None, theirs: bytes | None, what: str
) -> None:
    one = greeting(key=ours)
    for step in range(3):
        assert not one.final
        one.due(step / 10)
        assert one.take(welcome().write(theirs), step / 10) is None
    assert one.final
    assert one.refused is not None
    assert (one.refused.what, one.refused.exit_code) == (what, 8)


@pytest.mark.parametrize(
    ("code", "error", "what"),
    [
        (Code.VERSION, DeviceError, "another version"),
        (Code.BUNDLE, BadBundleError, "another bundle"),
        (Code.KEY, DeviceError, "another key"),
        (Code.FULL, DeviceError, "full"),
        (Code.BAD, DeviceError, "refuses"),
    ],
)
def test_a_refusal_is_one_clear_error(code: Code, error: type[SplitcError], what: str) -> None:
    one = greeting()
    for step in range(3):
        one.due(step / 10)
        one.take(refuse(code, text="because \x1b[31mso"), step / 10)
    assert one.refused is not None
    assert type(one.refused) is error
    assert what in one.refused.what
    assert one.refused.why == "because [31mso"
    assert one.final


def test_one_refusal_said_many_times_is_not_believed() -> None:
    one = greeting()
    one.due(0.0)
    for _ in range(100):
        one.take(refuse(Code.BUNDLE), 0.0)
    assert not one.final
    assert one.take(welcome().write(), 0.0) == welcome()


def test_a_server_that_stops_is_asked_again() -> None:
    one = greeting()
    one.due(0.0)
    one.take(refuse(Code.STOPPING), 0.0)
    assert not one.final
    assert len(one.due(0.1))


def test_a_refusal_of_somebody_else_is_none_of_ours() -> None:
    one = greeting()
    one.take(refuse(Code.BUNDLE, b"x" * 16), 0.0)
    assert one.refused is None


def test_a_server_of_another_version_is_told_from_a_stranger() -> None:
    one = greeting()
    packet = bytearray(refuse(Code.VERSION))
    packet[2] = 9
    one.take(bytes(packet), 0.0)
    assert one.refused is not None
    assert one.refused.why == "it speaks version 9, this device 1"
