# SPDX-License-Identifier: Apache-2.0
"""What does a bundle of several cuts cost, and what does it bring where the link changes?

Cost: a ResNet50 for a Raspberry Pi 4 and this machine with three cuts, beside bundles of one cut;
the device's parts run in their builds for this machine. Bars: a decision under 1 ms; resident
memory of the device at most 1.05 times that of the largest head alone; on disk at most 1.15 times
one bundle of the deepest head and the shallowest tail; from one frame to the next between any two
routes, and none is lost.

Gain: networks on a Raspberry Pi 4 and a server, times as predicted of the boards, over a simulated
link of 50 Mbit/s that falls to 10 and recovers, five seeds of its noise. `adaptive` against the
best fixed cut of all, and against an oracle that knows the recording: what is ahead on the link,
not behind it. Bars: mean latency at most 0.8 of the best fixed cut's, missed deadlines at most
half; at most 1.15 of the oracle's.
"""

from __future__ import annotations

import itertools
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from networks import build

import splitc
from common import finish, median, parser, said
from splitc.arrays import Arrays
from splitc.link.link import Link
from splitc.link.link_trace import LinkTrace
from splitc.policy import Adaptive, Chooser, Fixed, Gauge, LinkState, Option, Policy, Report
from splitc.runtime.manifest import TensorSpec
from splitc.search.problem import CutRow
from splitc.send import Device
from splitc.send.ends import Folders
from splitc.send.settings import Settings
from splitc.serve import Server
from splitc.simulate import Assumed, AssumedParts, Simulated, TwoWays, simulate

DECISION_MS, RESIDENT, DISK = 1.0, 1.05, 1.15
OVER_FIXED, MISSES, OVER_ORACLE = 0.8, 0.5, 1.15
CUTS = ("n3", "n108", "n172")
FAST, SLOW = 50e6, 10e6
SEEDS = 5
RTT = "4ms"
GAIN = {"vgg19": 1.0, "resnet50": 2.0, "densenet121": 2.0, "mobilenet_v2": 10.0}
"""Networks, and the frames a second that a camera has for each: some more time than the slowest of
the routes needs."""


def resident_kb(bundle: Path) -> int:
    """Resident memory of a device's parts after each route ran, in a process of its own."""
    done = subprocess.run(
        [sys.executable, __file__, "--resident", str(bundle)],
        check=True, capture_output=True, text=True,
    )  # fmt: skip
    return int(done.stdout)


def run_heads(bundle: Path) -> None:
    """Load a device's parts, run every route twice, and print what that takes in kB."""
    folders = Folders.find(bundle)
    before = _own_kb()
    remotes = folders.manifest.remote
    ends = folders.load(remotes, wants_whole=False)
    feed = ones(ends.inputs)
    for remote in [*remotes, *remotes]:
        ends.run_head(remote, feed)
    print(_own_kb() - before)


def ones(specs: Sequence[TensorSpec]) -> Arrays:
    """Inputs of ones."""
    return {spec.name: np.ones([n or 1 for n in spec.shape], spec.dtype) for spec in specs}


def _own_kb() -> int:
    """The proportional set of this process: what is mapped twice from one file counts once."""
    lines = Path("/proc/self/smaps_rollup").read_text("utf-8").splitlines()
    return int(next(line for line in lines if line.startswith("Pss:")).split()[1])


def on_disk(*folders: Path) -> int:
    """Bytes of files, those with several names once."""
    found = {path.stat().st_ino: path for folder in folders for path in folder.rglob("*")}
    return sum(path.stat().st_size for path in found.values() if path.is_file())


def cost(folder: Path, quick: bool) -> dict[str, Any]:
    """Disk, memory and switching of a bundle of several cuts."""
    model = loaded("squeezenet" if quick else "resnet50")
    cuts = ("n16", "n34", "n51") if quick else CUTS
    make = partial(splitc.compile, model, head="rpi4", tail="host")
    several = make(cuts=cuts, output=folder / "several.splitc").path
    deep = make(cut=cuts[-1], output=folder / "deep.splitc").path
    shallow = make(cut=cuts[0], output=folder / "shallow.splitc").path
    parts = [path for path in several.iterdir() if path.name.startswith(("head", "tail"))]
    disk = on_disk(*parts) / on_disk(deep / "head", shallow / "tail")
    said("on disk over deepest head and shallowest tail", disk, DISK)
    both = [(resident_kb(several), resident_kb(deep)) for _ in range(3)]
    resident = median([mine / one for mine, one in both])
    said("resident over the largest head alone", resident, RESIDENT)
    print(f"  {both[0][0] / 1024:.1f} MB, {both[0][1] / 1024:.1f} MB")
    return {"disk": disk, "resident": resident, **switching(several)}


def switching(bundle: Path) -> dict[str, Any]:
    """Frames that go from each route to each other one, and how long a decision takes."""
    with Server([bundle], bind="127.0.0.1:0") as server:
        names = [route.name for route in splitc.Bundle.open(bundle).manifest.routes]
        tour = [name for pair in itertools.permutations(names, 2) for name in pair]
        with Device(bundle, to=str(server.address), policy=InTurn(tuple(tour)),
                    deadline="2s", silent_after="10s") as device:  # fmt: skip
            x = ones(device.inputs)
            answers = list(device.stream([x] * (3 * len(tour))))
    lost = sum(answer.origin != "server" or answer.share < 1 for answer in answers)
    twice = len(answers) - len({answer.frame for answer in answers})
    took = {(a.route, b.route) for a, b in itertools.pairwise(answers) if a.route != b.route}
    wanted = len(names) * (len(names) - 1)
    print(f"{len(answers)} frames, {len(took)} of {wanted} switches: {lost} lost, {twice} twice")
    decided = decisions()
    said("a decision, 99th percentile", decided, DECISION_MS, " ms")
    return {"frames": len(answers), "lost": lost, "switches": len(took), "decision_ms": decided}


def decisions() -> float:
    """Milliseconds of a decision and all that is measured for it, at the 99th percentile."""
    options = [Option(f"r{k}", 0.01 * k, 10**6 >> k, 700 >> k, 0.01) for k in range(8)]
    gauge, chooser = Gauge(options), Adaptive(within_s=0.1).start(options)
    report = Report(0.05, 10**5, 0.001, 0.01, 99, 100)
    took: list[float] = []
    for k in range(20_000):
        start = time.perf_counter()
        route = chooser.route(gauge.state(), k * 0.01)
        gauge.head(route, 0.02)
        gauge.report(route, report, k * 0.01)
        gauge.answered(report, 0.07)
        took.append(time.perf_counter() - start)
    return float(np.percentile(took, 99)) * 1e3


@dataclass(frozen=True)
class InTurn(Policy):
    """Routes one after the other, from the beginning again."""

    name: ClassVar[str] = "in-turn"
    names: tuple[str, ...]

    def start(self, options: Sequence[Option]) -> Chooser:
        """Begin with the first."""
        return _Turning(itertools.cycle(self.names))


@dataclass
class _Turning(Chooser):
    names: Any

    def route(self, seen: LinkState, now: float) -> str:
        return next(self.names)


@dataclass(frozen=True)
class Oracle(Policy):
    """Knows the recording: of each frame the route that will have been the quickest."""

    name: ClassVar[str] = "oracle"
    trace: LinkTrace

    def start(self, options: Sequence[Option]) -> Chooser:
        """Begin."""
        return _Knowing(self.trace, options)


@dataclass
class _Knowing(Chooser):
    trace: LinkTrace
    options: Sequence[Option]

    def route(self, seen: LinkState, now: float) -> str:
        return min(self.options, key=lambda option: ends(option, now, self.trace) - now).name


def ends(option: Option, now: float, trace: LinkTrace) -> float:
    """When a frame that begins now is answered, but for the round trip."""
    time_s, bits = now + option.head_s, option.sent_bytes * 8.0
    while bits > 0:
        bps, _ = trace.at(time_s)
        later = [t for t in trace.times_s if t > time_s]
        until = later[0] if later else float("inf")
        able = bps * (until - time_s)
        if able >= bits:
            time_s += bits / bps
            break
        bits, time_s = bits - able, until
    return time_s + option.tail_s


def falls_and_recovers(seed: int) -> LinkTrace:
    """Two minutes: 50 Mbit/s, 10 for half a minute or so from 40 s on, 50; with noise."""
    draw = np.random.default_rng(seed)
    down, up = 40 + draw.uniform(-5, 5), 70 + draw.uniform(-5, 5)
    times = np.arange(0, 120, 0.5)
    mean = np.where((times >= down) & (times < up), SLOW, FAST)
    noisy = mean * np.exp(0.1 * draw.standard_normal(len(times)))
    return LinkTrace(times.tolist(), noisy.tolist(), [0.0] * len(times))


def loaded(name: str) -> Any:
    """A network of the zoo or of `networks`."""
    with tempfile.TemporaryDirectory() as scratch:
        path = Path(scratch) / "model.onnx"
        path.write_bytes(build(name).SerializeToString())
        return splitc.load(path)


def routes_of(name: str) -> list[Assumed]:
    """Every cut of a network on a Raspberry Pi 4 where one tensor crosses."""
    table = splitc.find_cuts(
        loaded(name), head="rpi4", tail="x86-64-v3", link=Link("1Gbit", rtt=RTT)
    )
    rows: list[CutRow] = [row for row in table.rows if row.rejected is None]
    rows.sort(key=lambda row: len(row.cut.head))
    return [
        Assumed(row.cut.name, row.cost.head_s, row.cost.boundary_bytes, row.cost.tail_s)
        for row in rows
    ]


def chosen(routes: Sequence[Assumed]) -> list[Assumed]:
    """The cuts that are the quickest at some bandwidth on the way down."""
    found = {
        min(routes, key=lambda one: one.head_s + one.tail_s + one.boundary_bytes * 8 / bps).name
        for bps in np.geomspace(SLOW * 0.8, FAST * 1.2, 30)
    }
    return [one for one in routes if one.name in found]


def gain(name: str, seeds: int) -> dict[str, Any]:
    """What adapting brings on links that fall and recover."""
    every = routes_of(name)
    several, rate = chosen(every), GAIN[name]

    # The best fixed cuts by what both halves of the link make of them; a simulation decides.
    def mixed(one: Assumed) -> float:
        return one.head_s + one.tail_s + one.boundary_bytes * 8 * (0.75 / FAST + 0.25 / SLOW)

    candidates = {one.name: one for one in [*several, *sorted(every, key=mixed)[:4]]}
    rows: list[dict[str, float]] = []
    for seed in range(seeds):
        trace = falls_and_recovers(seed)
        one = partial(run, trace=trace, rate=rate, seed=seed)
        fixed = {n: one([route], Fixed(n)) for n, route in candidates.items()}
        best = min(fixed, key=lambda n: mean_ms(fixed[n]))
        adaptive, oracle = one(several, Adaptive()), one(several, Oracle(trace))
        # What the best route needs at 50 Mbit/s and a quarter more.
        limit_s = 1.25 * min(np.percentile(result.latencies_s, 25) for result in fixed.values())
        rows.append({
            "fixed_ms": mean_ms(fixed[best]), "adaptive_ms": mean_ms(adaptive),
            "oracle_ms": mean_ms(oracle), "limit_ms": limit_s * 1e3,
            "fixed_missed": fixed[best].missed(limit_s), "missed": adaptive.missed(limit_s),
            "switches": adaptive.switches, "unanswered": adaptive.unanswered,
        })  # fmt: skip
        print(f"{name} seed {seed}: best fixed {best} "
              + ", ".join(f"{key} {value:.4g}" for key, value in rows[-1].items()))  # fmt: skip
    over_fixed = median([row["adaptive_ms"] / row["fixed_ms"] for row in rows])
    misses = sum(row["missed"] for row in rows) / max(sum(row["fixed_missed"] for row in rows), 1)
    over_oracle = median([row["adaptive_ms"] / row["oracle_ms"] for row in rows])
    print(f"{name}, routes {', '.join(route.name for route in several)}")
    said("  mean latency over the best fixed cut's", over_fixed, OVER_FIXED)
    said("  missed deadlines over the best fixed cut's", misses, MISSES)
    said("  mean latency over the oracle's", over_oracle, OVER_ORACLE)
    return {"over_fixed": over_fixed, "misses": misses, "over_oracle": over_oracle, "seeds": rows}


def mean_ms(found: Simulated) -> float:
    """Mean latency of the frames, a frame without an answer as long as it was waited for."""
    return (
        float(np.mean([10.0 if r.latency_s is None else r.latency_s for r in found.records])) * 1e3
    )


def run(
    routes: Sequence[Assumed], policy: Policy, *, trace: LinkTrace, rate: float, seed: int
) -> Simulated:
    """A camera's frames over the link, two minutes."""
    settings = Settings(deadline_s=10.0, silent_after_s=10.0, in_flight=1)
    link = TwoWays.of(trace, rtt=RTT, queue_bytes=2**23)
    return simulate(
        AssumedParts(routes), replace(link, down=replace(link.down, varying=None)), settings,
        frames=int(120 * rate), rate=rate, policy=policy, seed=seed,
    )  # fmt: skip


def main() -> None:
    """Measure and print."""
    given = parser(__doc__ or "")
    given.add_argument("--resident", type=Path, help=argparse_hidden())
    options = given.parse_args()
    if options.resident:
        run_heads(options.resident)
        return
    with tempfile.TemporaryDirectory() as scratch:
        found: dict[str, Any] = {"cost": cost(Path(scratch), options.quick)}
    names = ["resnet50"] if options.quick else [*GAIN]
    found["gain"] = {name: gain(name, 1 if options.quick else SEEDS) for name in names}
    finish(found, options.json)


def argparse_hidden() -> str:
    """Of an option that the program gives itself."""
    import argparse

    return argparse.SUPPRESS


if __name__ == "__main__":
    main()
