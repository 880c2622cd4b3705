# SPDX-License-Identifier: Apache-2.0
"""Bundles: what is in them, that they compute the same, that tampering is seen."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest

import splitc
from splitc.bundle.bundle import Bundle, require
from splitc.bundle.golden import LOOSEST_TOLERANCE
from splitc.errors import (
    BadBundleError,
    IllegalCutError,
    OutputError,
    SplitcError,
    UnsupportedOpError,
    UsageError,
    VerificationError,
)
from splitc.runtime.manifest import MANIFEST, Missing, json_schema
from tests.helpers import ROOT, model_of, save, small_network


def tree(folder: Path) -> dict[str, str]:
    """sha256 of every file below a folder."""
    return {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def whole(path: Path, feed: dict[str, Any]) -> dict[str, Any]:
    ort: Any = onnxruntime
    session = ort.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    names = [one.name for one in session.get_outputs()]
    return dict(zip(names, session.run(names, feed), strict=True))


def test_the_head_holds_what_the_device_needs_and_nothing_else(compiled: Bundle) -> None:
    names = {path.name for path in (compiled.path / "head").iterdir()}
    assert names == {
        "model.so", "weights.bin", "libsplitc.so", "splitc-run", "manifest.json", "LICENSES",
    }  # fmt: skip
    elf = (compiled.path / "head" / "model.so").read_bytes()[:20]
    assert elf[:4] == b"\x7fELF"
    assert int.from_bytes(elf[18:20], "little") == 183, "not AArch64"
    assert (compiled.path / "head" / "splitc-run").stat().st_mode & 0o111


def test_head_and_tail_together_equal_the_unsplit_model(compiled: Bundle) -> None:
    found = compiled.verify()
    assert found.passed
    assert found.worst.relative < 1e-3
    assert all(one.same_argmax for one in found.outputs)
    assert found.ran["head"].how == "host build of the rpi4 head"
    require(found)


def test_the_real_arm_head_under_emulation_equals_the_unsplit_model(
    compiled: Bundle, qemu: None
) -> None:
    found = compiled.verify(emulate=True)
    assert found.passed
    assert found.ran["head"].how == "rpi4 under qemu"


def test_new_inputs_give_what_onnxruntime_gives(compiled: Bundle, small_onnx: Path) -> None:
    x = np.random.default_rng(7).standard_normal((5, 1, 3, 12, 12)).astype(np.float32)
    got = compiled.run(x)["y"]
    expected = np.stack([whole(small_onnx, {"x": one})["y"] for one in x])
    np.testing.assert_allclose(got, expected, rtol=1e-4, atol=1e-6)
    np.testing.assert_array_equal(compiled.run({"x": x[0]})["y"], got[0])


def test_several_inputs_results_and_crossing_tensors(two_headed: Bundle, tmp_path: Path) -> None:
    rng = np.random.default_rng(3)
    feed = {name: rng.standard_normal((2, 4)).astype(np.float32) for name in ("a", "b")}
    source = two_headed.path.parent / "two.onnx"
    got = two_headed.run(feed)
    assert list(got) == ["early", "late"]
    for name, expected in whole(source, feed).items():
        np.testing.assert_allclose(got[name], expected, rtol=1e-5, atol=1e-6)
    assert {spec.name for spec in two_headed.manifest.route.crosses} == {"s", "t"}
    assert two_headed.verify().passed


def test_an_input_that_crosses_untouched_is_an_input_of_the_tail(tmp_path: Path) -> None:
    from tests.helpers import two_headed_network

    path = save(two_headed_network(), tmp_path / "two.onnx")
    bundle = splitc.compile(path, cut="early", emit="onnx", output=tmp_path / "out.splitc")
    assert [spec.name for spec in bundle.manifest.route.crosses] == ["b", "early"]
    assert [spec.name for spec in bundle.part("head").outputs] == ["early"]
    assert bundle.verify().passed


def test_two_builds_in_other_folders_and_processes_are_equal_byte_for_byte(
    small_onnx: Path, compiled: Bundle, tmp_path: Path
) -> None:
    code = (
        "import splitc, sys; splitc.compile(sys.argv[1], cut='block_add', head='rpi4', "
        "output=sys.argv[2])"
    )
    copy = tmp_path / "elsewhere" / small_onnx.name
    copy.parent.mkdir()
    shutil.copyfile(small_onnx, copy)
    target = tmp_path / "a much longer folder name" / "small.splitc"
    kept = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    (tmp_path / "home").mkdir()
    (tmp_path / "scratch").mkdir()
    env = {
        **os.environ, "PYTHONHASHSEED": "123", "SPLITC_CACHE_DIR": str(tmp_path / "cache"),
        "HOME": str(tmp_path / "home"), "TMPDIR": str(tmp_path / "scratch"), "TZ": "Asia/Tokyo",
        "LC_ALL": "C", "XDG_CACHE_HOME": kept,
    }  # fmt: skip
    subprocess.run(
        [sys.executable, "-c", code, str(copy), str(target)], check=True, env=env, cwd=tmp_path
    )
    assert tree(target) == tree(compiled.path)


def test_manifests_follow_the_published_schema(compiled: Bundle) -> None:
    import jsonschema

    published = json.loads((ROOT / "splitc" / "manifest.schema.json").read_text("utf-8"))
    assert published == json_schema()
    for folder in (compiled.path, compiled.path / "head", compiled.path / "tail"):
        text = (folder / MANIFEST).read_text("utf-8")
        jsonschema.validate(json.loads(text), published)
        assert text.startswith('{\n  "schema": 2,')
    assert str(compiled.path.parent) not in (compiled.path / MANIFEST).read_text("utf-8")


def test_the_head_knows_what_it_sends_and_what_comes_back(compiled: Bundle) -> None:
    route = compiled.manifest.route
    (remote,) = compiled.part("head").remote
    assert (remote.route, remote.name) == (0, "cut")
    assert remote.crosses == route.crosses == compiled.part("tail").inputs
    assert remote.results == compiled.part("tail").outputs
    assert remote.outputs == ("y",)
    assert compiled.part("tail").remote == ()
    assert route.missing == (Missing(fill="", scale="realised"),)


def test_a_bundle_from_before_these_fields_still_opens(bundle: Bundle) -> None:
    edit(bundle.path / "head", lambda m: m.pop("remote"))
    edit(bundle.path / "golden" / "head", lambda m: m.pop("remote"))
    edit(bundle.path, lambda m: m["routes"][0].pop("missing"))
    edit(bundle.path, lambda m: m["parts"]["tail"].pop("batch"))
    rehash(bundle)
    before = Bundle.open(bundle.path)
    assert before.manifest.route.missing == ()
    assert before.manifest.batched("tail") == {1: "tail"}
    assert before.verify().passed


def test_the_report_shows_the_chosen_cut_and_both_baselines(compiled: Bundle) -> None:
    page = (compiled.path / "report.html").read_text("utf-8")
    assert "cut after block_add" in page
    assert page.count("all on the ") >= 4
    assert "://" not in page


def flip(bundle: Bundle) -> None:
    path = bundle.path / "head" / "model.so"
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


def remove(bundle: Bundle) -> None:
    (bundle.path / "golden" / "outputs" / "0.npy").unlink()


def add(bundle: Bundle) -> None:
    (bundle.path / "tail" / "extra.so").write_bytes(b"x")


def link(bundle: Bundle) -> None:
    path = bundle.path / "tail" / "model.so"
    copy = bundle.path.parent / "elsewhere.so"
    path.rename(copy)
    path.symlink_to(copy)


def new_schema(bundle: Bundle) -> None:
    edit(bundle.path, lambda m: m.update(schema=3))


def unknown_field(bundle: Bundle) -> None:
    edit(bundle.path, lambda m: m.update(colour="red"))


def no_json(bundle: Bundle) -> None:
    (bundle.path / MANIFEST).write_text("{", "utf-8")


def edit(folder: Path, change: Callable[[dict[str, Any]], None]) -> None:
    path = folder / MANIFEST
    manifest = json.loads(path.read_text("utf-8"))
    change(manifest)
    path.write_text(json.dumps(manifest), "utf-8")


def rehash(bundle: Bundle) -> None:
    """Make the manifest agree with the files again, as an attacker would."""
    digests = tree(bundle.path)
    entries = {
        name: {"bytes": (bundle.path / name).stat().st_size, "sha256": digest}
        for name, digest in digests.items()
        if name != MANIFEST
    }
    edit(bundle.path, lambda m: m.update(files=entries))


def outside_runner(bundle: Bundle) -> None:
    edit(bundle.path / "golden" / "head", lambda m: m.update(runner="../../evil.sh"))
    rehash(bundle)


def unlisted_model(bundle: Bundle) -> None:
    edit(bundle.path / "tail", lambda m: m.update(model="manifest.json"))
    rehash(bundle)


def other_twin(bundle: Bundle) -> None:
    edit(bundle.path / "golden" / "head", lambda m: m.update(schedule="another"))
    rehash(bundle)


def no_results(bundle: Bundle) -> None:
    edit(bundle.path, lambda m: m["source"].update(outputs=[]))


def renamed_result(bundle: Bundle) -> None:
    edit(bundle.path, lambda m: m["source"]["outputs"][0].update(name="z"))


def older(bundle: Bundle) -> None:
    """What version 0.1 wrote: a cut, and the boards of head and tail."""
    edit(bundle.path, lambda m: m.update(schema=1, cut=m.pop("routes"), parts={"head": "rpi4"}))


def no_route(bundle: Bundle) -> None:
    edit(bundle.path, lambda m: m.update(default="another"))


def unknown_part(bundle: Bundle) -> None:
    edit(bundle.path, lambda m: m["routes"][0]["runs"].update(device=["body"]))


def outside_part(bundle: Bundle) -> None:
    edit(bundle.path, lambda m: m["parts"]["head"].update(folder="../head"))


def other_format(bundle: Bundle) -> None:
    edit(bundle.path, lambda m: m["parts"]["head"].update(format="onnx"))


def other_route(bundle: Bundle) -> None:
    edit(bundle.path / "head", lambda m: m["remote"][0].update(route=1))
    edit(bundle.path / "golden" / "head", lambda m: m["remote"][0].update(route=1))
    rehash(bundle)


def other_result(bundle: Bundle) -> None:
    edit(bundle.path / "head", lambda m: m["remote"][0]["results"][0].update(name="z"))
    rehash(bundle)


def other_fill(bundle: Bundle) -> None:
    edit(bundle.path / "head", lambda m: m["remote"][0].update(missing=[{"scale": "rate"}]))
    rehash(bundle)


def no_unit(bundle: Bundle) -> None:
    edit(bundle.path, lambda m: m["routes"][0].update(missing=[{"unit": 0}]))


def twice_missing(bundle: Bundle) -> None:
    edit(bundle.path, lambda m: m["routes"][0].update(missing=[{}, {}]))


def no_bytes_missing(bundle: Bundle) -> None:
    edit(bundle.path, lambda m: m["routes"][0].update(missing=[{"fill": "zz"}]))


def long_missing(bundle: Bundle) -> None:
    edit(bundle.path, lambda m: m["routes"][0].update(missing=[{"fill": "00" * 5000}]))


def no_split(bundle: Bundle) -> None:
    edit(bundle.path, lambda m: m.update(split="another"))


def no_split_of_a_part(bundle: Bundle) -> None:
    edit(bundle.path / "tail", lambda m: m.update(split=" " + m["split"][1:]))
    rehash(bundle)


def nothing_runs(bundle: Bundle) -> None:
    edit(bundle.path, lambda m: m["routes"][0].update(runs={}))


def nothing_runs_anywhere(bundle: Bundle) -> None:
    edit(bundle.path, lambda m: m["routes"][0]["runs"].update(device=[], server=[]))


def idle_server(bundle: Bundle) -> None:
    edit(bundle.path, lambda m: m["routes"][0]["runs"].update(server=[]))


def no_folder_at_all(bundle: Bundle) -> None:
    edit(bundle.path, lambda m: m["parts"]["head"].update(folder="he\0ad"))


def junk_golden(bundle: Bundle) -> None:
    (bundle.path / "golden" / "inputs" / "0.npy").write_bytes(b"junk")
    rehash(bundle)


def huge_golden(bundle: Bundle) -> None:
    path = bundle.path / "golden" / "outputs" / "0.npy"
    text = "{'descr': '<f4', 'fortran_order': False, 'shape': (1, 99999999999), }"
    header = text.ljust(117).encode() + b"\n"
    path.write_bytes(b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header)
    rehash(bundle)


def pipe_for_manifest(bundle: Bundle) -> None:
    (bundle.path / MANIFEST).unlink()
    os.mkfifo(bundle.path / MANIFEST)


def deep_manifest(bundle: Bundle) -> None:
    (bundle.path / MANIFEST).write_text('{"schema": ' + "[" * 100_000, "utf-8")


@pytest.mark.parametrize(
    ("damage", "why"),
    [
        (older, "bundle of another schema"),
        (no_route, "there is no one route 'another'"),
        (unknown_part, "a route runs 'body'"),
        (outside_part, "part 'head' is not in the bundle"),
        (no_folder_at_all, "part 'head' is not in the bundle"),
        (no_split, "its split is not 64 hexadecimal digits"),
        (no_split_of_a_part, "its split is not 64 hexadecimal digits"),
        (nothing_runs, "nothing runs on route 'cut'"),
        (nothing_runs_anywhere, "nothing runs on site 'device' of route 'cut'"),
        (idle_server, "nothing runs on site 'server' of route 'cut'"),
        (other_format, "disagree about its format"),
        (other_route, "the head and the bundle disagree about route 'cut'"),
        (other_result, "the head and the bundle disagree about route 'cut'"),
        (other_fill, "the head and the bundle disagree about route 'cut'"),
        (no_unit, "'cut' does not say what stands for what is missing"),
        (twice_missing, "'cut' does not say what stands for what is missing"),
        (no_bytes_missing, "'cut' does not say what stands for what is missing"),
        (long_missing, "'cut' does not say what stands for what is missing"),
        (outside_runner, "the part names '../../evil.sh'"),
        (unlisted_model, "the part names 'manifest.json'"),
        (other_twin, "disagree about their schedule"),
        (no_results, "no results"),
        (renamed_result, "disagree about 'z'"),
        (pipe_for_manifest, "no plain file"),
        (deep_manifest, "malformed"),
        (flip, "'head/model.so' was altered"),
        (remove, "'golden/outputs/0.npy' is missing"),
        (add, "'tail/extra.so' is not in the manifest"),
        (link, "plain files only"),
        (new_schema, "another schema"),
        (unknown_field, "malformed"),
        (no_json, "malformed"),
    ],
)
def test_a_damaged_bundle_is_refused_before_any_code_is_loaded(
    bundle: Bundle, damage: Callable[[Bundle], None], why: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    damage(bundle)

    def load(*_: Any, **__: Any) -> None:
        raise AssertionError("code was loaded")

    monkeypatch.setattr("splitc.bundle.runnable.run_part", load)
    with pytest.raises(BadBundleError, match=why) as caught:
        Bundle.open(bundle.path).verify()
    assert caught.value.exit_code == 3


@pytest.mark.parametrize("damage", [junk_golden, huge_golden])
def test_golden_vectors_that_do_not_fit_are_refused(
    bundle: Bundle, damage: Callable[[Bundle], None]
) -> None:
    damage(bundle)
    with pytest.raises(BadBundleError, match="does not fit its contract"):
        Bundle.open(bundle.path).verify()


def test_a_bundle_cannot_ask_for_a_looser_tolerance(bundle: Bundle) -> None:
    assert bundle.verify().tolerance == 1e-3
    edit(bundle.path, lambda m: m.update(tolerance=1e9))
    assert Bundle.open(bundle.path).verify().tolerance == LOOSEST_TOLERANCE == 1e-2


def test_a_wrong_crossing_tensor_fails_verification(bundle: Bundle) -> None:
    path = bundle.path / "golden" / "boundary" / "0.npy"
    np.save(path, np.load(path) + np.float32(99))
    rehash(bundle)
    found = Bundle.open(bundle.path).verify()
    assert not found.passed
    assert found.worst.name == "a1"


def test_a_packed_bundle_holds_nothing_from_outside(bundle: Bundle, tmp_path: Path) -> None:
    edit(bundle.path, lambda m: m["files"].update({"../../secret": m["files"]["report.html"]}))
    with pytest.raises(BadBundleError, match="is missing"):
        Bundle.open(bundle.path).pack(tmp_path / "out.zip")
    assert not (tmp_path / "out.zip").exists()


def test_a_folder_with_a_foreign_manifest_is_kept(small_onnx: Path, tmp_path: Path) -> None:
    (tmp_path / MANIFEST).write_text("{}", "utf-8")
    (tmp_path / "thesis.txt").write_text("precious", "utf-8")
    with pytest.raises(OutputError, match="cannot write"):
        splitc.compile(small_onnx, emit="onnx", output=tmp_path)
    assert (tmp_path / "thesis.txt").is_file()


def test_a_bundle_with_files_of_ones_own_is_kept(small_onnx: Path, tmp_path: Path) -> None:
    target = tmp_path / "out.splitc"
    splitc.compile(small_onnx, emit="onnx", output=target)
    (target / "notes.txt").write_text("mine", "utf-8")
    with pytest.raises(OutputError, match="cannot write"):
        splitc.compile(small_onnx, emit="onnx", output=target)
    assert (target / "notes.txt").is_file()


def test_a_graphs_name_never_leads_out_of_the_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    proto = small_network()
    proto.graph.name = "../escape"
    bundle = splitc.compile(splitc.load(proto), emit="onnx")
    assert bundle.path.resolve().parent == tmp_path / "here"


def test_other_samples_of_one_input_than_of_another_are_a_usage_error(two_headed: Bundle) -> None:
    feed = {"a": np.zeros((3, 2, 4), np.float32), "b": np.zeros((5, 2, 4), np.float32)}
    with pytest.raises(UsageError, match="different numbers of samples"):
        two_headed.run(feed)
    with pytest.raises(UsageError, match="no input 'c'"):
        two_headed.run({**{k: v[0] for k, v in feed.items()}, "c": feed["a"]})


def test_the_split_digest_tells_shapes_apart(tmp_path: Path) -> None:
    proto = small_network()
    for k in (2, 3):
        proto.graph.input[0].type.tensor_type.shape.dim[k].dim_param = f"d{k}"
    del proto.graph.value_info[:]
    digests = {
        splitc.compile(
            splitc.load(proto, inputs={"x": (1, 3, size, size)}),
            cut="stem", emit="onnx", output=tmp_path / f"{size}.splitc",
        ).manifest.split
        for size in (12, 24)
    }  # fmt: skip
    assert len(digests) == 2


def test_the_onnx_parts_are_named_head_and_tail(small_onnx: Path, tmp_path: Path) -> None:
    bundle = splitc.compile(small_onnx, cut="pool", emit="onnx", output=tmp_path / "o.splitc")
    assert (bundle.path / "head" / "head.onnx").is_file()
    assert (bundle.path / "tail" / "tail.onnx").is_file()
    assert bundle.verify().ran["head"].how == "onnxruntime on this machine"
    with pytest.raises(UsageError, match="no code to emulate"):
        bundle.verify(emulate=True)


def test_the_head_of_one_model_with_the_tail_of_another_is_refused(
    bundle: Bundle, tmp_path: Path
) -> None:
    other = save(small_network(seed=1), tmp_path / "small.onnx")
    stranger = splitc.compile(other, cut="block_add", head="host", output=tmp_path / "o.splitc")
    shutil.rmtree(bundle.path / "tail")
    shutil.copytree(stranger.path / "tail", bundle.path / "tail")
    listed = {**tree(bundle.path)}
    listed.pop(MANIFEST)
    entries = {
        name: {"bytes": (bundle.path / name).stat().st_size, "sha256": digest}
        for name, digest in listed.items()
    }
    edit(bundle.path, lambda m: m.update(files=entries))
    with pytest.raises(BadBundleError, match="the tail belongs to another split"):
        Bundle.open(bundle.path).verify()


def test_a_wrong_result_fails_verification_with_the_worst_figure(
    compiled: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    import splitc.bundle.runnable

    run_part = splitc.bundle.runnable.run_part

    def slightly_off(folder: Path, *args: Any, **kwargs: Any) -> Any:
        arrays, timing = run_part(folder, *args, **kwargs)
        return [a * np.float32(1.05) for a in arrays], timing

    monkeypatch.setattr("splitc.bundle.runnable.run_part", slightly_off)
    found = compiled.verify()
    assert not found.passed
    with pytest.raises(VerificationError, match="do not compute") as caught:
        require(found)
    assert f"{found.worst.relative:.2e}" in caught.value.why
    assert caught.value.exit_code == 7


@pytest.mark.parametrize(
    ("inputs", "why"),
    [
        ({}, "no value for input 'x'"),
        ({"x": np.zeros((1, 3, 12, 11), np.float32)}, "does not fit"),
        ({"x": np.zeros((1, 3, 12, 12), np.float64)}, "does not fit"),
    ],
)
def test_inputs_that_do_not_fit_are_usage_errors(
    compiled: Bundle, inputs: dict[str, Any], why: str
) -> None:
    with pytest.raises(UsageError, match=why):
        compiled.run(inputs)


def test_nothing_is_left_behind_when_a_step_fails(small_onnx: Path, tmp_path: Path) -> None:
    class Failing:
        def __call__(self, step: str) -> None:
            if step.startswith("compiling tail"):
                raise KeyboardInterrupt

    from splitc.build.compiler import build, plan

    job = plan(small_onnx, cut="stem_relu", head="host")
    with pytest.raises(KeyboardInterrupt):
        build(job, output=tmp_path / "out.splitc", progress=Failing())
    assert list(tmp_path.iterdir()) == []


def test_an_output_folder_that_is_no_bundle_is_kept(small_onnx: Path, tmp_path: Path) -> None:
    (tmp_path / "precious.txt").write_text("keep", "utf-8")
    with pytest.raises(OutputError, match="cannot write") as caught:
        splitc.compile(small_onnx, emit="onnx", output=tmp_path)
    assert "no bundle" in caught.value.why
    assert caught.value.exit_code == 2
    assert (tmp_path / "precious.txt").read_text("utf-8") == "keep"


def test_a_bundle_is_replaced_whole(small_onnx: Path, tmp_path: Path) -> None:
    target = tmp_path / "out.splitc"
    splitc.compile(small_onnx, cut="stem", emit="onnx", output=target)
    again = splitc.compile(small_onnx, cut="pool", emit="onnx", output=target)
    assert again.manifest.route.cut == ("pool",)
    again.check()
    assert [path.name for path in tmp_path.iterdir()] == ["out.splitc"]


def test_a_full_disk_leaves_nothing(
    small_onnx: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: Any, **__: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("splitc.build.compiler.add_page", full)
    with pytest.raises(OutputError, match="cannot write") as caught:
        splitc.compile(small_onnx, emit="onnx", output=tmp_path / "out.splitc")
    assert "No space left" in caught.value.why
    assert list(tmp_path.iterdir()) == []


def test_unsupported_operators_are_named_before_anything_is_compiled(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from onnx import helper

    def compiles(*_: Any, **__: Any) -> None:
        raise AssertionError("compilation started")

    monkeypatch.setattr("splitc_targets.backend.TvmBackend.compile", compiles)
    node = helper.make_node("Bernoulli", ["r"], ["y"], "bend")
    proto = model_of(
        [helper.make_node("Relu", ["x"], ["r"], "relu"), node],
        {"x": [1, 1, 4, 4]},
        ["y"],
        opset=19,
    )
    path = save(proto, tmp_path / "bend.onnx")
    with pytest.raises(UnsupportedOpError, match="Bernoulli") as caught:
        splitc.compile(path, cut="relu", head="host", output=tmp_path / "out.splitc")
    assert "'bend'" in caught.value.at
    assert caught.value.exit_code == 4
    assert sorted(p.name for p in tmp_path.iterdir()) == ["bend.onnx"]


def test_runtime_none_leaves_the_libraries_out(small_onnx: Path, tmp_path: Path) -> None:
    bundle = splitc.compile(
        small_onnx, cut="pool", head="rpi5", runtime="none", output=tmp_path / "o.splitc"
    )
    names = {path.name for path in (bundle.path / "head").iterdir()}
    assert names == {"model.so", "weights.bin", "manifest.json", "LICENSES"}
    with pytest.raises(BadBundleError, match="has no runtime"):
        bundle.verify()


@pytest.mark.parametrize(
    ("cut", "kind", "why"),
    [
        ("softmax", IllegalCutError, "cannot cut after 'softmax'"),
        ("stemm", UsageError, "no layer 'stemm'"),
    ],
)
def test_a_cut_that_is_none_is_refused(
    small_onnx: Path, tmp_path: Path, cut: str, kind: type[SplitcError], why: str
) -> None:
    with pytest.raises(kind, match=why):
        splitc.compile(small_onnx, cut=cut, output=tmp_path / "o.splitc")
    assert list(tmp_path.iterdir()) == []
