# SPDX-License-Identifier: Apache-2.0
"""Whether this process may use the tiles of its processor (AMX): Linux wants to be asked.

A thread's tiles take 8 KiB that the kernel keeps where threads change places, so it gives them
to processes that ask, once, for all of their threads.

References:
    Linux, Documentation/arch/x86/xstate.rst.
"""

from __future__ import annotations

import ctypes
import functools
import os
import platform

_ARCH_PRCTL = 158  # x86-64's number of the system call
_ARCH_REQ_XCOMP_PERM = 0x1023
_XTILEDATA = 18


@functools.cache
def why_no_tiles() -> str:
    """Ask the kernel for tiles; why it does not give them, in a clause; "" where it does."""
    if platform.system() != "Linux" or platform.machine().lower() not in ("x86_64", "amd64"):
        return "only Linux on x86-64 gives a process tiles (AMX)"
    call = ctypes.CDLL(None, use_errno=True).syscall
    call.restype = ctypes.c_long
    numbers = (_ARCH_PRCTL, _ARCH_REQ_XCOMP_PERM, _XTILEDATA)
    if call(*map(ctypes.c_long, numbers)) == 0:
        return ""
    return f"the kernel gives this process no tiles (AMX): {os.strerror(ctypes.get_errno())}"
