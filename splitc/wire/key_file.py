# SPDX-License-Identifier: Apache-2.0
"""The key that device and server share: a file of 64 hexadecimal digits and a line feed."""

from __future__ import annotations

import os
import secrets
import stat
from pathlib import Path

from splitc.errors import UsageError

KEY_BYTES = 32


def default_key_path() -> Path:
    """Where the key is that no `--key` names."""
    base = os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config"
    return Path(base) / "splitc" / "key"


def read_key(path: Path) -> bytes:
    """Read a key file.

    Returns:
        The key [32 bytes].

    Raises:
        UsageError: It cannot be read, or holds no key.
    """
    at = str(path)
    try:
        # A pipe that nobody writes to is not waited for.
        with os.fdopen(os.open(path, os.O_RDONLY | os.O_NONBLOCK), "rb") as file:
            if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                raise UsageError("cannot read the key", at=at, why="it is no plain file")
            text = file.read(2 * KEY_BYTES + 2)
    except OSError as error:
        hint = "copy it from the server: `splitc serve` says where it is"
        raise UsageError(
            "cannot read the key", at=at, why=error.strerror or "", hint=hint
        ) from error
    try:
        key = bytes.fromhex(text.decode("ascii").strip())
    except ValueError:
        key = b""
    if len(key) != KEY_BYTES:
        why = f"it is not {2 * KEY_BYTES} hexadecimal digits and a line feed"
        raise UsageError("the file holds no key", at=at, why=why)
    return key


def make_key(path: Path) -> bytes:
    """Make a new key and write its file, which only its owner may read.

    Returns:
        The key [32 bytes].

    Raises:
        UsageError: The file is there already, or cannot be written.
    """
    key = secrets.token_bytes(KEY_BYTES)
    # Linked to its name when it is whole: nobody reads half a key, and of two that start at
    # once one makes it.
    beside = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with os.fdopen(os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
            file.write(key.hex() + "\n")
        try:
            os.link(beside, path)
        finally:
            beside.unlink()
    except OSError as error:
        why = error.strerror or ""
        raise UsageError("cannot make a key", at=str(path), why=why) from error
    return key
