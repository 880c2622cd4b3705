# SPDX-License-Identifier: Apache-2.0
"""Command lines that a verb's help ends with; tests hold them against the verbs' options."""

from __future__ import annotations

EXAMPLES: dict[str, tuple[str, ...]] = {
    "compile": (
        "splitc compile resnet50.onnx --target rpi4 --link lte",
        "splitc compile net.py:net --cut layer2 --target rpi5",
        "splitc compile net.onnx --cuts layer1,layer2 --bits 8 --calibrate x.npz",
    ),
    "build": (
        "splitc build",
        "splitc build resnet50.onnx --target rpi4 --fail-on 'head_ms>400'",
        "splitc build splitc.toml --cache .cache --baseline release/ --tolerance 5%",
    ),
    "cuts": (
        "splitc cuts resnet50.onnx --target rpi4 --link lte",
        "splitc cuts resnet50.onnx --explain layer2",
        "splitc cuts resnet50.onnx --max-boundary-bytes 64kB --pareto",
        "splitc cuts resnet50.onnx --via rpi5:ethernet --tail-target x86-64-v3",
    ),
    "plan": (
        "splitc plan resnet50.onnx --conditions conditions.toml -o plan.json",
        "splitc plan net.onnx --tested tested.json --within 60ms --share 0.99",
    ),
    "profile": (
        "splitc profile resnet50.onnx --threads 1 -o pi.json",
        "splitc profile resnet50.onnx --cuts layer1,layer2 --rounds 100",
        "splitc profile resnet50.onnx --target rpi4 --rpc 192.168.1.20:9090",
        "splitc profile resnet50.onnx --target rpi4 --static",
    ),
    "importance": ("splitc importance net.py:net --data data.py:loaders -o importance.json",),
    "fit": ("splitc fit resnet50.json mobilenet.json vgg19.json -o board-fit.json",),
    "inspect": ("splitc inspect resnet50.onnx", "splitc inspect resnet50.splitc --json"),
    "verify": (
        "splitc verify resnet50.splitc --emulate",
        "splitc verify resnet50.splitc --signer key.pub --no-run",
        "splitc verify resnet50.splitc --rebuild resnet50.onnx",
    ),
    "diff": ("splitc diff old.splitc new.splitc --tolerance 5% --tolerance head_ms=10%",),
    "baseline": ("splitc baseline resnet50.splitc --measured bench.json -o release.json",),
    "pack": (
        "splitc pack resnet50.splitc -o resnet50.zip",
        "splitc pack resnet50.splitc --format oci",
    ),
    "unpack": ("splitc unpack resnet50.zip -o resnet50.splitc",),
    "sign": ("splitc sign resnet50.splitc --key key.pem",),
    "run": (
        "splitc run resnet50.splitc --input samples.npz --out results/",
        "splitc run photos.splitc --input photo.jpg",
    ),
    "bench": ("splitc bench resnet50.splitc --json",),
    "report": (
        "splitc report resnet50.splitc --open",
        "splitc report resnet50.splitc --format md --measured bench.json -o -",
    ),
    "evaluate": ("splitc evaluate net.tuned --data data.py:loaders --plot accuracy.svg",),
    "finetune": (
        "splitc finetune net.py:net --cut layer2 --data data.py:loaders --recipe si-nr",
        "splitc finetune net.py:net --resume",
    ),
    "quantize": (
        "splitc quantize net.onnx --calibrate images.npz",
        "splitc quantize net.onnx --calibrate images.npz --keep head.0 -o net.int8.onnx",
    ),
    "targets": ("splitc targets", "splitc targets --file rpi4"),
    "passes": ("splitc passes", "splitc passes quantize-boundary"),
    "ops": ("splitc ops net.onnx",),
    "doctor": ("splitc doctor --fetch", "splitc doctor --link 192.168.1.5:4353"),
    "schema": ("splitc schema compile",),
    "serve": (
        "splitc serve resnet50.splitc",
        "splitc serve a.splitc b.splitc --bind 0.0.0.0:4353 --key key",
    ),
    "send": (
        "splitc send head --to 192.168.1.5:4353 --key key --input frames/",
        "splitc send many.splitc --to server:4353 --policy adaptive --input frames/",
    ),
    "simulate": (
        "splitc simulate resnet50.splitc --link-model 'gilbert(0.1, 5)'",
        "splitc simulate many.splitc --policy adaptive --link-model trace.csv",
    ),
}
"""By verb."""


def epilog(verb: str) -> str:
    """The examples as a help text ends with them, one a line."""
    from rich.markup import escape

    lines = (f"  [cyan]{escape(line)}[/]" for line in EXAMPLES[verb])
    return "\n".join(["Examples:", *lines])
