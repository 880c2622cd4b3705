# SPDX-License-Identifier: Apache-2.0
# pyright: reportUnknownMemberType=false, reportUnknownArgumentType=false
# pyright: reportUnknownVariableType=false
"""The pass `jpeg-boundary`: text, the very bytes of Pillow's files, training, refusals."""

from __future__ import annotations

import io
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="needs torch")
pytest.importorskip("PIL", reason="JPEG needs Pillow")

from PIL import Image  # noqa: E402

import splitc  # noqa: E402
from splitc.errors import (  # noqa: E402
    BadModelError,
    PassError,
    SplitcError,
    ToolchainError,
    UnsupportedOpError,
    UsageError,
)
from splitc_passes.codecs.jpeg_boundary import JpegBoundary  # noqa: E402
from splitc_passes.layers.coded import sizes  # noqa: E402
from splitc_passes.layers.jpeg import Jpeg  # noqa: E402
from tests.helpers import assert_rewrites, small_network  # noqa: E402
from tests.passes.codecs.coded import POINT, crossing, examples, maps, vectors  # noqa: E402


def test_readers_read_what_is_decoded_and_the_file_crosses() -> None:
    before = """
    %x = input() : 1x3x8x8
    %t = relu(%x) : 1x3x8x8
    %y = add(%t, %t) : 1x3x8x8
    """
    after = """
    %x = input() : 1x3x8x8
    %t = relu(%x) : 1x3x8x8
    %t.encoded = jpeg_encode(%t) : 1x900 uint8
    %t.restored = jpeg_decode(%t.encoded) : 1x3x8x8
    %y = add(%t.restored, %t.restored) : 1x3x8x8
    """
    assert_rewrites(JpegBoundary("t", 0.0, 1.0, 900), before, after)


def test_the_bytes_are_those_of_pillows_file_of_the_tiled_maps() -> None:
    model = maps()
    one = JpegBoundary(POINT, quality=60).calibrated_with(model, examples(model))
    made = one(model)
    assert str(made.graph) == str(one(splitc.GraphModel(model.graph)).graph)
    assert one.low is not None and one.high is not None
    for batch in examples(model):
        values = crossing(model, batch, POINT)[0]
        levels = np.floor((values - one.low) / (one.high - one.low) * 255 + 0.5).astype(np.uint8)
        grid = np.zeros((2 * 7, 3 * 10), np.uint8)  # five maps of 7x10: two rows of three
        for k in range(5):
            row, column = divmod(k, 3)
            grid[7 * row : 7 * row + 7, 10 * column : 10 * column + 10] = levels[k]
        file = io.BytesIO()
        Image.fromarray(grid).save(file, "JPEG", quality=60)
        data = file.getvalue()
        sent = crossing(made, batch, f"{POINT}.encoded")[0].tobytes()
        assert sent == (len(data).to_bytes(4, "little") + data).ljust(one.capacity, b"\0")
        shown = np.asarray(Image.open(file))
        step = (one.high - one.low) / 255
        restored = crossing(made, batch, f"{POINT}.restored")[0]
        np.testing.assert_allclose(restored[4], one.low + shown[7:14, 10:20] * step, atol=1e-5)
        made.run(batch)
        assert sizes(made.module) == {f"link.{POINT}.encoded": [len(data)]}


def test_better_quality_takes_more_bytes_and_restores_more() -> None:
    model = maps(16)
    taken: list[int] = []
    wrong: list[float] = []
    (batch,) = examples(model, 1)
    for quality in (10, 50, 95):
        made = JpegBoundary(POINT, quality=quality).calibrated_with(model, [batch])(model)
        restored = crossing(made, batch, f"{POINT}.restored")
        wrong.append(float(np.square(restored - crossing(model, batch, POINT)).mean()))
        made.run(batch)
        taken += [n for each in sizes(made.module).values() for n in each]
    assert taken == sorted(taken) and taken[0] < taken[-1]
    assert wrong == sorted(wrong, reverse=True) and wrong[0] > 4 * wrong[-1]


@pytest.mark.parametrize("shape", [(11,), (6, 7), (3, 5, 4), (2, 3, 5, 4)])
def test_samples_of_any_rank_come_back(shape: tuple[int, ...]) -> None:
    code = Jpeg(shape, -1.0, 1.0, 100)
    values = np.linspace(-1, 1, int(np.prod(shape)), dtype=np.float32).reshape(shape)
    assert np.abs(code.decode(code.encode(values)) - values).max() < 0.1


def test_vectors_and_batches_go_through_and_gradients_straight() -> None:
    model = vectors()
    one = JpegBoundary(POINT, quality=100).calibrated_with(model, examples(model))
    made = one(model)
    x = torch.linspace(-1, 1, 18).reshape(3, 6).requires_grad_()
    out = made.module(x)
    assert [len(n) for n in sizes(made.module).values()] == [3]
    out.sum().backward()
    assert x.grad is not None
    straight = torch.autograd.grad(model.module(x).sum(), x)[0]
    torch.testing.assert_close(x.grad, straight)
    with torch.no_grad():
        torch.testing.assert_close(made.module(x), out)


def test_a_sample_beyond_the_capacity_is_an_error_of_its_own() -> None:
    model = maps()
    batch = examples(model)[0]
    one = JpegBoundary(POINT).calibrated_with(model, [batch])
    made = replace(one, capacity=300)(model)
    with pytest.raises(UsageError, match="bytes, the capacity is 300\n.*calibrate with more"):
        made.run(batch)


def test_it_is_not_compiled(tmp_path: Path) -> None:
    model = maps()
    made = JpegBoundary(POINT).calibrated_with(model, examples(model))(model)
    with pytest.raises(UnsupportedOpError, match="jpeg_encode.*\n.*\n.*a baseline for evaluation"):
        splitc.compile(made, cut="auto", head="host", output=tmp_path / "j.splitc")
    assert not list(tmp_path.iterdir())


def test_onnx_has_no_such_operator() -> None:
    one = JpegBoundary("pool", 0.0, 1.0, 900)
    with pytest.raises(UnsupportedOpError, match="ONNX has no 'jpeg_encode'"):
        one(splitc.load(small_network(), simplify=False))


def test_it_survives_its_text_with_its_range() -> None:
    text = 'jpeg-boundary(cut="t", low=0.0, high=2.5, capacity=700, quality=30)'
    assert str(splitc.Pipeline.parse(text)) == text


def test_a_stand_in_prices_it_before_anything_is_measured() -> None:
    model = maps()
    made = JpegBoundary(POINT).calibrated(model, None)(splitc.GraphModel(model.graph))
    assert made.cut is not None and made.cut.boundary_bytes == 4 + 5 * 7 * 10


REFUSED: dict[str, tuple[JpegBoundary, type[SplitcError], str]] = {
    "quality 0": (JpegBoundary(POINT, 0, 1, 99, quality=0), UsageError, "0 is not in 1 to 100"),
    "quality 101": (JpegBoundary(POINT, 0, 1, 99, quality=101), UsageError, "101 is not in"),
    "no range": (JpegBoundary(POINT, capacity=99), PassError, "nothing tells between which"),
    "no capacity": (JpegBoundary(POINT, 0, 1), PassError, "how many bytes"),
    "capacity 4": (JpegBoundary(POINT, 0, 1, 4), UsageError, "capacity 4 is not in 5 to"),
    "range": (JpegBoundary(POINT, 1, 0, 99), UsageError, "low 1 is not below high 0"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_be_is_refused_by_name(case: str) -> None:
    one, error, match = REFUSED[case]
    with pytest.raises(error, match=match):
        one(maps())


def test_an_image_beyond_jpegs_limits_is_refused() -> None:
    model = splitc.load(torch.nn.Sequential(torch.nn.ReLU(), torch.nn.ReLU()),
                        torch.zeros(1, 2, 65_600))  # fmt: skip
    with pytest.raises(UsageError, match="2x65,600 pixels\n.*65,500 a side"):
        JpegBoundary("0", 0.0, 1.0, 900)(model)


def test_bytes_that_are_no_such_file_are_refused() -> None:
    code = Jpeg((3, 4), 0.0, 1.0, 75)
    with pytest.raises(BadModelError, match="no JPEG file"):
        code.decode(b"\xff\xd8 nothing")
    with pytest.raises(BadModelError, match="of another size"):
        code.decode(Jpeg((4, 4), 0.0, 1.0, 75).encode(np.zeros((4, 4), np.float32)))


def test_without_pillow_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "PIL", None)
    with pytest.raises(ToolchainError, match="needs Pillow.*\n.*\n.*splitc\\[torch\\]"):
        JpegBoundary(POINT, 0.0, 1.0, 900)(maps())
