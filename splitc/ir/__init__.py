# SPDX-License-Identifier: Apache-2.0
"""Networks as layer graphs: what every other room speaks of."""
