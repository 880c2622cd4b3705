# SPDX-License-Identifier: Apache-2.0
"""Shared libraries of a part, loaded from the very bytes that were hashed."""

from __future__ import annotations

import ctypes
import hashlib
import os
import threading
import weakref
from pathlib import Path

from splitc.errors import BadBundleError, ToolchainError
from splitc.runtime.files import FileEntry


def open_library(path: Path, entry: FileEntry) -> ctypes.CDLL:
    """Load a library; it is unloaded when nothing refers to it any more.

    Its bytes are copied and loaded from there. The dynamic loader knows libraries by their
    paths: of a part that was compiled again it would give the code of before, as long as that
    is loaded, whatever lies at the path now.

    Raises:
        BadBundleError: The file is not the one that the manifest lists.
        ToolchainError: This machine cannot load it.
    """
    data = path.read_bytes()
    if FileEntry(bytes=len(data), sha256=hashlib.sha256(data).hexdigest()) != entry:
        raise BadBundleError(f"'{path.name}' was altered", at=str(path))
    # As long as the library is loaded its file is open: another at the same number would be
    # taken for it.
    file = os.memfd_create(path.name)
    try:
        with open(file, "wb", closefd=False) as copy:
            copy.write(data)
        library = ctypes.CDLL(f"/proc/self/fd/{file}")
    except OSError as error:
        os.close(file)
        raise ToolchainError(f"cannot load '{path.name}'", at=str(path), why=str(error)) from error
    weakref.finalize(library, _unload, library._handle, file).atexit = False
    return library


def _unload(handle: int, file: int) -> None:
    close = ctypes.CDLL(None).dlclose
    close.argtypes = [ctypes.c_void_p]
    close(handle)
    os.close(file)


class Host:
    """`libsplitc.so`: the threads and the scratch memory of every part in this process.

    Args:
        library: It, loaded.
    """

    def __init__(self, library: ctypes.CDLL) -> None:
        self._library = library
        library.splitc_host_table.restype = ctypes.c_void_p
        library.splitc_host_error.restype = ctypes.c_char_p
        library.splitc_host_threads.restype = ctypes.c_int
        # Libraries of bundles made before this was there have their threads watch on.
        self._rest = getattr(library, "splitc_host_rest", lambda: None)
        # Compiled code does not name the mathematical library: it takes what is loaded.
        ctypes.CDLL("libm.so.6", ctypes.RTLD_GLOBAL)

    def serve(self, model: ctypes.CDLL) -> None:
        """Give a model what it asks of the process that runs it.

        Raises:
            ToolchainError: It is no model of splitc's.
        """
        try:
            table = (ctypes.c_void_p * 4).in_dll(model, "splitc_host")
        except ValueError as error:
            raise ToolchainError("cannot load the code", why=str(error)) from error
        ctypes.memmove(table, self._library.splitc_host_table(), ctypes.sizeof(table))

    @property
    def threads(self) -> int:
        """How many threads run a loop of a part: those of `SPLITC_NUM_THREADS`, or a core each."""
        return self._library.splitc_host_threads()

    def rest(self) -> None:
        """Have threads sleep that watch for the next loop; it wakes them."""
        self._rest()

    def error(self) -> str:
        """Why the last call of a model from this thread failed."""
        return self._library.splitc_host_error().decode(errors="replace")


_hosts: dict[str, Host] = {}
_lock = threading.Lock()


def host(path: Path, entry: FileEntry) -> Host:
    """The host in a file: the same bytes are loaded once a process, and stay.

    Raises:
        BadBundleError: The file is not the one that the manifest lists.
        ToolchainError: This machine cannot load it.
    """
    with _lock:
        if entry.sha256 not in _hosts:
            _hosts[entry.sha256] = Host(open_library(path, entry))
        return _hosts[entry.sha256]


def threads_in_use() -> int | None:
    """How many threads run compiled code in this process; None where none is loaded."""
    with _lock:
        return max((one.threads for one in _hosts.values()), default=None)
