# SPDX-License-Identifier: Apache-2.0
"""Layer graphs of ten classic networks, without weights: shapes, FLOPs and bytes only.

Each is the network that ncnn's `benchmark/models/*.param` describes, because
those are the ones whose published times boards are held against. Batch norms
are folded into the convolutions before them and activations are layers of
their own, as in a graph that `splitc.load` reads. Where ncnn's network is not
the common one, an argument gives the common one.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

from splitc import LayerGraph
from splitc.ir.graph import Layer, Tensor

_FLOAT_BYTES = 4


class Net:
    """Appends layers one after the other; every method returns the tensor it makes.

    Args:
        size: Height and width of the one input, which has three channels.
    """

    def __init__(self, size: int) -> None:
        self.layers: list[Layer] = []
        self.input = self._append("input", (), (1, 3, size, size))

    def _append(
        self,
        op: str,
        inputs: tuple[Tensor, ...],
        shape: tuple[int, ...],
        *,
        flops: int = 0,
        weights: int = 0,
        kind: str = "",
    ) -> Tensor:
        name = f"{op}_{len(self.layers)}"
        made = Tensor(name, shape)
        reads = tuple(tensor.name for tensor in inputs)
        self.layers.append(
            Layer(name, op, reads, (made,), weights * _FLOAT_BYTES, flops, kind=kind)
        )
        return made

    def graph(self, result: Tensor) -> LayerGraph:
        """Everything appended so far, with one result."""
        return LayerGraph(tuple(self.layers), (result.name,))

    def conv(
        self,
        x: Tensor,
        channels: int,
        kernel: int = 1,
        *,
        stride: int = 1,
        pad: int | None = None,
        groups: int = 1,
        act: str = "relu",
    ) -> Tensor:
        """A convolution with a bias, then `act`: `relu`, `swish`, `sigmoid` or nothing.

        Half the kernel is padded on each side unless `pad` says otherwise.
        """
        _, depth, height, width = x.static_shape
        pad = kernel // 2 if pad is None else pad
        rows, columns = ((n + 2 * pad - kernel) // stride + 1 for n in (height, width))
        weights = channels * depth // groups * kernel * kernel
        made = self._append(
            "conv",
            (x,),
            (1, channels, rows, columns),
            flops=2 * weights * rows * columns,
            weights=weights + channels,
            kind=_conv_kind(depth, kernel, stride, groups),
        )
        return self.activate(made, act)

    def depthwise(self, x: Tensor, kernel: int, *, stride: int = 1, act: str = "relu") -> Tensor:
        """A depthwise convolution with a bias, then `act`."""
        channels = x.static_shape[1]
        return self.conv(x, channels, kernel, stride=stride, groups=channels, act=act)

    def activate(self, x: Tensor, act: str) -> Tensor:
        """An activation; swish is a sigmoid and a product, as exporters write it."""
        if act == "swish":
            return self.join("mul", x, self.activate(x, "sigmoid"))
        if not act:
            return x
        flops = math.prod(x.static_shape) * (3 if act == "sigmoid" else 1)
        return self._append(act, (x,), x.static_shape, flops=flops)

    def join(self, op: str, x: Tensor, y: Tensor) -> Tensor:
        """`add` or `mul`, elementwise; `y` may be one value a channel."""
        return self._append(op, (x, y), x.static_shape, flops=math.prod(x.static_shape))

    def pool(
        self, x: Tensor, kernel: int = 3, stride: int = 2, *, pad: int = 0, ceil: bool = True
    ) -> Tensor:
        """A maximum pool; `ceil` rounds its extents up, as Caffe does."""
        _, channels, *extents = x.static_shape
        free = [n + 2 * pad - kernel for n in extents]
        rows, columns = ((n + (stride - 1 if ceil else 0)) // stride + 1 for n in free)
        shape = (1, channels, rows, columns)
        return self._append("maxpool", (x,), shape, flops=math.prod(shape) * kernel**2)

    def average(self, x: Tensor) -> Tensor:
        """The mean of each channel."""
        flops = math.prod(x.static_shape)
        return self._append("globalaveragepool", (x,), (1, x.static_shape[1], 1, 1), flops=flops)

    def lrn(self, x: Tensor, window: int = 5) -> Tensor:
        """Local response normalisation across channels."""
        flops = math.prod(x.static_shape) * (2 * window + 4)
        return self._append("lrn", (x,), x.static_shape, flops=flops)

    def concat(self, *parts: Tensor) -> Tensor:
        """Channels of all parts, one after the other."""
        _, _, height, width = parts[0].static_shape
        channels = sum(part.static_shape[1] for part in parts)
        return self._append("concat", parts, (1, channels, height, width))

    def halves(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """The first and the second half of the channels."""
        _, channels, height, width = x.static_shape
        name = f"split_{len(self.layers)}"
        shape = (1, channels // 2, height, width)
        made = (Tensor(f"{name}.0", shape), Tensor(f"{name}.1", shape))
        self.layers.append(Layer(name, "split", (x.name,), made))
        return made

    def shuffle(self, x: Tensor, groups: int = 2) -> Tensor:
        """Channel shuffle: view as groups, transpose, view back."""
        _, channels, *rest = x.static_shape
        seen = self._append("reshape", (x,), (1, groups, channels // groups, *rest))
        turned = self._append("transpose", (seen,), (1, channels // groups, groups, *rest))
        return self._append("reshape", (turned,), x.static_shape)

    def fc(self, x: Tensor, units: int, act: str = "") -> Tensor:
        """A fully connected layer with a bias over all of `x`, then `act`."""
        depth = math.prod(x.static_shape)
        flat = self._append("reshape", (x,), (1, depth)) if len(x.static_shape) > 2 else x
        weights = depth * units
        made = self._append("gemm", (flat,), (1, units), flops=2 * weights, weights=weights + units)
        return self.activate(made, act)

    def softmax(self, x: Tensor) -> LayerGraph:
        """The last layer; the finished graph."""
        flat = x
        if len(x.static_shape) > 2:
            flat = self._append("reshape", (x,), (1, math.prod(x.static_shape)))
        flops = 5 * math.prod(flat.static_shape)
        return self.graph(self._append("softmax", (flat,), flat.static_shape, flops=flops))


def _conv_kind(depth: int, kernel: int, stride: int, groups: int) -> str:
    if groups > 1 and depth == groups:
        return "depthwise"
    if kernel == 1:
        return "conv1x1"
    return "conv3x3" if (kernel, stride, groups) == (3, 1, 1) else "conv"


def squeezenet(size: int = 227, last_pad: int = 1) -> LayerGraph:
    """SqueezeNet 1.1; ncnn's takes 227x227 and pads the 1x1 classifier, the common one 224, 0."""
    net = Net(size)
    x = net.pool(net.conv(net.input, 64, 3, stride=2, pad=0))
    for squeezed, grown, pooled in (
        (16, 64, False), (16, 64, True), (32, 128, False), (32, 128, True),
        (48, 192, False), (48, 192, False), (64, 256, False), (64, 256, False),
    ):  # fmt: skip
        s = net.conv(x, squeezed)
        x = net.concat(net.conv(s, grown), net.conv(s, grown, 3))
        x = net.pool(x) if pooled else x
    return net.softmax(net.average(net.conv(x, 1000, pad=last_pad)))


def squeezenet_1_0() -> LayerGraph:
    """SqueezeNet 1.0, as torchvision has it."""
    net = Net(224)
    x = net.pool(net.conv(net.input, 96, 7, stride=2, pad=0))
    for squeezed, grown, pooled in (
        (16, 64, False), (16, 64, False), (32, 128, True), (32, 128, False),
        (48, 192, False), (48, 192, False), (64, 256, True), (64, 256, False),
    ):  # fmt: skip
        s = net.conv(x, squeezed)
        x = net.concat(net.conv(s, grown), net.conv(s, grown, 3))
        x = net.pool(x) if pooled else x
    return net.softmax(net.average(net.conv(x, 1000)))


def mobilenet() -> LayerGraph:
    """MobileNetV1 1.0."""
    net = Net(224)
    x = net.conv(net.input, 32, 3, stride=2)
    for channels, stride in (
        (64, 1), (128, 2), (128, 1), (256, 2), (256, 1), (512, 2),
        *[(512, 1)] * 5, (1024, 2), (1024, 1),
    ):  # fmt: skip
        x = net.conv(net.depthwise(x, 3, stride=stride), channels)
    return net.softmax(net.fc(net.average(x), 1000))


def mobilenet_v2(*, expand_first: bool = True) -> LayerGraph:
    """MobileNetV2 1.0; ncnn's has a 1x1 convolution of factor 1 in the first block too."""
    net = Net(224)
    x = net.conv(net.input, 32, 3, stride=2)
    for factor, channels, repeats, first_stride in (
        (1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2),
        (6, 96, 3, 1), (6, 160, 3, 2), (6, 320, 1, 1),
    ):  # fmt: skip
        for k in range(repeats):
            stride = first_stride if k == 0 else 1
            inside = x
            if factor > 1 or expand_first:
                inside = net.conv(x, factor * x.static_shape[1])
            made = net.conv(net.depthwise(inside, 3, stride=stride), channels, act="")
            x = net.join("add", made, x) if k else made
    return net.softmax(net.fc(net.average(net.conv(x, 1280)), 1000))


def shufflenet_v2() -> LayerGraph:
    """ShuffleNetV2 1.0x."""
    net = Net(224)
    x = net.pool(net.conv(net.input, 24, 3, stride=2))
    for channels, repeats in ((116, 4), (232, 8), (464, 4)):
        half = channels // 2
        for k in range(repeats):
            stride = 1 if k else 2
            kept, worked = net.halves(x) if k else (x, x)
            if k == 0:
                kept = net.conv(net.depthwise(x, 3, stride=2, act=""), half)
            inside = net.depthwise(net.conv(worked, half), 3, stride=stride, act="")
            x = net.shuffle(net.concat(kept, net.conv(inside, half)))
    return net.softmax(net.fc(net.average(net.conv(x, 1024)), 1000))


def efficientnet_b0() -> LayerGraph:
    """EfficientNet-B0, with squeeze-and-excitation by a quarter of each block's input."""
    net = Net(224)
    x = net.conv(net.input, 32, 3, stride=2, act="swish")
    for factor, kernel, channels, repeats, first_stride in (
        (1, 3, 16, 1, 1), (6, 3, 24, 2, 2), (6, 5, 40, 2, 2), (6, 3, 80, 3, 2),
        (6, 5, 112, 3, 1), (6, 5, 192, 4, 2), (6, 3, 320, 1, 1),
    ):  # fmt: skip
        for k in range(repeats):
            taken = x.static_shape[1]
            inside = net.conv(x, factor * taken, act="swish") if factor > 1 else x
            stride = first_stride if k == 0 else 1
            inside = net.depthwise(inside, kernel, stride=stride, act="swish")
            gate = net.conv(net.average(inside), taken // 4, act="swish")
            gate = net.conv(gate, factor * taken, act="sigmoid")
            made = net.conv(net.join("mul", inside, gate), channels, act="")
            x = net.join("add", made, x) if k else made
    return net.softmax(net.fc(net.average(net.conv(x, 1280, act="swish")), 1000))


def googlenet(*, ceil: bool = True) -> LayerGraph:
    """GoogLeNet without its auxiliary outputs; Caffe's rounds pooled extents up."""
    net = Net(224)
    x = net.pool(net.conv(net.input, 64, 7, stride=2), ceil=ceil)
    x = net.lrn(net.conv(net.conv(net.lrn(x), 64), 192, 3))
    blocks = (
        (64, 96, 128, 16, 32, 32), (128, 128, 192, 32, 96, 64), (192, 96, 208, 16, 48, 64),
        (160, 112, 224, 24, 64, 64), (128, 128, 256, 24, 64, 64), (112, 144, 288, 32, 64, 64),
        (256, 160, 320, 32, 128, 128), (256, 160, 320, 32, 128, 128), (384, 192, 384, 48, 128, 128),
    )  # fmt: skip
    for k, (one, three_in, three, five_in, five, pooled) in enumerate(blocks):
        x = net.pool(x, ceil=ceil) if k in (0, 2, 7) else x
        x = net.concat(
            net.conv(x, one),
            net.conv(net.conv(x, three_in), three, 3),
            net.conv(net.conv(x, five_in), five, 5),
            net.conv(net.pool(x, 3, 1, pad=1), pooled),
        )
    return net.softmax(net.fc(net.average(x), 1000))


def resnet18() -> LayerGraph:
    """ResNet-18; ncnn's has a projection in the first block of every stage, the first too."""
    net = Net(224)
    x = net.pool(net.conv(net.input, 64, 7, stride=2))
    for channels in (64, 128, 256, 512):
        for k in range(2):
            stride = 2 if k == 0 and channels > 64 else 1
            past = net.conv(x, channels, stride=stride, act="") if k == 0 else x
            made = net.conv(net.conv(x, channels, 3, stride=stride), channels, 3, act="")
            x = net.activate(net.join("add", made, past), "relu")
    return net.softmax(net.fc(net.average(x), 1000))


def resnet50(*, stride_in_3x3: bool = False, width: int = 1) -> LayerGraph:
    """ResNet-50; the paper's, and ncnn's, strides in the first 1x1, most others' in the 3x3.

    Wide ResNet-50-2 has `width` times the channels inside its blocks.
    """
    net = Net(224)
    x = net.pool(net.conv(net.input, 64, 7, stride=2))
    for channels, repeats in ((64, 3), (128, 4), (256, 6), (512, 3)):
        for k in range(repeats):
            stride = 2 if k == 0 and channels > 64 else 1
            first, second = (1, stride) if stride_in_3x3 else (stride, 1)
            past = net.conv(x, 4 * channels, stride=stride, act="") if k == 0 else x
            inside = net.conv(x, width * channels, stride=first)
            inside = net.conv(inside, width * channels, 3, stride=second)
            made = net.conv(inside, 4 * channels, act="")
            x = net.activate(net.join("add", made, past), "relu")
    return net.softmax(net.fc(net.average(x), 1000))


def alexnet() -> LayerGraph:
    """AlexNet as Caffe has it: 227x227, two groups in the second, fourth and fifth layers."""
    net = Net(227)
    x = net.pool(net.lrn(net.conv(net.input, 96, 11, stride=4, pad=0)))
    x = net.pool(net.lrn(net.conv(x, 256, 5, groups=2)))
    x = net.conv(net.conv(x, 384, 3), 384, 3, groups=2)
    x = net.pool(net.conv(x, 256, 3, groups=2))
    return net.softmax(net.fc(net.fc(net.fc(x, 4096, "relu"), 4096, "relu"), 1000))


def vgg16() -> LayerGraph:
    """VGG-16."""
    return _vgg(deep=3)


def vgg19() -> LayerGraph:
    """VGG-19, which ncnn's benchmark does not have."""
    return _vgg(deep=4)


def _vgg(deep: int) -> LayerGraph:
    """VGG with so many convolutions in each of the last three stages."""
    net = Net(224)
    x = net.input
    for channels, repeats in ((64, 2), (128, 2), (256, deep), (512, deep), (512, deep)):
        for _ in range(repeats):
            x = net.conv(x, channels, 3)
        x = net.pool(x, 2, 2)
    return net.softmax(net.fc(net.fc(net.fc(x, 4096, "relu"), 4096, "relu"), 1000))


NETS: Mapping[str, Callable[[], LayerGraph]] = {
    "squeezenet": squeezenet,
    "mobilenet": mobilenet,
    "mobilenet_v2": mobilenet_v2,
    "shufflenet_v2": shufflenet_v2,
    "efficientnet_b0": efficientnet_b0,
    "googlenet": googlenet,
    "resnet18": resnet18,
    "alexnet": alexnet,
    "resnet50": resnet50,
    "vgg16": vgg16,
}
"""The networks by the names they have in ncnn's benchmark, as it runs them."""


def macs(graph: LayerGraph) -> int:
    """Multiply-adds of the convolutions and fully connected layers, as papers count them."""
    kinds = ("conv", "conv1x1", "conv3x3", "depthwise", "gemm")
    return sum(layer.flops for layer in graph.layers if layer.kind in kinds) // 2
