# SPDX-License-Identifier: Apache-2.0
"""`proof.json` of a bundle: what shows that its cut is the best, for `splitc verify`."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

import msgspec

from splitc.cost.topology import DEVICE
from splitc.errors import BadBundleError, SplitcError
from splitc.ir.graph import Tensor
from splitc.ir.proof import Given
from splitc.runtime.codec_entry import Strict
from splitc.runtime.manifest import Manifest, Route, TensorSpec, read_plain
from splitc.search.evidence import Evidence
from splitc.search.flow_check import WRONG
from splitc.search.proof_check import Claim, check_proof

PROOF = "proof.json"
MAX_PROOF_BYTES = 32 * 2**20
"""What is read; a proof that takes more is left out of the bundle."""
_ROUNDED_MS = 0.001
"""What the manifest's milliseconds may be off, as they are rounded."""


class ProofFile(Strict, frozen=True, kw_only=True):
    """What the proof of a route's cut rests on; or, in words, why that was left out."""

    schema: int = 1
    route: str
    evidence: Evidence | None = None
    left_out: str = ""


@dataclass(frozen=True)
class ProofCheck:
    """What `verify` found of the proof of a route's cut.

    Args:
        route: The route's name.
        again: Whether what is claimed was shown anew, at the prices that were recorded.
        words: What was shown, or why nothing was.
    """

    route: str
    again: bool
    words: str


def write_proof(folder: Path, route: str, evidence: Evidence) -> None:
    """Write it; what is too large for a bundle is left out, and that is said."""
    data = msgspec.json.encode(ProofFile(route=route, evidence=evidence))
    if len(data) > MAX_PROOF_BYTES:
        layers, size = len(evidence.graph), f"{len(data) / 2**20:.0f} MiB"
        most = f"{MAX_PROOF_BYTES // 2**20} MiB"
        why = f"prices and flows of {layers:,} layers take {size}, a bundle holds {most}"
        data = msgspec.json.encode(ProofFile(route=route, left_out=why))
    (folder / PROOF).write_bytes(data + b"\n")


def read_proof(folder: Path) -> ProofFile | None:
    """A bundle's; None where it has none.

    Raises:
        BadBundleError: It is malformed, too large, or of another schema.
    """
    path = folder / PROOF
    if not path.exists():
        return None
    data = read_plain(path, MAX_PROOF_BYTES + 1, "proof")
    try:
        file = msgspec.json.decode(data, type=ProofFile)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError, SplitcError) as error:
        raise BadBundleError("the proof is malformed", at=str(path), why=str(error)) from error
    if file.schema != 1:
        why = f"its schema is {file.schema}, this splitc reads 1"
        raise BadBundleError("the proof is of another schema", at=str(path), why=why)
    return file


def check_proofs(folder: Path, manifest: Manifest) -> tuple[ProofCheck, ...]:
    """Hold the proof of each route whose cut was searched against what it rests on.

    Args:
        folder: The bundle's, whose files were held against the manifest.
        manifest: Its manifest.

    Raises:
        BadBundleError: A proof does not hold, or is of another network.
    """
    claims = [route for route in manifest.routes if not isinstance(route.proof, Given)]
    file = read_proof(folder) if claims else None
    return tuple(_checked(manifest, route, file) for route in claims)


def _checked(manifest: Manifest, route: Route, file: ProofFile | None) -> ProofCheck:
    if file is None or file.route != route.name:
        why = "the bundle has nothing to check it by: it was compiled by an earlier splitc"
        return ProofCheck(route.name, False, why)
    if file.evidence is None:
        return ProofCheck(route.name, False, f"left out: {file.left_out}")
    claim = Claim.of(file.evidence, route.cut if route.codec is None else route.codec.cut)
    found = check_proof(route.proof, file.evidence, claim)
    _hold_to_bundle(manifest, route, claim)
    return ProofCheck(route.name, found.again, found.words)


def _hold_to_bundle(manifest: Manifest, route: Route, claim: Claim) -> None:
    """The proof is of the network that the bundle splits, and of its predicted times."""
    problem, cut = claim.problem, claim.cut
    graph, source = problem.graph, manifest.source
    _same_tensors("inputs", graph.inputs, source.inputs)
    _same_tensors("results", graph.output_tensors, source.outputs)
    if route.codec is not None:
        return
    _same_tensors("tensors that cross", cut.boundary, route.crosses)
    held = sum(manifest.parts[name].layers for name in route.before)
    known = len(cut.head) - graph.input_count
    if held != known:
        raise _other(f"the head has {held} layers, in the proof {known}")
    cost = problem.costs.of(cut)
    told = {"the head": (route.predicted.site_ms.get(DEVICE, 0.0), cost.head_s),
            "the link": (route.predicted.link_ms, cost.link_s)}  # fmt: skip
    for what, (ms, seconds) in told.items():
        if not math.isclose(ms, seconds * 1e3, rel_tol=1e-6, abs_tol=_ROUNDED_MS):
            raise _other(f"{what} takes {ms:g} ms, by the proof's prices {seconds * 1e3:g}")


def _same_tensors(what: str, known: tuple[Tensor, ...], told: tuple[TensorSpec, ...]) -> None:
    if {tensor.name for tensor in known} != {spec.name for spec in told}:
        raise _other(f"they disagree about the {what}")


def _other(why: str) -> BadBundleError:
    return BadBundleError(WRONG, at=PROOF, why=f"it is of another split: {why}")
