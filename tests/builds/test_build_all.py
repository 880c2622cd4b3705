# SPDX-License-Identifier: Apache-2.0
"""Many bundles at once: what is built, what is left as it is, what comes out of the cache."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest

import splitc
from splitc.builds.build_file import entries_of
from splitc.builds.cache import Cache
from splitc.builds.entry import Entry
from splitc.builds.record import FOLDER, Record
from splitc.builds.run import Builds, build_all
from splitc.errors import BadBundleError
from tests.helpers import needs_ray, save, small_network


def states(builds: Builds) -> dict[str, str]:
    """What became of each bundle, by its name."""
    return {one.entry.output.name: one.state for one in builds.outcomes}


def whys(builds: Builds) -> dict[str, str]:
    """Why each bundle that was not current was not."""
    return {one.entry.output.name: one.why for one in builds.outcomes if one.state != "current"}


def content(folder: Path) -> dict[str, tuple[bytes, int]]:
    """Every file of a folder, and who may do what with it."""
    return {
        str(path.relative_to(folder)): (path.read_bytes(), path.stat().st_mode)
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def without_records(folder: Path) -> dict[str, tuple[bytes, int]]:
    """Every file of a folder but the records of builds."""
    return {name: each for name, each in content(folder).items() if FOLDER not in name}


def test_what_did_not_change_is_not_built_again(built_once: tuple[Path, Builds]) -> None:
    folder, first = built_once
    assert set(states(first).values()) == {"built"}
    made = content(folder / "out")
    assert set(states(build_all(folder / "splitc.toml")).values()) == {"current"}
    assert content(folder / "out") == made


def test_a_copy_of_a_built_folder_is_current_by_its_hashes(built: Path) -> None:
    os.utime(built / "b.onnx")
    assert set(states(build_all(built / "splitc.toml", dry_run=True)).values()) == {"current"}


@pytest.mark.parametrize("board", ["rpi4", "rpi5"])
def test_bundles_are_those_that_compile_writes(built: Path, board: str) -> None:
    asked = splitc.CompileOptions(model=str(built / "a.onnx"), emit="onnx", target=board)
    plain = asked.build(asked.job(asked.load()), built / "plain")
    assert content(built / "out" / f"a-{board}.splitc") == content(plain.path)


def test_a_model_that_changed_is_built_again_and_no_other(built: Path) -> None:
    save(small_network(2), built / "a.onnx")
    before = content(built / "out")
    assert whys(build_all(built / "splitc.toml", jobs=1)) == dict.fromkeys(
        ("a-rpi4.splitc", "a-rpi5.splitc", "a-mine.splitc"), "the model changed"
    )
    after = content(built / "out")
    assert {name.split("/")[0] for name in after if after[name] != before[name]} == {
        FOLDER, "a-rpi4.splitc", "a-rpi5.splitc", "a-mine.splitc"
    }  # fmt: skip
    assert set(states(build_all(built / "splitc.toml")).values()) == {"current"}


def test_a_board_file_is_an_input(built: Path) -> None:
    (built / "mine.toml").write_text('name = "mine"\nbase = "rpi4"\nclock_hz = 2e9\n')
    found = build_all(built / "splitc.toml", dry_run=True)
    assert whys(found) == {"a-mine.splitc": "a board changed"}


def test_other_options_are_other_inputs(built: Path) -> None:
    text = (built / "splitc.toml").read_text()
    (built / "splitc.toml").write_text(text + "seed = 1\nmax-head-ms = 1e6\n")
    found = build_all(built / "splitc.toml", dry_run=True)
    assert whys(found) == {"a-mine.splitc": "max-head-ms, seed changed"}


def _text(name: str) -> Callable[[Path], object]:
    return lambda out: (out / name).write_text("{")


def _no_report(out: Path) -> None:
    (out / "report.html").unlink()


def _no_records(out: Path) -> None:
    shutil.rmtree(out.parent / FOLDER)


@pytest.mark.parametrize(
    ("spoil", "why"),
    [
        (_text("report.html"), "report.html was altered"),
        (_no_report, "report.html is missing"),
        (_text("manifest.json"), "manifest.json was altered"),
        (shutil.rmtree, "new"),
        (_no_records, "not known what it was built from"),
        (_text(f"../{FOLDER}/b-rpi4.splitc.json"), "not known"),
    ],
)
def test_an_output_that_is_not_what_was_built_is_built_anew(
    built: Path, spoil: Callable[[Path], object], why: str
) -> None:
    spoil(built / "out" / "b-rpi4.splitc")
    found = whys(build_all(built / "splitc.toml", dry_run=True))
    assert found["b-rpi4.splitc"].startswith(why)
    assert len(found) == (5 if why == "not known what it was built from" else 1)


def test_one_that_fails_stops_no_other(home: Path) -> None:
    (home / "c.onnx").write_bytes(b"no network")
    text = (home / "splitc.toml").read_text()
    text += '[[bundle]]\nmodel = ["c.onnx", "d.onnx"]\nemit = "onnx"\n'
    text += '[[bundle]]\nmodel = "b.onnx"\ncut = "nowhere"\n'
    (home / "splitc.toml").write_text(text)
    found = build_all(home / "splitc.toml", jobs=1)
    assert [one.failure for one in found.outcomes[:5]] == [None] * 5
    assert len(found.failed) == 3
    bad, missing, nowhere = (one.failure for one in found.failed)
    assert bad is not None and bad.error == "BadModelError"
    assert missing is not None and "no file" in missing.what
    assert nowhere is not None and "nowhere" in nowhere.what
    assert found.exit_code == bad.exit_code == 3
    assert not (home / "c.splitc").exists()


def test_a_process_that_dies_fails_its_bundle_alone(home: Path) -> None:
    (home / "net.py").write_text("import os\n\ndef die(): os._exit(7)\n")
    tables = [{"model": "net.py:die"}, {"model": "a.onnx", "emit": "onnx"}]
    found = build_all(entries_of(tables, home), jobs=1)
    assert [one.state for one in found.outcomes] == ["failed", "built"]
    (dead,) = found.failed
    assert dead.failure is not None
    assert (dead.failure.what, dead.failure.exit_code) == ("the compiler died", 6)
    assert "exit code 7" in dead.failure.why


def test_a_kill_in_the_middle_costs_what_was_under_way(home: Path) -> None:
    code = "from splitc.builds.run import build_all; build_all('splitc.toml', jobs=1)"
    killed = subprocess.Popen([sys.executable, "-c", code], cwd=home)
    first = home / "out" / FOLDER / "a-rpi4.splitc.json"
    until_s = time.monotonic() + 60
    while not first.exists() and time.monotonic() < until_s:
        time.sleep(0.01)
    killed.kill()
    killed.wait()
    made = content(home / "out" / "a-rpi4.splitc")
    found = build_all(home / "splitc.toml")
    assert states(found)["a-rpi4.splitc"] == "current"
    assert not found.failed
    assert content(home / "out" / "a-rpi4.splitc") == made
    assert set(states(build_all(home / "splitc.toml")).values()) == {"current"}


def test_a_bundle_out_of_the_cache_is_the_one_that_was_built(built: Path) -> None:
    made = without_records(built / "out")
    shutil.rmtree(built / "out")
    found = build_all(built / "splitc.toml", cache=built / "cache")
    assert set(states(found).values()) == {"cached"}
    assert without_records(built / "out") == made
    again = build_all(built / "splitc.toml", cache=built / "cache")
    assert set(states(again).values()) == {"current"}


def cached(home: Path, name: str) -> Path:
    """A file in the cache that is of the bundle `b-rpi4`."""
    (record,) = (home / "out" / FOLDER).glob("b-rpi4.splitc.json")
    key = msgspec.json.decode(record.read_bytes(), type=Record).key.digest
    return home / "cache" / key[:2] / key / name


def _other_byte(path: Path) -> None:
    data = path.read_bytes()
    path.write_bytes(data[:-1] + bytes([data[-1] ^ 1]))


def _link(path: Path) -> None:
    path.rename(path.parents[3] / "elsewhere")
    path.symlink_to(path.parents[3] / "elsewhere")


def _path_out(path: Path) -> None:
    listing = msgspec.json.decode(path.read_bytes())
    listing["files"]["../../escaped"] = listing["files"]["manifest.json"]
    path.write_bytes(msgspec.json.encode(listing))


def _other_key(path: Path) -> None:
    (path.parent / "listing.json").write_bytes(path.read_bytes().replace(b'"key":"', b'"key":"0'))


@pytest.mark.parametrize(
    ("name", "spoil"),
    [
        ("bundle/tail/tail.onnx", _other_byte),
        ("bundle/manifest.json", _other_byte),
        ("bundle/report.html", Path.unlink),
        ("bundle/report.html", _link),
        ("listing.json", _other_byte),
        ("listing.json", _path_out),
        ("listing.json", _other_key),
    ],
)
def test_a_cache_that_lies_gives_no_bundle(
    built: Path, name: str, spoil: Callable[[Path], object]
) -> None:
    place = cached(built, name)
    spoil(place)
    key = place.relative_to(built / "cache").parts[1]
    target = built / "other.splitc"
    with pytest.raises(BadBundleError, match="another bundle than was put there"):
        Cache(built / "cache").take(key, target)
    assert not target.exists()
    assert not [*built.rglob("escaped")]
    assert not Cache(built / "cache").has(key)


def test_what_the_cache_lies_about_fails_and_is_built_the_next_time(built: Path) -> None:
    out = built / "out" / "b-rpi4.splitc"
    made = content(out)
    _other_byte(cached(built, "bundle/tail/tail.onnx"))
    shutil.rmtree(out)
    found = build_all(built / "splitc.toml", cache=built / "cache")
    (one,) = (each for each in found.outcomes if each.state != "current")
    assert one.failure is not None
    assert (one.state, one.failure.error, found.exit_code) == ("failed", "BadBundleError", 3)
    assert one.failure.why == "'tail/tail.onnx' has another hash"
    assert not out.exists()
    found = build_all(built / "splitc.toml", cache=built / "cache")
    assert states(found)["b-rpi4.splitc"] == "built"
    assert content(out) == made


def test_keys_are_those_of_content_and_not_of_places(home: Path, tmp_path: Path) -> None:
    key = build_all(home / "splitc.toml", dry_run=True).key
    other = tmp_path / "elsewhere"
    other.mkdir()
    for path in home.glob("*.*"):
        if path.is_file():
            shutil.copy(path, other)
    assert build_all(other / "splitc.toml", dry_run=True).key == key
    save(small_network(2), other / "a.onnx")
    assert build_all(other / "splitc.toml", dry_run=True).key != key


def test_source_date_epoch_is_an_input(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    key = build_all(home / "splitc.toml", dry_run=True).key
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1700000000")
    assert build_all(home / "splitc.toml", dry_run=True).key != key


def test_tables_in_python_are_taken_too(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(home)
    found = splitc.build_all([{"model": "a.onnx", "emit": "onnx", "target": ["rpi4", "rpi5"]}])
    assert states(found) == {"a-rpi4.splitc": "built", "a-rpi5.splitc": "built"}
    assert all(isinstance(one.entry, Entry) for one in found.outcomes)


@needs_ray
def test_a_cluster_builds_the_same_bundles(built_once: tuple[Path, Builds], home: Path) -> None:
    found = build_all(home / "splitc.toml", ray="local")
    assert set(states(found).values()) == {"built"}
    assert without_records(home / "out") == without_records(built_once[0] / "out")
