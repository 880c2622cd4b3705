# SPDX-License-Identifier: Apache-2.0
"""onnxsim in a process of its own, with limits: it may crash, hang or lie."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from contextlib import suppress

from google.protobuf.message import DecodeError
from onnx import ModelProto

from splitc.errors import BadModelError
from splitc.frontend.onnx import simplified
from splitc.frontend.onnx.read import PROTO_LIMIT, stored_bytes
from splitc.scratch import scratch

SIMPLIFY_SECONDS = 300


class Simplifier:
    """onnxsim in a process that is started at once and given its job later."""

    def __enter__(self) -> Simplifier:
        self._process = subprocess.Popen(
            # -P: a file onnx.py in the user's folder is not to be run.
            [sys.executable, "-P", "-m", "splitc.frontend.onnx.run_onnxsim"],
            stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.communicate()

    def run(
        self,
        proto: ModelProto,
        max_bytes: int,
        meanwhile: Callable[[], None],
        key: str | None = None,
    ) -> tuple[ModelProto | None, str]:
        """The simpler model; None and a note where it is too large or onnxsim fails.

        Args:
            proto: The model.
            max_bytes: What the process may take is counted from it.
            meanwhile: Called while the other process works.
            key: What the result is kept under; None not to keep it.

        Raises:
            BadModelError: onnxsim ran into its time limit.
        """
        stored = stored_bytes(proto)
        if stored >= PROTO_LIMIT:
            return None, "not simplified: over 2 GiB"
        with scratch() as folder:
            source, target = folder / "in.onnx", folder / "out.onnx"
            source.write_bytes(proto.SerializeToString())
            limit = 4 * 2**30 + min(6 * stored, 4 * max_bytes)
            self._begin(json.dumps([str(source), str(target), limit, SIMPLIFY_SECONDS]))
            meanwhile()
            try:
                _, errors = self._process.communicate(timeout=SIMPLIFY_SECONDS)
            except subprocess.TimeoutExpired as error:
                raise BadModelError(
                    "simplifying the model took too long",
                    why=f"onnxsim ran for {SIMPLIFY_SECONDS} s",
                    hint="leave it out with --no-simplify",
                ) from error
            if self._process.returncode != 0 or not target.is_file():
                last = (errors.strip().splitlines() or ["it crashed"])[-1]
                return None, f"not simplified: onnxsim failed ({last[:160]})"
            data = target.read_bytes()
            try:
                simpler = ModelProto.FromString(data)
            except DecodeError:
                return None, "not simplified: onnxsim failed (what it wrote does not parse)"
        if _signature(simpler) != _signature(proto):
            return None, "not simplified: onnxsim changed the model's inputs or outputs"
        if _domains(simpler) - _domains(proto):
            return None, "not simplified: onnxsim brought in operators of another domain"
        if key is not None:
            simplified.keep(key, data)
        return simpler, ""

    def _begin(self, job: str) -> None:
        assert self._process.stdin is not None
        # A process that has died says so when it is waited for.
        with suppress(BrokenPipeError):
            self._process.stdin.write(job + "\n")
            self._process.stdin.flush()


def _domains(proto: ModelProto) -> set[str]:
    return {node.domain for node in proto.graph.node} - {"ai.onnx", ""}


def _signature(proto: ModelProto) -> tuple[list[str], list[str]]:
    graph = proto.graph
    return sorted(v.name for v in graph.input), [v.name for v in graph.output]
