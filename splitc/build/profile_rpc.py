# SPDX-License-Identifier: Apache-2.0
"""A profile of a network measured on a board elsewhere, as its compiled code computes it there."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np

from splitc.build.backend import EMIT, RemoteTiming, backend_for
from splitc.build.profile_reading import read_network
from splitc.cost.board import Board, load_board
from splitc.cost.profile import KernelTime, Profile
from splitc.errors import UsageError
from splitc.ir.model import Network
from splitc.version import __version__


def rpc_profile(
    model: Network | str | Path,
    address: str,
    *,
    target: Board | str = "rpi4",
    seconds: float = 10.0,
    threads: int | None = None,
    name: str | None = None,
    progress: Callable[[str], None] = lambda step: None,
) -> Profile:
    """Measure every layer of a network on a board that runs TVM's RPC server.

    The network is run there over and over, in code that reads a clock behind every kernel; of a
    kernel's times the median counts.

    Args:
        model: A loaded network, or what `splitc.load` takes.
        address: HOST:PORT of the server, or HOST:PORT,KEY of a tracker that knows it.
        target: What the board is.
        seconds: How long it is run there, about.
        threads: How many it may use; by default one a core.
        name: The network's name in the profile; by default the file's.
        progress: Called with each step's name as it begins.

    Raises:
        UsageError: It is no address, or no time.
        DeviceError: No board answers there, it goes away, or it does not run the target's code.
        SplitcError: The network cannot be read or compiled.
    """
    if not 0 < seconds <= _LONGEST_S:
        why = f"more than none, and no more than {_LONGEST_S:g}"
        raise UsageError(f"cannot measure for {seconds:g} seconds", why=why)
    board = load_board(target)
    backend = backend_for(board, EMIT)
    if not isinstance(backend, RemoteTiming):
        raise UsageError(f"code of '{EMIT}' cannot be timed on a board elsewhere")
    progress(f"asking {address}")
    backend.refuse_remote(address)
    network, called = read_network(model, backend, name, progress)
    progress(f"compiling for {board.name}")
    code, calls = backend.compile_timed(backend.lower(network), board)
    used = threads or board.cores
    progress(f"measuring at {address} for {seconds:g} s")
    found = backend.time_at(address, code, board, network, seconds=seconds, threads=used) * 1e3
    low, medians, high = np.percentile(found, (25, 50, 75), axis=0)
    kernels = [
        KernelTime(name=call.name, layers=call.layers, ms=ms, spread_ms=spread)
        for call, ms, spread in zip(calls, medians.tolist(), (high - low).tolist(), strict=True)
    ]
    plural = "" if used == 1 else "s"
    return Profile.of_kernels(
        network.graph, kernels, machine=f"{board.name} at {address}, {used} thread{plural}",
        network=called, versions={"splitc": __version__},
        note=f"code for {board.name}, by TVM's RPC: its loops run in TVM's threads; "
        f"medians of {len(found)} runs",
    )  # fmt: skip


_LONGEST_S = 3600.0
