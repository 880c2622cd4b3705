# SPDX-License-Identifier: Apache-2.0
"""Keys, cookies, and the four packets before a session, against standards and `cryptography`."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from splitc.wire.handshake import (
    Challenge,
    Code,
    Hello,
    Refuse,
    Welcome,
    hello_signed,
    is_signed,
    welcome_signed,
)  # fmt: skip
from splitc.wire.header import Kind, Transport, read_header
from splitc.wire.keys import cookie, cookie_fits, hkdf, session_keys

PSK, OTHER = bytes(range(32)), bytes(32)
HELLO = Hello(bytes(range(16)), 1404, Transport.PARITY, 50_000, 3_000, b"c" * 32, 20, 0, 77)
WELCOME = Welcome(2**63 + 5, b"c" * 16, b"s" * 16, 2**64 - 1, 8, 77)

hellos = st.builds(
    Hello, st.binary(min_size=16, max_size=16), st.integers(1, 0xFFFF), st.sampled_from(Transport),
    st.integers(0, 2**32 - 1), st.integers(0, 2**32 - 1), st.binary(min_size=32, max_size=32),
    st.integers(0, 255), st.just(0), st.integers(0, 2**64 - 1),
)  # fmt: skip


def test_keys_are_derived_as_the_standard_says() -> None:
    # RFC 5869, test cases 1 and 3: the first 32 of their 42 bytes.
    assert (
        hkdf(b"\x0b" * 22, salt=bytes(range(13)), info=bytes(range(0xF0, 0xFA))).hex()
        == "3cb25f25faacd57a90434f64d0362f2a2d2d0a90cf1a5a4c5db02d56ecc4c5bf"
    )
    assert hkdf(b"\x0b" * 22, info=b"").hex() == (
        "8da4e775a563c18f715f802a063c5a31b8a11f5c5ee1879ec3454e5f3c738d2d"
    )


@given(st.binary(min_size=32, max_size=32), st.binary(max_size=40), st.binary(max_size=40))
def test_keys_are_those_of_a_library_of_cryptography(key: bytes, salt: bytes, info: bytes) -> None:
    hashes = pytest.importorskip("cryptography.hazmat.primitives.hashes", reason="extra 'serve'")
    from cryptography.hazmat.primitives.kdf.hkdf import HKDF

    oracle = HKDF(algorithm=hashes.SHA256(), length=32, salt=salt, info=info)
    assert hkdf(key, salt=salt, info=info) == oracle.derive(key)


def test_each_direction_and_each_session_has_a_key_of_its_own() -> None:
    keys = {
        key
        for nonces in ((b"a" * 16, b"b" * 16), (b"a" * 16, b"c" * 16), (b"c" * 16, b"b" * 16))
        for key in session_keys(PSK, *nonces)
    }
    assert len(keys) == 6


@given(hellos, st.sampled_from([None, PSK]))
def test_a_hello_is_read_as_it_was_written(hello: Hello, psk: bytes | None) -> None:
    packet = hello.write(psk)
    assert len(packet) == 32 + 256
    assert Hello.read(packet) == hello
    assert hello_signed(packet, psk)
    assert is_signed(packet) == (psk is not None)


def test_no_answer_before_a_session_is_longer_than_the_hello() -> None:
    longest = len(HELLO.write(PSK))
    assert len(Challenge(b"n" * 16, b"c" * 32, 77).write()) <= longest
    assert len(WELCOME.write(PSK)) <= longest
    refused = Refuse(Code.FULL, b"n" * 16, "é" * 500, 5, 77).write(longest)
    assert refused is not None and longest - 2 <= len(refused) <= longest
    read = Refuse.read(refused)
    assert read is not None and set(read.text) == {"é"} and read.session == 5


def test_a_refusal_that_would_be_longer_than_its_cause_is_not_sent() -> None:
    assert Refuse(Code.SESSION, text="say HELLO").write(32) is None
    assert Refuse(Code.KEY, b"n" * 16).write(48) is None
    for longest in (33, 48):  # A question of a device's that has no key is 33 bytes.
        bare = Refuse(Code.SESSION, text="say HELLO").write(longest)
        assert bare is not None and len(bare) == 33
        assert Refuse.read(bare) == Refuse(Code.SESSION)
    short = Refuse(Code.SESSION, text="say HELLO").write(49)
    assert short is not None and Refuse.read(short) == Refuse(Code.SESSION)


def test_the_other_answers_are_read_as_they_were_written() -> None:
    challenge = Challenge(b"n" * 16, b"c" * 32, 77)
    assert Challenge.read(challenge.write()) == challenge
    for psk in (None, PSK):
        assert Welcome.read(WELCOME.write(psk)) == WELCOME
        assert welcome_signed(WELCOME.write(psk), psk)
    refuse = Refuse(Code.BUNDLE, b"n" * 16, "another bundle", 0, 77)
    assert Refuse.read(refuse.write(288) or b"") == refuse


def test_another_key_no_key_and_any_altered_byte_are_noticed() -> None:
    for packet, signed in ((HELLO.write(PSK), hello_signed), (WELCOME.write(PSK), welcome_signed)):
        assert not signed(packet, OTHER)
        assert not signed(packet, None)
        for place in range(len(packet)):
            altered = bytearray(packet)
            altered[place] ^= 1
            assert not signed(bytes(altered), PSK)
    assert not hello_signed(HELLO.write(), PSK)
    assert not hello_signed(WELCOME.write(PSK), PSK)


@given(st.sampled_from([HELLO.write(PSK), WELCOME.write(), Challenge(b"n" * 16, b"c" * 32).write(),
                        Refuse(Code.BAD, text="no").write(288) or b""]),
       st.integers(0, 300), st.binary(max_size=3))  # fmt: skip
def test_what_is_cut_or_longer_is_none_or_still_makes_sense(
    packet: bytes, length: int, more: bytes
) -> None:
    broken = packet[:length] + more
    for kind in (Hello, Challenge, Welcome):
        if kind.read(broken) is not None:
            assert len(broken) == len(packet)
    Refuse.read(broken)


@pytest.mark.parametrize("place", [32 + 48, 32 + 50])
def test_a_hello_with_no_payload_or_an_unknown_transport_is_none(place: int) -> None:
    packet = bytearray(replace(HELLO, payload_bytes=1).write())
    packet[place] = 0 if place == 80 else 4
    assert read_header(bytes(packet)) is not None
    assert Hello.read(bytes(packet)) is None


def test_a_session_number_of_zero_welcomes_nobody() -> None:
    assert Welcome.read(replace(WELCOME, session=0).write()) is None
    assert read_header(WELCOME.write())[0] == Kind.WELCOME  # type: ignore[index]


def test_a_cookie_is_good_for_its_peer_its_nonce_and_a_minute_at_most() -> None:
    secret, peer, nonce = b"s" * 32, b"\x7f\0\0\1\x12\x34", b"n" * 16
    given = cookie(secret, peer, nonce, 95 // 30)
    assert cookie_fits(given, secret, peer, nonce, 95)
    assert cookie_fits(given, secret, peer, nonce, 149.9)
    assert not cookie_fits(given, secret, peer, nonce, 150.1)
    assert not cookie_fits(given, secret, peer, nonce, 89)
    assert not cookie_fits(given, b"t" * 32, peer, nonce, 95)
    assert not cookie_fits(given, secret, peer + b"\0", nonce, 95)
    assert not cookie_fits(given, secret, peer, b"m" * 16, 95)
    assert not cookie_fits(bytes(32), secret, peer, nonce, 95)
