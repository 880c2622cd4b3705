# SPDX-License-Identifier: Apache-2.0
"""The pass `add-noise-bottleneck` on bare graphs: text before and after, cut, refusals."""

from __future__ import annotations

import pytest

import splitc
from splitc.errors import IllegalCutError, SplitcError, UnsupportedOpError, UsageError
from splitc.ir.chain import channel_layers
from splitc.ir.text import parse_graph
from splitc_passes.training.add_noise_bottleneck import AddNoiseBottleneck
from tests.helpers import assert_rewrites, small_network

BEFORE = """
%x = input() : 1x3x8x8
%t = relu(%x) : 1x16x8x8
%a = relu(%t) : 1x16x8x8
%y = add(%t, %a) : 1x16x8x8
"""


def test_every_reader_of_the_cut_reads_what_the_decoder_restores() -> None:
    # 4-byte numbers: 4 x 16 x 2 x 2 weights and 4 biases, 4 variances, then 4 x 16 x 2 x 2
    # and 16; two operations for each weight at each place
    after = """
    %x = input() : 1x3x8x8
    %t = relu(%x) : 1x16x8x8
    %t.mean = conv(%t) {params=1040, flops=8192} : 1x4x4x4
    %t.noise = variational_noise(%t.mean) {params=16} : 1x4x4x4
    %t.decoder = convtranspose(%t.noise) {params=1088, flops=8192} : 1x16x8x8
    %t.restored = relu(%t.decoder) {flops=1024} : 1x16x8x8
    %a = relu(%t.restored) : 1x16x8x8
    %y = add(%t.restored, %a) : 1x16x8x8
    """
    assert_rewrites(AddNoiseBottleneck(channels=4, cut="t"), BEFORE, after)


def test_odd_extents_come_back_and_a_signed_tensor_keeps_its_sign() -> None:
    before = "%x = input() : 2x3x5x7\n%t = add(%x, %x) : 2x3x5x7\n%y = relu(%t) : 2x3x5x7\n"
    after = """
    %x = input() : 2x3x5x7
    %t = add(%x, %x) : 2x3x5x7
    %t.mean = conv(%t) {params=104, flops=1152} : 2x2x3x4
    %t.noise = variational_noise(%t.mean) {params=8} : 2x2x3x4
    %t.decoder = convtranspose(%t.noise) {params=108, flops=1152} : 2x3x5x7
    %y = relu(%t.decoder) : 2x3x5x7
    """
    assert_rewrites(AddNoiseBottleneck(2, "t", activation="none"), before, after)


def test_the_mean_is_what_crosses_and_the_noise_is_a_channel() -> None:
    made = AddNoiseBottleneck(2, "t")(splitc.GraphModel(parse_graph(BEFORE)))
    assert made.cut is not None
    assert [(t.name, t.shape) for t in made.cut.boundary] == [("t.mean", (1, 2, 4, 4))]
    assert channel_layers(made.graph) == ("t.noise",)
    assert "t.noise" not in made.bypass(channel_layers(made.graph)).graph.index


def test_its_text_parses_back_and_other_passes_go_behind() -> None:
    text = 'add-noise-bottleneck(channels=2, cut="t", beta=0.01), insert-dropout(loss_rate=0.2)'
    pipeline = splitc.Pipeline.parse(text)
    assert str(pipeline) == text
    made = pipeline(splitc.GraphModel(parse_graph(BEFORE)))
    assert channel_layers(made.graph) == ("t.mean.link_dropout", "t.noise")


MORE = """
%x = input() : 1x4
%a = relu(%x) : 1x4
%b = relu(%x) : 1x4
%c = add(%a, %b) : 1x4
%r = reshape(%c) : 1x1x1x2x2
%y = relu(%r) : 1x1x1x2x2
"""
REFUSED: dict[str, tuple[AddNoiseBottleneck, type[SplitcError], str]] = {
    "too many channels": (AddNoiseBottleneck(5, "c"), UsageError, "channels 5 is not in 1 to 4"),
    "no channels": (AddNoiseBottleneck(0, "c"), UsageError, "channels 0 is not in 1 to 4"),
    "beta below 0": (AddNoiseBottleneck(1, "c", beta=-1.0), UsageError, "beta -1 is not a finite"),
    "beta NaN": (AddNoiseBottleneck(1, "c", beta=float("nan")), UsageError, "beta nan"),
    "activation": (
        AddNoiseBottleneck(1, "c", activation="gelu"),  # pyright: ignore[reportArgumentType]
        UsageError, "activation 'gelu' is unknown(.|\n)*relu, none",
    ),
    "rank 5": (AddNoiseBottleneck(1, "r"), IllegalCutError, "'r' is 1x1x1x2x2, of rank 5"),
    "an edge round it": (AddNoiseBottleneck(1, "a"), IllegalCutError, "goes round it: 'x'"),
    "no cut": (AddNoiseBottleneck(1), IllegalCutError, "the model has no cut"),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_be_is_refused_by_name(case: str) -> None:
    one, error, match = REFUSED[case]
    with pytest.raises(error, match=match):
        one(splitc.GraphModel(parse_graph(MORE)))


def test_an_onnx_graph_takes_no_codec_that_has_to_be_trained() -> None:
    with pytest.raises(UnsupportedOpError, match="to_torch"):
        AddNoiseBottleneck(2, "pool")(splitc.load(small_network()))
