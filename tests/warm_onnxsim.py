# SPDX-License-Identifier: Apache-2.0
"""onnxsim in a process of its own that has imported it already: a fork of one that did once.

Nearly every test reads a network, and importing onnxsim takes longer than what most of them do
with it. Limits, crashes and everything else of the process are as they are; that it is started
as it should be is for tests/frontend/onnx/test_simplifier.py and what runs `python -m splitc`.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Generator
from contextlib import contextmanager
from multiprocessing import get_context
from multiprocessing.connection import Connection

import pytest

from splitc.frontend.onnx import run_onnxsim
from splitc.frontend.onnx.simplifier import Simplifier

_CONTEXT = get_context("forkserver")
_COLD = Simplifier.__enter__


class Warm:
    """What `Simplifier` uses of `subprocess.Popen`, for a process that is forked."""

    def __init__(self) -> None:
        stdin, ours = _CONTEXT.Pipe(duplex=False)
        errors, stderr = _CONTEXT.Pipe(duplex=False)
        self._process = _CONTEXT.Process(target=_simplify, args=(stdin, stderr), daemon=True)
        self._process.start()
        self.stdin = open(os.dup(ours.fileno()), "w", encoding="utf-8")  # noqa: PTH123, SIM115
        self._errors = open(os.dup(errors.fileno()), encoding="utf-8")  # noqa: PTH123, SIM115
        for one in (stdin, ours, errors, stderr):
            one.close()

    @property
    def returncode(self) -> int | None:
        """As the exit code of a process; None while it runs."""
        return self._process.exitcode

    def communicate(self, timeout: float | None = None) -> tuple[None, str]:
        """Wait for its end; what it wrote to its standard error."""
        if not self.stdin.closed:
            self.stdin.close()
        self._process.join(timeout)
        if self._process.is_alive():
            raise subprocess.TimeoutExpired(run_onnxsim.__name__, timeout or 0.0)
        if self._errors.closed:
            return None, ""
        with self._errors as written:
            return None, written.read()

    def kill(self) -> None:
        """End it."""
        self._process.kill()


def _simplify(stdin: Connection, stderr: Connection) -> None:
    nothing = os.open(os.devnull, os.O_WRONLY)
    for ours, theirs in ((stdin.fileno(), 0), (nothing, 1), (stderr.fileno(), 2)):
        os.dup2(ours, theirs)
    sys.stdin = open(0, encoding="utf-8")  # noqa: SIM115
    run_onnxsim.main()


def _enter(self: Simplifier) -> Simplifier:
    self._process = Warm()  # pyright: ignore[reportPrivateUsage, reportAttributeAccessIssue]
    return self


@contextmanager
def warm() -> Generator[None]:
    """Every network that is read meanwhile goes through such a process."""
    _CONTEXT.set_forkserver_preload(["tests.loaded_onnxsim"])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Simplifier, "__enter__", _enter)
        yield


def cold(patch: pytest.MonkeyPatch) -> None:
    """The process is started for each network again, as it is outside of tests."""
    patch.setattr(Simplifier, "__enter__", _COLD)
