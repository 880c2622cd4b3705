# SPDX-License-Identifier: Apache-2.0
"""Running the parts of a bundle."""
