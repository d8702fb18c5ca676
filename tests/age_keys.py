"""Pairs of age keys, as age-keygen makes them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pyrage


@dataclass(frozen=True)
class AgeKey:
    """`file` holds the identity, with the comments age-keygen writes."""

    file: Path
    recipient: str
    secret: str


def age_key(file: Path) -> AgeKey:
    identity = pyrage.x25519.Identity.generate()
    recipient, secret = str(identity.to_public()), str(identity)
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(f"# created: 2026-11-25T20:00:00Z\n# public key: {recipient}\n{secret}\n")
    file.chmod(0o600)
    return AgeKey(file, recipient, secret)
