# SPDX-License-Identifier: Apache-2.0
"""A bundle: the folder that `splitc compile` writes, read back, run and verified."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from splitc.arrays import Array, Arrays
from splitc.bundle.contents import Contents, contents_of
from splitc.bundle.image import write_image
from splitc.bundle.open_split import OpenSplit, read_feed
from splitc.bundle.pack import write_zip
from splitc.bundle.proof_file import ProofCheck, check_proofs
from splitc.bundle.runnable import runnable_parts, twin_folder
from splitc.bundle.signature import check_signature, write_signature
from splitc.bundle.verify import Verification, require, verify
from splitc.errors import BadBundleError, UsageError, nearest
from splitc.runtime.files import list_files
from splitc.runtime.integrity import below, check_part, compare_files, unchanged
from splitc.runtime.manifest import (
    MANIFEST,
    SIGNATURE,
    Manifest,
    PartManifest,
    Remote,
    Route,
    TensorSpec,
    read_manifest,
    read_plain,
)
from splitc.runtime.memory import Arenas

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
            hint = f"a packed one? `splitc unpack {path}` first" if folder.is_file() else ""
            raise UsageError(f"there is no bundle '{path}'", hint=hint)
        return Bundle(folder, read_manifest(folder, Manifest))

    @property
    def digest(self) -> str:
        """One digest of all of it: sha256 of its manifest, which has that of every other file.

        Raises:
            BadBundleError: The manifest is gone.
        """
        return hashlib.sha256(read_plain(self.path / MANIFEST)).hexdigest()

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
        present = list_files(self.path, but=(MANIFEST, SIGNATURE))
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
            self._check_remotes(part, parts)
        for name, part in parts.items():
            if not twin_folder(self.path, name).is_dir():
                continue
            twin_files = below(present, f"golden/{name}")
            twin = check_part(twin_folder(self.path, name), f"golden/{name}", twin_files)
            # In the place of a graphics processor a processor computes, by kernels of its own.
            alike = () if part.device is not None else ("schedule",)
            for field in ("split", *alike, "format", "inputs", "outputs", "remote"):
                if getattr(twin, field) != getattr(part, field):
                    raise BadBundleError(f"golden/{name} and {name} disagree about their {field}")

    def _check_contract(self, route: Route, parts: Mapping[str, PartManifest]) -> None:
        """Every tensor that is read is made before it, with the same shape and dtype.

        Behind the link only what crosses it is there.
        """
        source = self.manifest.source
        made = {spec.name: spec for spec in source.inputs}
        for name in route.before:
            _check_reads(name, parts[name].inputs, made)
            made |= {spec.name: spec for spec in parts[name].outputs}
        _check_reads("boundary", route.crosses, made)
        known = {spec.name: spec for spec in route.crosses}
        for name in route.behind:
            _check_reads(name, parts[name].inputs, known)
            known |= {spec.name: spec for spec in parts[name].outputs}
        _check_reads("result", source.outputs, known | made)
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

    def _check_remotes(self, part: PartManifest, parts: Mapping[str, PartManifest]) -> None:
        """What a part sends for is so, and of several routes it knows all that it begins."""
        for remote in part.remote:
            self._check_remote(part.part, remote, parts)
        routes = self.manifest.routes
        begun = [number for number, route in enumerate(routes) if route.before[0] == part.part]
        if len(routes) > 1 and [one.route for one in part.remote] != begun:
            why = "it does not say what it sends for on each of its routes"
            raise BadBundleError(f"the {part.part} cannot choose a route", why=why)

    def _check_remote(self, name: str, remote: Remote, parts: Mapping[str, PartManifest]) -> None:
        """What a part sends for is a route that it is on, and comes back from other sites."""
        wrong = BadBundleError(f"the {name} and the bundle disagree about route '{remote.name}'")
        routes, site = self.manifest.routes, self.manifest.parts[name].site
        if remote.route >= len(routes) or site not in routes[remote.route].runs:
            raise wrong
        if not routes[remote.route].behind:
            raise wrong
        route = routes[remote.route]
        outputs = self.manifest.wanted
        makes = {each: part.outputs for each, part in parts.items()}
        told = (remote.name, remote.crosses, remote.missing, remote.results, remote.outputs)
        true = (route.name, route.crosses, route.missing, route.results(makes, outputs), outputs)
        if told != true or (remote.runs or (name,)) != route.runs[site]:
            raise wrong

    def run(
        self, inputs: Arrays | Array, *, route: str | None = None, emulate: bool = False
    ) -> dict[str, Array]:
        """Run the parts of a route one after the other: `open_parts` keeps them loaded.

        Args:
            inputs: Arrays by input name, or the one array of a one-input network,
                of the contract's shapes or all stacked along one more leading axis.
            route: Its name; the default one where none is given.
            emulate: Run a part for another ISA under qemu; by default its build for this
                machine runs.

        Returns:
            Arrays by result name, as `OpenSplit` gives them.

        Raises:
            UsageError: An input is missing, unknown, or of the wrong shape; no such route.
            BadBundleError: A file is not the one the manifest lists.
        """
        read_feed(self.manifest.source.inputs, inputs)
        name = self.manifest.default if route is None else route
        with self.open_parts(name, emulate=emulate) as split:
            return split(inputs)

    def open_parts(self, route: str | None = None, *, emulate: bool = False) -> OpenSplit:
        """Load parts, to be run many times; routes share those that they have in common.

            with bundle.open_parts() as split:
                results = split(inputs)

        Args:
            route: Load only what this route needs; by default what all need.
            emulate: Run a part for another ISA under qemu, a process a call; by default its
                build for this machine runs.

        Raises:
            UsageError: There is no such route.
            BadBundleError: A file is not the one the manifest lists.
            ToolchainError: A part cannot run on this machine.
        """
        manifest = self.manifest
        first = manifest.route if route is None else manifest.route_named(route)
        others = () if route else (one for one in manifest.routes if one is not first)
        routes = [first, *others]
        names = dict.fromkeys(name for one in routes for name in one.parts)
        found = runnable_parts(self.path, manifest, names, emulate=emulate)
        arenas = Arenas()
        with unchanged(self.path, *(part.folder for part in found.values())):
            self.check()
            parts = {name: part.open(arenas) for name, part in found.items()}
        return OpenSplit(manifest, routes, parts, {name: p.ran for name, p in found.items()})

    def verify(self, *, emulate: bool = False) -> Verification:
        """Check the files, run the parts on the golden inputs, compare.

        Args:
            emulate: Run the real parts of another ISA under qemu.

        Returns:
            Every difference; whether it passed is `passed`.

        Raises:
            BadBundleError: The files are not what the manifest lists, or a cut's proof is none.
            ToolchainError: A part cannot run on this machine.
        """
        self.check()
        proofs = self.check_proofs()
        parts = runnable_parts(self.path, self.manifest, emulate=emulate)
        return replace(verify(self.path, self.manifest, parts), proofs=proofs)

    def check_proofs(self) -> tuple[ProofCheck, ...]:
        """Hold the proofs of cuts that were searched against what they rest on; runs no code.

        The files are taken to be those that the manifest lists: see `check`.

        Raises:
            BadBundleError: A proof does not hold.
        """
        return check_proofs(self.path, self.manifest)

    def pack(self, target: Path, *, with_twin: bool = False, image: bool = False) -> Path:
        """Write the bundle as one file, the same bytes for the same bundle.

        Args:
            target: The file: a zip.
            image: A tar of an OCI image layout in its place.
            with_twin: With builds for the machine that compiled it, `golden/head` say.

        Raises:
            BadBundleError: A file is not the one the manifest lists.
            UsageError: They would be left out of a bundle that was signed with them.
            OutputError: The file cannot be written.
        """
        write = write_image if image else write_zip
        write(self.contents(with_twin=with_twin), target)
        return target

    def sign(self, key: Path) -> str:
        """Sign every file, into `model.sig` in the folder; see `splitc.bundle.signature`.

        Args:
            key: A private key's file.

        Returns:
            The key's fingerprint.

        Raises:
            BadBundleError: A file is not the one the manifest lists.
            UsageError: The file holds no key that can sign.
            ToolchainError: The package cryptography is missing.
        """
        self.check()
        return write_signature(self.path, self.digests(), key)

    def check_signature(self, signer: Path) -> str:
        """Check every file, and that all were signed by a key.

        Args:
            signer: The public key's file.

        Returns:
            The key's fingerprint.

        Raises:
            SignatureError: It is not signed, by another key, or the files are others.
            BadBundleError: A file is not the one the manifest lists.
            UsageError: The file holds no public key.
            ToolchainError: The package cryptography is missing.
        """
        self.check()
        return check_signature(self.path, self.digests(), signer)

    def digests(self) -> dict[str, str]:
        """sha256 of every file by its name, as the manifest has them, and the manifest's own."""
        listed = {name: entry.sha256 for name, entry in self.manifest.files.items()}
        return {MANIFEST: self.digest, **listed}

    def contents(self, *, with_twin: bool = False) -> Contents:
        """What of it is handed on, every file checked; see `pack`."""
        self.check()
        return contents_of(self.path, self.manifest, with_twin=with_twin)


def _check_reads(what: str, reads: Iterable[TensorSpec], known: Mapping[str, TensorSpec]) -> None:
    """Raise where something is read that is not there, or is another tensor."""
    for spec in reads:
        if known.get(spec.name) != spec:
            raise BadBundleError(f"{what} and what makes it disagree about '{spec.name}'")


__all__ = ["SUFFIX", "Bundle", "Verification", "require"]
