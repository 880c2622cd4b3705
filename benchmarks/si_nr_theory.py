# SPDX-License-Identifier: Apache-2.0
"""What does packet loss cost: time with retransmission, packets without it?

The theory of SI-NR (Itahara, Nishio, Yamamoto, GLOBECOM 2021) beside the paper's figures:
the acceptance values of its block 1 (65.5 kB, 500-byte packets, 9.0 Mb/s, p = 0.2), the
latency distributions of its figure 4, and the packets that the channel module lets
through against the distribution that they should have.
"""

from __future__ import annotations

import argparse
import importlib
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from common import finish, parser
from splitc.link.link import Link
from splitc.link.loss_latency import Counts, GilbertElliott, Transfer

BLOCK_ELEMENTS = (16384, 8192, 4096, 2048, 512)
"""Float32 elements behind each block of the paper's network: 65.5 … 2.0 kB."""

PACKET_BYTES = 500
RATES = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6)
BATCH = 250
SHARES = (0.01, 0.1, 0.5, 0.9, 0.99, 0.999)

PAPER: dict[str, float] = {
    "packets": 132, "packet_ms": 0.4444, "si_nr_ms": 58.67, "si_nr_variance": 0.0,
    "resend_mean_ms": 73.33, "resend_sd_ms": 2.85, "resend_p99_ms": 80.44,
}  # fmt: skip


def transfer(block: int, loss_rate: float) -> Transfer:
    """The paper's transfer: packets of 500 bytes without headers, no propagation delay."""
    link = Link("9.0Mbit", loss=loss_rate, mtu=PACKET_BYTES)
    return Transfer.over(link, BLOCK_ELEMENTS[block - 1] * 4, header_bytes=0)


def acceptance() -> dict[str, float]:
    """The paper's figures for block 1 at p = 0.2, as computed here."""
    one = transfer(1, 0.2)
    return {
        "packets": one.packets,
        "packet_ms": one.packet_s * 1e3,
        "si_nr_ms": one.unrepeated_s * 1e3,
        "si_nr_variance": (one.sent_once.sd * one.packet_s * 1e3) ** 2,
        "resend_mean_ms": one.sent.mean * one.packet_s * 1e3,
        "resend_sd_ms": one.sent.sd * one.packet_s * 1e3,
        "resend_p99_ms": one.repeated_quantile_s(0.99) * 1e3,
    }


def show_acceptance(ours: dict[str, float]) -> None:
    print("block 1, p = 0.2          paper       ours")
    for name, value in PAPER.items():
        digits = len(str(value).partition(".")[2]) if value % 1 else 0
        same = "" if round(ours[name], digits) == value else "  differs"
        print(f"{name:20} {value:10.{digits}f} {ours[name]:10.{digits}f}{same}")


def show_latency(block: int) -> dict[str, list[float]]:
    """Figure 4 as a table: the latency that a share of the transfers stays within."""
    heads = "".join(f"{share:>9.1%}" for share in SHARES)
    print(f"\nblock {block}: ms with retransmission by share of transfers, and SI-NR's")
    print(f"{'p':>4}{heads}   SI-NR   99.0% / SI-NR")
    found: dict[str, list[float]] = {}
    for rate in RATES:
        one = transfer(block, rate)
        found[f"{rate:g}"] = [one.repeated_quantile_s(share) * 1e3 for share in SHARES]
        row = "".join(f"{value:9.2f}" for value in found[f"{rate:g}"])
        ratio = one.repeated_quantile_s(0.99) / one.unrepeated_s
        print(f"{rate:4.1f}{row}{one.unrepeated_s * 1e3:8.2f}{ratio:14.2f}")
    return found


def show_received(block: int) -> None:
    """The share of the packets that arrives without retransmission."""
    print(f"\nblock {block}: share of packets received without retransmission")
    print("   p" + "".join(f"{share:>9.1%}" for share in SHARES))
    for rate in RATES:
        one = transfer(block, rate)
        received = one.received
        row = "".join(f"{received.quantile(share) / one.packets:9.3f}" for share in SHARES)
        print(f"{rate:4.1f}{row}")


def packets_through(channel: Any, elements: int, samples: int) -> NDArray[np.int64]:
    """How many packets of each sample a channel module lets through."""
    import torch

    packet = channel.chunks(elements, torch.float32).packet_of_element(channel.order_seed)
    # Each packet's elements add up to one, so that what comes adds up to the packets.
    weights = 1 / np.bincount(packet)[packet]
    sent = torch.as_tensor(weights, dtype=torch.float32).expand(BATCH, -1)
    with torch.no_grad():
        batches = [channel.transmit(sent).sum(dim=1).numpy() for _ in range(samples // BATCH)]
    return np.rint(np.concatenate(batches)).astype(np.int64)


def chi_square(counts: NDArray[np.int64], expected: Counts) -> tuple[float, int]:
    """Pearson's statistic and its degrees of freedom, rare numbers pooled to five at least."""
    chances = expected.pmf * len(counts)
    seen = np.bincount(counts - expected.first, minlength=len(chances)).astype(float)
    common = np.flatnonzero(chances >= 5)
    low, high = int(common[0]), int(common[-1])

    def pooled(values: NDArray[np.float64]) -> NDArray[np.float64]:
        ends = values[: low + 1].sum(), values[high:].sum()
        return np.array([ends[0], *values[low + 1 : high], ends[1]])

    got, wanted = pooled(seen), pooled(chances)
    return float(((got - wanted) ** 2 / wanted).sum()), high - low


def show_simulation(block: int, samples: int) -> dict[str, dict[str, float]]:
    """What the channel modules let through against Binomial(n_t, 1 - p), and bursts' spread."""
    from splitc_passes.layers.burst_loss import BurstLoss
    from splitc_passes.layers.packet_loss import PacketLoss

    elements = BLOCK_ELEMENTS[block - 1]
    print(f"\nblock {block}: packets through the channel modules, {samples} transfers a row")
    print("   p    L     mean  theory      sd  theory   chi2 / degrees (sd from its mean)")
    found: dict[str, dict[str, float]] = {}
    for seed, rate in enumerate(RATES):
        theory = transfer(block, rate).received
        got = packets_through(
            PacketLoss(rate, PACKET_BYTES, scale="none", seed=seed), elements, samples
        )
        chi2, degrees = chi_square(got, theory)
        off = (chi2 - degrees) / np.sqrt(2 * degrees)
        row = f"{got.mean():9.3f}{theory.mean:8.3f}{got.std():8.3f}{theory.sd:8.3f}"
        print(f"{rate:4.1f}    -{row}   {chi2:.1f} / {degrees} ({off:+.1f})")
        found[f"{rate:g}"] = {"mean": got.mean(), "sd": got.std(), "chi2": chi2, "dof": degrees}
        chain = GilbertElliott(rate, 8)
        got = packets_through(
            BurstLoss(rate, 8, PACKET_BYTES, scale="none", seed=seed), elements, samples
        )
        sd = chain.received_sd(transfer(block, rate).packets)
        print(f"{rate:4.1f}    8{got.mean():9.3f}{theory.mean:8.3f}{got.std():8.3f}{sd:8.3f}")
    return found


def plot(pyplot: Any, block: int, target: Path) -> None:
    """Figure 4: a distribution function for each loss rate, SI-NR a step."""
    figure, axes = pyplot.subplots()
    for rate in RATES:
        one = transfer(block, rate)
        axes.step(one.sent.values * one.packet_s * 1e3, one.sent.cdf, label=f"p = {rate:g}")
    axes.axvline(transfer(block, 0.0).unrepeated_s * 1e3, color="black", label="SI-NR")
    axes.set(
        xlabel="ms", ylabel="share of transfers done", title=f"block {block}",
        xlim=(0, transfer(block, RATES[-1]).repeated_quantile_s(0.9999) * 1e3),
    )  # fmt: skip
    axes.legend()
    figure.savefig(target)


def options() -> tuple[argparse.Namespace, Any]:
    """The options of this benchmark, and what draws where a plot is asked for."""
    made = parser(__doc__ or "")
    made.add_argument("--block", type=int, default=1, choices=range(1, 6), help="cut behind it")
    made.add_argument("--plot", metavar="FILE", type=Path, help="draw figure 4 (matplotlib)")
    asked = made.parse_args()
    if asked.plot is None:
        return asked, None
    try:
        return asked, importlib.import_module("matplotlib.pyplot")
    except ImportError:
        made.error("there is no matplotlib to plot with: pip install matplotlib")


def main() -> None:
    """Print the tables."""
    asked, pyplot = options()
    ours = acceptance()
    show_acceptance(ours)
    latency = show_latency(asked.block)
    show_received(asked.block)
    through = show_simulation(asked.block, 500 if asked.quick else 10_000)
    if pyplot is not None:
        plot(pyplot, asked.block, asked.plot)
    finish(
        {"acceptance": ours, "latency_ms": latency, "shares": SHARES, "through": through},
        asked.json,
    )


if __name__ == "__main__":
    main()
