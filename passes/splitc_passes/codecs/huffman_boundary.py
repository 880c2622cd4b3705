# SPDX-License-Identifier: Apache-2.0
"""The pass `huffman-boundary`: levels cross in Huffman's code; a baseline."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from splitc_passes.codecs.coded_boundary import CodedBoundary
from splitc_passes.codecs.quantiser import check_bits

if TYPE_CHECKING:
    from torch import nn

    from splitc_passes.layers.coded import Code


@dataclass(frozen=True)
class HuffmanBoundary(CodedBoundary):
    """Send what crosses the cut as levels in Huffman's code (JALAD); a baseline.

    Rewrite::

        %t = conv(%x)            %t = conv(%x)
        %y = relu(%t)     ->     %t.encoded = huffman_encode(%t)   uint8; crosses
                                 %t.restored = huffman_decode(%t.encoded)
                                 %y = relu(%t.restored)

    The values become levels of a few bits, evenly spaced, and zlib codes them with matching
    off, so that the coder is a kept library's; deflate's block headers, its codes' tables
    among them, are counted in the bytes. What crosses is uint8 [N, capacity]: 4 bytes that
    say how many are used, those, zeros. How many each sample used is `last_bytes` of the
    encoder, and `sizes` of layers/coded.py. On a noisy link the paper sends them with
    rate-1/2 channel coding: count them twice. Not to be compiled.

    The shapes that readers see are unchanged; no floating-point operation is counted. In
    training the gradient passes straight through.

    Args:
        cut: Name of the layer whose output crosses the link; "" for the model's cut.
        low: The value of level 0; None where the layer tells (a sigmoid's is 0).
        high: The value of the last level; None where the layer tells.
        capacity: Bytes that cross for a sample; `calibrated_with` finds them from examples.
        bits: Bits of a level before coding, 1 to 16.

    Raises:
        IllegalCutError: `cut` is not in the graph, or nothing reads its output, or an edge
            goes round it, or what crosses is not floating-point.
        UsageError: An option is out of range; or, while it runs, a sample takes more bytes
            than the capacity.
        PassError: Nothing tells the range or the capacity.

    References:
        Li, Hu, Jiang, Wang, Wen, Zhu, "JALAD: Joint Accuracy- and Latency-Aware Deep
        Structure Decoupling for Edge-Cloud Execution", ICPADS 2018, arXiv:1812.10027.
    """

    name: ClassVar[str] = "huffman-boundary"
    coder: ClassVar[str] = "huffman"

    bits: int = 8

    def check_options(self) -> None:
        """The bits are 1 to 16."""
        check_bits(self.bits)

    def code(self, shape: tuple[int, ...], low: float, high: float) -> Code:
        """The coder of samples of a shape."""
        from splitc_passes.layers.huffman import Huffman

        return Huffman(shape, low, high, self.bits)

    def layers(self, code: Code, dtype: str) -> tuple[nn.Module, nn.Module]:
        """Encoder and decoder."""
        import torch

        from splitc_passes.layers.huffman import Huffman, HuffmanDecoder, HuffmanEncoder

        assert isinstance(code, Huffman)
        return HuffmanEncoder(code, self.capacity), HuffmanDecoder(code, getattr(torch, dtype))
