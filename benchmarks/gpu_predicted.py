# SPDX-License-Identifier: Apache-2.0
"""How long are networks predicted to take on GPUs? Nothing is measured.

    python benchmarks/gpu_predicted.py [--networks NAME,…] [--boards NAME,…]

The networks of gpu_vs_peers.py, one sample at a time, by the cost model that cuts are chosen by:
each layer's arithmetic at the part of the peak that its board file gives to it, or its bytes over
the memory's bandwidth, and the start of its kernel. Printed as a table for docs/gpu.md: the
milliseconds in float32, tf32 and float16, a dash where a board has no such tensor cores.
"""

from __future__ import annotations

from gpu_sides import FLOAT32, PRECISIONS
from gpu_vs_peers import NETWORKS, network

import splitc
from common import finish, parser, some_of
from splitc.cost.board import Board, Gpu, load_board
from splitc.cost.precision import at_precision
from splitc.cost.prices import BoardCost
from splitc.cost.topology import SERVER
from splitc.ir.graph import LayerGraph

BOARDS = ("cuda-sm75", "cuda-sm80", "cuda-sm86", "cuda-sm89", "cuda-sm90", "jetson-orin")


def predicted(graph: LayerGraph, board: Board) -> dict[str, float]:
    """Milliseconds of all of a network's layers, by precision."""
    assert isinstance(board.unit, Gpu)
    has = [each for each in PRECISIONS if each == FLOAT32 or each in board.unit.tensor]
    there = {each: at_precision({SERVER: board}, each)[SERVER] for each in has}
    return {each: 1e3 * sum(BoardCost(at).seconds(graph)) for each, at in there.items()}


def main() -> None:
    """Print the table."""
    made = parser(__doc__ or "")
    made.add_argument("--networks", type=some_of(NETWORKS), default=[*NETWORKS], metavar="NAME,…")
    made.add_argument("--boards", type=some_of(BOARDS), default=[*BOARDS], metavar="NAME,…")
    options = made.parse_args()
    boards = [load_board(name) for name in options.boards]
    print(f"| ms | {' | '.join(f'`{board.name}`' for board in boards)} |")
    print("|---" * (1 + len(boards)) + "|")
    found: dict[str, dict[str, dict[str, float]]] = {}
    for name in options.networks:
        graph = splitc.load(network(name)).graph
        found[name] = {board.name: predicted(graph, board) for board in boards}
        cells = [_cell(times) for times in found[name].values()]
        print(f"| {name} | {' | '.join(cells)} |", flush=True)
    finish({"predicted_ms": found}, options.json)


def _cell(times: dict[str, float]) -> str:
    return " / ".join(f"{times[each]:.2f}" if each in times else "-" for each in PRECISIONS)


if __name__ == "__main__":
    main()
