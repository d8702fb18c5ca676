"""Whom chunks are encrypted for: age's X25519 recipients, as `age-keygen` prints them (`age1...`). Public keys only.

The text is bech32 (BIP 173) of the key, whose checksum finds any typo of up to four characters.
"""

from __future__ import annotations

import base64
import hashlib
from dataclasses import dataclass
from typing import Final

_PREFIX: Final = "age"
_ALPHABET: Final = "qpzry9x8gf2tvdw0s3jn54khce6mua7l"
_GENERATOR: Final = (0x3B6A57B2, 0x26508E6D, 0x1EA119FA, 0x3D4233DD, 0x2A1462B3)
_CHECKSUM_LENGTH: Final = 6
_KEY_LENGTH: Final = 32


@dataclass(frozen=True, slots=True)
class Recipient:
    """`key` is the X25519 public key."""

    text: str
    key: bytes

    @property
    def fingerprint(self) -> str:
        """What a manifest names it by: `SHA256:` and the base64 of the SHA-256 of `text`, as OpenSSH writes them."""
        return fingerprint(self.text)


def fingerprint(text: str) -> str:
    digest = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
    return f"SHA256:{digest.rstrip('=')}"


def parse(text: str) -> Recipient:
    """Raises ValueError, whose words are for the operator and hold no part of `text`."""
    if text.upper().startswith("AGE-SECRET-KEY-"):
        msg = "it is a secret key: give the public one (age1...), and keep the secret one away from this host"
        raise ValueError(msg)
    if not text.startswith(f"{_PREFIX}1"):
        msg = "it is no age recipient: that is age1 and 58 more characters, as age-keygen prints it"
        raise ValueError(msg)
    if any(character not in _ALPHABET for character in text[len(_PREFIX) + 1 :]):
        msg = "it has characters that no age recipient has: a typo?"
        raise ValueError(msg)
    values = [_ALPHABET.index(character) for character in text[len(_PREFIX) + 1 :]]
    spread = [*(ord(character) >> 5 for character in _PREFIX), 0, *(ord(character) & 31 for character in _PREFIX)]
    key = _bytes_of(values[:-_CHECKSUM_LENGTH])
    if _polymod([*spread, *values]) != 1 or key is None or len(key) != _KEY_LENGTH:
        msg = "its checksum does not fit: a typo, or a part is missing"
        raise ValueError(msg)
    return Recipient(text, key)


def _polymod(values: list[int]) -> int:
    """The checksum of BIP 173; 1 for a text that is as it was made."""
    checksum = 1
    for value in values:
        top = checksum >> 25
        checksum = (checksum & 0x1FFFFFF) << 5 ^ value
        for bit, generator in enumerate(_GENERATOR):
            checksum ^= generator if top >> bit & 1 else 0
    return checksum


def _bytes_of(values: list[int]) -> bytes | None:
    """Groups of five bits as bytes; None when the bits that are left over are not zeros, or are too many."""
    number = 0
    for value in values:
        number = number << 5 | value
    spare = 5 * len(values) % 8
    if spare >= 5 or number & ((1 << spare) - 1):  # noqa: PLR2004 - a whole group would be left over
        return None
    return (number >> spare).to_bytes(5 * len(values) // 8, "big")
