# SPDX-License-Identifier: Apache-2.0
"""Scheduling: from a lowered module to loops, a step of its own so that it can be replaced."""

from __future__ import annotations

from typing import Any

from splitc.board import Board
from splitc_targets import adapter

NAME = "tvm-default"
"""Recorded in the manifest: two parts are comparable when built by the same schedule."""

CAVEAT = "kernels are not scheduled for the target yet: expect far slower runs than predicted"


def pipeline_for(board: Board) -> Any:
    """The pass pipeline that schedules and builds for a board."""
    return adapter.default_pipeline(adapter.target_of(board))
