# SPDX-License-Identifier: Apache-2.0
# pyright: reportUnknownMemberType=false
"""A network of floats with its convolutions and matrix products on bytes.

from splitc.passes.calibration import read_batches
from splitc.quantization import quantize

net = splitc.load("net.onnx")
made = quantize(net, read_batches("images.npz", net.graph.inputs))
made.model.save("net.int8.onnx")
"""

from __future__ import annotations

import io
import tempfile
from collections.abc import Collection, Iterator, Sequence
from contextlib import redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import onnx

from splitc.arrays import Array, Arrays
from splitc.bundle.codec_cost import codec_cost
from splitc.errors import UnsupportedOpError, UsageError, nearest, one_line
from splitc.frontend import load
from splitc.frontend.onnx.model import OnnxModel
from splitc.frontend.onnx.older import converted, opset_of
from splitc.ir.layer_names import find_name
from splitc.ir.model import Network
from splitc.runtime.codec_entry import CodecCost, QuantizedEntry

METHODS = {"minmax": "MinMax", "entropy": "Entropy", "percentile": "Percentile"}
"""How ranges are taken from samples: onnxruntime's names of the ways."""
_OPSET = 13
"""The first in which a scale a channel is told by an axis."""
_PRODUCTS = ("Conv", "ConvTranspose", "Gemm", "MatMul")
_HELD_OUT = 5
"""One sample of so many is kept from the ranges, and tells what quantising costs."""


@dataclass(frozen=True)
class Quantized:
    """A quantised network, and what it costs.

    Args:
        model: Operators on floats between QuantizeLinear and DequantizeLinear (QDQ).
        on_bytes: The layers whose operands are bytes: convolutions and matrix products.
        in_floats: Those that stayed in floats.
        calibrated: How many samples the ranges are from.
        held_out: Whether the samples of `cost` are others than those.
        cost: Against the given network.
        given_digest: The sha256 of that.
    """

    model: OnnxModel
    on_bytes: tuple[str, ...]
    in_floats: tuple[str, ...]
    calibrated: int
    held_out: bool
    cost: CodecCost
    given_digest: str

    @property
    def entry(self) -> QuantizedEntry:
        """What a bundle's manifest says of it."""
        return QuantizedEntry(
            on_bytes=len(self.on_bytes), in_floats=len(self.in_floats),
            calibrated=self.calibrated, held_out=self.held_out, cost=self.cost,
        )  # fmt: skip


def quantize(
    network: Network,
    samples: Sequence[Arrays],
    labels: Array | None = None,
    *,
    method: str = "minmax",
    per_channel: bool = True,
    keep: Collection[str] = (),
) -> Quantized:
    """Have onnxruntime quantise a network: activations to uint8, weights to int8, symmetric.

    Of five samples and more every fifth is kept from the ranges; what quantising costs is
    measured on these alone, in the network as it is written, on the reference.

    Args:
        network: Loaded from ONNX.
        samples: Arrays by input name, such as the network will see.
        labels: The right class of each sample; None where not known.
        method: How ranges are taken: one of `METHODS`.
        per_channel: Whether weights have a scale for each output channel.
        keep: Layers that stay in floats, named as cuts are.

    Raises:
        UsageError: There are no samples, no such layer or method, or the labels do not fit.
        UnsupportedOpError: The network is none in ONNX, is quantised already, or onnxruntime
            cannot quantise it.
    """
    if method not in METHODS:
        raise UsageError(f"there is no method '{method}'", hint=nearest(method, METHODS))
    if not samples:
        raise UsageError("no samples to take ranges from")
    if not isinstance(network, OnnxModel):
        hint = "export it: torch.onnx.export(module, inputs, 'net.onnx')"
        raise UnsupportedOpError("networks in ONNX are quantised", hint=hint)
    kept = [find_name(name, network.graph.index) for name in keep]
    if any(node.op_type == "DequantizeLinear" for node in network.proto.graph.node):
        raise UnsupportedOpError("the network is quantised already")
    used, kept_out = _divided(len(samples))
    made = _by_onnxruntime(network, [samples[k] for k in used], method, per_channel, kept)
    on_bytes, in_floats = _products(made)
    if not on_bytes:
        why = "it has no convolution and no product by weights, or all of them are kept"
        raise UnsupportedOpError("no layer of the network is quantised", why=why)
    cost = codec_cost(
        made, network, [samples[k] for k in kept_out],
        None if labels is None else labels[kept_out], golden=False,
    )  # fmt: skip
    return Quantized(made, on_bytes, in_floats, len(used), used != kept_out, cost, network.digest)


def _divided(samples: int) -> tuple[list[int], list[int]]:
    """Which samples ranges are from, and which tell the cost: all for both where few are there."""
    everything = list(range(samples))
    if samples < _HELD_OUT:
        return everything, everything
    kept_out = everything[_HELD_OUT - 1 :: _HELD_OUT]
    return [k for k in everything if k not in set(kept_out)], kept_out


def _by_onnxruntime(
    network: OnnxModel,
    samples: Sequence[Arrays],
    method: str,
    per_channel: bool,
    keep: Collection[str],
) -> OnnxModel:
    from onnxruntime import quantization

    class Feeds(quantization.CalibrationDataReader):
        """The samples, one range of them after the other."""

        def __len__(self) -> int:
            return len(samples)

        def set_range(self, start_index: int, end_index: int) -> None:
            self._now = iter(samples[start_index:end_index])

        def get_next(self) -> Any:
            return next(self._now, None)

    with tempfile.TemporaryDirectory() as folder:
        plain, written = Path(folder) / "plain.onnx", Path(folder) / "quantised.onnx"
        try:
            recent = _recent(network.proto)
            # It prints how far it is.
            with redirect_stdout(io.StringIO()):
                onnx.save(_as_prepared(recent), plain)
                quantization.quantize_static(
                    plain, written, Feeds(), quant_format=quantization.QuantFormat.QDQ,
                    per_channel=per_channel, activation_type=quantization.QuantType.QUInt8,
                    weight_type=quantization.QuantType.QInt8, nodes_to_exclude=list(keep),
                    calibrate_method=quantization.CalibrationMethod[METHODS[method]],
                    # One sample's tensors are in memory at a time, not all of them. (What is named
                    # for that, CalibMaxIntermediateOutputs, forgets the samples unread.)
                    extra_options={"CalibStridedMinMax": 1},
                )  # fmt: skip
        except Exception as error:  # It names none of what it raises.
            raise UnsupportedOpError(
                "onnxruntime cannot quantise the network", why=one_line(error)
            ) from error
        loaded = load(written)
    assert isinstance(loaded, OnnxModel)
    return loaded


def _recent(proto: onnx.ModelProto) -> onnx.ModelProto:
    """The model at an opset in which weights can have a scale for each channel."""
    return proto if opset_of(proto) >= _OPSET else converted(proto, _OPSET)


def _as_prepared(proto: onnx.ModelProto) -> onnx.ModelProto:
    """The model, told to be simplified, as it is: the quantiser would ask for that in a warning."""
    from onnxruntime.quantization.quant_utils import add_pre_process_metadata

    told = onnx.ModelProto()
    told.CopyFrom(proto)
    add_pre_process_metadata(told)
    return told


def _products(model: OnnxModel) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The layers whose first two operands come from bytes, and the others that multiply."""
    nodes = model.proto.graph.node
    makers = {name: node.op_type for node in nodes for name in node.output}

    def named(on_bytes: bool) -> Iterator[str]:
        for node in nodes:
            if node.op_type in _PRODUCTS:
                ready = {makers.get(name) for name in node.input[:2]} == {"DequantizeLinear"}
                if ready is on_bytes:
                    yield node.name

    return tuple(named(on_bytes=True)), tuple(named(on_bytes=False))
