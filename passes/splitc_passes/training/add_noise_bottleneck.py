# SPDX-License-Identifier: Apache-2.0
"""The pass `add-noise-bottleneck`: a variational codec, against inversion of what crosses."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Literal, TypeVar, get_args

from splitc.errors import UsageError
from splitc.ir.chain import Insertion
from splitc.ir.cut import Cut
from splitc.ir.graph import Tensor
from splitc.ir.model import Model
from splitc.passes.base import Pass
from splitc.passes.crossing import crossing_tensor
from splitc_passes.codecs import learned

if TYPE_CHECKING:
    from torch import nn

M = TypeVar("M", bound=Model)

Activation = Literal["relu", "none"]


@dataclass(frozen=True)
class AddNoiseBottleneck(Pass):
    """Insert a variational codec: a code with learned noise on it while it is trained.

    Rewrite::

        %t = conv(%x)            %t = conv(%x)
        %y = conv(%t)     ->     %t.mean = conv(%t)                           crosses
                                 %t.noise = variational_noise(%t.mean)
                                 %t.decoder = convtranspose(%t.noise)
                                 %t.restored = relu(%t.decoder)
                                 %y = conv(%t.restored)

    In training the code is drawn, z = mean + sigma * eps, and the divergence of the code's
    distribution from a standard normal, in nats, is added to the loss with the weight
    `beta`: the larger it is, the less of the input can be told from the code, and the less
    accurate the network. In eval mode the noise layer is the identity, and compilation
    leaves it out: the device sends the mean, which holds what training let it keep. Noise
    on the device itself would protect more; it is not built.

    Shapes: a map [N, C, H, W] becomes [N, C', ceil(H/2), ceil(W/2)] and comes back exactly;
    tokens [N, T, D] become [N, T, C'], vectors [N, D] become [N, C'], as with
    `insert-bottleneck`. Bytes that cross: those of the code, floats; `quantize-boundary`
    behind makes them fewer. FLOPs of a map: about 8 N C C' ceil(H/2) ceil(W/2) in the head,
    and as many in the tail.

    Args:
        channels: C', channels of the code, from 1 to the tensor's C (or D).
        cut: Name of the layer whose output crosses the link; "" for the model's cut.
        beta: Weight of the divergence in the loss, per nat; from 0. 0 trains with free noise.
        activation: What the decoder ends in: "relu" suits a tensor that is never negative,
            "none" any other.
        seed: Of the first weights and of the noise.

    Raises:
        IllegalCutError: Nothing or several tensors cross, an edge goes round the cut, or
            the tensor is no map, tokens or vector.
        UsageError: An option is outside its range; `channels` above C among them.
        UnsupportedOpError: The model is an ONNX graph, which cannot be trained.

    References:
        Alemi, Fischer, Dillon, Murphy, "Deep Variational Information Bottleneck",
        ICLR 2017, arXiv:1612.00410.
        Furutanpey, Raith, Dustdar, "FrankenSplit: Efficient Neural Feature Compression with
        Shallow Variational Bottleneck Injection for Mobile Edge Computing", 2023,
        arXiv:2302.10681: a variational bottleneck at the cut.
    """

    name: ClassVar[str] = "add-noise-bottleneck"

    channels: int
    cut: str = ""
    beta: float = 1e-3
    activation: Activation = "relu"
    seed: int = 0

    def requires(self, model: Model) -> None:
        """One tensor crosses that a codec goes around, and the options are in range."""
        if self.activation not in get_args(Activation):
            hint = "one of: " + ", ".join(get_args(Activation))
            raise UsageError(f"activation '{self.activation}' is unknown", hint=hint)
        if not 0 <= self.beta < math.inf:
            raise UsageError(f"beta {self.beta:g} is not a finite number from 0")
        learned.check_codec(crossing_tensor(model, self.cut), self.channels)

    def apply(self, model: M) -> M:
        """The model with the codec, cut at the mean."""
        tensor = crossing_tensor(model, self.cut)
        made = model.insert(tensor.name, self._chain(tensor))
        return made.with_cut(Cut.sending(made.graph, f"{tensor.name}.mean"))

    def _chain(self, tensor: Tensor) -> list[Insertion]:
        shape, dtype = tensor.static_shape, tensor.dtype
        code = learned.code_shape(shape, self.channels)

        def noise() -> Sequence[nn.Module]:
            from splitc_passes.layers.variational_noise import VariationalNoise

            return (VariationalNoise(self.channels, len(shape), self.beta, seed=self.seed),)

        chain = [
            learned.encoder("mean", shape, self.channels, dtype, self.seed),
            learned.computed(
                "noise", "variational_noise", code, code, dtype, noise, numbers=self.channels
            ),
            learned.decoder("decoder", shape, self.channels, dtype, self.seed),
        ]
        if self.activation == "relu":
            chain.append(learned.relu("restored", shape, dtype))
        return chain
