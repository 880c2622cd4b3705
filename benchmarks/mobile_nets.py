# SPDX-License-Identifier: Apache-2.0
"""Layer graphs of the mobile networks by width and resolution, as their TFLite files have them.

MobileNetV1 (Howard et al., arXiv:1704.04861), V2 (Sandler et al., arXiv:1801.04381), V3 (Howard
et al., arXiv:1905.02244, its minimalistic forms from TensorFlow's models/research/slim) and
EfficientNet-Lite (TensorFlow's tpu/models/official/efficientnet/lite): shapes, FLOPs and bytes.
"""

from __future__ import annotations

import math
import re

from nets import Net
from splitc import LayerGraph
from splitc.ir.graph import Tensor

_CLASSES = 1001


def mobilenet_v1(width: float, size: int) -> LayerGraph:
    """MobileNetV1."""
    net = Net(size)
    x = net.conv(net.input, int(32 * width), 3, stride=2)
    for channels, stride in (
        (64, 1), (128, 2), (128, 1), (256, 2), (256, 1), (512, 2),
        *[(512, 1)] * 5, (1024, 2), (1024, 1),
    ):  # fmt: skip
        x = net.conv(net.depthwise(x, 3, stride=stride), int(channels * width))
    return net.softmax(net.fc(net.average(x), _CLASSES))


def mobilenet_v2(width: float, size: int) -> LayerGraph:
    """MobileNetV2."""
    net = Net(size)
    x = net.conv(net.input, _eighths(32 * width), 3, stride=2)
    for factor, channels, repeats, first in (
        (1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2),
        (6, 96, 3, 1), (6, 160, 3, 2), (6, 320, 1, 1),
    ):  # fmt: skip
        for k in range(repeats):
            x = _inverted(net, x, factor, 3, _eighths(channels * width), 1 if k else first)
    return net.softmax(net.fc(net.average(net.conv(x, _eighths(1280 * max(1.0, width)))), _CLASSES))


_LARGE = (
    (3, 16, 16, False, "relu", 1), (3, 64, 24, False, "relu", 2), (3, 72, 24, False, "relu", 1),
    (5, 72, 40, True, "relu", 2), *[(5, 120, 40, True, "relu", 1)] * 2,
    (3, 240, 80, False, "hardswish", 2), (3, 200, 80, False, "hardswish", 1),
    *[(3, 184, 80, False, "hardswish", 1)] * 2, (3, 480, 112, True, "hardswish", 1),
    (3, 672, 112, True, "hardswish", 1), (5, 672, 160, True, "hardswish", 2),
    *[(5, 960, 160, True, "hardswish", 1)] * 2,
)  # fmt: skip
_SMALL = (
    (3, 16, 16, True, "relu", 2), (3, 72, 24, False, "relu", 2), (3, 88, 24, False, "relu", 1),
    (5, 96, 40, True, "hardswish", 2), *[(5, 240, 40, True, "hardswish", 1)] * 2,
    (5, 120, 48, True, "hardswish", 1), (5, 144, 48, True, "hardswish", 1),
    (5, 288, 96, True, "hardswish", 2), *[(5, 576, 96, True, "hardswish", 1)] * 2,
)  # fmt: skip


def mobilenet_v3(width: float, size: int, *, small: bool, minimalistic: bool) -> LayerGraph:
    """MobileNetV3; the minimalistic form has 3x3 kernels, ReLU, and no squeeze-and-excitation."""
    net = Net(size)
    swish = "relu" if minimalistic else "hardswish"
    x = net.conv(net.input, _eighths(16 * width), 3, stride=2, act=swish)
    expanded = 0
    for kernel, expanded, channels, gated, act, stride in _SMALL if small else _LARGE:
        inner = _eighths(expanded * width)
        x = _mixed(
            net, x, inner, 3 if minimalistic else kernel, _eighths(channels * width), stride,
            "relu" if minimalistic else act, gated=gated and not minimalistic,
        )  # fmt: skip
    x = net.average(net.conv(x, _eighths(expanded * width), act=swish))
    return net.softmax(net.conv(net.conv(x, 1024 if small else 1280, act=swish), _CLASSES, act=""))


_LITE = (
    (1.0, 1.0, 224), (1.0, 1.1, 240), (1.1, 1.2, 260), (1.2, 1.4, 280), (1.4, 1.8, 300),
)  # fmt: skip


def efficientnet_lite(number: int) -> LayerGraph:
    """EfficientNet-Lite: no squeeze-and-excitation, ReLU6; ends and first blocks not scaled."""
    width, depth, size = _LITE[number]
    net = Net(size)
    x = net.conv(net.input, 32, 3, stride=2)
    stages = (
        (1, 3, 16, 1, 1), (6, 3, 24, 2, 2), (6, 5, 40, 2, 2), (6, 3, 80, 3, 2),
        (6, 5, 112, 3, 1), (6, 5, 192, 4, 2), (6, 3, 320, 1, 1),
    )  # fmt: skip
    for number_of, (factor, kernel, channels, repeats, first) in enumerate(stages):
        ends = number_of in (0, len(stages) - 1)
        for k in range(repeats if ends else math.ceil(repeats * depth)):
            x = _inverted(net, x, factor, kernel, _eighths(channels * width), 1 if k else first)
    return net.softmax(net.fc(net.average(net.conv(x, 1280)), 1000))


def _inverted(net: Net, x: Tensor, factor: int, kernel: int, channels: int, stride: int) -> Tensor:
    """An inverted residual with ReLU6; what a block reads is added where the shapes are one."""
    return _mixed(net, x, factor * x.static_shape[1], kernel, channels, stride, "relu")


def _mixed(
    net: Net, x: Tensor, inner: int, kernel: int, channels: int, stride: int, act: str, *,
    gated: bool = False,
) -> Tensor:  # fmt: skip
    taken = x.static_shape[1]
    made = x if inner == taken else net.conv(x, inner, act=act)
    made = net.depthwise(made, kernel, stride=stride, act=act)
    if gated:
        gate = net.conv(net.average(made), _eighths(inner / 4))
        made = net.join("mul", made, net.conv(gate, inner, act="hardsigmoid"))
    made = net.conv(made, channels, act="")
    return net.join("add", made, x) if stride == 1 and channels == taken else made


def _eighths(channels: float) -> int:
    """The nearest multiple of 8 that is not over a tenth less: the papers' rounding."""
    near = max(8, int(channels + 4) // 8 * 8)
    return near + 8 if near < 0.9 * channels else near


_NAME = re.compile(
    r"v(?P<version>[12])-(?P<width>[\d.]+)-(?P<size>\d+)"
    r"|v3-(?P<kind>large|small)(?P<minimalistic>-minimalistic)?-(?P<v3_width>[\d.]+)"
    r"|lite(?P<lite>\d)"
)


def mobile_net(name: str) -> LayerGraph:
    """The network of a name such as `v1-0.5-160`, `v3-large-0.75` (224x224) or `lite2`."""
    found = _NAME.fullmatch(name)
    assert found is not None, name
    if found["lite"]:
        return efficientnet_lite(int(found["lite"]))
    if found["kind"]:
        return mobilenet_v3(
            float(found["v3_width"]), 224, small=found["kind"] == "small",
            minimalistic=found["minimalistic"] is not None,
        )  # fmt: skip
    make = mobilenet_v1 if found["version"] == "1" else mobilenet_v2
    return make(float(found["width"]), int(found["size"]))
