# SPDX-License-Identifier: Apache-2.0
"""The release."""

__version__ = "0.1.0"
