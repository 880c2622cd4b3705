# SPDX-License-Identifier: Apache-2.0
"""Which kernel calls compute a part, and where each value lies."""
