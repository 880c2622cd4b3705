# SPDX-License-Identifier: Apache-2.0
"""Passes around the tensor that crosses: encoder on the device, decoder on the server."""
