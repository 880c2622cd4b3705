# SPDX-License-Identifier: Apache-2.0
"""A camera's frame made what a network reads: layers in front of the network, not code beside it.

In front of the network they are compiled, checked and cut with it: the device takes the bytes
that a camera or a decoder gives, and where all of the network is on the server, bytes cross the
link in the place of floats of four times the size.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

from splitc.errors import UsageError, nearest
from splitc.ir.chain import FLOATS, Insertion
from splitc.ir.graph import Tensor

if TYPE_CHECKING:
    from torch import nn

    from splitc.ir.model import Network

    N = TypeVar("N", bound=Network)

TYPES = ("uint8", "float32")
LAYOUTS = ("nchw", "nhwc")
_KEYS = ("scale", "mean", "std", "size")
_EXAMPLE = "'uint8 nhwc scale=1/255 mean=0.485,0.456,0.406 std=0.229,0.224,0.225'"
_CHANNELS = (1, 3, 4)
_LARGEST = 2**14


@dataclass(frozen=True)
class Preprocess:
    """How a frame becomes an input: (resized frame * scale - mean) / std.

    The words are those of torchvision: `ToTensor` is a scale of 1/255, `Normalize` mean and std.

    Args:
        dtype: Element type of the frame: uint8 or float32.
        layout: Its order of dimensions, nhwc as cameras and decoders give it, or nchw; "" for
            the network's.
        scale: What each value is multiplied by, first.
        mean: Subtracted then: one number, or one a channel, in the network's order of channels.
        std: What is divided by then; likewise.
        size: Height and width of the frame in pixels, where it is not the network's size:
            bilinear between pixel centres, as `cv2.resize` does by default.
        bgr: The network was trained on BGR, as Caffe's were: the channels of the frame, which
            decoders give as RGB, are reversed first.
        name: Of the input, where the network has several.
    """

    dtype: str = "uint8"
    layout: str = ""
    scale: float = 1.0
    mean: tuple[float, ...] = (0.0,)
    std: tuple[float, ...] = (1.0,)
    size: tuple[int, int] | None = None
    bgr: bool = False
    name: str = ""

    @staticmethod
    def parse(text: str) -> Preprocess:
        """The words of `--preprocess`: `uint8 nhwc scale=1/255 mean=… std=… size=480x640 bgr`.

        In front of them may stand an input's name and a colon.

        Raises:
            UsageError: A word that is none of these, or twice the same.
        """
        name, colon, rest = text.rpartition(":")
        found: dict[str, Any] = {"name": name.strip()} if colon else {}
        for word in rest.split():
            key, value = _word(word)
            if key in found:
                raise UsageError(f"--preprocess says its {key} twice", at=f"'{word}'")
            found[key] = value
        if not rest.split():
            raise UsageError("--preprocess says nothing", hint=f"like {_EXAMPLE}")
        return Preprocess(**found)


def _word(word: str) -> tuple[str, Any]:
    key, equals, text = word.partition("=")
    if not equals:
        if word in TYPES:
            return "dtype", word
        if word in LAYOUTS:
            return "layout", word
        if word == "bgr":
            return "bgr", True
    elif key in _KEYS:
        try:
            return key, _READ[key](text)
        except ValueError as error:
            raise UsageError(f"'{word}' is no {key}", why=str(error)) from error
    known = [*TYPES, *LAYOUTS, "bgr", *(f"{one}=" for one in _KEYS)]
    hint = nearest(f"{key}{equals}", known) or f"like {_EXAMPLE}"
    raise UsageError(f"--preprocess does not know '{word}'", hint=hint)


def _number(text: str) -> float:
    """A number, or one over another."""
    above, slash, below = text.partition("/")
    value = float(above) / (float(below) if slash and float(below) else 1.0)
    if (slash and not float(below)) or not abs(value) < 1e30:
        raise ValueError("a finite number is wanted, or one over another, like 1/255")
    return value


def _numbers(text: str) -> tuple[float, ...]:
    return tuple(_number(one) for one in text.split(","))


def _divisors(text: str) -> tuple[float, ...]:
    found = _numbers(text)
    if not all(found):
        raise ValueError("nothing is divided by 0")
    return found


def _size(text: str) -> tuple[int, int]:
    found = re.fullmatch(r"(\d{1,5})x(\d{1,5})", text)
    height, width = map(int, found.groups()) if found else (0, 0)
    if not (0 < height <= _LARGEST and 0 < width <= _LARGEST):
        raise ValueError(f"height x width in pixels is wanted, like 480x640, up to {_LARGEST:,}")
    return height, width


_READ: dict[str, Callable[[str], Any]] = {
    "scale": _number, "mean": _numbers, "std": _divisors, "size": _size,
}  # fmt: skip


def preprocessed(model: N, how: Preprocess | str) -> N:
    """A network with layers in front that make of frames what it read before.

    Args:
        model: A network with an input of images, [N, C, H, W] or [N, H, W, C], of floats.
        how: What the frames are, also as text.

    Raises:
        UsageError: There is no such input, it is none of images, or the words do not fit it.
        UnsupportedOpError: The model's ONNX opset has not what is needed.
    """
    given = Preprocess.parse(how) if isinstance(how, str) else how
    tensor = _input(model, given.name)
    plan = _Plan(given, tensor, _network_layout(tensor))
    return model.fed(tensor.name, plan.frame, plan.chain())


def _input(model: Network, name: str) -> Tensor:
    inputs = {tensor.name: tensor for tensor in model.graph.inputs}
    if name and name not in inputs:
        hint = nearest(name, inputs)
        raise UsageError(f"--preprocess: there is no input '{name}'", hint=hint)
    images = [t for t in inputs.values() if len(t.shape or ()) == 4 and t.dtype in FLOATS]
    if name:
        images = [t for t in images if t.name == name]
    if len(images) == 1:
        return images[0]
    if images:
        names = ", ".join(t.name for t in images)
        hint = f"name it in front: '{images[0].name}: uint8 nhwc'"
        raise UsageError(f"--preprocess: several inputs may be images: {names}", hint=hint)
    forms = ", ".join(f"{t.name} {t}" for t in inputs.values() if not name or t.name == name)
    why = f"an input of floats with 4 axes is wanted; there is {forms}"
    raise UsageError("--preprocess: no input is one of images", why=why)


def _network_layout(tensor: Tensor) -> str:
    """Channels are where few are; in front where both ends have few."""
    _, first, _, last = tensor.static_shape
    return "nhwc" if last in _CHANNELS and first not in _CHANNELS else "nchw"


@dataclass(frozen=True)
class _Plan:
    """The layers for one input.

    Args:
        how: What is wanted.
        tensor: The network's input.
        layout: The order of its dimensions.
    """

    how: Preprocess
    tensor: Tensor
    layout: str

    @property
    def frame(self) -> Tensor:
        """What the network is to read."""
        count, channels, height, width = self._split(self.tensor.static_shape)
        height, width = self.how.size or (height, width)
        made = _joined((count, channels, height, width), self._given_layout)
        return Tensor(self.tensor.name, made, self.how.dtype)

    @property
    def _given_layout(self) -> str:
        return self.how.layout or self.layout

    def _split(self, shape: Sequence[int]) -> tuple[int, int, int, int]:
        """N, C, H, W of a shape in the network's order."""
        if self.layout == "nchw":
            count, channels, height, width = shape
        else:
            count, height, width, channels = shape
        return count, channels, height, width

    def chain(self) -> list[Insertion]:
        """The layers: first what moves bytes, then floats: resized, scaled, moved."""
        count, channels, height, width = self._split(self.tensor.static_shape)
        tall, wide = self.how.size or (height, width)
        resizes = (tall, wide) != (height, width)
        inner = "nchw" if resizes else self.layout  # what resizes has its channels in front
        now, dtype = self.frame.static_shape, self.how.dtype
        made: list[Insertion] = []
        if self._given_layout != inner:
            now = _joined((count, channels, tall, wide), inner)
            made.append(_turned(inner, now, dtype))
        if dtype != self.tensor.dtype:
            dtype = self.tensor.dtype
            made.append(_cast(now, dtype))
        if resizes:
            now = (count, channels, height, width)
            made.append(_resized(now, dtype))
        if inner != self.layout:
            now = self.tensor.static_shape
            made.append(_turned(self.layout, now, dtype))
        axis = 1 if self.layout == "nchw" else 3
        if self.how.bgr:
            made.append(_reversed(axis, now, dtype))
        means, stds = (self._by_channel(key, channels) for key in ("mean", "std"))
        factors = [self.how.scale / std for std in stds]
        offsets = [-mean / std for mean, std in zip(means, stds, strict=True)]
        if any(factor != 1 for factor in factors):
            made.append(_with("Mul", "scaled", factors, axis, now, dtype))
        if any(offsets):
            made.append(_with("Add", "normalised", offsets, axis, now, dtype))
        return made

    def _by_channel(self, key: str, channels: int) -> list[float]:
        values: tuple[float, ...] = getattr(self.how, key)
        if len(values) not in (1, channels):
            why = f"input '{self.tensor.name}' has {channels} channels"
            raise UsageError(f"--preprocess: {len(values)} numbers of {key}", why=why)
        return list(values) * (channels // len(values))


def _joined(shape: tuple[int, int, int, int], layout: str) -> tuple[int, ...]:
    count, channels, height, width = shape
    return shape if layout == "nchw" else (count, height, width, channels)


def _turned(layout: str, shape: tuple[int, ...], dtype: str) -> Insertion:
    order = (0, 3, 1, 2) if layout == "nchw" else (0, 2, 3, 1)

    def modules() -> list[nn.Module]:
        from splitc.frontend.torch.preprocess import Turned

        return [Turned(order)]

    return Insertion(
        layout, "transpose", shape, dtype, modules=modules,
        node=_node("Transpose", perm=list(order)),
    )  # fmt: skip


def _cast(shape: tuple[int, ...], dtype: str) -> Insertion:
    def modules() -> list[nn.Module]:
        from splitc.frontend.torch.preprocess import Cast

        return [Cast(dtype)]

    def node(read: str, made: str) -> tuple[Any, dict[str, Any]]:
        from onnx import helper

        from splitc.frontend.onnx.read import element_type

        return helper.make_node("Cast", [read], [made], to=element_type(dtype)), {}

    return Insertion(dtype, "cast", shape, dtype, modules=modules, node=node)


def _resized(shape: tuple[int, ...], dtype: str) -> Insertion:
    def modules() -> list[nn.Module]:
        from splitc.frontend.torch.preprocess import Resized

        return [Resized(shape[2:])]

    def node(read: str, made: str) -> tuple[Any, dict[str, Any]]:
        import numpy as np
        from onnx import helper

        sizes = f"{made}.sizes"
        new = helper.make_node(
            "Resize", [read, f"{made}.roi", f"{made}.scales", sizes], [made], mode="linear",
            coordinate_transformation_mode="half_pixel",
        )  # fmt: skip
        none = np.zeros(0, np.float32)
        arrays = {
            f"{made}.roi": none, f"{made}.scales": none, sizes: np.array(shape, np.int64)
        }  # fmt: skip
        return new, arrays

    return Insertion("resized", "resize", shape, dtype, modules=modules, node=node)


def _reversed(axis: int, shape: tuple[int, ...], dtype: str) -> Insertion:
    def modules() -> list[nn.Module]:
        from splitc.frontend.torch.preprocess import Reversed

        return [Reversed(axis, shape[axis])]

    def node(read: str, made: str) -> tuple[Any, dict[str, Any]]:
        import numpy as np
        from onnx import helper

        order = f"{made}.order"
        new = helper.make_node("Gather", [read, order], [made], axis=axis)
        return new, {order: np.arange(shape[axis])[::-1].copy()}

    return Insertion("reversed", "gather", shape, dtype, modules=modules, node=node)


def _with(
    op: str, name: str, values: Sequence[float], axis: int, shape: tuple[int, ...], dtype: str
) -> Insertion:
    """A product or sum with one number a channel."""
    extents = [len(values) if k == axis else 1 for k in range(4)]

    def modules() -> list[nn.Module]:
        from splitc.frontend.torch.preprocess import Added, Scaled

        return [(Scaled if op == "Mul" else Added)(values, extents)]

    def node(read: str, made: str) -> tuple[Any, dict[str, Any]]:
        import numpy as np
        from onnx import helper

        from splitc.frontend.onnx.read import element_type

        key = f"{made}.by"
        array = np.array(values, np.float64).reshape(extents)
        array = array.astype(helper.tensor_dtype_to_np_dtype(element_type(dtype)))
        return helper.make_node(op, [read, key], [made]), {key: array}

    flops = math.prod(shape)
    return Insertion(name, op.lower(), shape, dtype, flops=flops, modules=modules, node=node)


def _node(op: str, **attributes: Any) -> Callable[[str, str], tuple[Any, dict[str, Any]]]:
    def node(read: str, made: str) -> tuple[Any, dict[str, Any]]:
        from onnx import helper

        return helper.make_node(op, [read], [made], **attributes), {}

    return node
