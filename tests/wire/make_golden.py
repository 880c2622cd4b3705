# SPDX-License-Identifier: Apache-2.0
"""What packets of version 1 look like, for ever: `python -m tests.wire.make_golden` writes them.

`golden/index.json` says what each file holds, in words that another implementation can follow;
each `golden/NAME.bin` is packets one after another, as over TCP: u32 length, packet. Byte i of
the tensors of a frame, one tensor behind the other, is (167 i + 13 (i >> 8) + 5) mod 256.
"""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from splitc.arrays import Array
from splitc.link.packets import payload_bytes
from splitc.policy.gauge import Report
from splitc.runtime.manifest import Missing, TensorSpec
from splitc.wire.answers import Answers
from splitc.wire.boundary import Boundary
from splitc.wire.datagrams import Datagrams
from splitc.wire.handshake import WANTS_REPORTS, Challenge, Code, Hello, Refuse, Welcome
from splitc.wire.header import Header, Kind, Transport
from splitc.wire.keys import session_keys
from splitc.wire.nack import Gap
from splitc.wire.parity import Parity
from splitc.wire.report import report_packet
from splitc.wire.seal import Seal

FOLDER = Path(__file__).parent / "golden"

PSK = bytes(range(32))
CLIENT, SERVER = bytes(range(0x40, 0x50)), bytes(range(0x80, 0x90))
SPLIT, SESSION = 0xF1E2_D3C4_B5A6_9788, 0x0102_0304_0506_0708
HELLO = Hello(CLIENT, 1404, Transport.PARITY, 50_000, 3_000, parity_percent=20, split=SPLIT)
WELCOME = Welcome(SESSION, CLIENT, SERVER, 0xDEAD_BEEF_0123_4567, 8, SPLIT)

FRAMES: dict[str, dict[str, Any]] = {
    "float32": {"tensors": [["float32", [1, 3, 17, 11], 1]], "mtu": 596},
    "float16": {"tensors": [["float16", [1, 999], 1]], "mtu": 576},
    "uint8": {"tensors": [["uint8", [1, 4001], 1]], "mtu": 1500},
    "float64-in-odd-packets": {"tensors": [["float64", [41], 1]], "payload_bytes": 99},
    "one-element": {"tensors": [["float32", [], 1]], "mtu": 1500},
    "several": {
        "tensors": [["float32", [1, 5, 7], 1], ["uint8", [3], 1], ["int64", [2, 9], 1]],
        "payload_bytes": 64,
    },
    "levels-of-3-bits": {"tensors": [["uint8", [1, 1000], 3]], "payload_bytes": 100},
    "levels-of-12-bits-two-samples": {"tensors": [["uint8", [2, 301], 3]], "payload_bytes": 50},
    "parity": {"tensors": [["float32", [1, 250], 1]], "payload_bytes": 64, "parity": 30},
    "parity-in-groups": {"tensors": [["uint8", [777], 1]], "payload_bytes": 3, "parity": 7},
    "sealed": {"tensors": [["float32", [1, 123], 1]], "mtu": 396, "sealed": True},
    "sealed-parity": {
        "tensors": [["uint8", [1, 1000], 1]], "payload_bytes": 128, "parity": 50, "sealed": True
    },
}  # fmt: skip
"""Frames of DATA, PARITY behind it: tensors as element type, shape, unit."""

HEADER: dict[str, int] = {
    "session": SESSION, "split": SPLIT, "frame": 0x89AB_CDEF, "route": 0x0203, "extra": 250,
}  # fmt: skip
SEED = 0xDEAD_BEEF_0123_4567
REPORTED: dict[str, int] = {
    "chunks": 47, "came": 40, "spread_us": 8_765_432, "spread_bytes": 69_120, "wait_us": 1_234,
    "tail_us": 5_678,
}  # fmt: skip
REPORT = Report(
    REPORTED["spread_us"] / 1e6, REPORTED["spread_bytes"], REPORTED["wait_us"] / 1e6,
    REPORTED["tail_us"] / 1e6, REPORTED["came"], REPORTED["chunks"],
)  # fmt: skip


def filled(tensors: list[Any]) -> tuple[list[TensorSpec], list[Array]]:
    """Tensors of the pattern."""
    specs: list[TensorSpec] = []
    arrays: list[Array] = []
    start = 0
    for number, (dtype, shape, _) in enumerate(tensors):
        size = math.prod(shape) * np.dtype(dtype).itemsize
        i = np.arange(start, start + size)
        data = ((167 * i + 13 * (i >> 8) + 5) % 256).astype(np.uint8)
        specs.append(TensorSpec(name=f"t{number}", dtype=dtype, shape=tuple(shape), bytes=size))
        arrays.append(data.view(np.dtype(dtype).newbyteorder("<")).reshape(shape))
        start += size
    return specs, arrays


def frame(case: dict[str, Any]) -> list[Datagrams]:
    """The packets of a frame."""
    specs, arrays = filled(case["tensors"])
    size = case.get("payload_bytes") or payload_bytes(case["mtu"])
    missing = [Missing(unit=unit) for *_, unit in case["tensors"]]
    data = Boundary(specs, size, SEED, missing).pack(arrays, **HEADER)
    made = [data]
    if percent := case.get("parity"):
        made.append(Parity(len(data), size, percent).pack(data))
    if case.get("sealed"):
        seal = Seal(session_keys(PSK, CLIENT, SERVER).device)
        made = [seal.seal(each) for each in made]
    return made


def answer() -> Datagrams:
    """The packets of an answer of two results."""
    specs, arrays = filled([["float32", [1, 10], 1], ["int64", [3], 1]])
    header = {key: HEADER[key] for key in ("session", "split", "frame", "route")}
    return Answers(specs, 30).pack(arrays, share=0.75, **header)


def from_server() -> list[Datagrams]:
    """What a server sends in a session."""
    head = {key: HEADER[key] for key in ("session", "split", "frame", "route")}
    gap = Gap(HEADER["frame"], HEADER["route"], 11, b"\x05\x04")
    return [
        answer(),
        gap.packet(SESSION, SPLIT, 0x0001_0002),
        Datagrams.of(Header(Kind.FAIL, **head), b"the tail did not run"),
        Datagrams.of(Header(Kind.ECHO, SESSION, SPLIT, 3, 0, 4, 0, 16), bytes(range(16))),
        Datagrams.of(Header(Kind.BYE, SESSION, SPLIT)),
    ]  # fmt: skip


def report() -> Datagrams:
    """What a server says of a frame to who asked for it."""
    head = {key: HEADER[key] for key in ("session", "split", "frame", "route")}
    return report_packet(REPORT, **head)


def packets() -> dict[str, list[bytes]]:
    """Every file's packets."""
    greeting = {
        "hello": HELLO.write(),
        "hello-signed": HELLO.write(PSK),
        "hello-with-cookie": Hello(
            CLIENT, 1404, Transport.RESEND, 50_000, 3_000, bytes(range(32, 64)), split=SPLIT
        ).write(PSK),
        "hello-for-reports": replace(HELLO, flags=WANTS_REPORTS).write(PSK),
        "challenge": Challenge(CLIENT, bytes(range(32, 64)), SPLIT).write(),
        "welcome": WELCOME.write(),
        "welcome-signed": WELCOME.write(PSK),
        "refuse": Refuse(Code.BUNDLE, CLIENT, "other bundle", 0, SPLIT).write(288) or b"",
    }
    seal = Seal(session_keys(PSK, CLIENT, SERVER).server)
    blocks = {name: frame(case) for name, case in FRAMES.items()}
    blocks |= {"server": from_server(), "server-sealed": [seal.seal(p) for p in from_server()]}
    blocks |= {"report": [report()], "report-sealed": [seal.seal(report())]}
    blocks["probe"] = [Datagrams.of(Header(Kind.PROBE, SESSION, SPLIT, 3, 0, 4, 0, 16), bytes(100))]
    return {name: [packet] for name, packet in greeting.items()} | {
        name: [bytes(block.packet(k)) for block in made for k in range(len(block))]
        for name, made in blocks.items()
    }


def index() -> dict[str, Any]:
    """What the files hold, for other implementations."""
    return {
        "psk": PSK.hex(), "client_nonce": CLIENT.hex(), "server_nonce": SERVER.hex(),
        "session": SESSION, "split": SPLIT, "order_seed": SEED, "header": HEADER,
        "pattern": "byte i of a frame's tensors is (167 i + 13 (i >> 8) + 5) mod 256",
        "frames": FRAMES,
        "answer": {"tensors": [["float32", [1, 10]], ["int64", [3]]], "payload_bytes": 30,
                   "share": 0.75},
        "report": REPORTED,
    }  # fmt: skip


def framed(each: list[bytes]) -> bytes:
    """Packets as they go over TCP."""
    return b"".join(len(packet).to_bytes(4, "little") + packet for packet in each)


if __name__ == "__main__":
    for name, each in packets().items():
        (FOLDER / f"{name}.bin").write_bytes(framed(each))
    (FOLDER / "index.json").write_text(json.dumps(index(), indent=1) + "\n", "utf-8")
