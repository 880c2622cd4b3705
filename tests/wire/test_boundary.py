# SPDX-License-Identifier: Apache-2.0
"""Tensors in chunks: which element is where, and what is read where a chunk did not come."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from splitc.arrays import Array
from splitc.errors import BadBundleError, SplitcError, UsageError
from splitc.link.packets import Scale, element_order
from splitc.runtime.manifest import Missing, TensorSpec
from splitc.runtime.tvm_abi import ALIGNMENT, address
from splitc.wire.boundary import Boundary
from splitc.wire.datagrams import Datagrams
from splitc.wire.header import Kind, read_header

TYPES = ("float32", "float16", "float64", "uint8", "int8", "int32", "int64", "bool")


def spec(dtype: str, *shape: int | None, name: str = "t") -> TensorSpec:
    """A tensor of a contract."""
    count = math.prod(extent or 0 for extent in shape)
    return TensorSpec(name=name, dtype=dtype, shape=shape, bytes=count * np.dtype(dtype).itemsize)


def values(one: TensorSpec, seed: int = 0) -> Array:
    """Values of a tensor, none of them 0."""
    drawn = np.random.default_rng(seed).integers(1, 100, [e or 0 for e in one.shape])
    return drawn.astype(one.dtype)


def rows_of(packets: Datagrams, boundary: Boundary) -> NDArray[np.uint8]:
    """What a receiver has of packets that all came [chunks, payload_bytes]."""
    rows = np.full((boundary.chunks, boundary.payload_bytes), 0xEE, np.uint8)
    for number in range(len(packets)):
        header, payload = read_header(packets.packet(number)), packets.payload(number)
        assert header is not None
        rows[header.chunk, : len(payload)] = np.frombuffer(payload, np.uint8)
    return rows


def plain_chunks(
    arrays: list[Array], payload_bytes: int, seed: int, units: list[int]
) -> list[bytes]:
    """What docs/wire.md says in a few words: one element after another."""
    chunks: list[bytes] = []
    for array, unit in zip(arrays, units, strict=True):
        data: bytes = array.astype(array.dtype.newbyteorder("<")).tobytes()
        size = unit * array.itemsize
        elements = [data[k : k + size].ljust(size, b"\0") for k in range(0, len(data), size)]
        order: list[int] = element_order(len(elements), seed).tolist()
        each = payload_bytes // size
        for k in range(0, len(order), each):
            chunks.append(b"".join(elements[i] for i in order[k : k + each]))
    return chunks


shapes = st.lists(st.integers(1, 7), min_size=0, max_size=4)
tensors = st.lists(
    st.tuples(st.sampled_from(TYPES), shapes, st.integers(1, 5)), min_size=1, max_size=3
)


@settings(max_examples=60, deadline=None)
@given(tensors, st.integers(40, 300), st.integers(0, 2**64 - 1))
def test_chunks_are_those_of_the_plain_description_and_come_back_whole(
    drawn: list[tuple[str, list[int], int]], payload_bytes: int, seed: int
) -> None:
    specs = [spec(dtype, *shape) for dtype, shape, _ in drawn]
    units = [unit for *_, unit in drawn]
    arrays = [values(one, k) for k, one in enumerate(specs)]
    boundary = Boundary(
        specs, payload_bytes, seed, [Missing(scale="none", unit=unit) for unit in units]
    )
    packets = boundary.pack(arrays, session=1, split=2, frame=3, route=4, extra=5)
    wanted = plain_chunks(arrays, payload_bytes, seed, units)
    assert [bytes(packets.payload(k)) for k in range(len(packets))] == wanted
    assert boundary.chunks == len(wanted)
    assert boundary.sizes.tolist() == [len(chunk) for chunk in wanted]
    for number in range(len(packets)):
        header = read_header(packets.packet(number))
        assert header == (Kind.DATA, 1, 2, 3, 4, number, len(wanted), 5)
    back, share = boundary.unpack(rows_of(packets, boundary), np.ones(len(wanted), bool))
    assert share == 1
    for array, received in zip(arrays, back, strict=True):
        assert received.dtype == array.dtype
        np.testing.assert_array_equal(received, array)


@settings(max_examples=60, deadline=None)
@given(tensors, st.integers(40, 300), st.data())
def test_what_did_not_come_is_zero_and_the_rest_as_it_was(
    drawn: list[tuple[str, list[int], int]], payload_bytes: int, data: st.DataObject
) -> None:
    specs = [spec(dtype, *shape) for dtype, shape, _ in drawn]
    units = [unit for *_, unit in drawn]
    arrays = [values(one, k) for k, one in enumerate(specs)]
    boundary = Boundary(
        specs, payload_bytes, 9, [Missing(scale="none", unit=unit) for unit in units]
    )
    packets = boundary.pack(arrays, session=1, split=2, frame=3)
    came = np.array(data.draw(st.lists(st.booleans(), min_size=len(packets),
                                       max_size=len(packets))), bool)  # fmt: skip
    back, share = boundary.unpack(rows_of(packets, boundary), came)
    chunk, kept, total = 0, 0, 0
    for array, received, unit in zip(arrays, back, units, strict=True):
        count = -(-array.size // unit)
        each = payload_bytes // (unit * array.itemsize)
        place = np.argsort(element_order(count, 9))
        arrived = came[chunk + place // each]
        chunk += -(-count // each)
        mask = np.repeat(arrived, unit)[: array.size].reshape(array.shape)
        np.testing.assert_array_equal(received, np.where(mask, array, 0))
        kept, total = kept + int(arrived.sum()) * unit, total + count * unit
    assert share == kept / total


@pytest.mark.parametrize("dtype", ["float32", "float16"])
def test_floats_are_scaled_by_the_rate_or_by_what_came(dtype: str) -> None:
    one = spec(dtype, 1, 1000)
    array = values(one)
    came = np.ones(20, bool)
    came[[3, 5, 11, 17]] = False
    factors: list[tuple[Scale, float]] = [("none", 1.0), ("rate", 1 / 0.7), ("realised", 1 / 0.8)]
    for scale, factor in factors:
        boundary = Boundary([one], 50 * array.itemsize, 0, [Missing(scale=scale)])
        rows = rows_of(boundary.pack([array], session=1, split=1, frame=0), boundary)
        (back,), share = boundary.unpack(rows, came, 0.3)
        assert share == 0.8
        assert np.count_nonzero(back) == 800
        wanted = np.where(back != 0, array * array.dtype.type(factor), 0)
        np.testing.assert_array_equal(back, wanted)


def test_the_rate_scales_a_frame_of_which_all_came_too() -> None:
    one = spec("float32", 8)
    boundary = Boundary([one], 8, 0, [Missing(scale="rate")])
    rows = rows_of(boundary.pack([values(one)], session=1, split=1, frame=0), boundary)
    (back,), _ = boundary.unpack(rows, np.ones(4, bool), 0.5)
    np.testing.assert_array_equal(back, values(one) * 2)


def test_nothing_that_came_is_scaled_by_nothing_and_integers_never() -> None:
    floats, levels = spec("float32", 8), spec("uint8", 8)
    rules = [Missing(scale="realised"), Missing(scale="rate")]
    boundary = Boundary([floats, levels], 4, 0, rules)
    arrays = [values(floats), values(levels)]
    rows = rows_of(boundary.pack(arrays, session=1, split=1, frame=0), boundary)
    came = np.array([False] * 8 + [True] * 2)
    back, share = boundary.unpack(rows, came, 0.5)
    np.testing.assert_array_equal(back[0], np.zeros(8, np.float32))
    np.testing.assert_array_equal(back[1], arrays[1])
    assert share == 0.5


def test_missing_elements_read_as_the_pattern_at_their_place_in_the_tensor() -> None:
    one = spec("uint8", 1, 100)
    boundary = Boundary([one], 10, 3, [Missing(fill="0a0b0c")])
    rows = rows_of(boundary.pack([values(one)], session=1, split=1, frame=0), boundary)
    came = np.ones(10, bool)
    came[[0, 4, 9]] = False
    (back,), _ = boundary.unpack(rows, came)
    pattern = np.resize(np.array([10, 11, 12], np.uint8), 100)
    lost = np.isin(np.argsort(element_order(100, 3)) // 10, [0, 4, 9])
    np.testing.assert_array_equal(back[0], np.where(lost, pattern, values(one)[0]))


def test_what_is_unpacked_is_aligned_as_compiled_parts_want_it() -> None:
    specs = [spec("uint8", 3), spec("float32", 1000), spec("uint8", 77)]
    boundary = Boundary(specs, 100, 3)
    arrays = [values(one) for one in specs]
    rows = rows_of(boundary.pack(arrays, session=1, split=1, frame=0), boundary)
    for array in boundary.unpack(rows, np.ones(boundary.chunks, bool))[0]:
        assert address(array) % ALIGNMENT == 0
        assert array.flags.c_contiguous


@pytest.mark.parametrize(
    ("specs", "payload", "missing", "error", "match"),
    [
        ([spec("float32", 4)], 3, [], UsageError, "payload_bytes 3 holds no element"),
        ([spec("uint8", 70_000)], 1, [], UsageError, "it cannot be sent"),
        ([spec("uint8", 2**40, 2**40)], 1404, [], UsageError, "it cannot be sent"),
        ([spec("float32", 4, None)], 99, [], BadBundleError, "'t' cannot be sent"),
        ([spec("float32", -4)], 99, [], BadBundleError, "'t' cannot be sent"),
        ([], 99, [], BadBundleError, "there is nothing to send"),
        ([spec("float32", 0)], 99, [], BadBundleError, "there is nothing to send"),
        ([spec("float32", 1)], 99, [Missing()] * 2, BadBundleError, "how each missing element"),
        ([spec("float32", 1)], 99, [Missing(unit=0)], BadBundleError, "units of 0 elements"),
        ([spec("float32", 1)], 99, [Missing(fill="0g")], BadBundleError, "no hexadecimal"),
    ],
)
def test_what_cannot_be_sent_is_refused(
    specs: list[TensorSpec], payload: int, missing: list[Missing], error: type[SplitcError],
    match: str,
) -> None:  # fmt: skip
    with pytest.raises(error, match=match):
        Boundary(specs, payload, 0, missing)


@pytest.mark.parametrize("name", ["object", "str", "nonsense", "f4,f4", "bfloat16", ""])
def test_a_type_that_is_none_of_numbers_is_refused(name: str) -> None:
    one = TensorSpec(name="t", dtype=name, shape=(1,), bytes=4)
    with pytest.raises(BadBundleError, match="'t' cannot be sent"):
        Boundary([one], 99, 0)


def test_an_array_of_another_type_or_size_is_refused() -> None:
    boundary = Boundary([spec("float32", 1, 4)], 99, 0)
    for wrong in (np.zeros((1, 4), np.float64), np.zeros((1, 5), np.float32)):
        with pytest.raises(UsageError, match="'t' does not fit"):
            boundary.pack([wrong], session=1, split=1, frame=0)
    assert len(boundary.pack([np.zeros((2, 2), np.float32)], session=1, split=1, frame=0)) == 1
