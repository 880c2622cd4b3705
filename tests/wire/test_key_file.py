# SPDX-License-Identifier: Apache-2.0
"""The file of the key that device and server share."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from splitc.errors import UsageError
from splitc.wire.key_file import default_key_path, make_key, read_key


def test_a_key_that_is_made_is_read_back_and_nobody_elses(tmp_path: Path) -> None:
    path = tmp_path / "config" / "splitc" / "key"
    key = make_key(path)
    assert len(key) == 32
    assert read_key(path) == key
    assert path.read_text("ascii") == key.hex() + "\n"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert [*path.parent.iterdir()] == [path]
    assert make_key(tmp_path / "other") != key


def test_a_key_is_never_made_over_another(tmp_path: Path) -> None:
    key = make_key(tmp_path / "key")
    with pytest.raises(UsageError, match="cannot make a key"):
        make_key(tmp_path / "key")
    assert read_key(tmp_path / "key") == key
    assert [*tmp_path.iterdir()] == [tmp_path / "key"]


@pytest.mark.parametrize(
    "text", ["", "ab" * 31, "ab" * 33, "g" * 64, "ab" * 32 + " more", "ä" * 64]
)
def test_what_is_no_key_is_named(tmp_path: Path, text: str) -> None:
    path = tmp_path / "key"
    path.write_text(text, "utf-8")
    with pytest.raises(UsageError, match="holds no key") as caught:
        read_key(path)
    assert caught.value.at == str(path)


def test_what_cannot_be_read_is_named(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="cannot read the key") as caught:
        read_key(tmp_path / "absent")
    assert "No such file" in caught.value.why
    with pytest.raises(UsageError, match="cannot read the key"):
        read_key(tmp_path)
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(UsageError, match="cannot read the key"):
        read_key(tmp_path / "pipe")


def test_the_default_is_in_the_users_configuration(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", "/etc/of-mine")
    assert default_key_path() == Path("/etc/of-mine/splitc/key")
    monkeypatch.delenv("XDG_CONFIG_HOME")
    assert default_key_path() == Path.home() / ".config" / "splitc" / "key"
