# SPDX-License-Identifier: Apache-2.0
"""The pass `jpeg-boundary`: feature maps cross as a JPEG image; a baseline."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from splitc.errors import UsageError
from splitc_passes.codecs.coded_boundary import CodedBoundary

if TYPE_CHECKING:
    from torch import nn

    from splitc_passes.layers.coded import Code


@dataclass(frozen=True)
class JpegBoundary(CodedBoundary):
    """Send what crosses the cut as one JPEG image a sample; a baseline, not to be compiled.

    Rewrite::

        %t = conv(%x)            %t = conv(%x)
        %y = relu(%t)     ->     %t.encoded = jpeg_encode(%t)      uint8; crosses
                                 %t.restored = jpeg_decode(%t.encoded)
                                 %y = relu(%t.restored)

    The values become levels of 8 bits, the maps of a sample stand side by side in a nearly
    square grey image, and Pillow codes it. What crosses is uint8 [N, capacity]: 4 bytes that
    say how long the file is, the file, zeros. How long each was is `last_bytes` of the
    encoder, and `sizes` of layers/coded.py. On a noisy link the paper sends the file with
    rate-1/2 channel coding: count its bytes twice.

    The shapes that readers see are unchanged; no floating-point operation is counted. In
    training the gradient passes straight through.

    Args:
        cut: Name of the layer whose output crosses the link; "" for the model's cut.
        low: The value of level 0; None where the layer tells (a sigmoid's is 0).
        high: The value of level 255; None where the layer tells.
        capacity: Bytes that cross for a sample; `calibrated_with` finds them from examples.
        quality: Pillow's, 1 to 100.

    Raises:
        IllegalCutError: `cut` is not in the graph, or nothing reads its output, or an edge
            goes round it, or what crosses is not floating-point.
        UsageError: An option is out of range, the image would be too large for JPEG; or, while
            it runs, a sample takes more bytes than the capacity.
        PassError: Nothing tells the range or the capacity.
        ToolchainError: Pillow is not installed.

    References:
        The baseline of Shao, Zhang, "BottleNet++", ICC Workshops 2020, arXiv:1910.14315;
        Ko, Na, Amir, Mukhopadhyay, "Edge-Host Partitioning of Deep Neural Networks with
        Feature Space Encoding", AVSS 2018, arXiv:1802.03835.
    """

    name: ClassVar[str] = "jpeg-boundary"
    coder: ClassVar[str] = "jpeg"

    quality: int = 75

    def check_options(self) -> None:
        """The quality is one of Pillow's."""
        if not 1 <= self.quality <= 100:
            raise UsageError(f"quality {self.quality} is not in 1 to 100")

    def code(self, shape: tuple[int, ...], low: float, high: float) -> Code:
        """The coder of samples of a shape."""
        from splitc_passes.layers.jpeg import LONGEST, Jpeg, pillow

        pillow()
        code = Jpeg(shape, low, high, self.quality)
        if max(code.size) > LONGEST:
            rows, columns = code.size
            why = f"JPEG ends at {LONGEST:,} a side"
            raise UsageError(f"the image would be {rows:,}x{columns:,} pixels", why=why)
        return code

    def layers(self, code: Code, dtype: str) -> tuple[nn.Module, nn.Module]:
        """Encoder and decoder."""
        import torch

        from splitc_passes.layers.jpeg import Jpeg, JpegDecoder, JpegEncoder

        assert isinstance(code, Jpeg)
        return JpegEncoder(code, self.capacity), JpegDecoder(code, getattr(torch, dtype))
