# SPDX-License-Identifier: Apache-2.0
"""Which cuts does a network have, and all their heads and tails compiled, in one library a side.

Every part is planned as `splitc compile` plans it, alone. Kernels and constants that parts have in
common are compiled and kept once, so that a hundred parts take little longer than one. What was
compiled is found again in the folder by what it hangs on.
"""

from __future__ import annotations

import gc
import hashlib
import shutil
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from cut_list import CODE, LIST, SIDES, WEIGHTS, WHOLE, CompiledPart, CompiledSide

import splitc
from splitc.build.job import sites_of
from splitc.build.memory import return_memory
from splitc.build.part_job import PartJob, Site
from splitc.build.routes import one_route
from splitc.cost.board import Board, load_board
from splitc.cost.topology import DEVICE
from splitc.ir.model import Network
from splitc.search.problem import CutRow
from splitc.search.scenario import Scenario
from splitc_targets import pipeline
from splitc_targets.graph.views import Buffer, View
from splitc_targets.link.toolchain import install_runtime, link_model
from splitc_targets.loops import tir_pipeline
from splitc_targets.plan import arena
from splitc_targets.plan.planner import Plan, Step
from splitc_targets.plan.weights import lay_out
from splitc_targets.tvm import adapter, writer


def device_board() -> Board:
    """This machine with one core."""
    return msgspec.structs.replace(load_board("host"), cores=1)


def server_board() -> Board:
    """This machine."""
    return load_board("host")


def exact_cuts(network: Network) -> list[CutRow]:
    """The cuts after layers that no edge passes by, one tensor across; then the two without one."""
    table = splitc.find_cuts(network, head=device_board(), tail=server_board())
    single = [row for row in table.rows if row.kind == "single" and not row.cut.extra]
    single.sort(key=lambda row: row.cut.prefix)
    return [*single, table.device, table.server]


def parts_folder(folder: Path, network: Network, name: str, side: str) -> Path:
    """Where a side's parts are: named by what they hang on but the compiler's own source."""
    board = device_board() if side == DEVICE else server_board()
    target = (board.processor, board.cores, pipeline.NAME, adapter.version())
    said = repr((network.fingerprint(), target, side))
    return folder / f"{name}-{side}-{hashlib.sha256(said.encode()).hexdigest()[:12]}"


def compiler_digest() -> str:
    """Changes with every edit of what makes code."""
    root = Path(pipeline.__file__).parent
    found = hashlib.sha256()
    for path in sorted(root.rglob("*.py")):
        found.update(str(path.relative_to(root)).encode() + path.read_bytes())
    return found.hexdigest()[:12]


def compile_parts(
    name: str, network: Network, folder: Path, say: Callable[[str], None] = lambda _: None
) -> dict[str, Path]:
    """The folders of both sides' parts of a network, made where they are not there yet."""
    rows = exact_cuts(network)
    found: dict[str, Path] = {}
    for side in SIDES:
        found[side] = target = parts_folder(folder, network, name, side)
        if not (target / LIST).is_file():
            beside = target.with_name(f"{target.name}.new")
            shutil.rmtree(beside, ignore_errors=True)
            beside.mkdir(parents=True)
            _compile_side(name, network, rows, side, beside, say)
            shutil.rmtree(target, ignore_errors=True)
            beside.rename(target)
    return found


@dataclass
class _Shared:
    """What parts of one library have in common, and the same buffers for it in every plan."""

    constants: dict[bytes, Buffer] = field(default_factory=dict[bytes, Buffer])
    packed: dict[Any, tuple[Step, Buffer]] = field(default_factory=dict[Any, tuple[Step, Buffer]])
    kernels: dict[Hashable, Callable[[str], Any]] = field(
        default_factory=dict[Hashable, Callable[[str], Any]]
    )

    def share(self, plan: Plan) -> None:
        """Have a plan read what plans before it read, where that is the same."""
        known: dict[Buffer, Buffer] = {}
        preparations: list[Step] = []
        for step in plan.preparations:
            self._replace(step, known)
            key = (step.key, *(view.buffer for view in step.args if view.buffer.kind != "packed"))
            (made,) = (view.buffer for view in step.args if view.buffer.kind == "packed")
            first, buffer = self.packed.setdefault(key, (step, made))
            known[made] = buffer
            preparations.append(first)
        plan.preparations = preparations
        for step in plan.steps:
            self._replace(step, known)
            # What builds a kernel may hold on to its weights: of steps with one key one is enough.
            step.build = self.kernels.setdefault(step.key, step.build)

    def _replace(self, step: Step, known: dict[Buffer, Buffer]) -> None:
        step.args = [replace(view, buffer=self._same(view, known)) for view in step.args]

    def _same(self, view: View, known: dict[Buffer, Buffer]) -> Buffer:
        buffer = view.buffer
        if buffer not in known and buffer.kind == "constant":
            assert buffer.data is not None
            said = f"{buffer.dtype} {buffer.data.shape}".encode()
            found = hashlib.blake2b(said)
            found.update(np.ascontiguousarray(buffer.data).reshape(-1).view(np.uint8).data)
            known[buffer] = self.constants.setdefault(found.digest(), buffer)
        return known.get(buffer, buffer)


def _compile_side(
    name: str, network: Network, rows: Sequence[CutRow], side: str, folder: Path,
    say: Callable[[str], None],
) -> None:  # fmt: skip
    board = device_board() if side == DEVICE else server_board()
    shared, plans = _Shared(), dict[str, tuple[Plan, arena.Arena]]()
    names: dict[str, str] = {}
    for number, (cut, job) in enumerate(_jobs(network, rows, side)):
        say(f"{name}, {side}: planning {number + 1}, {cut}")
        plan = pipeline.plan_module(job.backend.lower(job.extract()), board)
        shared.share(plan)
        entry = f"part_{number}"
        plans[entry] = plan, arena.arrange(plan)
        names[entry] = cut
        # Graphs are in cycles, and hold weights.
        gc.collect()
        return_memory()
    preparations = [step for step, _ in shared.packed.values()]
    steps = [step for plan, _ in plans.values() for step in plan.steps]
    weights = lay_out(Plan(steps, [], [], True, preparations=preparations))
    target = adapter.target_of(board)
    say(f"{name}, {side}: writing loops")
    with adapter.building(target):
        written = writer.write_all(plans, weights)
    say(f"{name}, {side}: compiling {len(written.functions)} kernels of {len(plans)} parts")
    library = adapter.build(written.module, target, tir_pipeline.NAME)
    adapter.export(library, folder / CODE, lambda out, objects: link_model(board, out, objects))
    weights.write(folder / WEIGHTS)
    install_runtime(board, folder)
    parts = tuple(
        CompiledPart(
            names[entry], entry,
            tuple((buffer.shape, buffer.dtype) for buffer in plan.inputs),
            tuple((view.shape, view.buffer.dtype) for view in plan.outputs),
            memory.bytes, len(plan.steps),
        )
        for entry, (plan, memory) in plans.items()
    )  # fmt: skip
    made = CompiledSide(name, repr(board), compiler_digest(), written.packed_bytes, parts)
    (folder / LIST).write_bytes(msgspec.json.format(msgspec.json.encode(made)))


def _jobs(network: Network, rows: Iterable[CutRow], side: str) -> Iterable[tuple[str, PartJob]]:
    """The parts of a side, by the names of the cuts; the whole network is on both."""
    scenario = Scenario.of(head=device_board(), tail=server_board())
    sites: Mapping[str, Site] = sites_of("tvm", scenario)
    for row in rows:
        if row.kind == "server":
            continue
        if row.kind != "device":
            (job,) = one_route(network, row, None, sites, ()).runs[side]
            yield row.cut.name, job
            continue
        (job,) = one_route(network, row, None, sites, ()).runs[DEVICE]
        yield WHOLE, replace(job, at=sites[side])
