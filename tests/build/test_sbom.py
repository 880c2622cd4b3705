# SPDX-License-Identifier: Apache-2.0
"""What a bundle says of what it is made of: its bill of materials, licences, one digest."""

from __future__ import annotations

import hashlib
import json
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator
from typer.testing import CliRunner

import splitc
from splitc.build.sbom import SBOM
from splitc.bundle.bundle import Bundle
from splitc.bundle.record import read_record
from splitc.cli.app import app
from splitc.errors import BadBundleError, UsageError


def bill(bundle: Bundle) -> dict[str, Any]:
    return json.loads((bundle.path / SBOM).read_text("utf-8"))


def test_the_bill_of_materials_is_what_the_standard_wants(compiled: Bundle) -> None:
    text = (compiled.path / SBOM).read_text("utf-8")
    assert JsonStrictValidator(SchemaVersion.V1_6).validate_str(text) is None


def test_it_names_the_model_the_parts_and_the_tools(compiled: Bundle, small_onnx: Path) -> None:
    found = bill(compiled)
    components = {one["bom-ref"]: one for one in found["components"]}
    assert {*components} == {"model", "part:head", "part:tail"}
    model = components["model"]
    assert model["type"] == "machine-learning-model"
    assert model["name"] == small_onnx.name
    digest = hashlib.sha256(small_onnx.read_bytes()).hexdigest()
    assert model["hashes"] == [{"alg": "SHA-256", "content": digest}]
    tools = {one["name"]: one["version"] for one in found["metadata"]["tools"]["components"]}
    assert tools == compiled.manifest.tools
    assert tools["zig"] == version("ziglang")
    assert tools["onnxruntime"] == version("onnxruntime")


def test_whose_software_is_in_a_part_is_in_the_bill_with_its_licence_beside_it(
    compiled: Bundle,
) -> None:
    for part in ("head", "tail"):
        (component,) = (one for one in bill(compiled)["components"] if one["name"] == part)
        pieces = {one["name"] for one in component["components"]}
        assert pieces == {"splitc", "apache-tvm-ffi", "libcxx", "zig", "glibc-start"}
        texts = {path.stem: path for path in (compiled.path / part / "LICENSES").iterdir()}
        assert texts.keys() == pieces
        assert "Apache License" in texts["splitc"].read_text("utf-8")
        assert "LLVM Exceptions" in texts["libcxx"].read_text("utf-8")


def test_a_bill_has_a_time_only_where_it_was_given_one(
    compiled: Bundle, small_onnx: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert "timestamp" not in bill(compiled)["metadata"]
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "86400")
    made = splitc.compile(
        small_onnx, cut="block_add", emit="onnx", output=tmp_path / "b", check=False
    )
    assert bill(made)["metadata"]["timestamp"] == "1970-01-02T00:00:00+00:00"
    assert bill(made)["serialNumber"] != bill(compiled)["serialNumber"]
    assert read_record(made.path).source_date_epoch == 86400
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "yesterday")
    with pytest.raises(UsageError, match="'yesterday' is no time"):
        splitc.compile(small_onnx, cut="block_add", emit="onnx", output=tmp_path / "c")


def test_parts_that_hold_nobodys_code_ship_no_licence(small_onnx: Path, tmp_path: Path) -> None:
    made = splitc.compile(small_onnx, cut="block_add", emit="onnx", output=tmp_path / "b")
    parts = [one for one in bill(made)["components"] if one["bom-ref"].startswith("part:")]
    assert all("components" not in one for one in parts)
    assert not list(made.path.rglob("LICENSES"))


def test_the_digest_of_a_bundle_is_that_of_its_manifest(compiled: Bundle) -> None:
    wanted = hashlib.sha256((compiled.path / "manifest.json").read_bytes()).hexdigest()
    assert compiled.digest == wanted
    shown = CliRunner().invoke(app, ["inspect", str(compiled.path), "--json"])
    assert json.loads(shown.stdout)["digest"] == wanted


def test_the_record_of_a_build_has_the_boards_as_they_were_found(compiled: Bundle) -> None:
    record = read_record(compiled.path)
    assert record.boards["device"].name == "rpi4"
    assert record.boards["server"].processor.cpu == compiled.part("tail").cpu


@pytest.mark.parametrize(
    ("data", "match"),
    [
        (b"[]", "malformed"),
        (b'{"schema": 2, "options": {}, "boards": {}}', "of another schema"),
        (b" " * (2**20 + 1), "too large"),
    ],
)
def test_a_record_that_is_none_is_refused(bundle: Bundle, data: bytes, match: str) -> None:
    (bundle.path / "build.json").unlink()
    (bundle.path / "build.json").write_bytes(data)
    with pytest.raises(BadBundleError, match=match):
        read_record(bundle.path)
