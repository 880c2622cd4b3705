# SPDX-License-Identifier: Apache-2.0
"""Trained networks and real images: the split network predicts what the whole one does."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

import splitc
from splitc.bundle.bundle import Bundle
from splitc.frontend.onnx.model import OnnxModel
from tests.helpers import save, shared, small_network

MODELS = {
    "cifar_base": "onnx/cifar10/cifar_base.onnx",
    "resnet": "onnx/cifar10/resnet_3b2_bn_mixup_adv_4.0_bs128_lr-1.onnx",
    "fastest_det": "onnx/detection/FastestDet.onnx",
    "ultra_face": "onnx/detection/version-RFB-320.onnx",
    "unet": "onnx/segmentation/unet_simp_small.onnx",
    "vit": "onnx/vit/pgd_2_3_16.onnx",
}
CIFAR = ("cifar_base", "resnet", "vit")
MEAN = np.array([0.485, 0.456, 0.406], np.float32)
IMAGES = 400


def load(name: str) -> OnnxModel:
    """A model with its batch dimension, where it is dynamic, fixed to 1."""
    path = shared(MODELS[name])
    graph = onnx.ModelProto.FromString(path.read_bytes()).graph
    stored = {t.name for t in graph.initializer}
    shapes = {
        v.name: [d.dim_value or 1 for d in v.type.tensor_type.shape.dim]
        for v in graph.input
        if v.name not in stored and any(not d.dim_value for d in v.type.tensor_type.shape.dim)
    }
    return splitc.load(path, inputs=shapes)


def images(count: int) -> np.ndarray[Any, np.dtype[np.float32]]:
    """CIFAR-10 test images spread over the classes, normalised, NCHW."""
    from PIL import Image

    archive = zipfile.ZipFile(shared("cifar10/cifar10_test_webp.zip"))
    names = sorted(name for name in archive.namelist() if name.endswith(".webp"))
    strips = [
        np.asarray(Image.open(io.BytesIO(archive.read(name))).convert("RGB")) for name in names
    ]
    every = np.concatenate([strip.reshape(-1, 32, 32, 3) for strip in strips])
    chosen = every[:: len(every) // count][:count].astype(np.float32) / 255
    scaled = ((chosen - MEAN) / 0.225).astype(np.float32)
    return np.ascontiguousarray(scaled.transpose(0, 3, 1, 2))


def middle_cut(model: OnnxModel) -> str:
    """The single-tensor cut nearest to the middle of the network."""
    from splitc.search.enumerate import single_cuts

    cuts = [cut for cut in single_cuts(model.graph) if cut.why_not() is None]
    return min(cuts, key=lambda cut: abs(cut.prefix - len(model.graph) / 2)).name


@pytest.mark.parametrize("name", MODELS)
def test_a_trained_network_compiled_for_the_pi_verifies(
    name: str, tmp_path: Path, qemu: None
) -> None:
    bundle = splitc.compile(load(name), head="rpi4", output=tmp_path / "b.splitc", name=name)
    assert bundle.verify().passed
    assert bundle.verify(emulate=True).passed


@pytest.mark.parametrize("name", MODELS)
def test_a_trained_network_compiled_for_this_machine_verifies(name: str, tmp_path: Path) -> None:
    model = load(name)
    bundle = splitc.compile(
        model, cut=middle_cut(model), head="host", output=tmp_path / "b.splitc", name=name
    )
    assert bundle.verify().passed


def predictions(
    bundle: Bundle, model: OnnxModel, batch: np.ndarray[Any, Any], *, emulate: bool
) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    """Class by image: of head and tail, and of the whole network under onnxruntime."""
    name = model.graph.inputs[0].name
    got = bundle.run(batch, emulate=emulate)[model.graph.outputs[0]]
    whole = np.stack([model.run({name: one})[model.graph.outputs[0]] for one in batch])
    count = len(batch)
    return got.reshape(count, -1).argmax(1), whole.reshape(count, -1).argmax(1)


@pytest.mark.parametrize("name", CIFAR)
@pytest.mark.parametrize("head", ["host", "rpi4"])
def test_image_by_image_the_split_network_predicts_what_the_whole_does(
    name: str, head: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    if head == "rpi4":
        request.getfixturevalue("qemu")
    model = load(name)
    bundle = splitc.compile(
        model, cut=middle_cut(model), head=head, output=tmp_path / "b.splitc", name=name
    )
    count = IMAGES if head == "host" else IMAGES // 20
    batch = images(count)[:, None]
    got, whole = predictions(bundle, model, batch, emulate=head == "rpi4")
    np.testing.assert_array_equal(got, whole)
    assert len(set(whole.tolist())) >= 4, "the images should not all be of one class"


def test_the_same_on_data_made_here(tmp_path: Path) -> None:
    path = save(small_network(seed=5), tmp_path / "small.onnx")
    model = splitc.load(path)
    bundle = splitc.compile(model, cut="block_add", head="host", output=tmp_path / "b.splitc")
    rng = np.random.default_rng(0)
    tints = 5 * rng.standard_normal((40, 1, 3, 1, 1))
    batch = (tints + rng.standard_normal((40, 1, 3, 12, 12))).astype(np.float32)
    got, whole = predictions(bundle, model, batch, emulate=False)
    np.testing.assert_array_equal(got, whole)
    assert len(set(whole.tolist())) >= 3
