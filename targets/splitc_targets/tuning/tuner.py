# SPDX-License-Identifier: Apache-2.0
"""Measures the choices of a part's kernels, the most expensive kernels first."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable
from typing import Any

from splitc.cost.board import Board, x86_level
from splitc.errors import DeviceError, UsageError
from splitc_targets import pipeline
from splitc_targets.kernels.choice import Product
from splitc_targets.machine.machine import machine_of
from splitc_targets.tuning import measure
from splitc_targets.tuning.candidates import candidates, kernel
from splitc_targets.tuning.database import Database, Record, Tuned, database_path, name_of
from splitc_targets.tuning.measure import Address, Runner
from splitc_targets.tvm import adapter
from splitc_targets.tvm.reader import NotReadable


def refuse(board: Board, rpc: str) -> None:
    """Raise where nothing can be measured for a board.

    Raises:
        UsageError: This machine does not run its code, and no address is given.
        ToolchainError: A package that TVM's runners need is missing.
        DeviceError: Nothing answers at the address.
    """
    measure.refuse(rpc)
    if rpc:
        return
    if board.processor.isa != "x86_64" or board.processor.cpu not in _levels():
        raise UsageError(
            f"code for {board.name} cannot be tuned on this machine",
            why=f"it runs on {board.processor.isa} ({board.processor.cpu}) only",
            hint="--tune-rpc HOST:PORT of a board that runs `python -m tvm.exec.rpc_server`, "
            "or --tune-parts for the part that runs here",
        )


def _levels() -> list[str]:
    """The x86-64 levels whose code this machine runs."""
    level = x86_level()
    return [] if level is None else [f"x86-64-v{n}" for n in range(1, int(level[-1]) + 1)]


def tune(
    lowered: Any, board: Board, seconds: float, rpc: str, progress: Callable[[str], None]
) -> Tuned:
    """Measure what the database lacks, for about so long; what is measured is kept at once.

    Raises:
        DeviceError: No kernel could be measured.
        ToolchainError: The database cannot be written, or code cannot be built.
    """
    database = Database.open(database_path(board, adapter.version()))
    products = products_of(lowered, board)
    missing = [product for product in products if name_of(product) not in database.records]
    end, runner = time.monotonic() + seconds, None
    failed = 0
    for number, product in enumerate(missing, 1):
        left = end - time.monotonic()
        if left <= 0:
            break
        progress(f"measuring kernel {number} of {len(missing)}, at most {left:.0f} s more")
        runner = runner or _runner(board, rpc)
        why = _measure(product, board, runner, database)
        failed += bool(why)
        if why and failed == number >= min(_TRIES, len(missing)):
            raise DeviceError("no kernel could be measured", at=rpc or "this machine", why=why)
    changed = sum(database.best(product) is not None for product in products)
    known = sum(name_of(product) in database.records for product in products)
    progress(f"{known} of {len(products)} kernels measured, {changed} better than the model's")
    return Tuned(lowered, database)


def _runner(board: Board, rpc: str) -> Runner:
    return measure.runner_at(Address.parse(rpc)) if rpc else measure.runner_here(board.cores)


def products_of(lowered: Any, board: Board) -> list[Product]:
    """The distinct kernels of a part there is a choice for, by their share of the arithmetic."""
    try:
        steps = pipeline.plan_module(lowered, board).steps
    except NotReadable:
        return []
    work: Counter[Product] = Counter()
    for step in steps:
        if step.product is not None:
            work[step.product] += step.flops
    least = _LEAST_SHARE * work.total()
    machine = machine_of(board)
    return [
        product
        for product, flops in work.most_common()
        if flops > least and len(candidates(product, machine)) > 1
    ]


def _measure(product: Product, board: Board, runner: Runner, database: Database) -> str:
    """Measure a kernel's choices and keep them; why not, where that fails."""
    machine = machine_of(board)
    choices = candidates(product, machine)
    with adapter.building(adapter.target_of(board)):
        functions = [kernel(f"c{n}", product, each, machine) for n, each in enumerate(choices)]
    times = measure.measure(functions, board, runner, _SECONDS)
    if isinstance(times, str):
        return times
    seconds = {str(each): round(t, 9) for each, t in zip(choices, times, strict=True)}
    database.add(Record(name_of(product), str(choices[0]), seconds))
    return ""


_SECONDS = 0.5
"""How long a kernel's choices are timed in turns."""

_LEAST_SHARE = 0.002
"""Share of a part's arithmetic below which a kernel is not measured."""

_TRIES = 3
"""Kernels that may fail, with none measured, before the search gives up."""
