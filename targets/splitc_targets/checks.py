# SPDX-License-Identifier: Apache-2.0
"""What `splitc doctor` asks of this pack."""

from __future__ import annotations

from splitc.build.doctor import Check, package
from splitc_targets.link.cache import cache_dir
from splitc_targets.link.runtime_libs import FFI, LIBRARIES, TVM


def checks() -> list[Check]:
    """Compiler, linker, and which runtime libraries are already here."""
    found = [
        package("apache-tvm", needed=True, hint=f"pip install apache-tvm=={TVM}"),
        package("apache-tvm-ffi", needed=True),
        package("ziglang", needed=True),
    ]
    for isa in ("aarch64", "x86_64"):
        folder = cache_dir() / f"runtime/tvm-{TVM}-ffi-{FFI}-{isa}"
        here = all((folder / name).is_file() for name in LIBRARIES)
        hint = "fetched through pip by the first compile for it"
        found.append(Check(f"runtime {isa}", "cached" if here else "", needed=False, hint=hint))
    return found
