# SPDX-License-Identifier: Apache-2.0
"""What runs on both sides of a simulated link, and how long it takes there."""

from __future__ import annotations

import statistics
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, NamedTuple, Protocol, Self, get_args

import numpy as np

from splitc.arrays import Array, Arrays
from splitc.bundle.bundle import Bundle
from splitc.cost.board import Board, boards
from splitc.errors import UsageError, nearest
from splitc.runtime.manifest import Expected, Remote, Route, TensorSpec
from splitc.send.ends import Ends, Folders
from splitc.serve.runner import LoadedParts
from splitc.serve.tails import Hosted, Served, Tail

TimesFrom = Literal["predicted", "measured"]
"""Where times are from: the bundle's manifest, of its boards; or this machine, now."""

_CALLS = 15


def parse_times(text: str) -> TimesFrom:
    """Where times are from, by its name.

    Raises:
        UsageError: There is no such name.
    """
    for known in get_args(TimesFrom):
        if text == known:
            return known
    raise UsageError(f"there are no times '{text}'", hint=nearest(text, get_args(TimesFrom)))


class Took(NamedTuple):
    """Seconds of a route's parts on the device and on the server."""

    head_s: float
    tail_s: float


class Parts(Protocol):
    """Both ends of a split, without what is between them."""

    @property
    def split(self) -> int:
        """What stands for the split in packets."""
        ...

    @property
    def remotes(self) -> Sequence[Remote]:
        """What the device knows of each route."""
        ...

    @property
    def default(self) -> str:
        """Name of the route that frames take where nothing chooses."""
        ...

    @property
    def hosted(self) -> Hosted:
        """What the server has."""
        ...

    @property
    def took(self) -> Mapping[int, Took]:
        """What a frame takes, by route."""
        ...

    @property
    def figures(self) -> str:
        """Where that is from, in words."""
        ...

    @property
    def board(self) -> Board | None:
        """What the device is; None where nobody said."""
        ...

    @property
    def has_values(self) -> bool:
        """Whether heads and tails compute."""
        ...

    def head(self, remote: Remote, inputs: Arrays | None) -> dict[str, Array]:
        """What is known on the device after a route's parts there, by name."""
        ...


class NoValues:
    """Tails that give zeros: see `splitc.serve.runner.Runner`.

    Args:
        results: What each route's sends back.
    """

    is_here = False

    def __init__(self, results: Mapping[int, Sequence[TensorSpec]]) -> None:
        self._zeros = {route: zeros(specs) for route, specs in results.items()}

    def run(self, route: int, frames: Sequence[Sequence[Array]]) -> list[list[Array]]:
        """See `Runner`."""
        return [[*self._zeros[route].values()] for _ in frames]

    def close(self) -> None:
        """See `Runner`."""


def zeros(specs: Sequence[TensorSpec]) -> dict[str, Array]:
    """Tensors that say nothing, by name."""
    return {
        spec.name: np.zeros([extent or 1 for extent in spec.shape], spec.dtype) for spec in specs
    }


class BundleParts:
    """The parts of a bundle.

        with BundleParts.open("resnet20.splitc") as parts:
            found = simulate(parts, TwoWays.of("iid(0.2)", bandwidth="9Mbit"), frames=1000)

    Args:
        bundle: It.
        served: Its tails.
        ends: Its heads, loaded; None without values.
        times: Where times are from.
    """

    def __init__(self, bundle: Bundle, served: Served, ends: Ends | None, times: TimesFrom) -> None:
        manifest = bundle.manifest
        self.split = served.split
        self.hosted: Hosted = served
        self.remotes: Sequence[Remote] = bundle.part(manifest.route.parts[0]).remote
        self.default = manifest.default
        self.routes = manifest.routes
        self.inputs = manifest.source.inputs
        self.has_values = ends is not None
        self._served, self._ends = served, ends
        self._known = {remote.route: zeros(remote.crosses) for remote in self.remotes}
        device, _ = manifest.route.runs
        target = manifest.parts[manifest.route.runs[device][0]].target
        self.board = boards().get(target)
        labels = dict.fromkeys(route.predicted.figures for route in manifest.routes)
        self.figures = ", ".join(labels)
        if times == "measured" and ends is not None:
            self.figures = "measured on this machine, now"
            self.took = {remote.route: self._measured(remote) for remote in self.remotes}
        else:
            self.took = {k: _predicted(route) for k, route in enumerate(manifest.routes)}

    @staticmethod
    def open(
        path: str | Path, *, values: bool = True, times: TimesFrom = "predicted"
    ) -> BundleParts:
        """Open a bundle.

        Args:
            path: Its folder.
            values: Whether its parts are loaded, and compute. Without that everything takes its
                time, and sends as much as it would; there are no results.
            times: Where times are from.

        Raises:
            UsageError: There is no such folder.
            BadBundleError: A file is not the one that its manifest lists, or there is no tail.
            ToolchainError: A part cannot run on this machine.
        """
        bundle = Bundle.open(path)
        if not values:
            parts = BundleParts(bundle, Served(path, _no_values), None, "predicted")
            if times == "measured":
                with BundleParts.open(path, times=times) as loaded:
                    parts.took, parts.figures = loaded.took, loaded.figures
            return parts
        with ExitStack() as stack:
            served = stack.enter_context(Served(path, LoadedParts))
            folders = Folders.find(Path(path))
            ends = folders.load(folders.manifest.remote, wants_whole=False)
            stack.callback(ends.close)
            parts = BundleParts(bundle, served, ends, times)
            stack.pop_all()
        return parts

    def head(self, remote: Remote, inputs: Arrays | None) -> dict[str, Array]:
        """See `Parts`."""
        if self._ends is None or inputs is None:
            return self._known[remote.route]
        return self._ends.run_head(remote, inputs)

    def _measured(self, remote: Remote) -> Took:
        """The median of some calls, each way, on zeros."""
        assert self._ends is not None
        ends, tail = self._ends, self.hosted.tails[remote.route]
        inputs = zeros(ends.inputs)
        heads: list[float] = []
        tails: list[float] = []
        for _ in range(_CALLS):
            start = time.perf_counter()
            known = ends.run_head(remote, inputs)
            heads.append(time.perf_counter() - start)
            crossing = [known[spec.name] for spec in remote.crosses]
            start = time.perf_counter()
            tail.run([crossing])
            tails.append(time.perf_counter() - start)
        return Took(statistics.median(heads), statistics.median(tails))

    def close(self) -> None:
        """Free what is loaded. A second time does nothing."""
        self._served.close()
        if self._ends is not None:
            self._ends.close()

    def __enter__(self) -> Self:
        """The parts."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close them."""
        self.close()


def _no_values(bundle: Bundle) -> NoValues:
    """What stands for a bundle's tails where they do not compute."""
    remotes = bundle.part(bundle.manifest.route.parts[0]).remote
    return NoValues({remote.route: remote.results for remote in remotes})


def _predicted(route: Route) -> Took:
    device, *others = route.runs
    site_ms = route.predicted.site_ms
    head_ms = site_ms.get(device, 0.0)
    return Took(head_ms / 1e3, sum(site_ms.get(site, 0.0) for site in others) / 1e3)


@dataclass(frozen=True)
class Assumed:
    """A route without parts: what it takes and sends.

    Args:
        name: Its name.
        head_s: Seconds on the device.
        boundary_bytes: What crosses, without headers.
        tail_s: Seconds on the server.
        result_bytes: What comes back.
        agreement: Share of answers that its codec leaves as they are.
    """

    name: str
    head_s: float
    boundary_bytes: int
    tail_s: float
    result_bytes: int = 40
    agreement: float = 1.0


class AssumedParts:
    """Routes without a bundle: for what-if questions, and to try policies.

    Args:
        routes: They, one at least; the first is taken where nothing chooses.
        board: What the device is, for its energy.
    """

    def __init__(self, routes: Sequence[Assumed], board: Board | None = None) -> None:
        if not routes:
            raise UsageError("there is no route to simulate")
        self.board, self.split, self.has_values = board, 1, False
        self.figures = "assumed"
        self.default = routes[0].name
        self.remotes: Sequence[Remote] = [_remote(k, one) for k, one in enumerate(routes)]
        self.took = {k: Took(one.head_s, one.tail_s) for k, one in enumerate(routes)}
        self._known = [zeros(remote.crosses) for remote in self.remotes]
        runner = NoValues({one.route: one.results for one in self.remotes})
        self.hosted: Hosted = _Assumed(
            "assumed",
            {
                one.route: Tail(
                    one.name,
                    one.route,
                    one.crosses,
                    one.missing,
                    one.results,
                    one.results,
                    {1: ()},
                    runner,
                )
                for one in self.remotes
            },
        )

    def head(self, remote: Remote, inputs: Arrays | None) -> dict[str, Array]:
        """See `Parts`."""
        return self._known[remote.route]


@dataclass(frozen=True)
class _Assumed:
    name: str
    tails: Mapping[int, Tail]


def _remote(number: int, one: Assumed) -> Remote:
    crosses = TensorSpec(
        name="boundary", dtype="uint8", shape=(one.boundary_bytes,), bytes=one.boundary_bytes
    )
    result = TensorSpec(
        name="result", dtype="uint8", shape=(one.result_bytes,), bytes=one.result_bytes
    )
    expected = Expected(head_ms=one.head_s * 1e3, tail_ms=one.tail_s * 1e3, agreement=one.agreement)
    return Remote(
        route=number, name=one.name, crosses=(crosses,), results=(result,), outputs=("result",),
        expected=expected,
    )  # fmt: skip
