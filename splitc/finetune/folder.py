# SPDX-License-Identifier: Apache-2.0
# pyright: reportUnknownMemberType=false, reportUnknownArgumentType=false
# pyright: reportUnknownVariableType=false
"""Write a fine-tuned model as a folder, and read one; no pickle either way."""

from __future__ import annotations

import hashlib
import platform
import re
import shutil
from collections.abc import Collection, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import msgspec
import torch
from torch import fx

from splitc.bundle.output_folder import move_into_place
from splitc.errors import BadModelError, IllegalCutError, OutputError
from splitc.finetune.checkpoint import safetensors
from splitc.finetune.loop import Tuned
from splitc.finetune.manifest import (
    MANIFEST,
    PROGRAM,
    WEIGHTS,
    EpochEntry,
    TunedManifest,
    is_tuned,
    read_manifest,
)
from splitc.finetune.naming import rename_layers
from splitc.frontend.torch.layers import analyse
from splitc.frontend.torch.model import TorchModel, load_torch
from splitc.frontend.torch.read import quiet
from splitc.frontend.torch.split import extract
from splitc.frontend.torch.trace import VALUE, graph_module
from splitc.ir.chain import CHANNEL, Insertion, channel_layers
from splitc.ir.cut import Cut
from splitc.ir.graph import LayerGraph
from splitc.ir.kinds import kind_of
from splitc.ir.layout import Layouts
from splitc.ir.model import DEFAULT_MAX_BYTES, GraphModel
from splitc.ir.printing import print_graph
from splitc.ir.segment import Segment
from splitc.ir.text import parse_graph
from splitc.passes.base import Pipeline
from splitc.version import __version__


@dataclass(frozen=True)
class Origin:
    """Where a fine-tuned model comes from.

    Args:
        name: Of the model.
        source: What was read, as the user named it.
        digest: sha256 of what was read.
        graph: Its layers before any pass.
        pipeline: The passes that were applied.
        recipe: The recipe as text.
        seed: Of the training.
    """

    name: str
    source: str
    digest: str
    graph: LayerGraph
    pipeline: Pipeline
    recipe: str = ""
    seed: int = 0


def save_tuned(folder: Path, tuned: Tuned, origin: Origin) -> TunedManifest:
    """Write a fine-tuned model: `tuned.json`, `model.pt2`, `weights.safetensors`.

    The program is the network at inference, channels left out. It gives the tensor that
    crosses as one more result, so that the cut is found again whatever its nodes are called.

    Args:
        folder: Where; a folder of a fine-tuned model that stands there is replaced.
        tuned: What `fine_tune` gave.
        origin: What it was made from.

    Raises:
        OutputError: The place cannot be written, or holds something else.
        UnsupportedOpError: torch.export refuses the network.
        IllegalCutError: Not one tensor crosses.
    """
    model = tuned.model.bypass(channel_layers(tuned.model.graph))
    cut = tuned.model.cut
    if cut is None or len(cut.boundary) != 1:
        raise IllegalCutError("a fine-tuned model needs a cut that one tensor crosses")
    boundary = cut.boundary[0].name
    with_boundary = _with_result(model, boundary)
    beside = folder.resolve().parent / f".{folder.name}.partial"
    if folder.exists() and not is_tuned(folder):
        raise OutputError(f"cannot write '{folder}'", why="something else is there",
                          hint="choose another -o")  # fmt: skip
    program = with_boundary.program
    try:
        shutil.rmtree(beside, ignore_errors=True)
        beside.mkdir(parents=True)
        with quiet():
            torch.export.save(program, beside / PROGRAM)
        stored = tuned.model.module.state_dict()
        saved = {n: t.detach().cpu().clone().contiguous() for n, t in stored.items()}
        (beside / WEIGHTS).write_bytes(safetensors().save(saved))
        manifest = TunedManifest(
            name=origin.name, source=origin.source, source_sha256=origin.digest,
            graph=print_graph(origin.graph), pipeline=str(origin.pipeline), cut=cut.name,
            boundary=boundary, recipe=origin.recipe, seed=origin.seed,
            history=tuple(EpochEntry(**asdict(record)) for record in tuned.history),
            files={name: _sha256(beside / name) for name in (PROGRAM, WEIGHTS)},
            versions={"splitc": __version__, "torch": str(torch.__version__),
                      "python": platform.python_version()},
        )  # fmt: skip
        text = msgspec.json.format(msgspec.json.encode(manifest), indent=1)
        (beside / MANIFEST).write_bytes(text)
        move_into_place(beside, folder.resolve())
    except OSError as error:
        shutil.rmtree(beside, ignore_errors=True)
        raise OutputError(f"cannot write '{folder}'", why=error.strerror or str(error),
                          hint="choose another -o") from error  # fmt: skip
    return manifest


def _with_result(model: TorchModel, tensor: str) -> TorchModel:
    """The network with a tensor as one more result, the last."""
    entries = [t.name for t in model.graph.inputs]
    results = list(model.graph.outputs)
    module = extract(model.module, model.layers, "Tuned", entries, [*results, tensor], results, ())
    output = next(node for node in module.graph.nodes if node.op == "output")
    given: Any = output.args[0]
    with module.graph.inserting_after(given[-1]):
        # a layer behind it may write over it in place
        copy = module.graph.call_method("clone", (given[-1],))
    copy.meta[VALUE] = given[-1].meta[VALUE]
    output.args = ((*given[:-1], copy),)
    module.recompile()
    return TorchModel(module, analyse(module).graph)


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def load_tuned(folder: str | Path, *, max_bytes: int = DEFAULT_MAX_BYTES) -> TorchModel:
    """Read a fine-tuned model: cut where it was, channels in place, `codec` as text.

    The layers have the names they had, where torch.export kept them; where it did not, the
    model's note says that it comes without the channels.

    Args:
        folder: What `save_tuned` wrote.
        max_bytes: Refuse models whose weights, or any one tensor, take more.

    Raises:
        BadModelError: The folder is damaged, altered, or hostile.
        UsageError: Its passes are not installed.
    """
    path = Path(folder)
    manifest = read_manifest(path)
    for name in (PROGRAM, WEIGHTS):
        _check(path / name, manifest.files.get(name, ""), max_bytes)
    given = load_torch(path / PROGRAM, max_bytes=max_bytes)
    found = given.layers.names[-1]
    applied = Pipeline.parse(manifest.pipeline)(_Recording(parse_graph(manifest.graph)))
    wanted = applied.bypass(channel_layers(applied.graph)).graph
    module = _without_last_result(given.module, manifest.name)
    if found not in analyse(module).graph.producer:
        raise BadModelError(f"'{path.name}' is damaged", at=PROGRAM, why="its cut is not in it")
    same = rename_layers(module, wanted, found, manifest.boundary)
    model = TorchModel(module, analyse(module).graph, note=given.note)
    if same:
        found = manifest.boundary
        for tensor, chain in applied.channels():
            model = model.insert(tensor, chain)
    elif applied.channels():
        lost = "its channel is not put back: torch.export changed its layers"
        model = replace(model, note="; ".join(filter(None, (given.note, lost))))
    model = model.with_cut(Cut.sending(model.graph, found))
    code = applied.codes.get(manifest.boundary)
    codes = {} if code is None else {found: code}
    return replace(model, codec=manifest.pipeline, codes=codes)


def _check(path: Path, sha256: str, max_bytes: int) -> None:
    what = f"'{path.parent.name}' is damaged"
    try:
        if path.is_symlink() or not path.is_file() or path.stat().st_size > max_bytes:
            raise BadModelError(what, at=path.name, why="it is no plain file, or too large",
                                hint="raise the limit with --max-bytes")  # fmt: skip
        if _sha256(path) != sha256:
            raise BadModelError(what, at=path.name, why="its sha256 is not the one in tuned.json")
    except OSError as error:
        raise BadModelError(what, at=path.name, why=error.strerror or str(error)) from error


def _without_last_result(module: fx.GraphModule, name: str) -> fx.GraphModule:
    graph = fx.Graph()
    graph.output(graph.graph_copy(module.graph, {}))
    output = next(node for node in graph.nodes if node.op == "output")
    results: Any = output.args[0]
    results = list(results) if isinstance(results, Sequence) else [results]
    output.args = (tuple(results[:-1]),)
    graph.eliminate_dead_code()
    return graph_module(module, graph, re.sub(r"\W", "_", name) or "Tuned")


@dataclass(frozen=True)
class _Recording(GraphModel):
    """A bare graph that keeps the chains that passes insert, with what runs them."""

    chains: list[tuple[str, Sequence[Insertion]]] = field(
        default_factory=list[tuple[str, Sequence[Insertion]]]
    )

    def with_graph(self, graph: LayerGraph) -> _Recording:
        return replace(self, graph=graph)

    def with_cut(self, cut: Cut) -> _Recording:
        return replace(self, cut=cut)

    def bypass(self, layers: Collection[str]) -> _Recording:
        return _Recording(super().bypass(layers).graph, codes=self.codes, chains=self.chains)

    def extract(self, segment: Segment, layouts: Layouts | None = None) -> _Recording:
        return _Recording(super().extract(segment, layouts).graph)

    def insert(self, tensor: str, chain: Sequence[Insertion]) -> _Recording:
        self.chains.append((tensor, chain))
        made = super().insert(tensor, chain)
        return _Recording(made.graph, codes=made.codes, chains=self.chains)

    def replace_head(self, cut: Cut, chain: Sequence[Insertion]) -> _Recording:
        made = super().replace_head(cut, chain)
        return _Recording(made.graph, codes=made.codes, chains=self.chains)

    def channels(self) -> list[tuple[str, Sequence[Insertion]]]:
        """The channels among them, and the tensor that each stands behind, channels left out."""
        found: list[tuple[str, Sequence[Insertion]]] = []
        for tensor, chain in self.chains:
            behind = tensor
            for each in chain:
                if (each.kind or kind_of(each.op)) == CHANNEL:
                    found.append((behind, (each,)))
                else:
                    behind = f"{tensor}.{each.name}"
        return found
