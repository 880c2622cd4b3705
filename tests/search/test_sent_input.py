# SPDX-License-Identifier: Apache-2.0
"""All on the server as one would send it: which inputs are images, and what they weigh."""

from __future__ import annotations

from dataclasses import replace
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from splitc.build.job import plan
from splitc.build.options import ScenarioText
from splitc.cost.jpeg_sizes import jpeg_sizes
from splitc.cost.sent_input import BITS_A_PIXEL, QUALITY, Sent, ServerInput, ways_to_send
from splitc.errors import NoGainError, UsageError
from splitc.ir.graph import LayerGraph
from splitc.ir.text import parse_graph
from splitc.link.link import Link
from splitc.search.find import find_cuts
from splitc.search.table import CutTable

LINK = Link("8Mbit", rtt="20ms")


def network(form: str) -> LayerGraph:
    return parse_graph(f"""
        %x = input() : {form}
        %a = conv(%x) {{params=7000, flops=4000000}} : 1x8x56x56
        %y = gemm(%a) {{params=4000000, flops=9000000}} : 1x1000
    """)


def ways(form: str, given: ServerInput = "auto") -> dict[str, int]:
    return {way.how: sum(way.nbytes) for way in ways_to_send(network(form), given)}


def jpeg_bytes(frames: int, height: int, width: int) -> int:
    return frames * 623 + int(height * width * frames * BITS_A_PIXEL / 8)


@pytest.mark.parametrize(
    ("form", "expected"),
    [
        ("1x3x224x224", {"tensor": 602_112, "uint8": 150_528, "jpeg": jpeg_bytes(1, 224, 224)}),
        ("2x3x32x48", {"tensor": 36_864, "uint8": 9_216, "jpeg": jpeg_bytes(2, 32, 48)}),
        ("1x1x28x28", {"tensor": 3_136, "uint8": 784, "jpeg": jpeg_bytes(1, 28, 28)}),
        ("1x96x96x3", {"tensor": 110_592, "uint8": 27_648, "jpeg": jpeg_bytes(1, 96, 96)}),
        ("1x224x224x3 uint8", {"tensor": 150_528, "jpeg": jpeg_bytes(1, 224, 224)}),
        ("1x16000", {"tensor": 64_000}),
        ("1x1x49x10", {"tensor": 1_960}),
        ("1x64x56x56", {"tensor": 802_816}),
        ("1x3x224x224 int64", {"tensor": 1_204_224}),
    ],
)
def test_what_looks_like_an_image_is_sent_as_one_too(form: str, expected: dict[str, int]) -> None:
    assert ways(form) == expected


def test_the_user_says_what_is_sent() -> None:
    assert ways("1x3x224x224", "tensor") == {"tensor": 602_112}
    assert ways("1x3x224x224", "uint8") == {"uint8": 150_528}
    assert ways("1x16000", "uint8") == {"uint8": 16_000}
    assert ways("1x1x49x10", "jpeg") == {"jpeg": 623 + 123}
    with pytest.raises(UsageError, match="--server-input jpeg fits no input"):
        ways("1x16000", "jpeg")
    with pytest.raises(UsageError, match="--server-input uint8 fits no input"):
        ways("1x16 int64", "uint8")


def table(how: ServerInput) -> CutTable:
    return find_cuts(
        network("1x3x224x224"), head="rpi4", tail="x86-64-v3", link=LINK, server_input=how
    )


def test_a_split_has_to_beat_the_way_one_would_really_send() -> None:
    tensor, as_bytes, auto = table("tensor"), table("uint8"), table("auto")
    assert [row.title for row in auto.baselines] == [
        "all on the device", "all on the server", "all on the server, sent as bytes",
        "all on the server, sent as JPEG",
    ]  # fmt: skip
    for row in auto.sent:
        assert row.cost.tail_s == tensor.server.cost.tail_s
        sent_s = LINK.transfer_s(row.cost.boundary_bytes)
        back_s = LINK.transfer_s(4_000)
        assert row.cost.link_s == pytest.approx(sent_s + back_s + LINK.rtt_s)
        board = auto.costs.device.board
        assert row.cost.energy_j == pytest.approx(board.transmit_power_w * sent_s)
    assert auto.value(auto.baseline) <= as_bytes.value(as_bytes.baseline)
    assert auto.split_pays == (auto.value(auto.best) < min(map(auto.value, auto.baselines)))
    # What `--cut server` builds is not what is assumed of a camera.
    assert auto.server == tensor.server
    assert auto.row_called("server").cost == tensor.server.cost


def photo(seed: int) -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
    rng = np.random.default_rng(seed)
    coarse = Image.fromarray(rng.integers(0, 256, (8, 8, 3), np.uint8))
    return np.asarray(coarse.resize((96, 96), Image.Resampling.BICUBIC), np.uint8)


def test_a_jpeg_is_measured_on_samples() -> None:
    photos = [photo(seed) for seed in range(5)]
    expected = 0
    for one in photos:
        file = BytesIO()
        Image.fromarray(one).save(file, "JPEG", quality=QUALITY)
        expected += file.tell()
    graph = network("1x96x96x3 uint8")
    found = jpeg_sizes(graph, [{"x": one[None]} for one in photos])
    assert found is not None
    assert found.nbytes == (("x", -(-expected // 5)),)
    (way,) = ways_to_send(graph, "jpeg", found)
    assert way == Sent("jpeg", (-(-expected // 5),), "measured, mean of 5 samples at quality 90")
    # The same as floats from 0 to 1, channels in front.
    shares = [{"x": one.transpose(2, 0, 1)[None].astype(np.float32) / 255} for one in photos]
    assert jpeg_sizes(network("1x3x96x96"), shares) == found


def test_floats_that_were_normalised_are_measured_and_said_to_be() -> None:
    mean, std = np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225])
    frames = [((photo(seed) / 255 - mean) / std).astype(np.float32) for seed in range(3)]
    found = jpeg_sizes(network("1x3x96x96"), [{"x": f.transpose(2, 0, 1)[None]} for f in frames])
    plain = jpeg_sizes(network("1x96x96x3 uint8"), [{"x": photo(k)[None]} for k in range(3)])
    assert found is not None
    assert plain is not None
    assert found.nbytes[0][1] == pytest.approx(plain.nbytes[0][1], rel=0.1)
    (way,) = ways_to_send(network("1x3x96x96"), "jpeg", found)
    assert way.source.endswith("their floats scaled to bytes")


def test_samples_that_are_no_images_tell_nothing() -> None:
    assert jpeg_sizes(network("1x16000"), [{"x": np.zeros((1, 16000), np.float32)}]) is None
    nan = np.full((1, 3, 32, 32), np.nan, np.float32)
    found = jpeg_sizes(network("1x3x32x32"), [{"x": nan}])
    assert found is not None
    assert found.nbytes[0][1] > 0


def test_a_split_that_beats_floats_but_not_bytes_does_not_pay(
    small_onnx: Path, tmp_path: Path
) -> None:
    # What is last takes long on the device, and a packet takes longer than all the rest.
    times = tmp_path / "times.csv"
    times.write_text("layer,device_ms\nclassifier,900\n")
    link = Link("100kbit", rtt="5ms")
    where = ScenarioText(measured=str(times), server_input="tensor").scenario()
    job = plan(small_onnx, emit="onnx", scenario=replace(where, link=link))
    job.refuse_no_gain()
    job = plan(small_onnx, emit="onnx", scenario=replace(where, link=link, server_input="uint8"))
    with pytest.raises(NoGainError, match="all on the server, sent as bytes is as good or better"):
        job.refuse_no_gain()
