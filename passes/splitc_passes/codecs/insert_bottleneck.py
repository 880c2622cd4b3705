# SPDX-License-Identifier: Apache-2.0
"""The pass `insert-bottleneck`: a learned codec around the link, as BottleNet++ has it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cache, partial
from typing import TYPE_CHECKING, ClassVar, Literal, NamedTuple, TypeVar, get_args

from splitc.errors import UsageError
from splitc.ir.chain import Insertion
from splitc.ir.cut import Cut
from splitc.ir.graph import Tensor
from splitc.ir.model import Model
from splitc.link.packets import PAYLOAD_BYTES, elements_per_packet
from splitc.passes.base import Pass
from splitc.passes.crossing import crossing_tensor
from splitc_passes.codecs import learned
from splitc_passes.codecs.quantiser import quantising

if TYPE_CHECKING:
    from torch import nn

    from splitc_passes.layers.channel import Channel

M = TypeVar("M", bound=Model)

Link = Literal["none", "awgn", "erasure", "packets"]
State = Literal["none", "known", "assumed"]
Activation = Literal["relu", "none"]

FLOAT_BITS = 32
_OPS = {"awgn": "awgn", "erasure": "bit_erasure", "packets": "packet_loss"}
_ASSUMED = {"awgn": 10 ** (-15 / 20), "erasure": 0.125, "packets": 0.125}


class Compression(NamedTuple):
    """How much smaller the code is than the tensor: 64.0 says a 64th.

    Args:
        bits: Bits of the tensor over bits of the code, on a link that carries bits.
        bandwidth: Values of the tensor over values of the code, on one that carries values.
    """

    bits: float
    bandwidth: float


@dataclass(frozen=True)
class InsertBottleneck(Pass):
    """Insert a learned encoder and decoder around what crosses the cut (BottleNet++).

    Rewrite::

        %t = conv(%x)            %t = conv(%x)
        %y = conv(%t)     ->     %t.encoder = conv(%t)
                                 %t.code = sigmoid(%t.encoder)
                                 ...                            as in quantize-boundary
                                 %t.code.levels = cast(...)     crosses
                                 ...
                                 %t.channel = awgn(%t.code.restored)
                                 %t.decoder = convtranspose(%t.channel)
                                 %t.restored = relu(%t.decoder)
                                 %y = conv(%t.restored)

    Every reader of the tensor reads what is restored; the model is cut at the code. The
    layers are learned: until they are trained the network predicts nothing of use. A channel
    acts in training only, and compilation leaves it out. Quantising is part of training, its
    gradient passes straight through; with `bits` 32 the floats of the code cross, and
    `quantize-boundary` behind this pass gives what `bits` gives. Where the encoder is told
    the state of the link, %t.told = add(%t.encoder) stands before the sigmoid.

    Shapes: a map [N, C, H, W] becomes [N, C', ceil(H/2), ceil(W/2)] by a 2x2 convolution of
    stride 2 with batch norm, and comes back by the transposed one; odd extents come back
    exactly. Tokens [N, T, D] (any tensor of three axes is taken for them) become [N, T, C']
    and vectors [N, D] become [N, C'] by a linear layer, with batch norm for
    vectors. Below 8 bits and above, levels cross packed, as uint8.

    Bytes that cross, of each sample: ceil(bits/8 C' ceil(H/2) ceil(W/2)) for a map. FLOPs:
    about 8 N C C' ceil(H/2) ceil(W/2) in the head, and as many in the tail. `compression`
    gives the ratios.

    Args:
        channels: C', channels of the code, from 1 to the tensor's C (or D).
        cut: Name of the layer whose output crosses the link; "" for the model's cut.
        bits: Bits of a value that crosses, 1 to 16; or 32 for values as they are, floats.
        activation: What the decoder ends in. "relu", the paper's, suits a tensor that is
            never negative: one behind a relu. A tensor with negative values (before its
            activation, after an addition, tokens of a transformer) needs "none".
        channel: The link in training: none, additive white Gaussian noise, erased bits,
            or lost packets.
        psnr_db: Peak signal to noise ratio of "awgn", in dB.
        erasure_rate: Share of the bits that "erasure" erases, in [0, 1).
        loss_rate: Share of the packets that "packets" loses, in [0, 1).
        payload_bytes: Bytes of the code that one packet of "packets" holds.
        state: Whether the encoder is told how the link is: "known" in training and test;
            "assumed" in training, while in test it assumes 15 dB or a rate of 0.125; "none".
            `set_state` of layers/channel_state.py sets what a compiled encoder takes it to be.
        seed: Of the first weights and of what the channel draws.

    Raises:
        IllegalCutError: Nothing or several tensors cross, an edge goes round the cut, or
            the tensor is no map, tokens or vector.
        UsageError: An option is outside its range; `channels` above C among them.

    References:
        Shao, Zhang, "BottleNet++: An End-to-End Approach for Feature Compression in
        Device-Edge Co-Inference Systems", ICC Workshops 2020, arXiv:1910.14315.
    """

    name: ClassVar[str] = "insert-bottleneck"

    channels: int
    cut: str = ""
    bits: int = 8
    activation: Activation = "relu"
    channel: Link = "none"
    psnr_db: float = 20.0
    erasure_rate: float = 0.01
    loss_rate: float = 0.1
    payload_bytes: int = PAYLOAD_BYTES
    state: State = "none"
    seed: int = 0

    def requires(self, model: Model) -> None:
        """One tensor crosses that a codec goes around, and the options are in range."""
        chosen = (("activation", self.activation, Activation), ("channel", self.channel, Link),
                  ("state", self.state, State))  # fmt: skip
        for option, value, known in chosen:
            if value not in get_args(known):
                hint = "one of: " + ", ".join(get_args(known))
                raise UsageError(f"{option} '{value}' is unknown", hint=hint)
        if self.bits not in range(1, 17) and self.bits != FLOAT_BITS:
            hint = f"{FLOAT_BITS} sends the values as they are"
            raise UsageError(f"bits {self.bits} is not in 1 to 16", hint=hint)
        for option, rate in (("erasure_rate", self.erasure_rate), ("loss_rate", self.loss_rate)):
            if not 0 <= rate < 1:
                raise UsageError(f"{option} {rate:g} is not in [0, 1)")
        if not self.psnr_db > float("-inf"):
            raise UsageError(f"psnr_db {self.psnr_db:g} is not a ratio in dB")
        elements_per_packet(self.payload_bytes, self.bits / 8)
        if self.channel == "erasure" and self.bits == FLOAT_BITS:
            hint = "give bits from 1 to 16"
            raise UsageError(
                f"channel 'erasure' erases bits, and {FLOAT_BITS} are floats", hint=hint
            )
        if self.state != "none" and self.channel == "none":
            hint = "choose a channel: " + ", ".join(_OPS)
            raise UsageError(f"state '{self.state}' of no channel", hint=hint)
        learned.check_codec(crossing_tensor(model, self.cut), self.channels)

    def apply(self, model: M) -> M:
        """The model with the codec, cut at the code."""
        tensor = crossing_tensor(model, self.cut)
        made = model.insert(tensor.name, self._chain(tensor))
        crosses = "code" if self.bits == FLOAT_BITS else "code.levels"
        return made.with_cut(Cut.sending(made.graph, f"{tensor.name}.{crosses}"))

    def compression(self, tensor: Tensor) -> Compression:
        """How much smaller the code is than a tensor.

        Args:
            tensor: What crosses without the codec.
        """
        shape = tensor.static_shape
        code = Tensor("code", learned.code_shape(shape, self.channels), tensor.dtype)
        values, sent = tensor.elements or 0, code.elements or 1
        per_value = 8 * (tensor.nbytes or 0) / max(values, 1)
        each = per_value if self.bits == FLOAT_BITS else self.bits
        return Compression(values * per_value / (sent * each), values / sent)

    def _chain(self, tensor: Tensor) -> list[Insertion]:
        shape, dtype = tensor.static_shape, tensor.dtype
        code = learned.code_shape(shape, self.channels)
        link = cache(self._channel)
        chain = [learned.encoder("encoder", shape, self.channels, dtype, self.seed)]
        if self.state != "none":
            told = partial(self._told, link, len(shape))
            chain.append(learned.told("told", code, dtype, told))
        chain.append(learned.sigmoid("code", code, dtype))
        if self.bits != FLOAT_BITS:
            levels = quantising(code, dtype, self.bits, 0.0, 1.0)
            chain += [replace(each, name=f"code.{each.name}") for each in levels]
        if self.channel != "none":
            op = _OPS[self.channel]
            chain.append(learned.elementwise("channel", op, code, dtype, lambda: (link(),)))
        relu = self.activation == "relu"
        chain.append(
            learned.decoder("decoder", shape, self.channels, dtype, self.seed, rectified=relu)
        )
        if relu:
            chain.append(learned.relu("restored", shape, dtype))
        return chain

    def _channel(self) -> Channel:
        from splitc_passes.layers.awgn import Awgn
        from splitc_passes.layers.bit_erasure import BitErasure
        from splitc_passes.layers.packet_loss import PacketLoss

        if self.channel == "awgn":
            return Awgn(self.psnr_db, seed=self.seed)
        if self.channel == "erasure":
            return BitErasure(self.erasure_rate, self.bits, seed=self.seed)
        size = None if self.bits == FLOAT_BITS else self.bits / 8
        return PacketLoss(self.loss_rate, self.payload_bytes, size, seed=self.seed)

    def _told(self, channel: Callable[[], Channel], rank: int) -> Sequence[nn.Module]:
        from splitc_passes.layers.channel_state import AddChannelState

        link = channel()
        known = self.state == "known"
        state = float(link.state(1)[0]) if known else _ASSUMED[self.channel]
        return (AddChannelState(self.channels, rank, link, state, follows=known),)
