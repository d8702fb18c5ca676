"""What is encrypted here, age reads: held against pyrage, of another hand."""

from __future__ import annotations

import random

import pyrage
import pytest

from backup_agent.domain.recipient import Recipient, parse
from backup_agent.stream.age import Encryption

PIECE = 64 << 10
SIZES = [0, 1, PIECE - 1, PIECE, PIECE + 1, 2 * PIECE, 3 * PIECE - 1, 3 * PIECE, 777_777]


def recipient_of(identity: pyrage.x25519.Identity) -> Recipient:
    return parse(str(identity.to_public()))


def encrypted(data: bytes, recipients: list[Recipient], step: int = 1 << 20) -> bytes:
    written = bytearray()
    encryption = Encryption(recipients, written.extend)
    for start in range(0, len(data), step):
        encryption.feed(data[start : start + step])
    encryption.finish()
    return bytes(written)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("step", [1000, PIECE, PIECE + 1, 1 << 20])
def test_every_age_reads_it(size: int, step: int) -> None:
    identity = pyrage.x25519.Identity.generate()
    data = random.Random(size).randbytes(size)
    assert pyrage.decrypt(encrypted(data, [recipient_of(identity)], step), [identity]) == data


def test_it_is_as_long_as_age_makes_it() -> None:
    identity = pyrage.x25519.Identity.generate()
    for size in SIZES:
        data = bytes(size)
        # pyrage adds a stanza of random length that nobody reads ("grease"): only the payload has a length to compare.
        payloads = [
            len(made) - made.index(b"\n--- ") - len(b"\n--- ") - 44
            for made in (encrypted(data, [recipient_of(identity)]), pyrage.encrypt(data, [identity.to_public()]))
        ]
        assert payloads[0] == payloads[1]


def test_each_of_several_recipients_reads_it_alone() -> None:
    identities = [pyrage.x25519.Identity.generate() for _ in range(3)]
    made = encrypted(b"a secret", [recipient_of(identity) for identity in identities])
    for identity in identities:
        assert pyrage.decrypt(made, [identity]) == b"a secret"


def test_nobody_else_reads_it() -> None:
    made = encrypted(b"a secret", [recipient_of(pyrage.x25519.Identity.generate())])
    with pytest.raises(pyrage.DecryptError, match="No matching keys"):
        pyrage.decrypt(made, [pyrage.x25519.Identity.generate()])


def test_the_same_bytes_are_never_encrypted_to_the_same() -> None:
    recipients = [recipient_of(pyrage.x25519.Identity.generate())]
    assert len({encrypted(b"a secret", recipients) for _ in range(100)}) == 100


def test_any_change_is_noticed() -> None:
    identity = pyrage.x25519.Identity.generate()
    made = encrypted(bytes(2 * PIECE), [recipient_of(identity)])
    header = made.index(b"\n--- ") + 1
    chance = random.Random(1)
    for position in [*range(header), *(chance.randrange(header, len(made)) for _ in range(200))]:
        damaged = bytearray(made)
        damaged[position] ^= 1 << chance.randrange(8)
        with pytest.raises(pyrage.DecryptError):
            pyrage.decrypt(bytes(damaged), [identity])


def test_pieces_left_out_at_the_end_are_noticed() -> None:
    identity = pyrage.x25519.Identity.generate()
    made = encrypted(bytes(3 * PIECE), [recipient_of(identity)])
    for pieces in (1, 2):
        with pytest.raises(pyrage.DecryptError):
            pyrage.decrypt(made[: -pieces * (PIECE + 16)], [identity])
