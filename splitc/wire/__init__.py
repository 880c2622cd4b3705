# SPDX-License-Identifier: Apache-2.0
"""What device and server say to each other, as bytes: no socket, no clock, nothing random.

docs/wire.md has the format.
"""
