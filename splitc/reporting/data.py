# SPDX-License-Identifier: Apache-2.0
"""What a bundle's report is made from: `report.json`, beside the manifest that has its hash."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Annotated, Literal

import msgspec

from splitc.cost.prices import ResultsAt
from splitc.cost.sent_input import SentAs
from splitc.errors import BadBundleError
from splitc.runtime.codec_entry import Strict
from splitc.runtime.manifest import Manifest, read_plain

SCHEMA = 1
DATA = "report.json"
MOST_ROWS, MOST_BLOCKS = 128, 40
_MAX_BYTES = 2 * 2**20

Name = Annotated[str, msgspec.Meta(max_length=4096)]
Ms = Annotated[float, msgspec.Meta(ge=0, le=1e12)]
Count = Annotated[int, msgspec.Meta(ge=0, le=2**62)]
Bps = Annotated[float, msgspec.Meta(ge=1, le=1e15)]
RowKind = Literal["single", "multi", "device", "server"]


class LinkEntry(Strict, frozen=True):
    """The link that the bundle was compiled for; `text` is how people write it."""

    text: Name
    bandwidth_bps: Bps
    rtt_s: Annotated[float, msgspec.Meta(ge=0, le=1e6)]
    loss_rate: Annotated[float, msgspec.Meta(ge=0, lt=1)]
    mtu_bytes: Count


class BlockEntry(Strict, frozen=True):
    """Layers that stand between two nested cuts.

    `first` and `last` are names, `ops` its commonest operators; `after_bytes` is what crosses
    the cut behind it without a codec, null where that hangs on data, and behind the last block.
    """

    first: Name
    last: Name
    layers: Count
    ops: Annotated[tuple[Name, ...], msgspec.Meta(max_length=4)]
    flops: Count
    param_bytes: Count
    device_ms: Ms
    server_ms: Ms
    after_bytes: Count | None


class RowEntry(Strict, frozen=True):
    """A cut and its prices; a baseline is one that leaves all on one side.

    `place` is its number in the table of cuts, 0 for baselines and cuts that are not in it;
    `after` the block behind which it cuts, null where it is in the midst of one. `plain_bytes`
    would cross without the codec. `busy_ms` is `link_ms` without the round trip: it goes with
    the inverse of the bandwidth. `value` is what the table is ordered by, in ms or mJ;
    `rejected` says why it may not be used. `sent` is how a baseline's inputs go to the server,
    `source` where that many bytes come from.
    """

    cut: Name
    kind: RowKind
    place: Count
    after: Annotated[int, msgspec.Meta(ge=0, lt=MOST_BLOCKS)] | None
    boundary_bytes: Count
    plain_bytes: Count | None
    head_ms: Ms
    link_ms: Ms
    busy_ms: Ms
    tail_ms: Ms
    energy_mj: Ms
    head_weight_bytes: Count
    head_memory_bytes: Count
    value: Ms
    rejected: Name | None = None
    sent: SentAs = "tensor"
    source: Name = ""

    @property
    def latency_ms(self) -> float:
        """From input to result."""
        return self.head_ms + self.link_ms + self.tail_ms


class ReportData(Strict, frozen=True):
    """What a report says beside what the manifests do.

    `figures` says where times come from; `device` and `server` are the boards' titles. `cuts`
    were looked at and `usable` of them may be used; `rows` are those worth showing, cheapest
    first, `chosen` the default route's. `baselines` are all on the device, all on the server as
    `--cut server` builds it, and how else one would send to the server; `results` is where they
    are wanted. `blocks` are the network in order; `auto` is what
    `--cut auto` means, "" where nothing does.
    """

    schema: int
    objective: Literal["latency", "throughput", "energy"]
    figures: Name
    link: LinkEntry
    codec: Name
    device: Name
    server: Name
    device_memory_bytes: Count
    layers: Count
    flops: Count
    param_bytes: Count
    cuts: Count
    usable: Count
    auto: Name
    chosen: RowEntry
    baselines: Annotated[tuple[RowEntry, ...], msgspec.Meta(min_length=2, max_length=4)]
    rows: Annotated[tuple[RowEntry, ...], msgspec.Meta(max_length=MOST_ROWS)]
    blocks: Annotated[tuple[BlockEntry, ...], msgspec.Meta(min_length=1, max_length=MOST_BLOCKS)]
    results: ResultsAt = "device"

    @property
    def unit(self) -> str:
        """Of what the rows are ordered by."""
        return "mJ" if self.objective == "energy" else "ms"

    @property
    def candidates(self) -> tuple[RowEntry, ...]:
        """The baselines, then the cuts that may be used, each once; the chosen one among them."""
        usable = [row for row in self.rows if row.rejected is None]
        own = [] if self.chosen in (*self.baselines, *usable) else [self.chosen]
        return (*self.baselines, *own, *usable)


def write_data(folder: Path, data: ReportData) -> None:
    """Write the data of a report into a bundle's folder, in one canonical form."""
    text = msgspec.json.format(msgspec.json.encode(data), indent=1)
    (folder / DATA).write_bytes(text + b"\n")


def read_data(folder: Path, manifest: Manifest) -> ReportData:
    """Read the data of a report, and hold it against what the manifest says of the file.

    Args:
        folder: The bundle's.
        manifest: The bundle's.

    Raises:
        BadBundleError: It is missing, altered, malformed or too large, or no plain file.
    """
    at, hint = str(folder / DATA), "compile the bundle again"
    data = read_listed(folder, manifest, DATA)
    try:
        found = msgspec.json.decode(data, type=ReportData)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise BadBundleError("the report's data is malformed", at=at, why=str(error)) from error
    if found.schema != SCHEMA:
        why = f"its schema is {found.schema}, this splitc reads {SCHEMA}"
        raise BadBundleError("the report's data has another schema", at=at, why=why, hint=hint)
    first, *others = (row.kind for row in found.baselines)
    if first != "device" or {*others} != {"server"}:
        raise BadBundleError("the report's data has no baselines", at=at, hint=hint)
    return found


def read_listed(folder: Path, manifest: Manifest, name: str) -> bytes:
    """The bytes of a small file of a bundle, which are those that its manifest lists.

    Raises:
        BadBundleError: It is not listed, missing, altered or too large, or no plain file.
    """
    at, hint = str(folder / name), "compile the bundle again"
    listed = manifest.files.get(name)
    if listed is None:
        raise BadBundleError(f"the bundle has no '{name}'", at=at, hint=hint)
    data = read_plain(folder / name, _MAX_BYTES, f"'{name}'")
    if len(data) != listed.bytes or hashlib.sha256(data).hexdigest() != listed.sha256:
        raise BadBundleError(f"'{name}' was altered", at=at, hint=hint)
    return data
