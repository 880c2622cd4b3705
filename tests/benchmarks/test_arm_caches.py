# SPDX-License-Identifier: Apache-2.0
"""The model of caches agrees with the plainest one, and counts what a program really touches."""

from __future__ import annotations

import struct
import subprocess
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from arm_caches import Cache, Traffic, caches_of, read_traffic
from arm_counts import build_plugin, count, find_qemu

from splitc.cost.board import load_board
from splitc.errors import ToolchainError
from splitc_targets.link.toolchain import zig

HEADER = Path(__file__).parents[2] / "benchmarks" / "arm_caches.h"
SMALL = (Cache(1024, 2), Cache(8192, 4))
DRIVER = """
#include <inttypes.h>
#include <stdio.h>
#include "{header}"
int main(void) {{
  Caches caches = {{0}};
  uint64_t address;
  unsigned bytes, ways;
  int store;
  while (scanf("%" SCNu64 "/%u", &address, &ways) == 2) AddLevel(&caches, address, ways);
  getchar();
  while (scanf("%" SCNu64 " %u %d", &address, &bytes, &store) == 3) {{
    Access(&caches, address, bytes, store);
  }}
  for (int i = 0; i < caches.count; ++i) {{
    fwrite(&caches.levels[i].traffic, sizeof(Traffic), 1, stdout);
  }}
  return 0;
}}
"""
Access = tuple[int, int, bool]
"""Address, bytes, whether they are stored."""


@pytest.fixture(scope="module")
def driver(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A program for this machine that reads caches and accesses, and writes their traffic."""
    folder = tmp_path_factory.mktemp("caches")
    (folder / "driver.c").write_text(DRIVER.format(header=HEADER), "utf-8")
    zig("cc", "-O2", str(folder / "driver.c"), "-o", str(folder / "driver"))
    return folder / "driver"


def modelled(driver: Path, caches: Sequence[Cache], trace: Sequence[Access]) -> list[Traffic]:
    text = " ".join(f"{cache.size}/{cache.ways}" for cache in caches) + " .\n"
    text += "\n".join(f"{address} {size} {int(store)}" for address, size, store in trace)
    done = subprocess.run([driver], input=text.encode(), capture_output=True, check=True)
    return list(read_traffic(done.stdout))


class Plain:
    """Caches as lists of lines by set, the one used last at the end.

    What a level asked of the next is a list of lines and what they were for.
    """

    def __init__(self, caches: Sequence[Cache]) -> None:
        self.caches = caches
        self.sets: list[dict[int, list[int]]] = [{} for _ in caches]
        self.changed: list[set[int]] = [set() for _ in caches]
        self.asked: list[list[tuple[int, str]]] = [[] for _ in caches]

    def access(self, address: int, size: int, store: bool) -> None:
        for line in range(address // 64, (address + size - 1) // 64 + 1):
            self.ask(0, line, store)
            if store:
                self.changed[0].add(line)

    def ask(self, level: int, line: int, store: bool) -> None:
        if level == len(self.caches):
            return
        cache = self.caches[level]
        held = self.sets[level].setdefault(line % (cache.size // 64 // cache.ways), [])
        if line in held:
            held.remove(line)
            held.append(line)
            return
        if len(held) == cache.ways:
            self.leave(level, held.pop(0))
        held.append(line)
        self.asked[level].append((line, "store" if store else "load"))
        self.ask(level + 1, line, store)

    def leave(self, level: int, line: int) -> None:
        if line not in self.changed[level]:
            return
        self.changed[level].discard(line)
        self.asked[level].append((line, "back"))
        for behind in range(level + 1, len(self.caches)):
            if any(line in held for held in self.sets[behind].values()):
                self.changed[behind].add(line)
                return
            self.asked[behind].append((line, "back"))

    def totals(self) -> list[tuple[int, int, int]]:
        """Of each level: lines for loads, for stores, sent back."""
        return [
            tuple(sum(why == one for _, why in asked) for one in ("load", "store", "back"))
            for asked in self.asked
        ]  # pyright: ignore[reportReturnType]


def traces() -> dict[str, list[Access]]:
    rng = np.random.default_rng(7)
    wild = [
        (int(a), int(size), bool(store))
        for a, size, store in zip(
            rng.integers(0, 40_000, 5000), rng.choice([1, 4, 8, 16], 5000),
            rng.random(5000) < 0.3, strict=True,
        )
    ]  # fmt: skip
    loops = [(k * 8, 8, False) for _ in range(3) for k in range(1500)]
    copied = [one for k in range(2000) for one in ((k * 8, 8, False), (50_000 + k * 8, 8, True))]
    turned = [(row * 512 + column * 4, 4, False) for column in range(64) for row in range(64)]
    return {"wild": wild, "loops": loops, "copied": copied, "turned": turned}


@pytest.mark.parametrize("name", sorted(traces()))
@pytest.mark.parametrize("caches", [SMALL, SMALL[:1], (*SMALL, Cache(16384, 16))], ids=len)
def test_lines_that_cross_are_those_of_the_plainest_model(
    driver: Path, name: str, caches: tuple[Cache, ...]
) -> None:
    trace, plain = traces()[name], Plain(caches)
    for one in trace:
        plain.access(*one)
    found = modelled(driver, caches, trace)
    assert [(t.foreseen + t.unforeseen, t.stored, t.written) for t in found] == plain.totals()


def test_lines_one_after_the_other_are_foreseen_and_scattered_ones_are_not(driver: Path) -> None:
    lines = np.random.default_rng(3).permutation(400) * 977 * 64
    (scattered,) = modelled(driver, SMALL[:1], [(int(a), 4, False) for a in lines])
    assert (scattered.foreseen, scattered.unforeseen) == (0, 400)
    two = [one for k in range(200) for one in ((k * 64, 4, False), (10**6 - k * 192, 4, False))]
    (streams,) = modelled(driver, SMALL[:1], two)
    assert (streams.foreseen, streams.unforeseen) == (396, 4)


def test_figures_that_break_off_are_refused() -> None:
    row = struct.pack("<QQQQ", 1, 2, 3, 4)
    assert read_traffic(row * 2) == (Traffic(1, 2, 3, 4),) * 2
    with pytest.raises(ToolchainError, match="break off"):
        read_traffic(row + b"1")


def test_the_boards_have_the_caches_of_their_cores() -> None:
    assert caches_of(load_board("rpi4")) == (Cache(32768, 2), Cache(1 << 20, 16))
    assert caches_of(load_board("rpi5"))[1:] == (Cache(1 << 19, 8), Cache(1 << 21, 16))
    with pytest.raises(ToolchainError, match="caches are not known"):
        caches_of(load_board("x86-64-v3"))


WALK = """
static char data[4 << 20] __attribute__((aligned(4096)));
int main(void) {
  volatile char* all = data;
  int sum = 0;
  for (int round = 0; round < 2; ++round) {
    for (unsigned i = 0; i < sizeof(data); i += 64) sum += all[i];
  }
  for (unsigned i = 0; i < sizeof(data); i += 64) all[i] = (char)i;
  return sum;
}
"""


def test_the_plug_in_counts_the_lines_that_a_program_reads_and_writes(tmp_path: Path) -> None:
    try:
        find_qemu()
    except ToolchainError as error:
        pytest.skip(str(error))
    board, program = load_board("rpi4"), tmp_path / "walk"
    (tmp_path / "walk.c").write_text(WALK, "utf-8")
    zig("cc", "-target", "aarch64-linux-musl", "-O1", "-static", str(tmp_path / "walk.c"),
        "-o", str(program))  # fmt: skip
    plugin, caches = build_plugin(tmp_path), caches_of(board)
    ran = count([str(program)], plugin, tmp_path, board.processor.cpu, {}, caches)
    lines, beside = (4 << 20) // 64, 300  # what the C library touches itself
    for traffic in ran.traffic:  # the array is four times the last cache: nothing of it stays
        assert 2 * lines <= traffic.foreseen + traffic.unforeseen <= 2 * lines + beside
        assert traffic.unforeseen <= beside
        assert lines <= traffic.stored <= lines + beside
    held = caches[-1].size // 64
    assert lines - held - beside <= ran.traffic[-1].written <= lines
    plain = count([str(program)], plugin, tmp_path, board.processor.cpu, {})
    assert plain.traffic == ()
    assert sum(plain.blocks.values()) == sum(ran.blocks.values())
