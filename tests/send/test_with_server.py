# SPDX-License-Identifier: Apache-2.0
"""Device and server of splitc together: loss, damage, restarts, silence, keys, other bundles."""

from __future__ import annotations

import threading
from collections.abc import Sequence

import numpy as np
import pytest

from splitc.arrays import Array
from splitc.bundle.bundle import Bundle
from splitc.errors import BadBundleError, DeviceError
from splitc.net.address import Address
from splitc.net.relay import Impairment, Relay
from splitc.send import Answer, Device
from splitc.serve import Server
from tests.send.test_device import KEY, image

LIMIT_S = 20.0


@pytest.fixture(scope="module")
def results(compiled: Bundle) -> list[Array]:
    """What the bundle makes of the first images."""
    with compiled.open_parts() as split:
        return [split(image(seed))["y"] for seed in range(60)]


def serve(bundle: Bundle, key: bytes | None = None, at: Address | None = None) -> Server:
    """A server of this bundle, not started yet."""
    return Server([bundle.path], bind=at or Address("127.0.0.1", 0), key=key)


def images(count: int) -> list[Array]:
    return [image(seed) for seed in range(count)]


def assert_right(answers: Sequence[Answer], results: Sequence[Array]) -> None:
    """Where the server had all of a frame, its answer is the bundle's result."""
    for answer in answers:
        if answer.origin == "server" and answer.share == 1.0:
            right = results[answer.frame]
            np.testing.assert_allclose(answer["y"], right, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("key", [None, KEY])
@pytest.mark.parametrize("transport", ["udp", "resend", "parity", "tcp"])
def test_every_frame_is_answered_on_this_machine(
    compiled: Bundle, results: list[Array], transport: str, key: bytes | None
) -> None:
    with (
        serve(compiled, key) as server,
        Device(compiled.path, str(server.address), transport=transport, key=key) as device,
    ):
        answers = list(device.stream(images(60)))
        assert [answer.share for answer in answers] == [1.0] * 60
        assert device.counters.bad_seal == device.counters.malformed == 0
    assert_right(answers, results)


@pytest.mark.parametrize("transport", ["udp", "resend", "parity"])
@pytest.mark.parametrize("loss", [0.3, 0.6])
def test_losses_cost_their_share_and_no_frame(
    compiled: Bundle, results: list[Array], loss: float, transport: str
) -> None:
    with (
        serve(compiled) as server,
        Relay(server.address, up=Impairment(loss=loss), seed=2) as relay,
        Device(
            compiled.path, str(relay.address), transport=transport, parity=100, deadline=0.3,
            in_flight=4, silent_after=0.4,
        ) as device,
    ):  # fmt: skip
        answers = list(device.stream(images(40)))
        sent, again = device.counters.packets_sent, device.counters.packets_resent
    # A frame of which nothing came, 0.6^4 = 13 % of them, is answered as well.
    assert [answer.origin for answer in answers] == ["server"] * 40
    mean = np.mean([answer.share for answer in answers])
    if transport == "udp":
        # 160 packets: five standard deviations of their mean.
        deviation = np.sqrt(loss * (1 - loss) / 160)
        assert mean == pytest.approx(1 - loss, abs=5 * deviation)
        assert again == 0
    elif transport == "parity":
        assert mean > 1.1 * (1 - loss)
        assert again == 0
        assert sent >= 8 * 40
    else:
        assert mean > (0.95 if loss == 0.3 else 0.7)
        assert again > 0
    assert_right(answers, results)


def test_what_comes_twice_late_or_damaged_does_no_harm(
    compiled: Bundle, results: list[Array]
) -> None:
    bad = Impairment(duplicate=0.2, reorder=0.2, jitter=0.002, corrupt=0.15)
    with (
        serve(compiled, KEY) as server,
        Relay(server.address, up=bad, down=bad, seed=3) as relay,
        Device(compiled.path, str(relay.address), key=KEY, transport="resend") as device,
    ):
        answers = list(device.stream(images(40)))
        assert device.counters.duplicate > 0
        assert device.counters.bad_seal + device.counters.malformed > 0
    assert sum(answer.origin == "server" for answer in answers) >= 38
    assert_right(answers, results)


@pytest.mark.parametrize("transport", ["udp", "tcp"])
def test_a_device_goes_on_when_its_server_was_killed_and_started_again(
    compiled: Bundle, results: list[Array], transport: str
) -> None:
    with serve(compiled) as first:
        at = first.address
        device = Device(compiled.path, str(at), transport=transport, silent_after=5)
        answers = [device(image(seed)) for seed in range(3)]
        first.close()  # No goodbye.
    with device, serve(compiled, at=at):
        answers += device.stream(images(6)[3:])
        assert device.counters.sessions == 2
    assert [answer.origin for answer in answers] == ["server"] * 6
    assert_right(answers, results)


def test_a_server_that_stops_says_so_and_the_last_answer_stands_in(compiled: Bundle) -> None:
    with serve(compiled) as first:
        at = first.address
        device = Device(compiled.path, str(at), when_silent="last", silent_after=0.2)
        device(image(0))
        first.stop()
    with device:
        answers = list(device.stream(images(5)))
        assert [answer.origin for answer in answers] == ["last"] * 5
        assert device.silent
        with serve(compiled, at=at):
            waiting = threading.Event()
            for _ in range(int(LIMIT_S / 0.05)):
                if device(image(0)).origin == "server":
                    break
                waiting.wait(0.05)
            assert not device.silent


def test_a_server_of_another_bundle_is_one_clear_error(
    compiled: Bundle, two_headed: Bundle
) -> None:
    with (
        serve(two_headed) as server,
        pytest.raises(BadBundleError, match="the server has another bundle than this head's"),
    ):
        Device(compiled.path, str(server.address))


@pytest.mark.parametrize("transport", ["udp", "tcp"])
@pytest.mark.parametrize(
    ("ours", "theirs"), [(KEY, b"o" * 32), (None, KEY), (KEY, None)], ids=["other", "none", "only"]
)
def test_a_server_with_another_key_is_one_clear_error(
    compiled: Bundle, ours: bytes | None, theirs: bytes | None, transport: str
) -> None:
    with (
        serve(compiled, theirs) as server,
        pytest.raises(DeviceError, match="the server has (another|a|no) key") as caught,
    ):
        Device(compiled.path, str(server.address), key=ours, transport=transport)
    assert caught.value.exit_code == 8
    assert "key" in caught.value.hint


def test_a_slow_link_is_not_sent_more_than_it_takes(compiled: Bundle, results: list[Array]) -> None:
    slow = Impairment(bandwidth=4e6, queue_bytes=5_000)

    def share(bandwidth: str | None) -> float:
        with (
            serve(compiled) as server,
            Relay(server.address, up=slow, seed=1) as relay,
            Device(
                compiled.path, str(relay.address), bandwidth=bandwidth, in_flight=4,
                silent_after=0.4, when_silent="last",
            ) as device,
        ):  # fmt: skip
            answers = list(device.stream(images(12)))
        assert_right(answers, results)
        return float(np.mean([answer.share for answer in answers]))

    assert share(None) < 0.95
    # A relay that was not let run for a while finds a burst where there was none.
    assert any(share("3.6Mbit") == 1.0 for _ in range(5))
