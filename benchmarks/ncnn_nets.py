# SPDX-License-Identifier: Apache-2.0
"""Networks as ncnn's benchmark runs them, with seeded weights: those of its published times.

`nets.py` has the same as layer graphs. ncnn's ResNet50 strides in the first 1x1 convolution of a
stage, its ResNet18 projects in the first stage too, its MobileNetV2 begins with an expansion by
one, its SqueezeNet takes 227x227 and pads the classifier.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from networks import INPUT, Net, efficientnet_b0
from onnx import ModelProto


def squeezenet(seed: int = 0) -> ModelProto:
    """SqueezeNet 1.1."""
    net = Net(227, seed)
    x = _pool(net, net.conv(INPUT, 64, 3, stride=2, pad=0, act="relu"))
    for squeezed, grown, pooled in (
        (16, 64, False), (16, 64, True), (32, 128, False), (32, 128, True),
        (48, 192, False), (48, 192, False), (64, 256, False), (64, 256, False),
    ):  # fmt: skip
        s = net.conv(x, squeezed, act="relu")
        parts = net.conv(s, grown, act="relu"), net.conv(s, grown, 3, act="relu")
        x = net.node("Concat", *parts, channels=2 * grown, axis=1)
        x = _pool(net, x) if pooled else x
    scores = net.conv(x, 1000, pad=1, act="relu")
    return _softmax(net, net.node("Flatten", net.node("GlobalAveragePool", scores), axis=1))


def mobilenet(seed: int = 0) -> ModelProto:
    """MobileNetV1 1.0."""
    net = Net(224, seed)
    x = net.conv(INPUT, 32, 3, stride=2, act="relu")
    for channels, stride in (
        (64, 1), (128, 2), (128, 1), (256, 2), (256, 1), (512, 2),
        *[(512, 1)] * 5, (1024, 2), (1024, 1),
    ):  # fmt: skip
        taken = net.channels[x]
        inside = net.conv(x, taken, 3, stride=stride, groups=taken, act="relu")
        x = net.conv(inside, channels, act="relu")
    return _softmax(net, net.classify(x))


def mobilenet_v2(seed: int = 0) -> ModelProto:
    """MobileNetV2 1.0."""
    net = Net(224, seed)
    x = net.conv(INPUT, 32, 3, stride=2, act="relu")
    for factor, channels, repeats, first_stride in (
        (1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2),
        (6, 96, 3, 1), (6, 160, 3, 2), (6, 320, 1, 1),
    ):  # fmt: skip
        for k in range(repeats):
            grown, stride = factor * net.channels[x], 1 if k else first_stride
            inside = net.conv(x, grown, act="relu")
            inside = net.conv(inside, grown, 3, stride=stride, groups=grown, act="relu")
            made = net.conv(inside, channels)
            x = net.node("Add", x, made) if k else made
    return _softmax(net, net.classify(net.conv(x, 1280, act="relu")))


def resnet18(seed: int = 0) -> ModelProto:
    """ResNet-18."""
    net = Net(224, seed)
    x = _pool(net, net.conv(INPUT, 64, 7, stride=2, act="relu"))
    for channels in (64, 128, 256, 512):
        for k in range(2):
            stride = 2 if k == 0 and channels > 64 else 1
            past = net.conv(x, channels, stride=stride) if k == 0 else x
            made = net.conv(net.conv(x, channels, 3, stride=stride, act="relu"), channels, 3)
            x = net.node("Relu", net.node("Add", made, past))
    return _softmax(net, net.classify(x))


def resnet50(seed: int = 0) -> ModelProto:
    """ResNet-50."""
    net = Net(224, seed)
    x = _pool(net, net.conv(INPUT, 64, 7, stride=2, act="relu"))
    for channels, repeats in ((64, 3), (128, 4), (256, 6), (512, 3)):
        for k in range(repeats):
            stride = 2 if k == 0 and channels > 64 else 1
            past = net.conv(x, 4 * channels, stride=stride) if k == 0 else x
            inside = net.conv(x, channels, stride=stride, act="relu")
            made = net.conv(net.conv(inside, channels, 3, act="relu"), 4 * channels)
            x = net.node("Relu", net.node("Add", made, past))
    return _softmax(net, net.classify(x))


def vgg16(seed: int = 0) -> ModelProto:
    """VGG-16."""
    net = Net(224, seed)
    x = INPUT
    for channels, repeats in ((64, 2), (128, 2), (256, 3), (512, 3), (512, 3)):
        for _ in range(repeats):
            x = net.conv(x, channels, 3, act="relu")
        x = net.pool(x)
    flat = net.node("Flatten", x, channels=512 * 7 * 7, axis=1)
    for _ in range(2):
        flat = net.activate(net.fc(flat, 4096), "relu")
    return _softmax(net, net.fc(flat))


def _pool(net: Net, x: str) -> str:
    """A maximum pool of 3x3 with stride 2 whose extents are rounded up, as Caffe's."""
    return net.node("MaxPool", x, kernel_shape=[3, 3], strides=[2, 2], ceil_mode=1)


def _softmax(net: Net, scores: str) -> ModelProto:
    return net.model(net.node("Softmax", scores, axis=1), 1, 1000)


NCNN_NETS: Mapping[str, Callable[[int], ModelProto]] = {
    "squeezenet": squeezenet,
    "mobilenet": mobilenet,
    "mobilenet_v2": mobilenet_v2,
    "efficientnet_b0": efficientnet_b0,
    "resnet18": resnet18,
    "resnet50": resnet50,
    "vgg16": vgg16,
}
"""Seven of the ten by the names that they have there."""
