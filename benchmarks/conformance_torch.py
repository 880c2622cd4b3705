# SPDX-License-Identifier: Apache-2.0
# pyright: basic
"""How many of PyTorch's own operator samples are right, refused by name, wrong, crashed?

The OpInfo samples of torch.testing (float32, forward), which nobody here wrote, each as a
network of one call through the torch door: read, refuse, lower, compile for this machine, run,
compared with PyTorch at inference. What has no one right value is left out or counted apart:
operators that draw random numbers, memory that nobody wrote, and dropout that a call forces on.
Apart are also complex numbers, and results whose shape the values decide.

Needs the extra `dev`: torch.testing imports expecttest. `--only abs,add` takes some of the
operators, `--core` those of ATen's core set, `--limit N` so many samples of each; a process does
ten operators, so that one that dies is counted and the rest go on.
"""

from __future__ import annotations

import json
import multiprocessing
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from conformance_run import CRASHED, PASSED, REFUSED, WRONG
from torch import nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.fx.experimental.symbolic_shapes import GuardOnDataDependentSymNode, ShapeEnv
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_flatten, tree_leaves, tree_unflatten

import splitc
from common import finish, parser, said
from splitc.build.refusals import refuse_contract
from splitc.cost.board import load_board
from splitc.errors import SplitcError
from splitc_targets.backend import TvmBackend

LATE = "refused late"
OUTCOMES = (PASSED, REFUSED, WRONG, CRASHED, LATE)
UNSET = ("empty", "new_empty", "dropout", "random", "rand", "normal", "uniform", "bernoulli",
         "exponential", "cauchy", "geometric", "multinomial")  # fmt: skip
NO_INPUT, NOT_HERE, NO_RESULT = "no tensor goes in", "PyTorch refuses it", "no tensor comes out"
COMPLEX, VALUES_DECIDE = "complex numbers", "values decide the shape of a result"
DRAWS = "it gives other values at each run"
UNTRIED = (NO_INPUT, NOT_HERE, NO_RESULT)
BATCH = 10
SECONDS = 300.0
"""How long a sample may take."""
BAR = 95.0
"""Percent of the samples that count."""
CALLED = ("softmax", "log_softmax", "conv1d", "conv2d", "conv3d", "conv_transpose1d",
          "conv_transpose2d", "conv_transpose3d", "max_pool1d", "max_pool2d", "max_pool3d",
          "adaptive_avg_pool2d", "adaptive_avg_pool3d", "batch_norm", "layer_norm", "group_norm",
          "pad", "interpolate", "unfold", "fold", "bitwise_and", "bitwise_not", "linear",
          "scaled_dot_product_attention", "glu", "embedding_bag", "pdist", "cdist")  # fmt: skip
"""Functions whose operator in the core set goes by another name."""


@dataclass(frozen=True)
class Outcome:
    """What became of a sample.

    Args:
        sample: `operator[number]`.
        operator: Its entry in OpInfo.
        outcome: One of OUTCOMES; empty where it was not tried.
        why: Why, unless it passed.
        apart: Why it does not count for the bar; empty where it does.
    """

    sample: str
    operator: str
    outcome: str
    why: str = ""
    apart: str = ""


class Call(nn.Module):
    """A call with its tensors as inputs and everything else as it was."""

    def __init__(self, function: Any, leaves: list[Any], spec: Any) -> None:
        super().__init__()
        self.function, self.spec = function, spec
        self.where = [i for i, leaf in enumerate(leaves) if isinstance(leaf, torch.Tensor)]
        self.rest = [None if isinstance(leaf, torch.Tensor) else leaf for leaf in leaves]

    def forward(self, *tensors: torch.Tensor) -> Any:
        leaves = list(self.rest)
        for place, tensor in zip(self.where, tensors, strict=True):
            leaves[place] = tensor
        args, kwargs = tree_unflatten(leaves, self.spec)
        return self.function(*args, **kwargs)


class Together(nn.Module):
    """Several calls as one network."""

    def __init__(self, calls: Sequence[Call]) -> None:
        super().__init__()
        self.calls = list(calls)

    def forward(self, *tensors: torch.Tensor) -> list[torch.Tensor]:
        found: list[torch.Tensor] = []
        for call in self.calls:
            made = tree_leaves(call(*tensors[: len(call.where)]))
            found += [each for each in made if isinstance(each, torch.Tensor)]
            tensors = tensors[len(call.where) :]
        return found


class Watching(TorchDispatchMode):
    """Sees whether an operator that is called draws random numbers."""

    def __init__(self) -> None:
        super().__init__()
        self.drew = False

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:  # fmt: skip
        before = torch.get_rng_state()
        made = func(*args, **(kwargs or {}))
        self.drew |= not torch.equal(before, torch.get_rng_state())
        return made


@dataclass(frozen=True)
class Options:
    """How many samples of an operator are tried, and how many become one network."""

    limit: int | None = None
    together: int = 16


def operators() -> dict[str, Any]:
    """OpInfo entries by name, those that have one right value on float32."""
    from torch.testing._internal.common_methods_invocations import op_db

    found: dict[str, Any] = {}
    for op in op_db:
        name = op.name + (f".{op.variant_test_name}" if op.variant_test_name else "")
        if torch.float32 in op.dtypes and not any(word in name for word in UNSET):
            found.setdefault(name, op)
    return found


@cache
def core() -> frozenset[str]:
    """Names of ATen's core set, which every other operator is taken apart to."""
    found = (getattr(torch.ops.aten, name) for name in dir(torch.ops.aten))
    packets = [each for each in found if isinstance(each, torch._ops.OpOverloadPacket)]
    return frozenset(
        packet._qualified_op_name.partition("::")[2]
        for packet in packets
        if any(torch.Tag.core in getattr(packet, form).tags for form in packet.overloads())
    )


def in_core(op: Any) -> bool:
    """Whether an OpInfo entry is of an operator of the core set, by its name in ATen."""
    short = op.name.rpartition(".")[2]
    apart = op.name.startswith(("sparse.", "masked.")) or "backward" in op.name
    return not apart and bool({op.name, short, op.aten_name} & {*core(), *CALLED})


def samples(op: Any, limit: int | None) -> Iterator[tuple[int, list[Any], Any]]:
    """Arguments by number, flat, with their structure; spread evenly where there are more."""
    torch.manual_seed(0)
    found = list(op.sample_inputs("cpu", torch.float32, requires_grad=False))
    step = 1.0 if limit is None else max(1.0, len(found) / limit)
    count = len(found) if limit is None else min(limit, len(found))
    for number in (int(k * step) for k in range(count)):
        one = found[number]
        yield number, *tree_flatten(((one.input, *one.args), dict(one.kwargs)))


def calls_of(
    name: str, op: Any, limit: int | None = None
) -> Iterator[tuple[str, Call, list[torch.Tensor]]]:
    """An operator's samples: what each is called, its call, and the tensors that go in."""
    for number, leaves, spec in samples(op, limit):
        call = Call(op.op, leaves, spec).eval()
        yield f"{name}[{number}]", call, [leaves[at].detach().clone() for at in call.where]


def why_apart(module: Call, tensors: list[torch.Tensor]) -> str:
    """Why a sample does not count for the bar; empty where it does.

    What draws numbers, as attention with dropout does, moves PyTorch's generator on.
    PyTorch itself says which results have a shape that their operands' values decide: run on
    tensors without values, it gives them an extent that it does not know.
    """
    if not tensors:
        return NO_INPUT
    try:
        with Watching() as watching:
            results = results_of(module, tensors)
    except (RuntimeError, ValueError, TypeError, IndexError, AssertionError):
        return NOT_HERE
    if not results:
        return NO_RESULT
    if any(each.is_complex() for each in (*results, *tensors)):
        return COMPLEX
    if watching.drew:
        return DRAWS
    return VALUES_DECIDE if _shaped_by_values(module, tensors) else ""


def _shaped_by_values(module: Call, tensors: list[torch.Tensor]) -> bool:
    symbols = ShapeEnv(allow_dynamic_output_shape_ops=True, allow_scalar_outputs=True)
    try:
        with torch.no_grad(), FakeTensorMode(shape_env=symbols, static_shapes=True) as mode:
            given = tree_leaves(module(*(mode.from_tensor(each) for each in tensors)))
    except GuardOnDataDependentSymNode:
        return True
    extents = [n for x in given if isinstance(x, torch.Tensor) for n in x.shape]
    return any(isinstance(each, torch.SymInt) and not each.node.has_hint() for each in extents)


def outcomes(calls: Sequence[tuple[Call, list[torch.Tensor]]]) -> list[tuple[str, str]]:
    """What became of each call, and why: compiled together, and apart where that does not do."""
    given = [tensor for _, tensors in calls for tensor in tensors]
    together = calls[0][0] if len(calls) == 1 else Together([call for call, _ in calls]).eval()
    made = of_network(together, given)
    if isinstance(made, tuple):
        if len(calls) == 1:
            return [made]
        half = len(calls) // 2
        return outcomes(calls[:half]) + outcomes(calls[half:])
    found: list[tuple[str, str]] = []
    for call, tensors in calls:
        right = results_of(call, tensors)
        got, made = made[: len(right)], made[len(right) :]
        same = len(got) == len(right) and all(map(alike, got, right))
        if same:
            found.append((PASSED, ""))
        elif len(calls) == 1:
            found.append((WRONG, difference(got, right)))
        else:
            found += outcomes([(call, tensors)])
    return found


def of_network(module: nn.Module, tensors: list[torch.Tensor]) -> list[Any] | tuple[str, str]:
    """What a network gives that was compiled for this machine, or what became of it."""
    backend, asked = TvmBackend(), False
    try:
        model = splitc.load(module, tuple(tensors))
        refuse_contract(model)
        missing = backend.unsupported(model)
        if missing:
            return REFUSED, missing[0].why
        asked = True
        code = backend.compile(backend.lower(model), load_board("host")).here()
        return list(code(*(np.ascontiguousarray(each.numpy()) for each in tensors)))
    except SplitcError as error:
        return LATE if asked else REFUSED, f"{error.what}: {error.why}"
    except Exception as error:  # noqa: BLE001  (what is counted here)
        return CRASHED, f"{type(error).__name__}: {error}"


def results_of(call: Call, tensors: list[torch.Tensor]) -> list[torch.Tensor]:
    """What PyTorch gives for a call."""
    with torch.no_grad():
        given = tree_leaves(call(*(each.clone() for each in tensors)))
    return [x.resolve_conj().resolve_neg() for x in given if isinstance(x, torch.Tensor)]


def difference(got: Sequence[Any], right: Sequence[torch.Tensor]) -> str:
    """How results differ, in few words."""
    if len(got) != len(right):
        return f"{len(got)} results instead of {len(right)}"
    for number, (one, other) in enumerate(zip(got, right, strict=True)):
        wanted = other.numpy()
        if one.shape != wanted.shape or one.dtype != wanted.dtype:
            return f"{number}: {one.dtype}{one.shape} instead of {wanted.dtype}{wanted.shape}"
        if not alike(one, other):
            first = int(np.flatnonzero(~np.isclose(one, wanted, equal_nan=True))[0])
            return f"{number}[{first}]: {one.ravel()[first]} instead of {wanted.ravel()[first]}"
    return ""


def alike(got: np.ndarray[Any, Any], given: torch.Tensor) -> bool:
    """Same shape, element type and, to 1e-3 of each and 2e-4 of the largest, values."""
    right = given.numpy()
    if got.shape != right.shape or got.dtype != right.dtype:
        return False
    whole = right.dtype.kind != "f"
    largest = 1.0 if whole else float(np.abs(right[np.isfinite(right)]).max(initial=1.0))
    slack = 0.0 if whole else 2e-4 * largest
    return bool(np.allclose(got, right, rtol=0.0 if whole else 1e-3, atol=slack, equal_nan=True))


def work(names: list[str], options: Options, kept: frozenset[str], told: Any) -> None:
    """Try the samples of some operators; says which it begins with, and what became of them."""
    torch.set_num_threads(1)
    known = operators()
    for name in names:
        found: list[tuple[str, str, Call, list[torch.Tensor]]] = []
        for sample, call, tensors in calls_of(name, known[name], options.limit):
            if sample not in kept:
                found.append((sample, why_apart(call, tensors), call, tensors))
        untried = [each for each in found if each[1] in UNTRIED]
        told.send([Outcome(sample, name, "", "", apart) for sample, apart, _, _ in untried])
        todo = [each for each in found if each[1] not in UNTRIED]
        for k in range(0, len(todo), options.together):
            some = todo[k : k + options.together]
            told.send([sample for sample, *_ in some])
            made = outcomes([(call, tensors) for *_, call, tensors in some])
            told.send([
                Outcome(sample, name, what, why[:300], apart)
                for (sample, apart, _, _), (what, why) in zip(some, made, strict=True)
            ])  # fmt: skip


def tried(names: list[str], options: Options, kept: frozenset[str]) -> Iterator[Outcome]:
    """What became of each sample; where a process dies its samples are tried one by one."""
    done = set(kept)
    todo = [(names[k : k + BATCH], options) for k in range(0, len(names), BATCH)]
    context = multiprocessing.get_context("spawn")
    while todo:
        batch, how = todo.pop(0)
        listening, telling = context.Pipe(duplex=False)
        process = context.Process(target=work, args=(batch, how, frozenset(done), telling))
        process.start()
        telling.close()
        begun: list[str] = []
        while True:
            try:
                if not listening.poll(SECONDS):
                    process.kill()
                    break
                said = listening.recv()
            except EOFError:
                break
            made = [each for each in said if isinstance(each, Outcome)]
            begun = [] if made else said or begun
            done |= {each.sample for each in made}
            yield from made
        process.join()
        if process.exitcode and len(begun) == 1:
            done.add(begun[0])
            died = f"the process ended with {process.exitcode}"
            yield Outcome(begun[0], begun[0].rpartition("[")[0], CRASHED, died)
        if process.exitcode and begun:
            todo = [(batch, replace(how, together=1)), *todo]


def recorded(file: Path | None) -> list[Outcome]:
    """The outcomes that a file keeps, one a line."""
    if file is None or not file.is_file():
        return []
    return [Outcome(**json.loads(line)) for line in file.read_text("utf-8").splitlines()]


def figures_of(found: list[Outcome], count: int) -> dict[str, Any]:
    """Print what became of the samples; give the counts."""
    tried_ones = [one for one in found if one.outcome]
    counted = [one for one in tried_ones if not one.apart]
    for one in tried_ones:
        if one.outcome not in (PASSED, REFUSED):
            print(f"{one.outcome}: {one.sample}: {one.why[:200]}")
    reasons = Counter(f"{one.operator}: {one.why[:90]}" for one in counted
                      if one.outcome == REFUSED)  # fmt: skip
    for why, number in reasons.most_common(60):
        print(f"{number:5} refused: {why}")
    apart = Counter(one.apart for one in found if one.apart)
    by = Counter(one.outcome for one in counted)
    print(f"apart: {dict(apart)}")
    print(", ".join(f"{by[what]} {what}" for what in OUTCOMES), f"of {count} operators")
    bad = Counter(one.outcome for one in tried_ones)
    share = 100 * by[PASSED] / max(1, len(counted))
    passed = sum(one.outcome == PASSED for one in tried_ones)
    of_all = 100 * passed / max(1, len(tried_ones))
    said(f"passed of the {len(counted)} that count", share, BAR, "%", least=True)
    print(f"passed of all {len(tried_ones)} that this PyTorch runs: {of_all:.2f} %")
    return {
        **{what: by[what] for what in OUTCOMES},
        **{what: bad[what] for what in (WRONG, CRASHED, LATE)},
        "refused_samples": sorted(one.sample for one in counted if one.outcome == REFUSED),
        "counted": len(counted),
        "counted_passed_percent": share,
        "all": len(tried_ones),
        "all_passed_percent": of_all,
        "apart": dict(apart),
        "operators": count,
    }


def main() -> None:
    """Try them all, and print what became of them."""
    made = parser(__doc__ or "")
    made.add_argument("--only", type=lambda text: text.split(","), metavar="A,B")
    made.add_argument("--core", action="store_true", help="operators of ATen's core set alone")
    made.add_argument("--limit", type=int, help="samples of each operator; all where not given")
    made.add_argument("--resume", metavar="FILE", type=Path, help="keep outcomes here")
    made.add_argument("--together", type=int, default=16, help="samples that are one network")
    options = made.parse_args()
    names = [
        name
        for name, op in operators().items()
        if (not options.only or name in options.only) and (not options.core or in_core(op))
    ]
    names = names[::25] if options.quick else names
    found = recorded(options.resume)
    how = Options(options.limit, options.together)
    for one in tried(names, how, frozenset(each.sample for each in found)):
        found.append(one)
        if options.resume is not None:
            with options.resume.open("a", encoding="utf-8") as file:
                file.write(json.dumps(asdict(one)) + "\n")
    figures = figures_of(found, len(names))
    finish(figures, options.json)
    raise SystemExit(1 if figures[WRONG] or figures[CRASHED] else 0)


if __name__ == "__main__":
    main()
