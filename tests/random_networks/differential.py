# SPDX-License-Identifier: Apache-2.0
# pyright: basic
"""A network through splitc: compiled whole and cut, compared with onnxruntime's values."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from onnx.reference import ReferenceEvaluator

import splitc
from splitc.build.refusals import refuse_contract, refuse_unsupported
from splitc.cost.board import Board, load_board
from splitc.errors import SplitcError
from splitc.frontend.onnx.model import OnnxModel
from splitc.ir.cut import Cut
from splitc.ir.graph import LayerGraph
from splitc.ir.layout import maps_of
from splitc_targets.backend import TvmBackend
from tests.random_networks.network import Array, Network, run

RELATIVE = {"float16": 4e-3, "float32": 1e-4, "float64": 1e-6}
"""Of an element."""
OF_LARGEST = {"float16": 4e-3, "float32": 2e-5, "float64": 1e-7}
"""Of the largest element, where sums cancel."""


class WrongError(AssertionError):
    """A value is not what onnxruntime has."""


@dataclass(frozen=True)
class Feed:
    """A model, values for its inputs, and its right results with what each may be off.

    Args:
        model: The model, loaded.
        inputs: Values by name.
        results: Right values by name.
        shadows: The same with rounding errors on the way, of one sign and the other.
    """

    model: OnnxModel
    inputs: dict[str, Array]
    results: dict[str, Array]
    shadows: dict[str, tuple[Array, Array]]

    @staticmethod
    def of(network: Network, *, simplify: bool = False) -> Feed:
        """What a network computes.

        Raises:
            SplitcError: It is not loaded.
        """
        values = {name: network[name] for name in network.outputs}
        return Feed(
            splitc.load(network.proto(), simplify=simplify),
            network.feed,
            {name: value.array for name, value in values.items()},
            {name: value.shadows for name, value in values.items()},
        )


def off(got: Array, want: Array, shadows: tuple[Array, Array]) -> str:
    """How an array differs from the right one; empty where it does not."""
    if (got.shape, got.dtype) != (want.shape, want.dtype):
        return f"{got.dtype}{list(got.shape)} for {want.dtype}{list(want.shape)}"
    if want.dtype.kind != "f":
        wrong = got != want
    else:
        finite = np.isfinite(want)
        bound = np.zeros(want.shape)
        exact = want.astype(np.float64)
        largest = np.abs(exact[finite]).max(initial=0.0)
        kind = want.dtype.name
        bound[finite] = RELATIVE[kind] * np.abs(exact[finite]) + OF_LARGEST[kind] * largest
        for shadow in shadows:
            strays = np.abs(shadow.astype(np.float64)[finite] - exact[finite])
            bound[finite] += 4 * strays.max(initial=0.0)
        with np.errstate(invalid="ignore"):
            near = np.abs(got.astype(np.float64) - exact) <= bound + 1e-37
        alike = (got == want) | (np.isnan(got) & np.isnan(want))
        wrong = ~np.where(finite, near, alike)
    if not wrong.any():
        return ""
    at = tuple(int(k) for k in np.argwhere(wrong)[0])
    return f"{int(wrong.sum())} of {wrong.size} wrong, {got[at]} for {want[at]} at {list(at)}"


def check(feed: Feed, found: dict[str, Array]) -> None:
    """Hold results against the right ones.

    Raises:
        WrongError: One differs, and ONNX's own evaluator does not agree with it.
    """
    for name, want in feed.results.items():
        how = off(found[name], want, feed.shadows[name])
        if how and not _agreed(feed, name, found[name]):
            raise WrongError(f"'{name}': {how}")


def _agreed(feed: Feed, name: str, got: Array) -> bool:
    """Whether ONNX's evaluator gives this rather than what onnxruntime does."""
    names = [value.name for value in feed.model.proto.graph.output]
    try:
        found = dict(
            zip(names, ReferenceEvaluator(feed.model.proto).run(None, feed.inputs), strict=True)
        )
    except Exception:  # noqa: BLE001  its operators raise whatever numpy does
        return False
    other = np.asarray(found[name])
    return not off(got, other, (other, other))


Part = Callable[[dict[str, Array]], dict[str, Array]]


def in_process(model: Any, board: Board) -> Part:
    """A part compiled as `splitc compile` does it, without linking.

    Raises:
        SplitcError: It is refused.
    """
    backend = TvmBackend()
    refuse_contract(model)
    refuse_unsupported(backend, model, "part")
    code = backend.compile(backend.lower(model), board)
    # No layer computes a result that is an input.
    assert all(kernel.layers or kernel.op == "layout" for kernel in code.kernels)
    call = code.here()
    inputs = [tensor.name for tensor in model.graph.inputs]
    outputs = [tensor.name for tensor in model.graph.output_tensors]

    def part(known: dict[str, Array]) -> dict[str, Array]:
        return dict(zip(outputs, call(*(known[name] for name in inputs)), strict=True))

    return part


def by_onnxruntime(model: Any) -> Part:
    """A part as `--emit onnx` writes it."""
    outputs = [value.name for value in model.proto.graph.output]
    inputs = [value.name for value in model.proto.graph.input]

    def part(known: dict[str, Array]) -> dict[str, Array]:
        arrays = run(model.proto, {name: known[name] for name in inputs})
        return dict(zip(outputs, arrays, strict=True))

    return part


def some_cut(graph: LayerGraph, seed: int) -> Cut | None:
    """A legal cut behind some layers drawn; None where none was met."""
    rng = random.Random(seed)
    names = [layer.name for layer in graph.layers[graph.input_count :]]
    for _ in range(12):
        some = rng.sample(names, min(len(names), rng.randint(1, 3)))
        cut = Cut.after(graph, some)
        if cut.why_not() is None:
            return cut
    return None


def whole(feed: Feed, board: str) -> None:
    """Compile the whole network for a board that this machine runs, and compare.

    Raises:
        SplitcError: It is refused.
        WrongError: A result is wrong.
    """
    check(feed, in_process(feed.model, load_board(board))(dict(feed.inputs)))


def cut(feed: Feed, boards: tuple[str, str] | None, seed: int) -> bool:
    """Cut the network, compile both parts, or leave them to onnxruntime, and compare.

    Args:
        feed: The network.
        boards: Head's and tail's; None for onnxruntime.
        seed: Of the cut.

    Returns:
        Whether there was a cut.

    Raises:
        SplitcError: It is refused.
        WrongError: A result is wrong.
    """
    where = some_cut(feed.model.graph, seed)
    if where is None:
        return False
    maps = maps_of(where) if boards else {}
    known = dict(feed.inputs)
    for k, part in enumerate(feed.model.split(where, maps)):
        run_part = in_process(part, load_board(boards[k])) if boards else by_onnxruntime(part)
        known |= run_part(known)
    try:
        check(feed, known)
    except WrongError as error:
        raise WrongError(f"{error} (cut at {where.name})") from None
    return True


def bundled(feed: Feed, head: str, folder: Path, seed: int) -> bool:
    """Compile a bundle and run it, a head for another machine under emulation.

    Returns:
        Whether there was a cut.

    Raises:
        SplitcError: It is refused.
        WrongError: A result is wrong.
    """
    where = some_cut(feed.model.graph, seed)
    if where is None:
        return False
    folder.mkdir(parents=True, exist_ok=True)
    made = splitc.compile(feed.model, cut=where.name, head=head, output=folder / "random.splitc")
    check(feed, made.run(feed.inputs, emulate=True))
    return True


WAYS: dict[str, Callable[[Feed, int], object]] = {
    "whole, host": lambda feed, seed: whole(feed, "host"),
    "whole, x86-64-v3": lambda feed, seed: whole(feed, "x86-64-v3"),
    "cut, host": lambda feed, seed: cut(feed, ("host", "host"), seed),
    "cut, x86-64-v3 and host": lambda feed, seed: cut(feed, ("x86-64-v3", "host"), seed + 1),
    "cut, as ONNX": lambda feed, seed: cut(feed, None, seed + 2),
}
"""Ways through splitc that need no link."""


def outcome(way: Callable[[], object]) -> tuple[str, str]:
    """How it went: held, refused, wrong or crashed, and what was said."""
    try:
        return ("no cut", "") if way() is False else ("held", "")
    except WrongError as error:
        return "wrong", str(error)
    except SplitcError as error:
        kind = "refused" if 2 <= error.exit_code != 7 and error.exit_code <= 8 else "crashed"
        return kind, " | ".join(str(error).split("\n"))
    except Exception as error:  # noqa: BLE001  whatever a user would see as an internal error
        return "crashed", f"{type(error).__name__}: {error}"
