"""A process that works on a journal until it has done its part, meets an error, or is killed. Says what is on disk.

    python -m tests.faults.journal_process MODE PATH [USER]

`write` adds jobs for ever and tells each number once it was committed; `obey` does so for each line it is sent; `count`
raises the job's number fifty times; `fill` writes big events until it can't; `look` reads as who may write nothing.
An error is told by code, message and hint. USER is the number of the user to become after everything was imported.
"""

from __future__ import annotations

import itertools
import os
import sys
import uuid
from collections.abc import Callable
from pathlib import Path

from backup_agent.domain.event import EventType
from backup_agent.errors import JournalError
from backup_agent.journal.reading import JournalReader
from backup_agent.journal.sqlite import SqliteJournal
from tests.unit.journal.commands import BACKUP, event, new_job

BIG = 50_000


def say(what: object) -> None:
    sys.stdout.write(f"{what}\n")
    sys.stdout.flush()


def numbered(number: int) -> str:
    """The id of a job that `write` adds."""
    return str(uuid.uuid5(uuid.NAMESPACE_OID, str(number)))


def write(path: Path, wait: Callable[[], object] = lambda: None) -> None:
    journal = SqliteJournal(path, outbox=True)
    for number in itertools.count(len(journal.jobs(1_000_000))):
        wait()
        with journal.transaction() as transaction:
            transaction.add(new_job(numbered(number)))
            transaction.record(event(EventType.STARTED, 1, numbered(number), body=str(number).encode() * 1000))
        say(number)


def obey(path: Path) -> None:
    write(path, sys.stdin.readline)


def count(path: Path) -> None:
    journal = SqliteJournal(path, outbox=True)
    say("ready")
    sys.stdin.readline()
    for _ in range(50):
        with journal.transaction() as transaction:
            job = transaction.job(BACKUP)
            if job is None:
                raise SystemExit("there is no job to count with")
            transaction.record(event(EventType.WARNING, job.sequence + 1))
    journal.close()


def fill(path: Path) -> None:
    journal = SqliteJournal(path, outbox=True)
    with journal.transaction() as transaction:
        transaction.add(new_job())
    for sequence in itertools.count(1):
        with journal.transaction() as transaction:
            transaction.record(event(EventType.WARNING, sequence, body=bytes(BIG)))
        say(sequence)


def look(path: Path) -> None:
    reader = JournalReader(path)
    say(reader.exists() and reader.snapshot().outbox_depth)


def main() -> None:
    mode, path, *user = sys.argv[1:]
    if user:
        os.setgroups([])
        os.setgid(int(user[0]))
        os.setuid(int(user[0]))
    try:
        {"write": write, "obey": obey, "count": count, "fill": fill, "look": look}[mode](Path(path))
    except JournalError as error:
        say(f"{error.code} {error.message} | {error.hint}")


if __name__ == "__main__":
    main()
