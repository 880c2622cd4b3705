# SPDX-License-Identifier: Apache-2.0
"""What is refused before any compilation starts."""

from __future__ import annotations

from collections.abc import Iterable

from splitc.build.backend import Backend
from splitc.errors import BadModelError, UnsupportedOpError
from splitc.frontend.onnx.model import OnnxModel
from splitc.ir.graph import Tensor
from splitc.ir.model import Network

_RUNNER_DTYPES = frozenset(
    [
        "float16",
        "float32",
        "float64",
        "int8",
        "int16",
        "int32",
        "int64",
        "uint8",
        "uint16",
        "uint32",
        "uint64",
        "bool",
    ]
)
_LONGEST_NAME = 255
_MOST_TENSORS = 256


def elsewhere(model: Network) -> str:
    """How a network that cannot be compiled is split all the same."""
    if isinstance(model, OnnxModel):
        return "--emit onnx writes the parts for another runtime"
    return "torch.onnx.export makes a file that --emit onnx splits for another runtime"


def refuse_unsupported(backend: Backend, model: Network, name: str) -> None:
    """Raise where a network, or a part of one, has layers the backend cannot compile.

    Raises:
        UnsupportedOpError: Names the layers and their operators.
    """
    found = backend.unsupported(model)
    if found:
        first = found[0]
        more = f" and {len(found) - 1} more" if len(found) > 1 else ""
        raise UnsupportedOpError(
            f"the {name} has operators that cannot be compiled: "
            + ", ".join(sorted({u.op for u in found})),
            at=f"layer '{first.layer}' ({first.op}){more}",
            why=first.why,
            hint=f"`splitc ops MODEL` lists them; {elsewhere(model)}",
        )


_EMPTY = "it has no elements"


def refuse_contract(model: Network) -> None:
    """Raise where a part takes or gives what its runner cannot.

    Raises:
        BadModelError: Names the tensor and the reason.
    """
    tensors = (*model.graph.inputs, *model.graph.output_tensors)
    if len(tensors) > _MOST_TENSORS:
        raise BadModelError(f"{len(tensors)} tensors cross", why=f"the limit is {_MOST_TENSORS}")
    for tensor in tensors:
        why = ""
        if tensor.dtype not in _RUNNER_DTYPES:
            why = f"the runner has no {tensor.dtype}"
        elif tensor.shape is None or None in tensor.shape:
            why = "it has no fixed shape"
        elif 0 in tensor.static_shape and isinstance(model, OnnxModel):
            why = _EMPTY  # Nothing that reads it is folded, as of PyTorch's networks.
        elif len(tensor.name.encode()) > _LONGEST_NAME or not tensor.name.isprintable():
            why = "its name is too long, or has a control character"
        if why:
            raise _no_crossing(tensor, why, elsewhere(model))


def refuse_empty_crossing(sent: Iterable[Tensor]) -> None:
    """Raise where a tensor without elements would go over a link: it has no packet of nothing.

    Raises:
        BadModelError: Names the tensor.
    """
    for tensor in sent:
        if 0 in (tensor.shape or ()):
            raise _no_crossing(tensor, _EMPTY, "cut elsewhere: `splitc cuts MODEL` lists where")


def _no_crossing(tensor: Tensor, why: str, hint: str) -> BadModelError:
    return BadModelError(f"tensor '{tensor.name[:60]}' cannot cross", why=why, hint=hint)
