# SPDX-License-Identifier: Apache-2.0
"""A stranger's pack: one of everything that splitc can be extended by, none of it in splitc.

It is installed as any distribution is, with an entry point in the group `splitc.plugins`.
"""

from pathlib import Path

from splitc.plugins import Plugin

PLUGIN = Plugin(
    passes={"rain": "stranger.rain:Rain"},
    kinds={"rain": "channel"},
    cutters={"deepest": "stranger.deepest:Deepest"},
    backends={"plain": "stranger.plain:PlainBackend"},
    loaders={"plain": "stranger.plain:PlainPart"},
    policies={"thrifty": "stranger.thrifty:Thrifty"},
    converters={"Det": "stranger.determinant"},
    boards=(Path(__file__).parent / "boards",),
)
