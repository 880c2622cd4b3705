# SPDX-License-Identifier: Apache-2.0
"""Sockets and what tests them: datagrams many at once, streams, addresses, a lossy relay."""
