# SPDX-License-Identifier: Apache-2.0
"""What `splitc doctor` asks of this pack."""

from __future__ import annotations

from functools import partial

from splitc.build.doctor import Check, package
from splitc.cost.board import boards
from splitc_targets.link.toolchain import runtime, runtime_is_built


def checks() -> list[Check]:
    """Compiler and linker, and what is built once for each instruction set."""
    found = [
        package("apache-tvm", needed=True),
        package("apache-tvm-ffi", needed=True),
        package("ziglang", needed=True),
    ]
    return [*found, *_runners()] if all(check.ok for check in found) else found


def _runners() -> list[Check]:
    """The runners, with the C libraries that zig builds for them."""
    known = sorted({(b.processor.isa, b.processor.glibc) for b in boards().values()})
    hint = "the first compile builds it, about half a minute; splitc doctor --fetch does it now"
    return [
        Check(
            f"runner {isa}", f"built, for glibc {glibc}" if runtime_is_built(isa, glibc) else "",
            needed=False, hint=hint, make=partial(runtime, isa, glibc),
        )
        for isa, glibc in known
    ]  # fmt: skip
