# SPDX-License-Identifier: Apache-2.0
# pyright: basic, reportAttributeAccessIssue=false, reportArgumentType=false
"""Which of TVM's passes lower which function.

Rules write loops over flat arrays, with registers and vectors already chosen: the passes that
schedules of TVM's own need (block lowering, vectorising, storage rewriting, common
subexpressions, which LLVM does anyway) would find nothing and take most of the compile time.
"""

from __future__ import annotations

from typing import Any

import tvm
from tvm import tirx

NAME = "splitc"
"""The pipeline's name in TVM's registry."""

WRITTEN = "splitc.written"
"""Attribute of functions that rules wrote."""

ENTRY = "splitc.entry"
"""Attribute of functions that are called from outside, so that they check what they are given."""


def _passes() -> Any:
    return tvm.transform.Sequential([
        tirx.transform.FlattenBuffer(),
        tirx.transform.StmtSimplify(),
        tirx.transform.AnnotateEntryFunc(),
        tirx.transform.MakePackedAPI(),
    ])  # fmt: skip


def _pipeline() -> Any:
    """The short pipeline for functions of rules, TVM's own for the others."""
    stages: Any = tirx.get_tir_pipeline("default")
    usual, finish_host, finish_device = stages

    @tvm.transform.module_pass(opt_level=0)
    def lower(module: Any, _context: Any) -> Any:
        written = {v: f for v, f in module.functions.items() if WRITTEN in f.attrs}
        others = {v: f for v, f in module.functions.items() if WRITTEN not in f.attrs}
        lowered = _passes()(tvm.IRModule(written, attrs=module.attrs))
        inner = {v: f for v, f in lowered.functions.items() if ENTRY not in f.attrs}
        lowered.update(tirx.transform.SkipAssert()(tvm.IRModule(inner)))
        if others:
            lowered.update(usual(tvm.IRModule(others, attrs=module.attrs)))
        return lowered

    return lower, finish_host, finish_device


tirx.compilation_pipeline.register_tir_pipeline(NAME, _pipeline)
