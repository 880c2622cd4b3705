# SPDX-License-Identifier: Apache-2.0
"""Noise and erased bits: the values read, their statistics, straight-through gradients."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from fractions import Fraction
from typing import Any

import pytest

torch = pytest.importorskip("torch", reason="needs torch")

from torch import Tensor  # noqa: E402

from splitc_passes.layers.awgn import Awgn  # noqa: E402
from splitc_passes.layers.bit_erasure import BitErasure  # noqa: E402


@pytest.mark.parametrize("psnr_db", [0.0, 10.0, 25.0])
def test_the_noise_is_normal_of_the_ratio(psnr_db: float) -> None:
    x = torch.rand(4, 25, 1000, dtype=torch.float64)
    noise = Awgn(psnr_db, seed=1)(x) - x
    sigma, count = 10 ** (-psnr_db / 20), noise.numel()
    assert abs(noise.mean().item()) < 5 * sigma / math.sqrt(count)
    assert abs(noise.var().item() / sigma**2 - 1) < 5 * math.sqrt(2 / count)
    within = (noise.abs() < sigma).double().mean().item()
    share = math.erf(1 / math.sqrt(2))
    assert abs(within - share) < 5 * math.sqrt(share * (1 - share) / count)


def test_ratio_and_deviation_follow_each_other() -> None:
    assert Awgn(20).sigma == pytest.approx(0.1)
    assert Awgn(sigma=0.01).psnr_db == pytest.approx(40)
    quiet = Awgn(sigma=0)
    x = torch.rand(3, 4)
    assert quiet.psnr_db == math.inf
    assert torch.equal(quiet(x), x)
    assert Awgn(math.inf).sigma == 0
    ratios = Awgn(sigma=torch.tensor([1.0, 0.1])).psnr_db
    torch.testing.assert_close(ratios, torch.tensor([0.0, 20.0], dtype=torch.float64))


def test_gradients_pass_noise_unchanged() -> None:
    x = torch.rand(2, 3, 4, 5).requires_grad_()
    weights = torch.rand(x.shape)
    (Awgn(5)(x) * weights).sum().backward()
    assert x.grad is not None
    torch.testing.assert_close(x.grad, weights, rtol=0, atol=0)


class Chosen(BitErasure):
    """A channel that erases the bits that a test chooses: a mask of bits for each value."""

    def __init__(self, bits: int, masks: Tensor) -> None:
        super().__init__(0.5, bits)
        self.masks = masks
        self.sent = 0

    def uniform(self, shape: Sequence[int], device: Any) -> Tensor:
        erased = (self.masks >> self.sent) & 1
        self.sent += 1
        assert tuple(shape) == tuple(erased.shape)
        return 1 - erased.float()


def read_of(bits: str, erased: str) -> Fraction:
    """What is read of a word, by the text of its bits: ones and halves, each with its weight."""
    weights = [2 ** (len(bits) - 1 - i) for i in range(len(bits))]
    terms = [
        Fraction(weight, 2) if gone == "1" else Fraction(weight * int(bit))
        for weight, bit, gone in zip(weights, bits, erased, strict=True)
    ]
    return sum(terms, Fraction(0))


def test_a_word_without_its_left_bit_reads_as_in_the_paper() -> None:
    assert read_of("110", "100") == 4
    made = Chosen(3, torch.tensor([[0b100]]))(torch.tensor([[6 / 7]]))
    assert made.item() == torch.tensor(4 / 7).item()


def test_all_words_of_three_bits_under_all_erasures_read_as_counted() -> None:
    cases = list(itertools.product(range(8), repeat=2))
    x = torch.tensor([[value / 7] for value, _ in cases], dtype=torch.float64)
    made = Chosen(3, torch.tensor([[mask] for _, mask in cases]))(x)
    for (value, mask), got in zip(cases, made[:, 0].tolist(), strict=True):
        assert got == float(read_of(f"{value:03b}", f"{mask:03b}") / 7)


@pytest.mark.parametrize("bits", [1, 2, 4, 8, 11, 16])
def test_without_erasures_values_are_rounded_to_the_levels(bits: int) -> None:
    top = 2**bits - 1
    x = torch.rand(4, 5000, dtype=torch.float64)
    made = BitErasure(0.0, bits)(x)
    assert (made * top - (made * top).round()).abs().max().item() < 1e-9
    assert (made - x).abs().max().item() <= 0.5 / top + 1e-12
    torch.testing.assert_close(made, BitErasure(0.0, bits)(made), rtol=0, atol=0)


def test_values_outside_are_sent_as_the_ends() -> None:
    made = BitErasure(0.0, 4)(torch.tensor([[-0.3, -1e30, 1.2, 1e30, 0.0, 1.0]]))
    assert made.tolist() == [[0.0, 0.0, 1.0, 1.0, 0.0, 1.0]]


def test_half_floats_are_quantised_as_floats_are() -> None:
    x = torch.rand(2, 1000).half()
    for bits in (8, 16):
        wanted = BitErasure(0.3, bits, seed=2)(x.float()).half()
        assert torch.equal(BitErasure(0.3, bits, seed=2)(x), wanted)


@pytest.mark.parametrize("rate", [0.01, 0.15, 0.6])
def test_every_bit_is_erased_at_the_rate(rate: float) -> None:
    """One bit reads 1/2 at the rate; of many, each erased one errs by half its weight.

    The squared error of a word is then p * sum(4^i) / 4, because the errors' signs are
    independent where all words are equally likely.
    """
    one = BitErasure(rate, 1, seed=1)(torch.randint(2, (20, 2000)).float())
    assert set(one.unique().tolist()) == {0.0, 0.5, 1.0}
    halves = (one == 0.5).double().mean().item()
    assert abs(halves - rate) < 5 * math.sqrt(rate * (1 - rate) / one.numel())
    words = torch.randint(256, (20, 2000))
    read = BitErasure(rate, 8, seed=1)(words.double() / 255) * 255
    squared = (read - words).square()
    expected = rate * sum(4**i for i in range(8)) / 4
    sd = squared.std().item() / math.sqrt(squared.numel())
    assert abs(squared.mean().item() - expected) < 5 * sd


def test_gradients_pass_straight_through_quantiser_and_erasures() -> None:
    x = torch.rand(2, 3, 4, 5).requires_grad_()
    weights = torch.rand(x.shape)
    (BitErasure(0.5, 2)(x) * weights).sum().backward()
    assert x.grad is not None
    torch.testing.assert_close(x.grad, weights, rtol=0, atol=0)


def test_what_is_no_number_stays_none() -> None:
    made = BitErasure(0.1)(torch.tensor([[math.nan, 0.5]]))
    assert made.isnan().tolist() == [[True, False]]
