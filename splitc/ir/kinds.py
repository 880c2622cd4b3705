# SPDX-License-Identifier: Apache-2.0
"""Which kind of work an operator is: what cost models price it by."""

from __future__ import annotations

from splitc.errors import SplitcError, nearest
from splitc.plugins import plugins

_OF_OPERATOR: dict[str, str] = {
    **dict.fromkeys(("conv", "convtranspose", "deformconv", "convinteger", "qlinearconv"), "conv"),
    **dict.fromkeys(
        ("gemm", "matmul", "matmulinteger", "qlinearmatmul", "einsum", "attention", "linear"),
        "gemm",
    ),
    **dict.fromkeys(("rnn", "gru", "lstm"), "recurrent"),
    **dict.fromkeys(
        ("maxpool", "averagepool", "globalaveragepool", "globalmaxpool", "lppool", "globallppool"),
        "pool",
    ),
    **dict.fromkeys(
        (
            "batchnormalization", "layernormalization", "instancenormalization", "lrn", "softmax",
            "logsoftmax", "groupnormalization", "lpnormalization", "meanvariancenormalization",
            "reducemean", "reducesum", "reducemax", "reducemin", "reduceprod", "reducel1",
            "reducel2", "reducelogsum", "reducelogsumexp", "reducesumsquare",
        ),
        "norm",
    ),
    **dict.fromkeys(
        (
            "input", "reshape", "flatten", "squeeze", "unsqueeze", "identity", "shape", "size",
            "constant", "constantofshape", "dropout",
        ),
        "view",
    ),
    **dict.fromkeys(
        (
            "transpose", "concat", "split", "slice", "gather", "gatherelements", "gathernd", "pad",
            "expand", "tile", "depthtospace", "spacetodepth", "resize", "upsample", "scatter",
            "scatterelements", "scatternd", "reversesequence", "onehot", "cast", "eyelike",
            "nonzero", "compress", "unique", "topk", "range",
        ),
        "move",
    ),
    **dict.fromkeys(("if", "loop", "scan", "sequencemap"), "control"),
}  # fmt: skip
"""Of the operators that networks have; every other one is elementwise."""

KINDS = frozenset((
    "conv", "conv1x1", "conv3x3", "depthwise", "gemm", "recurrent", "pool", "norm", "elementwise",
    "view", "move", "control", "channel",
))  # fmt: skip
"""`view` computes nothing, `move` moves values, `channel` stands for what the link does to them."""


def kind_of(op: str) -> str:
    """The kind of work that an operator is, by its lower-case name.

    Networks' own operators are known here; those that a pack's passes insert, the pack names.

    Raises:
        SplitcError: A pack names a kind that there is not.
    """
    known = _OF_OPERATOR.get(op)
    if known is not None:
        return known
    kind = plugins().kinds.get(op, "elementwise")
    if kind not in KINDS:
        raise SplitcError(
            f"a pack says that '{op}' is a '{kind}'", why="there is no such kind of layer",
            hint=nearest(kind, KINDS),
        )  # fmt: skip
    return kind
