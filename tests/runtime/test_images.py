# SPDX-License-Identifier: Apache-2.0
"""Image files as frames; Pillow decodes, numpy is the oracle for what it is made into."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from splitc.errors import UsageError
from splitc.runtime.inputs import read_inputs
from splitc.runtime.manifest import TensorSpec

PIXELS = np.random.default_rng(0).integers(0, 256, (5, 7, 3), np.uint8)


def spec(*shape: int, dtype: str = "uint8") -> TensorSpec:
    return TensorSpec(name="x", dtype=dtype, shape=shape, bytes=int(np.prod(shape)))


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    Image.fromarray(PIXELS).save(tmp_path / "photo.png")
    return tmp_path / "photo.png"


def test_channels_come_where_the_input_has_them(photo: Path) -> None:
    for shape, wanted in (
        ((1, 5, 7, 3), PIXELS[None]),
        ((5, 7, 3), PIXELS),
        ((1, 3, 5, 7), PIXELS.transpose(2, 0, 1)[None]),
    ):
        found = read_inputs(photo, [spec(*shape)])
        assert len(found) == 1
        assert found.single
        np.testing.assert_array_equal(found[0]["x"], wanted)


def test_grey_and_alpha_are_made_what_the_input_takes(tmp_path: Path) -> None:
    Image.fromarray(np.full((4, 4, 4), 200, np.uint8), "RGBA").save(tmp_path / "a.png")
    for channels in (1, 3, 4):
        found = read_inputs(tmp_path / "a.png", [spec(1, 4, 4, channels)])
        assert found[0]["x"].shape == (1, 4, 4, channels)
        assert (found[0]["x"] == 200).all()


def test_another_size_is_resized(tmp_path: Path) -> None:
    Image.fromarray(np.full((40, 60, 3), (10, 20, 30), np.uint8)).save(tmp_path / "a.jpg")
    got = read_inputs(tmp_path / "a.jpg", [spec(1, 3, 8, 6)])[0]["x"]
    assert got.shape == (1, 3, 8, 6)
    assert np.abs(got[0].mean((1, 2)) - (10, 20, 30)).max() <= 2  # JPEG rounds


def test_a_folder_holds_images_beside_arrays(photo: Path) -> None:
    np.save(photo.parent / "a.npy", np.zeros((2, 1, 5, 7, 3), np.uint8))
    found = read_inputs(photo.parent, [spec(1, 5, 7, 3)])
    assert len(found) == 3
    np.testing.assert_array_equal(found[2]["x"], PIXELS[None])


def test_what_is_no_image_or_no_input_of_images_is_named(photo: Path) -> None:
    with pytest.raises(UsageError, match=r"input 'x' takes none(?s:.)*float32(?s:.)*--preprocess"):
        read_inputs(photo, [spec(1, 3, 5, 7, dtype="float32")])
    with pytest.raises(UsageError, match="takes none"):
        read_inputs(photo, [spec(2, 3, 5, 7)])
    with pytest.raises(UsageError, match="2 inputs"):
        read_inputs(photo, [spec(1, 5, 7, 3), spec(1, 5, 7, 3)])
    with pytest.raises(UsageError, match="there is no file"):
        read_inputs(photo.with_name("other.png"), [spec(1, 5, 7, 3)])
    whole = photo.read_bytes()
    photo.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(UsageError, match="no image that can be read"):
        _ = read_inputs(photo, [spec(1, 5, 7, 3)])[0]
