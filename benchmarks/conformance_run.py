# SPDX-License-Identifier: Apache-2.0
# pyright: reportUnknownMemberType=false
"""What becomes of one case of onnx's on the path of a bundle?

Started by `conformance.py`: reads names of cases from stdin, one a line, and answers each with
a line of JSON.
"""

from __future__ import annotations

import json
import re
import sys
import tempfile
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import numpy as np
from conformance_apart import why_apart
from conformance_cases import (
    Case,
    Form,
    Values,
    case_of,
    exact_where_refuted,
    forms,
    within,
)
from onnx import ModelProto

import splitc
from splitc.build.refusals import refuse_contract, refuse_unsupported
from splitc.cost.board import load_board
from splitc.errors import (
    BadModelError,
    IllegalCutError,
    NoLegalCutError,
    SplitcError,
    UnsupportedOpError,
    UsageError,
    one_line,
)
from splitc.frontend.onnx.bounded import bounded, counted_results
from splitc.frontend.onnx.model import OnnxModel
from splitc.frontend.onnx.older import opset_of
from splitc.ir.cut import Cut
from splitc.ir.layout import maps_of
from splitc.runtime.counted import kept_together
from splitc_targets import pipeline
from splitc_targets.backend import TvmBackend

PASSED, REFUSED, WRONG, CRASHED = "passed", "refused", "wrong", "crashed"

NAMED = (BadModelError, UnsupportedOpError, IllegalCutError, NoLegalCutError, UsageError)
"""What refuses a network by name; other errors come when it is too late for that."""

LACKING = ("tvm.contrib.", "relax.run.")
"""What the names of functions begin with that only an installed TVM has."""

Arrays = Mapping[str, np.ndarray[Any, Any]]


@dataclass(frozen=True)
class Outcome:
    """What became of a case.

    Args:
        case: Its name.
        outcome: "passed", "refused", "wrong" or "crashed".
        reason: Why, unless it passed.
        form: The form that it counts in.
        late: Refused only when it was lowered.
        ops: Operators of its model.
        apart: Why it does not count for the bar; empty where it does.
        loops: Operations of it that no rule fitted and that are loops of TVM's therefore.
        opset: The one that its model names.
        stored: Where there are loops: those that are left with all inputs but the first stored;
            None where nothing can be stored so, or that does not pass.
    """

    case: str
    outcome: str
    reason: str = ""
    form: str = ""
    late: bool = False
    ops: tuple[str, ...] = ()
    apart: str = ""
    loops: tuple[str, ...] = ()
    opset: int = 0
    stored: tuple[str, ...] | None = None


def tried(case: Case, *, fast: bool) -> Outcome:
    """The outcome in the first form that is not refused, or why the first is."""
    ops = tuple(sorted({node.op_type for node in case.proto.graph.node}))
    found: Outcome | None = None
    apart = why_apart(case)
    # What no form of can be cut is compiled whole, where the case has values for all it reads.
    given = list(forms(case))
    whole = [
        form for form in given if not form.layered and form.feed.keys() >= {*_inputs(form.proto)}
    ]
    for form, split in (*((form, True) for form in given), *((form, False) for form in whole)):
        one = _in_form(case, form, fast=fast, split=split)
        made = replace(one, ops=ops, apart=apart, opset=opset_of(case.proto))
        if made.outcome != REFUSED:
            return replace(made, stored=_stored_loops(case, given, made, fast=fast))
        found = made
    assert found is not None
    return found


def _stored_loops(
    case: Case, given: Sequence[Form], made: Outcome, *, fast: bool
) -> tuple[str, ...] | None:
    """The loops of a case as networks have it, with weights and the like stored in it."""
    stored = [form for form in given if form.name == "stored" and not form.layered]
    if not made.loops or made.form == "stored" or not stored:
        return None
    for split in (True, False):
        again = _in_form(case, stored[0], fast=fast, split=split)
        if again.outcome == PASSED:
            return again.loops
    return None


def _in_form(case: Case, form: Form, *, fast: bool, split: bool) -> Outcome:
    stage = _Stage()
    try:
        results = _results(form, stage, fast=fast, split=split)
    except NAMED as error:
        why = f"{error.what}: {error.why}" if error.why else error.what
        return Outcome(case.name, REFUSED, _plain(why), form.name, stage.lowering)
    except (SplitcError, *_ANY) as error:
        return Outcome(case.name, CRASHED, f"{type(error).__name__}: {one_line(error)}", form.name)
    difference = _difference(case, results)
    outcome = WRONG if difference else PASSED
    return Outcome(case.name, outcome, difference, form.name, loops=tuple(stage.loops))


_ANY = (
    RuntimeError, ValueError, TypeError, KeyError, IndexError, AttributeError, AssertionError,
    ArithmeticError, OSError, MemoryError, StopIteration,
)  # fmt: skip


def _plain(reason: str) -> str:
    """A reason without the names of this case's layers and tensors."""
    return re.sub(r"'[^']*'", "'…'", reason)[:160]


@dataclass
class _Stage:
    """Where a case is on its way, and what no rule fitted so far."""

    lowering: bool = False
    loops: list[str] = field(default_factory=list[str])


def _results(form: Form, stage: _Stage, *, fast: bool, split: bool) -> Arrays:
    model = bounded(splitc.load(form.proto, simplify=False))
    assert isinstance(model, OnnxModel)
    cut = _cut(model) if split else None
    parts: dict[str, OnnxModel] = {"network": model}
    if cut is not None:
        parts = dict(zip(("head", "tail"), model.split(cut, maps_of(cut)), strict=True))
    backend = TvmBackend()
    for name, part in parts.items():
        refuse_contract(part)
        refuse_unsupported(backend, part, name)
    stage.lowering = True
    lowered = {name: backend.lower(part) for name, part in parts.items()}
    stage.lowering = False
    if not fast:
        return _through_a_bundle(model, cut, form, stage)
    values: dict[str, Any] = dict(form.feed)
    for name, part in parts.items():
        code = pipeline.compile_module(lowered[name], load_board("host"))
        stage.loops += code.fallbacks
        given = [np.asarray(values[t.name], order="C") for t in part.graph.inputs]
        with _only_shipped():
            made = code.here()(*given)
        values |= dict(zip(part.graph.outputs, made, strict=True))
    for names in counted_results(model):
        values |= zip(names, kept_together([values[name] for name in names]), strict=True)
    return {name: values[name] for name in model.graph.outputs}


def _through_a_bundle(model: OnnxModel, cut: Cut | None, form: Form, stage: _Stage) -> Arrays:
    with tempfile.TemporaryDirectory() as folder:
        made = splitc.compile(
            model, cut="device" if cut is None else cut.name, head="host", tail="host",
            output=f"{folder}/case.splitc",
        )  # fmt: skip
        for name in made.manifest.parts:
            stage.loops += made.part(name).fallbacks
        return made.run({name: form.feed[name] for name in _inputs(form.proto)})


@contextmanager
def _only_shipped() -> Generator[None]:
    """Take away the functions that only an installed TVM has: a part calls none."""
    from tvm_ffi import registry

    names = [n for n in registry.list_global_func_names() if n.startswith(LACKING)]
    kept = {name: registry.get_global_func(name) for name in names}
    for name in names:
        registry.remove_global_func(name)
    try:
        yield
    finally:
        for name, function in kept.items():
            registry.register_global_func(name, function)


def _inputs(proto: ModelProto) -> list[str]:
    stored = {tensor.name for tensor in proto.graph.initializer}
    return [value.name for value in proto.graph.input if value.name not in stored]


def _cut(model: OnnxModel) -> Cut:
    """The middle one of the cuts behind one layer that are legal.

    Raises:
        IllegalCutError: There is none.
    """
    why = "it has one layer"
    legal: list[Cut] = []
    for layer in model.graph.layers[model.graph.input_count :]:
        cut = Cut.after(model.graph, [layer.name])
        not_so = cut.why_not()
        if not_so is None:
            legal.append(cut)
        elif cut.is_proper:
            why = not_so
    if not legal:
        raise IllegalCutError("no cut", why=why)
    return legal[len(legal) // 2]


def _difference(case: Case, results: Arrays) -> str:
    """How the results differ from the right ones; empty where they do not.

    The right ones are the case's; where those are further from exact values than the case's own
    tolerance, the exact ones.
    """
    found = _apart(case, case.outputs, results)
    exact = exact_where_refuted(case) if found else None
    return found if exact is None else _apart(case, exact, results)


def _apart(case: Case, right: Values, results: Arrays) -> str:
    for name, wanted in right.items():
        got, want = np.asarray(results[name]), np.asarray(wanted)
        if got.dtype != want.dtype or got.shape != want.shape:
            return f"{name}: {got.dtype}{got.shape} instead of {want.dtype}{want.shape}"
        near = within(case, got, want).ravel()
        if not near.all():
            first = int(np.flatnonzero(~near)[0])
            return f"{name}[{first}]: {got.ravel()[first]} instead of {want.ravel()[first]}"
    return ""


def answer(case_named: Callable[[str], Case], *, fast: bool) -> None:
    """Try cases by the names that are asked for, until there is no more to do."""
    for line in sys.stdin:
        made = tried(case_named(line.strip()), fast=fast)
        print(json.dumps(asdict(made)), flush=True)


if __name__ == "__main__":
    answer(case_of, fast="--fast" in sys.argv[1:])
