# SPDX-License-Identifier: Apache-2.0
"""The cut search: which cuts there are, what each costs, which is best."""

from splitc.search.cutter import Cutter, Solution
from splitc.search.find import find_cuts
from splitc.search.limits import Constraints
from splitc.search.problem import CutRow, Problem
from splitc.search.scenario import Scenario
from splitc.search.table import CutTable

__all__ = ["Constraints", "CutRow", "CutTable", "Cutter", "Problem", "Scenario", "Solution",
           "find_cuts"]  # fmt: skip
