# SPDX-License-Identifier: Apache-2.0
"""The bill of materials in a bundle: CycloneDX, the same bytes for the same bundle.

References:
    ECMA-424, CycloneDX 1.6.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path
from typing import Any, cast

from splitc.build.backend import Shipped
from splitc.build.job import Job
from splitc.build.parts import Parts
from splitc.bundle.record import DataFile
from splitc.epoch import date_of
from splitc.runtime.files import file_entry
from splitc.runtime.manifest import MANIFEST

SBOM = "sbom.cdx.json"

_NAMESPACE = uuid.uuid5(uuid.NAMESPACE_URL, "https://cyclonedx.org/")
"""Of serial numbers, which are made of what they number."""

_LICENCES = {
    "apache-tvm": "Apache-2.0", "llvm": "Apache-2.0 WITH LLVM-exception", "numpy": "BSD-3-Clause",
    "nvrtc": "LicenseRef-NVIDIA-Proprietary",
    "onnx": "Apache-2.0", "onnxruntime": "MIT", "splitc": "Apache-2.0", "torch": "BSD-3-Clause",
    "zig": "MIT",
}  # fmt: skip
"""Of the tools that splitc itself names; a backend of someone else's may name others."""

_PACKAGES = {"zig": "ziglang", "llvm": "", "nvrtc": "nvidia-cuda-nvrtc"}
"""Where a tool's package is called otherwise; "" where it comes inside another."""


def write_sbom(
    folder: Path, job: Job, built: Parts, data: Sequence[DataFile], tools: dict[str, str]
) -> None:
    """Write a bundle's bill of materials.

    The model, what its codec was calibrated with, the tools that shaped the bytes, each part
    and whose software is in its files. It has a time only where SOURCE_DATE_EPOCH gives one.

    Args:
        folder: The bundle's, with its parts written.
        job: What was compiled.
        built: What was built.
        data: Files that were read beside the model.
        tools: Versions by tool.
    """
    from cyclonedx.model import bom, tool
    from cyclonedx.output.json import JsonV1Dot6

    library, tools_of = cast("Any", bom), cast("Any", tool)
    bundle = _component(
        "APPLICATION", "bundle", job.name, version=built.split,
        description="A network in parts for a device and a server.",
    )  # fmt: skip
    name, digest = job.asked.get("model") or job.source.name or job.name, job.source.digest
    model = _component("MACHINE_LEARNING_MODEL", "model", name, hashes=_sha256(digest))
    files = [
        _component(
            "DATA", f"data:{one.option}", one.name, description=f"given as --{one.option}",
            hashes=_sha256(one.sha256),
        )
        for one in data
    ]  # fmt: skip
    parts = [_part(folder, job, name, built) for name in built.formats]
    bill = library.Bom(
        metadata=library.BomMetaData(
            component=bundle, timestamp=date_of(job.epoch),
            tools=tools_of.ToolRepository(components=[_tool(*one) for one in tools.items()]),
        ),
        components=[model, *files, *parts],
    )  # fmt: skip
    bill.register_dependency(bundle, parts)
    for part in parts:
        bill.register_dependency(part, [model, *part.components])
    made: dict[str, Any] = json.loads(JsonV1Dot6(bill).output_as_string())
    (folder / SBOM).write_text(_settled(made, timed=job.epoch is not None), "utf-8")


def _settled(made: dict[str, Any], *, timed: bool) -> str:
    """A bill without what the library draws: a serial number of its own, the time of day."""
    if not timed:
        del made["metadata"]["timestamp"]
    del made["serialNumber"]
    number = uuid.uuid5(_NAMESPACE, json.dumps(made, sort_keys=True))
    return (
        json.dumps({**made, "serialNumber": f"urn:uuid:{number}"}, indent=2, sort_keys=True) + "\n"
    )


def _part(folder: Path, job: Job, name: str, built: Parts) -> Any:
    """A part, and in it whose software it is made of."""
    job_part = next(part for part in (*job.parts, *job.others) if part.name == name)
    native = built.formats[name] == "native"
    return _component(
        "APPLICATION" if native else "MACHINE_LEARNING_MODEL", f"part:{name}", name,
        description=f"for the {job_part.site}, {job_part.board.name}",
        hashes=_sha256(file_entry(folder / name / MANIFEST).sha256),
        components=[_piece(name, one) for one in built.shipped[name]],
    )  # fmt: skip


def _piece(part: str, one: Shipped) -> Any:
    from packageurl import PackageURL

    return _component(
        "LIBRARY", f"part:{part}/{one.name}", one.name, version=one.version,
        licenses=_licences(one.licence),
        purl=PackageURL.from_string(one.purl) if one.purl else None,
    )  # fmt: skip


def _tool(name: str, version: str) -> Any:
    from packageurl import PackageURL

    package = _PACKAGES.get(name, name)
    return _component(
        "APPLICATION", f"tool:{name}", name, version=version,
        licenses=_licences(_LICENCES.get(name, "")),
        purl=PackageURL("pypi", name=package, version=version) if _is_installed(package) else None,
    )  # fmt: skip


def _is_installed(package: str) -> bool:
    try:
        return bool(package and distribution(package))
    except PackageNotFoundError:
        return False


def _component(kind: str, ref: str, name: str, **fields: Any) -> Any:
    """A component; the library's classes are made in a way that type checkers do not follow."""
    from cyclonedx.model import component

    library = cast("Any", component)
    return library.Component(
        name=name, type=library.ComponentType[kind], bom_ref=ref, **fields
    )  # fmt: skip


def _licences(expression: str) -> list[Any]:
    from cyclonedx.contrib.license.factories import LicenseFactory

    return [LicenseFactory().make_from_string(expression)] if expression else []


def _sha256(digest: str) -> list[Any]:
    from cyclonedx import model

    library = cast("Any", model)
    return [library.HashType(alg=library.HashAlgorithm.SHA_256, content=digest)]
