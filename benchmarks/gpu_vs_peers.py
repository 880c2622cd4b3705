# SPDX-License-Identifier: Apache-2.0
"""How fast are networks on this machine's NVIDIA GPU, against torch and onnxruntime on the same?

    python benchmarks/gpu_vs_peers.py [--networks NAME,…] [--batch 1,8] [--precision float32,tf32]

Networks are made here with seeded weights and compiled by `splitc compile --tail-target host-gpu`,
all of them for the server; VGG19 also from its third pooling on. The others get the same network:
torch as splitc.to_torch makes it of the file, by torch.compile(mode="max-autotune") and eager with
cuDNN; onnxruntime the file. All in one process, in turn. Times are of a run's kernels, inputs and
results on the GPU (torch's by CUDA events, the others' by the clock around many runs and one wait),
and beside them of a call from numpy to numpy. Bars: against torch.compile at batch 1 a geometric
mean of at most 1.5 (the goal is 1) and none above 2.5; ResNet50 in float16 at batch 1 in at most
1.2 ms (H100); ResNet50 compiled in at most 60 s.

Nothing is read or downloaded: a checkout, `pip install -e '.[torch,cuda]'` and NVIDIA's driver do.
A peer that is not here is left out and named; without a GPU it ends with status 8. `--dry-run` does
the same with a tiny network on OpenCL by this processor, which has the twins of tensor cores, torch
on one core of it: a minute or two, and no time of it is a GPU's.
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import tempfile
import time
from argparse import Namespace
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import networks
import numpy as np
import torch
from gpu_sides import FLOAT16, FLOAT32, PRECISIONS, Side, SplitcSide, in_turn, peer, why_no_peer
from onnx import ModelProto

import splitc
import splitc_targets
from common import ROOT, checkout_env, finish, median, numbers, parser, said, some_of
from splitc.arrays import Array
from splitc.cost.gpu_driver import cuda_gpu, cuda_version, device_number
from splitc.errors import DeviceError
from splitc.frontend.onnx.model import OnnxModel
from splitc.ir.cut import Cut

REHEARSED = """\
[unit.tensor]
tf32 = 1.0e6
float16 = 1.0e6

[unit.host]"""
"""What a rehearsal's board has where OpenCL's has its host: tensor cores, quicker than all else."""
PEERS = ("torch.compile", "torch", "onnxruntime")
MEAN_BAR, WORST_BAR, RESNET50_MS, COMPILE_S = 1.5, 2.5, 1.2, 60.0
VGG19_TAIL, TINY = "vgg19-tail", "tiny"
NETWORKS = (
    "resnet50", "resnet18", "mobilenet_v2", "efficientnet_b0", "vit_s16", "unet", "vgg19",
    VGG19_TAIL,
)  # fmt: skip
NO_GPU = 8


@dataclass(frozen=True)
class Row:
    """A network at a batch size and a precision, in milliseconds.

    Args:
        kernels_ms: Of each side, a run's kernels alone.
        call_ms: Of each, a call with its copies.
        error: Largest difference of splitc's result from onnxruntime's on the processor in
            float32, over the largest of those.
        failures: Why a side has no figure.
    """

    network: str
    batch: int
    precision: str
    kernels_ms: dict[str, float] = field(default_factory=dict[str, float])
    call_ms: dict[str, float] = field(default_factory=dict[str, float])
    error: float = 0.0
    failures: dict[str, str] = field(default_factory=dict[str, str])

    def ratio(self, name: str) -> float | None:
        """splitc's time over another's."""
        ours, other = self.kernels_ms.get("splitc"), self.kernels_ms.get(name)
        return None if ours is None or other is None else ours / other

    def __str__(self) -> str:
        head = f"{self.network:16} {self.batch:2} {self.precision:8}"
        times = (self._of(name) for name in ("splitc", *PEERS))
        ratios = (_shown(self.ratio(name), ".2f") for name in PEERS)
        lines = [f"{head}{''.join(times)}   {' '.join(ratios)}  {self.error:.0e}"]
        return "\n".join([*lines, *(f"  {n}: {why[:100]}" for n, why in self.failures.items())])

    def _of(self, name: str) -> str:
        pair = f"{_shown(self.kernels_ms.get(name), '.3f')}/{_shown(self.call_ms.get(name), '.2f')}"
        return f" {pair:>14}"


def _shown(value: float | None, how: str) -> str:
    return "-" if value is None else format(value, how)


TITLE = (
    f"{'network':16}  n {'in':8}" + "".join(f" {name:>14}" for name in ("splitc", *PEERS))
    + "   ratio to each    error\n" + " " * 28 + "milliseconds of kernels alone/of a call"
)  # fmt: skip


def network(name: str) -> ModelProto:
    """A network by its name."""
    if name == TINY:
        net = networks.Net(16, 0)
        x = net.conv(networks.INPUT, 8, 3, stride=2, act="relu")
        return net.model(net.fc(net.node("Flatten", net.pool(x), axis=1, channels=128), 10), 1, 10)
    if name != VGG19_TAIL:
        return networks.build(name)
    whole = splitc.load(networks.build("vgg19"))
    assert isinstance(whole, OnnxModel)
    pools = [layer.name for layer in whole.graph.layers if layer.op == "maxpool"]
    return whole.split(Cut.after(whole.graph, [pools[2]]))[1].proto


def compiled(file: Path, options: Namespace, precision: str, folder: Path) -> tuple[Path, float]:
    """A network's bundle, and how many seconds the command took.

    Raises:
        subprocess.CalledProcessError: It fails; `stderr` says why.
    """
    bundle = folder / f"{file.stem}-{precision}.splitc"
    command = [
        sys.executable, "-m", "splitc", "compile", str(file), "--cut", "server", "--target", "host",
        "--tail-target", options.board, "--batch", ",".join(map(str, options.batch)), "-o",
        str(bundle), *(["--precision", precision] if precision != FLOAT32 else []),
    ]  # fmt: skip
    start = time.perf_counter()
    subprocess.run(
        command, check=True, capture_output=True, text=True, env=checkout_env(ROOT),
        stdin=subprocess.DEVNULL,
    )  # fmt: skip
    return bundle, time.perf_counter() - start


def row_of(
    name: str, model: OnnxModel, batch: int, precision: str, bundle: Path | str, options: Namespace
) -> Row:
    """All sides in turn; `bundle` is why there is none where it is no path."""
    shape = (batch, *model.graph.inputs[0].static_shape[1:])
    given = np.random.default_rng(0).standard_normal(shape).astype(np.float32)
    failures: dict[str, str] = {}
    sides: dict[str, Side] = {}

    def tried(side: str, make: Any) -> None:
        # Whatever a peer raises is its row's, and no end of the others'.
        try:
            sides[side] = make()
        except (RuntimeError, ValueError, TypeError, OSError, splitc.SplitcError) as error:
            failures[side] = f"{type(error).__name__}: {str(error).splitlines()[0]}"

    if isinstance(bundle, Path):
        part = bundle / ("tail" if batch == 1 else f"tail-x{batch}")
        tried("splitc", lambda: SplitcSide(part, given))
    else:
        failures["splitc"] = bundle
    for each in options.peers:
        tried(each, lambda each=each: peer(each, model, given, precision))
    rounds, batch_s = (1, 0.0) if options.dry_run else (3, 0.02) if options.quick else (9, 0.25)
    times = dict(zip(sides, in_turn([*sides.values()], rounds, batch_s), strict=True))
    error = 0.0
    if "splitc" in sides:
        error = _error(sides["splitc"].result(), model, given)
    for side in sides.values():
        if isinstance(side, SplitcSide):
            side.close()
    alone, whole = (
        {n: 1e3 * median([one[k] for one in t]) for n, t in times.items()} for k in (0, 1)
    )
    return Row(name, batch, precision, alone, whole, error, failures)


def _error(got: Array, model: OnnxModel, given: Array) -> float:
    name = model.graph.inputs[0].name
    wanted = np.concatenate([next(iter(model.run({name: x[None]}).values())) for x in given])
    return float(np.abs(got - wanted).max() / np.abs(wanted).max())


def rows_of(name: str, options: Namespace, compile_s: dict[str, float]) -> Iterator[Row]:
    """A network at every precision and batch size."""
    with tempfile.TemporaryDirectory() as made:
        folder = Path(made)
        proto, file = network(name), folder / f"{name}.onnx"
        file.write_bytes(proto.SerializeToString())
        if options.dry_run:
            options.board = str(_rehearsed(folder))
        model = splitc.load(file)
        assert isinstance(model, OnnxModel)
        for precision in options.precision:
            bundle: Path | str
            try:
                bundle, seconds = compiled(file, options, precision, folder)
                compile_s[f"{name} {precision}"] = seconds
            except subprocess.CalledProcessError as error:
                bundle = (error.stderr.strip().splitlines() or [f"status {error.returncode}"])[-1]
            for batch in options.batch:
                yield row_of(name, model, batch, precision, bundle, options)


def _rehearsed(folder: Path) -> Path:
    """A board file as OpenCL's, of a device that has every precision."""
    text = (Path(splitc_targets.__file__).parent / "boards" / "opencl-pocl.toml").read_text("utf-8")
    file = folder / "rehearsal.toml"
    file.write_text(text.replace("[unit.host]", REHEARSED), "utf-8")
    return file


def summary(rows: Sequence[Row], compile_s: dict[str, float], *, dry: bool) -> dict[str, Any]:
    """Geometric means by batch size, precision and peer, held against the bars, and printed."""
    means: dict[str, float] = {}
    for name in PEERS:
        for batch in sorted({row.batch for row in rows}):
            for precision in sorted({row.precision for row in rows}, key=PRECISIONS.index):
                mine = [r for r in rows if (r.batch, r.precision) == (batch, precision)]
                ratios = [found for r in mine if (found := r.ratio(name)) is not None]
                if ratios:
                    mean = statistics.geometric_mean(ratios)
                    means[f"{name}, batch {batch}, {precision}"] = mean
                    print(f"over {name}, batch {batch}, {precision}: mean {mean:.2f}, worst "
                          f"{max(ratios):.2f}, of {len(ratios)} networks")  # fmt: skip
    failed = sum("splitc" in row.failures for row in rows)
    print(f"compiled in {', '.join(f'{k} {s:.0f} s' for k, s in compile_s.items())}; "
          f"{failed} rows without splitc")  # fmt: skip
    if not dry:
        _bars(rows, compile_s)
    return {"means": means, "compile_s": compile_s, "failed": failed}


def _bars(rows: Sequence[Row], compile_s: dict[str, float]) -> None:
    alone = [r.ratio(PEERS[0]) for r in rows if r.batch == 1]
    ratios = [ratio for ratio in alone if ratio is not None]
    if ratios:
        said(
            "geometric mean over torch.compile, batch 1",
            statistics.geometric_mean(ratios),
            MEAN_BAR,
        )
        said("the worst of these", max(ratios), WORST_BAR)
    for row in rows:
        if (row.network, row.batch, row.precision) == ("resnet50", 1, FLOAT16) and row.kernels_ms:
            said("ResNet50, float16, batch 1", row.kernels_ms["splitc"], RESNET50_MS, "ms")
    for name, seconds in compile_s.items():
        if name.startswith("resnet50 "):
            said(f"compiling {name}", seconds, COMPILE_S, "s")


def _device(options: Namespace) -> str:
    """What it runs on, in words.

    Raises:
        DeviceError: There is no GPU.
    """
    if options.dry_run:
        return "a DRY RUN: OpenCL on this processor, no time below is a GPU's"
    gpu = cuda_gpu(device_number("cuda"))
    return f"{gpu.name} ({gpu.arch}, {gpu.multiprocessors} multiprocessors), CUDA {cuda_version()}"


def main() -> int:
    """Compare, print, and hold against the bars."""
    made = parser(__doc__ or "")
    made.add_argument("--networks", type=some_of((*NETWORKS, TINY)), metavar="NAME,…")
    made.add_argument("--batch", type=numbers, default=[1, 8], metavar="N,…")
    made.add_argument("--precision", type=some_of(PRECISIONS), default=[*PRECISIONS])
    made.add_argument("--peers", type=some_of(PEERS), default=[*PEERS])
    made.add_argument(
        "--dry-run", action="store_true", help="on OpenCL by the processor: no figures"
    )
    options = made.parse_args()
    try:
        device = _device(options)
    except DeviceError as error:
        print(f"gpu_vs_peers: nothing is measured: {error.what}: {error.why}", file=sys.stderr)
        return NO_GPU
    options.board = "host-gpu"
    if options.dry_run:
        torch.set_num_threads(1)  # Its threads would wait for each other where others are at work.
    options.networks = options.networks or ([TINY] if options.dry_run else [*NETWORKS])
    print(f"on {device}")
    for name in [*options.peers]:
        if why := why_no_peer(name, dry=options.dry_run):
            print(f"{name} is left out: {why}")
            options.peers.remove(name)
    print(TITLE)
    rows: list[Row] = []
    compile_s: dict[str, float] = {}
    for name in options.networks:
        for row in rows_of(name, options, compile_s):
            rows.append(row)
            print(row, flush=True)
    shown = summary(rows, compile_s, dry=options.dry_run)
    finish({"device": device, "rows": [asdict(row) for row in rows], **shown}, options.json)
    return 1 if shown["failed"] else 0


if __name__ == "__main__":
    sys.exit(main())
