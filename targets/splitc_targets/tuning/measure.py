# SPDX-License-Identifier: Apache-2.0
# pyright: basic, reportAttributeAccessIssue=false, reportArgumentType=false
"""Times kernels with MetaSchedule's runners: in a process of its own here, or on a board by RPC.

All choices of a kernel are functions of one library, timed in turns. Before each call all
arguments but the first are flushed from the caches, as a network's other layers would have:
the input was just written, weights have to come from memory.

MetaSchedule's `LocalBuilder` is not used: it hands functions to its processes as JSON, and writing
any tensor IR as JSON ends the process in apache-tvm 0.27.0.post1.
"""

from __future__ import annotations

import functools
import importlib.util
import itertools
import os
import socket
import struct
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import tvm
from tvm import rpc
from tvm.s_tir import meta_schedule as ms

from splitc.cost.board import Board
from splitc.errors import DeviceError, ToolchainError, UsageError
from splitc.scratch import scratch
from splitc_targets.link.toolchain import link_shared
from splitc_targets.loops import tir_pipeline
from splitc_targets.tvm import adapter


class Runner(Protocol):
    """What of MetaSchedule's runners is used."""

    f_run_evaluator: Any

    def run(self, runner_inputs: list[Any]) -> list[Any]:
        """Time libraries."""
        ...


@dataclass(frozen=True)
class Address:
    """A board that runs `python -m tvm.exec.rpc_server`, or a tracker that knows one by a key."""

    host: str
    port: int
    key: str = ""

    @staticmethod
    def parse(text: str) -> Address:
        """`HOST:PORT` of a server, `HOST:PORT,KEY` of a tracker.

        Raises:
            UsageError: It is neither.
        """
        place, _, key = text.partition(",")
        host, _, port = place.rpartition(":")
        if not host or not port.isdecimal() or not 0 < int(port) < 65536:
            hint = "write it like 192.168.1.20:9090, or with a tracker's key behind a comma"
            raise UsageError(f"'{text}' is no address of a board", hint=hint)
        return Address(host.strip("[]"), int(port), key)

    def __str__(self) -> str:
        return f"{self.host}:{self.port}" + (f",{self.key}" if self.key else "")


def connect(config: Any) -> Any:
    """A session with a server that no tracker stands before."""
    host, port = config.tracker_host, config.tracker_port
    return rpc.connect(host, port, session_timeout=config.session_timeout_sec)


def refuse(rpc: str) -> None:
    """Raise where nothing can be measured: at an address, or here where there is none.

    Raises:
        UsageError: It is no address.
        ToolchainError: A package that TVM's runners need is missing.
        DeviceError: Nothing answers there.
    """
    for package in ("cloudpickle", "psutil"):
        if importlib.util.find_spec(package) is None:
            raise ToolchainError(f"{package} is missing", hint="pip install 'splitc[tune]'")
    if rpc:
        check(Address.parse(rpc))


def check(address: Address) -> None:
    """Raise where no board answers.

    Raises:
        DeviceError: Nothing answers there, or nothing that speaks TVM's RPC.
    """
    try:
        # TVM tries again for a minute where nothing listens, and waits for ever where a server
        # is busy with somebody else.
        if address.key:
            socket.create_connection((address.host, address.port), _CONNECT_S).close()
            _config(address).count_num_servers(allow_missing=False)
        else:
            _greet(address)
    except (RuntimeError, OSError, ValueError) as error:
        tracker = f"--tracker {address.host}:{address.port} --key {address.key}"
        where = tracker if address.key else f"--port {address.port}"
        raise DeviceError(
            "no board answers",
            at=str(address),
            why=" ".join(str(error).split())[:200],
            hint=f"on the board: pip install 'apache-tvm[rpc]=={adapter.version()}', then "
            f"python -m tvm.exec.rpc_server {where}",
        ) from error


def _greet(address: Address) -> None:
    """The handshake of TVM's RPC and good-bye: a server whose session just breaks off is dead.

    Raises:
        OSError: Nothing answers within `_CONNECT_S`.
        ValueError: What answers is no server that takes us.
    """
    key = b"client: -timeout=%d" % _CONNECT_S
    with socket.create_connection((address.host, address.port), _CONNECT_S) as link:
        link.sendall(struct.pack("<ii", rpc.base.RPC_MAGIC, len(key)) + key)
        try:
            answer = link.recv(4, socket.MSG_WAITALL)
        except TimeoutError as error:
            raise TimeoutError(
                "it is busy with another session, ended with the last, or no RPC server"
            ) from error
        link.sendall(_GOOD_BYE)
    if answer != struct.pack("<i", rpc.base.RPC_CODE_SUCCESS):
        raise ValueError("what answers is no RPC server of TVM's, or has a key")


_GOOD_BYE = struct.pack("<Qi", 4, 1)
"""A packet's length, and the code of a shutdown in it (src/runtime/rpc/rpc_protocol.h)."""


def runner_here(cores: int) -> Runner:
    """Times on this machine, with as many threads as a bundle's runner would take."""
    import psutil

    threads = min(cores, psutil.cpu_count(logical=False) or cores)
    return ms.runner.LocalRunner(
        timeout_sec=_TIMEOUT_S, initializer=functools.partial(_set_threads, threads)
    )


def runner_at(address: Address) -> Runner:
    """Times on a board."""
    session = None if address.key else connect
    return ms.runner.RPCRunner(rpc_config=_config(address), f_create_session=session)


def _config(address: Address) -> Any:
    return ms.runner.RPCConfig(
        tracker_host=address.host, tracker_port=address.port, tracker_key=address.key or "none",
        session_timeout_sec=_TIMEOUT_S,
    )  # fmt: skip


def _set_threads(count: int) -> None:
    os.environ["TVM_NUM_THREADS"] = str(count)


@dataclass(frozen=True)
class Turns:
    """Times the functions of a library in turns: what a runner calls in its own process.

    Args:
        calls: For each function, its arguments' positions among all.
        seconds: How long it may take in all, about.
    """

    calls: tuple[tuple[int, ...], ...]
    seconds: float

    def __call__(self, *given: Any) -> list[float]:
        """The seconds of every function in the first turn, in the second, …"""
        module, device, _, (arguments,) = given[-4:]
        timers = [
            module.time_evaluator(
                f"c{number}", device, number=1, repeat=1,
                f_preproc="cache_flush_cpu_non_first_arg",
            )
            for number in range(len(self.calls))
        ]  # fmt: skip
        start, found = time.perf_counter(), list[float]()
        for turn in itertools.count(1):
            for timer, positions in zip(timers, self.calls, strict=True):
                found.append(float(timer(*[arguments[p] for p in positions]).results[0]))
            spent = time.perf_counter() - start
            if turn >= _MOST_TURNS or (turn >= _LEAST_TURNS and spent > self.seconds):
                return found
        raise AssertionError


def measure(
    functions: Sequence[Any], board: Board, runner: Runner, seconds: float
) -> list[float] | str:
    """Seconds of each function, named c0, c1, …, or why there are none.

    Of a function's turns the lower quartile counts: what else a machine does only ever adds time.
    """
    pool: list[Any] = []
    calls = tuple(_positions(function, pool) for function in functions)
    with scratch() as folder:
        path = folder / f"{folder.name.removeprefix('.')}.so"
        module = tvm.IRModule({f"c{n}": function for n, function in enumerate(functions)})
        target = adapter.target_of(board)
        with adapter.building(target):
            built = tvm.tirx.build(module, target=target, pipeline=tir_pipeline.NAME)
        adapter.export(built, path, lambda out, objects: link_shared(board, out, objects))
        runner.f_run_evaluator = Turns(calls, seconds)
        (future,) = runner.run([ms.runner.RunnerInput(str(path), "cpu", pool)])
        result = future.result()
    if result.error_msg is not None:
        return " ".join(str(result.error_msg).split())[-300:]
    times = [float(second) for second in result.run_secs]
    turns = [sorted(times[n :: len(calls)]) for n in range(len(calls))]
    return [each[len(each) // 4] for each in turns]


def _positions(function: Any, pool: list[Any]) -> tuple[int, ...]:
    """Where a function's arguments lie among all; functions share those of the same size."""
    taken: Counter[str] = Counter()
    positions: list[int] = []
    for info in ms.arg_info.ArgInfo.from_prim_func(function):
        text = str(info.as_json())
        same = [p for p, other in enumerate(pool) if str(other.as_json()) == text]
        if taken[text] == len(same):
            same.append(len(pool))
            pool.append(info)
        positions.append(same[taken[text]])
        taken[text] += 1
    return tuple(positions)


_TIMEOUT_S = 60
"""After which a kernel's measurement is given up."""

_CONNECT_S = 5
"""After which a board is taken not to be there."""

_LEAST_TURNS, _MOST_TURNS = 5, 61
"""Times that each choice is measured."""
