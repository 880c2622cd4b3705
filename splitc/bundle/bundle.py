# SPDX-License-Identifier: Apache-2.0
"""A bundle: the folder that `splitc compile` writes, read back, run and verified."""

from __future__ import annotations

import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from splitc.arrays import Array, Arrays
from splitc.bundle.open_split import OpenSplit, read_feed
from splitc.bundle.runnable import runnable_parts, twin_folder
from splitc.bundle.verify import Verification, require, verify
from splitc.errors import BadBundleError, OutputError, UsageError, nearest
from splitc.runtime.integrity import below, check_part, compare_files, unchanged
from splitc.runtime.manifest import (
    MANIFEST,
    Manifest,
    PartManifest,
    Remote,
    Route,
    list_files,
    read_manifest,
)

SUFFIX = ".splitc"


@dataclass(frozen=True)
class Bundle:
    """A compiled split network on disk.

    Args:
        path: Its folder.
        manifest: What the folder says it is. Files are not checked until
            `check`, `run` or `verify`.
    """

    path: Path
    manifest: Manifest

    @staticmethod
    def open(path: str | Path) -> Bundle:
        """Read a bundle's manifest; loads no code.

        Raises:
            UsageError: There is no such folder.
            BadBundleError: It holds no bundle of this schema.
        """
        folder = Path(path)
        if not folder.is_dir():
            hint = "a bundle is a folder; unpack a packed one first" if folder.is_file() else ""
            raise UsageError(f"there is no bundle '{path}'", hint=hint)
        return Bundle(folder, read_manifest(folder, Manifest))

    def part(self, name: str) -> PartManifest:
        """The manifest of a part: `head`, say, or `tail`.

        Raises:
            UsageError: The bundle has no such part.
        """
        return read_manifest(self._folder(name), PartManifest)

    def _folder(self, name: str) -> Path:
        known = self.manifest.parts
        if name not in known:
            raise UsageError(f"the bundle has no part '{name}'", hint=nearest(name, known))
        return self.path / known[name].folder

    def check(self) -> None:
        """Check every file, and that the parts belong together.

        Raises:
            BadBundleError: Names the file that is missing, altered or extra, or
                the part that is another model's.
        """
        present = list_files(self.path, but=(MANIFEST,))
        compare_files(self.manifest.files, present, self.path.name)
        parts = {
            name: check_part(self._folder(name), name, below(present, entry.folder))
            for name, entry in self.manifest.parts.items()
        }
        for name, part in parts.items():
            if part.split != self.manifest.split or part.part != name:
                raise BadBundleError(
                    f"the {name} belongs to another split",
                    why=f"its digest is {part.split[:12]}…, the bundle's "
                    f"{self.manifest.split[:12]}…",
                    hint="compile the bundle again",
                )
            if part.format != self.manifest.parts[name].format:
                raise BadBundleError(f"the bundle and its {name} disagree about its format")
        for route in self.manifest.routes:
            self._check_contract(route, parts)
        routed = {name for route in self.manifest.routes for name in route.parts}
        for name in parts:
            if name not in routed:
                self._check_beside(name, parts)
        for part in parts.values():
            for remote in part.remote:
                self._check_remote(part.part, remote, parts)
        for name, part in parts.items():
            if not twin_folder(self.path, name).is_dir():
                continue
            twin_files = below(present, f"golden/{name}")
            twin = check_part(twin_folder(self.path, name), f"golden/{name}", twin_files)
            for field in ("split", "schedule", "format", "inputs", "outputs", "remote"):
                if getattr(twin, field) != getattr(part, field):
                    raise BadBundleError(f"golden/{name} and {name} disagree about their {field}")

    def _check_contract(self, route: Route, parts: Mapping[str, PartManifest]) -> None:
        """Every tensor that is read is made before it, with the same shape and dtype."""
        source = self.manifest.source
        known = {spec.name: spec for spec in source.inputs}
        running = ((name, parts[name].inputs, parts[name].outputs) for name in route.parts)
        for what, reads, makes in (
            *running,
            ("result", source.outputs, ()),
            ("boundary", route.crosses, ()),
        ):
            for spec in reads:
                if known.get(spec.name) != spec:
                    raise BadBundleError(f"{what} and what makes it disagree about '{spec.name}'")
            known |= {spec.name: spec for spec in makes}
        if not source.outputs:
            raise BadBundleError("the bundle has no results")

    def _check_beside(self, name: str, parts: Mapping[str, PartManifest]) -> None:
        """A part on no route does for several frames what another one does, or all of it."""
        source, entry = self.manifest.source, self.manifest.parts[name]
        inputs, outputs = source.inputs, source.outputs
        if entry.batch > 1:
            alone = self.manifest.batched(name).get(1)
            if alone is None:
                why = f"no part does for one frame what it does for {entry.batch}"
                raise BadBundleError(f"the bundle needs no '{name}'", why=why)
            inputs, outputs = (
                tuple(spec.batched(entry.batch) for spec in specs)
                for specs in (parts[alone].inputs, parts[alone].outputs)
            )
        if (parts[name].inputs, parts[name].outputs) != (inputs, outputs):
            raise BadBundleError(f"the {name} takes or makes something else than it should")

    def _check_remote(self, name: str, remote: Remote, parts: Mapping[str, PartManifest]) -> None:
        """What a part sends for is a route that it is on, and comes back from other sites."""
        wrong = BadBundleError(f"the {name} and the bundle disagree about route '{remote.name}'")
        routes, site = self.manifest.routes, self.manifest.parts[name].site
        if remote.route >= len(routes):
            raise wrong
        route = routes[remote.route]
        theirs = (other for at, names in route.runs.items() if at != site for other in names)
        results = tuple(spec for other in theirs for spec in parts[other].outputs)
        outputs = tuple(spec.name for spec in self.manifest.source.outputs)
        told = (remote.name, remote.crosses, remote.missing, remote.results, remote.outputs)
        true = (route.name, route.crosses, route.missing, results, outputs)
        if told != true or name not in route.parts:
            raise wrong

    def run(self, inputs: Arrays | Array, *, emulate: bool = False) -> dict[str, Array]:
        """Run the parts of the default route one after the other: `open_parts` keeps them loaded.

        Args:
            inputs: Arrays by input name, or the one array of a one-input network,
                of the contract's shapes or all stacked along one more leading axis.
            emulate: Run a part for another ISA under qemu; by default its build for this
                machine runs.

        Returns:
            Arrays by result name.

        Raises:
            UsageError: An input is missing, unknown, or of the wrong shape.
            BadBundleError: A file is not the one the manifest lists.
        """
        read_feed(self.manifest.source.inputs, inputs)
        with self.open_parts(emulate=emulate) as split:
            return split(inputs)

    def open_parts(self, *, emulate: bool = False) -> OpenSplit:
        """Load the parts of the default route, to be run many times.

            with bundle.open_parts() as split:
                results = split(inputs)

        Args:
            emulate: Run a part for another ISA under qemu, a process a call; by default its
                build for this machine runs.

        Raises:
            BadBundleError: A file is not the one the manifest lists.
            ToolchainError: A part cannot run on this machine.
        """
        found = runnable_parts(self.path, self.manifest, emulate=emulate)
        with unchanged(self.path, *(part.folder for part in found.values())):
            self.check()
            parts = [part.open() for part in found.values()]
        source = self.manifest.source
        ran = {name: part.ran for name, part in found.items()}
        return OpenSplit(source.inputs, source.outputs, *parts, ran=ran)

    def verify(self, *, emulate: bool = False) -> Verification:
        """Check the files, run the parts on the golden inputs, compare.

        Args:
            emulate: Run the real parts of another ISA under qemu.

        Returns:
            Every difference; whether it passed is `passed`.

        Raises:
            BadBundleError: The files are not what the manifest lists.
            ToolchainError: A part cannot run on this machine.
        """
        self.check()
        parts = runnable_parts(self.path, self.manifest, emulate=emulate, every=True)
        return verify(self.path, self.manifest, parts)

    def pack(self, target: Path) -> Path:
        """Write the bundle as one zip, the same bytes for the same bundle.

        Raises:
            BadBundleError: A file is not the one the manifest lists.
            OutputError: The zip cannot be written.
        """
        self.check()
        beside = target.with_name(f".{target.name}.new")
        try:
            with zipfile.ZipFile(beside, "w", zipfile.ZIP_DEFLATED, compresslevel=6) as archive:
                for name in [MANIFEST, *self.manifest.files]:
                    info = zipfile.ZipInfo(f"{self.path.name}/{name}", (1980, 1, 1, 0, 0, 0))
                    mode = 0o755 if (self.path / name).stat().st_mode & 0o100 else 0o644
                    info.external_attr = (0o100000 | mode) << 16
                    info.compress_type = zipfile.ZIP_DEFLATED
                    archive.writestr(info, (self.path / name).read_bytes())
            beside.replace(target)
        except OSError as error:
            raise OutputError(f"cannot write '{target}'", why=error.strerror or "") from error
        finally:
            beside.unlink(missing_ok=True)
        return target


__all__ = ["SUFFIX", "Bundle", "Verification", "require"]
