# SPDX-License-Identifier: Apache-2.0
"""A bundle as an OCI image: what the specifications say, and what skopeo makes of it."""

from __future__ import annotations

import dataclasses
import hashlib
import io
import json
import re
import shutil
import subprocess
import tarfile
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import msgspec
import pytest

import splitc
from splitc.bundle.bundle import Bundle
from splitc.bundle.image import write_image
from splitc.cli.app import run
from splitc.errors import BadBundleError

INDEX = "application/vnd.oci.image.index.v1+json"
MANIFEST = "application/vnd.oci.image.manifest.v1+json"
KINDS = "weight|weight.config|code|doc|dataset"
LAYER = re.compile(rf"application/vnd\.cncf\.model\.({KINDS})\.v1\.tar")


@pytest.fixture(scope="module")
def archive(compiled: Bundle, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The small network's image. Read only."""
    target = tmp_path_factory.mktemp("image") / "small.oci.tar"
    assert run(["pack", str(compiled.path), "--format", "oci", "-o", str(target), "-q"]) == 0
    return target


@pytest.fixture
def layout(archive: Path, tmp_path: Path) -> Path:
    """Its layout as a folder."""
    with tarfile.open(archive) as tar:
        tar.extractall(tmp_path / "layout", filter="data")
    return tmp_path / "layout"


@pytest.fixture
def skopeo() -> str:
    """Debian's tool for images."""
    found = shutil.which("skopeo")
    if found is None:
        pytest.skip("skopeo is not installed")
    return found


def read(layout: Path, one: dict[str, Any]) -> bytes:
    """A blob that a descriptor refers to; its size and digest are right."""
    kind, _, digest = one["digest"].partition(":")
    assert kind == "sha256"
    data = (layout / "blobs" / "sha256" / digest).read_bytes()
    assert (len(data), hashlib.sha256(data).hexdigest()) == (one["size"], digest)
    return data


def images(layout: Path) -> Iterator[tuple[dict[str, Any], dict[str, Any]]]:
    """The platforms' descriptors with their manifests."""
    (top,) = json.loads((layout / "index.json").read_text("utf-8"))["manifests"]
    assert top["mediaType"] == INDEX
    for one in json.loads(read(layout, top))["manifests"]:
        yield one, json.loads(read(layout, one))


def files(layout: Path, image: dict[str, Any]) -> dict[str, bytes]:
    """What an image unpacks to."""
    found: dict[str, bytes] = {}
    for layer in image["layers"]:
        with tarfile.open(fileobj=io.BytesIO(read(layout, layer)), mode="r:") as tar:
            members = tar.getmembers()
            assert [one.name for one in members] == sorted(one.name for one in members)
            for one in members:
                assert one.isreg()
                assert (one.uid, one.gid, one.uname, one.gname) == (0, 0, "", "")
                assert one.mode == (0o755 if one.name.endswith("splitc-run") else 0o644)
                inside = tar.extractfile(one)
                assert inside is not None
                assert one.name not in found
                found[one.name] = inside.read()
    return found


def test_the_layout_is_what_the_image_specification_wants(layout: Path) -> None:
    version = json.loads((layout / "oci-layout").read_text("utf-8"))
    assert version == {"imageLayoutVersion": "1.0.0"}
    top = json.loads((layout / "index.json").read_text("utf-8"))
    assert (top["schemaVersion"], top["mediaType"]) == (2, INDEX)
    blobs = {path.name for path in (layout / "blobs" / "sha256").iterdir()}
    reached = {top["manifests"][0]["digest"]}
    for one, image in images(layout):
        assert one["mediaType"] == image["mediaType"] == MANIFEST
        assert image["schemaVersion"] == 2
        noted = {**one["annotations"], **image["annotations"]}
        assert all(isinstance(value, str) for value in noted.values())
        reached |= {one["digest"], image["config"]["digest"]}
        reached |= {layer["digest"] for layer in image["layers"]}
    assert {digest.removeprefix("sha256:") for digest in reached} == blobs


def test_each_platform_is_a_model_as_modelpack_has_it(layout: Path) -> None:
    for _, image in images(layout):
        assert image["artifactType"] == "application/vnd.cncf.model.manifest.v1+json"
        assert image["config"]["mediaType"] == "application/vnd.cncf.model.config.v1+json"
        config = json.loads(read(layout, image["config"]))
        assert config.keys() == {"descriptor", "config", "modelfs"}
        assert config["descriptor"].keys() <= {"name", "version", "title", "createdAt"}
        assert config["config"].keys() <= {"format", "architecture"}
        layers = image["layers"]
        assert all(LAYER.fullmatch(layer["mediaType"]) for layer in layers)
        assert all(layer["annotations"]["org.cncf.model.filepath"] for layer in layers)
        # Uncompressed: what a layer unpacks to is the layer.
        unpacked = [layer["digest"] for layer in layers]
        assert config["modelfs"] == {"type": "layers", "diff_ids": unpacked}


def test_the_device_s_image_is_the_head_alone_and_the_server_s_the_bundle(
    compiled: Bundle, layout: Path, tmp_path: Path
) -> None:
    found = {one["platform"]["architecture"]: files(layout, image) for one, image in images(layout)}
    assert [one["annotations"]["org.splitc.site"] for one, _ in images(layout)] == [
        "device", "server",
    ]  # fmt: skip
    assert found["arm64"] == {
        f"head/{path.relative_to(compiled.path / 'head').as_posix()}": path.read_bytes()
        for path in (compiled.path / "head").rglob("*")
        if path.is_file()
    }
    for name, data in found["amd64"].items():
        (tmp_path / "b" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "b" / name).write_bytes(data)
    whole = Bundle.open(tmp_path / "b")
    whole.check()
    digest = next(images(layout))[0]["annotations"]["org.splitc.bundle.digest"]
    assert digest == f"sha256:{whole.digest}"


def test_the_same_bundle_is_the_same_image(
    compiled: Bundle, archive: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(compiled.path, tmp_path / "elsewhere")
    again = tmp_path / "again.tar"
    compiled.pack(again, image=True)
    assert again.read_bytes() == archive.read_bytes()
    asked = ["pack", str(tmp_path / "elsewhere"), "--format", "oci", "-q", "-o"]
    assert run([*asked, str(again)]) == 0
    assert again.read_bytes() == archive.read_bytes()
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1700000000")
    assert run([*asked, str(again)]) == 0
    with tarfile.open(again) as tar:
        assert {one.mtime for one in tar.getmembers()} == {1700000000}
        tar.extractall(tmp_path / "later", filter="data")
    for one, image in images(tmp_path / "later"):
        created = one["annotations"]["org.opencontainers.image.created"]
        assert datetime.fromisoformat(created).timestamp() == 1700000000
        config = json.loads(read(tmp_path / "later", image["config"]))
        assert config["descriptor"]["createdAt"] == created


def test_skopeo_takes_the_platform_that_it_is_asked_for(
    archive: Path, skopeo: str, tmp_path: Path
) -> None:
    for architecture, sites in (("arm64", "device"), ("amd64", "server")):
        copy = tmp_path / architecture
        command = [
            skopeo, "--insecure-policy", "--override-os", "linux", "--override-arch", architecture,
            "copy", f"oci-archive:{archive}", f"oci:{copy}:x",
        ]  # fmt: skip
        subprocess.run(command, check=True, capture_output=True)
        (top,) = json.loads((copy / "index.json").read_text("utf-8"))["manifests"]
        image = json.loads(read(copy, top))
        assert image["annotations"]["org.splitc.site"] == sites
        names = {name.partition("/")[0] for name in files(copy, image)}
        assert ("tail" in names) == (architecture == "amd64")
        assert "head" in names


def test_skopeo_takes_all_of_it(archive: Path, layout: Path, skopeo: str, tmp_path: Path) -> None:
    copy = tmp_path / "all"
    command = [skopeo, "--insecure-policy", "copy", "--all", f"oci-archive:{archive}"]
    command.append(f"oci:{copy}:x")
    subprocess.run(command, check=True, capture_output=True)
    blobs = ({p.name for p in (one / "blobs" / "sha256").iterdir()} for one in (layout, copy))
    assert len({frozenset(names) for names in blobs}) == 1


def test_several_routes_share_their_layers(routed: Bundle, tmp_path: Path) -> None:
    target = tmp_path / "routed.tar"
    assert run(["pack", str(routed.path), "--format", "oci", "-o", str(target), "-q"]) == 0
    with tarfile.open(target) as tar:
        tar.extractall(tmp_path / "layout", filter="data")
    (_, device), (_, server) = images(tmp_path / "layout")
    heads = {name.partition("/")[0] for name in files(tmp_path / "layout", device)}
    assert heads == {n for n, one in routed.manifest.parts.items() if one.site == "device"}
    shared = {layer["digest"] for layer in device["layers"]}
    assert shared <= {layer["digest"] for layer in server["layers"]}


def test_parts_of_a_machine_without_a_name_there_are_refused(
    compiled: Bundle, tmp_path: Path
) -> None:
    contents = compiled.contents()
    parts = {**contents.parts}
    parts["head"] = msgspec.structs.replace(parts["head"], isa="riscv64")
    with pytest.raises(BadBundleError, match="no one platform"):
        write_image(dataclasses.replace(contents, parts=parts), tmp_path / "x.tar")
    assert not [*tmp_path.iterdir()]


def test_an_unknown_form_is_refused(compiled: Bundle, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["pack", str(compiled.path), "--format", "rar"]) == 2
    assert "one of: zip, oci" in capsys.readouterr().err


def test_what_runs_on_one_side_alone_is_one_image(small_onnx: Path, tmp_path: Path) -> None:
    made = splitc.compile(small_onnx, cut="device", emit="onnx", output=tmp_path / "whole")
    made.pack(tmp_path / "whole.tar", image=True)
    with tarfile.open(tmp_path / "whole.tar") as tar:
        tar.extractall(tmp_path / "layout", filter="data")
    ((one, image),) = images(tmp_path / "layout")
    assert one["platform"] == {"os": "linux", "architecture": "arm64"}
    assert {*files(tmp_path / "layout", image)} == {*made.manifest.files, "manifest.json"}
