"""age encryption (age-encryption.org/v1) of a chunk as it comes, for X25519 recipients; any age decrypts it.

Written here for its speed, on the primitives of `cryptography`: pyrage holds the interpreter's lock while it encrypts,
and every other thread stands still, also the one that must not keep a locked database waiting (ADR 14 has the figures).
What it does not do: decrypt (that is pyrage's), passphrases, plugins.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import os
from collections.abc import Callable, Sequence
from typing import Final

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from backup_agent.domain.recipient import Recipient

_VERSION: Final = b"age-encryption.org/v1\n"
_WRAPPED_FOR: Final = b"age-encryption.org/v1/X25519"
_FILE_KEY: Final = 16
_NONCE: Final = 16
_PIECE: Final = 64 << 10
"""Bytes of the payload that are encrypted and authenticated together."""
_COUNTER: Final = 11
_ONLY_USE: Final = bytes(12)
"""The nonce of a key that encrypts one thing."""


class Encryption:
    """One age file. `write` gets its bytes, from the constructor on; nothing is whole before `finish`."""

    def __init__(self, recipients: Sequence[Recipient], write: Callable[[bytes | memoryview], object]) -> None:
        self._write = write
        file_key, nonce = os.urandom(_FILE_KEY), os.urandom(_NONCE)
        self._cipher = ChaCha20Poly1305(_derive(file_key, salt=nonce, info=b"payload"))
        self._pending = bytearray()
        self._pieces = 0
        write(_header(recipients, file_key) + nonce)

    def feed(self, data: bytes | memoryview) -> None:
        self._pending += data
        # One byte at least is kept back: the last piece is marked as the last, and may be empty only when all is.
        whole = max(0, len(self._pending) - 1) // _PIECE * _PIECE
        encrypted = []
        with memoryview(self._pending) as pending:
            for start in range(0, whole, _PIECE):
                with pending[start : start + _PIECE] as piece:
                    encrypted.append(self._encrypt(piece, last=False))
        del self._pending[:whole]
        if encrypted:
            self._write(b"".join(encrypted))

    def finish(self) -> None:
        self._write(self._encrypt(self._pending, last=True))

    def _encrypt(self, piece: bytearray | memoryview, *, last: bool) -> bytes:
        nonce = self._pieces.to_bytes(_COUNTER, "big") + bytes([last])
        self._pieces += 1
        return self._cipher.encrypt(nonce, piece, None)


def _header(recipients: Sequence[Recipient], file_key: bytes) -> bytes:
    head = _VERSION + b"".join(_stanza(recipient, file_key) for recipient in recipients) + b"---"
    mac = hmac.digest(_derive(file_key, salt=b"", info=b"header"), head, hashlib.sha256)
    return head + b" " + _base64(mac) + b"\n"


def _stanza(recipient: Recipient, file_key: bytes) -> bytes:
    """The file key, wrapped so that only the recipient can take it out."""
    ephemeral = X25519PrivateKey.generate()
    share = ephemeral.public_key().public_bytes_raw()
    secret = ephemeral.exchange(X25519PublicKey.from_public_bytes(recipient.key))
    key = _derive(secret, salt=share + recipient.key, info=_WRAPPED_FOR)
    wrapped = ChaCha20Poly1305(key).encrypt(_ONLY_USE, file_key, None)
    return b"-> X25519 " + _base64(share) + b"\n" + _base64(wrapped) + b"\n"


def _derive(secret: bytes, *, salt: bytes, info: bytes) -> bytes:
    return HKDF(hashes.SHA256(), length=32, salt=salt, info=info).derive(secret)


def _base64(data: bytes) -> bytes:
    """As age has it: without padding."""
    return base64.b64encode(data).rstrip(b"=")
