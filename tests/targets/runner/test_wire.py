# SPDX-License-Identifier: Apache-2.0
"""The runner's wire against the Python one, byte for byte, on this machine and on ARM."""

from __future__ import annotations

import hashlib
import hmac
import struct
from collections.abc import Sequence
from typing import Any, cast

import numpy as np
import pytest
import zfec
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305

from splitc.arrays import Array
from splitc.link.packets import element_order, payload_bytes
from splitc.runtime.manifest import Missing, TensorSpec
from splitc.wire.boundary import Boundary
from splitc.wire.datagrams import Datagrams
from splitc.wire.handshake import WANTS_REPORTS, Challenge, Code, Hello, Refuse, Welcome
from splitc.wire.header import HEADER_BYTES, Header, Kind, Transport, write_header
from splitc.wire.keys import session_keys
from splitc.wire.seal import Seal
from tests.targets.runner.probe import Probe
from tests.wire.make_golden import (
    CLIENT,
    FOLDER,
    FRAMES,
    HEADER,
    HELLO,
    PSK,
    SERVER,
    WELCOME,
    filled,
)
from tests.wire.make_golden import SEED as GOLDEN_SEED

SEED = 0x0123_4567_89AB_CDEF


Case = tuple[str, tuple[int, ...], Missing]

CASES: list[list[Case]] = [
    [("float32", (1, 16, 32, 32), Missing())],
    [("float32", (7,), Missing(scale="rate", fill="0000803f"))],
    [
        ("float16", (3, 333), Missing(fill="003c")),
        ("int8", (1, 5), Missing(scale="none", fill="07")),
    ],
    [("uint8", (1001,), Missing(scale="none", unit=3, fill="010203"))],
    [("uint8", (4001,), Missing(scale="none", unit=5)), ("bool", (70,), Missing(scale="none"))],
    [("int64", (9, 40), Missing(scale="none", fill="ff")), ("float64", (555,), Missing())],
    [("int16", (2000,), Missing(scale="none", fill="010203040506"))],
]


def specs(case: Sequence[Case]) -> list[TensorSpec]:
    return [
        TensorSpec(
            name=f"t{k}", dtype=dtype, shape=shape,
            bytes=int(np.prod(shape)) * np.dtype(dtype).itemsize,
        )
        for k, (dtype, shape, _) in enumerate(case)
    ]  # fmt: skip


def boundary_of(case: Sequence[Case], payload: int) -> Boundary:
    return Boundary(specs(case), payload, SEED, [rule for _, _, rule in case])


def words(case: Sequence[Case]) -> str:
    return ",".join(
        f"{spec.dtype}:{spec.bytes}:{rule.unit}:{rule.scale}:{rule.fill}"
        for spec, (_, _, rule) in zip(specs(case), case, strict=True)
    )


def values(case: Sequence[Case], seed: int = 0) -> list[Array]:
    random = np.random.default_rng(seed)
    arrays: list[Array] = []
    for dtype, shape, _ in case:
        if np.dtype(dtype).kind == "f":
            arrays.append(random.standard_normal(shape).astype(dtype))
        else:
            arrays.append(random.integers(0, 2 if dtype == "bool" else 100, shape).astype(dtype))
    return arrays


def joined(arrays: Sequence[Array]) -> bytes:
    return b"".join(array.tobytes() for array in arrays)


def packets(data: bytes) -> list[bytes]:
    found: list[bytes] = []
    while data:
        (size,) = struct.unpack_from("<I", data)
        found.append(data[4 : 4 + size])
        data = data[4 + size :]
    return found


def golden(name: str) -> list[bytes]:
    return packets((FOLDER / f"{name}.bin").read_bytes())


def written(datagrams: Datagrams) -> list[bytes]:
    lengths = datagrams.lengths.tolist()
    return [bytes(row[:size]) for row, size in zip(datagrams.block, lengths, strict=True)]


@pytest.mark.parametrize("seed", [0, 1, SEED, 2**64 - 1])
def test_elements_are_ordered_alike(probe: Probe, seed: int) -> None:
    for count in (0, 1, 2, 1000, 40_000):
        found = np.frombuffer(probe.ask(f"order {count} {seed}"), np.uint32)
        np.testing.assert_array_equal(found, element_order(count, seed))


@pytest.mark.parametrize("payload", [40, 404, 1404])
@pytest.mark.parametrize("case", CASES, ids=lambda case: "+".join(dtype for dtype, _, _ in case))
def test_frames_are_packed_alike(probe: Probe, case: list[Case], payload: int) -> None:
    arrays = values(case)
    boundary = boundary_of(case, payload)
    wanted = boundary.pack(
        arrays, session=2**63 + 5, split=2**62 + 3, frame=2**31, route=9, extra=7
    )
    found = probe.ask(
        f"pack {words(case)} {payload} {SEED} {2**63 + 5} {2**62 + 3} {2**31} 9 7 0", joined(arrays)
    )
    assert packets(found) == written(wanted)


@pytest.mark.parametrize("came_share", [0.0, 0.4, 1.0])
@pytest.mark.parametrize("case", CASES, ids=lambda case: "+".join(dtype for dtype, _, _ in case))
def test_frames_are_put_together_alike(probe: Probe, case: list[Case], came_share: float) -> None:
    payload, loss_rate = 104, 0.3
    boundary = boundary_of(case, payload)
    sent = boundary.pack(values(case), session=1, split=1, frame=0)
    rows = np.ascontiguousarray(sent.block[:, HEADER_BYTES : HEADER_BYTES + payload])
    came = np.random.default_rng(1).random(boundary.chunks) < came_share
    request = struct.pack("<d", loss_rate) + came.tobytes() + rows.tobytes()
    found = probe.ask(f"unpack {words(case)} {payload} {SEED}", request)
    arrays, share = boundary.unpack(rows, came, loss_rate)
    assert struct.unpack_from("<d", found) == (share,)
    assert found[8:] == joined(arrays)


def test_a_frame_that_no_number_of_chunks_holds_is_refused(probe: Probe) -> None:
    assert probe.ask("pack float64:80:1:none: 7 0 0 0 0 0 0 0", bytes(80)) == b""
    assert probe.ask("pack uint8:655360:1:none: 9 0 0 0 0 0 0 0", bytes(655360)) == b""


def test_halves_are_rounded_as_numpy_rounds_them(probe: Probe) -> None:
    halves = np.arange(65536, dtype=np.uint16).view(np.float16)
    random = np.random.default_rng(0)
    finite = halves[np.isfinite(halves)].astype(np.float64)
    between = (finite[:-1] + finite[1:]) / 2
    spread = random.standard_normal(50_000) * 10.0 ** random.integers(-9, 6, 50_000)
    given = np.concatenate([between, spread, [np.inf, -np.inf, -0.0]])
    found = probe.ask("halves", given.tobytes())
    np.testing.assert_array_equal(np.frombuffer(found[: 8 * 65536]), halves.astype(np.float64))
    with np.errstate(over="ignore"):
        wanted = given.astype(np.float16)
    np.testing.assert_array_equal(
        np.frombuffer(found[8 * 65536 :], np.uint16), wanted.view(np.uint16)
    )


def zfec_blocks(data: Sequence[bytes], parity: int) -> list[bytes]:
    coder: Any = cast("Any", zfec).Encoder(len(data), len(data) + parity)
    return coder.encode(data, range(len(data), len(data) + parity))


@pytest.mark.parametrize("elements", [3, 300, 5000, 30_000])
@pytest.mark.parametrize("percent", [1, 20, 100])
def test_parity_is_what_zfec_makes(probe: Probe, elements: int, percent: int) -> None:
    payload = 204
    case: list[Case] = [("float32", (elements,), Missing())]
    arrays = values(case)
    boundary = boundary_of(case, payload)
    sent = boundary.pack(arrays, session=1, split=1, frame=0)
    rows = [packet[HEADER_BYTES:].ljust(payload, b"\0") for packet in written(sent)]
    groups = -(-len(rows) // 128)
    wanted = b""
    for group in range(groups):
        data = rows[group::groups]
        parity = -(-len(data) * percent // 100)
        wanted += b"".join(zfec_blocks(data, parity))
    assert probe.ask(f"parity {words(case)} {payload} {SEED} {percent}", joined(arrays)) == wanted


def test_the_cipher_gives_the_standards_bytes(probe: Probe) -> None:
    # RFC 8439, 2.8.2.
    text = (
        b"Ladies and Gentlemen of the class of '99: If I could offer you only one tip for the "
        b"future, sunscreen would be it."
    )
    nonce = bytes.fromhex("070000004041424344454647")
    known = bytes.fromhex("50515253c0c1c2c3c4c5c6c7")
    key = bytes(range(0x80, 0xA0))
    found = probe.ask("aead", nonce + key + struct.pack("<I", len(known)) + known + text)
    assert found[:16].hex() == "d31a8d34648e60db7b86afbc53ef7ec2"
    assert found[-16:].hex() == "1ae10b594f09e26a7e902ecbd0600691"


@pytest.mark.parametrize("size", [0, 1, 15, 16, 63, 64, 65, 255, 256, 257, 1404, 9000])
def test_the_cipher_is_that_of_another_library(probe: Probe, size: int) -> None:
    random = np.random.default_rng(size)
    key, nonce, known, text = (random.bytes(k) for k in (32, 12, size % 50, size))
    for cipher in ("aead", "wide"):
        found = probe.ask(cipher, nonce + key + struct.pack("<I", len(known)) + known + text)
        assert found == ChaCha20Poly1305(key).encrypt(nonce, text, known)


def test_packets_are_sealed_and_opened_alike(probe: Probe) -> None:
    key = bytes(range(32))
    header = write_header(Header(Kind.NACK, 1, 2, 3, 4, 5, 6, 7))
    for payload in (b"", b"x", bytes(1404)):
        plain = Datagrams.packets([header + payload])
        sealed = written(Seal(key).seal(plain))[0]
        assert probe.ask("seal", key + header + payload) == sealed
        assert probe.ask("open", key + sealed) == header + payload
        for place in (4, len(sealed) - 1):
            wrong = bytearray(sealed)
            wrong[place] ^= 1
            assert probe.ask("open", key + bytes(wrong)) == b""
        assert probe.ask("open", key + sealed[: HEADER_BYTES + 15]) == b""


@pytest.mark.parametrize("key_bytes", [0, 20, 32, 64, 65, 131])
def test_macs_are_those_of_the_standard_library(probe: Probe, key_bytes: int) -> None:
    key, text = bytes(range(key_bytes)), b"what do ya want for nothing?" * 5
    assert probe.ask(f"hmac {key_bytes}", key + text) == hmac.digest(key, text, hashlib.sha256)


@pytest.mark.parametrize("name", FRAMES)
def test_frames_are_the_golden_ones(probe: Probe, name: str) -> None:
    frame = FRAMES[name]
    tensors, arrays = filled(frame["tensors"])
    layout = ",".join(
        f"{spec.dtype}:{spec.bytes}:{unit}:none:"
        for spec, (*_, unit) in zip(tensors, frame["tensors"], strict=True)
    )
    payload = frame.get("payload_bytes") or payload_bytes(frame["mtu"])
    numbers = " ".join(str(HEADER[key]) for key in ("session", "split", "frame", "route", "extra"))
    request = f"pack {layout} {payload} {GOLDEN_SEED} {numbers} {frame.get('parity', 0)}"
    made = packets(probe.ask(request, joined(arrays)))
    if frame.get("sealed"):
        key = session_keys(PSK, CLIENT, SERVER).device
        made = [probe.ask("seal", key + packet) for packet in made]
    assert made == golden(name)


def test_greetings_are_the_golden_ones(probe: Probe) -> None:
    numbers = f"{HELLO.payload_bytes} {{}} {HELLO.deadline_us} {HELLO.grace_us} {HELLO.split} 0"
    plain = probe.ask("hello " + numbers.format("2 20"), CLIENT + bytes(32))
    assert [plain] == golden("hello")
    assert [probe.ask("hello " + numbers.format("2 20"), CLIENT + bytes(32) + PSK)] == golden(
        "hello-signed"
    )
    asking = numbers.format("2 20")[:-1] + str(WANTS_REPORTS)
    asked = probe.ask("hello " + asking, CLIENT + bytes(32) + PSK)
    assert [asked] == golden("hello-for-reports")
    cookie = bytes(range(32, 64))
    assert [probe.ask("hello " + numbers.format("1 0"), CLIENT + cookie + PSK)] == golden(
        "hello-with-cookie"
    )
    for name, key in (("welcome", b""), ("welcome-signed", PSK)):
        given = CLIENT + bytes([bool(key)]) + key.ljust(32, b"\0") + golden(name)[0]
        wanted = f"welcome {WELCOME.session} {WELCOME.order_seed} {WELCOME.frames_in_flight}"
        assert probe.ask("greeting", given).decode() == wanted
    given = CLIENT + bytes(33) + golden("refuse")[0]
    assert probe.ask("greeting", given) == b"refuse 2 other bundle"
    given = CLIENT + bytes(33) + golden("challenge")[0]
    assert probe.ask("greeting", given) == b"challenge"


def test_what_the_server_seals_is_opened(probe: Probe) -> None:
    key = session_keys(PSK, CLIENT, SERVER).server
    opened = [probe.ask("open", key + packet) for packet in golden("server-sealed")]
    assert opened == golden("server")


def test_reports_are_read(probe: Probe) -> None:
    key = session_keys(PSK, CLIENT, SERVER).server
    (packet,) = golden("report")
    assert [probe.ask("open", key + sealed) for sealed in golden("report-sealed")] == [packet]
    payload = packet[HEADER_BYTES:]
    spread_us, spread_bytes, wait_us, tail_us, came, _ = struct.unpack("<IIIIHH", payload)
    wanted = f"99 {came} {spread_us} {spread_bytes} {wait_us} {tail_us}"
    assert probe.ask("report 99", payload).decode() == wanted
    assert probe.ask(f"report {came - 1}", payload) == b"nothing"
    assert probe.ask("report 99", payload[:-1]) == b"nothing"
    assert probe.ask("report 99", payload + b"\0") == b"nothing"


@pytest.mark.parametrize("loss", [0, 30, 60])
def test_answers_that_are_lost_are_asked_for_until_they_come(probe: Probe, loss: int) -> None:
    frames = 20_000 if probe.native else 1000
    found = probe.ask(f"lossy {frames} {loss} 1").decode().split()
    answered, silent, nacks, p50_us, p99_us, longest_us = map(int, found)
    assert answered + silent == frames
    if loss == 0:
        assert (silent, nacks) == (0, 0)
        assert p50_us == p99_us
    if loss == 30:
        assert silent == 0
        assert p99_us - p50_us < 70_000
        assert longest_us < 900_000
    if loss == 60:
        assert silent < frames // 50


def test_keys_and_greetings_are_those_of_python(probe: Probe) -> None:
    key, client, server, cookie = (bytes([k]) * n for k, n in ((1, 32), (2, 16), (3, 16), (4, 32)))
    assert probe.ask("keys", key + client + server) == b"".join(session_keys(key, client, server))
    for psk in (None, key):
        hello = Hello(
            client, 1404, Transport.PARITY, 100_000, 5_000, cookie, parity_percent=20, split=77
        )
        given = client + cookie + (psk or b"")
        assert probe.ask("hello 1404 2 20 100000 5000 77 0", given) == hello.write(psk)


def test_what_a_server_says_is_understood(probe: Probe) -> None:
    key, nonce = bytes(range(32)), bytes(range(16))

    def read(packet: bytes, key: bytes | None = None) -> str:
        given = nonce + bytes([key is not None]) + (key or bytes(32)) + packet
        return probe.ask("greeting", given).decode()

    welcome = Welcome(2**63 + 1, nonce, bytes(16), SEED, 8, split=5)
    assert read(welcome.write(key), key) == f"welcome {2**63 + 1} {SEED} 8"
    assert read(welcome.write(), None) == f"welcome {2**63 + 1} {SEED} 8"
    assert read(welcome.write(key), bytes(32)).startswith("forged")
    assert read(welcome.write(), key).startswith("forged")
    assert read(welcome.write(key), None).startswith("forged")
    assert read(welcome.write()[:-1]) == "nothing"
    assert read(Welcome(1, bytes(16), bytes(16), 0, 8).write()) == "nothing"
    assert read(Challenge(nonce, bytes(32)).write()) == "challenge"
    assert read(Challenge(bytes(16), bytes(32)).write()) == "nothing"
    assert read(Challenge(nonce, bytes(32)).write() + b"x") == "nothing"
    refuse = Refuse(Code.FULL, nonce, "no room").write(288)
    assert refuse is not None
    assert read(refuse) == "refuse 4 no room"
    assert read(refuse[:48]) == "nothing"
    bare = Refuse(Code.SESSION, text="say HELLO").write(33)
    assert bare is not None
    assert read(bare) == "refuse 5 "
    assert read(b"\x53\x43\x02" + bytes(40)) == "foreign"
