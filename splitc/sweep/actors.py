# SPDX-License-Identifier: Apache-2.0
"""Processes of a measured sweep: the server, the device, and what slows the device down.

Each is a process of its own, on cores of its own, and ends with the one that started it: it
holds one end of a pipe. They leave Ctrl-C to that one.
"""

from __future__ import annotations

import math
import os
import signal
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from itertools import cycle
from multiprocessing.connection import Connection

from splitc.arrays import Array
from splitc.errors import SplitcError

STEP_S = 0.0005
"""A load works or rests so long at a time."""
_LOWEST, _HIGHEST = 19, -20
_NICE_STEP = 1.25
"""By how much one step of niceness changes a process's weight on Linux."""
LONGEST_S = 600.0
"""What a frame may take."""
_COPIED_BYTES = 64 * 2**20
_AT_ONCE = 2**19


@dataclass(frozen=True)
class Trial:
    """What the device is to measure.

    Args:
        bundle: The bundle's folder.
        to: Where it sends to.
        routes: How many the bundle has: frames of each are sent in turns.
        frames: Frames of each that count.
        bandwidth_bps: It sends no faster.
        mtu: Bytes of its packets.
        inputs: Of every frame.
        niceness: Of its process.
    """

    bundle: str
    to: str
    routes: int
    frames: int
    bandwidth_bps: float
    mtu: int
    inputs: Mapping[str, Array]
    niceness: int = 0


def _begin(cores: Sequence[int]) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    os.sched_setaffinity(0, cores)
    os.environ["SPLITC_NUM_THREADS"] = str(len(cores))


def serve(parent: Connection, cores: Sequence[int], bundle: str) -> None:
    """Serve a bundle; says its address, or what went wrong, and ends with the parent."""
    _begin(cores)
    from splitc.serve.limits import Limits
    from splitc.serve.server import Server

    try:
        limits = Limits(deadline_s=LONGEST_S, longest_deadline_s=LONGEST_S, idle_s=2 * LONGEST_S)
        with Server([bundle], bind="127.0.0.1:0", limits=limits) as server:
            _say(parent, str(server.address))
            _until_over(parent)
    except SplitcError as error:
        _say(parent, error)


def measure(parent: Connection, cores: Sequence[int], trial: Trial) -> None:
    """Send frames on each route in turns; says each route's seconds, or what went wrong."""
    _begin(cores)
    os.setpriority(os.PRIO_PROCESS, 0, trial.niceness)
    try:
        _say(parent, _measured(trial))
    except SplitcError as error:
        _say(parent, error)


def _measured(trial: Trial) -> list[list[float]]:
    """Seconds of frames from their inputs to their answers, one list for each route in order."""
    from splitc.bundle.bundle import Bundle
    from splitc.send.device import Device
    from splitc.send.settings import Settings

    settings = Settings(
        transport="resend", deadline_s=LONGEST_S, silent_after_s=LONGEST_S, in_flight=1,
        bandwidth_bps=trial.bandwidth_bps, mtu=trial.mtu,
    )  # fmt: skip
    names = [route.name for route in Bundle.open(trial.bundle).manifest.routes]
    seconds: list[list[float]] = [[] for _ in names]
    with ExitStack() as stack:
        # One for each: a device that changes its route also asks for the bandwidth, on the link.
        devices = [
            stack.enter_context(Device(trial.bundle, trial.to, route=name, settings=settings))
            for name in names
        ]
        for turn in range(trial.frames + 1):
            for took, device in zip(seconds, devices, strict=True):
                answer = device(trial.inputs)
                _ = answer.results
                # The first of each touches weights and wakes threads.
                took.extend([answer.frame_s] if turn else [])
    return seconds


def load_processor(parent: Connection, core: int, share: float) -> None:
    """Take a share of a core until the parent says so; says how nice the device has to be beside
    it, then what share it had."""
    _begin([core])
    _say(parent, _steps_aside(share))

    def spin() -> None:
        until_s = time.perf_counter() + STEP_S
        while time.perf_counter() < until_s:
            pass

    _load(parent, share, spin)


def load_memory(parent: Connection, core: int, share: float) -> None:
    """Copy through memory for a share of the time, on what a core has left; says True when it is
    at it, then what share it had."""
    _begin([core])
    os.setpriority(os.PRIO_PROCESS, 0, _LOWEST)
    import numpy as np

    source = np.zeros(_COPIED_BYTES, np.uint8)
    target = np.ones_like(source)
    places = cycle(range(0, _COPIED_BYTES, _AT_ONCE))
    _say(parent, True)

    def copy() -> None:
        place = next(places)
        target[place : place + _AT_ONCE] = source[place : place + _AT_ONCE]

    _load(parent, share, copy)


def _load(parent: Connection, share: float, work: Callable[[], None]) -> None:
    """Work for a share of the time, in short steps, until the parent says so or is no more."""
    began_s, used_s = time.perf_counter(), time.process_time()
    had = 0.0
    while not parent.poll():
        took_s = max(time.perf_counter() - began_s, 1e-9)
        had = (time.process_time() - used_s) / took_s
        if had < share:
            work()
        else:
            time.sleep(STEP_S)
    _say(parent, had)


def _steps_aside(share: float) -> int:
    """How nice a process has to be so that this one can have its share beside it.

    Two that never rest share a core by their weights: over a half takes a greater one. Where this
    process may not have it, the other has to have a smaller one.
    """
    steps = max(0, math.ceil(math.log(share / (1.0 - share), _NICE_STEP)))
    try:
        os.setpriority(os.PRIO_PROCESS, 0, max(-steps, _HIGHEST))
    except PermissionError:
        return min(steps, _LOWEST)
    return 0


def _say(parent: Connection, what: object) -> None:
    """Tell the parent, if it is still there."""
    with suppress(OSError):
        parent.send(what)


def _until_over(parent: Connection) -> None:
    """Wait until the parent says that it is over, or is no more."""
    with suppress(EOFError, OSError):
        parent.recv()
