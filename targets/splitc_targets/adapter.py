# SPDX-License-Identifier: Apache-2.0
# pyright: basic, reportAttributeAccessIssue=false, reportArgumentType=false
"""The one file that names TVM's modules: its IR namespaces move between releases.

Written for apache-tvm 0.27; everything else in the pack speaks to TVM through it.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import tvm
from tvm import relax
from tvm.relax.frontend.onnx import from_onnx, onnx_frontend

from splitc.board import Board
from splitc.errors import ToolchainError, UnsupportedOpError

Module = tvm.IRModule


def version() -> str:
    """TVM's release."""
    return str(tvm.__version__)


def target_of(board: Board) -> Any:
    """TVM's target for a board."""
    return tvm.target.Target(
        {
            "kind": "llvm",
            "mtriple": board.triple,
            "mcpu": board.cpu,
            "mattr": list(board.features),
            "num-cores": board.cores,
        }
    )


def converted_ops() -> frozenset[str]:
    """ONNX operators of the default domain that TVM's front end knows."""
    return frozenset(onnx_frontend._get_convert_map()) | {"Constant", "If"}


def lower(proto: Any) -> Module:
    """Lower an ONNX model with fixed shapes to Relax, weights as constants.

    Raises:
        UnsupportedOpError: TVM's front end refuses an operator's form.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            return from_onnx(proto, keep_params_in_input=False)
        except (tvm.error.TVMError, ValueError, TypeError, KeyError, IndexError,
                AttributeError, AssertionError, NotImplementedError, RuntimeError) as error:  # fmt: skip
            why = " ".join(str(error).split())[-300:]
            raise UnsupportedOpError("TVM cannot lower the model", why=why) from error


def build(module: Module, target: Any, pipeline: Any) -> Any:
    """Compile a scheduled module to a virtual-machine executable.

    Raises:
        ToolchainError: TVM fails.
    """
    try:
        return relax.build(module, target, relax_pipeline=pipeline)
    except (tvm.error.TVMError, ValueError, TypeError, RuntimeError) as error:
        why = " ".join(str(error).split())[-300:]
        raise ToolchainError("TVM cannot compile the model", why=why) from error


def default_pipeline(target: Any) -> Any:
    """TVM's own pipeline for a CPU: legalise, fuse, plan memory; loops as they come."""
    return relax.get_default_pipeline(target)


def export(executable: Any, path: Path, link: Callable[[Path, list[Path]], None]) -> None:
    """Write an executable as a shared library; `link` joins the object files."""

    def fcompile(output: str, objects: list[str], *_: Any, **__: Any) -> None:
        link(Path(output), [Path(name) for name in objects])

    executable.export_library(str(path), fcompile=fcompile)
