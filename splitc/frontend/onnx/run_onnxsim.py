# SPDX-License-Identifier: Apache-2.0
"""Run onnxsim on a file under limits, in a process of its own.

onnxsim executes parts of a model that may be hostile, in native code that may
crash. The process is started early, imports, and waits for one line on its
standard input: source, target, bytes and seconds as JSON.
"""

from __future__ import annotations

import json
import resource
import sys
from functools import partial
from typing import Any

# They make one layer of several, under a name of its own: the layers are where a
# network may be cut, and their names are what a user cuts by. Some of them make
# operators of onnxruntime's own domain, which no target compiles.
SKIPPED = [
    "fuse_attention", "fuse_gelu", "fuse_gqa", "fuse_layer_norm", "fuse_matmul_add_bias_into_gemm",
    "fuse_matmul_add_bias_into_gemm_batched", "fuse_qkv", "fuse_rms_norm", "fuse_rope",
]  # fmt: skip

UNUSED = ("torch", "sympy", "rich")
"""What onnxsim imports where it is installed, and does not need for what it is asked here.
PyTorch takes seconds; formulas of what a network costs and tables in colours take half of the
rest."""


def import_onnxsim() -> Any:
    """The module, without what takes long to import and is not used."""
    for name in UNUSED:
        sys.modules[name] = None  # pyright: ignore[reportArgumentType]
    import onnxsim

    return onnxsim


def main() -> None:
    """Wait for the job, limit this process, simplify the file."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    onnxsim = import_onnxsim()
    line = sys.stdin.readline()
    if not line:
        return
    source, target, max_bytes, seconds = json.loads(line)
    resource.setrlimit(resource.RLIMIT_AS, (max_bytes, max_bytes))
    resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds))
    simplify = partial(onnxsim.simplify, source, output_path=target, external_data_threshold="2GB")
    try:
        simplify(skipped_optimizers=SKIPPED)
    except RuntimeError:
        # The optimiser gives up on some graphs; folding constants alone still helps.
        simplify(perform_optimization=False)


if __name__ == "__main__":
    main()
