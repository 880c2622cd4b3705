# SPDX-License-Identifier: Apache-2.0
# pyright: basic, reportAttributeAccessIssue=false, reportArgumentType=false
"""TVM's front ends, build and export, as the rest of the pack sees them.

Written for apache-tvm 0.27, whose IR namespaces move between releases: besides this file only
those that write, read or measure its IR import it (tests/test_imports.py lists them).
"""

from __future__ import annotations

import contextlib
import functools
import gc
import os
import sys
import tempfile
import threading
import traceback
import warnings
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import tvm
import tvm_ffi
from tvm import relax
from tvm.relax.frontend.onnx import onnx_frontend

from splitc.cost.board import Board
from splitc.errors import ToolchainError, UnsupportedOpError
from splitc.runtime.tvm_abi import strides_of
from splitc.scratch import owned, require_room
from splitc_targets.source.for_tvm import for_tvm
from splitc_targets.tvm import runtime_calls
from splitc_targets.tvm.bounded_places import kept_within
from splitc_targets.tvm.layer_names import Named, with_bindings
from splitc_targets.tvm.onnx_importer import OWN, from_onnx
from splitc_targets.tvm.total_integers import made_total

Module = tvm.IRModule


def version() -> str:
    """TVM's release."""
    return str(tvm.__version__)


def llvm_version() -> str:
    """The major release of the LLVM inside TVM."""
    return str(tvm.get_global_func("target.llvm_version_major")())


def target_of(board: Board) -> Any:
    """TVM's target for a board."""
    return tvm.target.Target(
        {
            "kind": "llvm",
            "mtriple": board.processor.triple,
            "mcpu": board.processor.cpu,
            "mattr": list(board.processor.features),
            "num-cores": board.cores,
        }
    )


def converted_ops() -> frozenset[str]:
    """ONNX operators of the default domain that the front end knows."""
    return frozenset(onnx_frontend._get_convert_map()) | {"Constant", "If"} | OWN


FAILURES = (
    RuntimeError, ValueError, TypeError, KeyError, IndexError, AttributeError, AssertionError,
)  # fmt: skip
"""What TVM raises when it cannot go on; its own errors derive from these."""

BUILDING = threading.Lock()
"""Held while TVM's block builders run: the process has one stack of them, and parts are compiled
in threads."""


def lower(proto: Any, tensors: Any = None) -> Module:
    """Lower an ONNX model with fixed shapes to Relax, weights as constants.

    Args:
        proto: The model.
        tensors: Shape and type of its tensors by name, where they are known already.

    Raises:
        UnsupportedOpError: TVM's front end refuses an operator's form.
    """
    with _silenced() as said:
        try:
            form = for_tvm(proto, tensors)
            named = Named()
            with BUILDING:
                made = from_onnx(form.proto, _empty(form.proto), form.layers, named)
            return _finished(made, named)
        except FAILURES as error:
            # What TVM held complains when it is dropped: drop it while nobody listens.
            traceback.clear_frames(error.__traceback__)
            gc.collect()
            at = _refused(proto, said())
            raise UnsupportedOpError(
                "TVM cannot lower the model",
                at=at,
                why=_last_words(error),
                hint="--emit onnx writes the parts for another runtime",
            ) from error


def _finished(made: Module, named: Named) -> Module:
    """What a front end made, safe for all values, its bindings' layers known."""
    variables = named.variables(made)
    return with_bindings(made_total(kept_within(made)), variables)


def _empty(proto: Any) -> dict[str, list[int]]:
    """Shapes of inputs without elements: TVM takes an extent of 0 for one that is not known."""
    shapes = {
        each.name: [dim.dim_value for dim in each.type.tensor_type.shape.dim]
        for each in proto.graph.input
    }
    return {name: shape for name, shape in shapes.items() if 0 in shape}


def results(module: Module) -> list[tuple[tuple[int | None, ...], str]]:
    """Shapes and types of what a lowered module gives; None for an extent it does not know."""
    kind = module["main"].body.body.ty
    kinds = kind.fields if isinstance(kind, relax.TupleType) else [kind]

    def extents(shape: Any) -> tuple[int | None, ...]:
        values = shape.values if isinstance(shape, relax.ShapeExpr) else ()
        return tuple(int(v.value) if isinstance(v, tvm.tirx.IntImm) else None for v in values)

    return [(extents(each.shape), str(each.dtype)) for each in kinds]


def lower_exported(program: Any, layer_of: Callable[[Any], str]) -> Module:
    """Lower a program of torch.export's, taken apart, to Relax, weights as constants.

    Args:
        program: Its operators are those that `converted_calls` knows.
        layer_of: The layer of a node.

    Raises:
        UnsupportedOpError: TVM's front end refuses an operator or its form.
    """
    from tvm.relax.frontend.torch import from_exported_program

    from splitc_targets.aten.converters import converters

    at, named = "", Named()
    theirs = functools.cache(lambda importer: importer.create_convert_map())

    def noting(name: str, convert: Any) -> Any:
        def converted(node: Any, importer: Any) -> Any:
            nonlocal at
            at = f"layer '{layer_of(node)}' ({name})"
            made = convert(node, importer)
            named.add(made, layer_of(node))
            return made

        return converted

    own = {name: noting(name, each) for name, each in converters().items()}
    calls = {node.target.__name__ for node in program.graph.nodes if node.op == "call_function"}
    for name in calls - own.keys() & _importer().convert_map.keys():
        own[name] = noting(name, lambda node, importer, name=name: theirs(importer)[name](node))
    with _silenced():
        try:
            with BUILDING:
                made = from_exported_program(
                    program, keep_params_as_input=False, unwrap_unit_return_tuple=True,
                    custom_convert_map=own, run_ep_decomposition=False,
                )  # fmt: skip
            return _finished(made, named)
        except FAILURES as error:
            traceback.clear_frames(error.__traceback__)
            gc.collect()
            raise UnsupportedOpError(
                "TVM cannot lower the model",
                at=at,
                why=_last_words(error),
                hint="export it with torch.onnx.export and give splitc that file",
            ) from error


def _importer() -> Any:
    from tvm.relax.frontend.torch.exported_program_translator import ExportedProgramImporter

    return ExportedProgramImporter()


def converted_calls() -> frozenset[str]:
    """Operators of torch.export's that are converted, as `name.overload` or `name`."""
    from splitc_targets.aten.converters import converters

    return frozenset(map(str, _importer().convert_map)) | converters().keys()


def _refused(proto: Any, lines: list[str]) -> str:
    """The operator that TVM's front end stopped at, and the layers that have it."""
    start = "Error converting operator "
    found = [line.removeprefix(start) for line in lines if line.startswith(start)]
    if not found:
        return ""
    op = found[-1].partition(",")[0]
    names = [f"'{node.name}'" for node in proto.graph.node if node.op_type == op]
    more = f" and {len(names) - 3} more" if len(names) > 3 else ""
    return f"operator {op}: layer " + ", ".join(names[:3]) + more


@contextlib.contextmanager
def _silenced() -> Iterator[Callable[[], list[str]]]:
    """Keep what TVM's native code and front end print off the terminal.

    The streams are the whole process's: in other threads than the main one, beside which it
    may print, they are left alone.

    Yields:
        A function giving the lines printed so far.
    """
    if threading.current_thread() is not threading.main_thread():
        yield list
        return
    sys.stderr.flush()
    sys.stdout.flush()
    kept = [(fd, os.dup(fd)) for fd in (1, 2)]
    with tempfile.TemporaryFile() as file, warnings.catch_warnings():
        warnings.simplefilter("ignore")

        def said() -> list[str]:
            sys.stdout.flush()
            file.seek(0)
            return file.read().decode(errors="replace").splitlines()

        try:
            for fd, _ in kept:
                os.dup2(file.fileno(), fd)
            with contextlib.redirect_stdout(open(1, "w", closefd=False)):
                yield said
        finally:
            sys.stderr.flush()
            for fd, copy in kept:
                os.dup2(copy, fd)
                os.close(copy)


def _last_words(error: BaseException) -> str:
    return " ".join(str(error).split())[-300:]


def build(module: Module, target: Any, loops: str) -> Any:
    """Compile a module of tensor functions to a library.

    `loops` names the registered pipeline that lowers them.

    Raises:
        CannotRun: It would call what it does not have.
        ToolchainError: TVM fails.
    """
    lacking = runtime_calls.missing(module)
    if lacking:
        raise CannotRun(lacking)
    with _silenced(), building(target):
        return tvm.tirx.build(module, target=target, pipeline=loops)


@contextlib.contextmanager
def building(target: Any) -> Iterator[None]:
    """Where code for a target is written or compiled: what TVM's builder refuses has a name.

    Raises:
        ToolchainError: TVM fails.
    """
    try:
        with target:
            yield
    except FAILURES as error:
        raise ToolchainError("TVM cannot compile the model", why=_last_words(error)) from error


class CannotRun(Exception):
    """There are no loops for some operations: compiled code would call functions it lacks."""

    def __init__(self, functions: Iterable[str]) -> None:
        self.functions = tuple(functions)
        super().__init__(", ".join(self.functions))


_CODE_BYTES = 16 * 2**20
"""More than the code of any part seen."""


def export(library: Any, path: Path, link: Callable[[Path, list[Path]], None]) -> None:
    """Write compiled functions as a shared library; `link` joins the object files.

    They lie beside it: on a disk that runs full LLVM ends this process without a word, so
    there is to be room for both before it begins.

    Raises:
        OSError: There is not.
    """

    def fcompile(output: str, objects: list[str], *_: Any, **__: Any) -> None:
        link(Path(output), [Path(name) for name in objects])

    require_room(path.parent, _CODE_BYTES)
    with owned(path.parent) as work:
        library.export_library(str(path), fcompile=fcompile, workspace_dir=str(work))


def assembly(library: Any) -> str:
    """The assembly of a library's one LLVM module."""
    modules = [library]
    while modules[0].kind != "llvm":
        modules += modules.pop(0).imports
    return str(modules[0].inspect_source("asm"))


def function(library: Any, name: str) -> Callable[..., None]:
    """A compiled function on this machine's CPU, called with numpy arrays that it keeps nothing of.

    Arrays begin on a line's boundary; results are written into them.
    """
    found = library[name]

    def call(*arrays: Any) -> None:
        found(*(tvm_ffi.from_dlpack(_compact(array)) for array in arrays))

    return call


def _compact(array: Any) -> Any:
    """An array with the strides that compiled code asks for, where numpy has others."""
    if array.size:
        return array
    strides = [step * array.itemsize for step in strides_of(array.shape)]
    return np.lib.stride_tricks.as_strided(array, strides=strides)
