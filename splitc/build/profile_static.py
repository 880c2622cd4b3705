# SPDX-License-Identifier: Apache-2.0
"""A profile of a network on a board that is not here, from the code that is compiled for it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from splitc.build.backend import EMIT, Estimating, backend_for
from splitc.build.profile_reading import read_network
from splitc.cost.board import Board, load_board
from splitc.cost.profile import Profile
from splitc.errors import UsageError
from splitc.ir.model import Network
from splitc.version import __version__


def static_profile(
    model: Network | str | Path,
    *,
    target: Board | str = "rpi4",
    name: str | None = None,
    progress: Callable[[str], None] = lambda step: None,
) -> Profile:
    """What each layer takes on a board, told from the emitted code: see `Estimating`.

    Args:
        model: A loaded network, or what `splitc.load` takes.
        target: The board; all its cores compute.
        name: The network's name in the profile; by default the file's.
        progress: Called with each step's name as it begins.

    Raises:
        UsageError: Nothing can be told of such boards.
        ToolchainError: A program that it needs is not installed, or fails.
        SplitcError: The network cannot be read or compiled.
    """
    board = load_board(target)
    backend = backend_for(board, EMIT)
    if not isinstance(backend, Estimating):
        raise UsageError(f"'{EMIT}' cannot tell times from its code")
    backend.refuse_estimate(board)
    network, called = read_network(model, backend, name, progress)
    progress(f"compiling for {board.name}")
    code = backend.compile(backend.lower(network), board)
    found = backend.estimate(code, board, network, progress)
    tools = ", ".join(f"{tool} {release}" for tool, release in found.tools.items())
    by = f"calibrated by {found.calibrated}" if found.calibrated else "not calibrated"
    return Profile.of_kernels(
        network.graph, found.kernels, machine=f"{board.name}: its code under {tools}",
        network=called, figures="predicted",
        versions={"splitc": __version__, **found.tools},
        note=f"{by}: of each kernel the cycles and the way of its bytes; where the longer hides "
        f"all of the shorter they take {found.least_ms:.3f} ms",
    )  # fmt: skip
