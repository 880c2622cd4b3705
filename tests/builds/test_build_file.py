# SPDX-License-Identifier: Apache-2.0
"""Files that say which bundles to build."""

from __future__ import annotations

from pathlib import Path

import pytest

from splitc.builds.build_file import read_build_file
from splitc.errors import UsageError


def entries(folder: Path, text: str) -> list[tuple[str, str, str]]:
    """Name of the output, target and cut of each bundle."""
    (folder / "splitc.toml").write_text(text)
    found = read_build_file(folder / "splitc.toml")
    return [(one.output.name, one.options.target, one.options.cut) for one in found]


def test_a_list_makes_a_bundle_of_each_and_their_names_tell_them_apart(tmp_path: Path) -> None:
    text = '[[bundle]]\nmodel = "net.onnx"\ntarget = ["rpi4", "rpi5"]\ncut = ["auto", "layer2"]\n'
    assert entries(tmp_path, text) == [
        ("net-rpi4-auto.splitc", "rpi4", "auto"),
        ("net-rpi4-layer2.splitc", "rpi4", "layer2"),
        ("net-rpi5-auto.splitc", "rpi5", "auto"),
        ("net-rpi5-layer2.splitc", "rpi5", "layer2"),
    ]


def test_defaults_stand_at_the_top_and_in_the_table_of_compile(tmp_path: Path) -> None:
    text = 'target = "rpi5"\n[compile]\ncut = "x"\n[[bundle]]\nmodel = "a.onnx"\n'
    text += '[[bundle]]\nmodel = "b.onnx"\ntarget = "host"\n'
    assert entries(tmp_path, text) == [("a.splitc", "rpi5", "x"), ("b.splitc", "host", "x")]


def test_options_are_written_with_either_dash_and_numbers_for_text(tmp_path: Path) -> None:
    text = '[[bundle]]\nmodel = "a.onnx"\ntail-target = "x86-64-v3"\nmax_head_ms = 5\nbits = 8\n'
    (tmp_path / "splitc.toml").write_text(text)
    (one,) = read_build_file(tmp_path / "splitc.toml")
    assert one.options.tail_target == "x86-64-v3"
    assert one.options.max_head_ms == 5.0
    assert one.options.bits == "8"


@pytest.mark.parametrize(
    ("text", "says", "hint"),
    [
        ('[[bundle]]\nmodel = "a.onnx"\ntargte = "rpi4"', "unknown option 'targte'", "target"),
        ('[[bundle]]\nmodel = "a.onnx"\nfial-on = "x"', "unknown option 'fial-on'", "fail-on"),
        ('[[bundle]]\ntarget = "rpi4"', "no model", "model ="),
        ('[[bundle]]\nmodel = "a.onnx"\nseed = "x"', "wrong value", ""),
        ('[[bundle]]\nmodel = "a.onnx"\noutput = "{targt}"', "names no option", "target"),
        ('[[bundle]]\nmodel = "a.onnx"\noutput = "{model.x}"', "names no option", ""),
        ('[[bundle]]\nmodel = ["a.onnx", "b.onnx"]\noutput = "o"', "written to", "{target}"),
        ('[[bundle]]\nmodel = "a.onnx"\n[[bundle]]\nmodel = "d/a.onnx"', "written to", "{model}"),
        ('[bundle]\nmodel = "a.onnx"', "no [[bundle]] table", "[[bundle]]"),
        ("[[bundle", "cannot read", ""),
    ],
)
def test_what_is_wrong_in_a_file_is_said(tmp_path: Path, text: str, says: str, hint: str) -> None:
    with pytest.raises(UsageError, match=".") as caught:
        entries(tmp_path, text)
    assert says in caught.value.what
    assert hint in caught.value.hint


def test_a_file_that_is_not_there_says_how_to_name_a_network(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="cannot read") as caught:
        read_build_file(tmp_path / "splitc.toml")
    assert "splitc build net.onnx" in caught.value.hint


def test_the_example_names_bundles_that_are_each_somewhere_else() -> None:
    found = read_build_file(Path(__file__).parents[2] / "examples" / "splitc.toml")
    assert len({one.output for one in found}) == len(found) > 3
