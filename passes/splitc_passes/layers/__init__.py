# SPDX-License-Identifier: Apache-2.0
"""The `nn.Module`s that passes insert; each can be used alone."""
