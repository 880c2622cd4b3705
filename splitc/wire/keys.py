# SPDX-License-Identifier: Apache-2.0
"""Keys made of other keys: HKDF-SHA256, and what the wire derives by it."""

from __future__ import annotations

import hashlib
import hmac
from typing import NamedTuple

KEY_BYTES = 32
MAC_BYTES = 32
NONCE_BYTES = 16


def hkdf(key: bytes, *, salt: bytes = b"", info: bytes) -> bytes:
    """32 bytes derived from a key (RFC 5869 with SHA-256).

    Args:
        key: The input keying material.
        salt: Without one, the 32 zeros that the standard takes.
        info: What the derived key is for.
    """
    root = hmac.digest(salt or bytes(KEY_BYTES), key, hashlib.sha256)
    return hmac.digest(root, info + b"\x01", hashlib.sha256)


class SessionKeys(NamedTuple):
    """What seals a session's packets.

    Args:
        device: Those that the device sends.
        server: Those that the server sends.
    """

    device: bytes
    server: bytes


def session_keys(psk: bytes, client_nonce: bytes, server_nonce: bytes) -> SessionKeys:
    """The keys of a session between two that share a key.

    Args:
        psk: The key they share, 32 bytes.
        client_nonce: The device's, from its HELLO.
        server_nonce: The server's, from its WELCOME.
    """
    salt = client_nonce + server_nonce
    device = hkdf(psk, salt=salt, info=b"splitc wire 1 device")
    return SessionKeys(device, hkdf(psk, salt=salt, info=b"splitc wire 1 server"))


def mac(psk: bytes | None, info: bytes, packet: bytes) -> bytes:
    """What stands at the end of a HELLO or WELCOME [32]; zeros without a key.

    Args:
        psk: The key that both share.
        info: Which packet it is.
        packet: Header and payload before it.
    """
    if psk is None:
        return bytes(MAC_BYTES)
    return hmac.digest(hkdf(psk, info=info), packet, hashlib.sha256)


def cookie(secret: bytes, peer: bytes, client_nonce: bytes, epoch: int) -> bytes:
    """What a server makes a peer say to prove that it gets what is sent to its address [32].

    Args:
        secret: The server's alone.
        peer: The address, as the server's sockets write it.
        client_nonce: The device's.
        epoch: Number of the half minute, see `EPOCH_S`.
    """
    # Each part has a length of its own, so that no two triples run together to the same bytes.
    text = len(peer).to_bytes(2, "little") + peer + client_nonce + epoch.to_bytes(8, "little")
    return hmac.digest(secret, text, hashlib.sha256)


EPOCH_S = 30.0
"""Seconds that a cookie is made for; the one before counts too."""


def cookie_fits(
    given: bytes, secret: bytes, peer: bytes, client_nonce: bytes, now_s: float
) -> bool:
    """Whether a cookie was made for that peer in this epoch or the one before.

    Args:
        given: The cookie that came.
        secret: See `cookie`.
        peer: See `cookie`.
        client_nonce: See `cookie`.
        now_s: Seconds on any clock that does not go back.
    """
    epoch = int(now_s // EPOCH_S)
    epochs = (epoch, max(epoch - 1, 0))
    return any(
        hmac.compare_digest(given, cookie(secret, peer, client_nonce, each)) for each in epochs
    )
