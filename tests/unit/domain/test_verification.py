"""The object a verification leaves: it comes back as it was written, or not at all."""

from __future__ import annotations

import pytest

from backup_agent.domain.verification import (
    Fault,
    Figures,
    Level,
    Outcome,
    Seconds,
    Verification,
    decode,
    encode,
)
from backup_agent.errors import ErrorCode, IntegrityError

BACKUP = "61f12fef-edb1-4561-8122-e7c00ef26a82"
FOUND = Verification(
    backup_id=BACKUP,
    instance_id="44b277eb-39be-4921-be31-3d61b43651d7",
    manifest_sha256="0" * 64,
    level=Level.RESTORE,
    result=Outcome.FAILED,
    time="2026-11-25T15:00:00.250Z",
    agent_version="0.1.0",
    engine_version="10.11.6-MariaDB",
    chain=(BACKUP,),
    figures=Figures(stored_bytes=10, raw_bytes=20, tables=3, seconds=Seconds(fetch=1.5, prepare=2.25, start=0.25)),
    faults=(Fault(code="table_corrupt", message="table shop.ä: Corrupt"),),
)


def test_a_result_comes_back_as_it_was_written() -> None:
    assert decode(encode(FOUND), backup_id=BACKUP) == FOUND


def test_every_changed_byte_is_noticed() -> None:
    data = encode(FOUND)
    for position in range(len(data)):
        changed = bytearray(data)
        changed[position] ^= 0x04
        with pytest.raises(IntegrityError) as refused:
            decode(bytes(changed), backup_id=BACKUP)
        assert refused.value.code is ErrorCode.VERIFICATION_CORRUPT


def test_the_result_of_another_backup_is_refused() -> None:
    with pytest.raises(IntegrityError, match=f"it is that of backup {BACKUP}"):
        decode(encode(FOUND), backup_id="11111111-edb1-4561-8122-e7c00ef26a82")


def test_seconds_to_serve_are_all_but_the_check() -> None:
    assert FOUND.figures.seconds.to_serve == pytest.approx(4.0)
    assert Seconds(fetch=1).to_serve is None
    assert FOUND.summary()["seconds"]["to_serve"] == pytest.approx(4.0)
