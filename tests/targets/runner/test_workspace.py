# SPDX-License-Identifier: Apache-2.0
"""Where the runner puts tensors that parts make: nothing that is wanted is written over."""

from __future__ import annotations

import struct
from dataclasses import dataclass

from hypothesis import given
from hypothesis import strategies as st

from tests.targets.runner.probe import Probe


@dataclass(frozen=True)
class Split:
    """Nested cuts, an encoder at each: segments, encoders and what each makes, in bytes."""

    scratch: list[int]
    boundaries: list[int]
    codes: list[int]
    early: list[int]

    @property
    def parts(self) -> list[tuple[int, dict[str, int], dict[str, int]]]:
        """Scratch, outputs and inputs of each part: segments first, then encoders."""
        count = len(self.boundaries)
        made = [{f"t{k}": self.boundaries[k], f"e{k}": self.early[k]} for k in range(count)]
        read = [{f"t{k - 1}": self.boundaries[k - 1]} if k else {"x": 7} for k in range(count)]
        segments = [(self.scratch[k], made[k], read[k]) for k in range(count)]
        codes = [
            (self.scratch[count + k], {f"c{k}": self.codes[k]}, {f"t{k}": self.boundaries[k]})
            for k in range(count)
        ]
        return segments + codes

    @property
    def runs(self) -> list[tuple[list[int], set[str]]]:
        """Parts of each route, and what is kept: what crosses, and results made on the way."""
        count = len(self.boundaries)
        found: list[tuple[list[int], set[str]]] = []
        for k in range(count):
            segments, early = [*range(k + 1)], {f"e{i}" for i in range(k + 1)}
            found.append((segments, early | {f"t{k}"}))
            found.append(([*segments, count + k], early | {f"c{k}"}))
        return found


sizes = st.integers(1, 60_000)


@st.composite
def splits(draw: st.DrawFn) -> Split:
    count = draw(st.integers(1, 4))

    def some(many: int) -> list[int]:
        return draw(st.lists(sizes, min_size=many, max_size=many))

    return Split(some(2 * count), some(count), some(count), some(count))


def laid_out(probe: Probe, split: Split) -> tuple[int, dict[str, tuple[int, int]]]:
    """The block's size, and each tensor's first byte and the one behind its last."""

    def text(tensors: dict[str, int]) -> str:
        return ",".join(f"{name}:{nbytes}" for name, nbytes in tensors.items())

    parts = split.parts
    made = {name: nbytes for _, outputs, _ in parts for name, nbytes in outputs.items()}
    lines = [f"part {scratch} {text(out)} {text(read)}" for scratch, out, read in parts]
    for steps, kept in split.runs:
        lines.append(f"run {','.join(map(str, steps))} {text({n: made[n] for n in kept})}")
    total, *offsets = (
        value
        for (value,) in struct.iter_unpack("<Q", probe.ask("layout", "\n".join(lines).encode()))
    )
    places = zip(made.items(), offsets, strict=True)
    return total, {name: (at, at + nbytes) for (name, nbytes), at in places}


@given(splits())
def test_no_run_writes_over_what_is_still_wanted(probe: Probe, split: Split) -> None:
    total, places = laid_out(probe, split)
    parts = split.parts
    for steps, kept in split.runs:
        held: dict[str, bytes] = {}
        block = bytearray(total)
        for step in steps:
            scratch, outputs, inputs = parts[step]
            for name in inputs.keys() - {"x"}:
                first, end = places[name]
                assert block[first:end] == held[name]
            # It may write in any order: scratch, then what it makes; and scratch last.
            for name in outputs:
                first, end = places[name]
                assert first >= scratch
                held[name] = bytes([len(held) + 1]) * (end - first)
                block[first:end] = held[name]
            block[:scratch] = bytes([255]) * scratch
            for name in inputs.keys() - {"x"}:
                first, end = places[name]
                assert block[first:end] == held[name]
        for name in kept:
            first, end = places[name]
            assert block[first:end] == held[name]


@given(splits())
def test_tensors_lie_where_others_were(probe: Probe, split: Split) -> None:
    total, _ = laid_out(probe, split)
    made = [nbytes for _, outputs, _ in split.parts for nbytes in outputs.values()]
    pages = sum(-(-nbytes // 4096) * 4096 for nbytes in made)
    assert total <= -(-max(split.scratch) // 4096) * 4096 + pages


def test_a_chain_takes_less_than_its_tensors_each_by_itself(probe: Probe) -> None:
    chain = Split([70_000, 60_000, 50_000, 40_000] + [1] * 4, [40_960] * 4, [1] * 4, [1] * 4)
    total, _ = laid_out(probe, chain)
    assert total < 70_000 + 3 * 40_960
