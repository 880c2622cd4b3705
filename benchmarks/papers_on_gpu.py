# SPDX-License-Identifier: Apache-2.0
"""What do the papers' own networks keep of their accuracy, trained as the papers did?

    python benchmarks/papers_on_gpu.py [--data FOLDER] [--out FOLDER]

VGG16 and ResNet50 on CIFAR-100, trained here, then BottleNet++ at the papers' cuts over its two
links, with a codec beside them whose frame is one packet of 128 bytes on the wire, headers
counted; and SI-NR, with packets lost. It takes a GPU, hours of it. All of it is
`bottlenetpp_cifar.py` and `si_nr_cifar10.py` with these options, which print their bars; what
they have trained and tested lies in `--out` and is not done again, so that a run that was ended
goes on. `--data` holds `cifar100/cifar100_train_webp.zip` and `…_test_webp.zip`. `--quick` with
`--device cpu` rehearses it: one epoch of a few images, whose figures mean nothing.
"""

from __future__ import annotations

import json
import subprocess
import sys
from argparse import Namespace
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cifar
import torch

from common import ROOT, checkout_env, finish, parser

CUTS = {"vgg16": "block3,block4", "resnet50": "layer3,layer4"}
WIRE_BYTES = 128
NO_DEVICE = 8


def commands(options: Namespace) -> Iterator[tuple[str, list[str]]]:
    """Each experiment by its name, with its options."""
    few = ["--quick", "--images", "32", "--test-images", "20"] if options.quick else []
    for network in options.networks:
        cuts = CUTS[network] if not options.quick else CUTS[network].split(",")[1]
        usual = [
            "--dataset", "cifar100", "--network", network, "--points", cuts, "--data",
            str(options.data), "--device", options.device, "--base-epochs",
            "1" if options.quick else "200", "--precision",
            "float32" if options.device == "cpu" else "bfloat16", *few,
        ]  # fmt: skip
        codecs = ["--codec-epochs", "50", "--epochs", "20", "--wire-bytes", str(WIRE_BYTES)]
        if options.quick:
            codecs += ["--cases", "wire"]
        losses = [
            "--rates",
            "0,mixed" if options.quick else "0,0.1,0.2,0.4,mixed",
            "--epochs",
            "20",
        ]
        if "bottlenetpp" in options.papers:
            yield f"bottlenetpp-{network}", ["bottlenetpp_cifar.py", *usual, *codecs]
        if "si_nr" in options.papers:
            yield f"si_nr-{network}", ["si_nr_cifar10.py", *usual, *losses]


def why_not(device: str) -> str:
    """Why nothing can be trained on a device; "" where it can."""
    try:
        torch.zeros(1, device=device)
    except (RuntimeError, AssertionError) as error:
        return str(error).splitlines()[0]
    return ""


def main() -> int:
    """Run every experiment in turn; they print what they find."""
    made = parser(__doc__ or "")
    made.add_argument("--networks", nargs="+", choices=[*CUTS], default=[*CUTS])
    papers = ["bottlenetpp", "si_nr"]
    made.add_argument("--papers", nargs="+", choices=papers, default=papers)
    made.add_argument("--device", default="cuda")
    made.add_argument("--data", type=Path, default=cifar.DATA)
    made.add_argument("--out", type=Path, default=Path("build/papers"))
    options = made.parse_args()
    if why := why_not(options.device):
        print(f"papers_on_gpu: nothing is trained: no device '{options.device}': {why}; "
              "--device cpu --quick rehearses it", file=sys.stderr)  # fmt: skip
        return NO_DEVICE
    options.out.mkdir(parents=True, exist_ok=True)
    figures: dict[str, Any] = {}
    for name, (script, *rest) in commands(options):
        print(f"== {name}", flush=True)
        written = options.out / f"{name}.json"
        command = [sys.executable, str(ROOT / "benchmarks" / script), *rest]
        done = subprocess.run(
            [*command, "--out", str(options.out), "--json", str(written)],
            env=checkout_env(ROOT), check=False,
        )  # fmt: skip
        if done.returncode:
            print(f"papers_on_gpu: {name} ended with status {done.returncode}", file=sys.stderr)
            return done.returncode
        figures[name] = json.loads(written.read_text("utf-8"))
    finish(figures, options.json)
    return 0


if __name__ == "__main__":
    sys.exit(main())
