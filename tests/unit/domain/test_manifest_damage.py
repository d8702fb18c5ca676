"""A manifest with any byte changed, missing or too many is refused."""

from __future__ import annotations

import random

import pytest

from backup_agent.domain.layout import BackupPlace
from backup_agent.domain.manifest import decode, encode
from backup_agent.errors import ErrorCode, IntegrityError
from tests.unit.manifests import manifest_of

PLACE = BackupPlace("c", "11111111-1111-4111-8111-111111111111", "22222222-2222-4222-8222-222222222222")
DATA = encode(manifest_of(PLACE, description="caf\u00e9"))


def refusal(data: bytes) -> ErrorCode | None:
    try:
        decode(data, instance_id=PLACE.instance_id, backup_id=PLACE.backup_id)
    except IntegrityError as error:
        return error.code
    return None


def test_the_manifest_itself_is_accepted() -> None:
    assert refusal(DATA) is None


@pytest.mark.parametrize("bit", range(8))
def test_a_flipped_bit_is_refused_wherever_it_is(bit: int) -> None:
    accepted = []
    for position in range(len(DATA)):
        damaged = bytearray(DATA)
        damaged[position] ^= 1 << bit
        if refusal(bytes(damaged)) is not ErrorCode.MANIFEST_CORRUPT:
            accepted.append(position)
    assert accepted == []


def test_another_byte_is_refused_wherever_it_is() -> None:
    chance = random.Random(1)
    for position in range(len(DATA)):
        damaged = bytearray(DATA)
        damaged[position] = chance.choice([byte for byte in range(256) if byte != DATA[position]])
        assert refusal(bytes(damaged)) is ErrorCode.MANIFEST_CORRUPT, position


def test_a_missing_or_an_additional_byte_is_refused_wherever_it_is() -> None:
    for position in range(len(DATA)):
        assert refusal(DATA[:position] + DATA[position + 1 :]) is ErrorCode.MANIFEST_CORRUPT, position
        assert refusal(DATA[:position] + b" " + DATA[position:]) is ErrorCode.MANIFEST_CORRUPT, position


def test_a_cut_manifest_is_refused_wherever_it_is_cut() -> None:
    for length in range(len(DATA)):
        assert refusal(DATA[:length]) is ErrorCode.MANIFEST_CORRUPT, length


def test_what_follows_the_manifest_is_refused() -> None:
    for more in (b"\n", b" ", b"\0", b"{}", DATA):
        assert refusal(DATA + more) is ErrorCode.MANIFEST_CORRUPT


def test_the_same_fields_written_differently_are_refused() -> None:
    for old, new in ((b'":', b'": '), (b"\xc3\xa9", b"\\u00e9"), (b":1000", b":1e3")):
        assert old in DATA
        assert refusal(DATA.replace(old, new, 1)) is ErrorCode.MANIFEST_CORRUPT
