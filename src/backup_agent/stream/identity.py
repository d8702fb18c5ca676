"""age identities: the secret keys that read an encrypted backup, from files as `age-keygen` writes them.

They are used where a backup is restored or verified, never where one is taken, and are shown nowhere.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import pyrage

from backup_agent.domain.manifest import Manifest
from backup_agent.domain.recipient import fingerprint
from backup_agent.errors import ErrorCode, RejectedError

_BEGINNING: Final = "AGE-SECRET-KEY-1"
_LIMIT: Final = 1 << 20
"""Bytes of a file of identities at most."""


@dataclass(frozen=True, slots=True)
class Identity:
    """One secret key. `fingerprint` is that of its recipient, as manifests have it."""

    fingerprint: str
    key: pyrage.x25519.Identity = field(repr=False, compare=False)


def read_identities(paths: Iterable[Path]) -> tuple[Identity, ...]:
    """All identities of all files. Raises RejectedError (`identity_unusable`), which names file and line alone."""
    return tuple(identity for path in paths for identity in _of_file(path))


def fitting(manifest: Manifest, identities: Iterable[Identity]) -> tuple[Identity, ...] | None:
    """Those of `identities` that read the backup; None when it is not encrypted.

    Raises RejectedError (`identity_missing`, `identity_wrong`) when there is none.
    """
    if manifest.encryption is None:
        return None
    given = tuple(identities)
    fit = tuple(identity for identity in given if identity.fingerprint in manifest.encryption.recipients)
    if not fit:
        wanted = " or ".join(manifest.encryption.recipients)
        raise RejectedError(
            ErrorCode.IDENTITY_WRONG if given else ErrorCode.IDENTITY_MISSING,
            f"backup {manifest.id} is encrypted for {wanted}"
            + (f", the identities given are {', '.join(one.fingerprint for one in given)}" if given else ""),
            "Fetch the file of an identity it was encrypted for, and give it with --identity FILE."
            " Its fingerprint: age-keygen -y FILE | tr -d '\\n' | openssl sha256 -binary | base64",
        )
    return fit


def decrypt(data: bytes, identities: Sequence[Identity]) -> bytes:
    """The content of an age file. Raises ValueError when it is none, was changed, or is for others."""
    try:
        plain: bytes = pyrage.decrypt(data, [identity.key for identity in identities])
    except pyrage.DecryptError as error:
        raise ValueError(str(error)) from error
    return plain


def _of_file(path: Path) -> list[Identity]:
    try:
        with path.open("rb") as file:
            lines = file.read(_LIMIT).decode("utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is not text"
        raise _unusable(f"{path} can't be read: {why}") from None  # what can't be decoded may be a part of a secret
    found = [
        _parse(line.strip(), f"{path}, line {number}")
        for number, line in enumerate(lines, 1)
        if line.strip() and not line.startswith("#")
    ]
    if not found:
        raise _unusable(f"{path} holds no identity")
    return found


def _parse(text: str, where: str) -> Identity:
    if not text.startswith(_BEGINNING):
        raise _unusable(f"{where} is no age identity: that begins with {_BEGINNING}")
    try:
        key = pyrage.x25519.Identity.from_str(text)
    except pyrage.IdentityError:
        raise _unusable(f"{where} is not a whole age identity: its checksum does not fit") from None
    return Identity(fingerprint(str(key.to_public())), key)


def _unusable(message: str) -> RejectedError:
    return RejectedError(
        ErrorCode.IDENTITY_UNUSABLE,
        message,
        "Give the file that age-keygen wrote (`age-keygen -o FILE`); one with a passphrase must be decrypted before.",
    )
