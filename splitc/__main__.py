# SPDX-License-Identifier: Apache-2.0
"""`python -m splitc`, where the program `splitc` is not on the path."""

from __future__ import annotations

from splitc.cli import main

main()
