# SPDX-License-Identifier: Apache-2.0
"""Layers that passes build learned codecs from: encoder, decoder, quantiser, with exact costs."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from splitc.errors import IllegalCutError, UsageError
from splitc.ir.chain import Insertion
from splitc.ir.graph import Tensor

if TYPE_CHECKING:
    from torch import nn

Shape = tuple[int, ...]

_FORMS = {4: "[N, C, H, W]", 3: "[N, T, D]", 2: "[N, D]"}


def check_codec(tensor: Tensor, channels: int) -> None:
    """Refuse what a learned codec cannot stand around.

    Args:
        tensor: What crosses.
        channels: C', the channels that the encoder leaves.

    Raises:
        IllegalCutError: The tensor is neither a map nor tokens nor a vector.
        UsageError: `channels` is below 1 or above what there is.
    """
    shape = tensor.static_shape
    if len(shape) not in _FORMS or 0 in shape:
        why = f"'{tensor.name}' is {'x'.join(map(str, shape)) or 'scalar'}"
        hint = f"a learned codec takes {', '.join(_FORMS.values())}"
        raise IllegalCutError(
            f"no codec goes around '{tensor.name}'", why=f"{why}, of rank {len(shape)}", hint=hint
        )
    most = _width(shape)
    if not 1 <= channels <= most:
        raise UsageError(
            f"channels {channels} is not in 1 to {most}", at=f"'{tensor.name}'",
            why=f"the tensor has {most} channels",
        )  # fmt: skip


def code_shape(shape: Shape, channels: int) -> Shape:
    """What the encoder makes: of a map half the rows and columns, the last one kept if odd."""
    if len(shape) == 4:
        return (shape[0], channels, math.ceil(shape[2] / 2), math.ceil(shape[3] / 2))
    return (*shape[:-1], channels)


def encoder(name: str, shape: Shape, channels: int, dtype: str, seed: int) -> Insertion:
    """The layer from a tensor to its code, before the squashing.

    Of a map it is a 2x2 convolution of stride 2 and a batch norm, folded into it; of a vector
    a linear layer and a batch norm; of tokens a linear layer with a bias, because tokens of one
    sample are not independent draws. Odd extents get a row of zeros on each side, so that the
    windows reach the last one.

    Args:
        name: Of the layer, behind the tensor's.
        shape: Of the tensor: [N, C, H, W], [N, T, D] or [N, D].
        channels: C', the channels of the code.
        dtype: Element type.
        seed: Of the first weights.
    """
    made = code_shape(shape, channels)
    odd = _odd(shape)

    def modules() -> Sequence[nn.Module]:
        from torch import nn

        if len(shape) == 4:
            conv = nn.Conv2d(shape[1], channels, 2, stride=2, padding=odd, bias=False)
            return (conv, nn.BatchNorm2d(channels))
        return _linear(shape, shape[-1], channels)

    op, weight = ("conv", (channels, shape[1], 2, 2)) if len(shape) == 4 else _gemm(shape, made)
    numbers = math.prod(weight) + channels
    return computed(
        name, op, shape, made, dtype, seeded(seed, modules), weight=weight, numbers=numbers
    )


def decoder(
    name: str, shape: Shape, channels: int, dtype: str, seed: int, *, rectified: bool = False
) -> Insertion:
    """The layer from the code back to a tensor of the shape: the encoder's mirror.

    Where an extent is odd, the first row that the transposed convolution makes is dropped, and
    every row that is left has a value of its own.

    Args:
        name: Of the layer, behind the tensor's.
        shape: Of the tensor to give back.
        channels: C', the channels of the code.
        dtype: Element type.
        seed: Of the first weights.
        rectified: Whether a relu comes next.

    References:
        Aitken et al., "Checkerboard artifact free sub-pixel convolution", 2017,
        arXiv:1707.02937: the first weights of a map's decoder.
    """
    given = code_shape(shape, channels)

    def modules() -> Sequence[nn.Module]:
        if len(shape) == 4:
            made = _transposed(channels, shape[1], _odd(shape))
        else:
            made = _linear(shape, channels, shape[-1])
        if rectified and len(made) == 2:
            # A result that is negative for every sample gets no gradient through a relu.
            made[1].get_parameter("bias").data.fill_(0.5)
        return made

    if len(shape) == 4:
        op, weight = "convtranspose", (channels, shape[1], 2, 2)
    else:
        op, weight = _gemm(given, shape)
    numbers = math.prod(weight) + _width(shape)
    return computed(
        name, op, given, shape, dtype, seeded(seed + 1, modules), weight=weight, numbers=numbers
    )


def computed(
    name: str,
    op: str,
    reads: Shape,
    makes: Shape,
    dtype: str,
    modules: Callable[[], Sequence[nn.Module]],
    *,
    weight: Shape | None = None,
    numbers: int = 0,
    settings: Mapping[str, Any] | None = None,
) -> Insertion:
    """A layer with the cost that the PyTorch front end finds for it.

    Args:
        name: Behind the tensor's.
        op: Operator.
        reads: Shape of what it reads.
        makes: Shape of what it makes.
        dtype: Element type of what it makes and of its weights.
        modules: Makes its modules.
        weight: Shape of its weight.
        numbers: How many weights it has in all.
        settings: Of the module, where its cost depends on them.
    """
    from splitc.frontend.torch.ops import Work, flops, kind_of

    work = Work(op, (reads,), (makes,), weight, settings or {})
    size = Tensor(name, (numbers,), dtype).nbytes or 0
    return Insertion(name, op, makes, dtype, size, flops(work), kind_of(work), modules)


def elementwise(
    name: str, op: str, shape: Shape, dtype: str, modules: Callable[[], Sequence[nn.Module]]
) -> Insertion:
    """A layer without weights that keeps the shape."""
    return computed(name, op, shape, shape, dtype, modules)


def sigmoid(name: str, shape: Shape, dtype: str) -> Insertion:
    """Into [0, 1]."""

    def modules() -> Sequence[nn.Module]:
        from torch import nn

        return (nn.Sigmoid(),)

    return elementwise(name, "sigmoid", shape, dtype, modules)


def relu(name: str, shape: Shape, dtype: str) -> Insertion:
    """Into what is not negative."""

    def modules() -> Sequence[nn.Module]:
        from torch import nn

        return (nn.ReLU(),)

    return elementwise(name, "relu", shape, dtype, modules)


def told(
    name: str, shape: Shape, dtype: str, modules: Callable[[], Sequence[nn.Module]]
) -> Insertion:
    """The addition of the link's state: a weight for each channel, and the state itself."""
    numbers = _width(shape) + 1
    return computed(name, "add", shape, shape, dtype, modules, numbers=numbers)


def seeded(
    seed: int, modules: Callable[[], Sequence[nn.Module]]
) -> Callable[[], Sequence[nn.Module]]:
    """Make modules whose first weights follow from a seed, whatever was drawn before."""

    def made() -> Sequence[nn.Module]:
        import torch

        with torch.random.fork_rng(devices=[]):  # pyright: ignore[reportUnknownMemberType]
            torch.default_generator.manual_seed(seed)
            return modules()

    return made


def _width(shape: Shape) -> int:
    return shape[1] if len(shape) == 4 else shape[-1]


def _odd(shape: Shape) -> tuple[int, int]:
    """The padding of a map: one where an extent is odd."""
    return (shape[2] % 2, shape[3] % 2) if len(shape) == 4 else (0, 0)


def _linear(shape: Shape, inside: int, outside: int) -> Sequence[nn.Module]:
    from torch import nn

    if len(shape) == 2:
        return (nn.Linear(inside, outside, bias=False), nn.BatchNorm1d(outside))
    return (nn.Linear(inside, outside),)


def _transposed(inside: int, outside: int, odd: tuple[int, int]) -> Sequence[nn.Module]:
    from torch import nn

    conv = nn.ConvTranspose2d(
        inside, outside, 2, stride=2, padding=odd, output_padding=odd, bias=False
    )
    # The four results of a value begin alike: else the norm, which they share, would leave
    # some of them negative for every sample.
    conv.weight.data.copy_(conv.weight.data[:, :, :1, :1].clone())
    return (conv, nn.BatchNorm2d(outside))


def _gemm(reads: Shape, makes: Shape) -> tuple[str, Shape]:
    return "gemm" if len(reads) == 2 else "matmul", (makes[-1], reads[-1])
