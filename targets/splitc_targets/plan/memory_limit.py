# SPDX-License-Identifier: Apache-2.0
"""Code that keeps a memory limit: quicker kernels may keep several times the weights of others."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

from splitc_targets.kernels.choice import Choice, Product, conv_of
from splitc_targets.kernels.ways import all_candidates
from splitc_targets.machine.machine import Machine
from splitc_targets.plan import arena
from splitc_targets.plan.choices import Choices, bare
from splitc_targets.plan.planner import Plan


@dataclass(frozen=True)
class Lighter:
    """The choices of another, some kernels as they keep the fewest bytes whatever it says.

    Args:
        others: Asked for all other kernels.
        chosen: How those compute, by the bare kernel.
    """

    others: Choices
    chosen: Mapping[Product, Choice]

    def best(self, product: Product) -> Choice | None:
        """The lighter one for those that are named, else the other's choice."""
        return self.chosen.get(bare(product)) or self.others.best(product)


def constant_bytes(plan: Plan) -> int:
    """Bytes of all constants that the kernels read, each once."""
    return sum(
        view.buffer.size * arena.dtype_bytes(view.buffer)
        for view in {v.buffer: v for step in plan.steps for v in step.args}.values()
        if view.buffer.holds_weights
    )


def smaller(plan: Plan, choices: Choices, machine: Machine, excess_bytes: int) -> Choices | None:
    """Choices whose plan needs fewer bytes; None where none is left to give up.

    Given up first are the kernels that save the least time for the bytes they add.

    Args:
        plan: The plan that needs too many.
        choices: What made it.
        machine: What it runs on.
        excess_bytes: How many too many.
    """
    if excess_bytes <= 0:
        return None
    added: Counter[Product] = Counter()
    lighter: dict[Product, Choice] = {}
    for step in plan.steps:
        if step.product is None or step.choice is None:
            continue
        ways = all_candidates(step.product, machine)
        least = min(ways, key=lambda each: each.constant_bytes)
        taken = next(each for each in ways if each.choice.family == step.choice.family)
        if taken.constant_bytes > least.constant_bytes:
            added[step.product] += taken.constant_bytes - least.constant_bytes
            lighter[step.product] = least.choice
    given_up: dict[Product, Choice] = {}
    for product in sorted(added, key=lambda each: added[each] / conv_of(each).flops, reverse=True):
        if excess_bytes <= 0:
            break
        given_up[product] = lighter[product]
        excess_bytes -= added[product]
    return Lighter(choices, given_up) if given_up else None
