# SPDX-License-Identifier: Apache-2.0
"""How much does one server carry, and what does it add to a frame?

A trivial tail, compiled for this machine, served by `splitc serve` to processes of devices on
loopback UDP, all on the same cores. Bars: 3,000 frames a second of a 4 kB boundary, whether from
1, 10 or 100 devices; at 500 frames a second of 65 kB nothing is lost; from the frame's last
packet handed over until its answer is whole, the tail's own time and 0.5 ms at the median, as
long as a device waits for each answer. `--key` seals everything.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, replace
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import numpy as np
from onnx import TensorProto, helper

import splitc
from common import ROOT, Others, checkout_env, finish, median, parser
from splitc.bundle.bundle import Bundle
from splitc.net.address import Address
from splitc.net.sockets import DatagramSocket
from splitc.runtime.part import load_part
from splitc.wire.boundary import Boundary
from splitc.wire.datagrams import Datagrams
from splitc.wire.handshake import Challenge, Hello, Refuse, Welcome
from splitc.wire.header import Kind, Transport, split_id
from splitc.wire.keys import session_keys
from splitc.wire.seal import Seal

MAIN = "from splitc.cli import main; main()"
PAYLOAD_BYTES = 1404
BARS = {"frames_per_s": 3000.0, "lost": 0.0, "added_ms": 0.5}
KEY = bytes(range(32))
LOST_S = 1.0
"""An answer that takes so long is lost."""


def network(path: Path, width: int) -> Path:
    """A network of which [1, width] crosses and the tail sums up eight numbers."""
    nodes = [
        helper.make_node("Relu", ["x"], ["crossing"], "head"),
        helper.make_node("Slice", ["crossing", "from", "to", "axis"], ["some"], "some"),
        helper.make_node("Relu", ["some"], ["y"], "tail"),
    ]
    numbers = {"from": [0], "to": [8], "axis": [1]}
    made = helper.make_graph(
        nodes,
        "trivial",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, width])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 8])],
        [helper.make_tensor(name, TensorProto.INT64, [1], v) for name, v in numbers.items()],
    )
    opset = [helper.make_opsetid("", 17)]
    proto = helper.make_model(made, opset_imports=opset, ir_version=8)
    path.write_bytes(proto.SerializeToString())
    return path


@dataclass(frozen=True)
class Work:
    """What a device does.

    Args:
        frames: How many it sends.
        in_flight: How many it sends before it waits for an answer.
        per_second: How many in a second; 0 for as many as are answered.
        key: What it shares with the server.
    """

    frames: int
    in_flight: int = 1
    per_second: float = 0.0
    key: bytes | None = None


class Device:
    """A device that sends the same values again and again: next to no head of its own."""

    def __init__(self, bundle: Bundle, address: Address, work: Work, number: int) -> None:
        self._work = work
        self._socket = DatagramSocket.connect(address)
        route = bundle.manifest.route
        split = split_id(bundle.manifest.split)
        hello = Hello(os.urandom(16), PAYLOAD_BYTES, Transport.UDP, 1_000_000, 3000, split=split)
        welcome = self._greet(hello)
        self._seal = self._open = None
        if work.key is not None:
            keys = session_keys(work.key, welcome.client_nonce, welcome.server_nonce)
            self._seal, self._open = Seal(keys.device), Seal(keys.server)
        boundary = Boundary(route.crosses, PAYLOAD_BYTES, welcome.order_seed, route.missing)
        rng = np.random.default_rng(number)
        arrays = [
            rng.standard_normal([n or 1 for n in spec.shape]).astype(spec.dtype)
            for spec in route.crosses
        ]
        self._packed = boundary.pack(arrays, session=welcome.session, split=split, frame=0)

    def _greet(self, hello: Hello) -> Welcome:
        asked = hello
        for _ in range(50):
            self._socket.send(Datagrams.packets([asked.write(self._work.key)]))
            arrived = self._socket.receive(0.2).datagrams
            for row in range(len(arrived)):
                packet = arrived.packet(row)
                if welcome := Welcome.read(packet):
                    return welcome
                if challenge := Challenge.read(packet):
                    asked = replace(hello, cookie=challenge.cookie)
                if refused := Refuse.read(packet):
                    raise SystemExit(f"refused: {refused.text}")
        raise SystemExit("no server")

    def run(self) -> tuple[list[float], int]:
        """Send the frames: milliseconds of each that was answered, and how many were not."""
        work = self._work
        sent: dict[int, float] = {}
        times: list[float] = []
        begin = time.perf_counter()
        number = lost = 0
        while number < work.frames or sent:
            now = time.perf_counter()
            while number < work.frames and len(sent) < work.in_flight:
                due = begin + number / work.per_second if work.per_second else now
                if due > now:
                    break
                packets = self._frame(number)
                self._socket.send(packets)
                sent[number] = time.perf_counter()
                number += 1
            wait = LOST_S
            if work.per_second and number < work.frames and len(sent) < work.in_flight:
                wait = max(0.0, begin + number / work.per_second - time.perf_counter())
            for frame, at in self._answers(wait):
                if frame in sent:
                    times.append((at - sent.pop(frame)) * 1e3)
            over = [n for n, at in sent.items() if time.perf_counter() - at > LOST_S]
            lost += len(over)
            for frame in over:
                del sent[frame]
        return times, lost

    def _frame(self, number: int) -> Datagrams:
        self._packed.headers["frame"] = number
        if self._seal is None:
            return self._packed
        copy = Datagrams(self._packed.block.copy(), self._packed.lengths)
        return self._seal.seal(copy)

    def _answers(self, wait: float) -> list[tuple[int, float]]:
        """Frames whose answers, of one packet each, came, and when they did."""
        arrived = self._socket.receive(wait).datagrams
        if not len(arrived):
            return []
        if self._open is not None:
            arrived, bad = self._open.open(arrived)
            assert not bad
        now = time.perf_counter()
        headers = arrived.headers
        kinds, frames = headers["kind"].tolist(), headers["frame"].tolist()
        return [(f, now) for k, f in zip(kinds, frames, strict=True) if k == Kind.ANSWER]


def _device(bundle: Bundle, address: Address, work: Work, number: int, pipe: Connection) -> None:
    """A process of a device: ready, told to go, done."""
    device = Device(bundle, address, work, number)
    pipe.send(None)
    pipe.recv()
    pipe.send(device.run())


class Serving:
    """`splitc serve` in a process of its own."""

    def __init__(self, bundle: Bundle, key: Path | None) -> None:
        command = ["serve", str(bundle.path), "--bind", "127.0.0.1:0", "--json", "--log-json"]
        command += ["--key", str(key)] if key is not None else []
        self._process = subprocess.Popen(
            [sys.executable, "-c", MAIN, *command], env=checkout_env(ROOT),
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip
        assert self._process.stderr is not None
        for line in self._process.stderr:
            event = json.loads(line)
            if event["event"] == "serving":
                self.address = Address.parse(event["address"])
                break
        else:
            raise SystemExit("the server did not start")

    def cpu_s(self) -> float:
        """Processor seconds that it has taken."""
        stat = Path(f"/proc/{self._process.pid}/stat").read_text("ascii")
        user, system = stat.rpartition(")")[2].split()[11:13]
        return (int(user) + int(system)) / os.sysconf("SC_CLK_TCK")

    def stop(self) -> dict[str, Any]:
        """What it counted."""
        self._process.send_signal(signal.SIGINT)
        out, _ = self._process.communicate(timeout=20)
        return json.loads(out)


@dataclass(frozen=True)
class Carried:
    """What a server carried.

    Args:
        devices: Of how many devices.
        frames_per_s: Frames that were answered in a second.
        lost: Frames that were not.
        p50_ms: From the last packet sent until the answer, half of them; and so on.
        cpu_us: Of a processor that the server took for a frame.
    """

    devices: int
    frames_per_s: float
    lost: int
    p50_ms: float
    p99_ms: float
    cpu_us: float


def crowd(bundle: Bundle, server: Serving, count: int, work: Work) -> Carried:
    """Devices, a process each, all at once."""
    context = multiprocessing.get_context("fork")
    pipes: list[Connection] = []
    processes: list[BaseProcess] = []
    for number in range(count):
        ours, theirs = context.Pipe()
        made = context.Process(target=_device, args=(bundle, server.address, work, number, theirs))
        made.start()
        pipes.append(ours)
        processes.append(made)
    for pipe in pipes:
        pipe.recv()
    start, before_s = time.perf_counter(), server.cpu_s()
    for pipe in pipes:
        pipe.send(None)
    found: list[tuple[list[float], int]] = [pipe.recv() for pipe in pipes]
    seconds, cpu_s = time.perf_counter() - start, server.cpu_s() - before_s
    for process in processes:
        process.join()
    times = sorted(one for each, _ in found for one in each)
    return Carried(
        count, len(times) / seconds, sum(lost for _, lost in found),
        median(times), times[int(len(times) * 0.99)], cpu_s / len(times) * 1e6,
    )  # fmt: skip


def tail_ms(bundle: Bundle, boundary: list[Any]) -> float:
    """What the tail takes by itself."""
    times: list[float] = []
    with load_part(bundle.path / "tail") as part:
        for _ in range(1000):
            start = time.perf_counter()
            part.run(boundary)
            times.append((time.perf_counter() - start) * 1e3)
    return median(times)


def told(name: str, value: float, text: str) -> str:
    """A figure with its bar."""
    bar = BARS[name]
    good = value >= bar if name == "frames_per_s" else value <= bar
    return f"{text} (bar {bar:g}: {'met' if good else 'MISSED'})"


def main() -> None:
    """Print and write the figures."""
    options = parser(__doc__ or "")
    options.add_argument("--key", action="store_true", help="seal everything")
    given = options.parse_args()
    figures: dict[str, Any] = {}
    others = Others()
    share = 0.2 if given.quick else 1.0
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        key = folder / "key" if given.key else None
        if key is not None:
            key.write_text(KEY.hex() + "\n", "ascii")
        secret = KEY if given.key else None
        for label, width in (("4 kB", 1024), ("65 kB", 16384)):
            model = network(folder / f"n{width}.onnx", width)
            bundle = splitc.compile(
                model, cut="head", head="host", output=folder / f"n{width}.splitc"
            )
            zeros = [np.zeros((1, width), np.float32)]
            alone_ms = tail_ms(bundle, zeros)
            server = Serving(bundle, key)
            found: dict[str, Any] = {"tail_ms": alone_ms}
            one = crowd(bundle, server, 1, Work(int(3000 * share), 1, key=secret))
            added = one.p50_ms - alone_ms
            print(f"{label}, one device that waits for each answer: p50 {one.p50_ms:.2f} ms, "
                  f"p99 {one.p99_ms:.2f} ms; tail {alone_ms:.3f} ms")  # fmt: skip
            print(told("added_ms", added, f"  server, network and device add {added:.2f} ms"))
            found["alone"] = vars(one)
            if width == 1024:
                for count in (1, 10, 100):
                    frames = int(20_000 * share) // count
                    got = crowd(bundle, server, count, Work(frames, 4, key=secret))
                    text = f"{label}, {count} devices: {got.frames_per_s:,.0f} frames/s"
                    print(told("frames_per_s", got.frames_per_s, text),
                          f"p50 {got.p50_ms:.1f} ms, {got.lost} lost, "
                          f"server {got.cpu_us:.0f} us a frame")  # fmt: skip
                    found[f"devices_{count}"] = vars(got)
            else:
                work = Work(int(5000 * share), 8, 500.0, key=secret)
                got = crowd(bundle, server, 1, work)
                text = f"{label} at 500 frames/s: {got.lost} of {work.frames} lost"
                print(
                    told("lost", got.lost, text),
                    f"p50 {got.p50_ms:.2f} ms, server {got.cpu_us:.0f} us a frame",
                )
                found["steady"] = vars(got)
            counted = server.stop()
            stages = {name: one["p50_ms"] for name, one in counted["stages"].items()}
            print(f"  half within, in ms: {stages}; lost in the kernel: "
                  f"{counted['dropped_by_kernel']}")  # fmt: skip
            figures[label] = {**found, "server": counted}
    print(f"others took {others.share():.0%} of the machine")
    finish(figures, given.json)


if __name__ == "__main__":
    main()
