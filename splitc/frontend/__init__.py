# SPDX-License-Identifier: Apache-2.0
"""Front ends: read a network from a file or an object and build a `Model`."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, overload

from splitc.errors import ToolchainError, UsageError
from splitc.frontend.other_formats import is_exported_program, refuse_file, refuse_folder
from splitc.frontend.preprocess import Preprocess, preprocessed
from splitc.ir.model import DEFAULT_MAX_BYTES

if TYPE_CHECKING:
    from onnx import ModelProto
    from torch import Tensor
    from torch.export import ExportedProgram
    from torch.nn import Module

    from splitc.frontend.onnx.model import OnnxModel
    from splitc.frontend.torch.model import TorchModel

TORCH_SUFFIXES = (".pt2",)

How = Preprocess | str
"""What a frame is, also as text."""


@overload
def load(
    source: Module | ExportedProgram,
    example_inputs: Tensor | Sequence[Any] | Mapping[str, Any] | None = None,
    *,
    preprocess: How | Sequence[How] = (),
    max_bytes: int = DEFAULT_MAX_BYTES,
) -> TorchModel: ...


@overload
def load(
    source: str | Path | ModelProto,
    *,
    inputs: Mapping[str, Sequence[int]] | None = None,
    simplify: bool = True,
    preprocess: How | Sequence[How] = (),
    max_bytes: int = DEFAULT_MAX_BYTES,
    meanwhile: Callable[[], None] = ...,
) -> OnnxModel: ...


def load(
    source: Any,
    example_inputs: Any = None,
    *,
    inputs: Mapping[str, Sequence[int]] | None = None,
    simplify: bool = True,
    preprocess: How | Sequence[How] = (),
    max_bytes: int = DEFAULT_MAX_BYTES,
    meanwhile: Callable[[], None] = lambda: None,
) -> OnnxModel | TorchModel:
    """Read a network.

    Args:
        source: Path of an ONNX file, of a `.pt2` file of torch.export's or of a folder that
            `splitc finetune` wrote, an ONNX model in memory, a `torch.nn.Module` (fx
            `GraphModule` too) or an `ExportedProgram`.
        example_inputs: For a module: a tensor, a sequence by position or a mapping by name.
            Shapes and element types are what counts; the module is not run on the values.
        inputs: For ONNX: shapes by input name, for inputs with dynamic extents.
        simplify: For ONNX: run onnxsim on it first: fold constants, fuse batch norms.
        preprocess: What the frames are that the network is to read in the place of its images,
            as `Preprocess` or its text; of several inputs, one each.
        max_bytes: Refuse models whose weights, or any one tensor, take more.
        meanwhile: For ONNX: called once while onnxsim, a process of its own, works.

    Returns:
        The model: its layer graph and the weights behind it. For type checkers a path is
        one of ONNX; `splitc.frontend.torch.load_torch` reads a `.pt2` file too.

    Raises:
        BadModelError: The file is no such model, or a broken or hostile one; the module
            does not run on the examples, or what it computes depends on their values.
        UsageError: No such file, no example, or `inputs` names an input there is not.
        ToolchainError: PyTorch is needed and is not installed.
    """
    read = _read(source, example_inputs, inputs, simplify, max_bytes, meanwhile)
    for how in (preprocess,) if isinstance(preprocess, str | Preprocess) else preprocess:
        read = preprocessed(read, how)
    return read


def _read(
    source: Any, example_inputs: Any, inputs: Mapping[str, Sequence[int]] | None, simplify: bool,
    max_bytes: int, meanwhile: Callable[[], None],
) -> OnnxModel | TorchModel:  # fmt: skip
    if isinstance(source, str | Path):
        path = Path(source)
        if path.is_dir():
            if _is_tuned(path):
                return _tuned(path, inputs, max_bytes)
            raise refuse_folder(path)
        if not path.is_file():
            raise UsageError(f"there is no file '{source}'")
        refuse_file(path)
        if path.suffix in TORCH_SUFFIXES or is_exported_program(path):
            return _torch(path, example_inputs, inputs, max_bytes)
    elif not _is_proto(source):
        return _torch(source, example_inputs, inputs, max_bytes)
    from splitc.frontend.onnx.load import load_onnx

    return load_onnx(
        source, inputs=inputs or {}, simplify=simplify, max_bytes=max_bytes, meanwhile=meanwhile
    )


def _is_proto(source: Any) -> bool:
    return type(source).__name__ == "ModelProto"


def to_torch(model: OnnxModel) -> TorchModel:
    """The same network with its weights in PyTorch, to be trained there.

    Layers, tensors, inputs and results keep their names, and where a network may be cut
    stays the same. Weights of convolutions, matrix products and normalisations are
    parameters, as are scales, biases and tables behind them that ONNX keeps as constants
    of their own; other constants are buffers. A weight that several layers read stays
    one. The module is in eval mode. It takes batches of other sizes than the model's:
    the samples are followed through the network, and reshapes by constants leave open the
    extent that they are in.

    `splitc.load` folds batch norms into the convolutions before them; for training
    keep them: `splitc.to_torch(splitc.load(path, simplify=False))`. Graphs differ in
    what is no layer at inference in PyTorch: shape arithmetic, dropout, a batch norm
    right behind a convolution, and what changes neither shape nor values. A chosen cut
    is not kept.

    Args:
        model: An ONNX network. `splitc.frontend.convert.converts` registers converters
            of more operators.

    Raises:
        UnsupportedOpError: Some layers cannot be converted; all of them are named, with
            the reasons, before anything runs.
        BadModelError: A result depends on no input.
        ToolchainError: PyTorch is needed and is not installed.
    """
    _require_torch()
    from splitc.frontend.convert import build

    return build(model)


def _require_torch() -> None:
    if importlib.util.find_spec("torch") is None:
        raise ToolchainError("PyTorch is not installed", hint="pip install 'splitc[torch]'")


def _torch(
    source: Any, examples: Any, inputs: Mapping[str, Sequence[int]] | None, max_bytes: int
) -> TorchModel:
    _require_torch()
    if inputs:
        hint = "export the program with the extents it is to have"
        raise UsageError("input shapes are fixed in an exported program", hint=hint)
    from splitc.frontend.torch.model import load_torch

    return load_torch(source, examples, max_bytes=max_bytes)


def _is_tuned(path: Path) -> bool:
    from splitc.finetune.manifest import is_tuned

    return is_tuned(path)


def _tuned(path: Path, inputs: Mapping[str, Sequence[int]] | None, max_bytes: int) -> TorchModel:
    _require_torch()
    if inputs:
        raise UsageError("input shapes are fixed in a fine-tuned model")
    from splitc.finetune.folder import load_tuned

    return load_tuned(path, max_bytes=max_bytes)
