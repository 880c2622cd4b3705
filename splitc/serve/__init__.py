# SPDX-License-Identifier: Apache-2.0
"""The tail as a server."""

from splitc.serve.server import Server

__all__ = ["Server"]
