# SPDX-License-Identifier: Apache-2.0
"""A bundle compiled again as it says it was: the same bytes, or which files differ and why."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

import splitc
from splitc.build.options import CompileOptions
from splitc.build.rebuild import rebuild
from splitc.bundle.bundle import Bundle
from splitc.bundle.record import read_record
from splitc.bundle.unpack import unpack
from splitc.cli.app import run
from splitc.cost.profile import SCHEMA, Profile, write_profile
from splitc.errors import BadBundleError, BadModelError, UsageError, VerificationError
from splitc.runtime.files import file_entry, list_files
from splitc.runtime.manifest import MANIFEST
from splitc.search.importance import Importance, write_importance


def compiled_with(folder: Path, options: CompileOptions) -> Bundle:
    return options.build(options.job(options.load()), folder)


def relisted(folder: Path) -> Bundle:
    """The bundle with a manifest that lists what is there."""
    manifest = json.loads((folder / MANIFEST).read_text("utf-8"))
    files = list_files(folder, but=(MANIFEST,))
    manifest["files"] = {n: {"bytes": e.bytes, "sha256": e.sha256} for n, e in files.items()}
    (folder / MANIFEST).write_text(json.dumps(manifest), "utf-8")
    return Bundle.open(folder)


@pytest.fixture(scope="module")
def samples(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("samples") / "samples.npz"
    np.savez(path, x=np.random.default_rng(0).random((2, 1, 3, 12, 12), "f4"))
    return path


@pytest.fixture(scope="module")
def asked(small_onnx: Path, samples: Path, tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """The small network with a codec, in compiled code for rpi4 and here. Read only."""
    options = CompileOptions(
        model=str(small_onnx), cut="block_add", codec="quantize-boundary",
        calibrate=str(samples), link="lte", rtt="20ms", seed=3,
    )  # fmt: skip
    return compiled_with(tmp_path_factory.mktemp("asked") / "small.splitc", options)


def test_compiled_again_under_another_name_elsewhere_it_has_the_same_bytes(
    asked: Bundle,
    small_onnx: Path,
    samples: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    copy = tmp_path / "renamed.onnx"
    shutil.copyfile(small_onnx, copy)
    values = tmp_path / "values.npz"
    shutil.copyfile(samples, values)
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1700000000")
    found = rebuild(asked, copy, files={"calibrate": values})
    assert found.same
    assert found.files == len(asked.manifest.files) + 1
    assert found.tools == {}


def test_a_time_that_was_written_is_written_again(small_onnx: Path, tmp_path: Path) -> None:
    options = CompileOptions(model=str(small_onnx), cut="block_add", emit="onnx")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SOURCE_DATE_EPOCH", "86400")
        made = compiled_with(tmp_path / "b", options)
    assert read_record(made.path).source_date_epoch == 86400
    assert rebuild(made, small_onnx).same


def test_profiles_are_given_again_too(
    small_onnx: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    profile = Profile(
        schema=SCHEMA, kind="splitc-profile", machine="a bench", layers={"stem_relu": 2.0}
    )
    path = tmp_path / "bench.json"
    write_profile(path, profile)
    options = CompileOptions(
        model=str(small_onnx), cut="block_add", emit="onnx", tail_profile=str(path)
    )
    compiled_with(tmp_path / "b", options)
    asked = ["verify", str(tmp_path / "b"), "--rebuild", str(small_onnx)]
    assert run(asked) == 2
    assert "needs --tail-profile too" in capsys.readouterr().err
    assert run([*asked, "--tail-profile", str(path)]) == 0
    assert run([*asked, "--profile", str(path), "--tail-profile", str(path)]) == 2
    assert "made without --profile" in capsys.readouterr().err
    assert run([*asked[:2], "--profile", str(path)]) == 2
    assert "--profile is for --rebuild" in capsys.readouterr().err


def test_the_file_that_a_cutter_reads_is_given_again_and_lies_where_it_likes(
    small_onnx: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    layers = {"stem_relu": 1.0, "block_add": 3.0, "down": 2.0}
    (tmp_path / "here").mkdir()
    for path, values in (("here/known.json", layers), ("other.json", {"block_add": 1.0})):
        write_importance(tmp_path / path, Importance(
            schema=1, kind="splitc-importance", network="small", samples=1, layers=values,
        ))  # fmt: skip
    known, moved = tmp_path / "here" / "known.json", tmp_path / "moved.json"
    options = CompileOptions(
        model=str(small_onnx), emit="onnx", cutter=f'i-split(importance="{known}")'
    )
    made = compiled_with(tmp_path / "b", options)
    record = read_record(made.path)
    assert record.options["cutter"] == 'i-split(importance="known.json")'
    assert [(one.option, one.name) for one in record.data] == [("importance", "known.json")]
    assert str(tmp_path) not in (made.path / "manifest.json").read_text("utf-8")
    known.rename(moved)
    asked = ["verify", str(made.path), "--rebuild", str(small_onnx)]
    assert run(asked) == 2
    assert "needs --importance too" in capsys.readouterr().err
    assert run([*asked, "--importance", str(tmp_path / "other.json")]) == 2
    assert "is not what the bundle was made with" in capsys.readouterr().err
    assert run([*asked, "--importance", str(moved)]) == 0


def test_what_was_packed_without_its_twin_is_compiled_without(
    asked: Bundle, small_onnx: Path, samples: Path, tmp_path: Path
) -> None:
    found = unpack(asked.pack(tmp_path / "b.zip"), tmp_path / "b")
    assert rebuild(found, small_onnx, files={"calibrate": samples}).same


def test_the_record_names_files_and_no_folders(
    asked: Bundle, small_onnx: Path, samples: Path
) -> None:
    record = read_record(asked.path)
    assert record.options == {
        "model": small_onnx.name, "cut": "block_add", "codec": "quantize-boundary",
        "calibrate": "samples.npz", "link": "lte", "rtt": "20ms", "seed": 3,
    }  # fmt: skip
    (data,) = record.data
    assert (data.name, data.sha256) == (samples.name, file_entry(samples).sha256)
    assert str(small_onnx.parent) not in (asked.path / "build.json").read_text("utf-8")


def test_a_file_that_differs_and_tools_that_differ_are_named(
    small_onnx: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    options = CompileOptions(model=str(small_onnx), cut="block_add", emit="onnx")
    made = compiled_with(tmp_path / "b", options)
    manifest = json.loads((made.path / MANIFEST).read_text("utf-8"))
    manifest["tools"]["onnx"] = "0.0.1"
    (made.path / MANIFEST).write_text(json.dumps(manifest), "utf-8")
    (made.path / "report.html").write_text("altered", "utf-8")
    altered = relisted(made.path)
    found = rebuild(altered, small_onnx)
    assert {"manifest.json", "report.html"} <= {*found.differs}
    assert "tail/model.onnx" not in found.differs
    assert found.tools == {"onnx": ("0.0.1", manifest_tool(made, "onnx"))}
    with pytest.raises(VerificationError, match="other bytes") as told:
        found.require()
    assert "report.html" in told.value.at
    assert "onnx 0.0.1 -> " in told.value.why
    code = run(["verify", str(made.path), "--rebuild", str(small_onnx), "--json"])
    said = json.loads(capsys.readouterr().out)
    assert code == 7
    assert "report.html" in said["rebuilt"]["differs"]


def manifest_tool(made: Bundle, name: str) -> str:
    return made.manifest.tools[name]


def test_another_model_or_other_samples_are_refused(
    asked: Bundle, small_onnx: Path, samples: Path, tmp_path: Path
) -> None:
    with pytest.raises(UsageError, match="needs --calibrate too") as told:
        rebuild(asked, small_onnx)
    assert "samples.npz" in told.value.why
    np.savez(tmp_path / "others.npz", x=np.zeros((1, 1, 3, 12, 12), "f4"))
    with pytest.raises(UsageError, match="not what the bundle was made with"):
        rebuild(asked, small_onnx, files={"calibrate": tmp_path / "others.npz"})
    with pytest.raises(UsageError, match="made without --plan"):
        rebuild(asked, small_onnx, files={"calibrate": samples, "plan": samples})
    from tests.helpers import save, small_network

    other = save(small_network(seed=5), tmp_path / "other.onnx")
    with pytest.raises(BadModelError, match="another model"):
        rebuild(asked, other, files={"calibrate": samples})
    loaded = splitc.load(small_onnx)
    silent = splitc.compile(loaded, cut="block_add", emit="onnx", output=tmp_path / "silent")
    with pytest.raises(BadBundleError, match="does not say how it was compiled"):
        rebuild(silent, small_onnx)


def test_what_python_compiled_from_text_is_compiled_again(small_onnx: Path, tmp_path: Path) -> None:
    link = splitc.Link("5.47kbit", rtt="1us", loss=0.1, mtu=262)
    made = splitc.compile(
        small_onnx, cuts=["stem_relu", "block_add"], link=link, head=splitc.load_board("rpi5"),
        emit="onnx", output=tmp_path / "made",
    )  # fmt: skip
    assert rebuild(made, small_onnx).same


def test_nothing_that_a_bundle_names_is_read(small_onnx: Path, tmp_path: Path) -> None:
    options = CompileOptions(model=str(small_onnx), cut="block_add", emit="onnx")
    made = compiled_with(tmp_path / "b", options)
    record = json.loads((made.path / "build.json").read_text("utf-8"))
    for hostile, match in (
        ({"calibrate": "/etc/passwd"}, "does not say which file --calibrate was"),
        ({"plan": "/etc/passwd"}, "does not say which file --plan was"),
        ({"unheard_of": 1}, "options that this splitc has not"),
        ({"seed": "many"}, "options that this splitc has not"),
    ):
        text = json.dumps({**record, "options": {**record["options"], **hostile}})
        (made.path / "build.json").write_text(text, "utf-8")
        with pytest.raises(BadBundleError, match=match):
            rebuild(relisted(made.path), small_onnx)
