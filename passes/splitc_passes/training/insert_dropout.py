# SPDX-License-Identifier: Apache-2.0
"""The pass `insert-dropout`: train the tail on what a lossy link leaves."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, TypeVar

from splitc.errors import UsageError
from splitc.ir.chain import Insertion
from splitc.ir.cut import Cut
from splitc.ir.model import Model
from splitc.passes.base import Pass
from splitc.passes.crossing import crossing_tensor

if TYPE_CHECKING:
    from torch import nn

M = TypeVar("M", bound=Model)


@dataclass(frozen=True)
class InsertDropout(Pass):
    """Insert a loss-emulating dropout layer on the tensor that crosses the cut.

    Rewrite::

        %t = conv(%x)            %t = conv(%x)
        %y = relu(%t)     ->     %t.link_dropout = link_dropout(%t)
                                 %y = relu(%t.link_dropout)

    Every consumer of the cut tensor reads the dropped copy, so the tail trains
    on what it will receive. Shapes, dtypes, the boundary's bytes and FLOPs are
    unchanged, and the layer is the identity in eval mode: predictions before
    fine-tuning do not move. The model is cut at the tensor; compilation leaves the
    layer out.

    Args:
        cut: Name of the layer whose output crosses the link; "" for the model's cut.
        loss_rate: Fraction of elements dropped in training, in [0, 1). Unitless.
        seed: Of the masks.

    Raises:
        IllegalCutError: `cut` is not in the graph, or nothing reads its output,
            or an edge goes round it.
        UsageError: `loss_rate` is outside [0, 1).

    References:
        Itahara, Nishio, Yamamoto, "Packet-Loss-Tolerant Split Inference",
        GLOBECOM 2021, arXiv:2104.13629, eq. (2).
    """

    name: ClassVar[str] = "insert-dropout"

    cut: str = ""
    loss_rate: float = 0.1
    seed: int = 0

    def requires(self, model: Model) -> None:
        """One floating-point tensor crosses the cut."""
        if not 0 <= self.loss_rate < 1:
            raise UsageError(f"loss_rate {self.loss_rate:g} is not in [0, 1)")
        crossing_tensor(model, self.cut)

    def apply(self, model: M) -> M:
        """The model with the layer, cut before it."""
        tensor = crossing_tensor(model, self.cut)
        layer = Insertion(
            "link_dropout", "link_dropout", tensor.static_shape, tensor.dtype, modules=self._modules
        )
        made = model.insert(tensor.name, (layer,))
        return made.with_cut(Cut.sending(made.graph, tensor.name))

    def _modules(self) -> Sequence[nn.Module]:
        from splitc_passes.layers.link_dropout import LinkDropout

        return (LinkDropout(self.loss_rate, self.seed),)
