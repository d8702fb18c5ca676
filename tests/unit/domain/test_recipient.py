"""A recipient is taken only as it was printed: a typo would encrypt for nobody."""

from __future__ import annotations

import base64
import hashlib
import random

import pyrage
import pytest

from backup_agent.domain.recipient import parse

KNOWN = "age1jrth79al64vz0yrfp0n77cad2wkgucy9pa9hkvfg3ce8zyfjzacskp9855"
ALPHABET = "qpzry9x8gf2tvdw0s3jn54khce6mua7l"


def refused(text: str) -> bool:
    try:
        parse(text)
    except ValueError as error:
        return text not in str(error)
    return False


def test_a_recipient_is_taken_as_it_is() -> None:
    recipient = parse(KNOWN)
    assert (recipient.text, len(recipient.key)) == (KNOWN, 32)


def test_its_fingerprint_is_the_sha256_of_its_text() -> None:
    digest = base64.b64encode(hashlib.sha256(KNOWN.encode()).digest()).decode()
    assert parse(KNOWN).fingerprint == "SHA256:" + digest.rstrip("=")


def test_many_recipients_are_taken_whatever_their_key_is() -> None:
    for _ in range(200):
        parse(str(pyrage.x25519.Identity.generate().to_public()))


def test_any_other_character_is_a_typo_wherever_it_is() -> None:
    for position in range(len(KNOWN)):
        for character in ALPHABET + "b1iA ":
            text = KNOWN[:position] + character + KNOWN[position + 1 :]
            assert text == KNOWN or refused(text), position


def test_two_characters_exchanged_are_a_typo() -> None:
    chance = random.Random(5)
    for _ in range(500):
        first, second = sorted(chance.sample(range(4, len(KNOWN)), 2))
        text = list(KNOWN)
        text[first], text[second] = text[second], text[first]
        assert "".join(text) == KNOWN or refused("".join(text))


@pytest.mark.parametrize(
    "text", ["", "age1", "age", KNOWN[:-1], KNOWN + "q", KNOWN.upper(), f" {KNOWN}", f"{KNOWN}\n", KNOWN[4:], "age1é"]
)
def test_a_part_or_more_than_a_recipient_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"age recipient|checksum|typo"):
        parse(text)


def test_a_secret_key_is_refused_without_being_shown() -> None:
    secret = str(pyrage.x25519.Identity.generate())
    with pytest.raises(ValueError, match="secret key") as caught:
        parse(secret)
    assert secret not in str(caught.value)
