# SPDX-License-Identifier: Apache-2.0
"""What `splitc doctor` asks of this pack."""

from __future__ import annotations

from splitc.build.doctor import Check, package


def checks() -> list[Check]:
    """Compiler and linker."""
    return [
        package("apache-tvm", needed=True),
        package("apache-tvm-ffi", needed=True),
        package("ziglang", needed=True),
    ]
