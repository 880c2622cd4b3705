# SPDX-License-Identifier: Apache-2.0
"""A server: the service between sockets, a clock and threads."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from queue import SimpleQueue
from typing import Self

from splitc.errors import DeviceError, SplitcError, UsageError, one_line
from splitc.net.address import Address
from splitc.net.sockets import DATAGRAM_BYTES, DatagramSocket
from splitc.net.stream import StreamListener, StreamSocket
from splitc.serve.connections import Connections
from splitc.serve.door import Door
from splitc.serve.journal import Journal, silent
from splitc.serve.keep import Keep
from splitc.serve.limits import Limits
from splitc.serve.measures import Measures, Now
from splitc.serve.metrics import Collector, MetricsPage
from splitc.serve.peer import Outgoing, Place
from splitc.serve.refusals import Refusals
from splitc.serve.runner import LoadedParts, OpenRunner
from splitc.serve.service import Service
from splitc.serve.tails import load_bundles
from splitc.serve.work import Batch
from splitc.wire.header import HEADER_BYTES, TAG_BYTES

_TURN_S = 0.001
"""How long quick tails may run before what came meanwhile is read."""
_SEND_S = 0.05
"""How long to wait for room in the kernel's buffer for what is sent."""


class Server:
    """Serves the tails of bundles, from threads of its own, until it is stopped.

        with Server(["resnet50.splitc"], bind="127.0.0.1:0") as server:
            print(server.address)

    Datagrams and connections are taken on the same port. One thread reads datagrams, one
    connections; what they read goes through the service, and tails run in the workers, or in
    the reader where they are quick.

    Args:
        bundles: Folders of bundles.
        bind: Address to listen on; port 0 is any that is free.
        key: What the devices have to know, 32 bytes; None where nothing is sealed.
        limits: What it grants and may hold.
        workers: Tails that run at once.
        packet_bytes: The longest packet that is taken, without the headers of IP and UDP.
        metrics: Where the page for Prometheus is; None for nowhere.
        journal: Where it writes what happened.
        open_runner: Makes what runs the tails of a bundle; by default, this process does.
        keep: Takes the results of each frame, before the device is answered; None for nobody.

    Raises:
        UsageError: An argument makes no sense, or a bundle is not there.
        BadBundleError: A bundle is not what its manifest says.
        ToolchainError: A tail cannot run on this machine, or a package is missing.
        DeviceError: The port is in use, or no address of this machine.
    """

    def __init__(
        self,
        bundles: Sequence[str | Path],
        *,
        bind: str | Address = "127.0.0.1:0",
        key: bytes | None = None,
        limits: Limits | None = None,
        workers: int = 1,
        packet_bytes: int = DATAGRAM_BYTES,
        metrics: str | Address | None = None,
        journal: Journal = silent,
        open_runner: OpenRunner = LoadedParts,
        keep: Keep | None = None,
    ) -> None:
        if workers < 1:
            raise UsageError(f"workers {workers} is not above 0")
        where = Address.parse(bind) if isinstance(bind, str) else bind
        self._stack = ExitStack()
        with self._stack:
            self.bundles = load_bundles(bundles, self._stack, open_runner)
            for one in self.bundles.values():
                for tail in one.tails.values():
                    tail.measure()
            self.measures = Measures()
            self._limits = limits or Limits()
            refusals = Refusals(self._limits.refusals_per_s, self.measures, journal)
            door = Door(
                self.bundles, self._limits, refusals, key=key,
                payload_bytes=packet_bytes - HEADER_BYTES - TAG_BYTES,
            )  # fmt: skip
            self._service = Service(door, refusals, self._limits, self.measures, journal)
            self._datagrams, listener = _listen(where, packet_bytes)
            self._stack.enter_context(self._datagrams)
            self._connections = Connections(listener, 2 * self._limits.peers, packet_bytes)
            self._stack.callback(self._connections.close)
            self.address = self._datagrams.address
            self.metrics = self._page(metrics)
            self._stack = self._stack.pop_all()
        self._workers = workers
        self._keep = keep
        self._lock = threading.Lock()
        self._idle = 0
        self._work: SimpleQueue[bool] = SimpleQueue()
        self._reads_until = 0.0
        self._over = threading.Event()
        self._pool: ThreadPoolExecutor | None = None
        self._threads: list[Future[None]] = []

    def _page(self, where: str | Address | None) -> Address | None:
        if where is None:
            return None
        at = Address.parse(where) if isinstance(where, str) else where
        page = MetricsPage(at, Collector(self.measures, lambda: self.now, lambda: self.unused))
        self._stack.callback(page.close)
        return page.address

    @property
    def now(self) -> Now:
        """What it holds at this moment."""
        with self._lock:
            return self._service.now

    @property
    def unused(self) -> dict[str, int]:
        """Packets that came and were not used, by the reason."""
        with self._lock:
            return dict(self._service.dropped)

    @property
    def warning(self) -> str:
        """What the machine should be set to so that bursts are not lost; empty where it is."""
        return self._datagrams.buffers.warning

    @property
    def dropped_by_kernel(self) -> int:
        """Datagrams that were lost, since the kernel's buffer was full."""
        return self._datagrams.dropped

    def start(self) -> None:
        """Begin to serve."""
        self._pool = ThreadPoolExecutor(self._workers + 2, "splitc-serve")
        loops: list[Callable[[], None]] = [self._read_datagrams, self._read_streams]
        for loop in (*loops, *[self._work_on] * self._workers):
            thread = self._pool.submit(loop)
            thread.add_done_callback(lambda _: self._over.set())
            self._threads.append(thread)

    @property
    def broken(self) -> bool:
        """Whether a fault has ended it; `stop` raises it."""
        return self._over.is_set()

    def stop(self, within_s: float = 5.0) -> None:
        """Answer the frames that are there, say goodbye to the peers, and end the threads.

        A second time does nothing.

        Args:
            within_s: The longest that frames are waited for.

        Raises:
            Exception: What ended a thread before its time.
        """
        pool, self._pool = self._pool, None
        if pool is None:
            return
        with self._lock:
            self._service.stop()
        until = time.monotonic() + within_s
        while not self._over.is_set() and time.monotonic() < until:
            with self._lock:
                if self._service.finished:
                    break
            self._over.wait(0.002)
        with self._lock:
            out = self._service.goodbye()
        self._send(out)
        self._over.set()
        self._datagrams.wake()
        self._connections.wake()
        for _ in range(self._workers):
            self._work.put(False)
        pool.shutdown()
        for thread in self._threads:
            thread.result()

    def close(self) -> None:
        """Stop, and let go of sockets and bundles. A second time does nothing."""
        try:
            self.stop()
        finally:
            self._stack.close()

    def __enter__(self) -> Self:
        """The server, serving."""
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Close it."""
        self.close()

    # One thread each.

    def _read_datagrams(self) -> None:
        while not self._over.is_set():
            arrived = self._datagrams.receive(self._patience())
            now = time.monotonic()
            with self._lock:
                out: list[Outgoing] = []
                if len(arrived.datagrams):
                    out = self._service.receive(arrived.datagrams, arrived.peers, now)
                out += self._service.due(now)
                self._wake_workers()
            self._send(out)
            self._run_quick(now + _TURN_S)

    def _patience(self) -> float | None:
        """How long to wait for datagrams: not at all where there is something to run."""
        with self._lock:
            if self._service.work.waiting(quick=True):
                return 0.0
            due = self._service.next_due()
            self._reads_until = float("inf") if due is None else due
        return None if due is None else max(0.0, due - time.monotonic())

    def _wake_workers(self) -> None:
        for _ in range(min(self._idle, self._service.work.waiting(quick=False))):
            self._idle -= 1
            self._work.put(True)

    def _work_on(self) -> None:
        while True:
            with self._lock:
                batch = self._service.work.take(time.monotonic(), quick=False)
                self._idle += batch is None
            if batch is not None:
                self._run(batch)
            elif not self._work.get():
                return

    def _read_streams(self) -> None:
        while not self._over.is_set():
            for stream in self._connections.ready():
                self._read_stream(stream)
            for stream in self._connections.over(self._serves):
                with self._lock:
                    self._service.lost(Place(stream.peer, stream))

    def _serves(self, stream: StreamSocket) -> bool:
        with self._lock:
            return self._service.serves(Place(stream.peer, stream))

    def _read_stream(self, stream: StreamSocket) -> None:
        arrived = stream.receive(0)
        now = time.monotonic()
        with self._lock:
            out: list[Outgoing] = []
            if len(arrived.datagrams):
                out = self._service.receive(arrived.datagrams, arrived.peers, now, stream)
            self._wake_workers()
            due = self._service.next_due()
            wake = due is not None and due < self._reads_until
        if wake:
            self._datagrams.wake()
        self._send(out)
        self._run_quick()

    # All threads.

    def _run_quick(self, until: float = float("inf")) -> None:
        """Run the quick tails of frames that wait; of those that wait after some time none."""
        while (now := time.monotonic()) < until:
            with self._lock:
                batch = self._service.work.take(now, quick=True)
            if batch is None:
                return
            self._run(batch)

    def _run(self, batch: Batch) -> None:
        """Run a tail and answer."""
        try:
            results = batch.tail.run(batch.inputs)
            if keep := self._keep:
                for one in batch.kept(results):
                    keep(one)
            why = ""
        except (SplitcError, MemoryError) as error:
            results, why = [], one_line(error) or type(error).__name__
        with self._lock:
            now = time.monotonic()
            out = (
                self._service.work.failed(batch, why, now)
                if why
                else self._service.work.done(batch, results, now)
            )
        self._send(out, now)

    def _send(self, out: Sequence[Outgoing], ran_s: float | None = None) -> None:
        """Hand packets to the network.

        Args:
            out: The packets.
            ran_s: When the tail was done that they answer, if they do.
        """
        for packets, place in out:
            if isinstance(place.stream, StreamSocket):
                place.stream.send(packets, timeout_s=0)
                if place.stream.wants_write or place.stream.closed:
                    self._connections.wake()
            else:
                self._datagrams.send(packets, place.address, timeout_s=_SEND_S)
        with self._lock:
            self.measures.packets_sent += sum(len(packets) for packets, _ in out)
            if ran_s is not None:
                self.measures.stages["answer"].add(time.monotonic() - ran_s)


def _listen(
    where: Address, packet_bytes: int, tries: int = 20
) -> tuple[DatagramSocket, StreamListener]:
    """Sockets for datagrams and for connections on one port.

    Raises:
        DeviceError: One of them is in use.
    """
    datagrams = DatagramSocket.bind(where, datagram_bytes=packet_bytes)
    try:
        listener = StreamListener(datagrams.address)
    except DeviceError:
        datagrams.close()
        # On a port that was free for datagrams, connections may be somebody else's.
        if where.port or tries == 1:
            raise
        return _listen(where, packet_bytes, tries - 1)
    return datagrams, listener
