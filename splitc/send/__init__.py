# SPDX-License-Identifier: Apache-2.0
"""The head as a client: run it here, send what crosses, take the tail's answers."""

from __future__ import annotations

from typing import TYPE_CHECKING

from splitc.lazy_names import lazy_names, listed_names

if TYPE_CHECKING:
    from splitc.send.answer import Answer
    from splitc.send.device import Device
    from splitc.send.settings import Settings

__all__ = ["Answer", "Device", "Settings"]

__getattr__ = lazy_names(__name__, {"Answer": "answer", "Device": "device", "Settings": "settings"})

__dir__ = listed_names(__name__)
