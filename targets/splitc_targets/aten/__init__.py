# SPDX-License-Identifier: Apache-2.0
"""Programs of torch.export's on their way to Relax: rewritten, folded, held against a table."""
