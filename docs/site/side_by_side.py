# SPDX-License-Identifier: Apache-2.0
"""A Sphinx extension: blocks side by side, and pages that everybody can read.

A shell block and the Python block right behind it stand side by side; blocks that scroll can be
reached by the tab key, and captions of the navigation say their level.
"""

from __future__ import annotations

from typing import Any

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.transforms.post_transforms import SphinxPostTransform

SHELL = ("sh", "console")
STOP = ' tabindex="0" '
_AFTER_THE_THEME = 900


class PairBlocks(SphinxPostTransform):
    """Put a shell block and a Python block that follows it at once into one container.

    The pages stay plain Markdown, where the two are simply one below the other; the style sheet
    lays the container out in two columns where there is room.
    """

    default_priority = 700
    formats = ("html",)

    def run(self, **_kwargs: Any) -> None:
        """Pair the blocks of one page."""
        for block in list(self.document.findall(nodes.literal_block)):
            behind = block.next_node(descend=False, siblings=True)
            if not isinstance(behind, nodes.literal_block) or block.get("language") not in SHELL:
                continue
            if behind.get("language") != "python":
                continue
            pair = nodes.container(classes=["pair"])
            block.replace_self(pair)
            behind.parent.remove(behind)
            pair += [_named("Shell", block), _named("Python", behind)]


def _named(name: str, block: nodes.literal_block) -> nodes.container:
    title = nodes.paragraph("", name, classes=["pair-name"])
    return nodes.container("", title, block)


def reachable(*arguments: Any) -> None:
    """Change what Sphinx and its theme write so that screen readers and keyboards get on."""
    context: dict[str, Any] = arguments[3]
    if "furo_navigation_tree" in context:
        navigation: str = context["furo_navigation_tree"]
        levels = navigation.replace('role="heading"', 'role="heading" aria-level="2"')
        context["furo_navigation_tree"] = levels
    for scrolls in ("<pre", '<div class="table-wrapper', "<p><img"):
        stop = scrolls.replace("<pre", "<pre ").replace("<p>", "<p >").replace(" ", STOP, 1)
        context["body"] = context.get("body", "").replace(scrolls, stop)


def setup(app: Sphinx) -> dict[str, Any]:
    """Register both."""
    app.add_post_transform(PairBlocks)
    app.connect("html-page-context", reachable, priority=_AFTER_THE_THEME)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
