# SPDX-License-Identifier: Apache-2.0
"""Files that people try which are no network for splitc: each told what it is and what to do."""

from __future__ import annotations

import shutil
import zipfile
from pathlib import Path
from typing import Any

import pytest

import splitc
from splitc.errors import BadModelError, UsageError

torch: Any = pytest.importorskip("torch")


@pytest.fixture(scope="module")
def module() -> Any:
    return torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.ReLU()).eval()


@pytest.mark.parametrize("name", ["net.pth", "net.pt", "net.bin", "net.pt2"])
@pytest.mark.parametrize("zipped", [True, False])
@pytest.mark.parametrize("whole", [True, False])
def test_a_file_of_torch_save_is_told_and_not_opened(
    module: Any, tmp_path: Path, name: str, zipped: bool, whole: bool
) -> None:
    what = module if whole else module.state_dict()
    torch.save(what, tmp_path / name, _use_new_zipfile_serialization=zipped)
    with pytest.raises(BadModelError, match=f"{name} is a file of torch.save") as caught:
        splitc.load(tmp_path / name)
    assert "runs what is in it" in caught.value.why
    assert "torch.export.save" in caught.value.hint


@pytest.mark.filterwarnings("ignore:.*deprecated:DeprecationWarning")
@pytest.mark.parametrize("name", ["net.pt", "net.pth", "net.pt2"])
def test_torchscript_is_told(module: Any, tmp_path: Path, name: str) -> None:
    torch.jit.save(torch.jit.trace(module, torch.zeros(1, 3, 8, 8)), str(tmp_path / name))
    with pytest.raises(BadModelError, match=f"{name} is TorchScript") as caught:
        splitc.load(tmp_path / name)
    assert "torch.export.export" in caught.value.hint


def test_an_exported_program_is_read_by_any_name(module: Any, tmp_path: Path) -> None:
    program = torch.export.export(module, (torch.zeros(1, 3, 8, 8),))
    torch.export.save(program, tmp_path / "net.pt2")
    shutil.copy(tmp_path / "net.pt2", tmp_path / "net.pt")
    assert splitc.load(tmp_path / "net.pt").graph == splitc.load(tmp_path / "net.pt2").graph


def test_a_bundle_a_part_and_a_packed_bundle_are_no_network(tmp_path: Path) -> None:
    for folder in (bundle := tmp_path / "net.splitc", bundle / "head"):
        folder.mkdir()
        (folder / "manifest.json").write_text("{}")
    with pytest.raises(UsageError, match=r"net\.splitc' is a bundle") as caught:
        splitc.load(bundle)
    assert "splitc inspect" in caught.value.hint
    with pytest.raises(UsageError, match="'head' is a part of a bundle"):
        splitc.load(bundle / "head")
    with zipfile.ZipFile(tmp_path / "net.zip", "w") as archive:
        archive.writestr("net.splitc/manifest.json", "{}")
        archive.writestr("net.splitc/head/manifest.json", "{}")
    with pytest.raises(UsageError, match=r"net\.zip' is a packed bundle"):
        splitc.load(tmp_path / "net.zip")


def test_a_folder_names_the_networks_in_it(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="there is no file") as caught:
        splitc.load(tmp_path)
    assert (caught.value.why, "splitc finetune" in caught.value.hint) == ("it is a folder", True)
    (tmp_path / "net.onnx").touch()
    with pytest.raises(UsageError, match="there is no file") as caught:
        splitc.load(tmp_path)
    assert caught.value.hint == f"give the file in it: {tmp_path / 'net.onnx'}"


@pytest.mark.parametrize(
    ("name", "data", "what"),
    [
        ("net.tflite", b"\x1c\0\0\0TFL3" + bytes(64), "TensorFlow Lite"),
        ("net.h5", b"\x89HDF\r\n\x1a\n", "Keras"),
        ("net.keras", b"PK\x03\x04", "Keras"),
        ("net.zip", b"PK\x03\x04", "zip file"),
        ("net.safetensors", b"\x40\0\0\0\0\0\0\0{}", "weights alone"),
        ("net.gguf", b"GGUF\x03\0\0\0", "GGUF"),
    ],
)
def test_other_formats_are_told_by_what_is_in_them(
    tmp_path: Path, name: str, data: bytes, what: str
) -> None:
    (tmp_path / name).write_bytes(data)
    with pytest.raises(BadModelError, match=rf"{name} is .*{what}.*, which splitc does not read"):
        splitc.load(tmp_path / name)
