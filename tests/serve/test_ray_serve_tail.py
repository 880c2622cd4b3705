# SPDX-License-Identifier: Apache-2.0
# pyright: reportMissingImports=false, reportUnknownMemberType=false
# pyright: reportUnknownVariableType=false, reportUnknownArgumentType=false
"""Replicas of a tail on Ray Serve, as the example has them: one of them dies, devices go on."""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest

from splitc.bundle.bundle import Bundle
from splitc.send import Device
from splitc.serve import Server
from tests.helpers import ROOT, needs_ray

pytestmark = [
    needs_ray,
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore"),
]

EXAMPLES = ROOT / "examples"
REPLICAS = 2


def _start(module: Any) -> None:
    """Ray gives itself 30 seconds to start, which a machine that is busy may take."""
    import ray

    for left in reversed(range(4)):
        try:
            module.start_here(REPLICAS)
        except Exception as error:  # Ray raises nothing narrower
            ray.shutdown()
            if not left or "timed out during startup" not in str(error):
                raise
        else:
            return


@pytest.fixture(scope="module")
def example() -> Iterator[Any]:
    """The example as a module, beside a Ray of its own on this machine."""
    import ray
    from ray import serve

    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(EXAMPLES)
        patch.setenv("PYTHONPATH", os.pathsep.join(sys.path))
        patch.setenv("RAY_USAGE_STATS_ENABLED", "0")
        module = importlib.import_module("ray_serve_tail")
        _start(module)
        try:
            yield module
        finally:
            serve.shutdown()
            ray.shutdown()


def test_replicas_share_the_frames_of_devices_and_one_that_dies_is_replaced(
    example: Any, small_in_pairs: Bundle
) -> None:
    images = np.random.default_rng(0).standard_normal((40, 1, 3, 12, 12)).astype(np.float32)
    with small_in_pairs.open_parts() as split:
        expected = [split(image) for image in images]
    runner = example.Replicas(small_in_pairs, REPLICAS)

    def send(to: str) -> None:
        with Device(small_in_pairs.path, to=to, deadline="2s", silent_after="30s") as device:
            for answer, right in zip(device.stream(images), expected, strict=True):
                assert answer.origin == "server"
                for name, array in right.items():
                    np.testing.assert_allclose(answer[name], array, rtol=1e-5, atol=1e-6)

    paths = [small_in_pairs.path]
    with Server(paths, workers=2 * REPLICAS, open_runner=lambda _: runner) as server:
        to = str(server.address)
        with ThreadPoolExecutor(4) as pool:
            list(pool.map(send, [to] * 4))
        assert server.measures.answers == 4 * len(images)
        assert server.measures.calls < 4 * len(images)
        assert len(runner.calls) == REPLICAS
        _kill_a_replica()
        with Device(small_in_pairs.path, to=to, deadline="2s", silent_after="30s") as device:
            lost = [answer for answer in device.stream(images) if answer.origin != "server"]
            assert all("a replica of the tail failed" in str(one.why_not) for one in lost)
            assert len(lost) <= 4
        send(to)


def _kill_a_replica() -> None:
    """End the process of one, as a machine that fails does."""
    import ray
    from ray.util import list_named_actors

    actors: list[Any] = list_named_actors(all_namespaces=True)
    one = next(each for each in actors if "Replica" in each["name"])
    ray.kill(ray.get_actor(one["name"], one["namespace"]))
