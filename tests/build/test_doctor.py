# SPDX-License-Identifier: Apache-2.0
"""`splitc doctor` names what a machine lacks and what to do about it."""

from __future__ import annotations

import socket

import pytest

from splitc.build.doctor import Check, diagnose, receive_buffer
from splitc.net.sockets import BUFFER_BYTES, Buffers


@pytest.mark.parametrize("got", [BUFFER_BYTES, 212_992])
def test_a_small_receive_buffer_is_no_fault_and_its_remedy_is_named(
    monkeypatch: pytest.MonkeyPatch, got: int
) -> None:
    def ask(of: socket.socket, nbytes: int) -> Buffers:
        return Buffers(nbytes, got, got)

    monkeypatch.setattr(Buffers, "ask", staticmethod(ask))
    check = receive_buffer()
    assert not check.needed
    assert check.ok == (got == BUFFER_BYTES)
    assert check.hint == ("" if check.ok else Buffers(BUFFER_BYTES, got, got).warning)


def test_this_machines_buffer_is_among_what_is_looked_at() -> None:
    found = {check.name: check for check in diagnose()}
    assert isinstance(found["receive buffer"], Check)
    assert found["python"].ok
