# SPDX-License-Identifier: Apache-2.0
"""What `splitc quantize` prints with `--json`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from splitc.cli.objects import Printed
from splitc.runtime.codec_entry import CodecCost

if TYPE_CHECKING:
    from splitc.quantization import Quantized


class QuantizeObject(Printed, frozen=True, kw_only=True):
    """`splitc quantize`: the file that was written, the layers that multiply bytes and those that
    multiply floats still, how many samples ranges are from, and what it costs on `cost.samples`
    of them, which are others where `held_out` is true."""

    file: str
    on_bytes: tuple[str, ...]
    in_floats: tuple[str, ...]
    calibrated: int
    held_out: bool
    cost: CodecCost

    @staticmethod
    def of(file: str, made: Quantized) -> QuantizeObject:
        """What the verb prints."""
        return QuantizeObject(
            file=file, on_bytes=made.on_bytes, in_floats=made.in_floats,
            calibrated=made.calibrated, held_out=made.held_out, cost=made.cost,
        )  # fmt: skip
