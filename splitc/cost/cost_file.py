# SPDX-License-Identifier: Apache-2.0
"""Files that give the times of layers on a machine in the place of its board file's figures."""

from __future__ import annotations

from pathlib import Path

import msgspec

from splitc.cost.board import Board
from splitc.cost.prices import CostModel
from splitc.cost.profile import ProfileCost, read_bounded, read_profile
from splitc.cost.regression import FitCost, read_fit


class _Any(msgspec.Struct):
    """What tells these files from one another."""

    kind: str = ""


def read_cost(path: str | Path, board: Board) -> CostModel:
    """The cost model in a file: a profile of one network, or a fit for any.

    Args:
        path: What `splitc profile` or `splitc fit` wrote, or anyone in their form.
        board: The machine that code is made for; power and memory are its.

    Raises:
        UsageError: It is neither.
    """
    try:
        kind = msgspec.json.decode(read_bounded(path), type=_Any).kind
    except msgspec.MsgspecError:
        kind = ""
    if kind == "splitc-fit":
        return FitCost(board, read_fit(path))
    return ProfileCost(board, read_profile(path))
