# SPDX-License-Identifier: Apache-2.0
# pyright: basic
"""How many of PyTorch's own operator samples are right, refused by name, wrong, crashed?

The OpInfo samples of torch.testing (float32, forward), which nobody here wrote, each as a
network of one call through the torch door: read, refuse, lower, compile for this machine, run,
compared with PyTorch at inference. What has no one right value is left out: operators that draw
random numbers, memory that nobody wrote, and dropout that a call forces on.

Needs `pip install expecttest`, which torch.testing imports. `--only abs,add` takes some of the
operators, `--core` those of ATen's core set, `--limit N` so many samples of each; a process does
ten operators, so that one that dies is counted and the rest go on.
"""

from __future__ import annotations

import multiprocessing
from collections import Counter
from collections.abc import Iterator
from functools import cache
from typing import Any

import numpy as np
import torch
from conformance_run import CRASHED, PASSED, REFUSED, WRONG
from torch import nn
from torch.utils._pytree import tree_flatten, tree_leaves, tree_unflatten

import splitc
from common import finish, parser
from splitc.build.refusals import refuse_contract
from splitc.cost.board import load_board
from splitc.errors import SplitcError
from splitc_targets.backend import TvmBackend

LATE = "refused late"
OUTCOMES = (PASSED, REFUSED, WRONG, CRASHED, LATE)
UNSET = ("empty", "new_empty", "dropout", "random", "rand", "normal", "uniform", "bernoulli",
         "exponential", "cauchy", "geometric", "multinomial")  # fmt: skip
BATCH = 10
CALLED = ("softmax", "log_softmax", "conv1d", "conv2d", "conv3d", "conv_transpose1d",
          "conv_transpose2d", "conv_transpose3d", "max_pool1d", "max_pool2d", "max_pool3d",
          "adaptive_avg_pool2d", "adaptive_avg_pool3d", "batch_norm", "layer_norm", "group_norm",
          "pad", "interpolate", "unfold", "fold", "bitwise_and", "bitwise_not", "linear",
          "scaled_dot_product_attention", "glu", "embedding_bag", "pdist", "cdist")  # fmt: skip
"""Functions whose operator in the core set goes by another name."""


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


def samples(op: Any, limit: int) -> Iterator[tuple[list[Any], Any]]:
    """Arguments of different shapes and values, flat, with their structure; spread evenly."""
    torch.manual_seed(0)
    made: dict[str, tuple[list[Any], Any]] = {}
    for one in op.sample_inputs("cpu", torch.float32, requires_grad=False):
        leaves, spec = tree_flatten(((one.input, *one.args), dict(one.kwargs)))
        shown = [tuple(x.shape) if isinstance(x, torch.Tensor) else x for x in leaves]
        made.setdefault(f"{shown}{spec}", (leaves, spec))
    found = list(made.values())
    step = max(1.0, len(found) / limit)
    yield from (found[int(k * step)] for k in range(min(limit, len(found))))


def outcome(module: Call, tensors: list[torch.Tensor]) -> tuple[str, str]:
    """What became of a call, and why."""
    try:
        with torch.no_grad():
            given = tree_leaves(module(*(each.clone() for each in tensors)))
    except (RuntimeError, ValueError, TypeError, IndexError, AssertionError):
        return "", ""  # of a form that this machine's PyTorch has not
    right = [x.resolve_conj().resolve_neg() for x in given if isinstance(x, torch.Tensor)]
    if not right or not tensors:
        return "", ""
    backend, asked = TvmBackend(), False
    try:
        model = splitc.load(module, tuple(tensors))
        refuse_contract(model)
        missing = backend.unsupported(model)
        if missing:
            return REFUSED, missing[0].why
        asked = True
        code = backend.compile(backend.lower(model), load_board("host"))
        got = code.here()(*(each.numpy() for each in tensors))
    except SplitcError as error:
        return LATE if asked else REFUSED, f"{error.what}: {error.why}"
    except Exception as error:  # noqa: BLE001  (what is counted here)
        return CRASHED, f"{type(error).__name__}: {error}"
    same = len(got) == len(right) and all(map(alike, got, right))
    return (PASSED, "") if same else (WRONG, "")


def alike(got: np.ndarray[Any, Any], given: torch.Tensor) -> bool:
    """Same shape, element type and, to 1e-3 of each and 2e-4 of the largest, values."""
    right = given.numpy()
    if got.shape != right.shape or got.dtype != right.dtype:
        return False
    whole = right.dtype.kind != "f"
    largest = 1.0 if whole else float(np.abs(right[np.isfinite(right)]).max(initial=1.0))
    slack = 0.0 if whole else 2e-4 * largest
    return bool(np.allclose(got, right, rtol=0.0 if whole else 1e-3, atol=slack, equal_nan=True))


def work(names: list[str], limit: int, told: Any) -> None:
    """Try the samples of some operators; says each as it begins and as it ends."""
    torch.set_num_threads(1)
    known = operators()
    for name in names:
        for leaves, spec in samples(known[name], limit):
            told.send((name, "", ""))
            module = Call(known[name].op, leaves, spec).eval()
            tensors = [leaves[place].detach().clone() for place in module.where]
            told.send((name, *outcome(module, tensors)))


def tried(names: list[str], limit: int) -> Iterator[tuple[str, str, str]]:
    """Each sample's operator, outcome and reason; a process that dies is one crash."""
    todo = [names[k : k + BATCH] for k in range(0, len(names), BATCH)]
    context = multiprocessing.get_context("spawn")
    while todo:
        batch, last = todo.pop(0), ""
        listening, telling = context.Pipe(duplex=False)
        process = context.Process(target=work, args=(batch, limit, telling))
        process.start()
        telling.close()
        while True:
            try:
                name, what, why = listening.recv()
            except EOFError:
                break
            last = name
            if what:
                yield name, what, why
        process.join()
        if process.exitcode:
            yield last, CRASHED, f"the process ended with {process.exitcode}"
            rest = batch[batch.index(last) + 1 :] if last in batch else []
            todo = [rest, *todo] if rest else todo


def main() -> None:
    """Try them all, and print what became of them."""
    made = parser(__doc__ or "")
    made.add_argument("--only", type=lambda text: text.split(","), metavar="A,B")
    made.add_argument("--core", action="store_true", help="operators of ATen's core set alone")
    made.add_argument("--limit", type=int, default=8, help="samples of each operator")
    options = made.parse_args()
    names = [
        name
        for name, op in operators().items()
        if (not options.only or name in options.only) and (not options.core or in_core(op))
    ]
    names = names[::25] if options.quick else names
    counts: Counter[str] = Counter()
    reasons: Counter[str] = Counter()
    for name, what, why in tried(names, options.limit):
        counts[what] += 1
        if what == REFUSED:
            reasons[f"{name}: {why[:70]}"] += 1
        elif what != PASSED:
            print(f"{what}: {name}: {why[:200]}", flush=True)
    for why, count in reasons.most_common(40):
        print(f"{count:5} refused: {why}")
    print(", ".join(f"{counts[what]} {what}" for what in OUTCOMES), f"of {len(names)} operators")
    figures = {**{what: counts[what] for what in OUTCOMES}, "operators": len(names)}
    finish(figures, options.json)
    raise SystemExit(1 if counts[WRONG] or counts[CRASHED] else 0)


if __name__ == "__main__":
    main()
