# SPDX-License-Identifier: Apache-2.0
"""The command line: one file a verb, and what they share."""

from __future__ import annotations

import os
import signal
import sys
import threading
from types import FrameType, TracebackType


def main() -> None:
    """Entry point of the program `splitc`."""
    sys.excepthook = _internal_error
    signal.signal(signal.SIGTERM, _terminate)
    signal.signal(signal.SIGINT, interrupt)
    from splitc.cli.app import run

    sys.exit(run(sys.argv[1:]))


_interrupted = threading.Event()


def interrupt(signum: int, frame: FrameType | None) -> None:
    """Stop on Ctrl-C, and remember it: compilers called from here may swallow the exception."""
    _interrupted.set()
    raise KeyboardInterrupt


def was_interrupted() -> bool:
    """Whether Ctrl-C was pressed since the program started."""
    return _interrupted.is_set()


def _terminate(signum: int, frame: FrameType | None) -> None:
    raise SystemExit(128 + signum)


def _internal_error(
    kind: type[BaseException], error: BaseException, trace: TracebackType | None
) -> None:
    """One line instead of a traceback; Python's exit status is 1 already."""
    if was_interrupted():
        # A compiler wrapped the interruption in an error of its own. Everything is
        # unwound by now; an exit status can only be set this way from here.
        print("splitc: stopped", file=sys.stderr, flush=True)
        os._exit(130)
    if os.environ.get("SPLITC_DEBUG"):
        sys.__excepthook__(kind, error, trace)
        return
    last = trace
    while last is not None and last.tb_next is not None:
        last = last.tb_next
    code = last.tb_frame.f_code if last is not None else None
    where = f"{os.path.basename(code.co_filename)}:{code.co_name}" if code else ""  # noqa: PTH119
    text = f"splitc: internal error: {kind.__name__}: {error} ({where})"
    print(text, "Set SPLITC_DEBUG=1 to see the traceback.", sep="\n  hint: ", file=sys.stderr)
