# SPDX-License-Identifier: Apache-2.0
"""Bundles signed by key: by splitc and by OpenSSF's own package, each checked by the other."""

from __future__ import annotations

import importlib
import json
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from splitc.bundle.bundle import Bundle
from splitc.bundle.unpack import unpack
from splitc.cli.app import app
from splitc.errors import BadBundleError, SignatureError, UsageError
from splitc.runtime.files import list_files
from splitc.runtime.manifest import MANIFEST, SIGNATURE, write_manifest

signing: Any = importlib.import_module("model_signing.signing")
verifying: Any = importlib.import_module("model_signing.verifying")


def make_key(folder: Path, name: str, curve: str = "prime256v1") -> tuple[Path, Path]:
    """A private and a public key, as the documents say."""
    private, public = folder / f"{name}.pem", folder / f"{name}.pub"
    new = ["openssl", "ecparam", "-name", curve, "-genkey", "-noout", "-out", str(private)]
    subprocess.run(new, check=True, capture_output=True)
    out = ["openssl", "ec", "-in", str(private), "-pubout", "-out", str(public)]
    subprocess.run(out, check=True, capture_output=True)
    return private, public


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    return make_key(tmp_path_factory.mktemp("keys"), "ours")


@pytest.fixture(scope="module")
def other(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    return make_key(tmp_path_factory.mktemp("keys"), "other")


@pytest.fixture(scope="module")
def once(
    compiled: Bundle, keys: tuple[Path, Path], tmp_path_factory: pytest.TempPathFactory
) -> Bundle:
    """The small network's bundle, signed. Read only."""
    folder = tmp_path_factory.mktemp("signed") / "small.splitc"
    shutil.copytree(compiled.path, folder)
    Bundle.open(folder).sign(keys[0])
    return Bundle.open(folder)


@pytest.fixture
def signed(once: Bundle, tmp_path: Path) -> Bundle:
    """A copy that a test may damage."""
    shutil.copytree(once.path, tmp_path / "small.splitc")
    return Bundle.open(tmp_path / "small.splitc")


def relisted(bundle: Bundle) -> Bundle:
    """A manifest that lists what is there, as one who alters a bundle would write it."""
    files = list_files(bundle.path, but=(MANIFEST, SIGNATURE))
    manifest = json.loads((bundle.path / MANIFEST).read_text("utf-8"))
    manifest["files"] = {n: {"bytes": e.bytes, "sha256": e.sha256} for n, e in files.items()}
    (bundle.path / MANIFEST).write_text(json.dumps(manifest), "utf-8")
    return Bundle.open(bundle.path)


@pytest.mark.parametrize("curve", ["prime256v1", "secp384r1", "secp521r1"])
def test_openssf_s_package_finds_what_splitc_signed_good(
    compiled: Bundle, tmp_path: Path, curve: str
) -> None:
    private, public = make_key(tmp_path, "key", curve)
    shutil.copytree(compiled.path, tmp_path / "b")
    Bundle.open(tmp_path / "b").sign(private)
    config = verifying.Config().use_elliptic_key_verifier(public_key=public)
    config.verify(tmp_path / "b", tmp_path / "b" / SIGNATURE)
    (tmp_path / "b" / "report.html").write_text("altered", "utf-8")
    with pytest.raises(ValueError, match=r"Hash mismatch for \W*report\.html"):
        config.verify(tmp_path / "b", tmp_path / "b" / SIGNATURE)


def test_splitc_finds_what_openssf_s_package_signed_good(
    bundle: Bundle, keys: tuple[Path, Path]
) -> None:
    ignored = signing.hashing.Config().set_ignored_paths(paths=[bundle.path / SIGNATURE])
    config = signing.Config().use_elliptic_key_signer(private_key=keys[0])
    config.set_hashing_config(ignored).sign(bundle.path, bundle.path / SIGNATURE)
    assert len(bundle.check_signature(keys[1])) == 64
    (bundle.path / "golden" / "inputs" / "0.npy").write_bytes(b"")
    with pytest.raises(SignatureError, match="not what was signed") as told:
        relisted(bundle).check_signature(keys[1])
    assert told.value.why == "altered: golden/inputs/0.npy, manifest.json"


def test_what_a_signature_leaves_out_is_not_left_out(
    bundle: Bundle, keys: tuple[Path, Path]
) -> None:
    paths = [bundle.path / SIGNATURE, bundle.path / "head"]
    ignored = signing.hashing.Config().set_ignored_paths(paths=paths)
    config = signing.Config().use_elliptic_key_signer(private_key=keys[0])
    config.set_hashing_config(ignored).sign(bundle.path, bundle.path / SIGNATURE)
    with pytest.raises(SignatureError, match="not what was signed") as told:
        bundle.check_signature(keys[1])
    assert "added: head/" in told.value.why


def test_the_same_bundle_gets_the_same_signature(
    once: Bundle, signed: Bundle, keys: tuple[Path, Path]
) -> None:
    signed.sign(keys[0])
    assert (signed.path / SIGNATURE).read_bytes() == (once.path / SIGNATURE).read_bytes()


def test_a_bundle_that_is_not_signed_is_not_taken(
    compiled: Bundle, keys: tuple[Path, Path]
) -> None:
    with pytest.raises(SignatureError, match="not signed") as told:
        compiled.check_signature(keys[1])
    assert told.value.exit_code == 3


def test_another_key_is_named_as_such(signed: Bundle, other: tuple[Path, Path]) -> None:
    with pytest.raises(SignatureError, match="signed by another key") as told:
        signed.check_signature(other[1])
    assert "other.pub" in told.value.why


def test_a_signature_that_only_names_the_right_key_is_forged(
    once: Bundle, signed: Bundle, keys: tuple[Path, Path], other: tuple[Path, Path]
) -> None:
    hint = json.loads((once.path / SIGNATURE).read_text("utf-8"))["verificationMaterial"]
    signed.sign(other[0])
    forged = json.loads((signed.path / SIGNATURE).read_text("utf-8"))
    forged["verificationMaterial"] = hint
    (signed.path / SIGNATURE).write_text(json.dumps(forged), "utf-8")
    with pytest.raises(SignatureError, match="forged, or by another key"):
        signed.check_signature(keys[1])


def _alter(folder: Path) -> None:
    (folder / "tail" / "weights.bin").write_bytes(b"others")


def _add(folder: Path) -> None:
    (folder / "tail" / "more.so").write_bytes(b"code")


def _drop(folder: Path) -> None:
    (folder / "report.html").unlink()


@pytest.mark.parametrize(
    ("change", "unlisted", "why"),
    [
        (_alter, "'tail/weights.bin' was altered", "altered: manifest.json, tail/weights.bin"),
        (_add, "'tail/more.so' is not in the manifest", "added: tail/more.so"),
        (_drop, "'report.html' is missing", "missing: report.html"),
    ],
)
def test_a_file_that_was_changed_is_named(
    signed: Bundle,
    keys: tuple[Path, Path],
    change: Callable[[Path], None],
    unlisted: str,
    why: str,
) -> None:
    change(signed.path)
    with pytest.raises(BadBundleError, match=unlisted):
        signed.check_signature(keys[1])
    tail = json.loads((signed.path / "tail" / MANIFEST).read_text("utf-8"))
    names = (p for p in (signed.path / "tail").iterdir() if p.is_file() and p.name != MANIFEST)
    entries = list_files(signed.path / "tail")
    tail["files"] = {
        p.name: {"bytes": entries[p.name].bytes, "sha256": entries[p.name].sha256} for p in names
    }
    (signed.path / "tail" / MANIFEST).write_text(json.dumps(tail), "utf-8")
    with pytest.raises(SignatureError, match="not what was signed") as told:
        relisted(signed).check_signature(keys[1])
    assert why in told.value.why.replace("tail/manifest.json, ", "")
    assert told.value.exit_code == 3


def test_the_signature_of_another_bundle_is_named_as_such(
    once: Bundle, two_headed: Bundle, keys: tuple[Path, Path], tmp_path: Path
) -> None:
    shutil.copytree(two_headed.path, tmp_path / "two")
    shutil.rmtree(tmp_path / "two" / "head" / "LICENSES")
    shutil.rmtree(tmp_path / "two" / "tail" / "LICENSES")
    shutil.copyfile(once.path / SIGNATURE, tmp_path / "two" / SIGNATURE)
    with pytest.raises(SignatureError, match="another bundle's"):
        relisted(Bundle.open(tmp_path / "two")).check_signature(keys[1])


@pytest.mark.parametrize(
    ("data", "match"),
    [
        (b"", "malformed"),
        (b"{}", "malformed"),
        (b"[" * 100_000, "malformed"),
        (b'{"mediaType": "x", "verificationMaterial": {}, "dsseEnvelope": '
         b'{"payload": "", "payloadType": "", "signatures": []}}', "of another kind"),
        (b"\xff", "malformed"),
    ],
)  # fmt: skip
def test_a_signature_that_is_none_is_refused(
    signed: Bundle, keys: tuple[Path, Path], data: bytes, match: str
) -> None:
    (signed.path / SIGNATURE).write_bytes(data)
    with pytest.raises(SignatureError, match=match):
        signed.check_signature(keys[1])


def test_a_signature_holds_through_a_zip_of_all_of_it(
    signed: Bundle, keys: tuple[Path, Path], tmp_path: Path
) -> None:
    file = signed.pack(tmp_path / "b.zip", with_twin=True)
    unpack(file, tmp_path / "back").check_signature(keys[1])


def test_what_was_signed_is_not_packed_in_part(signed: Bundle, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="is signed") as told:
        signed.pack(tmp_path / "b.zip")
    assert "--with-twin" in told.value.hint
    (signed.path / SIGNATURE).unlink()
    signed.pack(tmp_path / "b.zip")


def test_files_that_hold_no_key_are_named(
    bundle: Bundle, keys: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(UsageError, match="holds no private key"):
        bundle.sign(keys[1])
    with pytest.raises(UsageError, match="holds no public key") as told:
        bundle.check_signature(keys[0])
    assert "openssl ec" in told.value.hint
    with pytest.raises(UsageError, match="cannot read the key"):
        bundle.sign(tmp_path / "nothing.pem")
    wrong, _ = make_key(tmp_path, "wrong", "secp256k1")
    with pytest.raises(UsageError, match="cannot sign"):
        bundle.sign(wrong)
    locked = tmp_path / "locked.pem"
    lock = ["openssl", "ec", "-in", str(keys[0]), "-aes256", "-passout", "pass:x", "-out"]
    subprocess.run([*lock, str(locked)], check=True, capture_output=True)
    with pytest.raises(UsageError, match="holds no private key"):
        bundle.sign(locked)
    monkeypatch.setenv("SPLITC_KEY_PASSWORD", "x")
    bundle.sign(locked)
    bundle.check_signature(keys[1])


def test_the_verbs_sign_and_check(bundle: Bundle, keys: tuple[Path, Path]) -> None:
    runner = CliRunner()
    done = runner.invoke(app, ["sign", str(bundle.path), "--key", str(keys[0]), "--json"])
    said = json.loads(done.stdout)
    assert said["digest"] == bundle.digest
    asked = ["verify", str(bundle.path), "--signer", str(keys[1]), "--no-run"]
    shown = runner.invoke(app, asked).stdout
    assert shown.startswith("signed by the key in ")
    assert "nothing was run" in shown
    checked = json.loads(runner.invoke(app, [*asked, "--json"]).stdout)
    assert checked["signer"] == said["key"]
    ran = runner.invoke(app, [*asked[:-1], "--json"])
    assert json.loads(ran.stdout)["signer"] == said["key"]


def test_a_signed_bundle_is_replaced_like_any(signed: Bundle) -> None:
    manifest = signed.manifest
    write_manifest(signed.path, manifest)
    from splitc.bundle.output_folder import beside

    with beside(signed.path):
        pass
