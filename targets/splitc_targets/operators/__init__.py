# SPDX-License-Identifier: Apache-2.0
"""Operations of our own, as both front ends write them in Relax."""
