# SPDX-License-Identifier: Apache-2.0
"""Packets that only who has the key can read or make: ChaCha20-Poly1305 (RFC 8439)."""

from __future__ import annotations

from typing import NamedTuple, Protocol

import numpy as np

from splitc.errors import ToolchainError
from splitc.wire.datagrams import Datagrams
from splitc.wire.header import HEADER_BYTES, TAG_BYTES
from splitc.wire.keys import session_keys

_KIND, _ROUTE, _FRAME, _CHUNK, _EXTRA = 3, 24, 20, 26, 30


def nonce(header: bytes | memoryview) -> bytes:
    """What makes one packet's keystream another than any other's [12], from its header.

    kind u8, 0 u8, route u16, frame u32, chunk u16, extra u16: two packets of one direction that
    agree in all of it must be the same packet.
    """
    return b"%c\0%b%b%b%b" % (
        header[_KIND], header[_ROUTE : _ROUTE + 2], header[_FRAME : _FRAME + 4],
        header[_CHUNK : _CHUNK + 2], header[_EXTRA : _EXTRA + 2],
    )  # fmt: skip


class Sealing(Protocol):
    """What is done to the packets of one direction of a session."""

    def seal(self, plain: Datagrams) -> Datagrams:
        """Packets as they are sent."""
        ...

    def open(self, sealed: Datagrams) -> tuple[Datagrams, int]:
        """Those of packets that came which are right, as they were, and how many are not."""
        ...


class Plain(Sealing):
    """Nothing: two without a key read and believe what comes."""

    def seal(self, plain: Datagrams) -> Datagrams:
        """The packets."""
        return plain

    def open(self, sealed: Datagrams) -> tuple[Datagrams, int]:
        """All of the packets."""
        return sealed, 0


class Seal(Sealing):
    """Seals the packets of one direction of a session, or opens them.

    The payload becomes ciphertext and a tag of 16 bytes; the header stays readable and is part
    of what the tag answers for.

    Args:
        key: 32 bytes, of that direction.

    Raises:
        ToolchainError: The package `cryptography` is not installed.
    """

    def __init__(self, key: bytes) -> None:
        try:
            from cryptography.exceptions import InvalidTag
            from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305
        except ImportError as error:
            hint = "pip install 'splitc[serve]'"
            raise ToolchainError("encryption needs cryptography", hint=hint) from error
        self._cipher = ChaCha20Poly1305(key)
        self._wrong = InvalidTag

    def seal(self, plain: Datagrams) -> Datagrams:
        """Packets sealed, in the rows where they lie if those have room."""
        block = plain.block
        if len(plain) and int(plain.lengths.max()) + TAG_BYTES > block.shape[1]:
            block = np.pad(block, ((0, 0), (0, TAG_BYTES)))
        encrypt = self._cipher.encrypt
        for row, length in zip(block, plain.lengths.tolist(), strict=True):
            packet = row.data
            header = packet[:HEADER_BYTES]
            sealed = encrypt(nonce(header), packet[HEADER_BYTES:length], header)
            packet[HEADER_BYTES : length + TAG_BYTES] = sealed
        return Datagrams(block, plain.lengths + TAG_BYTES)

    def open(self, sealed: Datagrams) -> tuple[Datagrams, int]:
        """Those packets that are right, opened in the rows where they lie.

        Returns:
            Them in their order, and how many were not right.
        """
        right: list[int] = []
        decrypt, wrong = self._cipher.decrypt, self._wrong
        lengths = sealed.lengths.tolist()
        for number, (row, length) in enumerate(zip(sealed.block, lengths, strict=True)):
            if length < HEADER_BYTES + TAG_BYTES:
                continue
            packet = row.data
            header = packet[:HEADER_BYTES]
            try:
                opened = decrypt(nonce(header), packet[HEADER_BYTES:length], header)
            except wrong:
                continue
            packet[HEADER_BYTES : length - TAG_BYTES] = opened
            right.append(number)
        bad = len(lengths) - len(right)
        kept = sealed.take(right) if bad else sealed
        return Datagrams(kept.block, kept.lengths - TAG_BYTES), bad


class Seals(NamedTuple):
    """The two directions of a session.

    Args:
        device: What the device sends.
        server: What the server sends.
    """

    device: Sealing
    server: Sealing


def seals_of(psk: bytes | None, client_nonce: bytes, server_nonce: bytes) -> Seals:
    """What seals a session's packets, see `session_keys`; nothing where there is no key.

    Raises:
        ToolchainError: There is a key, and the package `cryptography` is not installed.
    """
    if psk is None:
        return Seals(Plain(), Plain())
    keys = session_keys(psk, client_nonce, server_nonce)
    return Seals(Seal(keys.device), Seal(keys.server))
