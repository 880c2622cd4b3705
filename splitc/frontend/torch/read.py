# SPDX-License-Identifier: Apache-2.0
# pyright: reportUnknownMemberType=false, reportUnknownArgumentType=false
# pyright: reportUnknownVariableType=false, reportUnknownLambdaType=false
"""The doors of the PyTorch front end: modules, graph modules, exported programs, `.pt2` files."""

from __future__ import annotations

import inspect
import io
import logging
import os
import warnings
import zipfile
import zlib
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager, redirect_stderr
from pathlib import Path
from typing import Any

import torch
from torch import fx, nn
from torch.export import ExportedProgram
from torch.fx.proxy import TraceError
from torch.nn.parameter import is_lazy

from splitc.errors import BadModelError, UsageError, nearest, one_line
from splitc.frontend.torch.archive import check_archive
from splitc.frontend.torch.form import changes_operand, copied, function_name, interpret, tangled
from splitc.frontend.torch.ops import plain
from splitc.frontend.torch.trace import (
    FAILURES,
    Examples,
    as_at_inference,
    graph_module,
    kept,
    trace,
)

_ONLY_EXPORT = "traced by torch.export: it computes in train mode as in eval mode"
_INSTEAD = {
    "wrap_with_autocast": "leave torch.autocast out of forward: module.half() casts the whole",
    "wrap_with_set_grad_enabled": "export it under torch.no_grad()",
}
_SAFE = frozenset(("aten", "prims", "torchvision", "quantized", "quantized_decomposed"))


def bind(module: nn.Module, given: Any) -> Examples:
    """Example inputs by the names of `forward`'s arguments.

    Args:
        module: The module.
        given: A tensor, a sequence of them by position, or a mapping by name.

    Raises:
        UsageError: There are none, or `forward` does not take them.
        BadModelError: One is no tensor.
    """
    if given is None:
        hint = "splitc.load(module, (torch.randn(1, 3, 224, 224),))"
        raise UsageError("a module needs example inputs", hint=hint)
    args: Sequence[Any] = () if isinstance(given, Mapping) else given
    args = (given,) if isinstance(given, torch.Tensor) else args
    kwargs: dict[str, Any] = dict(given) if isinstance(given, Mapping) else {}
    signature = inspect.signature(module.forward)
    try:
        bound = signature.bind(*args, **kwargs)
    except TypeError as error:
        unknown = next((n for n in kwargs if n not in signature.parameters), "")
        hint = nearest(unknown, signature.parameters) if unknown else f"forward{signature}"
        raise UsageError(
            "forward does not take these examples", why=str(error), hint=hint
        ) from error
    by_position: dict[str, Any] = {}
    by_name: dict[str, Any] = {}
    for name, value in bound.arguments.items():
        kind = signature.parameters[name].kind
        if kind is inspect.Parameter.POSITIONAL_OR_KEYWORD and name in kwargs:
            by_name[name] = value  # one before it may keep its default
        elif kind is inspect.Parameter.VAR_POSITIONAL:
            by_position |= {f"{name}_{i}": each for i, each in enumerate(value)}
        elif kind is inspect.Parameter.VAR_KEYWORD:
            by_name |= value
        else:
            (by_name if kind is inspect.Parameter.KEYWORD_ONLY else by_position)[name] = value
    for name, value in {**by_position, **by_name}.items():
        if value is not None and not isinstance(value, torch.Tensor):
            why = f"the example is {_described(value)}"
            hint = "wrap the module in one whose forward takes tensors only"
            raise BadModelError(f"input '{name}' is no tensor", why=why, hint=hint)
    return Examples(by_position, by_name)


def _described(value: Any) -> str:
    return f"a {type(value).__name__}"


def traced(module: nn.Module, inputs: Examples) -> tuple[fx.GraphModule, str]:
    """A module as a graph with values, and a note where only torch.export could trace it.

    Raises:
        BadModelError: It does not run on the examples, or cannot be traced.
    """
    lazy = [name for name, each in module.named_parameters() if is_lazy(each)]
    if lazy:
        hint = "run the module once on the examples"
        raise BadModelError(f"parameter '{lazy[0]}' has no shape yet", hint=hint)
    with quiet():
        try:
            if isinstance(module, fx.GraphModule):
                made = graph_module(module, copied(module.graph), type(module).__name__)
                interpret(made, inputs.tensors)
            else:
                made = trace(module, inputs)
            if why := tangled(made):
                raise TraceError(why)
            return made, ""
        except FAILURES as error:
            _refuse_broken(module, inputs)
            return _through_export(module, inputs, error), _ONLY_EXPORT


def _refuse_broken(module: nn.Module, inputs: Examples) -> None:
    """Raise where the module itself fails on the examples: tracing is not to blame."""
    buffers = [(each, each.clone()) for each in module.buffers()]
    try:
        with as_at_inference(module), kept(module):
            module(*_clones(inputs.args).values(), **_clones(inputs.kwargs))
    except FAILURES as error:
        shapes = ", ".join(f"{n} {tuple(t.shape)} {t.dtype}" for n, t in inputs.tensors.items())
        raise BadModelError(
            "the module does not run on the example inputs",
            at=shapes.replace("torch.", ""), why=one_line(error),
            hint="give examples of the shapes and element types that it takes",
        ) from error  # fmt: skip
    finally:
        with torch.no_grad():
            for each, before in buffers:
                each.copy_(before)


def _clones(values: Mapping[str, torch.Tensor | None]) -> dict[str, torch.Tensor | None]:
    return {n: None if t is None else t.clone() for n, t in values.items()}


def _through_export(module: nn.Module, inputs: Examples, first: Exception) -> fx.GraphModule:
    try:
        with as_at_inference(module), redirect_stderr(io.StringIO()):  # it prints its graph
            program = torch.export.export(
                module, tuple(inputs.args.values()), dict(inputs.kwargs), strict=False
            )
        return exported(program)
    except FAILURES as error:
        if isinstance(error, BadModelError):
            raise
        raise BadModelError(
            "the module cannot be traced",
            at=type(module).__name__,
            why=one_line(first) or type(first).__name__,
            hint="what is computed must not depend on values of tensors, only on their shapes: "
            "torch.where chooses between values",
        ) from error


def exported(program: ExportedProgram) -> fx.GraphModule:
    """An exported program as a graph with values; its parameters are the program's own.

    Where the number of samples is open, it is 1: `fixed_inputs` names the inputs.

    Raises:
        BadModelError: It was exported in train mode or with other dynamic extents, or calls
            what is no operator of PyTorch's.
    """
    refuse_calls(program.graph)
    _refuse_state(program)
    try:
        made = _with_values(program)
        if tangled(made):
            program = program.run_decompositions({})  # which writes it without views
            _refuse_state(program)
            made = _with_values(program)
    except FAILURES as error:
        raise BadModelError("the exported program does not run", why=one_line(error)) from error
    if why := tangled(made):
        raise BadModelError("the exported program cannot be read", why=why)
    return made


def _refuse_state(program: ExportedProgram) -> None:
    """Raise where a program writes its buffers: it would give something else at each run."""
    stored = program.graph_signature.inputs_to_buffers
    changed = list(program.graph_signature.buffers_to_mutate.values())
    for node in program.graph.nodes:
        if changes_operand(node, program.graph_module) and node.args[0].name in stored:
            changed.append(stored[node.args[0].name])
    if changed:
        why = "parts of a split network keep no state from one run to the next"
        raise BadModelError(f"forward changes the buffer '{changed[0]}'", why=why)


def _with_values(program: ExportedProgram) -> fx.GraphModule:
    module: Any = program.module(check_guards=False)
    examples: dict[str, torch.Tensor] = {}
    for node in module.graph.nodes:
        if node.op != "placeholder":
            continue
        value: Any = node.meta.get("val")
        if not isinstance(value, torch.Tensor):
            raise BadModelError(
                f"input '{node.target}' is no tensor", why=f"it is {_described(value)}"
            )
        examples[str(node.target)] = _one_sample(str(node.target), value, program)
    made = graph_module(module, copied(module.graph), "ExportedProgram")
    with quiet():
        interpret(made, examples)
    return made


def _one_sample(name: str, value: torch.Tensor, program: ExportedProgram) -> torch.Tensor:
    """An input's value, with 1 sample where their number, its first extent, alone is open."""
    extents: list[Any] = list(value.shape)
    if all(isinstance(n, int) for n in extents):
        return value
    why = "an extent is open that is not the first"
    if all(isinstance(n, int) for n in extents[1:]):
        symbol: Any = extents[0].node.expr
        allowed: Any = program.range_constraints.get(symbol) if symbol.is_Symbol else None
        if allowed is not None and 1 in allowed:
            return value.new_empty((1, *extents[1:]))
        why = "the program is not said to take 1 sample"
    shown = "x".join(map(str, extents))
    hint = "export it without dynamic_shapes, or with {0: torch.export.Dim('batch')} alone"
    raise BadModelError(f"input '{name}' has dynamic extents: {shown}", why=why, hint=hint)


def fixed_inputs(program: ExportedProgram) -> str:
    """What to say of the inputs whose number of samples is open and becomes 1; may be empty."""
    fixed: list[str] = []
    for node in program.graph.find_nodes(op="placeholder"):
        shape: Any = getattr(node.meta.get("val"), "shape", ())
        if not all(isinstance(n, int) for n in shape):
            fixed.append(f"{node.name}:{'x'.join(map(str, (1, *shape[1:])))}")
    return f"the number of samples is open and was fixed: {', '.join(fixed)}" if fixed else ""


def refuse_calls(graph: fx.Graph) -> None:
    """Raise where a program calls what is no operator, or computes as in training."""
    for node in graph.nodes:
        if node.op != "call_function":
            continue
        target: Any = node.target
        space = getattr(target, "namespace", "")
        if space not in _SAFE and function_name(node) != "getitem":
            why = "splitc runs operators of PyTorch's own only"
            hint = _INSTEAD.get(function_name(node), "")
            raise BadModelError(f"the program calls '{target}'", at=node.name, why=why, hint=hint)
        position = {"batchnorm": 5, "dropout": 2}.get(plain(function_name(node)))
        if position is not None and len(node.args) > position and node.args[position] is True:
            raise BadModelError(
                "the program was exported in train mode", at=node.name,
                hint="call module.eval() before torch.export.export",
            )  # fmt: skip


def check_weights(module: nn.Module) -> None:
    """Refuse weights that hold NaN, as those of an ONNX file are.

    Raises:
        BadModelError: Names the first such parameter or buffer.
    """
    for name, value in (*module.named_parameters(), *module.named_buffers()):
        # min() carries NaN along, and makes no tensor of truth values.
        if value.is_floating_point() and value.numel() and bool(value.detach().min().isnan()):
            raise BadModelError(f"weight '{name}' holds NaN")


def read_pt2(path: Path, max_bytes: int) -> ExportedProgram:
    """Read a `.pt2` file without running anything in it: no pickled objects, no formulas.

    Raises:
        UsageError: No such file.
        BadModelError: It is no such file, too large, or not to be trusted.
    """
    if not path.is_file():
        raise UsageError(f"there is no file '{path}'")
    try:
        check_archive(path, max_bytes)
    except (zipfile.BadZipFile, zlib.error, NotImplementedError, EOFError, OSError) as error:
        hint = "torch.export.save(torch.export.export(module, examples), path) writes one"
        raise BadModelError(f"'{path.name}' is no .pt2 file", why=str(error), hint=hint) from error
    except FAILURES as error:
        raise BadModelError(f"cannot read '{path.name}'", why=one_line(error)) from error
    try:
        with quiet(), _without_pickle():
            return torch.export.load(path)
    except (*FAILURES, EOFError, OSError, ImportError) as error:
        raise BadModelError(f"cannot read '{path.name}'", why=one_line(error)) from error
    except Exception as error:
        if type(error).__module__.split(".")[0] not in ("torch", "pickle", "_pickle", "json"):
            raise
        raise BadModelError(f"cannot read '{path.name}'", why=one_line(error)) from error


@contextmanager
def _without_pickle() -> Generator[None]:
    """Have torch refuse pickled objects, to which it falls back otherwise."""
    name = "TORCH_FORCE_WEIGHTS_ONLY_LOAD"
    before = os.environ.get(name)
    os.environ[name] = "1"
    try:
        yield
    finally:
        del os.environ[name]
        if before is not None:
            os.environ[name] = before


@contextmanager
def quiet() -> Generator[None]:
    """Keep torch's warnings and log to itself."""
    log = logging.getLogger("torch")
    level = log.level
    log.setLevel(logging.CRITICAL)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        log.setLevel(level)
