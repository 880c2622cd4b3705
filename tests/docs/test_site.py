# SPDX-License-Identifier: Apache-2.0
"""The site: links checked, every option and public name shown, tables of contents as linked."""

from __future__ import annotations

from pathlib import Path

import pytest
from sphinx.cmd.build import build_main

import splitc
from build_site import contents, lay_out
from docstrings import mark_code
from fields import fields
from made import fill, names, options, verbs
from places import DOCS, ROOT, LinkError, moved
from splitc.cli.app import VERBS
from splitc.cli.schema import verbs as printed


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What Sphinx reads."""
    folder = tmp_path_factory.mktemp("site") / "source"
    lay_out(folder)
    return folder


def test_every_page_is_laid_out_with_what_is_made_from_the_code(source: Path) -> None:
    pages = [page.read_text("utf-8") for page in source.rglob("*.md")]
    assert not [text for text in pages if "\n<!-- made:" in text]
    compile_page = (source / "verbs" / "compile.md").read_text("utf-8")
    assert "| `--target`, `-t` `BOARD` | `rpi4` | Board of the device; `splitc targets`" in (
        compile_page
    )


@pytest.mark.parametrize("verb", VERBS)
def test_a_verbs_table_has_every_option_that_its_help_has(verb: str) -> None:
    table = options(verb)
    for one in verbs()[verb].params:
        if one.param_type_name == "option" and not one.hidden and one.name != "help":
            assert all(f"`{flag}`" in table for flag in (*one.opts, *one.secondary_opts))
    assert "[b]" not in table
    assert "[/" not in table


@pytest.mark.parametrize("verb", [verb for verb in VERBS if verb != "schema"])
def test_a_verbs_page_has_every_field_that_it_prints(verb: str) -> None:
    table = fields(verb)
    for struct in printed()[verb]:
        assert all(f"| `{name}` | " in table for name in struct.__struct_encode_fields__)


def test_the_reference_has_every_public_name() -> None:
    made = names("")
    assert not [n for n in splitc.__all__ if n[0] != "_" and f":: splitc.{n}\n" not in made]


def test_links_lead_to_the_same_file_in_the_site() -> None:
    text = "[a](../CHANGELOG.md), [`b`](running.md#errors), [c](../examples/si_nr.py), `[d](e)`"
    got = moved(DOCS / "adaptive.md", text)
    assert got.text == (
        "[a](project/CHANGELOG.md), [`b`](running.md#errors), [c](files/examples/si_nr.py), "
        "`[d](e)`"
    )
    assert got.needs == {ROOT / "examples" / "si_nr.py"}


@pytest.mark.parametrize("target", ["nothing.md", "../../outside.md", "http:/x", "htp://x.org"])
def test_a_link_that_leads_nowhere_is_refused(target: str) -> None:
    with pytest.raises(LinkError, match="no file|no web address"):
        moved(DOCS / "adaptive.md", f"[a]({target})")


def test_the_table_of_contents_is_what_the_first_page_links() -> None:
    text = contents("index.md", "# x\n\n## How-to\n\n- [Run](running.md)\n- [Web](https://a.org)\n")
    assert "```{toctree}\n:hidden:\n:caption: How-to\n\nrunning.md\n```" in text


def test_nothing_is_made_under_an_unknown_name() -> None:
    with pytest.raises(KeyError, match="nonsense"):
        fill("<!-- made: nonsense -->\n")


def test_an_indented_block_of_a_docstring_is_code() -> None:
    lines = ["What it does.", "", "    with x:", "        y", "", "Args:", "    a: b", ""]
    mark_code(lines)
    assert lines == [
        "What it does.", "", "::", "", "    with x:", "        y", "", "Args:", "    a: b", "",
    ]  # fmt: skip


PAGES = {
    "good": "# A\n\n```sh\nsplitc cuts\n```\n\n```python\nimport splitc\n```\n\n[b](#a)\n",
    "no such anchor": "# A\n\n[b](#nothing)\n",
    "no such page": "# A\n\n[b](nothing.md)\n",
}


@pytest.mark.parametrize("page", PAGES)
def test_a_broken_link_or_anchor_fails_the_site(page: str, source: Path, tmp_path: Path) -> None:
    (tmp_path / "index.md").write_text(PAGES[page], "utf-8")
    arguments = ["-q", "-W", "-c", str(source), "-D", "html_static_path="]
    done = build_main([*arguments, str(tmp_path), str(tmp_path / "out")])
    assert (done == 0) == (page == "good")
    if page == "good":
        made = (tmp_path / "out" / "index.html").read_text("utf-8")
        pair = made.partition('<div class="pair docutils container">')[2].partition("</section>")[0]
        assert pair.index("Shell") < pair.index("Python") < pair.index("import")
