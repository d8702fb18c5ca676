"""The text of a signature, and public keys: taken byte for byte as they are written, or refused."""

from __future__ import annotations

import base64
import random

import pytest

from backup_agent.domain.signature import Signature, decode, encode, of_public_bytes, parse_verify_key

SIGNATURE = Signature("0123456789abcdef", bytes(range(64)))
TEXT = encode(SIGNATURE)
KEY = of_public_bytes(bytes(range(32)))


def refused(data: bytes) -> bool:
    try:
        decode(data)
    except ValueError:
        return True
    return False


def test_a_signature_is_three_lines_for_people_and_programs() -> None:
    first, key, value, end = TEXT.decode().split("\n")
    assert (first, key, end) == ("backup-agent signature 1", "key 0123456789abcdef", "")
    assert base64.b64decode(value.removeprefix("ed25519 ")) == SIGNATURE.value


def test_it_is_read_back() -> None:
    assert decode(TEXT) == SIGNATURE


def test_no_other_bytes_are_the_same_signature() -> None:
    chance = random.Random(3)
    for position in range(len(TEXT)):
        damaged = bytearray(TEXT)
        damaged[position] ^= 1 << chance.randrange(8)
        assert refused(bytes(damaged)) or decode(bytes(damaged)) != SIGNATURE
        assert refused(TEXT[:position])
        assert refused(TEXT[:position] + b"\n" + TEXT[position:])


@pytest.mark.parametrize("data", [b"", b"\n\n\n", TEXT + b"\n", b"\n" + TEXT, TEXT[:-1], TEXT * 2, b"\xff" * 100])
def test_what_is_no_signature_is_refused(data: bytes) -> None:
    assert refused(data)


def test_base64_with_other_spare_bits_is_refused() -> None:
    """Such a signature would be the same one by other bytes."""
    assert TEXT.endswith(b"Pw==\n")
    assert refused(TEXT.replace(b"Pw==", b"Px=="))


def test_a_public_key_is_read_back() -> None:
    assert parse_verify_key(KEY.text) == KEY
    assert KEY.text.startswith("MCowBQYDK2VwAyEA")


@pytest.mark.parametrize(
    "text", ["", "not base64", KEY.text[:-4], f"{KEY.text}AAAA", base64.b64encode(bytes(44)).decode()]
)
def test_what_is_no_public_key_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="one line"):
        parse_verify_key(text)
