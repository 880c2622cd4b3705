# SPDX-License-Identifier: Apache-2.0
# pyright: reportUnknownMemberType=false, reportUnknownArgumentType=false
# pyright: reportUnknownVariableType=false
"""The pass `huffman-boundary`: text, the very bytes of zlib's coder, training, refusals."""

from __future__ import annotations

import zlib
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="needs torch")

import splitc  # noqa: E402
from splitc.errors import BadModelError, UnsupportedOpError, UsageError  # noqa: E402
from splitc_passes.codecs.huffman_boundary import HuffmanBoundary  # noqa: E402
from splitc_passes.layers.coded import framed, sizes, unframed  # noqa: E402
from splitc_passes.layers.huffman import Huffman  # noqa: E402
from tests.helpers import assert_rewrites  # noqa: E402
from tests.passes.codecs.coded import POINT, crossing, examples, maps, vectors  # noqa: E402


def test_readers_read_what_is_decoded_and_the_code_crosses() -> None:
    before = """
    %x = input() : 2x6
    %t = sigmoid(%x) : 2x6
    %y = relu(%t) : 2x6
    """
    after = """
    %x = input() : 2x6
    %t = sigmoid(%x) : 2x6
    %t.encoded = huffman_encode(%t) : 2x40 uint8
    %t.restored = huffman_decode(%t.encoded) : 2x6
    %y = relu(%t.restored) : 2x6
    """
    assert_rewrites(HuffmanBoundary("t", capacity=40), before, after)


def coded_by_zlib(symbols: bytes) -> bytes:
    coder = zlib.compressobj(9, zlib.DEFLATED, -15, 9, zlib.Z_HUFFMAN_ONLY)
    return coder.compress(symbols) + coder.flush()


@pytest.mark.parametrize("bits", [1, 4, 8, 9, 16])
def test_the_bytes_are_those_of_zlibs_coder(bits: int) -> None:
    model = maps()
    one = HuffmanBoundary(POINT, bits=bits).calibrated_with(model, examples(model))
    made = one(model)
    assert str(made.graph) == str(one(splitc.GraphModel(model.graph)).graph)
    assert one.low is not None and one.high is not None
    step = (one.high - one.low) / (2**bits - 1)
    for batch in examples(model):
        values = crossing(model, batch, POINT)[0].astype(np.float64)
        levels = np.floor((values - one.low) / step + 0.5 + 1e-9).astype(int).reshape(-1)
        symbols = bytes(int(level) & 0xFF for level in levels)
        if bits > 8:
            symbols += bytes(int(level) >> 8 for level in levels)
        data = coded_by_zlib(symbols)
        sent = crossing(made, batch, f"{POINT}.encoded")[0].tobytes()
        assert sent == (len(data).to_bytes(4, "little") + data).ljust(one.capacity, b"\0")
        restored = crossing(made, batch, f"{POINT}.restored")[0]
        assert np.abs(restored - values).max() <= 0.5 * step + 1e-5
        made.run(batch)
        assert list(sizes(made.module).values()) == [[len(data)]]


def test_rare_levels_cost_more_bits_than_frequent_ones() -> None:
    rng = np.random.default_rng(0)
    values = np.minimum(rng.exponential(0.05, 20_000), 1).astype(np.float32)
    code = Huffman((20_000,), 0.0, 1.0, 4)
    counts = np.bincount(np.frombuffer(code.symbols(values), np.uint8))
    shares = counts[counts > 0] / counts.sum()
    entropy = float(-(shares * np.log2(shares)).sum())
    taken = 8 * len(code.encode(values)) / values.size
    assert entropy <= taken <= min(entropy + 1, 4) + 0.05


def test_batches_go_through_and_gradients_straight() -> None:
    model = vectors()
    made = HuffmanBoundary(POINT, bits=12).calibrated_with(model, examples(model))(model)
    x = torch.linspace(-0.1, 0.1, 18).reshape(3, 6).requires_grad_()
    out = made.module(x)
    out.sum().backward()
    assert x.grad is not None
    torch.testing.assert_close(x.grad, torch.autograd.grad(model.module(x).sum(), x)[0])
    with torch.no_grad():
        torch.testing.assert_close(made.module(x), out)


def test_it_is_not_compiled(tmp_path: Path) -> None:
    model = vectors()
    made = HuffmanBoundary(POINT).calibrated_with(model, examples(model))(model)
    with pytest.raises(UnsupportedOpError, match="huffman_encode.*\n.*\n.*a baseline"):
        splitc.compile(made, cut="auto", head="host", output=tmp_path / "h.splitc")
    assert not list(tmp_path.iterdir())


def test_the_margin_is_room_for_larger_samples() -> None:
    model = maps()
    (batch,) = examples(model, 1)
    tight = HuffmanBoundary(POINT).calibrated_with(model, [batch], margin=1)
    made = tight(model)
    made.run(batch)
    ((taken,),) = sizes(made.module).values()
    assert tight.capacity == 4 + taken
    wide = HuffmanBoundary(POINT).calibrated_with(model, [batch], margin=2)
    assert wide.capacity == 4 + 2 * taken
    with pytest.raises(UsageError, match=f"takes {4 + taken} bytes, the capacity is {3 + taken}"):
        replace(tight, capacity=3 + taken)(model).run(batch)
    with pytest.raises(UsageError, match="margin 0.5 is below 1"):
        HuffmanBoundary(POINT).calibrated_with(model, [batch], margin=0.5)


def test_bits_outside_1_to_16_are_refused() -> None:
    for bits in (0, 17):
        with pytest.raises(UsageError, match=f"bits {bits} is not in 1 to 16"):
            HuffmanBoundary(POINT, 0.0, 1.0, 99, bits)(maps())


def test_bytes_that_are_no_such_code_are_refused() -> None:
    code = Huffman((5,), 0.0, 1.0, 8)
    with pytest.raises(BadModelError, match="not in Huffman's code"):
        code.decode(b"\xff\xff\xff")
    bomb = coded_by_zlib(bytes(10_000_000))
    with pytest.raises(BadModelError, match="a sample of 6 symbols"):
        code.decode(bomb)
    rows = framed([b"abc"], 9)
    rows[0, 0] = 200
    with pytest.raises(BadModelError, match="a sample of 200 bytes in 9"):
        unframed(rows)
