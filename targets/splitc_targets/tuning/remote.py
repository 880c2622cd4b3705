# SPDX-License-Identifier: Apache-2.0
# pyright: basic, reportAttributeAccessIssue=false, reportArgumentType=false
"""Runs a network's timed code on a board by TVM's RPC, in a process that can be given up.

The board needs apache-tvm and nothing of splitc's: its threads are TVM's, as many as are asked for.
"""

from __future__ import annotations

import gc
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import tvm
from tvm import rpc
from tvm.support.popen_pool import PopenWorker

from splitc.arrays import Array
from splitc.cost.board import Board
from splitc.errors import DeviceError
from splitc.scratch import scratch
from splitc_targets.link.toolchain import link_shared
from splitc_targets.pipeline import Code, Signature
from splitc_targets.tuning.measure import Address
from splitc_targets.tvm import adapter, writer

_WARM_UP = 2
_LEAST_RUNS, _MOST_RUNS = 5, 1000
_SLOWEST_BPS = 8e6
"""Of a link that code and weights are sent over: what is slower is given up."""
_PATIENCE_S = 60.0
"""For starting a process, connecting, and runs that take longer than was asked for."""


@dataclass(frozen=True)
class _Job:
    """What a process of its own does: one session with a board.

    Args:
        address: The board's.
        library: Path of the code.
        files: Paths of the arrays that are sent: inputs, then constants.
        rooms: Shapes and element types of memory that code writes before it reads it: results,
            packed constants, room for tensors.
        prepares: Whether it makes something of its constants first.
        threads: How many it may use.
        seconds: How long it is run, about.
        limit_s: After which the board ends the session.
    """

    address: Address
    library: str
    files: tuple[str, ...]
    rooms: tuple[Signature, ...]
    prepares: bool
    threads: int
    seconds: float
    limit_s: int

    def __call__(self) -> list[list[float]] | str:
        """The seconds of each call in each run, or why there are none.

        The session is over then: a server whose session breaks off takes no other.
        """
        try:
            return self._times()
        except adapter.FAILURES as error:
            why = " ".join(str(error).split())[-200:]
        gc.collect()
        return why

    def _times(self) -> list[list[float]]:
        session = self._session()
        name = Path(self.library).name
        session.upload(self.library, name)
        try:
            return self._run(session, session.load_module(name), session.cpu())
        finally:
            session.remove(name)

    def _session(self) -> Any:
        host, port, key = self.address.host, self.address.port, self.address.key
        if not key:
            return rpc.connect(host, port, session_timeout=self.limit_s)
        tracker = rpc.connect_tracker(host, port)
        return tracker.request(key, session_timeout=self.limit_s)

    def _run(self, session: Any, module: Any, device: Any) -> list[list[float]]:
        session.get_function("runtime.config_threadpool")(1, self.threads)
        *inputs, weights = (tvm.runtime.tensor(np.load(f), device=device) for f in self.files)
        rooms = [tvm.runtime.empty(shape, dtype, device) for shape, dtype in self.rooms]
        *outputs, packed, arena = rooms
        if self.prepares:
            module[writer.PREPARE](weights, packed)
        main, found = module[writer.MAIN], list[list[float]]()
        start = time.perf_counter()
        for run in range(_WARM_UP + _MOST_RUNS):
            main(*inputs, *outputs, weights, packed, arena)
            if run >= _WARM_UP:
                clock = outputs[-1].numpy() @ np.array((10**9, 1))
                found.append((np.diff(clock) / 1e9).tolist())
            if len(found) >= _LEAST_RUNS and time.perf_counter() - start > self.seconds:
                break
        return found


def times_at(
    address: Address, code: Code, board: Board, inputs: Sequence[Array],
    *, seconds: float, threads: int,
) -> Array:  # fmt: skip
    """Seconds of every call in every run on a board, [runs, calls].

    Args:
        address: The board's.
        code: Timed, for the board.
        board: What it is.
        inputs: In the network's order.
        seconds: How long it is run, about.
        threads: How many it may use.

    Raises:
        DeviceError: The board is gone, or does not run the code.
        ToolchainError: The code cannot be linked.
    """
    with scratch() as folder:
        # The server keeps it under its name: another client's has another.
        path = folder / f"{folder.name.removeprefix('.')}.so"
        adapter.export(code.library, path, lambda out, objects: link_shared(board, out, objects))
        arrays = [*inputs, code.weights.array()]
        files = tuple(str(folder / f"{k}.npy") for k in range(len(arrays)))
        for file, array in zip(files, arrays, strict=True):
            np.save(file, array)
        sent = path.stat().st_size + sum(array.nbytes for array in arrays)
        job = _Job(
            address, str(path), files,
            (*code.outputs, _bytes(code.packed_bytes), _bytes(code.activation_bytes)),
            bool(code.packed_bytes), threads, seconds,
            limit_s=round(seconds + _PATIENCE_S + 8 * sent / _SLOWEST_BPS),
        )  # fmt: skip
        return np.array(_in_a_process(job))


def _in_a_process(job: _Job) -> list[list[float]]:
    """What a job gives; its process, and with it the session, ends whatever comes.

    Raises:
        DeviceError: The board is gone, or does not run the code.
    """
    worker = PopenWorker()
    try:
        worker.send(job, timeout=job.limit_s)
        found = worker.recv()
    except TimeoutError:
        found = f"nothing came within {job.limit_s} s"
    except OSError as error:
        found = str(error)
    finally:
        worker.kill()
    if isinstance(found, str):
        hint = "does it run code for this board? Start its server again"
        raise DeviceError("the board gives no times", at=str(job.address), why=found, hint=hint)
    return found


def _bytes(size: int) -> Signature:
    """Memory of the caller's, as compiled functions take it: at least one byte."""
    return (max(1, size),), "uint8"
