"""What the journal remembers of verifications: the last one of each level and result."""

from __future__ import annotations

from contextlib import suppress
from datetime import timedelta
from pathlib import Path

from backup_agent.domain.event import EventType
from backup_agent.domain.state import State
from backup_agent.domain.verification import Level, Outcome, Verdict
from backup_agent.journal.interface import EventRecord, Transaction
from backup_agent.journal.reading import JournalReader
from backup_agent.journal.sqlite import SqliteJournal
from tests.unit.journal.commands import BACKUP, INSTANCE, RECEIVED

OTHER = "00000000-0000-4000-8000-000000000000"


def verdict(
    minutes: int, result: Outcome = Outcome.PASSED, level: Level = Level.RESTORE, backup_id: str = BACKUP
) -> Verdict:
    """Of a verification that ended so many minutes after RECEIVED."""
    time = RECEIVED + timedelta(minutes=minutes)
    return Verdict(level, result, backup_id, time, 1.5 * minutes if level is Level.RESTORE else None)


def tell(journal: SqliteJournal, *verdicts: Verdict) -> None:
    for one in verdicts:
        with journal.transaction() as transaction:
            tell_within(transaction, one)


def tell_within(transaction: Transaction, verdict: Verdict) -> None:
    last = transaction.backups.last(verdict.backup_id)
    sequence = 1 if last is None else last.sequence + 1
    key = f"{INSTANCE}.backup.verified"
    transaction.backups.tell(
        EventRecord(verdict.backup_id, EventType.VERIFIED, sequence, State.COMPLETED, None, key, b"{}", verdict)
    )


def test_the_last_one_of_each_level_and_result_is_known_after_a_restart(journal: SqliteJournal, path: Path) -> None:
    assert list(journal.snapshot().verdicts) == []
    tell(
        journal,
        verdict(1),
        verdict(2, Outcome.FAILED),
        verdict(3, level=Level.DIGEST),
        verdict(4, backup_id=OTHER),
        verdict(5, Outcome.FAILED),
    )
    journal.forget_before(RECEIVED + timedelta(days=1000))
    journal.close()
    expected = [verdict(3, level=Level.DIGEST), verdict(5, Outcome.FAILED), verdict(4, backup_id=OTHER)]
    assert list(JournalReader(path).snapshot().verdicts) == expected


def test_one_that_is_told_of_late_does_not_replace_a_later_one(journal: SqliteJournal) -> None:
    tell(journal, verdict(2, backup_id=OTHER), verdict(1))
    assert list(journal.snapshot().verdicts) == [verdict(2, backup_id=OTHER)]


def test_one_whose_telling_is_undone_is_not_known(journal: SqliteJournal) -> None:
    tell(journal, verdict(1))
    with suppress(KeyError), journal.transaction() as transaction:
        tell_within(transaction, verdict(2))
        raise KeyError
    assert list(journal.snapshot().verdicts) == [verdict(1)]
