# SPDX-License-Identifier: Apache-2.0
# pyright: reportMissingImports=false, reportUnknownMemberType=false
# pyright: reportUnknownVariableType=false, reportUnknownArgumentType=false
"""Sweeps on as many machines as a Ray cluster has."""

from __future__ import annotations

import logging
from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from splitc.errors import DeviceError, SplitcError, ToolchainError, one_line
from splitc.search.grid import Point
from splitc.search.sweep import Key, Search
from splitc.sweep.bests import Found, Workers

LOCAL = "local"
"""The address that stands for a cluster of this machine alone, which is started."""

_QUIET = logging.ERROR


class Cluster(Workers):
    """A Ray cluster, joined when there is work. What it finds equals what `Here` finds.

    splitc has to be installed on every machine of it.

    Args:
        address: As Ray has it: `auto`, `HOST:PORT`, `ray://HOST:PORT`; or `local`.

    Raises:
        ToolchainError: Ray is not installed.
        DeviceError: There is no cluster, or it fails.
    """

    def __init__(self, address: str) -> None:
        self._address = address

    def each(self, search: Search, batches: Sequence[Sequence[Point]]) -> Iterator[Found]:
        """See `Workers`."""
        with joined(self._address) as ray:
            yield from _spread(ray, search, batches)


@contextmanager
def joined(address: str) -> Generator[Any]:
    """A Ray cluster, as long as there is work for it: the module `ray`.

    Raises:
        ToolchainError: Ray is not installed.
        DeviceError: There is no cluster, or it fails.
    """
    try:
        import ray
        from ray.exceptions import RayError
    except ImportError as error:
        hint = "pip install 'splitc[ray]'"
        raise ToolchainError("Ray is not installed", why=str(error), hint=hint) from error
    try:
        with ray.init(address=address, log_to_driver=False, logging_level=_QUIET):
            yield ray
    except (RayError, ConnectionError, ValueError, RuntimeError) as error:
        cause = getattr(error, "cause", None)
        if isinstance(cause, SplitcError):
            raise cause from error
        what = f"the Ray cluster '{address}' fails"
        raise DeviceError(what, why=one_line(error)) from error


def _spread(ray: Any, search: Search, batches: Sequence[Sequence[Point]]) -> Iterator[Found]:
    look = ray.remote(_bests)
    shared = ray.put(search)
    numbers = {look.remote(shared, batch): k for k, batch in enumerate(batches)}
    left = [*numbers]
    while left:
        done, left = ray.wait(left)
        for one in done:
            yield numbers[one], ray.get(one)


def _bests(search: Search, batch: Sequence[Point]) -> list[Key]:
    return search.bests(batch)
