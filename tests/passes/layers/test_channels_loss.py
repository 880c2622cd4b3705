# SPDX-License-Identifier: Apache-2.0
# pyright: reportUnknownMemberType=false, reportUnknownArgumentType=false
# pyright: reportUnknownVariableType=false
"""Channels that lose elements: how many, which together, what is read, what is trained."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="needs torch")

from torch import Tensor  # noqa: E402

from splitc.link.loss_latency import GilbertElliott  # noqa: E402
from splitc.link.packets import Chunks, Scale, Unit  # noqa: E402
from splitc_passes.layers.burst_loss import BurstLoss  # noqa: E402
from splitc_passes.layers.element_loss import ElementLoss  # noqa: E402
from splitc_passes.layers.packet_loss import PacketLoss  # noqa: E402
from splitc_passes.layers.packets import LossyChannel, PacketChannel  # noqa: E402
from splitc_passes.layers.trace_loss import TraceLoss  # noqa: E402

LOSSY: dict[str, Callable[[Scale], LossyChannel]] = {
    "packets": lambda scale: PacketLoss(0.3, 16, scale=scale),
    "elements": lambda scale: ElementLoss(0.3, scale),
    "bursts": lambda scale: BurstLoss(0.3, 3, 16, scale=scale),
    "trace": lambda scale: TraceLoss([0, 0, 1, 0, 1, 0, 0, 0, 1, 0], 16, scale=scale),
}


def packets_lost(channel: PacketChannel, samples: int, packets: int) -> Tensor:
    """Which packets of one element each were lost [samples, packets], as read off the values."""
    channel.payload_bytes, channel.element_bytes, channel.scale = 1, 1, "none"
    order = channel.chunks(packets, torch.float32).packet_of_element(channel.order_seed)
    received = torch.empty(samples, packets)
    received[:, torch.as_tensor(order)] = channel.transmit(torch.ones(samples, packets))
    return received == 0


def share_within(got: Tensor, expected: float) -> bool:
    """Whether the share of trials that came out true is within five sigma."""
    sd = math.sqrt(expected * (1 - expected) / got.numel())
    return abs(got.double().mean().item() - expected) <= 5 * sd


def test_elements_of_a_packet_arrive_or_are_lost_together() -> None:
    channel = PacketLoss(0.5, payload_bytes=20, scale="none", order_seed=9)
    arrived = channel.transmit(torch.ones(50, 3, 5, 7)).reshape(50, 105) > 0
    packets = torch.as_tensor(Chunks(105, Unit(1, 4), 20).packet_of_element(9))
    each = [arrived[:, packets == packet] for packet in range(21)]
    for one in each:
        assert (one == one[:, :1]).all()
    firsts = torch.stack([one[:, 0] for one in each])
    assert share_within(firsts, 0.5)
    assert len({tuple(row) for row in firsts.T.tolist()}) == 50


@pytest.mark.parametrize("rate", [0.1, 0.6])
def test_the_packets_received_are_binomial(rate: float) -> None:
    lost = packets_lost(PacketLoss(rate, seed=2), 4000, 132)
    counts = (~lost).sum(dim=1).double()
    variance = 132 * rate * (1 - rate)
    assert abs(counts.mean().item() - 132 * (1 - rate)) < 5 * math.sqrt(variance / 4000)
    assert abs(counts.var().item() / variance - 1) < 5 * math.sqrt(2 / 4000)


def test_half_floats_and_declared_sizes_fill_packets_with_more_elements() -> None:
    sizes = {torch.float64: 4, torch.float32: 8, torch.float16: 16}
    for dtype, elements in sizes.items():
        assert PacketLoss(payload_bytes=32).chunks(elements, dtype).packets == 1
        assert PacketLoss(payload_bytes=32).chunks(elements + 1, dtype).packets == 2
        assert PacketLoss(payload_bytes=32, element_bytes=1).chunks(33, dtype).packets == 2


def test_elements_are_lost_one_by_one() -> None:
    arrived = ElementLoss(0.3, "none")(torch.ones(20, 10, 100)) > 0
    assert share_within(~arrived, 0.3)
    assert share_within(~arrived[..., 1:][~arrived[..., :-1]], 0.3)


@pytest.mark.parametrize(
    ("rate", "burst"), [(0.2, 5.0), (0.5, 20.0), (0.3, 1 / 0.7), (0.6, 1.6), (0.6, 1.5), (0.3, 1.0)]
)
def test_losses_come_in_bursts_of_the_mean_length(rate: float, burst: float) -> None:
    """Each packet depends on the one before as the chain says; the first is stationary."""
    lost = packets_lost(BurstLoss(rate, burst, seed=4), 400, 200)
    before, after = lost[:, :-1], lost[:, 1:]
    chain = GilbertElliott(rate, burst)
    assert share_within(after[before], 1 - chain.ends)
    assert share_within(after[~before], chain.begins)
    assert share_within(lost[:, 0], rate)
    starts = after & ~before
    assert starts.any()
    inside = lost[:, 1:].sum().item() / starts.sum().item()
    assert inside == pytest.approx(burst, rel=0.1)


@pytest.mark.parametrize(("rate", "burst"), [(0.2, 5.0), (0.6, 1.6), (0.6, 1.5), (0.5, 1.0)])
def test_all_packets_at_once_are_those_of_the_chain_step_by_step(rate: float, burst: float) -> None:
    drawn = torch.rand(20, 50, generator=torch.Generator().manual_seed(6))

    class Given(BurstLoss):
        def uniform(self, shape: Sequence[int], device: Any) -> Tensor:
            return drawn

    lost = packets_lost(Given(rate, burst), 20, 50)
    chain = GilbertElliott(rate, burst)
    for row, numbers in zip(lost.tolist(), drawn.tolist(), strict=True):
        state = numbers[0] < rate
        assert row[0] == state
        for number, got in zip(numbers[1:], row[1:], strict=True):
            state = number < (1 - chain.ends if state else chain.begins)
            assert got == state


def test_a_trace_is_replayed_and_begins_anew_at_its_end() -> None:
    trace = [0, 1, 1, 0, 0, 0, 1]
    channel = TraceLoss(trace, start=2)
    stream = itertools.islice(itertools.cycle(trace), 2, None)
    for samples in (3, 1, 4):
        lost = packets_lost(channel, samples, 5)
        assert lost.flatten().tolist() == [bool(next(stream)) for _ in range(samples * 5)]
    channel.reseed(0)
    assert packets_lost(channel, 1, 5).tolist() == [[True, False, False, False, True]]


def test_seeds_begin_at_their_own_places_of_a_trace() -> None:
    trace = np.zeros(500, int)
    trace[0] = 1
    places = {
        int(packets_lost(TraceLoss(trace, seed=seed), 1, 500).int().argmax()) for seed in range(20)
    }
    assert len(places) > 15


def test_a_trace_can_be_a_file_or_a_tensor(tmp_path: Path) -> None:
    path = tmp_path / "trace.csv"
    path.write_text("time,lost\n0,0\n1,1\n2,1\n", "utf-8")
    for trace in (path, torch.tensor([0, 1, 1])):
        lost = packets_lost(TraceLoss(trace, start=0), 1, 6)
        assert lost.tolist() == [[False, True, True, False, True, True]]


@pytest.mark.parametrize("name", LOSSY)
def test_what_is_missing_reads_as_zero_and_the_rest_is_scaled(name: str) -> None:
    x = 1 + torch.rand(6, 4, 40)
    arrived = LOSSY[name]("none")(x) != 0
    assert 0 < arrived.double().mean().item() < 1
    torch.testing.assert_close(LOSSY[name]("none")(x), x * arrived)
    torch.testing.assert_close(LOSSY[name]("rate")(x), x * arrived / 0.7)
    realised = arrived.flatten(1).double().mean(dim=1).reshape(-1, 1, 1)
    torch.testing.assert_close(LOSSY[name]("realised")(x), (x * arrived / realised).float())


def test_the_mean_stays_under_the_rates_scale() -> None:
    for rate in (0.2, 0.7):
        mean = PacketLoss(rate, 4)(torch.ones(100, 100)).mean().item()
        assert abs(mean - 1) < 5 * math.sqrt(rate / (1 - rate) / 10_000)


@pytest.mark.parametrize("scale", ["rate", "realised", "none"])
def test_a_sample_of_which_nothing_came_is_zero(scale: Scale) -> None:
    made = PacketLoss(0.5, payload_bytes=1000, scale=scale)(torch.ones(60, 10))
    assert made.isfinite().all()
    lost = (made == 0).all(dim=1)
    assert 0 < lost.sum().item() < 60
    wanted = 2.0 if scale == "rate" else 1.0
    torch.testing.assert_close(made[~lost], torch.full_like(made[~lost], wanted))


@pytest.mark.parametrize("name", LOSSY)
def test_the_gradient_is_that_of_what_came(name: str) -> None:
    x = (1 + torch.rand(6, 4, 40)).requires_grad_()
    y = LOSSY[name]("rate")(x)
    weights = torch.rand(y.shape)
    (y * weights).sum().backward()
    assert x.grad is not None
    torch.testing.assert_close(x.grad, weights * (y != 0) / 0.7)


def test_what_is_lost_does_no_harm_whatever_it_was() -> None:
    x = torch.full((30, 40), torch.inf)
    made = ElementLoss(0.5)(x)
    assert set(made.unique().tolist()) == {0.0, math.inf}
