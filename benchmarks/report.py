# SPDX-License-Identifier: Apache-2.0
"""How long does the report of a network of many layers take, and how large is it?

Bars: 1 s and 300 kB for 2,000 layers, all that compile does for it and `splitc report` as a process
of its own. The network is a chain of convolutions; its parts are ONNX files.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from onnx import ModelProto, TensorProto, helper, numpy_helper

import splitc
from common import finish, median, parser, said
from splitc.build.job import plan
from splitc.reporting.collect import report_data
from splitc.reporting.data import write_data
from splitc.reporting.facts import Facts
from splitc.reporting.make import write
from splitc.search.scenario import Scenario

MAIN = "from splitc.cli import main; main()"
MOST_S, MOST_KB = 1.0, 300.0


def chain(layers: int) -> ModelProto:
    """Pointwise convolutions one behind the other, each with names as exporters write them."""
    weight = numpy_helper.from_array(np.eye(8, dtype=np.float32).reshape(8, 8, 1, 1), "w")
    nodes = [
        helper.make_node("Conv", [f"t{k}", "w"], [f"t{k + 1}"], f"/stage{k // 100}/layer{k}/Conv")
        for k in range(layers)
    ]
    shape = [1, 8, 16, 16]
    ends = [helper.make_tensor_value_info(f"t{k}", TensorProto.FLOAT, shape) for k in (0, layers)]
    graph = helper.make_graph(nodes, "chain", ends[:1], ends[1:], [weight])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def main() -> None:
    """Time what compile does for a report, and the verb, in turn."""
    question = parser(__doc__ or "")
    question.add_argument("--layers", type=int, default=2000)
    options = question.parse_args()
    rounds = 3 if options.quick else 7
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        path = folder / "chain.onnx"
        path.write_bytes(chain(options.layers).SerializeToString())
        network = splitc.load(path)
        scenario = Scenario.of(head="rpi4", tail="x86-64-v3")
        bundle = splitc.compile(
            network, emit="onnx", check=False, output=folder / "chain.splitc", scenario=scenario
        )
        job = plan(network, scenario=scenario)
        known = Facts.of(bundle)
        took: dict[str, list[float]] = {"compile's share": [], "splitc report": [], "python": []}
        written = str(folder / "x.html")
        verb = [sys.executable, "-c", MAIN, "report", str(bundle.path), "-o", written]
        for _ in range(rounds):
            start = time.perf_counter()
            data = report_data(job.table, job.row, [job.row])
            write_data(folder, data)
            write(Facts(known.manifest, known.parts, data, known.record, known.measured))
            took["compile's share"].append(time.perf_counter() - start)
            for what, command in (("splitc report", verb), ("python", [*verb[:2], "pass"])):
                start = time.perf_counter()
                subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
                took[what].append(time.perf_counter() - start)
        page = (bundle.path / "report.html").stat().st_size
        data_bytes = (bundle.path / "report.json").stat().st_size
    medians = {what: median(values) for what, values in took.items()}
    for what, value in medians.items():
        said(f"{options.layers} layers: {what}", value, MOST_S, " s")
    said("report.html", page / 1e3, MOST_KB, " kB")
    said("report.json", data_bytes / 1e3, MOST_KB, " kB")
    finish({"layers": options.layers, "medians_s": medians, "page_bytes": page,
            "data_bytes": data_bytes}, options.json)  # fmt: skip


if __name__ == "__main__":
    main()
