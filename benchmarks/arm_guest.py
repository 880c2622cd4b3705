# SPDX-License-Identifier: Apache-2.0
# pyright: basic, reportMissingImports=false, reportAttributeAccessIssue=false
"""What does another runtime compute, and what does it execute? One inference between two marks.

    python arm_guest.py ncnn|ncnn-benchmark|litert MODEL INPUT.npy OUTPUT.npy

Runs in the emulated Python of `arm_root`, on one thread in float32. MODEL is ncnn's `.param`, its
`.bin` beside it, or a `.tflite`; an inference before the marks warms caches and memory pools.
"""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Callable
from functools import partial

import numpy as np

MARK = 0x53504C54  # as arm_counts.c has it


def mark(what: int) -> None:
    """Begin counting (1) or end it (2): a system call that qemu's plug-in looks for."""
    with contextlib.suppress(OSError):  # the kernel knows no such `which`, as it should
        os.getpriority(MARK, what)


def ncnn(model: str, image: np.ndarray, *, halves: bool = False) -> Callable[[], np.ndarray]:
    """An inference by ncnn.

    Args:
        model: Its `.param`.
        image: The input.
        halves: Whether weights of fully connected layers are kept in 2 bytes, as by default, and
            so in ncnn's benchmark. On cores without float16 all else is float32.
    """
    import ncnn

    net = ncnn.Net()
    net.opt.num_threads = 1
    net.opt.use_vulkan_compute = False
    net.opt.use_fp16_packed = net.opt.use_fp16_storage = net.opt.use_fp16_arithmetic = halves
    net.opt.use_bf16_storage = False
    if net.load_param(model) or net.load_model(model.removesuffix(".param") + ".bin"):
        sys.exit(f"ncnn cannot load {model}")

    def infer() -> np.ndarray:
        extractor = net.create_extractor()
        extractor.input("in0", ncnn.Mat(image[0]).clone())
        status, found = extractor.extract("out0")
        if status:
            sys.exit(f"ncnn: status {status}")
        return np.array(found)

    return infer


def litert(model: str, image: np.ndarray) -> Callable[[], np.ndarray]:
    """An inference by LiteRT, which hands everything to XNNPACK."""
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(model_path=model, num_threads=1)
    interpreter.allocate_tensors()
    (given,), (result,) = interpreter.get_input_details(), interpreter.get_output_details()
    interpreter.set_tensor(given["index"], np.ascontiguousarray(image.transpose(0, 2, 3, 1)))

    def infer() -> np.ndarray:
        interpreter.invoke()
        return interpreter.get_tensor(result["index"])

    return infer


def main() -> None:
    """Run it twice, and write what it computes."""
    runtime, model, given, written = sys.argv[1:]
    known = {"ncnn": ncnn, "ncnn-benchmark": partial(ncnn, halves=True), "litert": litert}
    infer = known[runtime](model, np.load(given))
    infer()
    mark(1)
    found = infer()
    mark(2)
    np.save(written, found)


if __name__ == "__main__":
    main()
