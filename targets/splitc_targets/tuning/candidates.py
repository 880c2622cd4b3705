# SPDX-License-Identifier: Apache-2.0
"""The choices worth measuring for a kernel, and the functions that compute it so."""

from __future__ import annotations

from typing import Any

from splitc_targets.kernels import families, ways
from splitc_targets.kernels.choice import Choice, Product
from splitc_targets.machine.machine import Machine


def candidates(product: Product, machine: Machine) -> list[Choice]:
    """The model's choice first, then those of every family that computes the kernel."""
    return [each.choice for each in ways.all_candidates(product, machine)]


def kernel(name: str, product: Product, choice: Choice, machine: Machine) -> Any:
    """The function that computes a kernel by a choice.

    Raises:
        ValueError: Its family computes none that is measured.
    """
    family = families.named(choice.family)
    if family is None or family.kernel is None:
        raise ValueError(f"{choice} is no choice for a kernel")
    return family.kernel(name, product, choice, machine)
