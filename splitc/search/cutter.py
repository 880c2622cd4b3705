# SPDX-License-Identifier: Apache-2.0
"""Cutters: algorithms that solve a placement problem."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar

from splitc.cost.prices import CutCost
from splitc.errors import SplitcError, UsageError
from splitc.ir.placement import Placement
from splitc.ir.proof import Proof
from splitc.passes.items import item_text, parse_item
from splitc.search.evidence import Evidence
from splitc.search.problem import Problem


@dataclass(frozen=True)
class Solution:
    """What a cutter found.

    Args:
        where: The placement.
        cost: Its price list.
        proof: Why it is the best one, or how far it may be off.
    """

    where: Placement
    cost: CutCost
    proof: Proof


@dataclass(frozen=True)
class Cutter:
    """An algorithm that finds a cheap placement. A subclass is a frozen dataclass.

    Its fields are its options, and its docstring its specification; its text is written
    like a pass's: `name` or `name(option=value)`.
    """

    name: ClassVar[str]
    files: ClassVar[tuple[str, ...]] = ()
    """Those of its options that name a file to read."""

    def refuses(self, problem: Problem) -> str | None:
        """Why it does not solve such problems, in a clause; None where it does."""
        return None

    def solve(self, problem: Problem) -> Solution:
        """A placement that can be used, and how good it is.

        Raises:
            NoLegalCutError: There is none.
            UsageError: It does not solve such problems.
        """
        raise SplitcError(f"cutter '{self.name}' has no solve")

    def evidence(self, problem: Problem, solution: Solution) -> Evidence:
        """What its proof rests on, to be checked again by others: the problem as it solved it."""
        return Evidence.of(problem)

    def __str__(self) -> str:
        return item_text(self.name, self)

    @property
    def reads(self) -> dict[str, str]:
        """The files that it reads, by the options that name them."""
        return {option: path for option in self.files if (path := getattr(self, option))}

    @property
    def named(self) -> str:
        """Its text, files by their names alone: for people."""
        return str(self.reading({option: Path(path).name for option, path in self.reads.items()}))

    @property
    def plain(self) -> str:
        """Its text without files: where one lies, and what it is called, makes no difference."""
        return str(self.reading(dict.fromkeys(self.reads, "")))

    def reading(self, files: Mapping[str, str]) -> Cutter:
        """The same, other files in place of its own."""
        return replace(self, **dict[str, Any](files))

    @staticmethod
    def parse(text: str) -> Cutter:
        """Read `min-cut` or `name(option=value)`.

        Raises:
            UsageError: An unknown cutter or option, malformed text, or not one cutter.
        """
        one = parse_item("cutters", text, what="cutter", example="min-cut")
        assert isinstance(one, Cutter)
        return one


def refuse(cutter: Cutter, problem: Problem) -> None:
    """Raise where a cutter does not solve a problem.

    Raises:
        UsageError: Says why.
    """
    why = cutter.refuses(problem)
    if why is not None:
        hint = "leave the cutter out, and one that fits is taken"
        raise UsageError(f"the cutter '{cutter.name}' cannot solve this", why=why, hint=hint)
