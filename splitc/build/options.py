# SPDX-License-Identifier: Apache-2.0
"""What is asked of a compilation, as text and numbers: as a command line or a file has it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from splitc.build.option_text import (
    parse_bytes,
    parse_constraints,
    parse_input,
    parse_link,
    parse_objective,
    parse_pins,
    parse_sizes,
)
from splitc.errors import UsageError, one_of

if TYPE_CHECKING:
    from splitc.arrays import Array, Arrays
    from splitc.build.backend import Tuning
    from splitc.build.job import Job
    from splitc.bundle.bundle import Bundle
    from splitc.cost.board import Board
    from splitc.cost.prices import CostModel
    from splitc.ir.graph import LayerGraph
    from splitc.ir.model import Network
    from splitc.quantization import Quantized
    from splitc.search.cutter import Cutter
    from splitc.search.scenario import Scenario

_HERE = Path()
DATA = ("calibrate", "measured", "plan", "profile", "tail_profile")
"""The options that name a file of data which the bundle hangs on."""
_FILES = {"model", *DATA, "target", "tail_target"}
"""The options that name files, or may."""
_RUNTIMES = ("bundle", "none")
_CALIBRATES = "add --codec, like --codec quantize-boundary, --bits or --precision int8"
INT8 = "int8"
"""The precision that is a network's, not a board's: it is quantised before it is cut."""
AUTO = "auto"
"""The codec that samples choose."""
_UNRECORDED = ("check", "max_bytes", "only_if_it_pays", "tune_rpc", "tune_seconds", "twin")
"""What no byte of a bundle hangs on, but for twins, which are there or not."""


class ModelOptions(msgspec.Struct, frozen=True):
    """How to read the model; `as_torch`: an ONNX network too becomes a PyTorch module."""

    path: str
    inputs: Sequence[str] | None
    simplify: bool
    max_bytes: str
    as_torch: bool = False
    preprocess: Sequence[str] | None = None

    @property
    def name(self) -> str:
        """What the model is called: its file without suffix, or its function."""
        from splitc.frontend.userfile import is_python

        return self.path.rpartition(":")[2] if is_python(self.path) else Path(self.path).stem

    def load(self, meanwhile: Callable[[], None] = lambda: None) -> Network:
        """Read the model. A Python file is run: it is the user's own.

        Args:
            meanwhile: See `splitc.load`.

        Raises:
            SplitcError: See `splitc.load`.
        """
        from splitc.frontend.preprocess import preprocessed

        loaded = self._read(meanwhile)
        for how in self.preprocess or ():
            loaded = preprocessed(loaded, how)
        return loaded

    def load_graph(self) -> Network | LayerGraph:
        """Read the model, or a layer graph as text, from a file whose name ends in .txt.

        Raises:
            SplitcError: See `splitc.load` and `splitc.parse_graph`.
        """
        if Path(self.path).suffix != ".txt":
            return self.load()
        from splitc.ir.text import read_graph

        return read_graph(Path(self.path), parse_bytes(self.max_bytes))

    def _read(self, meanwhile: Callable[[], None]) -> Network:
        from splitc.frontend import load
        from splitc.frontend.userfile import is_python, network

        if is_python(self.path):
            if self.inputs:
                hint = "let the function return example inputs of these shapes"
                raise UsageError("--input does nothing to a module", hint=hint)
            return network(self.path, parse_bytes(self.max_bytes))
        loaded = load(
            self.path,
            inputs=dict(parse_input(text) for text in self.inputs or []),
            simplify=self.simplify,
            max_bytes=parse_bytes(self.max_bytes),
            meanwhile=meanwhile,
        )
        return _to_torch(loaded) if self.as_torch else loaded


def _to_torch(loaded: Network) -> Network:
    from splitc.frontend import to_torch
    from splitc.frontend.onnx.model import OnnxModel

    return to_torch(loaded) if isinstance(loaded, OnnxModel) else loaded


class ScenarioText(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Where a network is to run, and what is wanted of the cut."""

    target: str = "rpi4"
    tail_target: str = "host"
    profile: str | None = None
    tail_profile: str | None = None
    measured: str | None = None
    link: str | None = None
    bandwidth: str | None = None
    rtt: str | None = None
    loss: str | None = None
    mtu: int | None = None
    objective: str = "latency"
    max_head_memory: str | None = None
    max_head_ms: float | None = None
    max_boundary_bytes: str | None = None
    min_depth: int = 0
    pin: tuple[str, ...] = ()
    cutter: str | None = None
    codec: str | None = None
    results: str = "device"
    server_input: str = "auto"

    def scenario(self, boards: Mapping[str, Board] | None = None) -> Scenario:
        """The scenario that they say.

        Args:
            boards: Those of the sites, in the place of the ones that are named.

        Raises:
            UsageError: One of them is malformed, or names what there is not.
        """
        from splitc.cost.prices import RESULTS_AT
        from splitc.cost.sent_input import SERVER_INPUTS
        from splitc.cost.topology import DEVICE, SERVER
        from splitc.search.scenario import Scenario

        device = self.target if boards is None else boards[DEVICE]
        server = self.tail_target if boards is None else boards[SERVER]
        head, tail = self._costs(device, server)
        return Scenario.of(
            head=head, tail=tail,
            link=parse_link(self.link, self.bandwidth, self.rtt, self.loss, self.mtu),
            objective=parse_objective(self.objective),
            constraints=parse_constraints(
                self.max_head_memory, self.max_head_ms, self.min_depth, self.max_boundary_bytes
            ),
            codec=self.codec,
            pins=parse_pins(self.pin),
            cutter=self.cutter,
            results=one_of(RESULTS_AT, self.results, "place for results"),
            server_input=one_of(SERVER_INPUTS, self.server_input, "way to send inputs"),
        )  # fmt: skip

    def _costs(self, device: str | Board, server: str | Board) -> tuple[CostModel, CostModel]:
        """What gives the sites' times: their boards, or files of what was measured or fitted."""
        from splitc.cost.board import load_board
        from splitc.cost.cost_file import read_cost, read_measured
        from splitc.cost.topology import SERVER, cost_model

        if self.measured is not None:
            if self.profile is not None or self.tail_profile is not None:
                why = "each gives times of layers"
                raise UsageError("--measured beside --profile or --tail-profile", why=why)
            return read_measured(self.measured, load_board(device), load_board(server))
        head, tail = cost_model(device), cost_model(server)
        if self.profile is not None:
            head = read_cost(self.profile, load_board(device))
        if self.tail_profile is not None:
            tail = read_cost(self.tail_profile, load_board(server), SERVER)
        return head, tail


def allowing(scenario: Scenario, max_drop: str | None) -> Scenario:
    """A scenario whose codec may cost so much, where it is to be chosen.

    Raises:
        UsageError: It is no share, or the codec is not to be chosen.
    """
    if max_drop is None:
        return scenario
    from splitc.link.link import parse_share

    if scenario.auto is None:
        raise UsageError(
            "--max-drop without --codec auto", hint="add --codec auto --calibrate FILE"
        )
    return replace(scenario, auto=replace(scenario.auto, max_drop=parse_share(max_drop)))


class CompileOptions(ScenarioText, frozen=True):
    """Every option of `splitc compile` that the bundle hangs on, by the names of its flags."""

    model: str
    cut: str = "auto"
    cuts: str | None = None
    bits: str | None = None
    plan: str | None = None
    only_if_it_pays: bool = False
    calibrate: str | None = None
    max_drop: str | None = None
    emit: str = "tvm"
    precision: str = "float32"
    runtime: str = "bundle"
    check: bool = True
    twin: bool = True
    batch: str | None = None
    with_whole: bool = False
    seed: int = 0
    tune: bool = False
    tune_seconds: float = 300.0
    tune_rpc: str = ""
    tune_parts: str = "head,tail"
    input: tuple[str, ...] = ()
    simplify: bool = True
    preprocess: tuple[str, ...] = ()
    to_torch: bool = False
    max_bytes: str = "8GiB"

    @property
    def source(self) -> ModelOptions:
        """How the model is read."""
        return ModelOptions(
            self.model, self.input, self.simplify, self.max_bytes, as_torch=self.to_torch,
            preprocess=self.preprocess,
        )  # fmt: skip

    @property
    def tuning(self) -> Tuning | None:
        """What is measured; None for nothing."""
        from splitc.build.backend import Tuning

        parts = tuple(self.tune_parts.split(","))
        return Tuning(self.tune_seconds, self.tune_rpc, parts) if self.tune else None

    def given(self, folder: Path = _HERE) -> dict[str, Any]:
        """The options that are not at their defaults, files by their names alone: where one lies
        makes no difference, what is in it does.

        Args:
            folder: What paths are relative to.
        """
        fields = {one.name: one.default for one in msgspec.structs.fields(self)}
        values = msgspec.to_builtins(self)
        found = {name: values[name] for name in fields if getattr(self, name) != fields[name]}
        for name in _FILES & found.keys():
            if name == "model" or (folder / found[name]).is_file():
                found[name] = Path(found[name]).name
        if (cutter := self._cutter) is not None:
            found["cutter"] = cutter.named
        return found

    @property
    def _cutter(self) -> Cutter | None:
        from splitc.search.cutter import Cutter

        return Cutter.parse(self.cutter) if self.cutter else None

    @property
    def data(self) -> dict[str, Path]:
        """The files of data which the bundle hangs on, by their options; the cutter's too."""
        named = {option: getattr(self, option) for option in DATA}
        named |= {} if self._cutter is None else self._cutter.reads
        return {option: Path(path) for option, path in named.items() if path}

    def refuse(self) -> None:
        """Raise where one of them is malformed, or does nothing beside the others.

        Raises:
            UsageError: It does.
        """
        if self.runtime not in _RUNTIMES:
            raise UsageError(f"--runtime {self.runtime}", hint="one of: bundle, none")
        if self.tune_rpc and not self.tune:
            raise UsageError("--tune-rpc does nothing without --tune", hint="add --tune")
        if self.cuts is not None and self.cut != "auto":
            raise UsageError("--cut and --cuts", hint="name every cut in --cuts")
        if self.calibrate and not self._calibrates and self.server_input in ("tensor", "uint8"):
            raise UsageError("--calibrate does nothing without --codec", hint=_CALIBRATES)
        if self.codec == AUTO and not self.calibrate:
            why = "what a codec costs is measured on samples, random ones tell nothing"
            raise UsageError(
                "--codec auto without --calibrate", why=why, hint="--calibrate FILE.npz"
            )
        if self.codec == AUTO and (self.cuts or self.bits or self.plan):
            raise UsageError("--codec auto, and several routes", why="it is chosen for one cut")
        if self.precision == INT8:
            self._refuse_int8()
        for option, sizes in (("--bits", self.bits), ("--batch", self.batch)):
            parse_sizes(sizes or "1", option)
        self.scenario()

    def _refuse_int8(self) -> None:
        if not self.calibrate:
            raise UsageError(
                "--precision int8 without --calibrate",
                why="what values layers give, only samples tell",
                hint="--calibrate FILE.npz, a hundred inputs as the network will see them",
            )
        if self.to_torch:
            raise UsageError("--precision int8, and --to-torch", why="ONNX networks are quantised")
        if self.plan:
            why = "the plan is of the network in floats"
            hint = "splitc quantize MODEL, and plan what it writes"
            raise UsageError("--precision int8, and --plan", why=why, hint=hint)

    @property
    def _calibrates(self) -> bool:
        """Whether something takes its ranges from samples."""
        return bool(self.codec or self.bits or self.plan or self.precision == INT8)

    def scenario(self, boards: Mapping[str, Board] | None = None) -> Scenario:
        """The scenario that they say; see `ScenarioText.scenario`.

        Raises:
            UsageError: As there, or a board does not multiply in the precision.
        """
        if self.precision not in ("float32", INT8):
            boards = self._at_precision(boards)
        return allowing(super().scenario(boards), self.max_drop)

    def _at_precision(self, boards: Mapping[str, Board] | None) -> Mapping[str, Board]:
        from splitc.cost.board import load_board
        from splitc.cost.precision import PRECISIONS, at_precision
        from splitc.cost.topology import DEVICE, SERVER

        named = {DEVICE: self.target, SERVER: self.tail_target}
        given = boards or {site: load_board(name) for site, name in named.items()}
        asked = one_of((*PRECISIONS, INT8), self.precision, "precision")
        return at_precision(given, asked)

    def load(self) -> Network:
        """The network, while what compiles it is got ready.

        Raises:
            SplitcError: See `splitc.load`.
        """
        from splitc.build.backend import warm_up

        return self.source.load(meanwhile=partial(warm_up, self.emit))

    def recorded(self) -> dict[str, Any]:
        """What a bundle says of them."""
        told = self.given()
        return {name: value for name, value in told.items() if name not in _UNRECORDED}

    def job(self, loaded: Network, boards: Mapping[str, Board] | None = None) -> Job:
        """The compilation of a network that was loaded, decided and not begun.

        Args:
            loaded: The network.
            boards: Those of the sites, in the place of the ones that are named.

        Raises:
            SplitcError: See `splitc.build.job.plan`.
        """
        from splitc.build.job import plan
        from splitc.bundle.record import DataFile
        from splitc.cost.sent_input import ways_to_send
        from splitc.passes.calibration import read_batches, read_labels

        inputs, values = loaded.graph.inputs, self.calibrate
        given = self.scenario(boards)
        ways = ways_to_send(loaded.graph, given.server_input)
        if values and not self._calibrates and all(way.how != "jpeg" for way in ways):
            why = "no input is one of images, whose size as JPEG samples would tell"
            raise UsageError("--calibrate does nothing without --codec", why=why, hint=_CALIBRATES)
        batches = read_batches(values, inputs) if values else ()
        labels = read_labels(values, inputs, len(batches)) if values else None
        quantized = self._quantized(loaded, batches, labels)
        decided = plan(
            quantized.model if quantized else loaded, cut=self.cut,
            cuts=[name.strip() for name in self.cuts.split(",")] if self.cuts is not None else (),
            bits=parse_sizes(self.bits, "--bits") if self.bits is not None else (),
            by_plan=self.plan, scenario=given, name=self.source.name,
            emit=self.emit, batches=batches,
            labels=labels,
            batch_sizes=parse_sizes(self.batch) if self.batch is not None else (),
            with_whole=self.with_whole,
        )  # fmt: skip
        data = tuple(DataFile.of(option, file) for option, file in self.data.items())
        return replace(decided, asked=self.recorded(), data=data, quantized=quantized)

    def _quantized(
        self, loaded: Network, samples: Sequence[Arrays], labels: Array | None
    ) -> Quantized | None:
        """The network on bytes, where that was asked for."""
        if self.precision != INT8:
            return None
        from splitc.quantization import quantize

        return quantize(loaded, samples, labels)

    def build(self, job: Job, output: str | Path | None, **hooks: Any) -> Bundle:
        """Write a job's bundle.

        Args:
            job: What `job` decided.
            output: Where to.
            hooks: See `splitc.build.compiler.build`: what is called on the way.

        Raises:
            SplitcError: See there.
        """
        from splitc.build.compiler import build

        return build(
            job, output=output, runtime="none" if self.runtime == "none" else "bundle",
            seed=self.seed, tuning=self.tuning, check=self.check, twins=self.twin, **hooks,
        )  # fmt: skip


def recorded_call(
    model: Any, given: Mapping[str, Any], conditions: Mapping[str, Any]
) -> dict[str, Any]:
    """What a bundle says of a call of `splitc.compile`, as options; {} where it cannot.

    Options are text: objects, arrays and networks in memory are none, but for boards, which the
    bundle records as they are, and links.

    Args:
        model: What was compiled.
        given: Arguments by the names of the options that they are.
        conditions: The scenario as keywords.
    """
    from splitc.cost.board import Board
    from splitc.link.link import Link

    names = {"head": "target", "tail": "tail_target"}
    every: dict[str, Any] = {**given, **conditions}
    told = {names.get(name, name): value for name, value in every.items()}
    link = told.pop("link", None)
    if isinstance(link, Link):
        told |= {
            "bandwidth": f"{link.bandwidth_bps!r}bit", "rtt": f"{link.rtt_s!r}s",
            "loss": repr(link.loss_rate), "mtu": link.mtu_bytes,
        }  # fmt: skip
    elif link is not None:
        told["link"] = link
    told |= {name: one.name for name, one in told.items() if isinstance(one, Board)}
    told = {name: value for name, value in told.items() if value not in (None, "", ())}
    try:
        return msgspec.convert({**told, "model": str(model)}, CompileOptions).recorded()
    except msgspec.ValidationError:
        return {}
