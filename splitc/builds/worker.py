# SPDX-License-Identifier: Apache-2.0
"""A process that compiles for a build: tasks come on standard input, what it says goes back.

It ends when its input does, so with the process that started it. Ctrl-C is left to that one.
"""

from __future__ import annotations

import os
import queue
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path
from types import FrameType
from typing import BinaryIO

import msgspec

from splitc.builds.messages import Began, Done, Failure, Group, Over, Said, Task
from splitc.errors import SplitcError
from splitc.scratch import owned

_GRACE_S = 10.0
"""How long a compiler that was told to stop may go on before the process just ends."""


def main() -> None:
    """Read groups from standard input and compile them, until there are no more."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, _stop)
    # Compilers print; only what is said on purpose may go back.
    back = os.fdopen(os.dup(1), "wb", buffering=0)
    os.dup2(2, 1)
    groups: queue.SimpleQueue[Group | None] = queue.SimpleQueue()
    threading.Thread(target=_listen, args=(groups,), daemon=True).start()
    while (group := groups.get()) is not None:
        compile_group(group, lambda said: _say(back, said))
        _say(back, Over())


def _listen(groups: queue.SimpleQueue[Group | None]) -> None:
    for line in sys.stdin.buffer:
        groups.put(msgspec.json.decode(line, type=Group))
    groups.put(None)
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(_GRACE_S)
    os._exit(1)


def _stop(signum: int, frame: FrameType | None) -> None:
    # Said twice, it would stop the cleaning up.
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    raise SystemExit(0)


def _say(back: BinaryIO, said: Said) -> None:
    back.write(msgspec.json.encode(said) + b"\n")


def compile_group(group: Group, say: Callable[[Said], None]) -> None:
    """Compile bundles of one model; says how each goes.

    Args:
        group: What to compile.
        say: Called as steps begin and bundles are done.
    """
    os.chdir(group.place)
    place = Path(group.tasks[0].output).parent
    try:
        place.mkdir(parents=True, exist_ok=True)
        with owned(place) as folder:
            _compile_all(group.tasks, folder, say)
    except OSError as error:
        why = error.strerror or str(error)
        failure = Failure("OutputError", f"cannot write '{place}'", why=why, exit_code=2)
        for task in group.tasks:
            say(Done(task.number, 0.0, failure=failure))


def _compile_all(tasks: Iterable[Task], folder: Path, say: Callable[[Said], None]) -> None:
    from splitc.build.reuse import Reuse
    from splitc.ir.model import Network

    reuse = Reuse(folder)
    network: Network | None = None
    for task in tasks:
        began_s, notes = time.monotonic(), list[str]()
        number, options = task.number, task.options
        failure: Failure | None = None
        try:
            if network is None:
                say(Began(number, "reading the model"))
                network = options.load()
                notes += [network.note] if network.note else []
            say(Began(number, "searching cuts"))
            job = options.job(network)
            if options.only_if_it_pays:
                job.refuse_no_gain()
            options.build(
                job,
                task.output,
                note=notes.append,
                reuse=reuse,
                progress=partial(_step, say, number),
            )
        except SplitcError as error:
            failure = Failure.of(error)
        say(Done(number, time.monotonic() - began_s, tuple(notes), failure))


def _step(say: Callable[[Said], None], number: int, step: str) -> None:
    say(Began(number, step))


if __name__ == "__main__":
    main()
