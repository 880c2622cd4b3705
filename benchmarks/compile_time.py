# SPDX-License-Identifier: Apache-2.0
"""How long does compiling a whole network take, and how much memory?

Lowering, scheduling with code generation, and linking, for this machine and for a
Raspberry Pi 4; each network in a process of its own, its start not counted, zig's
cache warm. Peak memory is that of the larger of that process and the linker.
Bar: ResNet50 whole within 15 s.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path
from typing import Any

from networks import NAMES
from onnx import TensorProto, helper
from sides import Worker, WorkerError, prepare

from common import finish, parser, some_of

BAR_S = 15.0
BOARDS = ("host", "rpi4")
STAGES = ("lower_s", "compile_s", "link_s")
QUICK = ["squeezenet"]


def one_layer(path: Path) -> Path:
    """Write a network that compiles at once."""
    x, y = (helper.make_tensor_value_info(name, TensorProto.FLOAT, [8]) for name in "xy")
    graph = helper.make_graph([helper.make_node("Relu", ["x"], ["y"], "y")], "one", [x], [y])
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    path.write_bytes(made.SerializeToString())
    return path


def measure(name: str, model: Path, board: str, folder: Path) -> dict[str, Any]:
    """Seconds of each stage and all, and peak MB, or a `failure`."""
    part = folder / f"part-{board}"
    figures: dict[str, Any] = {"network": name, "board": board}
    with Worker("splitc", 2) as worker:
        try:
            found = worker.ask("compile", model=str(model), board=board, part=str(part))
        except WorkerError as error:
            return {**figures, "failure": str(error)}
    total = sum(found[stage] for stage in STAGES)
    stages = {stage: found[stage] for stage in STAGES}
    size = (part / "model.so").stat().st_size / 1e6
    return {**figures, **stages, "total_s": total, "peak_mb": found["peak_mb"], "so_mb": size}


def line(row: dict[str, Any]) -> str:
    """A row of the table."""
    head = f"{row['network']:15} {row['board']:6}"
    if "failure" in row:
        return f"{head} failed: {row['failure']}"[:80]
    seconds = " ".join(f"{row[stage]:9.1f}" for stage in (*STAGES, "total_s"))
    return f"{head} {seconds} {row['peak_mb']:8.0f} {row['so_mb']:8.1f}"


def main() -> None:
    """Compile every network for every board."""
    made = parser(__doc__ or "")
    made.add_argument("--networks", type=some_of(NAMES), metavar="A,B", help=", ".join(NAMES))
    made.add_argument("--boards", type=lambda text: text.split(","), default=BOARDS, metavar="A,B")
    options = made.parse_args()
    rows: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as folder:
        small = one_layer(Path(folder) / "one.onnx")
        for board in options.boards:
            measure("one", small, board, Path(folder))
    print("network         board    lower s compile s    link s   total s  peak MB    so MB")
    for name in options.networks or (QUICK if options.quick else NAMES):
        with tempfile.TemporaryDirectory() as folder:
            model = prepare(name, Path(folder)).simplified
            for board in options.boards:
                rows.append(measure(name, model, board, Path(folder)))
                print(line(rows[-1]))
                sys.stdout.flush()
    for row in rows:
        if row["network"] == "resnet50":
            met = row.get("total_s", BAR_S + 1) <= BAR_S
            print(f"bar: resnet50 for {row['board']} <= {BAR_S:g} s: {'met' if met else 'missed'}")
    finish({"rows": rows}, options.json)


if __name__ == "__main__":
    main()
