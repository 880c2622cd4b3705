# SPDX-License-Identifier: Apache-2.0
"""A device and a server with a simulated link between them, on a simulated clock.

Device and server are those of `splitc send` and `splitc serve`: their sessions, packets,
policies and rules of time. The link does to packets what the relay does (`splitc.net.impairment`).
What is simulated is time, and the machines' own: heads and tails take what was predicted of
their boards, or measured.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from splitc.arrays import Arrays
from splitc.errors import UsageError
from splitc.net.impairment import Direction, Impairment
from splitc.policy.base import Policy
from splitc.policy.fixed import Fixed
from splitc.send.session import Session
from splitc.send.settings import Settings
from splitc.send.steering import Steering
from splitc.simulate.clock import Clock
from splitc.simulate.device_end import DeviceEnd
from splitc.simulate.parts import Parts
from splitc.simulate.record import Simulated
from splitc.simulate.server_end import ServerEnd
from splitc.simulate.stream_way import MODEL, StreamWay
from splitc.simulate.two_ways import TwoWays
from splitc.simulate.ways import PacketWay, Way

MOST_FRAMES = 10_000_000


def simulate(
    parts: Parts,
    link: TwoWays,
    settings: Settings | None = None,
    *,
    frames: int = 100,
    rate: float = 0.0,
    policy: Policy | None = None,
    seed: int = 0,
    spread: float = 0.0,
    inputs: Sequence[Arrays] = (),
    labels: Sequence[int] | None = None,
    told: Callable[[int], None] | None = None,
) -> Simulated:
    """Send frames over a simulated link.

    The same seed gives the same packets lost, times and answers.

    Args:
        parts: What runs on both sides.
        link: What is between them; a recorded link begins with the first packet.
        settings: How the device sends.
        frames: How many frames; the inputs come again and again.
        rate: Frames a second, whose latency counts from when they come; 0 for each as soon as
            there is room for it (`settings.in_flight`).
        policy: What picks each frame's route; None for the default route.
        seed: Of everything that is random.
        spread: How much the times of heads and tails vary: each is multiplied by e^(spread z),
            z standard normal.
        inputs: What frames read, by input name; none where no values are put through.
        labels: The right class of each of the inputs.
        told: Called with the frames that are done, now and then.

    Raises:
        UsageError: An argument is out of its range, or a policy cannot choose here.
        ToolchainError: A package is missing that the transport needs.
        SplitcError: A part cannot run on its inputs.
    """
    _check(parts, frames, rate, spread, inputs, labels)
    settings = settings or Settings()
    policy = policy or Fixed(parts.default)
    clock = Clock()
    random = [np.random.default_rng([seed, stream]) for stream in range(4)]
    up, down = Direction(link.up, seed, 0), Direction(link.down, seed, 1)
    stream = settings.transport == "tcp"
    took = parts.took
    tails = _times({route: one.tail_s for route, one in took.items()}, spread, random[0])
    heads = _times({route: one.head_s for route, one in took.items()}, spread, random[1])
    server = ServerEnd(clock, parts.hosted, parts.split, tails, random[2].bytes, stream=stream)
    steering = Steering(parts.remotes, settings, policy)
    session = Session(steering, parts.split, settings, None, random[3].bytes, clock.now)
    device = DeviceEnd(
        clock, parts, session, heads, frames, rate, settings.in_flight,
        lambda number: inputs[number % len(inputs)] if inputs else None, _judge(labels),
    )  # fmt: skip
    there = _way(clock, up, link.up, server.wake, link, stream=stream)
    back = _way(clock, down, link.down, device.wake, link, stream=stream)
    server.between(there, back)
    device.between(there, back)
    up.begin(clock.now)
    down.begin(clock.now)
    device.wake()
    while not device.over and clock.go_on():
        if told is not None:
            told(device.done)
    board = parts.board
    energy_j = None
    if board is not None:
        computes_s = sum(record.head_s for record in device.records)
        spent_j = board.compute_power_w * computes_s + board.transmit_power_w * up.busy_s
        energy_j = spent_j / frames
    notes = (MODEL,) if stream else ()
    return Simulated(
        device.records, session.counters, up.passed, down.passed, energy_j, parts.figures, notes
    )


def _check(
    parts: Parts, frames: int, rate: float, spread: float, inputs: Sequence[Arrays],
    labels: Sequence[int] | None,
) -> None:  # fmt: skip
    if not 1 <= frames <= MOST_FRAMES:
        raise UsageError(f"{frames} frames are not from 1 to {MOST_FRAMES:,}")
    if not 0 <= rate <= 1e6:
        raise UsageError(f"a rate of {rate:g} frames a second is not from 0 to 1e6")
    if not 0 <= spread <= 2:
        raise UsageError(f"spread {spread:g} is not from 0 to 2")
    if inputs and not parts.has_values:
        raise UsageError("without values inputs are of no use")
    if parts.has_values and not inputs:
        raise UsageError("there are no inputs", hint="leave the values out: --no-values")
    if labels is not None and len(labels) != len(inputs):
        raise UsageError(f"{len(labels)} labels are not of {len(inputs)} inputs")


def _times(
    seconds: Mapping[int, float], spread: float, random: np.random.Generator
) -> Callable[[int], float]:
    """What a part takes on a route, each time anew."""
    if not spread:
        return seconds.__getitem__
    return lambda route: seconds[route] * float(np.exp(spread * random.standard_normal()))


def _judge(labels: Sequence[int] | None) -> Callable[[int, Arrays], bool | None]:
    """Whether the first result of a frame has its arg-max at the label; None where the device
    gets none."""
    if labels is None:
        return lambda number, found: None

    def right(number: int, found: Arrays) -> bool | None:
        if not found:
            return None
        return int(np.argmax(next(iter(found.values())))) == int(labels[number % len(labels)])

    return right


def _way(
    clock: Clock, direction: Direction, does: Impairment, wake: Callable[[], None], link: TwoWays,
    *, stream: bool,
) -> Way:  # fmt: skip
    if stream:
        return StreamWay(clock, direction, wake, link.rtt_s, does.queue_bytes)
    return PacketWay(clock, direction, wake)
