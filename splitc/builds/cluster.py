# SPDX-License-Identifier: Apache-2.0
# pyright: reportMissingImports=false, reportUnknownMemberType=false
# pyright: reportUnknownVariableType=false, reportUnknownArgumentType=false
"""Builds on as many machines as a Ray cluster has."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from typing import Any

from splitc.builds.key import code_digest, machine, tool_versions
from splitc.builds.messages import Began, Done, Failure, Group, Said
from splitc.sweep.cluster import joined


class ClusterPool:
    """A Ray cluster that compiles groups of bundles, a group on a machine at a time.

    The folder of the bundles has to be at one path on all its machines, on a shared file system,
    and splitc has to be installed on each. A machine whose processor, packages or splitc are
    others than here would make other bytes, and compiles nothing.

    Args:
        address: As Ray has it: `auto`, `HOST:PORT`, `ray://HOST:PORT`; or `local`.

    Raises:
        ToolchainError: Ray is not installed.
        DeviceError: There is no cluster, or it fails.
    """

    def __init__(self, address: str) -> None:
        self._address = address

    def each(self, groups: Sequence[Group]) -> Generator[Began | Done]:
        """Compile groups; what became of each bundle, group by group as they are done."""
        with joined(self._address) as ray:
            compiled = ray.remote(_compile)
            left = [compiled.remote(group, _here()) for group in groups]
            while left:
                done, left = ray.wait(left)
                for one in done:
                    yield from ray.get(one)


def _here() -> tuple[str, str, dict[str, str]]:
    """What of a machine the bytes hang on that it compiles."""
    return machine(), code_digest(), tool_versions()


def _compile(group: Group, wanted: tuple[str, str, dict[str, str]]) -> list[Any]:
    """What became of each bundle of a group."""
    from splitc.builds.worker import compile_group

    names = ("processor", "splitc", "package versions")
    others = [n for n, a, b in zip(names, wanted, _here(), strict=True) if a != b]
    if others:
        failure = Failure(
            "DeviceError", "a machine of the cluster would make other bytes",
            why=f"it has another {', another '.join(others)}", exit_code=8,
            hint="have all machines alike, or build without --ray",
        )  # fmt: skip
        return [Done(task.number, 0.0, failure=failure) for task in group.tasks]
    said: list[Said] = []
    compile_group(group, said.append)
    return [one for one in said if isinstance(one, Done)]
