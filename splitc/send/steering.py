# SPDX-License-Identifier: Apache-2.0
"""A device's routes, what picks among them, and what it goes by.

No socket and no clock: times are seconds that the caller says.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from splitc.errors import UsageError
from splitc.link.link import parse_seconds
from splitc.link.packets import payload_bytes
from splitc.policy.adaptive import Adaptive
from splitc.policy.base import LinkState, Policy
from splitc.policy.fixed import Fixed
from splitc.policy.gauge import Gauge, Report
from splitc.policy.option import Option
from splitc.runtime.manifest import Remote
from splitc.send.settings import Settings
from splitc.send.trains import PROBES

_LOSE = ("udp", "parity")
"""Transports that leave lost what is lost, so that what came tells the loss."""


class Steering:
    """Picks each frame's route.

    Args:
        remotes: What the head's manifest says of each route, one at least.
        settings: How the device sends.
        policy: What picks; by default what adapts, where there are several routes.

    Raises:
        UsageError: The policy names a route that there is not, or cannot choose among these.
        BadBundleError: What crosses on a route has no fixed size.
    """

    def __init__(
        self, remotes: Sequence[Remote], settings: Settings, policy: Policy | None = None
    ) -> None:
        size = payload_bytes(settings.mtu)
        options = [Option.of(remote, size) for remote in remotes]
        policy = policy or (Adaptive() if len(remotes) > 1 else Fixed(remotes[0].name))
        self._chooser = policy.start(options)
        self._by_name = {remote.name: remote for remote in remotes}
        if isinstance(policy, Fixed):
            self._by_name = {policy.route: self._by_name[policy.route]}
        self._names = {remote.route: remote.name for remote in self.remotes}
        self._gauge = Gauge(options, loses=settings.transport in _LOSE)
        self._last: str | None = None
        self.switches = 0
        """How often a frame took another route than the one before."""

    @property
    def remotes(self) -> Sequence[Remote]:
        """The routes that frames may take."""
        return tuple(self._by_name.values())

    @property
    def chooses(self) -> bool:
        """Whether there is something to choose, and so to measure."""
        return len(self._by_name) > 1

    @property
    def state(self) -> LinkState:
        """What is known of link, device and server."""
        return self._gauge.state()

    def choose(self, now: float) -> Remote:
        """The route of the next frame."""
        if not self.chooses:
            return next(iter(self._by_name.values()))
        name = self._chooser.route(self._gauge.state(), now)
        self.switches += self._last not in (None, name)
        self._last = name
        return self._by_name[name]

    def head_took(self, route: int, seconds: float) -> None:
        """How long the device's parts took on a frame."""
        if self.chooses:
            self._gauge.head(self._names[route], seconds)

    def reported(self, route: int, report: Report, now: float) -> None:
        """What the server said of a frame."""
        self._gauge.report(self._names[route], report, now)

    def answered(self, report: Report, link_tail_s: float) -> None:
        """How long an answer took from its frame's last packet on, and what was said of it."""
        self._gauge.answered(report, link_tail_s)

    def probed(self, bandwidth_bps: float, now: float) -> None:
        """What a train of probes said."""
        self._gauge.bandwidth(bandwidth_bps, now)

    def wants_probe(self, packets: int, now: float) -> bool:
        """Whether nothing else tells the bandwidth.

        Args:
            packets: Of the last frame; 0 before the first.
            now: Seconds.
        """
        return self.chooses and packets < PROBES and self._gauge.wants_probe(now)


def chosen_policy(
    route: str | None, policy: Policy | str | None, within: str | float | None
) -> Policy | None:
    """The policy that people ask for; None where they leave it open.

    Args:
        route: Name of a route, for every frame.
        policy: A policy, or its text.
        within: What `adaptive`, which is the default, is to keep, like "50ms".

    Raises:
        UsageError: They contradict each other, or one of them is malformed.
    """
    if route is not None:
        if policy is None and within is None:
            return Fixed(route)
        why = "one route for all frames leaves nothing to choose"
        raise UsageError("give --route alone, without --policy or --within", why=why)
    asked = Policy.parse(policy) if isinstance(policy, str) else policy
    if within is None:
        return asked
    kept = keeping(asked, parse_seconds(within))
    if kept is None:
        hint = "leave one of them out, or take --policy adaptive"
        raise UsageError(f"--within is nothing that '{asked}' can be told", hint=hint)
    return kept


def keeping(policy: Policy | None, limit_s: float) -> Policy | None:
    """What adapts, told of a limit; None where the policy has its own, or knows of none.

    Args:
        policy: None stands for `adaptive`.
        limit_s: Seconds from a frame's inputs to its answer.
    """
    policy = policy or Adaptive()
    if not isinstance(policy, Adaptive) or policy.within_s is not None:
        return None
    return replace(policy, within_s=limit_s)
