# SPDX-License-Identifier: Apache-2.0
"""Head and tail over a bad network of the kernel's: what arrives, when it is answered, what of.

A network without weights, so that what a tail was given can be read from what it made: the head
is a relu of 16,384 numbers, all of them positive here, and the tail changes their sign. 64 kB
cross, in 47 packets of 351 numbers, the last one of 238.

Nothing seeds the kernel's losses: bounds are exact, and a sound network falls outside them once
in 10^9 runs.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from onnx import helper

import splitc
from splitc.arrays import Array
from splitc.bundle.bundle import Bundle
from splitc.link.loss_latency import Transfer
from splitc.send import Answer, Device
from splitc.serve import Server
from tests.helpers import model_of, save
from tests.net.namespaces import Cable, Namespace, cable

KEY = bytes(range(32))
COUNT = 16_384
CHUNKS, FULL = 47, 351
LAST = COUNT - (CHUNKS - 1) * FULL
FALSE_ALARM = 1e-9
DOWN = "udp sport 4353"
UP = "udp dport 4353"


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    nodes = [
        helper.make_node("Relu", ["x"], ["crossing"], "head"),
        helper.make_node("Neg", ["crossing"], ["y"], "tail"),
    ]
    folder = tmp_path_factory.mktemp("plain")
    model = save(model_of(nodes, {"x": [1, COUNT]}, ["y"]), folder / "plain.onnx")
    return splitc.compile(model, cut="head", emit="onnx", output=folder / "plain.splitc")


@pytest.fixture
def network(bundle: Bundle) -> Iterator[Cable]:
    """A cable, with the bundle served at its end."""
    with cable() as made:
        with made.server.entered():
            server = Server([bundle.path], bind=f"{made.server.host}:4353", key=KEY)
        with server:
            yield made


def device(at: Namespace, bundle: Bundle, **options: Any) -> Device:
    with at.entered():
        return Device(bundle.path, "10.77.0.2:4353", key=KEY, **options)


def frame(number: int) -> Array:
    return np.random.default_rng(number).uniform(1, 2, (1, COUNT)).astype(np.float32)


def chunks_of(answer: Answer) -> int:
    """How many packets of a frame came, by the share of its elements that did."""
    elements = round(answer.share * COUNT)
    last = elements % FULL == LAST % FULL
    chunks = (elements - LAST * last) // FULL + last
    assert elements == (chunks - last) * FULL + LAST * last
    return chunks


def assert_tail_had_its_share(answer: Answer, sent: Array) -> None:
    """What came is scaled by the inverse of the share that did, what did not is zero."""
    made = answer["y"]
    came = made != 0
    assert int(came.sum()) == round(answer.share * COUNT)
    np.testing.assert_allclose(made[came], -sent[came] / (came.sum() / COUNT), rtol=1e-6)


@pytest.mark.parametrize("loss", [0.0, 0.1, 0.3, 0.6])
def test_the_share_received_is_binomial_and_each_frame_is_answered_with_it(
    network: Cable, bundle: Bundle, loss: float
) -> None:
    network.lose(network.server, loss, rule=UP)
    frames = 60
    with device(network.device, bundle, deadline="2s", silent_after="10s") as sends:
        answers = list(sends.stream(frame(number) for number in range(frames)))
    assert [answer.origin for answer in answers] == ["server"] * frames
    for number in (0, 17, frames - 1):
        assert_tail_had_its_share(answers[number], frame(number))
    came = sum(map(chunks_of, answers))
    received = Transfer(frames * CHUNKS, 0.0, loss).received
    few, many = (
        int(received.values[np.searchsorted(received.cdf, share)])
        for share in (FALSE_ALARM / 2, 1 - FALSE_ALARM / 2)
    )
    # A frame of which nothing comes would be asked for: with 47 packets there is none.
    assert few <= came <= many


def test_losses_both_ways_cost_no_frame_its_answer(network: Cable, bundle: Bundle) -> None:
    network.lose(network.server, 0.3, rule=UP)
    network.lose(network.device, 0.3, rule=DOWN)
    with device(network.device, bundle, deadline="50ms", silent_after="20s") as sends:
        answers = list(sends.stream(frame(number) for number in range(30)))
    assert [answer.origin for answer in answers] == ["server"] * 30
    for number in (0, 29):
        assert_tail_had_its_share(answers[number], frame(number))


def test_an_incomplete_frame_is_answered_at_its_deadline_and_not_before(
    network: Cable, bundle: Bundle
) -> None:
    """Late packets are waited for longer than the deadline lets a frame wait."""
    network.lose(network.server, 0.5, rule=UP)
    options: dict[str, Any] = {
        "deadline": "80ms",
        "grace": "10s",
        "silent_after": "30s",
        "in_flight": 1,
    }
    with device(network.device, bundle, **options) as sends:
        for number in range(10):
            began = time.monotonic()
            answer = sends(frame(number))
            took = time.monotonic() - began
            assert answer.origin == "server"
            assert answer.share < 1
            # The server counts from a frame's first packet, which left after `began`.
            assert 0.08 <= took < 10


def test_a_frame_takes_the_time_of_its_packets_at_the_rate_of_the_link(
    network: Cable, bundle: Bundle
) -> None:
    """n_t T, less what the bucket of tokens lets go at once; with losses not a packet more."""
    rate, burst_bytes, packet_bytes = 9e6, 3000, 14 + 20 + 8 + 32 + 1404 + 16
    network.slow(network.device, rate, burst_bytes=burst_bytes)
    theory = Transfer(CHUNKS, packet_bytes * 8 / rate).unrepeated_s
    missing = (FULL - LAST) * 4 * 8 / rate
    options: dict[str, Any] = {
        "deadline": "5s",
        "grace": "20ms",
        "silent_after": "20s",
        "in_flight": 1,
    }
    with device(network.device, bundle, **options) as sends:
        whole = sends(frame(0))
        network.lose(network.server, 0.3, rule=UP)
        lossy = sends(frame(1))
    assert (whole.share, whole.origin, lossy.origin) == (1.0, "server", "server")
    assert lossy.share < 1
    assert whole.frame_s >= theory - missing - burst_bytes * 8 / rate
    for answer in (whole, lossy):
        # Once: with retransmission it would be 1 / (1 - 0.3) times as long on average. The
        # rest of the bound is for a machine that is busy with something else.
        assert answer.frame_s < theory + 2


@pytest.mark.parametrize("transport", ["resend", "tcp"])
def test_what_is_sent_again_comes_whole_while_the_deadline_lets_it(
    network: Cable, bundle: Bundle, transport: str
) -> None:
    network.lose(network.server, 0.1, rule="meta l4proto { udp, tcp }")
    options: dict[str, Any] = {"deadline": "20s", "silent_after": "40s", "transport": transport}
    with network.device.entered(), device(network.device, bundle, **options) as sends:
        answers = [sends(frame(number)) for number in range(6)]
    assert [(answer.origin, answer.share) for answer in answers] == [("server", 1.0)] * 6
    _, lost = network.counted(network.server)
    assert lost > 0


def test_parity_packets_stand_for_what_was_lost(network: Cable, bundle: Bundle) -> None:
    """At 7 % loss, 24 parity packets of 71 leave one of 40 frames incomplete once in 10^9."""
    network.lose(network.server, 0.07, rule=UP)
    options: dict[str, Any] = {
        "deadline": "5s", "grace": "1s", "silent_after": "20s", "parity": "50%"
    }  # fmt: skip
    with device(network.device, bundle, transport="parity", **options) as sends:
        answers = list(sends.stream(frame(number) for number in range(40)))
    assert [(answer.origin, answer.share) for answer in answers] == [("server", 1.0)] * 40
