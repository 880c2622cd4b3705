# SPDX-License-Identifier: Apache-2.0
"""The pass `distill-head`: a small head, to be trained to the boundary of the one it replaces."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal, TypeVar, get_args

from splitc.errors import IllegalCutError, UsageError
from splitc.ir.chain import head_ends
from splitc.ir.cut import Cut
from splitc.ir.graph import LayerGraph, Tensor
from splitc.ir.model import Model
from splitc.passes.base import Pass
from splitc.passes.crossing import crossing_tensor
from splitc_passes.training.student import Plan, layers, plan

M = TypeVar("M", bound=Model)

Activation = Literal["auto", "relu", "none"]


@dataclass(frozen=True)
class DistillHead(Pass):
    """Put a small student, still to be trained, in the place of the head.

    Rewrite::

        %x = input()             %x = input()
        %a = conv(%x)            %t.student1 = conv(%x)
        %b = relu(%a)            %t.student1.relu = relu(%t.student1)
        %t = conv(%b)     ->     %t.student2 = conv(%t.student1.relu)
        %y = relu(%t)            %y = relu(%t.student2)

    Every layer of the head goes; the student is `depth` 3x3 convolutions with a ReLU between
    them, the last with a bias, those before it with batch norm. All but the last halve the
    extents, the first ones first, until they are the boundary's, and double the channels at
    each halving, from `width`, up to those of the head's widest map; where no convolutions
    give just those extents, an average pool before the last one does. The boundary keeps
    shape, dtype and bytes; the tail is untouched. The head's FLOPs and bytes become the
    student's. The model is cut behind the student.

    With `bottleneck`, the last layer but one has that many channels and the cut is behind
    it: the device sends this narrow tensor, N x bottleneck x H x W of the boundary's extents,
    and the last layer, which restores the boundary from it, belongs to the tail. A codec
    inside (`insert-bottleneck`) makes it narrower still.

    The student's weights are random: the recipe `distill-head` trains them to give what
    the old head gives, by mean squared error, then the whole network end to end.

    Args:
        cut: Name of the layer that the head ends with; "" for the model's cut.
        max_head_bytes: What the new head may take on the device: weights plus the largest set
            of live activations, as `--max-head-memory` counts them. The student is as wide as
            this allows. 0 where `width` says it.
        width: Channels of its first layer; 0 for as many as `max_head_bytes` allows.
        depth: Convolutions in the student; 0 for as few as the extents need, at least two
            (three with a bottleneck).
        bottleneck: Channels of the narrow layer; 0 for none.
        activation: Whether the student ends with a ReLU; "auto" where the boundary does, or is
            pooled from one that does.
        seed: Of the first weights.

    Raises:
        IllegalCutError: `cut` is not in the graph, nothing reads its output, an edge goes
            round it, the network has several inputs or makes a result in the head, or
            input and boundary are not both maps [N, C, H, W] of one batch, the boundary no
            larger than the input.
        UsageError: An option is out of its range, neither `max_head_bytes` nor `width` is
            given, `depth` is too small for the extents, or no student fits `max_head_bytes`.
        UnsupportedOpError: The model is an ONNX graph, which cannot be trained.

    References:
        Matsubara, Baidya, Callegaro, Levorato, Singh, "Distilled Split Deep Neural Networks
        for Edge-Assisted Real-Time Systems", HotEdgeVideo 2019, doi:10.1145/3349614.3356022:
        the head distilled, with a bottleneck in it.
        Sbai, Saputra, Trigoni, Markham, "Cut, Distil and Encode (CDE): Split Cloud-Edge Deep
        Inference", SECON 2021, doi:10.1109/SECON52354.2021.9491600: under a memory limit.
        Matsubara, Callegaro, Singh, Levorato, Restuccia, "BottleFit", WoWMoM 2022,
        arXiv:2201.02693: how to train it.
    """

    name: ClassVar[str] = "distill-head"

    cut: str = ""
    max_head_bytes: int = 0
    width: int = 0
    depth: int = 0
    bottleneck: int = 0
    activation: Activation = "auto"
    seed: int = 0

    def requires(self, model: Model) -> None:
        """Maps on both sides, and a student that can be built within the limit."""
        for option in ("max_head_bytes", "width", "depth", "bottleneck"):
            if getattr(self, option) < 0:
                raise UsageError(f"{option} {getattr(self, option)} is below 0")
        if self.activation not in get_args(Activation):
            hint = "one of: " + ", ".join(get_args(Activation))
            raise UsageError(f"activation '{self.activation}' is unknown", hint=hint)
        if not self.max_head_bytes and not self.width:
            hint = "max_head_bytes=BYTES limits what the new head takes, width=CHANNELS sets it"
            raise UsageError("how large may the new head be?", why="nothing says it", hint=hint)
        self._plan(model)

    def apply(self, model: M) -> M:
        """The model with the student, cut behind it or at its narrow layer."""
        cut = head_cut(model, self.cut)
        tensor = cut.boundary[0]
        chosen = self._plan(model)
        chain = layers(chosen, tensor.dtype, self.seed)
        made = model.replace_head(cut, chain)
        sent = chain[chosen.head_layers - 1].name
        return made.with_cut(Cut.sending(made.graph, f"{tensor.name}.{sent}"))

    def _plan(self, model: Model) -> Plan:
        cut = head_cut(model, self.cut)
        source, tensor = _maps(cut)
        made = (t for i in cut.head for t in cut.graph.layers[i].outputs)
        maps = (t.static_shape for t in made if t.shape is not None and len(t.shape) == 4)
        return plan(
            source.static_shape,
            tensor.static_shape,
            tensor.dtype,
            depth=self.depth,
            bottleneck=self.bottleneck,
            relu=self.activation == "relu"
            or (self.activation == "auto" and _ends_with_relu(cut.graph, tensor)),
            width=self.width,
            widest=max(shape[1] for shape in maps),
            max_bytes=self.max_head_bytes,
        )


def head_cut(model: Model, cut: str) -> Cut:
    """Where the head ends that a student replaces: behind a layer; "" for the model's cut.

    Raises:
        IllegalCutError: Not one floating-point tensor crosses there.
    """
    tensor = crossing_tensor(model, cut)
    own = None if cut else model.cut
    return own or Cut.sending(model.graph, tensor.name)


def _maps(cut: Cut) -> tuple[Tensor, Tensor]:
    """The network's input and the boundary, where a student can stand between them."""
    source, tensor = head_ends(cut)
    why = ""
    for each in (source, tensor):
        shape = each.static_shape
        if len(shape) != 4 or 0 in shape:
            why = f"'{each.name}' is {'x'.join(map(str, shape)) or 'scalar'}"
            why += ": a student takes and makes maps [N, C, H, W]"
    if not why:
        (n, _, *before), (m, _, *after) = source.static_shape, tensor.static_shape
        if source.dtype != tensor.dtype:
            why = f"'{source.name}' is {source.dtype}, '{tensor.name}' is {tensor.dtype}"
        elif n != m:
            why = f"the batch is {n} in '{source.name}' and {m} in '{tensor.name}'"
        elif any(a > b for a, b in zip(after, before, strict=True)):
            why = f"'{tensor.name}' has larger extents than '{source.name}'"
    if why:
        raise IllegalCutError(f"the head before '{cut.name}' cannot be distilled", why=why)
    return source, tensor


def _ends_with_relu(graph: LayerGraph, tensor: Tensor) -> bool:
    """Whether a tensor is a ReLU's result, or pooled from one: never negative."""
    layer = graph.layers[graph.producer[tensor.name]]
    while layer.op in ("maxpool", "averagepool", "globalaveragepool", "globalmaxpool"):
        layer = graph.layers[graph.producer[layer.inputs[0]]]
    return layer.op == "relu"
