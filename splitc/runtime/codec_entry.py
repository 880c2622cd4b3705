# SPDX-License-Identifier: Apache-2.0
"""What a manifest says of the codec inside a bundle, and the form that all its entries have."""

from __future__ import annotations

from typing import Literal

import msgspec


class Strict(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """An entry of a manifest: a field that it does not know is an error."""


class ChannelEntry(Strict, frozen=True):
    """A channel that the network was trained over and that the code leaves out.

    `settings` is what it was set to, as `rate=0.1`.
    """

    op: str
    settings: str


class Cost(Strict, frozen=True):
    """One result of a network with a codec against the given network's, over some samples.

    `relative_error` is the root mean square of the difference over that of the given result;
    `argmax_same` how many of `argmax_of` arg-max are the same, which is 0 where there are none.
    """

    result: str
    relative_error: float
    argmax_same: int
    argmax_of: int


class CodecCost(Strict, frozen=True):
    """What a codec, or quantising, costs: the changed network against the given one, by references.

    `on` says whose samples they were: a user's, or the golden ones. The accuracies, of the
    compiled network and of the given one, are there where the samples had labels.
    """

    samples: int
    on: Literal["calibration", "golden"]
    results: tuple[Cost, ...]
    accuracy: float | None = None
    given_accuracy: float | None = None

    @property
    def agreement(self) -> float:
        """Share of the arg-max that the codec leaves where they are; 1 where there are none."""
        places = sum(one.argmax_of for one in self.results)
        return sum(one.argmax_same for one in self.results) / places if places else 1.0


class QuantizedEntry(Strict, frozen=True):
    """What was made of the given network before it was cut: one on bytes.

    `on_bytes` counts the convolutions and matrix products whose operands are bytes, `in_floats`
    those that stayed in floats. Ranges are from `calibrated` samples; `cost` was measured on
    others where `held_out` is true, and on the same where there were too few.
    """

    on_bytes: int
    in_floats: int
    calibrated: int
    held_out: bool
    cost: CodecCost


class CodecEntry(Strict, frozen=True, omit_defaults=True):
    """The codec that is inside: encoder in the head, decoder in the tail.

    `pipeline` is the passes that put it in, empty where the model does not say; `cut` the
    layers that it stands behind, as the cut table names them. Where `received` is true,
    `golden/received` holds what the tail gets with the channels on, drawn with the manifest's
    seed, and `golden/received_outputs` the tail's results on that. `cost` is left out where
    the network was given with its codec.
    """

    pipeline: str
    cut: str
    channels: tuple[ChannelEntry, ...]
    received: bool
    cost: CodecCost | None = None
