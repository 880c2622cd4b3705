# SPDX-License-Identifier: Apache-2.0
"""One machine as device, link and server under a condition: what stands for each."""

from __future__ import annotations

import os
from collections.abc import Callable, Generator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from multiprocessing import get_context
from multiprocessing.connection import Connection
from typing import Any

from splitc.errors import DeviceError, SplitcError, ToolchainError
from splitc.link.link import Link
from splitc.net.address import Address
from splitc.net.impairment import Impairment
from splitc.net.relay import Relay
from splitc.search.grid import Point
from splitc.sweep import actors

_START_S = 120.0
"""Within which a process has to say something."""
_STOP_S = 3.0
"""Within which it has to end when it is told to."""
_OFF = 0.1
"""How far from the wanted share a load may be."""
_QUEUE_BYTES = 2**28
"""Nothing is lost for want of room: a device sends no faster than the link."""


@dataclass(frozen=True)
class Rig:
    """The cores of this machine, and what runs on which.

    Args:
        device: Of the device, and of what takes its arithmetic.
        server: Of the server, the relay that is the link, and what takes memory bandwidth.
    """

    device: tuple[int, ...]
    server: tuple[int, ...]

    @staticmethod
    def here() -> Rig:
        """This machine, half for each.

        Raises:
            ToolchainError: Processes cannot be kept to cores here.
        """
        if not hasattr(os, "sched_getaffinity"):
            why = "device and server need cores of their own, which only Linux grants"
            raise ToolchainError("conditions cannot be measured on this system", why=why)
        cores = sorted(os.sched_getaffinity(0))
        half = max(1, len(cores) // 2)
        return Rig(tuple(cores[:half]), tuple(cores[half:] or cores))

    def __str__(self) -> str:
        shared = "the same core" if self.device == self.server else f"{len(self.server)} others"
        return f"device on {len(self.device)} core(s), server on {shared}"

    @contextmanager
    def serving(self, bundle: str) -> Generator[Address]:
        """A server of a bundle; where it is.

        Raises:
            SplitcError: It does not start.
        """
        with _actor(actors.serve, self.server, bundle) as server:
            yield Address.parse(str(_heard(server, "the server")))

    def measure(
        self, trial: actors.Trial, server: Address, point: Point, link: Link
    ) -> list[list[float]]:
        """Seconds of frames under a condition, one list for each route.

        Args:
            trial: What to send.
            server: Where to, through a link that the condition has.
            point: The condition.
            link: What of the link is the same under every condition.

        Raises:
            DeviceError: A load did not have the share that it was to have, or the frames were
                not answered.
            SplitcError: The device fails.
        """
        way = Impairment(
            loss=link.loss_rate, delay=link.rtt_s / 2, bandwidth=point.bandwidth_bps,
            queue_bytes=_QUEUE_BYTES,
        )  # fmt: skip
        with ExitStack() as stack:
            relay = stack.enter_context(Relay(server, up=way, down=way))
            copying = [
                stack.enter_context(_actor(actors.load_memory, core, point.memory))
                for core in (self.server[-1:] if point.memory else ())
            ]
            busy = [
                stack.enter_context(_actor(actors.load_processor, core, point.cpu))
                for core in (self.device if point.cpu else ())
            ]
            _ = [_heard(load, "the memory's load") for load in copying]
            nice = [int(str(_heard(load, "the processor's load"))) for load in busy]
            told = replace(
                trial, to=str(relay.address), bandwidth_bps=point.bandwidth_bps,
                niceness=max(nice, default=0),
            )  # fmt: skip
            device = stack.enter_context(_actor(actors.measure, self.device, told))
            frames = trial.routes * (trial.frames + 1)
            seconds: Any = _heard(device, "the device", _START_S + actors.LONGEST_S * frames)
            _check("CPU", point.cpu, busy)
            _check("memory", point.memory, copying)
        return seconds


def _check(what: str, wanted: float, loads: Sequence[Connection]) -> None:
    """End loads, and raise where one had another share than the condition's."""
    for load in loads:
        load.send(None)
    for load in loads:
        had: Any = _heard(load, f"the {what} load")
        if abs(had - wanted) > _OFF:
            why = f"a load had {100 * had:.0f} % of its core: others are busy there"
            raise DeviceError(f"{what} stress of {100 * wanted:g} % was not reached", why=why)


@contextmanager
def _actor(role: Callable[..., None], *given: Any) -> Generator[Connection]:
    """A process in a role; this end of its pipe. It is over when the block is."""
    context = get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=role, args=(theirs, *given), daemon=True)
    process.start()
    theirs.close()
    try:
        yield ours
    finally:
        ours.close()
        process.join(_STOP_S)
        if process.is_alive():
            process.kill()
            process.join()


def _heard(actor: Connection, who: str, within_s: float = _START_S) -> object:
    """What a process says.

    Raises:
        DeviceError: It says nothing.
        SplitcError: It says that it failed.
    """
    try:
        said = actor.recv() if actor.poll(within_s) else None
    except (EOFError, OSError):
        said = None
    if said is None:
        raise DeviceError(f"{who} of the measurement does not answer")
    if isinstance(said, SplitcError):
        raise said
    return said
