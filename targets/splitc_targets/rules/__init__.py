# SPDX-License-Identifier: Apache-2.0
"""Which kernel each operation gets: a rule for each, tried in order."""
