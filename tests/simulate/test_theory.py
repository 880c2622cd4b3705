# SPDX-License-Identifier: Apache-2.0
"""What the simulated link does, against what is known of such links.

Seeds are fixed, so that nothing here is left to chance.

References:
    Itahara, Nishio, Yamamoto, "Packet-Loss-Tolerant Split Inference", GLOBECOM 2021,
    arXiv:2104.13629, section III: 65.5 kB in packets of 500 bytes over 9.0 Mb/s, of which a
    fifth is lost.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from splitc.link.loss_latency import Counts, GilbertElliott, Transfer
from splitc.net.impairment import Direction, Impairment

TRIALS = 2000
PACKET_BYTES, BITS_PER_S, LOSS = 500, 9e6, 0.2
PAPER = Transfer(132, PACKET_BYTES * 8 / BITS_PER_S, LOSS)
LINK = Impairment(
    loss=LOSS, bandwidth=BITS_PER_S, queue_bytes=1 << 20, overhead_bytes=0
)  # fmt: skip


def sent_once(link: Impairment, seed: int) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Packets that came of each frame, and when its last was through, whether lost or not."""
    one = Direction(link, seed)
    came, took = np.zeros(TRIALS, np.int64), np.zeros(TRIALS)
    for trial in range(TRIALS):
        start_s, before_s = trial * 1.0, one.busy_s
        for _ in range(PAPER.packets):
            came[trial] += one.carry(PACKET_BYTES, start_s) is not None
        took[trial] = one.busy_s - before_s
    return came, took


def sent_until_all_came(link: Impairment, seed: int) -> NDArray[np.float64]:
    """Seconds until all packets of each frame came, each sent again as soon as it was lost."""
    one = Direction(link, seed)
    took = np.zeros(TRIALS)
    for trial in range(TRIALS):
        now = start_s = trial * 1.0
        missing = PAPER.packets
        while missing:
            carried = one.carry(PACKET_BYTES, now)
            missing -= carried is not None
            now += PAPER.packet_s
        took[trial] = now - start_s
    return took


def chi_squared(found: NDArray[np.int64], expected: Counts, fewest: float = 8.0) -> float:
    """Chance of a chi-squared value as large as these counts have; rare values are put together."""
    wanted = expected.pmf * len(found)
    values = expected.values
    inside = (found >= values[0]) & (found <= values[-1])
    assert inside.all()
    counted = np.bincount(found - values[0], minlength=len(values)).astype(float)
    edges, total = [0], 0.0
    for place, each in enumerate(wanted):
        total += each
        if total >= fewest and wanted[place + 1 :].sum() >= fewest:
            edges.append(place + 1)
            total = 0.0
    observed, theory = np.add.reduceat(counted, edges), np.add.reduceat(wanted, edges)
    theory *= observed.sum() / theory.sum()
    statistic = float(np.sum((observed - theory) ** 2 / theory))
    half = torch.tensor([(len(edges) - 1) / 2, statistic / 2], dtype=torch.float64)
    special: Any = torch.special
    return float(special.gammaincc(half[0], half[1]))


def test_the_papers_transfer_has_the_papers_figures() -> None:
    assert PAPER.packets == math.ceil(65_536 / PACKET_BYTES)
    assert PAPER.packet_s * 1e3 == pytest.approx(0.4444, abs=5e-5)


def test_without_retransmission_packets_received_are_binomial_and_the_time_is_fixed() -> None:
    came, took = sent_once(LINK, 11)
    assert chi_squared(came, PAPER.received) > 0.01
    assert took * 1e3 == pytest.approx(58.67, abs=5e-3)
    assert float(took.std()) == pytest.approx(0, abs=1e-9)


def test_with_retransmission_the_time_is_that_of_a_negative_binomial_number_of_packets() -> None:
    took = sent_until_all_came(LINK, 12)
    packets = np.rint(took / PAPER.packet_s).astype(np.int64)
    assert chi_squared(packets, PAPER.sent) > 0.01
    assert float(took.mean()) * 1e3 == pytest.approx(73.33, abs=5 * 2.85 / math.sqrt(TRIALS))
    assert float(took.std()) * 1e3 == pytest.approx(2.85, abs=0.2)
    assert float(np.percentile(took, 99)) * 1e3 == pytest.approx(80.44, abs=0.6)


def test_another_loss_is_told_from_this_one() -> None:
    """The test could fail: a link that loses 21 % is not one that loses 20 %."""
    other = Impairment(
        loss=0.21, bandwidth=BITS_PER_S, queue_bytes=1 << 20, overhead_bytes=0
    )  # fmt: skip
    came, _ = sent_once(other, 11)
    assert chi_squared(came, PAPER.received) < 1e-6


def test_bursts_spread_what_comes_as_their_model_says() -> None:
    model = GilbertElliott(LOSS, 5.0)
    bursty = Impairment(
        burst=model, bandwidth=BITS_PER_S, queue_bytes=1 << 20, overhead_bytes=0
    )  # fmt: skip
    came, took = sent_once(bursty, 13)
    sd = model.received_sd(PAPER.packets)
    assert float(came.mean()) == pytest.approx(
        PAPER.packets * (1 - LOSS), abs=5 * sd / math.sqrt(TRIALS)
    )
    assert float(came.std()) == pytest.approx(sd, rel=0.1)
    assert sd > 2 * PAPER.received.sd
    assert took * 1e3 == pytest.approx(58.67, abs=5e-3)
