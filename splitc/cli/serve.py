# SPDX-License-Identifier: Apache-2.0
"""`splitc serve`: the tails of bundles, for devices that send what crosses."""

from __future__ import annotations

import signal
import socket
import threading
import time
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from splitc.cli import options as o

if TYPE_CHECKING:
    from splitc.net.address import Address
    from splitc.serve.journal import Journal
    from splitc.serve.server import Server

SECURITY = "Security"
LIMITS = "Limits"
WATCH = "Watching it"

_LOOK_S = 0.2


def serve(
    bundles: Annotated[
        list[str], typer.Argument(metavar="BUNDLE…", help="Folders written by compile.")
    ],
    bind: Annotated[
        str,
        typer.Option("--bind", metavar="HOST:PORT", envvar="SPLITC_BIND",
                     help="Where to listen, by UDP and by TCP; port 0 is any that is free."),
    ] = "0.0.0.0:4353",
    deadline: Annotated[
        str,
        typer.Option("--deadline", metavar="TIME", envvar="SPLITC_DEADLINE",
                     help="A frame's tail runs so long after its first packet at the latest, "
                     "unless the device asks for another time."),
    ] = "500ms",
    workers: Annotated[
        int,
        typer.Option("--workers", metavar="N", envvar="SPLITC_WORKERS",
                     help="Tails that run at once; each uses all cores by itself."),
    ] = 1,
    device: o.Device = None,
    mtu: Annotated[
        int,
        typer.Option("--mtu", metavar="BYTES", envvar="SPLITC_MTU",
                     help="Largest packet that devices may send, headers included."),
    ] = 1500,
    key: Annotated[
        str | None,
        typer.Option("--key", metavar="FILE", envvar="SPLITC_KEY", rich_help_panel=SECURITY,
                     help="Key that devices need; made where there is none. By default one of "
                     "yours in ~/.config/splitc, unless only this machine is served."),
    ] = None,
    no_key: Annotated[
        bool,
        typer.Option("--no-key", rich_help_panel=SECURITY,
                     help="Serve anybody, and send everything readable."),
    ] = False,
    max_peers: Annotated[
        int,
        typer.Option("--max-peers", metavar="N", envvar="SPLITC_MAX_PEERS",
                     rich_help_panel=LIMITS, help="Devices at once."),
    ] = 256,
    memory: Annotated[
        str,
        typer.Option("--memory", metavar="SIZE", envvar="SPLITC_MEMORY", rich_help_panel=LIMITS,
                     help="For frames and answers of all devices together."),
    ] = "256MB",
    keep: Annotated[
        str | None,
        typer.Option("--keep", metavar="DIR", envvar="SPLITC_KEEP",
                     help="Write each frame's results to DIR, an .npz file a frame: for bundles of "
                     "[b]compile --results server[/], and others."),
    ] = None,
    metrics: Annotated[
        str | None,
        typer.Option("--metrics", metavar="HOST:PORT", envvar="SPLITC_METRICS",
                     rich_help_panel=WATCH, help="Show metrics for Prometheus there."),
    ] = None,
    log_json: Annotated[
        bool,
        typer.Option("--log-json", rich_help_panel=WATCH,
                     help="Write what happens as JSON, an object a line."),
    ] = False,
    json: o.Json = False,
    quiet: o.Quiet = False,
) -> None:  # fmt: skip
    """Run the tails of bundles for devices that [b]splitc send[/] to it.

    Ctrl-C ends it: frames that are there are answered, then the counters are shown.
    """
    from splitc.link.link import parse_seconds
    from splitc.link.packets import payload_bytes
    from splitc.net.address import Address
    from splitc.net.sockets import DATAGRAM_BYTES
    from splitc.serve.journal import LineJournal, silent
    from splitc.serve.keep import Folder
    from splitc.serve.limits import Limits
    from splitc.serve.server import Server
    from splitc.wire.header import HEADER_BYTES, TAG_BYTES

    o.use_device(device)
    where = Address.parse(bind)
    journal = LineJournal(as_json=True) if log_json else silent if quiet else LineJournal()
    path = _key_path(where, key, none=no_key)
    limits = Limits(
        peers=max_peers, memory_bytes=o.parse_bytes(memory), deadline_s=parse_seconds(deadline)
    )
    # A packet without the headers of IPv6 and UDP.
    longest = max(DATAGRAM_BYTES, payload_bytes(mtu) + HEADER_BYTES + TAG_BYTES)
    with _until_stopped() as stopped:
        server = Server(
            bundles, bind=where, key=_key(path, journal), limits=limits, workers=workers,
            packet_bytes=longest, metrics=metrics, journal=journal,
            keep=None if keep is None else Folder(Path(keep)),
        )  # fmt: skip
        began = time.monotonic()
        with server:
            _announce(server, key=path, journal=journal)
            for one in server.bundles.values():
                for part, why in one.stand_ins.items():
                    text = f"the {part} of {one.name} runs on this machine's processor: {why}"
                    journal("stand_in", text, bundle=one.name, part=part, why=why)
            for one in server.bundles.values() if keep is None else ():
                if one.results_stay:
                    text = f"results of {one.name} stay here, and nobody keeps them: --keep DIR"
                    journal("unkept", text, bundle=one.name)
            while not (stopped.wait(_LOOK_S) or server.broken):
                pass
            server.stop()
            seconds = time.monotonic() - began
            _report(server, seconds, sealed=path is not None, json=json, quiet=quiet)


def _key_path(where: Address, given: str | None, *, none: bool) -> Path | None:
    """Where the key is that devices need; None where they need none.

    Raises:
        UsageError: The options contradict each other.
    """
    from splitc.errors import UsageError
    from splitc.wire.key_file import default_key_path

    if none and given is not None:
        raise UsageError("--no-key and --key contradict each other")
    if none or (given is None and where.is_loopback):
        return None
    return Path(given) if given is not None else default_key_path()


def _key(path: Path | None, journal: Journal) -> bytes | None:
    """The key in a file, which is made where it is not.

    Raises:
        UsageError: It cannot be read or made, or holds no key.
    """
    from splitc.wire.key_file import make_key, read_key

    if path is None or path.exists():
        return None if path is None else read_key(path)
    key = make_key(path)
    journal("key", f"made a key: {path}", path=str(path))
    return key


@contextmanager
def _until_stopped() -> Generator[threading.Event]:
    """An event that Ctrl-C and SIGTERM set; a second one of them is as ever."""
    stopped = threading.Event()
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}

    def restore() -> None:
        for number, handler in before.items():
            signal.signal(number, handler)

    def stop(number: int, frame: object) -> None:
        restore()
        stopped.set()

    for number in before:
        signal.signal(number, stop)
    try:
        yield stopped
    finally:
        restore()


def _announce(server: Server, *, key: Path | None, journal: Journal) -> None:
    """Say what is served where, and what to type on the device."""
    names = ", ".join(one.title for one in server.bundles.values())
    sealed = "sealed" if key is not None else "not sealed"
    at = str(server.address)
    text = f"serving {names} at {at}, UDP and TCP, {sealed}"
    journal("serving", text, address=at, bundles=names, sealed=key is not None)
    if server.metrics is not None:
        page = f"http://{server.metrics}/metrics"
        journal("metrics", f"metrics for Prometheus: {page}", address=page)
    if server.warning:
        journal("buffer", server.warning)
    if key is not None:
        journal("copy", f"each device needs a copy of {key}", key=str(key))
    for one in server.bundles.values():
        command = f"splitc send {one.path.name} --to {_seen_from_outside(server.address)}"
        command += f" --key {key.name}" if key is not None else ""
        journal("device", f"on the device: {command}", command=command)


def _seen_from_outside(address: Address) -> Address:
    """The address for devices: where any of this machine's is meant, the one it mostly has."""
    from ipaddress import ip_address

    from splitc.net.address import Address, resolve

    if not ip_address(resolve(address, listens=True).name[0]).is_unspecified:
        return address
    family = socket.AF_INET6 if ":" in address.host else socket.AF_INET
    # Sends nothing: the kernel says which address a packet would have that goes out.
    try:
        with socket.socket(family, socket.SOCK_DGRAM) as made:
            made.connect(("192.0.2.1" if family == socket.AF_INET else "2001:db8::1", 9))
            return Address(made.getsockname()[0], address.port)
    except OSError:
        return Address(socket.gethostname(), address.port)


def _report(server: Server, seconds: float, *, sealed: bool, json: bool, quiet: bool) -> None:
    """Show what was counted."""
    from splitc.cli import show
    from splitc.cli.serve_object import ServeObject

    found = ServeObject.of(server, sealed=sealed, seconds=seconds)
    if json:
        show.print_json(found)
        return
    if quiet:
        return
    counted, console = found.counters, show.out()
    lost = counted["chunks_missing"] / max(1, counted["chunks"])
    console.print(
        f"{counted['frames']} frames in {seconds:.1f} s: {counted['answers']} answered, "
        f"{counted['failed']} failed, {counted['late']} late"
    )
    if counted["frames"]:
        console.print(
            f"{counted['packets']} packets came, {lost:.1%} of the frames' did not, "
            f"{found.dropped_by_kernel} lost here"
        )
    for what, counts in (("packets not used", found.dropped), ("refused", found.refused)):
        if counts:
            each = ", ".join(f"{name} {count}" for name, count in sorted(counts.items()))
            console.print(f"{what}: {each}")
    for name, stage in found.stages.items():
        if stage.count:
            console.print(
                f"{name:>8}: half within {stage.p50_ms:g} ms, 99 % within {stage.p99_ms:g} ms"
            )
