# SPDX-License-Identifier: Apache-2.0
"""A bundle's proof, checked again by `verify`: tampering is found and named, an old bundle is not
refused."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, cast

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import splitc
from splitc.bundle import proof_file
from splitc.bundle.bundle import Bundle
from splitc.bundle.proof_file import PROOF
from splitc.cli.app import run
from splitc.errors import BadBundleError
from splitc.runtime.files import list_files
from splitc.runtime.manifest import MANIFEST, SIGNATURE, read_manifest, write_manifest
from splitc.runtime.manifest import Manifest as Written

STRANGE: tuple[object, ...] = (
    0, -1, 1.5, 2**63, 1e300, "", "tail", "%x = input() : 9x9", None, True, (), {"a": 1}, ((0, 1),),
)  # fmt: skip
Change = Callable[[dict[str, Any], dict[str, Any]], None]


@pytest.fixture(scope="module")
def proved(small_onnx: Path, tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """The small network where the best cut is, for onnxruntime. Read only."""
    output = tmp_path_factory.mktemp("proved") / "small.splitc"
    link = splitc.Link("100Mbit")
    return splitc.compile(
        small_onnx, head="rpi4", tail="x86-64-v3", link=link, emit="onnx", output=output
    )


def altered(bundle: Bundle, folder: Path, change: Change) -> Bundle:
    """A copy whose proof and manifest were changed, and its hashes with them."""
    copy = folder / "altered.splitc"
    shutil.copytree(bundle.path, copy)
    manifest = json.loads((copy / MANIFEST).read_text("utf-8"))
    file = json.loads((copy / PROOF).read_text("utf-8"))
    change(file, manifest["routes"][0])
    (copy / PROOF).write_text(json.dumps(file), "utf-8")
    return rehashed(copy, manifest)


def rehashed(copy: Path, manifest: dict[str, Any]) -> Bundle:
    (copy / MANIFEST).write_text(json.dumps(manifest), "utf-8")
    files = list_files(copy, but=(MANIFEST, SIGNATURE))
    written = msgspec.structs.replace(read_manifest(copy, Written), files=files)
    write_manifest(copy, written)
    return Bundle.open(copy)


def test_verify_shows_anew_that_no_cut_costs_less(
    proved: Bundle, capsys: pytest.CaptureFixture[str]
) -> None:
    (found,) = proved.verify().proofs
    assert found.again
    assert run(["verify", str(proved.path), "--no-run"]) == 0
    printed = capsys.readouterr().out
    assert "proof holds, at recorded prices: no cut costs less, by " in printed
    assert run(["verify", str(proved.path), "--no-run", "--json"]) == 0
    (told,) = json.loads(capsys.readouterr().out)["proofs"]
    assert told == {"route": "cut", "again": True, "words": found.words}


def one_flow(file: dict[str, Any], route: dict[str, Any]) -> None:
    file["evidence"]["flows"][0]["arcs"][3] += 1


def a_dearer_layer(file: dict[str, Any], route: dict[str, Any]) -> None:
    file["evidence"]["device"]["seconds"][1] += 1e-6


def another_cut(file: dict[str, Any], route: dict[str, Any]) -> None:
    route["cut"] = ["stem_relu"]


def another_network(file: dict[str, Any], route: dict[str, Any]) -> None:
    file["evidence"]["graph"] = [line.replace("%x", "%other") for line in file["evidence"]["graph"]]


def a_lower_value(file: dict[str, Any], route: dict[str, Any]) -> None:
    route["proof"]["value"] -= 1
    route["proof"]["lower_bound"] -= 1


def other_milliseconds(file: dict[str, Any], route: dict[str, Any]) -> None:
    route["predicted"]["site_ms"]["device"] *= 2


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (one_flow, "flow"),
        (a_dearer_layer, "the proof says"),
        (another_cut, "the proof says"),
        (another_network, "they disagree about the inputs"),
        (a_lower_value, "the proof says"),
        (other_milliseconds, "the head takes"),
    ],
)
def test_a_tampered_proof_is_exit_3_and_says_what_is_wrong(
    proved: Bundle,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    change: Change,
    why: str,
) -> None:
    bundle = altered(proved, tmp_path, change)
    with pytest.raises(BadBundleError, match="the proof of the cut does not hold") as caught:
        bundle.verify()
    assert why in caught.value.why
    assert run(["verify", str(bundle.path), "--no-run"]) == 3
    assert why in " ".join(capsys.readouterr().err.split())


def test_a_proof_that_is_none_or_too_large_is_refused(
    proved: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def nonsense(file: dict[str, Any], route: dict[str, Any]) -> None:
        file["evidence"]["flows"] = "none"

    with pytest.raises(BadBundleError, match="the proof is malformed"):
        altered(proved, tmp_path, nonsense).check_proofs()
    monkeypatch.setattr(proof_file, "MAX_PROOF_BYTES", 1000)
    with pytest.raises(BadBundleError, match="proof is too large"):
        proved.check_proofs()


def leaves(value: object, path: tuple[str | int, ...] = ()) -> Iterator[tuple[str | int, ...]]:
    """Where in JSON something stands."""
    items: list[tuple[str | int, object]] = []
    if isinstance(value, dict):
        items = [*cast("dict[str, object]", value).items()]
    elif isinstance(value, list):
        items = [*enumerate(cast("list[object]", value))]
    for key, each in items:
        yield (*path, key)
        yield from leaves(each, (*path, key))


@settings(deadline=None, max_examples=150)
@given(data=st.data())
def test_whatever_stands_in_it_is_held_or_refused_by_name(
    proved: Bundle, data: st.DataObject
) -> None:
    file = json.loads((proved.path / PROOF).read_text("utf-8"))
    *path, last = data.draw(st.sampled_from([*leaves(file)]))
    value = data.draw(st.sampled_from(STRANGE))
    inner: Any = file
    for key in path:
        inner = inner[key]
    inner[last] = value
    with TemporaryDirectory() as folder:
        (Path(folder) / PROOF).write_text(json.dumps(file), "utf-8")
        with suppress(BadBundleError):
            proof_file.check_proofs(Path(folder), proved.manifest)


def test_a_bundle_without_it_verifies_and_a_line_says_so(
    proved: Bundle, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    copy = tmp_path / "old.splitc"
    shutil.copytree(proved.path, copy)
    (copy / PROOF).unlink()
    old = rehashed(copy, json.loads((copy / MANIFEST).read_text("utf-8")))
    assert not old.verify().proofs[0].again
    assert run(["verify", str(copy), "--no-run"]) == 0
    assert "the bundle has nothing to check it by" in " ".join(capsys.readouterr().out.split())


def test_what_is_too_large_for_a_bundle_is_left_out_and_verify_says_why(
    proved: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = proof_file.read_proof(proved.path)
    assert file is not None
    assert file.evidence is not None
    copy = tmp_path / "large.splitc"
    shutil.copytree(proved.path, copy)
    with monkeypatch.context() as small:
        small.setattr(proof_file, "MAX_PROOF_BYTES", 1000)
        proof_file.write_proof(copy, "cut", file.evidence)
        large = rehashed(copy, json.loads((copy / MANIFEST).read_text("utf-8")))
        (found,) = large.check_proofs()
    assert not found.again
    assert found.words.startswith("left out: prices and flows of 11 layers take")


def test_the_checker_imports_neither_cutters_nor_networkx(proved: Bundle) -> None:
    import subprocess
    import sys

    code = (
        "import sys; from splitc.bundle.bundle import Bundle; "
        f"assert Bundle.open({str(proved.path)!r}).check_proofs()[0].again; "
        "print([name for name in sys.modules if name == 'networkx' "
        "or name.startswith('splitc_passes.cutters')])"
    )
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert told.stdout.strip() == "[]"
