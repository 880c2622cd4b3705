# SPDX-License-Identifier: Apache-2.0
"""A board on this machine: TVM's own RPC server."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Generator

import pytest


@contextlib.contextmanager
def server() -> Generator[str]:
    """The address of a TVM RPC server of this machine."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [sys.executable, "-m", "tvm.exec.rpc_server", "--host", "127.0.0.1"]
    process = subprocess.Popen(
        [*command, "--port", str(port), "--port-end", str(port + 1)],
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True,
    )  # fmt: skip
    try:
        for _ in range(200):
            with contextlib.suppress(OSError):
                socket.create_connection(("127.0.0.1", port), 1).close()
                break
            if process.poll() is not None:
                pytest.skip("TVM's RPC server does not start here")
            time.sleep(0.1)
        yield f"127.0.0.1:{port}"
    finally:
        # The server serves in a process of its own, which outlives it.
        os.killpg(process.pid, signal.SIGKILL)
        process.wait(10)
