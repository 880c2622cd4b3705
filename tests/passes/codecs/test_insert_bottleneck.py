# SPDX-License-Identifier: Apache-2.0
"""The pass `insert-bottleneck` on bare graphs: text before and after, ratios, refusals."""

from __future__ import annotations

from typing import Any

import pytest

import splitc
from splitc.errors import IllegalCutError, SplitcError, UnsupportedOpError, UsageError
from splitc.ir.chain import channel_layers
from splitc.ir.graph import Tensor
from splitc_passes.codecs.insert_bottleneck import InsertBottleneck
from tests.helpers import assert_rewrites, small_network

BEFORE = """
%x = input() : 1x3x8x8
%t = relu(%x) : 1x16x8x8
%a = relu(%t) : 1x16x8x8
%y = add(%t, %a) : 1x16x8x8
"""


def test_every_reader_of_a_map_reads_what_the_decoder_restores() -> None:
    after = """
    %x = input() : 1x3x8x8
    %t = relu(%x) : 1x16x8x8
    %t.encoder = conv(%t) {params=1040, flops=8192} : 1x4x4x4
    %t.code = sigmoid(%t.encoder) {flops=192} : 1x4x4x4
    %t.decoder = convtranspose(%t.code) {params=1088, flops=8192} : 1x16x8x8
    %t.restored = relu(%t.decoder) {flops=1024} : 1x16x8x8
    %a = relu(%t.restored) : 1x16x8x8
    %y = add(%t.restored, %a) : 1x16x8x8
    """
    assert_rewrites(InsertBottleneck(channels=4, cut="t", bits=32), BEFORE, after)


def test_extents_that_are_odd_come_back_and_a_signed_tensor_keeps_its_sign() -> None:
    before = "%x = input() : 2x3x5x7\n%t = add(%x, %x) : 2x3x5x7\n%y = relu(%t) : 2x3x5x7\n"
    after = """
    %x = input() : 2x3x5x7
    %t = add(%x, %x) : 2x3x5x7
    %t.encoder = conv(%t) {params=104, flops=1152} : 2x2x3x4
    %t.told = add(%t.encoder) {params=12, flops=48} : 2x2x3x4
    %t.code = sigmoid(%t.told) {flops=144} : 2x2x3x4
    %t.channel = awgn(%t.code) : 2x2x3x4
    %t.decoder = convtranspose(%t.channel) {params=108, flops=1152} : 2x3x5x7
    %y = relu(%t.decoder) : 2x3x5x7
    """
    one = InsertBottleneck(2, "t", bits=32, activation="none", channel="awgn", state="assumed")
    assert_rewrites(one, before, after)


def test_tokens_and_vectors_get_a_linear_codec() -> None:
    before = "%x = input() : 1x17x16\n%t = gelu(%x) : 1x17x16\n%y = relu(%t) : 1x17x16\n"
    after = """
    %x = input() : 1x17x16
    %t = gelu(%x) : 1x17x16
    %t.encoder = matmul(%t) {params=272, flops=2176} : 1x17x4
    %t.code = sigmoid(%t.encoder) {flops=204} : 1x17x4
    %t.decoder = matmul(%t.code) {params=320, flops=2176} : 1x17x16
    %y = relu(%t.decoder) : 1x17x16
    """
    assert_rewrites(InsertBottleneck(4, "t", bits=32, activation="none"), before, after)
    before = "%x = input() : 1x16\n%t = relu(%x) : 1x16\n%y = relu(%t) : 1x16\n"
    after = """
    %x = input() : 1x16
    %t = relu(%x) : 1x16
    %t.encoder = gemm(%t) {params=272, flops=128} : 1x4
    %t.code = sigmoid(%t.encoder) {flops=12} : 1x4
    %t.channel = packet_loss(%t.code) : 1x4
    %t.decoder = gemm(%t.channel) {params=320, flops=128} : 1x16
    %t.restored = relu(%t.decoder) {flops=16} : 1x16
    %y = relu(%t.restored) : 1x16
    """
    assert_rewrites(InsertBottleneck(4, "t", bits=32, channel="packets"), before, after)


@pytest.mark.parametrize("dtype", ["float16", "float64"])
def test_weights_have_the_tensors_element_type(dtype: str) -> None:
    text = f"%x = input() : 1x8 {dtype}\n%t = relu(%x) : 1x8 {dtype}\n%y = relu(%t) : 1x8 {dtype}\n"
    made = InsertBottleneck(2, "t", bits=32)(splitc.GraphModel(splitc.parse_graph(text)))
    weights = 8 * 2 + 2
    size = {"float16": 2, "float64": 8}[dtype]
    assert made.graph.layer("t.encoder").param_bytes == weights * size
    assert {t.dtype for t in made.graph.tensors.values()} == {dtype}


@pytest.mark.parametrize("bits", [1, 5, 8, 16])
def test_bits_give_what_quantising_behind_gives(bits: int) -> None:
    model = splitc.GraphModel(splitc.parse_graph(BEFORE))
    made = InsertBottleneck(4, "t", bits)(model)
    text = 'insert-bottleneck(channels=4, cut="t", bits=32), quantize-boundary'
    behind = splitc.Pipeline.parse(f"{text}(bits={bits})")(model)
    assert str(made.graph) == str(behind.graph)
    assert made.cut is not None and behind.cut is not None
    assert (made.cut.name, made.cut.boundary_bytes) == ("t.code.levels", 64 * bits // 8)
    assert behind.cut.name == made.cut.name


@pytest.mark.parametrize(("bits", "sent"), [(3, 24), (8, 64), (32, 256)])
def test_the_model_is_cut_where_the_code_crosses(bits: int, sent: int) -> None:
    one = InsertBottleneck(channels=4, cut="t", bits=bits, channel="awgn")
    made = one(splitc.GraphModel(splitc.parse_graph(BEFORE)))
    assert made.cut is not None
    assert made.cut.boundary_bytes == sent
    head, tail = made.split(made.cut)
    assert {"t.encoder", "t.code"} <= {layer.name for layer in head.graph.layers}
    assert channel_layers(tail.graph) == ("t.channel",)
    compression = one.compression(made.graph.tensors["t"])
    assert compression.bits == 16 * 8 * 8 * 4 / sent


def test_the_ratios_of_the_paper() -> None:
    last = Tensor("last", (1, 2048, 2, 2))
    assert InsertBottleneck(128, bits=8).compression(last) == (256.0, 64.0)
    assert InsertBottleneck(128, bits=4).compression(last) == (512.0, 64.0)
    assert InsertBottleneck(128, bits=32).compression(last) == (64.0, 64.0)
    half = Tensor("half", (1, 2048, 2, 2), "float16")
    assert InsertBottleneck(128, bits=8).compression(half) == (128.0, 64.0)


def test_it_takes_the_models_own_cut_and_survives_its_text() -> None:
    model = splitc.GraphModel(splitc.parse_graph(BEFORE))
    model = model.with_cut(splitc.Cut.after(model.graph, ["t"]))
    text = 'insert-bottleneck(channels=4, bits=32, channel="awgn", psnr_db=10.0, state="known")'
    pipeline = splitc.Pipeline.parse(text)
    assert str(pipeline) == text
    made, steps = pipeline.trace(model)
    assert [step.changed for step in steps] == [True]
    assert made.cut is not None and made.cut.name == "t.code"


def test_dropout_before_the_codec_in_the_pipeline_stands_behind_the_decoder() -> None:
    pipeline = splitc.Pipeline.parse('insert-dropout(cut="t"), insert-bottleneck(channels=4)')
    made = pipeline(splitc.GraphModel(splitc.parse_graph(BEFORE)))
    assert made.graph.layer("t.link_dropout").inputs == ("t.restored",)
    assert made.graph.layer("y").inputs == ("t.link_dropout", "a")


def test_dropout_after_it_drops_of_the_code() -> None:
    text = 'insert-bottleneck(channels=4, cut="t", bits=32), insert-dropout'
    pipeline = splitc.Pipeline.parse(text)
    made = pipeline(splitc.GraphModel(splitc.parse_graph(BEFORE)))
    assert made.graph.layer("t.code.link_dropout").inputs == ("t.code",)
    assert made.graph.layer("t.decoder").inputs == ("t.code.link_dropout",)
    assert made.cut is not None and made.cut.name == "t.code"


OF_RANK_5 = "%x = input() : 1x2x3x4x5\n%t = relu(%x) : 1x2x3x4x5\n%y = relu(%t) : 1x2x3x4x5\n"
EMPTY = "%x = input() : 1x0x4x4\n%t = relu(%x) : 1x0x4x4\n%y = relu(%t) : 1x0x4x4\n"
REFUSED: dict[str, tuple[str, dict[str, Any], type[SplitcError], str]] = {
    "more channels than there are": (
        BEFORE, {"channels": 17}, UsageError,
        "insert-bottleneck: channels 17 is not in 1 to 16\n.*'t'\n.*has 16 channels",
    ),
    "no channel": (BEFORE, {"channels": 0}, UsageError, "channels 0 is not in 1 to 16"),
    "no bits": (BEFORE, {"bits": 0}, UsageError, "bits 0 is not in 1 to 16\n.*32 sends"),
    "17 bits": (BEFORE, {"bits": 17}, UsageError, "bits 17 is not in 1 to 16"),
    "rank 5": (OF_RANK_5, {}, IllegalCutError, r"'t' is 1x2x3x4x5, of rank 5\n.*\[N, T, D\]"),
    "nothing in it": (EMPTY, {}, IllegalCutError, "'t' is 1x0x4x4"),
    "no such channel": (BEFORE, {"channel": "wifi"}, UsageError, "'wifi' is unknown\n.*awgn"),
    "no such state": (BEFORE, {"state": "seen"}, UsageError, "state 'seen' is unknown"),
    "no such activation": (BEFORE, {"activation": "gelu"}, UsageError, "'gelu' is unknown\n.*relu"),
    "state of no channel": (BEFORE, {"state": "known"}, UsageError, "of no channel\n.*awgn"),
    "rate 1": (BEFORE, {"erasure_rate": 1.0}, UsageError, r"erasure_rate 1 is not in \[0, 1\)"),
    "rate NaN": (BEFORE, {"loss_rate": float("nan")}, UsageError, r"loss_rate nan is not in"),
    "PSNR NaN": (BEFORE, {"psnr_db": float("nan")}, UsageError, "psnr_db nan is not a ratio"),
    "no packet": (BEFORE, {"payload_bytes": 0}, UsageError, "payload_bytes 0 holds no element"),
    "bits of floats": (
        BEFORE, {"bits": 32, "channel": "erasure"}, UsageError, "'erasure' erases bits.*\n.*1 to 16"
    ),
    "no cut": (BEFORE, {"cut": ""}, IllegalCutError, "the model has no cut"),
    "nothing reads it": (BEFORE, {"cut": "y"}, IllegalCutError, "no layer reads its output"),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_be_is_refused_by_name(case: str) -> None:
    text, options, error, match = REFUSED[case]
    filled: dict[str, Any] = {"channels": 2, "cut": "t"} | options
    with pytest.raises(error, match=match):
        InsertBottleneck(**filled)(splitc.GraphModel(splitc.parse_graph(text)))


def test_the_channels_must_be_said() -> None:
    with pytest.raises(UsageError, match="insert-bottleneck needs the option 'channels'"):
        splitc.Pipeline.parse("insert-bottleneck")


def test_an_onnx_graph_takes_no_learned_layer() -> None:
    with pytest.raises(UnsupportedOpError, match="to_torch"):
        InsertBottleneck(channels=4, cut="pool")(splitc.load(small_network()))
