# SPDX-License-Identifier: Apache-2.0
"""The cut search: which cuts there are, what each costs, which is best."""

from splitc.search.find import Constraints, CutRow, CutTable, find_cuts

__all__ = ["Constraints", "CutRow", "CutTable", "find_cuts"]
