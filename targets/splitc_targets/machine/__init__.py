# SPDX-License-Identifier: Apache-2.0
"""What a core can do, and the tiles that suit it."""
