from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from backup_agent.journal.sqlite import SqliteJournal
from tests.unit.journal.commands import RECEIVED


class Watch:
    """A clock that goes a second at every look."""

    def __init__(self) -> None:
        self.time = RECEIVED

    def __call__(self) -> datetime:
        self.time += timedelta(seconds=1)
        return self.time


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "agent" / "journal.sqlite"


@pytest.fixture
def watch() -> Watch:
    return Watch()


@pytest.fixture
def journal(path: Path, watch: Watch) -> Iterator[SqliteJournal]:
    opened = SqliteJournal(path, outbox=True, now=watch)
    yield opened
    opened.close()
