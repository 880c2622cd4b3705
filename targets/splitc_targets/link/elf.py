# SPDX-License-Identifier: Apache-2.0
"""What a 64-bit little-endian ELF library asks of others: the names it does not define."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from pathlib import Path

_SECTION = struct.Struct("<IIQQQQIIQQ")
_SYMBOL = struct.Struct("<IBBHQQ")
_DYNAMIC_SYMBOLS = 11
_UNDEFINED = 0


def undefined_symbols(path: Path) -> frozenset[str]:
    """Names of the dynamic symbols that a library does not define itself.

    The file is one that the linker has just written; a foreign one may raise `struct.error`.
    """
    with path.open("rb") as file:
        header = file.read(64)
        (start,) = struct.unpack_from("<Q", header, 40)
        size, count = struct.unpack_from("<HH", header, 58)
        file.seek(start)
        table = file.read(size * count)
        sections: list[tuple[int, ...]] = [
            _SECTION.unpack_from(table, k * size) for k in range(count)
        ]

        def read(section: tuple[int, ...]) -> bytes:
            file.seek(section[4])
            return file.read(section[5])

        found: set[str] = set()
        for section in sections:
            if section[1] == _DYNAMIC_SYMBOLS:
                found.update(_undefined(read(section), read(sections[section[6]])))
    return frozenset(found)


def _undefined(symbols: bytes, names: bytes) -> Iterator[str]:
    for name, _, _, section, _, _ in _SYMBOL.iter_unpack(symbols):
        if section == _UNDEFINED and name:
            yield names[name : names.index(b"\0", name)].decode()
