# SPDX-License-Identifier: Apache-2.0
"""A bundle as one zip and back: the same bytes everywhere, and nothing from a hostile one."""

from __future__ import annotations

import json
import os
import shutil
import stat
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import CliRunner

import splitc
from splitc.bundle.bundle import Bundle
from splitc.bundle.unpack import unpack
from splitc.cli.app import app
from splitc.cost.board import host_isa
from splitc.errors import BadBundleError, OutputError, SplitcError, ToolchainError, UsageError

Entries = list[tuple[zipfile.ZipInfo, bytes]]


@pytest.fixture(scope="module")
def packed(compiled: Bundle, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The small network's bundle as a zip. Read only."""
    return compiled.pack(tmp_path_factory.mktemp("packed") / "small.splitc.zip")


def tree(folder: Path) -> dict[str, bytes]:
    files = (path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}


def rewritten(packed: Path, target: Path, change: Callable[[Entries], None]) -> Path:
    """A zip with its entries changed."""
    with zipfile.ZipFile(packed) as archive:
        entries = [(info, archive.read(info)) for info in archive.infolist()]
    change(entries)
    with zipfile.ZipFile(target, "w") as archive:
        for info, data in entries:
            archive.writestr(info, data)
    return target


def test_a_packed_bundle_is_the_same_zip_every_time(
    compiled: Bundle, packed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    copy = tmp_path / "elsewhere.splitc"
    shutil.copytree(compiled.path, copy)
    for path in copy.rglob("*"):
        path.chmod(0o700)
        os.utime(path, (1, 1))
    assert Bundle.open(copy).pack(tmp_path / "b.zip").read_bytes() == packed.read_bytes()
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1700000000")
    later = compiled.pack(tmp_path / "later.zip")
    with zipfile.ZipFile(later) as archive:
        assert {info.date_time for info in archive.infolist()} == {(2023, 11, 14, 22, 13, 20)}
    with zipfile.ZipFile(packed) as archive:
        assert {info.date_time for info in archive.infolist()} == {(1980, 1, 1, 0, 0, 0)}


def test_what_is_unpacked_is_what_was_packed(compiled: Bundle, tmp_path: Path) -> None:
    file = compiled.pack(tmp_path / "whole.zip", with_twin=True)
    found = unpack(file, tmp_path / "back.splitc")
    assert tree(found.path) == tree(compiled.path)
    assert found.digest == compiled.digest
    assert stat.S_IMODE((found.path / "head" / "splitc-run").stat().st_mode) == 0o755
    assert stat.S_IMODE((found.path / "head" / "weights.bin").stat().st_mode) == 0o644
    assert found.verify().passed


def test_another_unzip_finds_a_bundle_too(packed: Path, tmp_path: Path) -> None:
    with zipfile.ZipFile(packed) as archive:
        archive.extractall(tmp_path)
    Bundle.open(tmp_path / "small.splitc").check()


def test_the_build_for_the_machine_that_compiled_is_left_out(
    compiled: Bundle, packed: Path, tmp_path: Path
) -> None:
    found = unpack(packed, tmp_path / "back.splitc")
    assert not (found.path / "golden" / "head").exists()
    assert {*tree(compiled.path)} - {*tree(found.path)} == {
        name for name in tree(compiled.path) if name.startswith("golden/head/")
    }
    found.check()
    assert found.digest != compiled.digest
    if host_isa() == "x86_64":
        with pytest.raises(ToolchainError, match="cannot start the head") as told:
            found.verify()
        assert "no golden/head" in told.value.why


def test_the_verbs_say_what_they_wrote(compiled: Bundle, tmp_path: Path) -> None:
    runner = CliRunner()
    target = tmp_path / "b.zip"
    done = runner.invoke(app, ["pack", str(compiled.path), "-o", str(target), "--json"])
    said = json.loads(done.stdout)
    assert said["left_out"] == ["head"]
    assert said["bytes"] == target.stat().st_size
    back = runner.invoke(app, ["unpack", str(target), "-o", str(tmp_path / "b"), "--json"])
    assert json.loads(back.stdout)["digest"] == said["digest"]
    assert Bundle.open(tmp_path / "b").digest == said["digest"]
    shown = runner.invoke(app, ["pack", str(compiled.path), "-o", str(target)]).stdout
    assert "without golden/head: --with-twin" in shown


def test_python_has_the_same(packed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    shutil.copyfile(packed, tmp_path / "mine.splitc.zip")
    assert splitc.unpack("mine.splitc.zip").path == Path("mine.splitc")


def _rename(name: str) -> Callable[[Entries], None]:
    def change(entries: Entries) -> None:
        entries[-1][0].filename = name

    return change


def _more(name: str, data: bytes = b"x", mode: int = 0o100644) -> Callable[[Entries], None]:
    def change(entries: Entries) -> None:
        info = zipfile.ZipInfo(name)
        info.external_attr = mode << 16
        entries.append((info, data))

    return change


def _drop(entries: Entries) -> None:
    del entries[-1]


def _alter(entries: Entries) -> None:
    info, data = entries[-1]
    entries[-1] = (info, bytes(len(data)))


def _grow(entries: Entries) -> None:
    info, data = entries[-1]
    entries[-1] = (info, data + bytes(2**20))


@pytest.mark.parametrize(
    ("change", "match", "why"),
    [
        (_rename("../secret"), "no packed bundle", "leads elsewhere"),
        (_rename("/etc/secret"), "no packed bundle", "leads elsewhere"),
        (_rename("small.splitc/../../secret"), "no packed bundle", "leads elsewhere"),
        (_rename("small.splitc/..\\secret"), "no packed bundle", "leads elsewhere"),
        (_rename("small.splitc/\x1b[2J"), "no packed bundle", "leads elsewhere"),
        (_rename("small.splitc/" + "a" * 300), "no packed bundle", "leads elsewhere"),
        (_rename("small.splitc/" + "a/" * 20 + "b"), "no packed bundle", "leads elsewhere"),
        (_rename("other/x"), "no packed bundle", "not in one folder"),
        (_more("secret"), "no packed bundle", "not in one folder"),
        (_more("small.splitc/link", b"/etc/passwd", 0o120777), "no packed bundle", "a link"),
        (_more("small.splitc/pipe", b"", 0o010644), "no packed bundle", "a link or a device"),
        (_more("small.splitc/HEAD/x"), "no packed bundle", "differ in case"),
        (_more("small.splitc/Manifest.JSON"), "no packed bundle", "differ in case"),
        (_more("small.splitc/manifest.json"), "no packed bundle", "one name"),
        (_more("small.splitc/manifest.json/x"), "no packed bundle", "one name"),
        (_more("small.splitc/extra"), "'extra' is in the zip", ""),
        (_drop, "is missing in the zip", ""),
        (_alter, "was altered", ""),
        (_grow, "another size", ""),
    ],
)  # fmt: skip
@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_a_hostile_zip_is_refused_and_nothing_is_left(
    packed: Path, tmp_path: Path, change: Callable[[Entries], None], match: str, why: str
) -> None:
    place = tmp_path / "place"
    place.mkdir()
    file = rewritten(packed, tmp_path / "bad.zip", change)
    with pytest.raises(BadBundleError, match=match) as told:
        unpack(file, place / "out.splitc")
    assert why in told.value.why
    assert told.value.exit_code == 3
    assert not [*place.iterdir()]
    assert {path.name for path in tmp_path.iterdir()} == {"place", "bad.zip"}


def test_no_more_is_written_than_an_entry_says(packed: Path, tmp_path: Path) -> None:
    with pytest.raises(BadBundleError, match="too large") as told:
        unpack(packed, tmp_path / "out", max_bytes=1000)
    assert "limit is 1,000" in told.value.why

    def swell(entries: Entries) -> None:
        info, data = entries[-1]
        sizes.append(len(data))
        info.compress_type = zipfile.ZIP_DEFLATED
        entries[-1] = (info, bytes(2**25))

    sizes: list[int] = []
    bomb = bytearray(rewritten(packed, tmp_path / "bomb.zip", swell).read_bytes())
    assert len(bomb) < packed.stat().st_size + 2**16
    at = bomb.rindex(b"PK\x01\x02")
    bomb[at + 24 : at + 28] = sizes[0].to_bytes(4, "little")
    (tmp_path / "bomb.zip").write_bytes(bomb)
    with pytest.raises(BadBundleError, match="no packed bundle"):
        unpack(tmp_path / "bomb.zip", tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("length", [0, 10, 21, 22, 1000, -1, -23])
def test_a_zip_that_was_cut_off_is_refused(packed: Path, tmp_path: Path, length: int) -> None:
    (tmp_path / "half.zip").write_bytes(packed.read_bytes()[:length])
    with pytest.raises(BadBundleError, match="no packed bundle"):
        unpack(tmp_path / "half.zip", tmp_path / "out")


def test_a_directory_of_entries_too_large_to_read_is_not_read(tmp_path: Path) -> None:
    end = b"PK\x05\x06" + bytes(8) + (2**28).to_bytes(4, "little") + bytes(6)
    (tmp_path / "big.zip").write_bytes(bytes(100) + end)
    with pytest.raises(BadBundleError, match="no packed bundle") as told:
        unpack(tmp_path / "big.zip", tmp_path / "out")
    assert "its directory takes" in told.value.why


def test_what_stands_in_the_way_is_kept(packed: Path, tmp_path: Path) -> None:
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis" / "chapter.txt").write_text("precious", "utf-8")
    with pytest.raises(OutputError, match="cannot write"):
        unpack(packed, tmp_path / "thesis")
    assert (tmp_path / "thesis" / "chapter.txt").read_text("utf-8") == "precious"
    with pytest.raises(UsageError, match="there is no file"):
        unpack(tmp_path / "nothing.zip")


def test_any_byte_of_a_zip_may_be_wrong(packed: Path, tmp_path: Path) -> None:
    good, folder = packed.read_bytes(), tmp_path / "out.splitc"
    for at in range(0, len(good), len(good) // 60):
        data = bytearray(good)
        data[at] ^= 0x55
        (tmp_path / "bad.zip").write_bytes(data)
        try:
            found = unpack(tmp_path / "bad.zip", folder)
        except SplitcError as error:
            assert error.exit_code == 3
            continue
        # A time, a mode or a name of the outer folder: what is in it is whole all the same.
        found.check()
        shutil.rmtree(folder)
