# SPDX-License-Identifier: Apache-2.0
"""Elementwise operators, reductions, products, quantisation and random numbers."""

from __future__ import annotations

from splitc_targets.source.draft import Node
from splitc_targets.source.forms_numbers import axes_of
from splitc_targets.source.rules import (
    ANY,
    FLOATS,
    INTEGERS,
    NUMBERS,
    OLDER,
    OURS,
    SIGNED,
    STORED,
    TVM,
    Check,
    Operator,
    missing,
    only,
    op,
    refused,
    stored,
)

_FLAT = "before opset 13 it takes all axes from its own on for one"
_RANDOM = "it draws random numbers, and the runtime has none"
_TEXT = "text has no fixed size and no target computes on it"


def _mod(node: Node) -> str:
    floored = not node.given.get("fmod") and node.dtype().startswith("float")
    return f"fmod=0 of floats, {_UNDEFINED}" if floored and node.draft.was < _FLOORED else ""


_FLOORED = 28
"""From this opset on Mod of floats may follow the divisor's sign."""
_UNDEFINED = "which opsets before 28 do not define"


def _masked(node: Node) -> str:
    return "its mask is read, which before opset 12 has no meaning" if node.reads(1) else ""


def _gemm(node: Node) -> str:
    factors = [node.given.get(name, 1.0) for name in ("alpha", "beta")]
    whole = all(float(f).is_integer() for f in factors)
    return "" if whole or node.dtype() in FLOATS else "alpha and beta are no integers"


def _pow(node: Node) -> str:
    return "" if node.dtype(0) == node.dtype(1) else "its two types differ"


def _reduced(node: Node) -> str:
    return "its operand has no fixed shape" if axes_of(node) is None else ""


def _hardmax(node: Node) -> str:
    shape, axis = node.shape(), node.given.get("axis", -1)
    old = node.draft.was < 13 and (shape is None or axis not in (-1, len(shape) - 1))
    return _FLAT if old else ""


def _bits(node: Node) -> str:
    made = node.draft.dtype(node.output(0))
    return "" if node.dtype() in NUMBERS and made in NUMBERS else "it has other types than numbers"


def _left(why: str) -> Check:
    """Why an operator that is rewritten is refused, where it was not."""
    return lambda _: why


_FOURIER = (
    "transforms of float16, half of a complex signal's, a signal that is shorter than a frame, "
    "or a matrix of more than 2^22 elements"
)
_DETERMINANT = "matrices of more than three rows"

_UNLIKE = "slopes whose shape is not broadcast to the operand's"


def _slopes(node: Node) -> str:
    shape, slopes = node.shape(), node.shape(1)
    if shape is None or slopes is None:
        return ""
    last = shape[len(shape) - len(slopes) :]
    like = len(slopes) <= len(shape) and all(a in (1, b) for a, b in zip(slopes, last, strict=True))
    return "" if like else _UNLIKE


_FLOATING = (
    "Acos", "Acosh", "Asin", "Asinh", "Atan", "Atanh", "Ceil", "Cos", "Cosh", "Erf", "Exp",
    "Floor", "HardSwish", "IsNaN", "Log", "Mish", "Reciprocal", "Round", "Sigmoid", "Sin",
    "Sinh", "Softplus", "Softsign", "Sqrt", "Tan", "Tanh",
)  # fmt: skip
_PLAIN = ("Abs", "Add", "Div", "Identity", "Mul", "Neg", "Relu", "Sub", "Sum", "Where")
_COMPARED = (
    "Equal", "Greater", "GreaterOrEqual", "Less", "LessOrEqual",
)  # fmt: skip

_reduction = op(
    "TVM", "keepdims",
    attributes={"axes": TVM, "noop_with_empty_axes": OURS}, inputs={"axes": stored()},
    types=NUMBERS, check=_reduced, note="an operand without a fixed shape",
)  # fmt: skip
_float_reduction = op(
    "TVM", "keepdims",
    attributes={"axes": TVM, "noop_with_empty_axes": OURS}, inputs={"axes": stored()},
    types=FLOATS, check=_reduced, note="an operand without a fixed shape",
)  # fmt: skip

ARITHMETIC: dict[str, Operator] = {
    **dict.fromkeys(_FLOATING, op(types=FLOATS)),
    **dict.fromkeys(_PLAIN, op()),
    **dict.fromkeys(_COMPARED, op(types=ANY)),
    **dict.fromkeys(("And", "Or", "Xor", "Not"), op(types=("bool",))),
    **dict.fromkeys(("BitwiseAnd", "BitwiseOr", "BitwiseXor", "BitwiseNot"), op(types=INTEGERS)),
    **dict.fromkeys(("Max", "Min"), op(types=NUMBERS)),
    "Mean": op(types=FLOATS),
    "BitShift": op(
        "TVM",
        "direction",
        types=INTEGERS,
    ),
    "Bernoulli": missing(_RANDOM),
    "BitCast": op("splitc", "to", check=_bits, note="types that are no numbers of 8 to 64 bits"),
    "Cast": op(
        "TVM",
        "to",
        attributes={
            "saturate": only(1, why="values beyond a float8's range become infinite"),
            "round_mode": only("up", why="TVM rounds one way only"),
        },
    ),
    "CastLike": op(
        "TVM",
        attributes={
            "saturate": only(1, why="values beyond a float8's range become infinite"),
            "round_mode": only("up", why="TVM rounds one way only"),
        },
    ),
    "Celu": op("splitc", "alpha"),
    "Clip": op("TVM", attributes={"min": OLDER, "max": OLDER}, inputs={"min": TVM, "max": TVM}),
    "CumProd": op("splitc", "exclusive", "reverse", inputs={"axis": stored()}, types=NUMBERS),
    "CumSum": op("TVM", "exclusive", "reverse", inputs={"axis": STORED}),
    "DFT": op(
        "splitc",
        "axis",
        "inverse",
        "onesided",
        inputs={"dft_length": stored(), "axis": stored()},
        check=_left(_FOURIER),
        note=_FOURIER,
    ),
    "DequantizeLinear": op(
        "splitc",
        "axis",
        "output_dtype",
        "block_size",
        inputs={"x_zero_point": OURS},
    ),
    "Det": op("splitc", check=_left(_DETERMINANT), note=_DETERMINANT),
    "DynamicQuantizeLinear": op("splitc"),
    "Einsum": op("splitc", "equation", types=(*FLOATS, "int32", "int64", "uint32", "uint64")),
    "Elu": op("TVM", "alpha", types=("float32",)),
    "Gelu": op("TVM", "approximate", types=FLOATS),
    "Gemm": op(
        "TVM",
        "alpha",
        "beta",
        "transA",
        "transB",
        inputs={"C": TVM},
        types=NUMBERS,
        check=_gemm,
        note="factors of integers that are no integers",
    ),
    "HardSigmoid": op("TVM", "alpha", "beta", types=FLOATS),
    "Hardmax": op("TVM", "axis", types=FLOATS, check=_hardmax, note=_FLAT),
    "IsInf": op("splitc", "detect_negative", "detect_positive", types=FLOATS),
    "LeakyRelu": op("TVM", "alpha", types=FLOATS),
    "LogSoftmax": op("TVM", "axis", types=FLOATS),
    "MatMul": op(types=NUMBERS),
    "MatMulInteger": op("splitc", inputs={"a_zero_point": TVM, "b_zero_point": TVM}),
    "Mod": op("TVM", "fmod", types=NUMBERS, check=_mod, note=f"fmod=0 of floats, {_UNDEFINED}"),
    "Multinomial": missing(_RANDOM),
    "PRelu": op(types=FLOATS, check=_slopes, note=_UNLIKE),
    "Pow": op("splitc", types=FLOATS, check=_pow),
    "QLinearMatMul": op("splitc"),
    "QuantizeLinear": op(
        "splitc",
        "axis",
        attributes={
            "saturate": only(1, why="values beyond a float8's range become infinite"),
            "output_dtype": TVM,
            "block_size": OURS,
            "precision": only(0, why="it is computed in float32"),
        },
        inputs={"y_zero_point": OURS},
    ),
    **dict.fromkeys(
        ("RandomNormal", "RandomNormalLike", "RandomUniform", "RandomUniformLike"),
        missing(_RANDOM),
    ),
    **dict.fromkeys(
        ("ReduceMax", "ReduceMin", "ReduceProd", "ReduceSum", "ReduceSumSquare", "ReduceL1"),
        _reduction,
    ),
    **dict.fromkeys(
        ("ReduceMean", "ReduceL2", "ReduceLogSum", "ReduceLogSumExp"), _float_reduction
    ),
    "STFT": op(
        "splitc",
        "onesided",
        inputs={"frame_step": stored(), "window": OURS, "frame_length": stored()},
        check=_left(_FOURIER),
        note=_FOURIER,
    ),
    "Selu": op("TVM", "alpha", "gamma", types=("float32",)),
    "Sign": op(types=(*FLOATS, *SIGNED)),
    "Shrink": op("splitc", "bias", "lambd", types=FLOATS),
    "Softmax": op("TVM", "axis", types=FLOATS),
    "SwiGLU": op("splitc", "alpha"),
    "Swish": op("splitc", "alpha"),
    "ThresholdedRelu": op("splitc", "alpha", types=FLOATS),
    **dict.fromkeys(
        ("RegexFullMatch", "StringConcat", "StringNormalizer", "StringSplit"),
        missing(_TEXT),
    ),
    "TfIdfVectorizer": op(
        "splitc",
        "max_gram_length",
        "max_skip_count",
        "min_gram_length",
        "mode",
        "ngram_counts",
        "ngram_indexes",
        "pool_int64s",
        "weights",
        types=("int32", "int64"),
        attributes={"pool_strings": refused(_TEXT)},
    ),
    "ImageDecoder": missing("it reads the bytes of a file"),
    "MelWeightMatrix": op(
        "splitc",
        "output_datatype",
        inputs=dict.fromkeys(
            ("num_mel_bins", "dft_length", "sample_rate", "lower_edge_hertz", "upper_edge_hertz"),
            stored(),
        ),
    ),
    **dict.fromkeys(
        ("BlackmanWindow", "HammingWindow", "HannWindow"),
        op("splitc", "output_datatype", "periodic", inputs={"size": stored()}),
    ),
    "NegativeLogLikelihoodLoss": op("splitc", "ignore_index", "reduction", inputs={"weight": OURS}),
    "SoftmaxCrossEntropyLoss": op(
        "splitc", "ignore_index", "reduction", inputs={"weights": OURS}, outputs={"log_prob": OURS}
    ),
    "ArgMax": op("TVM", "axis", "keepdims", "select_last_index", types=NUMBERS),
    "ArgMin": op("TVM", "axis", "keepdims", "select_last_index", types=NUMBERS),
    "Dropout": op(
        "splitc",
        "ratio",
        "seed",
        inputs={"ratio": OURS, "training_mode": refused("true or computed, it drops at random")},
        outputs={"mask": OURS},
        check=_masked,
        note="a mask that is read before opset 12",
    ),
}
