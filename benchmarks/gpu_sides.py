# SPDX-License-Identifier: Apache-2.0
# pyright: reportUnknownMemberType=false, reportUnknownArgumentType=false
# pyright: reportUnknownVariableType=false
"""What runs a network on a GPU: splitc's part, torch, onnxruntime; each timed alike.

A side takes two times: of its kernels, with inputs and results on the GPU (so many runs one behind
the other, over their number), and of calls from numpy to numpy, copies in them.
"""

from __future__ import annotations

import copy
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from onnx import ModelProto
from torch import nn

import splitc
from splitc.arrays import Array
from splitc.frontend.onnx.model import OnnxModel
from splitc.runtime.native import NativePart
from splitc.runtime.part import load_part

FLOAT32, TF32, FLOAT16 = "float32", "tf32", "float16"
PRECISIONS = (FLOAT32, TF32, FLOAT16)


class Side(Protocol):
    """A network that is loaded, with an input."""

    def kernels(self, runs: int) -> float:
        """Seconds of that many runs on the device, nothing copied."""
        ...

    def calls(self, runs: int) -> float:
        """Seconds of that many calls, one after the other, copies in them."""
        ...

    def result(self) -> Array:
        """What it computes."""
        ...


def _seconds(call: Callable[[], object], runs: int) -> float:
    start = time.perf_counter()
    for _ in range(runs):
        call()
    return time.perf_counter() - start


class SplitcSide:
    """A compiled part.

    Args:
        folder: Its own.
        given: What goes in.
    """

    def __init__(self, folder: Path, given: Array) -> None:
        loaded = load_part(folder)
        assert isinstance(loaded, NativePart)
        self._part, self._given = loaded, given
        self._part.run([given])

    def kernels(self, runs: int) -> float:
        """See `Side`."""
        return self._part.kernel_seconds(runs)

    def calls(self, runs: int) -> float:
        """See `Side`."""
        return _seconds(lambda: self._part.run([self._given]), runs)

    def result(self) -> Array:
        """See `Side`."""
        return self._part.run([self._given])[0]

    def close(self) -> None:
        """Give the GPU's memory back."""
        self._part.close()


class TorchSide:
    """torch, eager or compiled; on the processor where there is no GPU.

    cuDNN looks for the quickest of its kernels; eager, of the layouts of maps the quicker is
    taken, as the compiler chooses one itself.

    Args:
        module: The network.
        given: What goes in.
        precision: One of `PRECISIONS`.
        compiled: Whether by `torch.compile(mode="max-autotune")`.
    """

    def __init__(self, module: nn.Module, given: Array, precision: str, *, compiled: bool) -> None:
        self._device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        self._dtype = torch.float16 if precision == FLOAT16 else torch.float32
        self._tf32 = precision == TF32
        self._given = given
        self._set()
        torch.backends.cudnn.benchmark = True
        formats = [torch.contiguous_format]
        if given.ndim == 4 and not compiled:
            formats.append(torch.channels_last)
        best = float("inf")
        for form in formats:
            moved: Any = copy.deepcopy(module).to(self._device, self._dtype)
            model = moved.to(memory_format=form)
            sent = self._sent().contiguous(memory_format=form)
            run = torch.compile(model, mode="max-autotune") if compiled else model
            with torch.inference_mode():
                for _ in range(3):  # it is compiled, tuned, and recorded as a CUDA graph
                    run(sent)
                taken = self._timed(lambda run=run, sent=sent: run(sent), 5)
            if taken < best:
                best, self._run, self._form, self._held = taken, run, form, sent

    def _set(self) -> None:
        torch.backends.cuda.matmul.allow_tf32 = self._tf32
        torch.backends.cudnn.allow_tf32 = self._tf32

    def _sent(self) -> torch.Tensor:
        return torch.from_numpy(self._given).to(self._device, self._dtype)

    def _timed(self, call: Callable[[], object], runs: int) -> float:
        if self._device.type == "cpu":
            return _seconds(call, runs)
        begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        torch.cuda.synchronize()
        begin.record()
        for _ in range(runs):
            call()
        end.record()
        torch.cuda.synchronize()
        return begin.elapsed_time(end) / 1e3

    @torch.inference_mode()
    def kernels(self, runs: int) -> float:
        """See `Side`; by CUDA events around all runs."""
        self._set()
        return self._timed(lambda: self._run(self._held), runs)

    @torch.inference_mode()
    def calls(self, runs: int) -> float:
        """See `Side`."""
        self._set()
        return _seconds(self._call, runs)

    def _call(self) -> Array:
        sent = self._sent().contiguous(memory_format=self._form)
        return self._run(sent).float().cpu().numpy()

    @torch.inference_mode()
    def result(self) -> Array:
        """See `Side`."""
        self._set()
        return self._call()


class OnnxRuntimeSide:
    """onnxruntime, by CUDA where it is built for it.

    Args:
        proto: The network.
        given: What goes in.
        precision: One of `PRECISIONS`.
    """

    def __init__(self, proto: ModelProto, given: Array, precision: str) -> None:
        import onnxruntime as ort

        if precision == FLOAT16:
            from onnxruntime.transformers.float16 import convert_float_to_float16

            proto, given = convert_float_to_float16(proto), given.astype(np.float16)
        provider = "CUDAExecutionProvider"
        self._cuda = provider in ort.get_available_providers()
        options: Any = {
            "use_tf32": str(int(precision == TF32)),
            "cudnn_conv_algo_search": "EXHAUSTIVE",
        }
        providers = [(provider, options)] if self._cuda else ["CPUExecutionProvider"]
        self._session = ort.InferenceSession(proto.SerializeToString(), providers=providers)
        self._feed = {self._session.get_inputs()[0].name: given}
        self._binding = self._session.io_binding()
        device = "cuda" if self._cuda else "cpu"
        held = ort.OrtValue.ortvalue_from_numpy(given, device, 0)
        self._binding.bind_ortvalue_input(next(iter(self._feed)), held)
        self._binding.bind_output(self._session.get_outputs()[0].name, device)
        self.kernels(3)

    def kernels(self, runs: int) -> float:
        """See `Side`."""

        def all_runs() -> None:
            for _ in range(runs):
                self._session.run_with_iobinding(self._binding)
            self._binding.synchronize_outputs()

        return _seconds(all_runs, 1)

    def calls(self, runs: int) -> float:
        """See `Side`."""
        return _seconds(self.result, runs)

    def result(self) -> Array:
        """See `Side`."""
        return np.asarray(self._session.run(None, self._feed)[0])


def why_no_peer(name: str, *, dry: bool) -> str:
    """Why a peer cannot run here; "" where it can."""
    if name == "onnxruntime":
        try:
            import onnxruntime as ort
        except ImportError:
            return "it is not installed"
        if not dry and "CUDAExecutionProvider" not in ort.get_available_providers():
            return "it is built without CUDA: pip install onnxruntime-gpu"
        return ""
    if not dry and not torch.cuda.is_available():
        return f"torch {torch.__version__} finds no GPU: it is built without CUDA, or for another"
    return ""


def peer(name: str, model: OnnxModel, given: Array, precision: str) -> Side:
    """A side by its name: torch.compile, torch or onnxruntime; the model is for one sample."""
    if name == "onnxruntime":
        several = model if len(given) == 1 else model.batched(len(given))
        return OnnxRuntimeSide(several.proto, given, precision)
    module = splitc.to_torch(model).module.eval()
    return TorchSide(module, given, precision, compiled=name == "torch.compile")


def in_turn(sides: Sequence[Side], rounds: int, batch_s: float) -> list[list[tuple[float, float]]]:
    """Of each side, seconds of a run's kernels and of a call, by round.

    The sides take turns, and at going first.
    """
    found: list[list[tuple[float, float]]] = [[] for _ in sides]
    counts = [max(1, min(500, int(batch_s / max(side.kernels(1), 1e-6)))) for side in sides]
    for turn in range(rounds):
        for place in range(len(sides)):
            k = (place + turn) % len(sides)
            few = max(1, counts[k] // 4)
            found[k].append((sides[k].kernels(counts[k]) / counts[k], sides[k].calls(few) / few))
    return found
