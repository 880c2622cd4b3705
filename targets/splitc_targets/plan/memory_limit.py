# SPDX-License-Identifier: Apache-2.0
"""Code that keeps a memory limit: Winograd's weights are up to four times the direct ones'."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

from splitc_targets.kernels.product.geometry import Conv
from splitc_targets.machine.machine import Machine
from splitc_targets.plan import arena
from splitc_targets.plan.choices import Choice, Choices, Product, bare, direct_choice, product_of
from splitc_targets.plan.planner import Plan


@dataclass(frozen=True)
class Direct:
    """The choices of another, some convolutions direct whatever it says.

    Args:
        others: Asked for all other kernels.
        convolutions: Those, bare.
        machine: What they run on.
    """

    others: Choices
    convolutions: frozenset[Conv]
    machine: Machine

    def best(self, product: Product) -> Choice | None:
        """Direct for the ones that are named, else the other's choice."""
        if bare(product) in self.convolutions:
            return direct_choice(product, self.machine)
        return self.others.best(product)


def constant_bytes(plan: Plan) -> int:
    """Bytes of all constants that the kernels read, each once."""
    return sum(
        view.buffer.size * arena.dtype_bytes(view.buffer)
        for view in {v.buffer: v for step in plan.steps for v in step.args}.values()
        if view.buffer.kind in ("constant", "packed")
    )


def smaller(plan: Plan, choices: Choices, machine: Machine, excess_bytes: int) -> Choices | None:
    """Choices whose plan needs fewer bytes; None where no Winograd is left to give up.

    Given up first are the convolutions that save the least time for the bytes they add.

    Args:
        plan: The plan that needs too many.
        choices: What made it.
        machine: What it runs on.
        excess_bytes: How many too many.
    """
    added: Counter[Conv] = Counter()
    for step in plan.steps:
        conv = product_of(step.key)
        if step.rule.startswith("winograd") and isinstance(conv, Conv):
            packed = step.args[1].buffer
            plain = 9 * conv.channels * conv.out_channels
            added[conv] += (packed.size - plain) * arena.dtype_bytes(packed)
    given_up: list[Conv] = []
    for conv in sorted(added, key=lambda each: added[each] / each.flops, reverse=True):
        if excess_bytes <= 0:
            break
        given_up.append(conv)
        excess_bytes -= added[conv]
    if not given_up:
        return None
    return Direct(choices, frozenset(given_up), machine)
