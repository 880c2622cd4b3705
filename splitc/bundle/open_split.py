# SPDX-License-Identifier: Apache-2.0
"""Head and tail loaded, to be run one after the other, many times."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Self

import numpy as np

from splitc.arrays import Array, Arrays
from splitc.errors import UsageError, nearest
from splitc.runtime.manifest import TensorSpec
from splitc.runtime.part import Part, run_by_name, stack_samples


class OpenSplit:
    """A split network that stays loaded: a function of its inputs, from any number of threads.

    Args:
        inputs: What the network reads.
        outputs: What it makes.
        parts: What computes it, loaded, each after those that make what it reads.
        ran: What runs of each part, in words, by its name.
    """

    def __init__(
        self, inputs: tuple[TensorSpec, ...], outputs: tuple[TensorSpec, ...], *parts: Part,
        ran: Mapping[str, str],
    ) -> None:  # fmt: skip
        self._inputs = inputs
        self._outputs = outputs
        self._parts = parts
        self.ran = ran

    def __call__(self, inputs: Arrays | Array) -> dict[str, Array]:
        """Run the parts, in order.

        Args:
            inputs: Arrays by input name, or the one array of a one-input network,
                of the contract's shapes or all stacked along one more leading axis.

        Returns:
            Arrays by result name.

        Raises:
            UsageError: An input is missing, unknown, or of the wrong shape; or it is closed.
        """
        feed, samples = read_feed(self._inputs, inputs)
        if samples is None:
            return self._run(feed)
        return stack_samples(
            [self._run({name: array[k] for name, array in feed.items()}) for k in range(samples)]
        )

    def _run(self, feed: Arrays) -> dict[str, Array]:
        made = dict(feed)
        for part in self._parts:
            made |= run_by_name(part, made)
        return {spec.name: made[spec.name] for spec in self._outputs}

    def close(self) -> None:
        """Close the parts. A second time does nothing."""
        for part in self._parts:
            part.close()

    def __enter__(self) -> Self:
        """The split itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close it."""
        self.close()


def read_feed(
    specs: tuple[TensorSpec, ...], inputs: Arrays | Array
) -> tuple[Mapping[str, Array], int | None]:
    """Inputs by name, and how many samples they hold along one more axis; None for no such axis.

    Raises:
        UsageError: An input is missing, unknown, or of the wrong shape.
    """
    if isinstance(inputs, np.ndarray):
        if len(specs) != 1:
            names = ", ".join(s.name for s in specs)
            raise UsageError("give the inputs by name", why=f"the network has {names}")
        inputs = {specs[0].name: inputs}
    counts: set[int | None] = set()
    for spec in specs:
        if spec.name not in inputs:
            raise UsageError(f"no value for input '{spec.name}'")
        array = inputs[spec.name]
        stacked = array.ndim == len(spec.shape) + 1
        if array.shape[stacked:] != spec.shape or array.dtype.name != spec.dtype:
            why = f"it is {array.dtype} {array.shape}, the contract {spec.dtype} {spec.shape}"
            raise UsageError(f"input '{spec.name}' does not fit", why=why)
        counts.add(len(array) if stacked else None)
    if len(inputs) > len(specs):
        names = {spec.name for spec in specs}
        unknown = next(name for name in inputs if name not in names)
        raise UsageError(f"there is no input '{unknown}'", hint=nearest(unknown, names))
    if len(counts) > 1 or 0 in counts:
        raise UsageError("the inputs hold different numbers of samples, or none")
    return inputs, counts.pop() if counts else None
