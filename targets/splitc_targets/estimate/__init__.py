# SPDX-License-Identifier: Apache-2.0
"""What a network takes on a board, predicted from the kernels that would be planned for it."""
