# SPDX-License-Identifier: Apache-2.0
"""Products by constants with an eighth of the multiply-adds saved."""
