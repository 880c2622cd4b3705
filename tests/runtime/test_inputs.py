# SPDX-License-Identifier: Apache-2.0
"""Frames out of files: what is read, in which order, and what is refused before anything runs."""

from __future__ import annotations

import io
import pickle
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from splitc.arrays import Array
from splitc.errors import UsageError
from splitc.runtime.inputs import read_inputs
from splitc.runtime.manifest import TensorSpec

X = TensorSpec(name="x", dtype="float32", shape=(1, 3, 4), bytes=48)
M = TensorSpec(name="m", dtype="int64", shape=(5,), bytes=40)


def some(*shape: int, seed: int = 0) -> Array:
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


@pytest.mark.parametrize("shape", [(1, 3, 4), (1, 1, 3, 4), (7, 1, 3, 4), (7, 3, 4)])
def test_an_npy_file_holds_one_frame_or_several(shape: tuple[int, ...], tmp_path: Path) -> None:
    given = some(*shape)
    np.save(tmp_path / "x.npy", given)
    found = read_inputs(tmp_path / "x.npy", [X])
    assert len(found) == given.size // 12
    assert found.single == (shape == (1, 3, 4))
    for frame, expected in zip(found, given.reshape(-1, 1, 3, 4), strict=True):
        np.testing.assert_array_equal(frame["x"], expected)
    np.testing.assert_array_equal(found[-1]["x"], given.reshape(-1, 1, 3, 4)[-1])
    assert found.labels is None


def test_an_npz_file_has_inputs_by_name_and_labels(tmp_path: Path) -> None:
    x, m = some(4, 1, 3, 4), np.arange(20).reshape(4, 5)
    np.savez(tmp_path / "a.npz", x=x, m=m, labels=np.arange(4))
    found = read_inputs(tmp_path / "a.npz", [X, M])
    assert len(found) == 4
    np.testing.assert_array_equal(found[2]["x"], x[2])
    np.testing.assert_array_equal(found[2]["m"], m[2])
    assert found.labels is not None
    np.testing.assert_array_equal(found.labels, np.arange(4))


def test_a_folders_files_come_by_name_each_with_any_number_of_frames(tmp_path: Path) -> None:
    np.save(tmp_path / "b.npy", some(1, 3, 4, seed=1))
    np.savez(tmp_path / "c.npz", x=some(2, 1, 3, 4, seed=2), y=[0, 1])
    np.save(tmp_path / "a.npy", some(3, 1, 3, 4, seed=0))
    (tmp_path / "notes.txt").write_text("not a frame")
    found = read_inputs(tmp_path, [X])
    expected = [*some(3, 1, 3, 4, seed=0), some(1, 3, 4, seed=1), *some(2, 1, 3, 4, seed=2)]
    assert len(found) == 6
    for frame, one in zip(found, expected, strict=True):
        np.testing.assert_array_equal(frame["x"], one)
    np.testing.assert_array_equal(found[1:3][1]["x"], expected[2])
    assert found.labels is None, "only some of the files have labels"


def test_another_byte_order_on_disk_is_the_machines_own_in_memory(tmp_path: Path) -> None:
    given = some(2, 1, 3, 4)
    np.save(tmp_path / "x.npy", given.astype(">f4"))
    frame = read_inputs(tmp_path / "x.npy", [X])[1]["x"]
    assert frame.dtype.isnative
    np.testing.assert_array_equal(frame, given[1])


def nothing(folder: Path) -> Path:
    return folder / "x.npy"


def another_suffix(folder: Path) -> Path:
    (folder / "x.bin").write_bytes(b"\x89PNG")
    return folder / "x.bin"


def empty_folder(folder: Path) -> Path:
    return folder


def junk(folder: Path) -> Path:
    (folder / "x.npy").write_bytes(b"junk")
    return folder / "x.npy"


def junk_npz(folder: Path) -> Path:
    (folder / "x.npz").write_bytes(b"PK\x03\x04 but no more")
    return folder / "x.npz"


def pickled(folder: Path) -> Path:
    np.save(folder / "x.npy", np.array([{}], object), allow_pickle=True)
    return folder / "x.npy"


def bare_pickle(folder: Path) -> Path:
    (folder / "x.npz").write_bytes(pickle.dumps({"x": 1}))
    return folder / "x.npz"


def bomb(folder: Path) -> Path:
    """An array that says that it is of 48 TB, in a zip."""
    text = "{'descr': '<f4', 'fortran_order': False, 'shape': (999999999999, 1, 3, 4), }"
    header = text.ljust(117).encode() + b"\n"
    array = b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header
    with zipfile.ZipFile(folder / "x.npz", "w") as archive:
        archive.writestr("x.npy", array)
    return folder / "x.npz"


def cut_short(folder: Path) -> Path:
    data = io.BytesIO()
    np.save(data, some(7, 1, 3, 4))
    (folder / "x.npy").write_bytes(data.getvalue()[:-1])
    return folder / "x.npy"


def another_shape(folder: Path) -> Path:
    np.save(folder / "x.npy", some(2, 4, 4))
    return folder / "x.npy"


def another_dtype(folder: Path) -> Path:
    np.save(folder / "x.npy", np.zeros((1, 3, 4)))
    return folder / "x.npy"


def no_frames(folder: Path) -> Path:
    np.save(folder / "x.npy", some(0, 1, 3, 4))
    return folder / "x.npy"


def another_name(folder: Path) -> Path:
    np.savez(folder / "x.npz", x=some(1, 3, 4), xx=some(1, 3, 4))
    return folder / "x.npz"


@pytest.mark.parametrize(
    ("make", "why"),
    [
        (nothing, "there is no file"),
        (another_suffix, "holds no frames"),
        (empty_folder, "has no frames"),
        (junk, "is no .npy file"),
        (junk_npz, "is no .npz file"),
        (pickled, "is no .npy file"),
        (bare_pickle, "is no .npz file"),
        (bomb, "is no .npz file"),
        (cut_short, "is no .npy file"),
        (another_shape, "does not fit"),
        (another_dtype, "does not fit"),
        (no_frames, "or none"),
        (another_name, "no input 'xx'"),
    ],
)
def test_what_is_no_frame_is_refused_before_anything_runs(
    make: Callable[[Path], Path], why: str, tmp_path: Path
) -> None:
    with pytest.raises(UsageError, match=why) as caught:
        read_inputs(make(tmp_path), [X])
    assert caught.value.exit_code == 2


def test_several_inputs_need_names(tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", some(1, 3, 4))
    with pytest.raises(UsageError, match="holds one array"):
        read_inputs(tmp_path / "x.npy", [X, M])
