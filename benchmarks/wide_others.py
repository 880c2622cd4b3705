# SPDX-License-Identifier: Apache-2.0
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false
"""Detectors, U-Nets, a GAN, networks over sequences, and two quantised as they run.

Seeded weights, nothing downloaded. Those of `networks.Net` are written down node by node;
those of torch are exported. What ends a detector is what exporters put there: boxes out of
their centres and sizes, and NonMaxSuppression.
"""

from __future__ import annotations

import itertools
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from networks import INPUT, Net, mobilenet_v2, unet
from onnx import ModelProto, TensorProto, helper

KEPT = 100
"""Boxes of a class that suppression keeps at most."""


def _narrow(net: Net, x: str, start: Sequence[int], end: Sequence[int], axes: Sequence[int],
            channels: int = 0) -> str:  # fmt: skip
    """A slice."""
    bounds = [net.constant(each, np.int64) for each in (start, end, axes)]
    return net.node("Slice", x, *bounds, channels=channels)


def _bottleneck(net: Net, x: str) -> str:
    """Two 3x3 convolutions, and what they read added."""
    width = net.channels[x]
    return net.node("Add", x, net.conv(net.conv(x, width, 3, act="silu"), width, 3, act="silu"))


def _cross_stage(net: Net, x: str, channels: int, repeats: int) -> str:
    """Half of the channels through bottlenecks, all of them joined again."""
    half = channels // 2
    both = net.conv(x, channels, act="silu")
    parts = [_narrow(net, both, [k * half], [(k + 1) * half], [1], half) for k in range(2)]
    for _ in range(repeats):
        parts.append(_bottleneck(net, parts[-1]))
    joined = net.node("Concat", *parts, axis=1, channels=half * len(parts))
    return net.conv(joined, channels, act="silu")


def _pooled_pyramid(net: Net, x: str) -> str:
    """The same at four sizes of window, joined."""
    width = net.channels[x]
    parts = [net.conv(x, width // 2, act="silu")]
    for _ in range(3):
        parts.append(net.node("MaxPool", parts[-1], kernel_shape=[5, 5], pads=[2] * 4))
    return net.conv(net.node("Concat", *parts, axis=1, channels=2 * width), width, act="silu")


def _larger(net: Net, x: str, mode: str = "nearest") -> str:
    """Height and width doubled."""
    scales = net.constant([1, 1, 2, 2])
    corners = {"coordinate_transformation_mode": "asymmetric", "nearest_mode": "floor"}
    more: dict[str, Any] = {} if mode == "linear" else corners
    return net.node("Resize", x, "", scales, channels=0, mode=mode, **more)


def _grid(size: int, strides: Sequence[int]) -> tuple[np.ndarray[Any, Any], ...]:
    """Centres of all cells, [1, 2, cells], and their strides, [1, 1, cells]."""
    centres, steps = [], []
    for stride in strides:
        along = (np.arange(size // stride) + 0.5) * stride
        y, x = np.meshgrid(along, along, indexing="ij")
        centres.append(np.stack([x.ravel(), y.ravel()]))
        steps.append(np.full((1, x.size), stride))
    return np.concatenate(centres, 1)[None], np.concatenate(steps, 1)[None]


def _distances(net: Net, boxes: str, cells: int, bins: int) -> str:
    """Expected distances to four sides, of bins' scores: [1, 4 bins, cells] to [1, 4, cells]."""
    scores = net.node("Transpose", net.reshape(boxes, 1, 4, bins, cells), perm=[0, 2, 1, 3])
    shares = net.node("Softmax", scores, axis=1)
    weights = net.constant(np.arange(bins).reshape(1, bins, 1, 1))
    return net.reshape(net.node("Conv", shares, weights, channels=1), 1, 4, cells, channels=4)


def _detections(net: Net, boxes: str, scores: str, least: float) -> ModelProto:
    """The network, ended by suppression of what scores so much.

    Gives boxes [1, n, 4], scores [1, classes, n], and of the kept ones [batch, class, box].
    """
    limits = (net.constant([KEPT], np.int64), net.constant([0.45]), net.constant([least]))
    kept = net.node("NonMaxSuppression", boxes, scores, *limits, channels=3)
    proto = net.model(boxes, 1, 1, 4)
    del proto.graph.node[-1], proto.graph.output[:]
    kinds = (TensorProto.FLOAT, TensorProto.FLOAT, TensorProto.INT64)
    shapes = ([1, "n", 4], [1, "classes", "n"], ["kept", 3])
    results = map(helper.make_tensor_value_info, (boxes, scores, kept), kinds, shapes)
    proto.graph.output.extend(results)
    return proto


def yolo(size: int = 320, classes: int = 80, width: int = 16, bins: int = 16) -> ModelProto:
    """A detector like YOLOv8n: cross-stage blocks, a pyramid up and down, a head of two arms."""
    net = Net(size, 0)
    x = net.conv(INPUT, width, 3, stride=2, act="silu")
    kept: list[str] = []
    for level, repeats in enumerate((1, 2, 2, 1)):
        x = net.conv(x, width << (level + 1), 3, stride=2, act="silu")
        x = _cross_stage(net, x, net.channels[x], repeats)
        kept.append(x)
    up = [_pooled_pyramid(net, kept[3])]
    for below in (kept[2], kept[1]):
        x = _larger(net, up[-1])
        both = net.channels[x] + net.channels[below]
        x = net.node("Concat", x, below, axis=1, channels=both)
        up.append(_cross_stage(net, x, net.channels[below], 1))
    levels = [up[2]]
    for beside in (up[1], up[0]):
        x = net.conv(levels[-1], net.channels[levels[-1]], 3, stride=2, act="silu")
        both = net.channels[x] + net.channels[beside]
        x = net.node("Concat", x, beside, axis=1, channels=both)
        levels.append(_cross_stage(net, x, net.channels[beside], 1))
    found: list[str] = []
    for k, level in enumerate(levels):
        box = net.conv(net.conv(level, 4 * bins, 3, act="silu"), 4 * bins, 3, act="silu")
        kind = net.conv(net.conv(level, classes, 3, act="silu"), classes, 3, act="silu")
        arms = [net.conv(box, 4 * bins), net.conv(kind, classes)]
        all_of = net.node("Concat", *arms, axis=1, channels=4 * bins + classes)
        cells = (size >> (3 + k)) ** 2
        found.append(net.reshape(all_of, 1, 4 * bins + classes, cells))
    joined = net.node("Concat", *found, axis=2)
    centres, steps = _grid(size, (8, 16, 32))
    cells = steps.size
    near = _distances(net, _narrow(net, joined, [0], [4 * bins], [1]), cells, bins)
    scores = net.node("Sigmoid", _narrow(net, joined, [4 * bins], [4 * bins + classes], [1]))
    step, middle = net.constant(steps), net.constant(centres / steps)
    low = net.node("Sub", middle, _narrow(net, near, [0], [2], [1], 2), channels=2)
    high = net.node("Add", _narrow(net, near, [2], [4], [1], 2), middle)
    corners = net.node("Mul", net.node("Concat", low, high, axis=1, channels=4), step)
    return _detections(net, net.node("Transpose", corners, perm=[0, 2, 1]), scores, least=0.58)


def _anchors(sizes: Sequence[tuple[int, int]], each: int) -> np.ndarray[Any, Any]:
    """Prior boxes as centre and size, [1, n, 4]: of every cell so many, of several shapes."""
    found: list[np.ndarray[Any, Any]] = []
    for level, (cells, _) in enumerate(sizes):
        along = (np.arange(cells) + 0.5) / cells
        y, x = np.meshgrid(along, along, indexing="ij")
        scale = 0.15 + 0.15 * level
        for k in range(each):
            ratio = 2.0 ** ((k % 3) - 1)
            side = (scale * ratio**0.5, scale / ratio**0.5)
            shape = [np.full(x.size, s) for s in side]
            found.append(np.stack([x.ravel(), y.ravel(), *shape], 1))
    return np.concatenate(found)[None].astype(np.float32)


def ssd(size: int = 300, classes: int = 21, each: int = 6) -> ModelProto:
    """SSD (Liu et al., arXiv:1512.02325) over depthwise layers: six maps, boxes by priors."""
    net = Net(size, 0)
    x = net.conv(INPUT, 32, 3, stride=2, act="relu6")
    maps: list[str] = []
    blocks = ((64, 1), (128, 2), (128, 1), (256, 2), (256, 1), (512, 2), *[(512, 1)] * 5)
    for channels, stride in blocks:
        x = _separable(net, x, channels, stride)
    maps.append(x)
    for channels in (1024, 512, 256, 256, 128):
        x = _separable(net, net.conv(x, channels // 2, act="relu6"), channels, 2)
        maps.append(x)
    sizes = [(19, 19), (10, 10), (5, 5), (3, 3), (2, 2), (1, 1)]
    places, kinds = [], []
    for x, (rows, columns) in zip(maps, sizes, strict=True):
        for found, width in ((places, 4), (kinds, classes)):
            made = net.node("Transpose", net.conv(x, each * width, 3), perm=[0, 2, 3, 1])
            found.append(net.reshape(made, 1, rows * columns * each, width, channels=width))
    offset = net.node("Concat", *places, axis=1)
    scores = net.node("Softmax", net.node("Concat", *kinds, axis=1), axis=2)
    priors = _anchors(sizes, each)
    middle, side = net.constant(priors[..., :2]), net.constant(priors[..., 2:])
    moved = net.node("Mul", _narrow(net, offset, [0], [2], [2], 2), net.constant([0.1]))
    centre = net.node("Add", net.node("Mul", moved, side), middle)
    grown = net.node("Mul", _narrow(net, offset, [2], [4], [2], 2), net.constant([0.2]))
    extent = net.node("Mul", net.node("Exp", grown), side)
    half = net.node("Mul", extent, net.constant([0.5]))
    ends = [net.node(op, centre, half) for op in ("Sub", "Add")]
    boxes = net.node("Concat", *ends, axis=2, channels=4)
    scores = net.node("Transpose", scores, perm=[0, 2, 1])
    return _detections(net, boxes, _narrow(net, scores, [1], [classes], [1]), least=0.2)


def _separable(net: Net, x: str, channels: int, stride: int) -> str:
    """A depthwise and a pointwise convolution."""
    width = net.channels[x]
    x = net.conv(x, width, 3, stride=stride, groups=width, act="relu6")
    return net.conv(x, channels, act="relu6")


def small_unet(size: int = 224) -> ModelProto:
    """A U-Net of inverted residuals, enlarged linearly: a mask of one channel."""
    net = Net(size, 0)
    x = net.conv(INPUT, 16, 3, stride=2, act="relu6")
    kept: list[str] = []
    for channels in (16, 24, 32, 64, 96):
        width = 4 * net.channels[x]
        stride = 2 if kept else 1
        inside = net.conv(x, width, act="relu6")
        inside = net.conv(inside, width, 3, stride=stride, groups=width, act="relu6")
        x = net.conv(inside, channels)
        kept.append(x)
    for beside in (*kept[-2::-1], INPUT):
        x = _larger(net, x, "linear")
        both = net.channels[x] + net.channels[beside]
        x = net.node("Concat", x, beside, axis=1, channels=both)
        x = _separable(net, x, max(16, net.channels[beside]), 1)
    return net.model(net.node("Sigmoid", net.conv(x, 1)), 1, 1, size, size)


def _exported(module: Any, inputs: Sequence[Any], names: Sequence[str] | None = None) -> ModelProto:
    """A torch module as torch's exporter writes it."""
    import torch

    with torch.no_grad(), tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "made.onnx"
        torch.onnx.export(module, tuple(inputs), path, input_names=names, dynamo=False)
        return onnx.load(path)


def gan_generator(width: int = 64) -> ModelProto:
    """DCGAN's generator (Radford, Metz, Chintala, arXiv:1511.06434): 100 numbers to 64x64."""
    import torch
    from torch import nn

    torch.manual_seed(0)
    layers: list[nn.Module] = []
    widths = (100, 8 * width, 4 * width, 2 * width, width)
    for k, (into, out) in enumerate(itertools.pairwise(widths)):
        start = (1, 0) if k == 0 else (2, 1)
        layers += [nn.ConvTranspose2d(into, out, 4, *start, bias=False), nn.BatchNorm2d(out)]
        layers += [nn.ReLU()]
    layers += [nn.ConvTranspose2d(width, 3, 4, 2, 1, bias=False), nn.Tanh()]
    for layer in layers:
        if isinstance(layer, nn.ConvTranspose2d):  # each result is a sum over a quarter of 4x4
            taps = 1 if layer.stride == (1, 1) else 4
            nn.init.normal_(layer.weight, std=(2 / (taps * layer.in_channels)) ** 0.5)
    return _exported(nn.Sequential(*layers).eval(), [torch.randn(1, 100, 1, 1)])


def gan_discriminator(width: int = 64) -> ModelProto:
    """DCGAN's discriminator: 64x64 to a probability."""
    import torch
    from torch import nn

    torch.manual_seed(0)
    layers: list[nn.Module] = []
    widths = (3, width, 2 * width, 4 * width, 8 * width)
    for k, (into, out) in enumerate(itertools.pairwise(widths)):
        layers += [nn.Conv2d(into, out, 4, 2, 1, bias=False)]
        layers += [nn.BatchNorm2d(out)] if k else []
        layers += [nn.LeakyReLU(0.2)]
    layers += [nn.Conv2d(8 * width, 1, 4, 1, 0, bias=False), nn.Sigmoid(), nn.Flatten()]
    return _exported(nn.Sequential(*layers).eval(), [torch.randn(1, 3, 64, 64)])


def tcn() -> ModelProto:
    """A temporal convolutional network over 512 steps of 16 numbers."""
    import torch
    from sequence_nets import TemporalConvolutions

    torch.manual_seed(0)
    module = TemporalConvolutions(16, 64, 10).eval()
    return _exported(module, [torch.randn(1, 16, 512)])


def vad() -> ModelProto:
    """A voice detector like Silero's, whose state is handed on from call to call."""
    from sequence_nets import voice_detector

    module = voice_detector()
    return _exported(module, module.examples(), ["sound", "h", "c"])


def bert_tiny(steps: int = 128) -> ModelProto:
    """BERT of 2 layers of width 128, over token numbers, with a mask."""
    import torch
    from torch import nn
    from transformers import BertConfig, BertModel  # pyright: ignore[reportMissingImports]

    class Plain(nn.Module):
        """Token numbers and a mask to what the last layer and the pooler give."""

        def __init__(self, inside: nn.Module) -> None:
            super().__init__()
            self.inside = inside

        def forward(self, tokens: torch.Tensor, mask: torch.Tensor) -> tuple[torch.Tensor, ...]:
            made = self.inside(input_ids=tokens, attention_mask=mask)
            return made.last_hidden_state, made.pooler_output

    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=3000, hidden_size=128, num_hidden_layers=2, num_attention_heads=2,
        intermediate_size=512,
    )  # fmt: skip
    module = BertModel(config).eval()
    tokens = torch.randint(0, 3000, (1, steps))
    names = ["input_ids", "attention_mask"]
    return _exported(Plain(module), [tokens, torch.ones_like(tokens)], names)


def dynamic(proto: ModelProto, weights: str, *, per_channel: bool = False) -> ModelProto:
    """A network as onnxruntime quantises it for ranges that are found as it runs.

    Args:
        proto: In floats.
        weights: Their type, "QInt8" or "QUInt8".
        per_channel: A scale for each channel of the weights, where the quantiser does so.
    """
    from onnxruntime import quantization

    import splitc

    with tempfile.TemporaryDirectory() as folder:
        plain, made = Path(folder) / "plain.onnx", Path(folder) / "made.onnx"
        onnx.save(splitc.load(proto).proto, plain)
        quantization.quantize_dynamic(
            plain, made, per_channel=per_channel, weight_type=quantization.QuantType[weights]
        )
        return onnx.load(made)


OTHERS: Mapping[str, Callable[[], ModelProto]] = {
    "yolo": yolo,
    "ssd": ssd,
    "unet": unet,
    "unet-small": small_unet,
    "gan-generator": gan_generator,
    "gan-discriminator": gan_discriminator,
    "tcn": tcn,
    "vad": vad,
    "mobilenet_v2-dynamic": lambda: dynamic(mobilenet_v2(), "QUInt8"),
    "mobilenet_v2-dynamic-channels": lambda: dynamic(mobilenet_v2(), "QUInt8", per_channel=True),
    "bert_tiny-dynamic-int8": lambda: dynamic(bert_tiny(), "QInt8"),
    "bert_tiny-dynamic-uint8": lambda: dynamic(bert_tiny(), "QUInt8"),
    "bert_tiny-dynamic-channels": lambda: dynamic(bert_tiny(), "QInt8", per_channel=True),
}
"""Networks by name. onnxruntime convolves bytes with weights that have no sign alone."""
