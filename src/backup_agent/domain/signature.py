"""The signature of a manifest: its text, what exactly is signed, and the public keys that verify it. No cryptography.

    backup-agent signature 1
    key 3b9f4c1d2e5a6b70
    ed25519 <base64 of the 64 bytes>

What is signed is `PREAMBLE` and then the manifest's bytes, so that nothing else signed with the key can pass for it.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
from dataclasses import dataclass
from typing import Final

PREAMBLE: Final = b"backup-agent manifest 1\n"
LIMIT: Final = 1 << 10
"""Bytes of a signature's object at most."""
_FORM: Final = re.compile(
    rb"backup-agent signature 1\nkey (?P<key>[0-9a-f]{16})\ned25519 (?P<value>[A-Za-z0-9+/]{86}==)\n"
)
_ED25519: Final = bytes.fromhex("302a300506032b6570032100")
"""What comes before the 32 bytes of an Ed25519 key in a SubjectPublicKeyInfo (RFC 8410)."""
_KEY_LENGTH: Final = 32


@dataclass(frozen=True, slots=True)
class VerifyKey:
    """An Ed25519 public key. `text` is what the PEM file of openssl has between its first and last line."""

    text: str
    key: bytes

    @property
    def key_id(self) -> str:
        """The first 16 hex digits of the SHA-256 of the key in DER."""
        return hashlib.sha256(_ED25519 + self.key).hexdigest()[:16]


def of_public_bytes(key: bytes) -> VerifyKey:
    return VerifyKey(base64.b64encode(_ED25519 + key).decode(), key)


def parse_verify_key(text: str) -> VerifyKey:
    """Raises ValueError, whose words are for the operator."""
    try:
        data = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError) as error:
        msg = "it is not base64: give the one line that `backup-agent keys generate` printed"
        raise ValueError(msg) from error
    if not data.startswith(_ED25519) or len(data) != len(_ED25519) + _KEY_LENGTH:
        msg = "it is no Ed25519 public key: give the one line that `backup-agent keys generate` printed"
        raise ValueError(msg)
    return VerifyKey(text, data[len(_ED25519) :])


@dataclass(frozen=True, slots=True)
class Signature:
    key_id: str
    value: bytes


def encode(signature: Signature) -> bytes:
    value = base64.b64encode(signature.value).decode()
    return f"backup-agent signature 1\nkey {signature.key_id}\ned25519 {value}\n".encode()


def decode(data: bytes) -> Signature:
    """Raises ValueError for anything that is not, byte for byte, as `encode` makes it."""
    found = _FORM.fullmatch(data)
    if found is None:
        msg = "it is not as this program writes signatures"
        raise ValueError(msg)
    signature = Signature(found["key"].decode(), base64.b64decode(found["value"], validate=True))
    if encode(signature) != data:
        msg = "its base64 is not canonical"
        raise ValueError(msg)
    return signature
