# SPDX-License-Identifier: Apache-2.0
"""Operators of PyTorch by the names, FLOPs and kinds that the ONNX front end gives them."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from splitc.frontend.onnx.flops import PER_OUTPUT, REDUCTIONS, conv_kind
from splitc.ir.kinds import kind_of as kind_of_operator

Shape = tuple[int, ...]

_OPS: dict[str, str] = {
    "mm": "matmul", "bmm": "matmul", "addmm": "gemm", "baddbmm": "gemm",
    "scaleddotproductattention": "attention", "multiheadattention": "attention",
    "batchnorm": "batchnormalization", "layernorm": "layernormalization",
    "groupnorm": "groupnormalization", "instancenorm": "instancenormalization",
    "rmsnorm": "rmsnormalization", "localresponsenorm": "lrn", "normalize": "lpnormalization",
    "avgpool": "averagepool", "maxpoolwithindices": "maxpool", "maxpool2dwithindices": "maxpool",
    "convolution": "conv", "nativebatchnormlegitnotraining": "batchnormalization",
    "nativelayernorm": "layernormalization", "nativegroupnorm": "groupnormalization",
    "mean": "reducemean", "sum": "reducesum", "amax": "reducemax", "amin": "reducemin",
    "prod": "reduceprod", "norm": "reducel2", "vectornorm": "reducel2",
    "logsumexp": "reducelogsumexp",
    "cat": "concat", "concatenate": "concat", "stack": "concat", "hstack": "concat",
    "chunk": "split", "tensorsplit": "split", "unbind": "split", "splitwithsizes": "split",
    "view": "reshape", "viewas": "reshape", "reshapeas": "reshape", "unflatten": "reshape",
    "ravel": "flatten", "unsafeview": "reshape", "permute": "transpose", "t": "transpose",
    "swapaxes": "transpose", "swapdims": "transpose", "movedim": "transpose", "mt": "transpose",
    "channelshuffle": "transpose", "getitem": "slice", "narrow": "slice", "select": "slice",
    "flip": "slice", "roll": "slice", "indexselect": "gather", "index": "gather",
    "embedding": "gather", "take": "gather", "maskedfill": "where",
    "zeropad": "pad", "reflectionpad": "pad", "replicationpad": "pad", "constantpad": "pad",
    "circularpad": "pad", "constantpadnd": "pad", "interpolate": "resize", "upsample": "resize",
    "upsamplenearest": "resize", "upsamplebilinear": "resize", "upsamplebicubic": "resize",
    "upsamplingnearest": "resize", "upsamplingbilinear": "resize",
    "pixelshuffle": "depthtospace", "pixelunshuffle": "spacetodepth",
    "expandas": "expand", "broadcastto": "expand", "repeat": "tile",
    "relu6": "clip", "hardtanh": "clip", "clamp": "clip", "clampmin": "clip", "clampmax": "clip",
    "iadd": "add", "isub": "sub", "imul": "mul", "itruediv": "div", "truediv": "div",
    "multiply": "mul", "divide": "div", "subtract": "sub", "ipow": "pow",
    "to": "cast", "type": "cast", "float": "cast", "half": "cast", "double": "cast",
    "bfloat16": "cast", "long": "cast", "int": "cast", "tocopy": "cast", "typeas": "cast",
}  # fmt: skip
"""Names of modules, functions and methods, as `plain` writes them; others are their own."""

_SAME: frozenset[str] = frozenset((
    "dropout", "alphadropout", "featuredropout", "featurealphadropout", "identity", "contiguous",
    "clone", "detach", "alias", "liftfreshcopy", "requiresgrad", "stochasticdepth",
))  # fmt: skip
_SAME_WHERE_EQUAL: frozenset[str] = frozenset((
    "reshape", "flatten", "squeeze", "unsqueeze", "expand", "cast", "slice", "pad", "tile",
    "reducemean", "reducesum",
))  # fmt: skip
_SILU = 4  # a sigmoid and a multiplication


@dataclass(frozen=True)
class Work:
    """What a node computes, as far as its cost goes.

    Args:
        op: The operator.
        reads: Shapes of the operands, weights among them, in order.
        makes: Shapes of the results.
        weight: Shape of its weight.
        settings: Its module's attributes or its keyword arguments: groups, kernel_size…
    """

    op: str
    reads: tuple[Shape, ...]
    makes: tuple[Shape, ...]
    weight: Shape | None = None
    settings: Mapping[str, Any] = field(default_factory=dict[str, Any])

    @property
    def made(self) -> int:
        """Elements of the first result."""
        return math.prod(self.makes[0]) if self.makes else 0


def plain(name: str) -> str:
    """A name of PyTorch's without case, underscores and dimensions: `BatchNorm2d`, `batch_norm`."""
    bare = name.split(".", maxsplit=1)[0].replace("_", "").lower()
    return re.sub(r"(?<=[a-z])[123]d$", "", bare)


def op_of(name: str, reads: tuple[Shape, ...], makes: tuple[Shape, ...]) -> str:
    """The operator of that name: how the ONNX front end calls the same."""
    bare = plain(name)
    if bare in ("linear", "nondynamicallyquantizablelinear"):
        return "gemm" if reads and len(reads[0]) == 2 else "matmul"
    if bare in ("adaptiveavgpool", "adaptivemaxpool"):
        what = "average" if bare == "adaptiveavgpool" else "max"
        whole = bool(makes) and all(n == 1 for n in makes[0][2:])
        return f"global{what}pool" if whole else f"{what}pool"
    return _OPS.get(bare, bare)


def gives_input_back(name: str, op: str, unchanged: bool) -> bool:
    """Whether a node passes its operand on at inference: then it is no layer.

    Args:
        name: The function's or module's name.
        op: Its operator.
        unchanged: Whether shape and element type of operand and result are the same.
    """
    same = op in _SAME_WHERE_EQUAL or plain(name) == "adaptiveavgpool"
    return plain(name) in _SAME or (unchanged and same)


def kind_of(work: Work) -> str:
    """The cost kind: convolutions are told apart by their form."""
    kind = kind_of_operator(work.op)
    if work.op != "conv" or work.weight is None:
        return kind
    steps = (*_numbers(work, "stride"), *_numbers(work, "dilation"))
    return conv_kind(work.weight, int(work.settings.get("groups", 1)), steps)


def flops(work: Work) -> int:
    """Floating-point operations of one run; a multiply-add counts two."""
    rule = _RULES.get(work.op)
    if rule is not None:
        return rule(work)
    if work.op in _PER_OUTPUT:
        return _PER_OUTPUT[work.op] * work.made
    first = math.prod(work.reads[0]) if work.reads else 0
    if work.op in _REDUCTIONS:
        return first
    kind = kind_of_operator(work.op)
    return work.made if kind == "elementwise" else 0


_PER_OUTPUT = {**{name.lower(): count for name, count in PER_OUTPUT.items()}, "silu": _SILU}
_REDUCTIONS = frozenset(name.lower() for name in REDUCTIONS)


def _numbers(work: Work, name: str) -> tuple[int, ...]:
    value: Any = work.settings.get(name, ())
    return tuple(value) if isinstance(value, list | tuple) else (int(value),)  # pyright: ignore[reportUnknownVariableType, reportUnknownArgumentType]


def _conv(work: Work) -> int:
    return 2 * work.made * math.prod((work.weight or (0, 0))[1:])


def _conv_transpose(work: Work) -> int:
    return 2 * math.prod(work.reads[0]) * math.prod((work.weight or (0, 0))[1:])


def _matmul(work: Work) -> int:
    return 2 * work.made * (work.reads[0][-1] if work.reads and work.reads[0] else 1)


def _gemm(work: Work) -> int:
    if len(work.reads) == 3 and len(work.reads[0]) == 1:  # addmm: the bias stands first
        return 2 * work.made * work.reads[1][-1]
    return _matmul(work)


def _pool(work: Work) -> int:
    window = _numbers(work, "kernel_size")
    spatial = work.makes[0][2:] if work.makes else ()
    if not window or "output_size" in work.settings:
        window = tuple(math.ceil(i / o) for i, o in zip(work.reads[0][2:], spatial, strict=True))
    return work.made * (window[0] ** len(spatial) if len(window) == 1 else math.prod(window))


def _lrn(work: Work) -> int:
    # square and sum over the window, scale, add, power, divide
    return work.made * (2 * int(work.settings.get("size", 1)) + 4)


def _attention(work: Work) -> int:
    """Queries by keys, a softmax, scores by values; and a module's projections."""
    query, key, value = (*work.reads, (0, 0, 0), (0, 0, 0), (0, 0, 0))[:3]
    heads = int(work.settings.get("num_heads", 0))
    if not heads:
        scores = math.prod(query[:-1]) * key[-2]
        return scores * (2 * query[-1] + 2 * value[-1] + 5)
    first = bool(work.settings.get("batch_first")) and len(query) == 3
    length = query[1 if first else 0]
    keys = key[1 if first else 0]
    batch = math.prod(query[:-1]) // length
    width = query[-1]
    projections = 2 * batch * width * (2 * length * width + keys * (key[-1] + value[-1]))
    return projections + batch * length * keys * (4 * width + 5 * heads)


def _recurrent(work: Work) -> int:
    """Each step multiplies by every matrix once."""
    stored: Mapping[str, Any] = work.settings.get("_parameters", {})
    shapes = [tuple(p.shape) for p in stored.values()] or work.reads[1:]
    weights = sum(math.prod(shape) for shape in shapes if len(shape) == 2)
    return 2 * math.prod(work.reads[0][:-1]) * weights


def _resize(work: Work) -> int:
    taps = {"bilinear": 2, "linear": 2, "trilinear": 2, "bicubic": 4}
    count = taps.get(str(work.settings.get("mode", "nearest")), 0)
    moved = sum(a != b for a, b in zip(work.reads[0], work.makes[0], strict=False))
    return 2 * work.made * count**moved if count else 0


_RULES: dict[str, Callable[[Work], int]] = {
    "conv": _conv, "convtranspose": _conv_transpose, "matmul": _matmul, "gemm": _gemm,
    "maxpool": _pool, "averagepool": _pool, "lppool": _pool, "attention": _attention,
    "lrn": _lrn, "rnn": _recurrent, "gru": _recurrent, "lstm": _recurrent, "resize": _resize,
}  # fmt: skip
