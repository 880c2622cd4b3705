# SPDX-License-Identifier: Apache-2.0
"""Files that give the times of layers on a machine in the place of its board file's figures."""

from __future__ import annotations

from pathlib import Path

import msgspec

from splitc.cost.board import Board
from splitc.cost.onnxruntime_profile import RuntimeCost, read_runtime_profile
from splitc.cost.prices import BoardCost, CostModel
from splitc.cost.profile import ProfileCost, read_bounded, read_profile, work_of
from splitc.cost.regression import FitCost, read_fit
from splitc.cost.time_table import read_table
from splitc.cost.topology import DEVICE, SERVER
from splitc.ir.graph import LayerGraph


class _Any(msgspec.Struct):
    """What tells these files from one another."""

    kind: str = ""


def read_cost(path: str | Path, board: Board, side: str = DEVICE) -> CostModel:
    """The cost model in a file: a profile of one network, or a fit for any.

    Args:
        path: What `splitc profile` or `splitc fit` wrote, or anyone in their form; what
            onnxruntime's profiler wrote; or a table of times.
        board: The machine that code is made for; power and memory are its.
        side: Which site's column of a table.

    Raises:
        UsageError: It is none of these.
    """
    text = read_bounded(path).lstrip()
    if text.startswith(b"["):
        return read_runtime_profile(path, board)
    if not text.startswith(b"{"):
        return ProfileCost(board, read_table(path).profile(side))
    try:
        kind = msgspec.json.decode(text, type=_Any).kind
    except (msgspec.MsgspecError, RecursionError):
        kind = ""
    if kind == "splitc-fit":
        return FitCost(board, read_fit(path))
    return ProfileCost(board, read_profile(path))


def read_measured(path: str | Path, device: Board, server: Board) -> tuple[CostModel, CostModel]:
    """What was measured, in one file: of the device, and of the server where a table has it.

    Args:
        path: See `read_cost`.
        device: The board of the device.
        server: That of the server, which predicts what was not measured.

    Raises:
        UsageError: See `read_cost`.
    """
    if read_bounded(path).lstrip()[:1] in (b"[", b"{"):
        return read_cost(path, device), BoardCost(server)
    table = read_table(path)
    if SERVER not in table.sides:
        return ProfileCost(device, table.profile(DEVICE)), BoardCost(server)
    there = ProfileCost(server, table.profile(SERVER))
    if DEVICE not in table.sides:
        return BoardCost(device), there
    return ProfileCost(device, table.profile(DEVICE)), there


def not_measured(cost: CostModel, graph: LayerGraph) -> tuple[str, ...]:
    """Names of layers that a file of times does not know, which are predicted; () without one."""
    known = cost.known(graph) if isinstance(cost, RuntimeCost) else cost
    if not isinstance(known, ProfileCost):
        return ()
    layers = known.profile.layers
    return tuple(name for name in work_of(graph) if name not in layers)
