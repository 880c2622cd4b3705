# SPDX-License-Identifier: Apache-2.0
"""A simulation against sockets: the same bundle, settings, recorded link and seed."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from splitc.arrays import Array
from splitc.bundle.bundle import Bundle
from splitc.link.link_trace import LinkTrace
from splitc.net.impairment import Impairment
from splitc.net.relay import Relay
from splitc.send import Device
from splitc.send.settings import Settings
from splitc.serve import Server
from splitc.simulate import BundleParts, TwoWays, simulate

FRAMES = 28
TRACE = LinkTrace([0.0, 1.2, 2.8], [0.4e6, 0.15e6, 0.4e6], [0.01, 0.02, 0.01])
"""So slow that the link is nearly all of a frame's time, on a busy machine too."""
LINK = TwoWays(Impairment(varying=TRACE, delay="10ms"), Impairment(delay="10ms"))
SEED = 4
SETTINGS = Settings(in_flight=1, deadline_s=0.9, silent_after_s=3.0, grace_s=0.003, mtu=576)


def through_the_relay(bundle: Bundle, images: Array) -> tuple[NDArray[np.float64], float]:
    """Seconds that frames take, and the share that came of them."""
    with (
        Server([bundle.path]) as server,
        Relay(server.address, up=LINK.up, down=LINK.down, seed=SEED) as relay,
        Device(bundle.path, to=str(relay.address), settings=SETTINGS) as device,
    ):
        answers = [device(images[k % len(images)]) for k in range(FRAMES)]
    share = float(np.mean([answer.share for answer in answers]))
    return np.array([answer.frame_s for answer in answers]), share


def test_frames_take_as_long_as_through_the_relay(small: Bundle, images: Array) -> None:
    with BundleParts.open(small.path, values=False, times="measured") as parts:
        simulated = simulate(parts, LINK, SETTINGS, frames=FRAMES, seed=SEED)
    found = np.percentile(simulated.latencies_s, (50, 95))
    assert found[1] > 2 * found[0], "the link changed"
    real, share = through_the_relay(small, images)
    for _ in range(2):
        # A machine that does something else for a moment says nothing.
        if np.percentile(real, (50, 95)) != pytest.approx(found, rel=0.1):
            real, share = through_the_relay(small, images)
    assert np.percentile(real, (50, 95)) == pytest.approx(found, rel=0.1)
    assert share == pytest.approx(simulated.share, abs=0.01)
