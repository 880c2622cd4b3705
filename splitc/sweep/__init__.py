# SPDX-License-Identifier: Apache-2.0
"""Long sweeps over conditions: gone on with after a kill, spread over a cluster, measured here."""
