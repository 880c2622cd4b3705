# SPDX-License-Identifier: Apache-2.0
"""What layers cost on a machine: boards, rooflines, prices of cuts."""
