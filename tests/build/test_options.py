# SPDX-License-Identifier: Apache-2.0
"""What is asked of a compilation, as text: the flags and what they stand for."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path

import msgspec
import pytest

import splitc
from splitc.build.options import CompileOptions
from splitc.cli.compile_flags import CompileFlags
from splitc.errors import UsageError


def test_every_flag_of_compile_is_an_option_with_the_same_default() -> None:
    options = {one.name: one.default for one in msgspec.structs.fields(CompileOptions)}
    flags = {one.name: one.default for one in fields(CompileFlags)}
    # A flag that may be given several times is None where it is not given.
    once = {name: () if options[name] == () else default for name, default in flags.items()}
    assert once == {name: default for name, default in options.items() if name != "model"}


def test_what_is_written_down_compiles_to_the_same_bytes(small_onnx: Path, tmp_path: Path) -> None:
    asked = CompileOptions(model=str(small_onnx), cut="stem_relu", emit="onnx", target="rpi5")
    again = msgspec.json.decode(msgspec.json.encode(asked), type=CompileOptions)
    written = again.build(again.job(again.load()), tmp_path / "a.splitc")
    plain = splitc.compile(
        small_onnx, cut="stem_relu", emit="onnx", head="rpi5", output=tmp_path / "b.splitc"
    )
    assert (written.path / "manifest.json").read_bytes() == (
        plain.path / "manifest.json"
    ).read_bytes()
    assert '"cut": "stem_relu"' in (written.path / "build.json").read_text()


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"runtime": "some"}, "--runtime some"),
        ({"bits": "x"}, "--bits x"),
        ({"target": "rpi44"}, "no target 'rpi44'"),
        ({"precision": "tf64"}, "precision"),
        ({"precision": "tf32"}, "--precision tf32 does nothing"),
        ({"precision": "tf32", "tail_target": "cuda-sm75"}, "does not multiply in tf32"),
        ({"calibrate": "a.npz", "server_input": "tensor"}, "--calibrate does nothing"),
    ],
)
def test_what_is_malformed_is_refused_before_anything_is_read(
    given: dict[str, str], says: str
) -> None:
    with pytest.raises(UsageError, match=says):
        msgspec.convert({"model": "none.onnx", **given}, CompileOptions).refuse()
