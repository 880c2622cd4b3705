# SPDX-License-Identifier: Apache-2.0
# pyright: reportUnknownMemberType=false
"""Frames as cameras give them, made in front of a network what it reads; torch is the oracle."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

import splitc
from splitc.arrays import Array
from splitc.bundle.bundle import Bundle
from splitc.errors import UnsupportedOpError, UsageError
from splitc.frontend.preprocess import Preprocess
from splitc.ir.model import Network
from tests.helpers import save

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
IMAGENET = "uint8 nhwc scale=1/255 mean=0.485,0.456,0.406 std=0.229,0.224,0.225"


class Small(nn.Module):
    """A convolution, and a mean of what it makes."""

    def __init__(self, channels_last: bool = False) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.conv = nn.Conv2d(3, 5, 3, stride=2)
        self.channels_last = channels_last

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """[N, 3, H, W] or [N, H, W, 3] to [N, 5]."""
        if self.channels_last:
            x = x.permute(0, 3, 1, 2)
        return self.conv(x).relu().mean((2, 3))


SHAPE = (1, 3, 16, 20)


@pytest.fixture(scope="module", params=["onnx", "torch", "onnx-nhwc"])
def network(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A module, and what `splitc.load` takes of the same network."""
    last = request.param == "onnx-nhwc"
    module = Small(last).eval()
    example = torch.zeros(1, 16, 20, 3) if last else torch.zeros(SHAPE)
    if request.param == "torch":
        return module, (module, example), last
    path = tmp_path_factory.mktemp("frames") / "net.onnx"
    torch.onnx.export(module, (example,), path, input_names=["x"], opset_version=18, dynamo=True)
    return module, (path,), last


def frame(*shape: int, seed: int = 0) -> Array:
    return np.random.default_rng(seed).integers(0, 256, shape, np.uint8)


def expected(how: Preprocess, given: Array, last: bool) -> torch.Tensor:
    """What the network is to read of a frame, by torch."""
    x = torch.from_numpy(given)
    nhwc = (how.layout or ("nhwc" if last else "nchw")) == "nhwc"
    x = (x.permute(0, 3, 1, 2) if nhwc else x).float()
    if how.size is not None and how.size != SHAPE[2:]:
        x = nn.functional.interpolate(x, SHAPE[2:], mode="bilinear", align_corners=False)
    if how.bgr:
        x = x.flip(1)
    mean, std = (torch.tensor(v).reshape(1, -1, 1, 1) for v in (how.mean, how.std))
    x = (x * how.scale - mean) / std
    return x.permute(0, 2, 3, 1) if last else x


hows = st.builds(
    Preprocess,
    layout=st.sampled_from(["", "nhwc", "nchw"]),
    scale=st.sampled_from([1.0, 1 / 255, 2.0]),
    mean=st.sampled_from([(0.0,), MEAN, (127.5,)]),
    std=st.sampled_from([(1.0,), STD, (58.0,)]),
    size=st.sampled_from([None, (16, 20), (33, 47), (9, 30)]),
    bgr=st.booleans(),
)


@settings(max_examples=25, deadline=None)
@given(how=hows)
def test_a_frame_is_read_as_torch_would_make_it(network: Any, how: Preprocess) -> None:
    module, source, last = network
    load: Any = splitc.load
    model: Network = load(*source, preprocess=how, simplify=False)
    tensor = model.graph.inputs[0]
    height, width = how.size or SHAPE[2:]
    nhwc = (how.layout or ("nhwc" if last else "nchw")) == "nhwc"
    assert tensor.dtype == "uint8"
    assert tensor.shape == ((1, height, width, 3) if nhwc else (1, 3, height, width))
    given = frame(*tensor.static_shape)
    (got,) = model.run({tensor.name: given}).values()
    with torch.no_grad():
        want = module(expected(how, given, last)).numpy()
    np.testing.assert_allclose(got, want, rtol=2e-4, atol=2e-4 * float(np.abs(want).max()))


def test_words_are_read() -> None:
    got = Preprocess.parse(f"x.1: {IMAGENET} size=480x640 bgr")
    assert got == Preprocess("uint8", "nhwc", 1 / 255, MEAN, STD, (480, 640), bgr=True, name="x.1")


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ("uint8 nhwx", r"does not know 'nhwx'(?s:.)*did you mean 'nhwc'"),
        ("uint8 means=1", r"does not know 'means=1'(?s:.)*did you mean 'mean='"),
        ("uint9", r"does not know 'uint9'(?s:.)*'uint8'"),
        ("uint8 float32", "says its dtype twice"),
        ("scale=1/0", "'scale=1/0' is no scale"),
        ("scale=nan", "'scale=nan' is no scale"),
        ("std=0", "'std=0' is no std"),
        ("size=0x4", "'size=0x4' is no size"),
        ("size=99999x4", "'size=99999x4' is no size"),
        ("mean=1,2", "2 numbers of mean"),
        ("y: uint8", "there is no input 'y'"),
        ("", "says nothing"),
    ],
)
def test_words_that_do_not_fit_are_named(words: str, says: str) -> None:
    with pytest.raises(UsageError, match=says):
        splitc.load(Small().eval(), torch.zeros(SHAPE), preprocess=words)


def test_what_is_no_image_is_refused() -> None:
    with pytest.raises(UsageError, match="no input is one of images"):
        splitc.load(nn.Linear(3, 4).eval(), torch.zeros(1, 3), preprocess="uint8")


def test_of_several_images_each_is_named() -> None:
    class Two(nn.Module):
        def forward(self, left: torch.Tensor, right: torch.Tensor) -> torch.Tensor:
            return left.mean((2, 3)) + right.mean((2, 3))

    given = (torch.zeros(SHAPE), torch.zeros(SHAPE))
    with pytest.raises(UsageError, match=r"several inputs may be images: left, right"):
        splitc.load(Two().eval(), given, preprocess="uint8")
    both = ["left: uint8 scale=1/255", "right: uint8 nhwc"]
    model = splitc.load(Two().eval(), given, preprocess=both)
    assert [t.shape for t in model.graph.inputs] == [SHAPE, (1, 16, 20, 3)]
    left, right = frame(*SHAPE), frame(1, 16, 20, 3, seed=1)
    (got,) = model.run({"left": left, "right": right}).values()
    want = left.mean((2, 3)) / 255 + right.mean((1, 2))
    np.testing.assert_allclose(got, want, rtol=1e-4)


def test_an_opset_without_a_resize_of_this_form_is_named(tmp_path: Path) -> None:
    helper = onnx.helper
    x, y = (helper.make_tensor_value_info(n, 1, [1, 3, 8, 8]) for n in "xy")
    graph = helper.make_graph([helper.make_node("Relu", ["x"], ["y"])], "old", [x], [y])
    opset = helper.make_opsetid("", 9)
    save(helper.make_model(graph, opset_imports=[opset], ir_version=8), tmp_path / "old.onnx")
    with pytest.raises(UnsupportedOpError, match=r"opset 9 has no Resize"):
        splitc.load(tmp_path / "old.onnx", preprocess="uint8 nhwc size=16x16")
    assert splitc.load(tmp_path / "old.onnx", preprocess="uint8 nhwc").graph.inputs[0].nbytes == 192


@pytest.fixture(scope="module")
def framed(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """The small network reading frames of bytes, compiled for here."""
    model = splitc.load(Small().eval(), torch.zeros(SHAPE), preprocess=f"{IMAGENET} size=24x32")
    output = tmp_path_factory.mktemp("framed") / "framed.splitc"
    return splitc.compile(model, cut="relu", head="host", output=output)


def test_compiled_with_the_network_it_gives_what_torch_gives(framed: Bundle) -> None:
    spec = framed.manifest.source.inputs[0]
    assert (spec.dtype, spec.shape, spec.bytes) == ("uint8", (1, 24, 32, 3), 24 * 32 * 3)
    given = frame(1, 24, 32, 3)
    (got,) = framed.run(given).values()
    how = Preprocess.parse(f"{IMAGENET} size=24x32")
    with torch.no_grad():
        want = Small()(expected(how, given, last=False)).numpy()
    np.testing.assert_allclose(got, want, rtol=1e-4, atol=1e-5)


def test_all_on_the_server_sends_bytes_and_not_floats() -> None:
    plain = splitc.load(Small().eval(), torch.zeros(SHAPE))
    bytes_ = splitc.load(Small().eval(), torch.zeros(SHAPE), preprocess=IMAGENET)
    sent = [splitc.find_cuts(m).server.cost.boundary_bytes for m in (plain, bytes_)]
    assert sent == [4 * 3 * 16 * 20, 3 * 16 * 20]
