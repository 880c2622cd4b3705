# SPDX-License-Identifier: Apache-2.0
"""The passes and cut algorithms that come with splitc."""

from splitc.plugins import Plugin

PLUGIN = Plugin(
    passes={
        "group-blocks": "splitc_passes.group_blocks:GroupBlocks",
        "insert-dropout": "splitc_passes.insert_dropout:InsertDropout",
        "find-min-cut": "splitc_passes.find_min_cut:FindMinCut",
    },
    cutters={"min-cut": "splitc_passes.min_cut:MinCut"},
)
