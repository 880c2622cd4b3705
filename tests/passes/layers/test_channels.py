# SPDX-License-Identifier: Apache-2.0
"""What all channels have in common: modes, seeds, shapes, mixed conditions, bad settings."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest

torch = pytest.importorskip("torch", reason="needs torch")

from torch import Tensor  # noqa: E402
from torch import dtype as Dtype  # noqa: E402

import splitc  # noqa: E402
from splitc.errors import UsageError  # noqa: E402
from splitc.ir.chain import channel_layers  # noqa: E402
from splitc.ir.kinds import kind_of  # noqa: E402
from splitc_passes.layers.awgn import Awgn  # noqa: E402
from splitc_passes.layers.bit_erasure import BitErasure  # noqa: E402
from splitc_passes.layers.burst_loss import BurstLoss  # noqa: E402
from splitc_passes.layers.channel import Channel, transmitting  # noqa: E402
from splitc_passes.layers.element_loss import ElementLoss  # noqa: E402
from splitc_passes.layers.link_dropout import LinkDropout  # noqa: E402
from splitc_passes.layers.packet_loss import PacketLoss  # noqa: E402
from splitc_passes.layers.trace_loss import TraceLoss  # noqa: E402

TRACE = [0, 1, 0, 0, 1, 1, 0, 0, 0, 1, 0, 0, 0]
KINDS: dict[str, Callable[[], Channel]] = {
    "link_dropout": lambda: LinkDropout(0.4, seed=3),
    "packet_loss": lambda: PacketLoss(0.4, payload_bytes=16, seed=3),
    "element_loss": lambda: ElementLoss(0.4, seed=3),
    "burst_loss": lambda: BurstLoss(0.4, 3, payload_bytes=16, seed=3),
    "trace_loss": lambda: TraceLoss(TRACE, payload_bytes=16, seed=3),
    "awgn": lambda: Awgn(10, seed=3),
    "bit_erasure": lambda: BitErasure(0.4, seed=3),
}
PER_SAMPLE: dict[str, Callable[[Any], Channel]] = {
    "link_dropout": LinkDropout,
    "packet_loss": lambda rate: PacketLoss(rate, payload_bytes=16),
    "element_loss": ElementLoss,
    "burst_loss": lambda rate: BurstLoss(rate, 10, payload_bytes=16),
    "awgn": lambda sigma: Awgn(sigma=sigma),
    "bit_erasure": BitErasure,
}
SHAPES = ((5,), (4, 30), (3, 7, 6), (2, 3, 5, 7), (0, 3, 2), (1, 1, 1, 1))


def values(*shape: int, dtype: Dtype = torch.float32) -> Tensor:
    draw = torch.Generator().manual_seed(1)
    return (0.1 + 0.8 * torch.rand(shape, generator=draw)).to(dtype)


@pytest.mark.parametrize("name", KINDS)
def test_it_is_on_in_training_and_when_told_and_else_the_identity(name: str) -> None:
    channel, x = KINDS[name](), values(4, 8, 5, 5)
    assert not torch.equal(channel(x), x)
    channel.eval()
    assert channel(x) is x
    with transmitting(channel, seed=1):
        assert not torch.equal(channel(x), x)
    channel.train()
    with transmitting(channel, on=False):
        assert channel(x) is x


@pytest.mark.parametrize("name", KINDS)
def test_the_same_seed_draws_the_same_and_goes_on(name: str) -> None:
    channel, x = KINDS[name](), values(3, 8, 5, 5)
    first, second = channel(x), channel(x)
    assert not torch.equal(first, second)
    again = KINDS[name]()
    assert torch.equal(again(x), first)
    assert torch.equal(copy.deepcopy(again)(x), second)
    again.reseed(3)
    assert torch.equal(again(x), first)
    again.reseed(8)
    assert not torch.equal(again(x), first)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
@pytest.mark.parametrize("name", KINDS)
def test_every_shape_and_dtype_comes_back_as_it_went(name: str, dtype: Dtype) -> None:
    for shape in SHAPES:
        x = values(*shape, dtype=dtype)
        y = KINDS[name]()(x)
        assert (y.shape, y.dtype) == (x.shape, dtype)
        assert y.isfinite().all()


@pytest.mark.parametrize("name", PER_SAMPLE)
def test_a_batch_can_mix_conditions(name: str) -> None:
    """A sample is served as one of a batch that has its condition throughout."""
    x = values(4, 6, 8)
    conditions = torch.tensor([0.0, 0.2, 0.5, 0.9])
    mixed = PER_SAMPLE[name](conditions)
    made = mixed(x)
    for i, condition in enumerate(conditions.tolist()):
        torch.testing.assert_close(made[i], PER_SAMPLE[name](condition)(x)[i])
    torch.testing.assert_close(mixed.state(4), conditions)
    with pytest.raises(UsageError, match=f"{name}: .*another batch's\n.*for 4 samples, 3 came"):
        mixed(x[:3])


@pytest.mark.parametrize("name", PER_SAMPLE)
def test_the_state_is_one_number_for_each_sample(name: str) -> None:
    torch.testing.assert_close(PER_SAMPLE[name](0.25).state(3), torch.full((3,), 0.25))


def test_the_state_of_a_trace_is_its_loss_rate() -> None:
    torch.testing.assert_close(TraceLoss(TRACE).state(2), torch.full((2,), 4 / 13))


@pytest.mark.parametrize("name", KINDS)
def test_it_holds_nothing_to_train_or_save_and_is_a_channel_in_the_graph(name: str) -> None:
    channel = KINDS[name]()
    assert not channel.state_dict()
    assert not list(channel.parameters())
    assert channel.splitc_op == name
    assert kind_of(name) == "channel"


@pytest.mark.parametrize("name", KINDS)
def test_a_network_with_it_inside_is_read_and_compiled_without_it(name: str) -> None:
    net = torch.nn.Sequential(torch.nn.Linear(6, 4), KINDS[name](), torch.nn.Linear(4, 2))
    model = splitc.load(net.eval(), torch.ones(1, 6))
    (layer,) = channel_layers(model.graph)
    assert model.graph.layer(layer).op == name
    assert model.graph.layer(layer).flops == 0
    without = splitc.load(torch.nn.Sequential(net[0], net[2]).eval(), torch.ones(1, 6))
    ops = [each.op for each in without.graph.layers]
    assert [each.op for each in model.bypass([layer]).graph.layers] == ops


def test_what_is_printed_says_the_settings() -> None:
    assert repr(PacketLoss(0.2, 500, 1)) == (
        "PacketLoss(rate=0.2, payload_bytes=500, element_bytes=1, scale=rate)"
    )
    assert repr(BurstLoss(0.2, 4, 500, scale="none")) == (
        "BurstLoss(rate=0.2, mean_burst=4.0, payload_bytes=500, scale=none)"
    )
    assert repr(TraceLoss(TRACE)) == (
        "TraceLoss(trace of 13, lost_share=0.307692, payload_bytes=1404, scale=rate)"
    )
    assert repr(ElementLoss(0.2)) == "ElementLoss(rate=0.2, scale=rate)"
    assert repr(Awgn(12.5)) == "Awgn(psnr_db=12.5)"
    assert repr(BitErasure(0.2, 4)) == "BitErasure(rate=0.2, bits=4)"


RATE = r"rate {} is not in \[0, 1\)"
BAD: dict[str, tuple[Callable[[], Channel], str, Any, str]] = {
    "rate 1": (lambda: PacketLoss(0.1), "rate", 1.0, RATE.format(1)),
    "rate below 0": (lambda: ElementLoss(0.1), "rate", -0.1, RATE.format(-0.1)),
    "rate NaN": (lambda: BitErasure(0.1), "rate", float("nan"), RATE.format("nan")),
    "dropout rate": (lambda: LinkDropout(0.1), "rate", 2, RATE.format(2)),
    "burst rate": (lambda: BurstLoss(0.1), "rate", 1.5, RATE.format(1.5)),
    "one rate of many": (
        lambda: PacketLoss(0.1), "rate", torch.tensor([0.5, 1.0]), RATE.format(1),
    ),
    "rates of elements": (
        lambda: PacketLoss(0.1), "rate", torch.zeros(2, 3),
        r"rate is not one number for each sample\n.*shape \(2, 3\)",
    ),
    "no rates": (lambda: PacketLoss(0.1), "rate", torch.zeros(0), "not one number for each"),
    "burst below 1": (lambda: BurstLoss(0.1), "mean_burst", 0.9, "mean_burst 0.9 is not a finite"),
    "burst too short": (lambda: BurstLoss(0.1), "rate", 0.9, "too short for the rate"),
    "one burst too short": (
        lambda: BurstLoss(torch.tensor([0.1, 0.8])), "mean_burst", 2.0, "at least 4",
    ),
    "bursts of others": (
        lambda: BurstLoss(torch.tensor([0.1, 0.2])), "mean_burst", torch.full((3,), 2.0),
        "not for the same samples\n.*2 and 3",
    ),
    "payload": (lambda: PacketLoss(0.1), "payload_bytes", 0, "payload_bytes 0 holds no element"),
    "small payload": (
        lambda: PacketLoss(0.1, 8, 4), "payload_bytes", 3, "payload_bytes 3 holds no element",
    ),
    "element": (lambda: PacketLoss(0.1, 8), "element_bytes", 9, "8 holds no .*\n.*takes 9 bytes"),
    "no element": (lambda: PacketLoss(0.1), "element_bytes", 0, "element_bytes 0 is not above 0"),
    "scale": (lambda: PacketLoss(0.1), "scale", "realized", "no scale 'realized'\n.*'realised'"),
    "psnr NaN": (Awgn, "psnr_db", float("nan"), "psnr_db nan is not a ratio in dB"),
    "psnr": (Awgn, "psnr_db", -float("inf"), "psnr_db -inf is not a ratio in dB"),
    "sigma": (Awgn, "sigma", -0.1, "sigma -0.1 is not a finite number from 0"),
    "bits 0": (BitErasure, "bits", 0, "bits 0 is not a whole number from 1 to 16"),
    "bits 17": (BitErasure, "bits", 17, "bits 17 is not a whole number"),
    "half a bit": (BitErasure, "bits", 1.5, "bits 1.5 is not a whole number"),
}  # fmt: skip


@pytest.mark.parametrize("name", BAD)
def test_a_bad_setting_is_refused_and_the_one_before_stays(name: str) -> None:
    make, setting, value, match = BAD[name]
    channel = make()
    before = getattr(channel, setting)
    with pytest.raises(UsageError, match=match):
        setattr(channel, setting, value)
    assert getattr(channel, setting) is before


@pytest.mark.parametrize(
    ("make", "match"),
    [
        (lambda: LinkDropout(1.0), "rate 1 is not"),
        (lambda: PacketLoss(1.0), "rate 1 is not"),
        (lambda: ElementLoss(1.0), "rate 1 is not"),
        (lambda: BurstLoss(0.5, 0.5), "mean_burst 0.5 is not"),
        (lambda: TraceLoss([1, 1]), "it loses every packet"),
        (lambda: BitErasure(bits=0), "bits 0 is not"),
        (lambda: PacketLoss(payload_bytes=3, element_bytes=4), "payload_bytes 3 holds no element"),
        (lambda: Awgn(sigma=-1), "sigma -1 is not"),
    ],
)
def test_a_channel_is_not_made_with_a_bad_setting(make: Callable[[], Channel], match: str) -> None:
    with pytest.raises(UsageError, match=match):
        make()


def test_a_packet_that_holds_no_element_of_what_is_sent_is_refused() -> None:
    channel = PacketLoss(0.1, payload_bytes=3)
    assert channel(values(2, 9, dtype=torch.float16)).shape == (2, 9)
    with pytest.raises(UsageError, match="payload_bytes 3 holds no element"):
        channel(values(2, 9))


def test_settings_can_be_changed_between_batches() -> None:
    channel = BurstLoss(0.1, 4)
    channel.set_conditions(0.9, 20)
    assert (channel.rate, channel.mean_burst) == (0.9, 20)
    channel.rate = 0.95
    channel.payload_bytes, channel.element_bytes = 2, 0.5
    assert channel.chunks(8, torch.float32).packets == 2
    noise = Awgn(20)
    noise.sigma = 0.01
    assert noise.psnr_db == pytest.approx(40)
    noise.psnr_db = torch.tensor([0.0, 20.0])
    torch.testing.assert_close(noise.state(2), torch.tensor([1.0, 0.1]))
