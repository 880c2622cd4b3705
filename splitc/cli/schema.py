# SPDX-License-Identifier: Apache-2.0
"""`splitc schema`: the JSON schema of a bundle's manifests."""

from __future__ import annotations

from splitc.cli import options as o


def schema(json: o.Json = False, quiet: o.Quiet = False) -> None:
    """Print the JSON schema of the manifests (always JSON)."""
    from splitc.cli import show
    from splitc.runtime.manifest import json_schema

    show.print_json(json_schema())
