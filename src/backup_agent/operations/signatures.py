"""Signs manifests, and judges the signatures of those that were read. Ed25519.

Whoever takes backups holds the secret key; whoever reads them needs the public ones.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path
from typing import Final

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)

from backup_agent.domain.signature import PREAMBLE, Signature, VerifyKey, decode, encode, of_public_bytes
from backup_agent.errors import ConfigError, ErrorCode, IntegrityError

_MODE: Final = 0o600


class SigningKey:
    """A secret key: implements Signer. Shown nowhere."""

    def __init__(self, key: Ed25519PrivateKey) -> None:
        self._key = key

    @property
    def public(self) -> VerifyKey:
        return of_public_bytes(self._key.public_key().public_bytes_raw())

    def sign(self, manifest: bytes) -> bytes:
        return encode(Signature(self.public.key_id, self._key.sign(PREAMBLE + manifest)))


def generate(path: Path) -> VerifyKey:
    """Writes a new secret key to `path`, PKCS #8 in PEM, readable by its owner alone; the public one.

    Raises ConfigError (`signing_key_unusable`), also when there is such a file: a key is never overwritten.
    """
    key = Ed25519PrivateKey.generate()
    pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    try:
        with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, _MODE), "wb") as file:  # noqa: PTH123 - a descriptor, for its mode
            file.write(pem)
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        raise ConfigError(
            ErrorCode.SIGNING_KEY_UNUSABLE,
            f"the signing key can't be written to {path}: {error.strerror}",
            "Name another file with --out; a file that is there is never overwritten.",
        ) from error
    return SigningKey(key).public


def read_signing_key(path: Path) -> SigningKey:
    """Raises ConfigError (`signing_key_unusable`), which shows nothing of the file's content."""
    try:
        key = load_pem_private_key(path.read_bytes(), password=None)
    except OSError as error:
        raise _unusable(path, error.strerror or "it can't be read") from error
    except (ValueError, TypeError, UnsupportedAlgorithm):
        raise _unusable(path, "it holds no secret key in PEM without a passphrase") from None
    if not isinstance(key, Ed25519PrivateKey):
        raise _unusable(path, "its key is not of the kind Ed25519")
    return SigningKey(key)


def _unusable(path: Path, why: str) -> ConfigError:
    return ConfigError(
        ErrorCode.SIGNING_KEY_UNUSABLE,
        f"the signing key signing.key_file {path} can't be used: {why}",
        "Make one with `backup-agent keys generate`, and let the agent's user read it.",
    )


class Ed25519Signatures:
    """Implements Signatures."""

    def __init__(self, keys: Iterable[VerifyKey], *, required: bool) -> None:
        self._keys = {key.key_id: Ed25519PublicKey.from_public_bytes(key.key) for key in keys}
        self._required = required

    def check(self, backup_id: str, manifest: bytes, signature: bytes | None) -> None:
        if signature is None:
            if self._required:
                raise _refused(ErrorCode.SIGNATURE_MISSING, backup_id, "is not signed, and signing.required is set")
            return
        try:
            found = decode(signature)
        except ValueError as error:
            raise _refused(ErrorCode.SIGNATURE_INVALID, backup_id, f"has a signature that is none: {error}") from error
        key = self._keys.get(found.key_id)
        if key is None:
            raise _refused(
                ErrorCode.SIGNATURE_UNKNOWN_KEY,
                backup_id,
                f"is signed with key {found.key_id}, which is none of signing.verify_keys",
            )
        try:
            key.verify(found.value, PREAMBLE + manifest)
        except InvalidSignature as error:
            raise _refused(
                ErrorCode.SIGNATURE_INVALID, backup_id, f"is not what was signed with key {found.key_id}"
            ) from error


def _refused(code: ErrorCode, backup_id: str, why: str) -> IntegrityError:
    return IntegrityError(
        code,
        f"the manifest of backup {backup_id} {why}",
        "Do not use this backup before you know who wrote it; docs/security.md says what each case can mean.",
    )
