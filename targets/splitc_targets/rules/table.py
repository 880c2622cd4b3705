# SPDX-License-Identifier: Apache-2.0
"""Which rule plans which operation."""

from __future__ import annotations

from splitc_targets.plan.planner import Rule
from splitc_targets.rules import (
    attention,
    cast,
    conv,
    extremes,
    gather,
    grid,
    matmul,
    recurrent,
    reduce,
    regions,
    rows,
    scan,
    scatter,
    shape,
    sort,
    suppression,
    transposed,
    window,
)

RULES: dict[str, Rule] = {
    **attention.RULES,
    **cast.RULES,
    **conv.RULES,
    **extremes.RULES,
    **gather.RULES,
    **grid.RULES,
    **matmul.RULES,
    **recurrent.RULES,
    **reduce.RULES,
    **regions.RULES,
    **rows.RULES,
    **scan.RULES,
    **scatter.RULES,
    **shape.RULES,
    **sort.RULES,
    **suppression.RULES,
    **transposed.RULES,
    **window.RULES,
}
"""By operation; what is not here, or whose rule declines, falls back to TVM's loops."""
