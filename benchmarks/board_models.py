# SPDX-License-Identifier: Apache-2.0
"""How close are the board files' predictions to published measurements?

    python benchmarks/board_models.py [--host [BOARD]] [--fit] [--quick] [--json FILE]

Whole networks, fp32, batch 1, and what others published of them (published_times.py). The
networks of ncnn's columns are those of its `.param` files (nets.py), the mobile families those of
the TFLite files (mobile_nets.py). No figure of a board file is fitted to a column held out, and
what is predicted is a runtime at ncnn's level: not splitc's own code. On 64-bit Arm ncnn
stores the weights of fully connected layers in 2 bytes each even where it
computes in fp32 (`InnerProduct_arm::create_pipeline`), so they are counted so.
`--host` measures as well what splitc's own code takes on this machine: the zoo's
networks and five more, compiled for it or for a board whose code it runs, whole and
by kind of layer. `--fit` says which figures of the board file would fit.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import msgspec
from board_fit import Measured, fit, implied, predicted_kinds, sums, toml
from host_times import measure
from mobile_nets import mobile_net
from networks import NAMES
from published_times import COLUMNS, Column

import common
from common import Others
from nets import NETS, resnet50, squeezenet_1_0
from splitc.cost.board import Board, load_board, x86_level
from splitc.cost.prices import BoardCost
from splitc.ir.graph import LayerGraph

FAMILIES = {
    "v1-": "MobileNetV1", "v2-": "MobileNetV2", "v3-": "MobileNetV3", "lite": "EfficientNet-Lite",
}  # fmt: skip
"""The mobile families, by how their networks' names begin."""
MEAN_BAR, WORST_BAR = 0.20, 0.35
QUICK = ("squeezenet", "shufflenet")
HOSTS = ("host", "x86-64-v2", "x86-64-v3", "x86-64-v4")


@dataclass(frozen=True)
class Row:
    """One network: measured and predicted milliseconds."""

    network: str
    measured_ms: float
    predicted_ms: float

    @property
    def ratio(self) -> float:
        """Predicted over measured."""
        return self.predicted_ms / self.measured_ms


def predicted_ms(board: Board, graph: LayerGraph) -> float:
    """The board file's prediction for a whole network: of its shares, not of splitc's kernels."""
    return 1e3 * sum(BoardCost(board, by="shares").seconds(graph))


def with_half_fc(graph: LayerGraph) -> LayerGraph:
    """The graph with weights of fully connected layers in 2 bytes each, as ncnn stores them."""
    return graph.with_layers(
        dataclasses.replace(layer, param_bytes=layer.param_bytes // 2)
        if layer.kind == "gemm"
        else layer
        for layer in graph.layers
    )


def network(name: str) -> LayerGraph:
    """The layer graph of a network, by the name that it has in a column."""
    if name == "resnet50_v1.5":
        return resnet50(stride_in_3x3=True)
    if name == "wide_resnet50_2":
        return resnet50(stride_in_3x3=True, width=2)
    if name == "squeezenet_1.0":
        return squeezenet_1_0()
    return NETS[name]() if name in NETS else mobile_net(name)


def by_family(rows: Sequence[Row]) -> dict[str, dict[str, float]]:
    """Mean and worst error of each of the mobile families among the rows."""
    found: dict[str, dict[str, float]] = {}
    for begin, title in FAMILIES.items():
        errors = [abs(row.ratio - 1) for row in rows if row.network.startswith(begin)]
        found[title] = {"mean_error": statistics.mean(errors), "worst_error": max(errors)}
    return found


def compare(column: Column, *, one_thread: bool = False) -> list[Row]:
    """Predicted against published times of a column."""
    board = load_board(column.board)
    if column.clock_hz is not None:
        board = msgspec.structs.replace(board, clock_hz=column.clock_hz)
    if one_thread:
        board = msgspec.structs.replace(board, cores=1)
    times = column.one_thread_ms if one_thread else column.times_ms
    rows: list[Row] = []
    for name, published in times.items():
        graph = with_half_fc(network(name)) if column.half_fc else network(name)
        rows.append(Row(name, published, predicted_ms(board, graph)))
    return rows


def compare_host(options: argparse.Namespace) -> dict[str, Any]:
    """Predicted against measured times of splitc's own code on this machine, printed."""
    others = Others()
    board = msgspec.structs.replace(load_board(options.host), cores=options.threads)
    names = QUICK if options.quick else NAMES
    rounds, batch_s = (1, 0.05) if options.quick else (9, 0.2)
    measured = measure(names, options.host, options.threads, rounds=rounds, batch_s=batch_s)
    title = (
        f"{options.host}: splitc's own code on this machine, {options.threads} thread(s), medians"
    )
    written = show_host(title, board, measured)
    if options.fit:
        fitted = fit(board, measured)
        print(f"\nfitted figures for {options.host}:\n{toml(fitted)}")
        written["fitted"] = show_host("with the fitted figures", fitted, measured)
        written["fitted"]["figures"] = msgspec.to_builtins(fitted)
    share, machine = others.share(), f"{common.machine()}, {x86_level() or 'no x86-64'}"
    print(f"\n  others took {share:.0%} of the processors meanwhile; above 10 %, run it again")
    print(f"  ran on: {machine}")
    return {"board": options.host, "machine": machine, "others_share": share, **written}


def show_host(title: str, board: Board, measured: Sequence[Measured]) -> dict[str, Any]:
    """Print whole networks, then every kind of layer over all of them; the figures."""
    guesses = [predicted_kinds(board, one) for one in measured]
    rows = [
        Row(one.name, one.ms, sum(guess.values()))
        for one, guess in zip(measured, guesses, strict=True)
    ]
    show(title, rows, measured="measured")
    times, guessed = sums([one.kind_ms for one in measured]), sums(guesses)
    reached, shares = implied(board, measured), msgspec.structs.asdict(board.efficiency)
    print("\n  all networks, by kind; a fused kernel counts under its heaviest layer's")
    print("  kind              ratio    measured    predicted   share reached  file's")
    kinds: dict[str, dict[str, float | None]] = {}
    for kind in sorted(guessed, key=lambda kind: -times.get(kind, 0.0)):
        ms, guess = times.get(kind, 0.0), guessed[kind]
        if not guess:
            continue
        ratio = f"{guess / ms:.2f}" if ms else "-"
        share = f"{reached[kind]:14.3f} {shares[kind]:7.3f}" if kind in reached else ""
        print(f"  {kind:<16} {ratio:>6} {ms:>8.2f} ms {guess:>9.2f} ms  {share}".rstrip())
        kinds[kind] = {"measured_ms": ms, "predicted_ms": guess, "reached": reached.get(kind)}
    between = sum(one.ms for one in measured) - sum(times.values())
    print(f"  {'between kernels':<16} {'-':>6} {between:>8.2f} ms")
    return {**summary(rows), "kinds": kinds, "between_ms": between}


def summary(rows: list[Row]) -> dict[str, Any]:
    """Errors of a table, and whether they keep within the bars."""
    errors = [abs(row.ratio - 1) for row in rows]
    mean, worst = statistics.mean(errors), max(errors)
    return {
        "rows": [{**dataclasses.asdict(row), "ratio": row.ratio} for row in rows],
        "mean_error": mean,
        "worst_error": worst,
        "within_bars": mean <= MEAN_BAR and worst <= WORST_BAR,
    }


def show(title: str, rows: list[Row], *, measured: str = "published") -> None:
    """Print one table."""
    print(f"\n{title}")
    print(f"  {'network':<26} {'ratio':>6} {measured:>13} {'predicted':>13}")
    for row in rows:
        print(
            f"  {row.network:<26} {row.ratio:>6.2f} {row.measured_ms:>10.1f} ms"
            f" {row.predicted_ms:>10.1f} ms"
        )
    found = summary(rows)
    print(
        f"  error: mean {found['mean_error']:.1%}, worst {found['worst_error']:.1%}"
        f" (bars {MEAN_BAR:.0%}, {WORST_BAR:.0%}:"
        f" {'kept' if found['within_bars'] else 'missed'})"
    )


def show_left_out() -> dict[str, float]:
    """Say what is not compared and why; the mean one-thread ratio of each fitted board."""
    print("\nLeft out: int8 rows and ViT (the board files' shares are of fp32 convolutional nets).")
    print(
        "Left out: ncnn on Raspberry Pi 5, Orange Pi 5, ROCK 5B, Jetson Orin (it computes in fp16)."
    )
    print("Left out: one-thread columns. The shares are of four threads, which share caches and")
    print("memory; a core alone reaches a larger share, which the cost model cannot say.")
    ratios: dict[str, float] = {}
    for column in COLUMNS:
        if column.one_thread_ms:
            rows = compare(column, one_thread=True)
            ratios[column.board] = statistics.geometric_mean(row.ratio for row in rows)
            print(
                f"  {column.board} with cores=1 predicts {ratios[column.board]:.2f}"
                " times the published one-thread time (geometric mean)"
            )
    return ratios


def arguments() -> argparse.Namespace:
    """The options."""
    made = common.parser(__doc__ or "")
    made.add_argument(
        "--host", nargs="?", const="host", choices=HOSTS, metavar="BOARD",
        help=f"measure here what splitc compiles: {', '.join(HOSTS)}",
    )  # fmt: skip
    made.add_argument("--threads", type=int, default=2, help="with --host: default 2")
    made.add_argument("--fit", action="store_true", help="with --host: fit the board file")
    options = made.parse_args()
    if options.fit and not options.host:
        made.error("--fit needs --host")
    return options


def main() -> None:
    """Run from the repository root."""
    options = arguments()
    written: dict[str, Any] = {"mean_bar": MEAN_BAR, "worst_bar": WORST_BAR, "columns": []}
    for column in COLUMNS:
        rows = compare(column)
        show(f"{column.board}: {column.source} ({column.role})", rows)
        families = by_family(rows) if column.of_family else {}
        for title, found in families.items():
            errors = f"mean {found['mean_error']:.1%}, worst {found['worst_error']:.1%}"
            print(f"  {title:<26} {errors}")
        about = {"board": column.board, "source": column.source, "role": column.role}
        written["columns"].append({**about, **summary(rows), "families": families})
    if options.host:
        written["host"] = compare_host(options)
    written["one_thread_ratio"] = show_left_out()
    if options.json:
        options.json.write_text(json.dumps(written, indent=2) + "\n", "utf-8")


if __name__ == "__main__":
    main()
