# SPDX-License-Identifier: Apache-2.0
"""A bundle signed by key, in the format of OpenSSF's model signing; no network is asked.

The package `model-signing` reads what is written here, and what it writes is read here. It is
not used for that: what it signs with comes with clients for certificates, logs and services of
the network, more than thirty packages, and all that a key needs is one signature.

References:
    OpenSSF Model Signing v1.0: https://github.com/sigstore/model-transparency.
    The envelope: https://github.com/secure-systems-lab/dsse, protocol 1.0.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

import msgspec

from splitc.errors import BadBundleError, OutputError, SignatureError, ToolchainError, UsageError
from splitc.runtime.manifest import SIGNATURE, read_plain

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ec import (
        EllipticCurvePrivateKey,
        EllipticCurvePublicKey,
    )

PASSWORD = "SPLITC_KEY_PASSWORD"  # noqa: S105 - the variable's name
"""The environment variable with the password of a key's file."""

_MEDIA_TYPE = "application/vnd.dev.sigstore.bundle.v0.3+json"
_PAYLOAD_TYPE = "application/vnd.in-toto+json"
_STATEMENT = "https://in-toto.io/Statement/v1"
_PREDICATE = "https://model_signing/signature/v1.0"
_CURVES = {"secp256r1": "SHA256", "secp384r1": "SHA384", "secp521r1": "SHA512"}
_MAX_KEY_BYTES = 2**16
_MAX_BYTES = 16 * 2**20
_SHOWN = 5
_NEW_KEY = "openssl ecparam -name prime256v1 -genkey -noout -out key.pem makes one"


class _Signed(msgspec.Struct):
    sig: bytes


class _Envelope(msgspec.Struct, rename="camel"):
    payload: bytes
    payload_type: str
    signatures: tuple[_Signed, ...]


class _KeyHint(msgspec.Struct):
    hint: str | None = None


class _Material(msgspec.Struct, rename="camel"):
    public_key: _KeyHint | None = None


class _File(msgspec.Struct, rename="camel"):
    media_type: str
    verification_material: _Material
    dsse_envelope: _Envelope


class _Resource(msgspec.Struct):
    name: str
    algorithm: str
    digest: str


class _Predicate(msgspec.Struct):
    serialization: dict[str, Any]
    resources: tuple[_Resource, ...]


class _Statement(msgspec.Struct, rename={"kind": "_type", "predicate_type": "predicateType"}):
    kind: str
    predicate_type: str
    predicate: _Predicate


def write_signature(folder: Path, files: Mapping[str, str], key: Path) -> str:
    """Sign a bundle, into its folder.

    Args:
        folder: The bundle's.
        files: sha256 of each of its files, its manifest among them.
        key: A private key on the curve P-256, P-384 or P-521, in PEM. Where it has a password
            that is in the environment's SPLITC_KEY_PASSWORD.

    Returns:
        The key's fingerprint: sha256 of the public key in PEM.

    Raises:
        UsageError: The file holds no such key.
        ToolchainError: cryptography is missing, or cannot sign so.
        OutputError: The folder cannot be written.
    """
    private = _private_key(key)
    payload = msgspec.json.format(msgspec.json.encode(_statement(folder, files)), indent=2)
    known = _fingerprint(private.public_key())
    signed: dict[str, Any] = {
        "mediaType": _MEDIA_TYPE,
        "verificationMaterial": {"publicKey": {"hint": known}, "tlogEntries": []},
        "dsseEnvelope": {
            "payload": payload,
            "payloadType": _PAYLOAD_TYPE,
            "signatures": [{"sig": _sign(private, _covered(payload)), "keyid": ""}],
        },
    }
    beside = folder / f".{SIGNATURE}.new"
    try:
        beside.write_bytes(msgspec.json.encode(signed) + b"\n")
        beside.replace(folder / SIGNATURE)
    except OSError as error:
        why = error.strerror or str(error)
        raise OutputError(f"cannot write '{folder / SIGNATURE}'", why=why) from error
    finally:
        beside.unlink(missing_ok=True)
    return known


def check_signature(folder: Path, files: Mapping[str, str], signer: Path) -> str:
    """Hold a bundle against its signature: all of its files were signed, by that key.

    Args:
        folder: The bundle's.
        files: sha256 of each of its files, its manifest among them, as they are.
        signer: The public key, in PEM.

    Returns:
        The key's fingerprint.

    Raises:
        SignatureError: It is not signed, by another key, or the files are others.
        UsageError: The file holds no public key.
        ToolchainError: cryptography is missing.
    """
    public = _public_key(signer)
    known = _fingerprint(public)
    at = str(folder / SIGNATURE)
    if not (folder / SIGNATURE).exists():
        hint = "`splitc sign BUNDLE --key FILE` signs it"
        raise SignatureError("the bundle is not signed", at=str(folder), hint=hint)
    try:
        found = msgspec.json.decode(read_plain(folder / SIGNATURE, _MAX_BYTES, "signature"),
                                    type=_File)  # fmt: skip
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise SignatureError("the signature is malformed", at=at, why=str(error)) from error
    envelope, by = found.dsse_envelope, found.verification_material.public_key
    if found.media_type != _MEDIA_TYPE or envelope.payload_type != _PAYLOAD_TYPE:
        raise SignatureError("the signature is of another kind", at=at, why=found.media_type[:80])
    if by is not None and by.hint not in (None, known):
        why = f"its key's sha256 is {str(by.hint)[:16]}…, that of {signer.name} is {known[:16]}…"
        raise SignatureError("the bundle was signed by another key", at=at, why=why)
    if len(envelope.signatures) != 1 or not _signed_by(
        public, envelope.signatures[0].sig, _covered(envelope.payload)
    ):
        why = f"what it says was not signed by the key in {signer.name}"
        raise SignatureError("the signature is forged, or by another key", at=at, why=why)
    _compare(_resources(envelope.payload, at), files, at)
    return known


def _statement(folder: Path, files: Mapping[str, str]) -> dict[str, Any]:
    """What is signed: the name and sha256 of every file."""
    names = sorted(files, key=PurePosixPath)
    root = hashlib.sha256(b"".join(bytes.fromhex(files[name]) for name in names)).hexdigest()
    return {
        "_type": _STATEMENT,
        "subject": [{"name": folder.resolve().name, "digest": {"sha256": root}}],
        "predicateType": _PREDICATE,
        "predicate": {
            "serialization": {
                "method": "files", "hash_type": "sha256", "allow_symlinks": False,
                "ignore_paths": [SIGNATURE],
            },
            "resources": [
                {"name": name, "algorithm": "sha256", "digest": files[name]} for name in names
            ],
        },
    }  # fmt: skip


def _resources(payload: bytes, at: str) -> dict[str, str]:
    """sha256 of each file that was signed, by its name."""
    try:
        statement = msgspec.json.decode(payload, type=_Statement)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise SignatureError("the signature is malformed", at=at, why=str(error)) from error
    predicate = statement.predicate
    files = {one.name: one.digest for one in predicate.resources}
    if (
        (statement.kind, statement.predicate_type) != (_STATEMENT, _PREDICATE)
        or predicate.serialization.get("method") != "files"
        or any(one.algorithm != "sha256" for one in predicate.resources)
        or len(files) < len(predicate.resources)
    ):
        why = "it does not have the sha256 of each file once"
        raise SignatureError("the signature is of another kind", at=at, why=why)
    return files


def _compare(signed: Mapping[str, str], files: Mapping[str, str], at: str) -> None:
    """Raise where files are others than those that were signed, or more, or fewer.

    What the signature would leave out is not left out.
    """
    changed = sorted(name for name in signed.keys() & files.keys() if signed[name] != files[name])
    added, gone = sorted(files.keys() - signed.keys()), sorted(signed.keys() - files.keys())
    told = [
        f"{what} {', '.join(names[:_SHOWN])}{' and more' if len(names) > _SHOWN else ''}"
        for what, names in (("altered:", changed), ("added:", added), ("missing:", gone))
        if names
    ]
    if not told:
        return
    same = sum(signed[name] == files[name] for name in signed.keys() & files.keys())
    if same < len(files) / 2:
        raise SignatureError("the signature is another bundle's", at=at, why="; ".join(told))
    raise SignatureError("the bundle is not what was signed", at=at, why="; ".join(told))


def _covered(payload: bytes) -> bytes:
    """The bytes that are signed: the envelope's pre-authentication encoding."""
    kind = _PAYLOAD_TYPE.encode()
    return b"DSSEv1 %d %s %d %s" % (len(kind), kind, len(payload), payload)


def _private_key(path: Path) -> EllipticCurvePrivateKey:
    serialization, ec = _cryptography()
    given = os.environ.get(PASSWORD)
    try:
        key = serialization.load_pem_private_key(_read(path), given.encode() if given else None)
    except (ValueError, TypeError) as error:
        hint = f"{PASSWORD} has the password of a file that has one; {_NEW_KEY}"
        raise UsageError(
            f"'{path}' holds no private key", why=str(error)[:200], hint=hint
        ) from error
    if not isinstance(key, ec.EllipticCurvePrivateKey) or key.curve.name not in _CURVES:
        raise UsageError(f"the key in '{path}' cannot sign", why=_needs(), hint=_NEW_KEY)
    return key


def _public_key(path: Path) -> EllipticCurvePublicKey:
    serialization, ec = _cryptography()
    try:
        key = serialization.load_pem_public_key(_read(path))
    except (ValueError, TypeError) as error:
        hint = "openssl ec -in key.pem -pubout -out key.pub writes it"
        raise UsageError(
            f"'{path}' holds no public key", why=str(error)[:200], hint=hint
        ) from error
    if not isinstance(key, ec.EllipticCurvePublicKey) or key.curve.name not in _CURVES:
        raise UsageError(f"the key in '{path}' cannot have signed", why=_needs(), hint=_NEW_KEY)
    return key


def _needs() -> str:
    return f"it is on none of the curves {', '.join(_CURVES)}"


def _read(path: Path) -> bytes:
    try:
        return read_plain(path, _MAX_KEY_BYTES, "key file")
    except BadBundleError as error:
        raise UsageError(f"cannot read the key '{path}'", why=error.why or error.what) from error


def _cryptography() -> tuple[Any, Any]:
    try:
        from cryptography.hazmat.primitives import serialization
        from cryptography.hazmat.primitives.asymmetric import ec
    except ImportError as error:
        hint = "pip install 'splitc[sign]'"
        raise ToolchainError("cryptography is not installed", hint=hint) from error
    return serialization, ec


def _fingerprint(key: EllipticCurvePublicKey) -> str:
    serialization, _ = _cryptography()
    form = serialization.PublicFormat.SubjectPublicKeyInfo
    return hashlib.sha256(key.public_bytes(serialization.Encoding.PEM, form)).hexdigest()


def _sign(key: EllipticCurvePrivateKey, data: bytes) -> bytes:
    """The same signature for the same data (RFC 6979)."""
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives.asymmetric import ec

    digest = getattr(hashes, _CURVES[key.curve.name])()
    try:
        return key.sign(data, ec.ECDSA(digest, deterministic_signing=True))
    except UnsupportedAlgorithm as error:
        hint = "pip install cryptography"
        raise ToolchainError(
            "OpenSSL here is too old to sign", why=str(error), hint=hint
        ) from error


def _signed_by(key: EllipticCurvePublicKey, signature: bytes, data: bytes) -> bool:
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives.asymmetric import ec

    try:
        key.verify(signature, data, ec.ECDSA(getattr(hashes, _CURVES[key.curve.name])()))
    except InvalidSignature:
        return False
    return True
