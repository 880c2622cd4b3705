# SPDX-License-Identifier: Apache-2.0
"""Which kind of work an operator is: what cost models price it by."""

from __future__ import annotations

KIND_OF_OP: dict[str, str] = {
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
            "nonzero", "compress", "unique", "topk", "range", "jpeg_encode", "jpeg_decode",
            "huffman_encode", "huffman_decode",
        ),
        "move",
    ),
    **dict.fromkeys(("if", "loop", "scan", "sequencemap"), "control"),
    **dict.fromkeys(
        (
            "link_dropout", "packet_loss", "element_loss", "burst_loss", "trace_loss", "awgn",
            "bit_erasure", "variational_noise",
        ),
        "channel",
    ),
}  # fmt: skip
"""Cost kind of an op by its lower-case name; every other op is elementwise."""
