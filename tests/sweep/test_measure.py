# SPDX-License-Identifier: Apache-2.0
"""Measured sweeps: processes, a relay and loads that are really there."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

from splitc.bundle.bundle import Bundle
from splitc.errors import DeviceError, UsageError
from splitc.frontend import load
from splitc.link.link import Link
from splitc.search.condition_plan import ConditionPlan, plan_for_conditions
from splitc.search.grid import Grid, Point
from splitc.sweep import rig
from splitc.sweep.actors import Trial
from splitc.sweep.journal import Journal
from splitc.sweep.measure import measure_plan
from splitc.sweep.rig import Rig

LINK = Link("1Mbit", rtt="4ms")
GRID = Grid((0.0,), (0.0,), (50e6, 1e6))


def trial(bundle: Bundle, frames: int = 1) -> Trial:
    x = np.zeros((1, 3, 12, 12), np.float32)
    routes = len(bundle.manifest.routes)
    return Trial(str(bundle.path), "", routes, frames, 1e6, LINK.mtu_bytes, {"x": x})


def left_over() -> int:
    """Processes of ours that nobody waited for."""
    return len([p for p in Path("/proc").glob("[0-9]*/stat") if _parent(p) == os.getpid()])


def _parent(stat: Path) -> int:
    try:
        return int(stat.read_text("utf-8").rpartition(")")[2].split()[1])
    except OSError:
        return 0


def test_no_frame_is_quicker_than_its_bytes_over_the_link(routed: Bundle) -> None:
    here = Rig.here()
    before = left_over()
    with here.serving(str(routed.path)) as server:
        found = here.measure(trial(routed, frames=2), server, Point(0.0, 0.0, 1e6), LINK)
    assert [len(each) for each in found] == [2, 2, 2, 2]
    remotes = routed.part("head-s0").remote
    for seconds, remote in zip(found, remotes, strict=True):
        crossing_s = sum(spec.bytes for spec in remote.crosses) * 8 / 1e6
        assert min(seconds) > crossing_s + LINK.rtt_s
    assert left_over() <= before + 1  # the resource tracker of multiprocessing stays


def test_loads_run_beside_the_device_or_say_that_they_could_not(
    routed: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    here = Rig.here()
    point = Point(0.3, 0.2, 50e6)
    with here.serving(str(routed.path)) as server:
        monkeypatch.setattr(rig, "_OFF", 1.0)  # whatever else this machine does
        found = here.measure(trial(routed), server, point, LINK)
        assert all(len(each) == 1 for each in found)
        monkeypatch.setattr(rig, "_OFF", -1.0)
        with pytest.raises(DeviceError, match="memory stress of 20 % was not reached"):
            here.measure(trial(routed), server, Point(0.0, 0.2, 50e6), LINK)


def test_what_a_process_cannot_do_is_the_error_it_met(tmp_path: Path) -> None:
    with (
        pytest.raises(UsageError, match="none.splitc"),
        Rig.here().serving(str(tmp_path / "none.splitc")),
    ):
        pass


@pytest.fixture(scope="module")
def planned(small_onnx: Path) -> ConditionPlan:
    """The small network's plan for a machine like this one."""
    return plan_for_conditions(
        load(str(small_onnx)), GRID, head="host", tail="host", link=LINK, routes=2
    )


def journal(folder: Path, *, resume: bool = False) -> Journal:
    path = folder / "plan.json.partial"
    return Journal(path, model="small", sha256="aa", inputs="", resume=resume)


def test_a_measured_plan_has_medians_and_says_what_was_not_measured(
    planned: ConditionPlan, small_onnx: Path, tmp_path: Path
) -> None:
    network = load(str(small_onnx))
    steps: list[str] = []
    with journal(tmp_path) as kept:
        kept.add(GRID.points[1], {"seconds": [], "why": "others are busy there"})
        made = measure_plan(
            planned, network, GRID.points, kept, frames=1, begins=steps.append, emit="onnx"
        )
    assert steps == ["compiling the routes", "condition 2: CPU 0 %, memory 0 %, 50 Mbit/s"]
    written = made.file(network)
    assert written.figures.startswith("measured here: device on")
    (condition,) = written.conditions
    assert condition.bandwidth_bps == 50e6
    assert min(condition.latency_s.values()) > LINK.rtt_s
    (skipped,) = written.skipped
    assert (skipped.bandwidth_bps, skipped.why) == (1e6, "others are busy there")
    # All is done: nothing is compiled or run again.
    with journal(tmp_path, resume=True) as again:
        steps.clear()
        same = measure_plan(planned, network, GRID.points, again, begins=steps.append)
        assert not steps
        assert (same.carried.latency_s == made.carried.latency_s).all()


def test_a_sweep_without_a_measured_condition_is_an_error(
    planned: ConditionPlan, small_onnx: Path, tmp_path: Path
) -> None:
    with journal(tmp_path) as kept:
        for point in GRID.points:
            kept.add(point, {"seconds": [], "why": "others are busy there"})
        with pytest.raises(DeviceError, match="no condition could be measured") as caught:
            measure_plan(planned, load(str(small_onnx)), GRID.points, kept)
    assert caught.value.why == "others are busy there"


def test_other_machines_and_damaged_files_are_refused(
    planned: ConditionPlan, small_onnx: Path, tmp_path: Path
) -> None:
    network = load(str(small_onnx))
    with journal(tmp_path) as kept:
        elsewhere = plan_for_conditions(network, GRID, head="rpi4", tail="host", link=LINK)
        with pytest.raises(UsageError, match="'rpi4' cannot be measured here") as caught:
            measure_plan(elsewhere, network, GRID.points, kept)
        assert "--target host" in caught.value.hint
        with pytest.raises(UsageError, match="0 frames"):
            measure_plan(planned, network, GRID.points, kept, frames=0)
        kept.add(GRID.points[0], {"seconds": [1.0] * 9, "why": ""})
        with pytest.raises(UsageError, match="damaged"):
            measure_plan(planned, network, GRID.points, kept)
