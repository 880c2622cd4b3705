# SPDX-License-Identifier: Apache-2.0
"""The page of errors has every class with its exit code, and only messages that there are."""

from __future__ import annotations

import re

import pytest

from messages import classes, messages, tables
from places import DOCS

TEXT = (DOCS / "troubleshooting.md").read_text("utf-8")
SECTIONS = {
    heading: section
    for heading, _, section in (part.partition("\n") for part in TEXT.split("\n## ")[1:])
}


@pytest.mark.parametrize("name", ["SplitcError", *classes()])
def test_every_error_has_a_section_with_its_exit_code(name: str) -> None:
    from splitc import errors

    code = getattr(errors, name).exit_code
    assert [h for h in SECTIONS if name in h and h.partition("exit code ")[2].startswith(str(code))]


def test_every_message_of_the_page_is_one_of_that_error() -> None:
    for heading, section in SECTIONS.items():
        known = {
            " ".join(what.split())
            for name in classes()
            if name in heading
            for what in messages()[name]
        }
        shown = {row.replace("`", "") for row in re.findall(r"^\| (`[^|]*`) \|", section, re.M)}
        assert not shown - known, f"{heading}: {sorted(shown - known)} of {sorted(known)}"


def test_the_list_of_every_message_has_a_table_an_error() -> None:
    made = tables()
    assert [name for name in classes() if f"### Messages of {name}\n" in made] == [
        name for name in classes() if messages()[name]
    ]
    assert "| `there is no layer '…'` |" in made
