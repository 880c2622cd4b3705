# SPDX-License-Identifier: Apache-2.0
"""A device: the head run here, its results sent, the tail's answers taken."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from splitc.arrays import Array, Arrays
from splitc.errors import DeviceError, SplitcError, UsageError
from splitc.net.address import Address
from splitc.policy.base import Policy
from splitc.runtime.manifest import Remote, TensorSpec
from splitc.send.answer import Answer, Origin
from splitc.send.ends import Folders
from splitc.send.exchange import Exchange
from splitc.send.line import Line, TcpLine, UdpLine
from splitc.send.pipeline import Pipeline
from splitc.send.session import Session
from splitc.send.settings import Settings
from splitc.send.steering import Steering, chosen_policy
from splitc.send.talk import Outcome
from splitc.send.tally import Counters, Tally
from splitc.wire.key_file import read_key

CONNECT_S = 5.0
"""How long a server may take to welcome a device the first time."""


@dataclass(frozen=True)
class Begun:
    """A frame whose head has run, or that needs none.

    Args:
        number: Its number.
        began_s: When its inputs were there.
        inputs: The network's inputs.
        known: They and the head's results; None where nothing was sent, as the server is silent.
        head_s: Seconds that the head took.
        remote: The frame's route; None where nothing was sent.
    """

    number: int
    began_s: float
    inputs: Arrays
    known: Arrays | None
    head_s: float
    remote: Remote | None = None


class Device:
    """A split network whose tail runs on a server: a function of its inputs.

        with Device("resnet50.splitc", to="192.168.1.5:4353", deadline="50ms") as device:
            answer = device(image)
            answer["logits"]
            for answer in device.stream(images):
                ...

    It may be called from several threads at once.

    Args:
        bundle: A bundle's folder, or that of a head copied out of one.
        to: The server, `HOST:PORT`.
        route: Name of the route that every frame takes.
        policy: What picks each frame's route, see `Policy.parse`. By default `adaptive`, where
            the bundle has several routes.
        within: What `adaptive` is to keep, like "50ms": a frame's time from its inputs to its
            answer.
        key: The key that the server has: its file, or its 32 bytes; None without one.
        whole: Folder of the whole network's part, for `when_silent="whole"`; by default the
            bundle's.
        settings: How to send.
        options: The same as text; see `Settings.of`.

    Raises:
        UsageError: An option is malformed, there is no such folder, or no such route.
        BadBundleError: A file is not the one that its manifest lists, or the server has another
            bundle.
        ToolchainError: A part cannot run on this machine.
        DeviceError: The server cannot be reached, or refuses this device.
    """

    def __init__(
        self,
        bundle: str | Path,
        to: str,
        *,
        route: str | None = None,
        policy: Policy | str | None = None,
        within: str | float | None = None,
        key: bytes | str | Path | None = None,
        whole: str | Path | None = None,
        settings: Settings | None = None,
        **options: Any,
    ) -> None:
        self.settings = Settings.of(**options) if settings is None else settings
        address = Address.parse(to)
        secret = key if isinstance(key, bytes) or key is None else read_key(Path(key))
        wants_whole = self.settings.when_silent == "whole"
        folders = Folders.find(Path(bundle), whole=None if whole is None else Path(whole))
        chosen = chosen_policy(route, policy, within)
        steering = Steering(folders.manifest.remote, self.settings, chosen)
        self._ends = folders.load(steering.remotes, wants_whole=wants_whole)
        if not self._ends.outputs and self.settings.when_silent in ("whole", "last"):
            raise UsageError(
                f"--when-silent {self.settings.when_silent}, and results are wanted at the server",
                why="what the device has cannot stand in for what the server is to get",
                hint="leave it out; a frame that is not answered is told",
            )
        session = Session(
            steering, self._ends.split, self.settings, secret, os.urandom, time.monotonic()
        )
        self._exchange = Exchange(session, _line(address, self.settings))
        self.tally = Tally(self.settings.deadline_s, session.counters)
        self._last: Arrays | None = None
        self._next = 0
        self._numbers = threading.Lock()
        self._closed = False
        try:
            self._connect(address)
        except BaseException:
            self.close()
            raise

    @property
    def counters(self) -> Counters:
        """What has happened so far."""
        return self._exchange.session.counters

    @property
    def silent(self) -> bool:
        """Whether the server said nothing for too long, the last time that it was asked."""
        return self._exchange.session.silent

    @property
    def part(self) -> str:
        """Name of the part that runs here first."""
        return self._ends.first

    @property
    def switches(self) -> int:
        """How often a frame took another route than the one before."""
        return self._exchange.session.steering.switches

    @property
    def inputs(self) -> tuple[TensorSpec, ...]:
        """What the network reads."""
        return self._ends.inputs

    @property
    def results(self) -> tuple[str, ...]:
        """Names of the network's results, in its order."""
        return self._ends.outputs

    def __call__(self, inputs: Arrays | Array) -> Answer:
        """Run one frame, and wait for its answer.

        Args:
            inputs: Arrays by input name, or the one array of a network with one input.

        Raises:
            UsageError: An input is missing, unknown, or of another shape or element type.
            DeviceError: The server is silent, and nothing was chosen to stand in for it.
        """
        if not self._waits:
            self._exchange.look()
        return self.end(self.begin(inputs))

    def stream(self, frames: Iterable[Arrays | Array]) -> Iterator[Answer]:
        """Run frames one behind the other: while one is under way, the next one's head runs.

        Args:
            frames: The inputs of each; they are taken, and heads run, in a thread of their own.

        Yields:
            The answers in order.

        Raises:
            UsageError: As for one frame.
            DeviceError: As for one frame.
        """
        with self._exchange.receiving():
            most = self.settings.in_flight
            yield from Pipeline(self.begin, self.end, most, self._drop).run(frames)

    def begin(self, inputs: Arrays | Array) -> Begun:
        """Run a frame's head and send what crosses."""
        began_s = time.monotonic()
        feed = self._ends.check(inputs)
        with self._numbers:
            number, self._next = self._next, self._next + 1
            self.counters.frames += 1
        if not self._waits:
            return Begun(number, began_s, feed, None, 0.0)
        remote = self._exchange.choose()
        # Choosing may wait for packets that leave: that says nothing of how busy the device is.
        head_began_s = time.monotonic()
        known = self._ends.run_head(remote, feed)
        head_s = time.monotonic() - head_began_s
        crossing = [known[spec.name] for spec in remote.crosses]
        self._exchange.submit(number, remote.route, crossing, head_s)
        return Begun(number, began_s, feed, known, head_s, remote)

    def end(self, begun: Begun) -> Answer:
        """Wait for a frame's answer."""
        if begun.known is None or begun.remote is None:
            answer = self._instead(begun, self._silence())
        else:
            outcome = self._exchange.outcome(begun.number)
            if outcome.arrays is None:
                answer = self._instead(begun, outcome.error or self._silence())
            else:
                known = dict(begun.known)
                names = (spec.name for spec in begun.remote.results)
                known |= dict(zip(names, outcome.arrays, strict=True))
                answer = self._answered(begun, begun.remote, outcome, known)
        self.tally.add(answer)
        return answer

    def _drop(self, begun: Begun) -> None:
        if begun.known is not None:
            self._exchange.forget(begun.number)

    def _answered(self, begun: Begun, remote: Remote, outcome: Outcome, known: Arrays) -> Answer:
        found = self._ends.results(known)
        self._last = found
        left_s = begun.began_s + begun.head_s if outcome.left_s is None else outcome.left_s
        return Answer(
            begun.number, "server", found, outcome.share, begun.head_s, outcome.done_s - left_s,
            outcome.done_s - begun.began_s, route=remote.name,
        )  # fmt: skip

    def _instead(self, begun: Begun, why: SplitcError) -> Answer:
        """What stands in for an answer that did not come."""
        origin: Origin = "nobody"
        found: Arrays = {}
        if self.settings.when_silent == "whole":
            origin, found = "whole", self._ends.run_whole(begun.inputs)
        elif self.settings.when_silent == "last" and self._last is not None:
            origin, found = "last", self._last
        elif self._exchange.session.silent:
            raise why
        took_s = time.monotonic() - begun.began_s
        name = None if begun.remote is None else begun.remote.name
        return Answer(begun.number, origin, found, 0.0, begun.head_s, None, took_s, why, name)

    @property
    def _waits(self) -> bool:
        """Whether frames are sent: something else answers at once while the server is silent."""
        stands_in = self.settings.when_silent == "whole" or (
            self.settings.when_silent == "last" and self._last is not None
        )
        return not (stands_in and self._exchange.session.silent)

    def _silence(self) -> SplitcError:
        return self._exchange.session.refused or DeviceError("the server is silent")

    def _connect(self, address: Address) -> None:
        session = self._exchange.session
        until = time.monotonic() + CONNECT_S
        self._exchange.wait(lambda: session.open or session.final, until)
        if session.open:
            return
        if session.final or self.settings.when_silent != "whole":
            raise session.refused or DeviceError(
                f"there is no answer from {address}",
                why=self._exchange.why(),
                hint="is `splitc serve` running there, on that port, over the same transport?",
            )
        session.silent = True

    def close(self) -> None:
        """Say goodbye to the server, and free what is loaded. A second time does nothing."""
        if not self._closed:
            self._closed = True
            self._exchange.close()
            self._ends.close()

    def __enter__(self) -> Self:
        """The device itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close it."""
        self.close()


def _line(to: Address, settings: Settings) -> Line:
    if settings.transport == "tcp":
        return TcpLine(to, settings.mtu, settings.silent_after_s)
    return UdpLine(to, settings.mtu)
