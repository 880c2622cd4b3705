# SPDX-License-Identifier: Apache-2.0
# pyright: reportMissingImports=false, reportUnknownMemberType=false
# pyright: reportUnknownVariableType=false, reportUnknownArgumentType=false
"""Tails on as many machines as a Ray cluster has, behind one address for all devices.

    python examples/ray_serve_tail.py                  # shows it on this machine
    python examples/ray_serve_tail.py resnet50.splitc --replicas 8 --bind 0.0.0.0:4353

This process holds the sockets, the sessions and the deadlines. The frames that it has put
together go to replicas of the tail, each with the part loaded, several frames at once where the
bundle was compiled for it (`--batch`). On a cluster (`RAY_ADDRESS`) the bundle's folder has to be
at the same path on every machine. Needs `pip install 'splitc[ray]'`.
"""

from __future__ import annotations

import argparse
import signal
import sys
import tempfile
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from pathlib import Path
from threading import Event
from typing import Any

import numpy as np
import ray
from ray import serve
from ray.exceptions import RayError
from ray.serve.exceptions import RayServeException
from torch import manual_seed, nn, zeros

import splitc
from splitc.arrays import Array
from splitc.bundle.bundle import Bundle
from splitc.errors import DeviceError, SplitcError, one_line
from splitc.send import Device
from splitc.serve import Server
from splitc.serve.tails import Served
from splitc.wire.key_file import read_key

PATIENCE_S = 10.0
"""How long a replica may take for a batch, the wait for a free one included."""


class Replica:
    """The tails of a bundle, loaded in a process of Ray's.

    Args:
        path: The bundle's folder.
    """

    def __init__(self, path: str) -> None:
        self.served = Served(path)
        for tail in self.served.tails.values():
            tail.measure()  # so that the first frame finds it warm

    def __call__(
        self, route: int, frames: Sequence[Sequence[Array]]
    ) -> tuple[str, list[list[Array]]]:
        """Run frames; who did, and their results."""
        name = serve.get_replica_context().replica_id.unique_id
        return name, self.served.tails[route].run(frames)


class Replicas:
    """Runs a bundle's tails on replicas: a `splitc.serve.runner.Runner`.

    Args:
        bundle: The bundle.
        count: How many replicas.
    """

    is_here = False

    def __init__(self, bundle: Bundle, count: int) -> None:
        self.calls: Counter[str] = Counter()
        self._name = f"{bundle.manifest.name}-{bundle.manifest.split[:8]}"
        # What runs in batches runs one batch at a time: a second waits where one may get free.
        deployed: Any = serve.deployment(Replica)
        made = deployed.options(num_replicas=count, max_ongoing_requests=1)
        self._handle = serve.run(
            made.bind(str(bundle.path.resolve())), name=self._name, route_prefix=None
        )

    def run(self, route: int, frames: Sequence[Sequence[Array]]) -> list[list[Array]]:
        """Run frames on a replica that is free.

        Raises:
            DeviceError: It failed, or none was free in time.
        """
        asked = self._handle.remote(route, frames)
        try:
            who, results = asked.result(timeout_s=PATIENCE_S)
        except (SplitcError, RayError, RayServeException, TimeoutError) as error:
            raise DeviceError("a replica of the tail failed", why=one_line(error)) from error
        self.calls[who] += 1
        return results

    def close(self) -> None:
        """Let the replicas go."""
        serve.delete(self._name)


def start_here(cpus: int) -> None:
    """A small Ray on this machine."""
    ray.init(
        "local", num_cpus=cpus, object_store_memory=100 * 2**20, include_dashboard=False,
        log_to_driver=False,
    )  # fmt: skip


def network() -> nn.Sequential:
    """A small network for images [N, 3, 32, 32]."""
    manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 8, 3, padding=1, stride=2), nn.ReLU(), nn.Conv2d(8, 16, 3, padding=1),
        nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(16, 8),
    )  # fmt: skip


def show(devices: int = 4, frames: int = 50, replicas: int = 2) -> None:
    """Serve a small network from replicas on this machine, and hold the answers against it."""
    start_here(replicas)
    images = np.random.default_rng(0).standard_normal((frames, 1, 3, 32, 32)).astype(np.float32)
    with tempfile.TemporaryDirectory() as folder:
        model = splitc.load(network(), zeros(1, 3, 32, 32))
        bundle = splitc.compile(
            model, cut="1", head="host", tail="host", batch_sizes=(2, 4), name="small",
            output=Path(folder) / "small.splitc",
        )  # fmt: skip
        with bundle.open_parts() as split:
            expected = [split(image) for image in images]
        runner = Replicas(bundle, replicas)
        with Server([bundle.path], workers=2 * replicas, open_runner=lambda _: runner) as server:

            def send(_: int) -> float:
                """Send every image as one device; how far its answers are off at most."""
                to = str(server.address)
                with Device(bundle.path, to=to, deadline="1s", silent_after="20s") as device:
                    answers = list(device.stream(images))
                pairs = zip(answers, expected, strict=True)
                return max(abs(a[k] - e[k]).max() for a, e in pairs for k in e)

            with ThreadPoolExecutor(devices) as pool:
                off = max(pool.map(send, range(devices)))
            measures = server.measures
        print(f"{measures.answers} frames of {devices} devices answered, {measures.failed} failed")
        print(f"in {measures.calls} calls, by replica: {sorted(runner.calls.values())}")
        print(f"answers differ from the bundle run here by {off:.1e} at most")


def serve_bundle(bundle: Path, bind: str, key: Path | None, replicas: int) -> None:
    """Serve a bundle until Ctrl-C or SIGTERM."""
    ray.init()
    # Ray's own handler would end the process before its devices are told.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    secret = None if key is None else read_key(key)
    with (
        suppress(KeyboardInterrupt),
        Server(
            [bundle], bind=bind, key=secret, workers=2 * replicas,
            open_runner=partial(Replicas, count=replicas),
        ) as server,
    ):  # fmt: skip
        print(f"serving {bundle} at {server.address}; Ctrl-C ends it", flush=True)
        Event().wait()


def main() -> int:
    """Serve a bundle, or show how."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("bundle", nargs="?", type=Path, help="by default a small one is made")
    parser.add_argument("--bind", default="127.0.0.1:0", metavar="HOST:PORT")
    parser.add_argument("--key", type=Path, metavar="FILE", help="as of splitc serve --key")
    parser.add_argument("--replicas", type=int, default=2, metavar="N")
    options = parser.parse_args()
    try:
        if options.bundle is None:
            show(replicas=options.replicas)
        else:
            serve_bundle(options.bundle, options.bind, options.key, options.replicas)
    except SplitcError as error:
        print(error, file=sys.stderr)
        return error.exit_code
    finally:
        serve.shutdown()
        ray.shutdown()
    return 0


if __name__ == "__main__":
    sys.exit(main())
