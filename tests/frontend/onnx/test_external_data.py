# SPDX-License-Identifier: Apache-2.0
"""Weights in other files: read where they are beside the model, never from elsewhere."""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
from onnx import ModelProto, TensorProto, helper

import splitc
from splitc.errors import BadModelError
from tests.frontend.nets import model, value
from tests.frontend.splitting import single
from tests.helpers import save


def with_external_data(
    folder: Path, location: str = "w.bin", entries: Mapping[str, int] | None = None
) -> Path:
    """A model whose weight of 3x4 floats is in another file; the file is not written."""
    nodes = [
        helper.make_node("MatMul", ["x", "w"], ["m"], "matmul"),
        helper.make_node("Relu", ["m"], ["y"], "relu"),
    ]
    proto = model(nodes, [value("x", (2, 3))], [value("y", (2, 4))])
    tensor = TensorProto(name="w", dims=(3, 4), data_type=TensorProto.FLOAT)
    tensor.data_location = TensorProto.EXTERNAL
    for key, entry in {"location": location, **(entries or {})}.items():
        tensor.external_data.add(key=key, value=str(entry))
    proto.graph.initializer.append(tensor)
    folder.mkdir(parents=True, exist_ok=True)
    return save(proto, folder / "model.onnx")


WEIGHT = np.arange(12, dtype=np.float32).reshape(3, 4)


@pytest.mark.parametrize("location", ["w.bin", "sub/w.bin", "sub/../w.bin"])
@pytest.mark.parametrize("offset", [0, 4096])
def test_external_data_inside_the_folder_is_read(
    tmp_path: Path, location: str, offset: int
) -> None:
    path = with_external_data(tmp_path, location, {"offset": offset, "length": 48})
    (tmp_path / "sub").mkdir()
    (tmp_path / location).write_bytes(bytes(offset) + WEIGHT.tobytes() + b"more")
    loaded = splitc.load(path)
    x = np.ones((2, 3), np.float32)
    np.testing.assert_array_equal(loaded.run({"x": x})["y"], x @ WEIGHT)
    assert loaded.graph.layer("matmul").param_bytes == 48


def test_external_data_takes_part_in_the_digest(tmp_path: Path) -> None:
    path = with_external_data(tmp_path)
    (tmp_path / "w.bin").write_bytes(WEIGHT.tobytes())
    before = splitc.load(path, simplify=False).digest
    (tmp_path / "w.bin").write_bytes((WEIGHT + 1).tobytes())
    assert splitc.load(path, simplify=False).digest != before


def test_missing_external_data_is_named(tmp_path: Path) -> None:
    path = with_external_data(tmp_path)
    with pytest.raises(BadModelError, match=r"(?s)data is missing.*tensor 'w'.*no file 'w.bin'"):
        splitc.load(path, simplify=False)
    (tmp_path / "w.bin").mkdir()
    with pytest.raises(BadModelError, match="data is missing"):
        splitc.load(path, simplify=False)


@pytest.mark.parametrize(
    "entries",
    [{}, {"offset": 1}, {"length": 47}, {"length": 480}, {"offset": -8}, {"offset": 2**70}],
)
def test_external_data_that_does_not_fill_its_tensor_is_refused(
    tmp_path: Path, entries: dict[str, int]
) -> None:
    path = with_external_data(tmp_path, entries=entries)
    (tmp_path / "w.bin").write_bytes(WEIGHT.tobytes()[: 48 if entries else 47])
    with pytest.raises(BadModelError, match="does not fit its tensor"):
        splitc.load(path, simplify=False)


def test_an_offset_that_is_no_number_is_refused(tmp_path: Path) -> None:
    path = with_external_data(tmp_path)
    proto = ModelProto.FromString(path.read_bytes())
    proto.graph.initializer[0].external_data.add(key="offset", value="ten")
    save(proto, path)
    (tmp_path / "w.bin").write_bytes(WEIGHT.tobytes())
    with pytest.raises(BadModelError, match="bad external data entry"):
        splitc.load(path, simplify=False)


@pytest.mark.parametrize(
    ("location", "expected"),
    [
        ("../secret.bin", "external data path escapes"),
        ("sub/../../secret.bin", "external data path escapes"),
        ("link.bin", "external data path escapes"),
        ("linked/secret.bin", "external data path escapes"),
        ("/etc/hostname", "bad external data path"),
        ("", "bad external data path"),
        ("..\\secret.bin", "bad external data path"),
        ("w\0.bin", "bad external data path"),
        ("w" * 5000, "bad external data path"),
        ("circle", "bad external data path|data is missing"),
        (".", "data is missing"),
    ],
)
def test_no_path_is_followed_out_of_the_folder(
    tmp_path: Path, location: str, expected: str
) -> None:
    folder = tmp_path / "model"
    path = with_external_data(folder, location)
    (tmp_path / "secret.bin").write_bytes(WEIGHT.tobytes())
    (folder / "sub").mkdir()
    (folder / "link.bin").symlink_to(tmp_path / "secret.bin")
    (folder / "linked").symlink_to(tmp_path)
    (folder / "circle").symlink_to(folder / "circle")
    with pytest.raises(BadModelError, match=expected) as caught:
        splitc.load(path, simplify=False)
    assert caught.value.exit_code == 3
    assert "tensor 'w'" in caught.value.at


def test_a_link_that_stays_in_the_folder_is_followed(tmp_path: Path) -> None:
    path = with_external_data(tmp_path, "link.bin")
    (tmp_path / "w.bin").write_bytes(WEIGHT.tobytes())
    (tmp_path / "link.bin").symlink_to("w.bin")
    assert splitc.load(path, simplify=False).graph.layer("matmul").param_bytes == 48


def test_a_model_in_memory_must_hold_its_weights(tmp_path: Path) -> None:
    proto = ModelProto.FromString(with_external_data(tmp_path).read_bytes())
    with pytest.raises(BadModelError, match=r"data of tensor 'w' is not loaded\n.*onnx\.load"):
        splitc.load(proto, simplify=False)


@pytest.mark.slow
def test_a_model_over_2_gib_is_read(tmp_path: Path) -> None:
    rows, count = 22 * 2**10, 3
    size = 4 * rows * 2**13
    assert count * size > 2**31 - 2**24 > 2 * size
    memory = os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    if memory < 8 * 2**30 or shutil.disk_usage(tmp_path).free < 2**30:
        pytest.skip("less than 8 GiB of memory free")
    nodes = [helper.make_node("Relu", ["x"], ["r"], "relu")]
    proto = model([], [value("x", (1, 2**13))], [value("y", (1, 1))])
    for k in range(count):
        tensor = TensorProto(name=f"w{k}", dims=(2**13, rows), data_type=TensorProto.FLOAT)
        tensor.data_location = TensorProto.EXTERNAL
        tensor.external_data.add(key="location", value="w.bin")
        tensor.external_data.add(key="offset", value=str(k * size))
        proto.graph.initializer.append(tensor)
        nodes.append(helper.make_node("MatMul", ["r", f"w{k}"], [f"m{k}"], f"matmul{k}"))
    nodes.append(helper.make_node("Sum", [f"m{k}" for k in range(count)], ["s"], "sum"))
    nodes.append(helper.make_node("ReduceMean", ["s"], ["y"], "mean", axes=[1]))
    proto.graph.node.extend(nodes)
    with (tmp_path / "w.bin").open("wb") as file:
        file.truncate(count * size)  # sparse: zeros that take no room on the disk
    loaded = splitc.load(save(proto, tmp_path / "big.onnx"))
    assert loaded.note == "not simplified: over 2 GiB"
    assert sum(layer.param_bytes for layer in loaded.graph.layers) == count * size
    assert loaded.graph.layer("matmul2").flops == 2 * 2**13 * rows
    products = [f"matmul{k}" for k in range(count)]
    names = [layer.name for layer in loaded.graph.layers]
    assert names == ["x", "relu", *products, "sum", "mean"]
    assert [cut.name for cut in single(loaded.graph)] == ["relu", "sum"]
