"""What Prometheus sees, by its own text format, and what the example alerts ask for."""

from __future__ import annotations

import json
import os
import re
import socket
import stat
import urllib.request
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families
from structlog.testing import capture_logs

from backup_agent.domain.event import EventType
from backup_agent.domain.state import Phase
from backup_agent.domain.verification import Level, Outcome, Verdict
from backup_agent.errors import ConfigError, ErrorCode, JournalError
from backup_agent.journal.sqlite import SqliteJournal
from backup_agent.report.metrics import Live, Remembered, Subject
from backup_agent.report.metrics_output import Metrics
from tests.unit.journal.commands import BACKUP, add, event, put

INSTANCE = "44b277eb-39be-4921-be31-3d61b43651d7"
NOW = datetime(2026, 11, 25, 15, 0, 0, tzinfo=UTC)
BEGUN = NOW - timedelta(days=30)
ALERTS = Path(__file__).parents[3] / "config" / "alerts.yml"
Samples = dict[tuple[str, ...], float]


@dataclass
class Ended:
    updated: datetime
    last_event: bytes | None


@dataclass
class Snapshot:
    last_completed: Ended | None = None
    last_failed: Ended | None = None
    outcomes: dict[EventType, int] = field(default_factory=dict)
    since: datetime = BEGUN
    outbox_depth: int = 0
    outbox_oldest: datetime | None = None
    verdicts: tuple[Verdict, ...] = ()


def body(**data: object) -> bytes:
    fields = {"percent": 100, "bytes_read": 0, "bytes_stored": 0, "lock": None, "error": None, **data}
    return json.dumps({"specversion": "1.0", "data": fields}).encode()


COMPLETED = Ended(
    NOW - timedelta(hours=2),
    body(
        created="2026-11-25T12:50:00",
        updated="2026-11-25T13:00:00",
        bytes_read=5_000_000_000,
        bytes_stored=1_200_000_000,
        lock={"innodb_ms": 35, "nontransactional_ms": 1500, "stages_ms": {}},
    ),
)
FAILED = Ended(
    NOW - timedelta(hours=1), body(error={"code": "store_full", "message": "it is full", "hint": "make room"})
)
FULL = Snapshot(
    COMPLETED,
    FAILED,
    {EventType.COMPLETED: 30, EventType.FAILED: 2},
    outbox_depth=3,
    outbox_oldest=NOW - timedelta(seconds=90),
    verdicts=(
        Verdict(Level.DIGEST, Outcome.FAILED, BACKUP, NOW - timedelta(hours=4), None),
        Verdict(Level.RESTORE, Outcome.FAILED, BACKUP, NOW - timedelta(hours=5), None),
        Verdict(Level.RESTORE, Outcome.PASSED, BACKUP, NOW - timedelta(hours=3), 41.5),
    ),
)
LIVE = Live(broker_connected=False, spool_bytes=4096, phase=Phase.COPYING)


def metrics(found: Remembered, live: Live | None = LIVE) -> Metrics:
    return Metrics(Subject(INSTANCE, "1.2.3"), lambda: found, None if live is None else lambda: live, now=lambda: NOW)


def samples(text: str) -> Samples:
    """Each value by its name, without the prefix, and what labels it has beside the instance's id."""
    found = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            labels = dict(sample.labels)
            assert labels.pop("instance_id") == INSTANCE, sample.name
            assert sample.name.startswith("backup_agent_"), sample.name
            found[(sample.name.removeprefix("backup_agent_"), *labels.values())] = sample.value
    return found


def served(subject: Metrics) -> Samples:
    server = subject.serve(0)
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{server.port}/metrics", timeout=30) as answer:
            return samples(answer.read().decode())
    finally:
        server.close()


def filed(subject: Metrics, path: Path) -> Samples:
    subject.write_textfile(path)
    return samples(path.read_text("utf-8"))


LASTING: Samples = {
    ("info", "1.2.3"): 1,
    ("journal_readable",): 1,
    ("journal_created_timestamp_seconds",): BEGUN.timestamp(),
    ("outbox_events",): 3,
    ("backups_total", "completed"): 30,
    ("backups_total", "failed"): 2,
    ("backups_total", "rejected"): 0,
    ("backups_created", "completed"): BEGUN.timestamp(),
    ("backups_created", "failed"): BEGUN.timestamp(),
    ("backups_created", "rejected"): BEGUN.timestamp(),
    ("last_completed_timestamp_seconds",): COMPLETED.updated.timestamp(),
    ("last_completed_raw_bytes",): 5_000_000_000,
    ("last_completed_stored_bytes",): 1_200_000_000,
    ("last_completed_duration_seconds",): 600,
    ("last_completed_lock_seconds", "innodb"): 0.035,
    ("last_completed_lock_seconds", "nontransactional"): 1.5,
    ("last_failed_timestamp_seconds", "store_full"): FAILED.updated.timestamp(),
    ("last_verified_timestamp_seconds", "digest", "failed"): (NOW - timedelta(hours=4)).timestamp(),
    ("last_verified_timestamp_seconds", "restore", "failed"): (NOW - timedelta(hours=5)).timestamp(),
    ("last_verified_timestamp_seconds", "restore", "passed"): (NOW - timedelta(hours=3)).timestamp(),
    ("last_verified_restore_seconds",): 41.5,
}
MOMENTARY: Samples = {
    ("outbox_oldest_age_seconds",): 90,
    ("last_completed_age_seconds",): 7200,
    ("running", "locking"): 0,
    ("running", "copying"): 1,
    ("running", "blocking"): 0,
    ("running", "finishing"): 0,
    ("running", "committing"): 0,
    ("broker_connected",): 0,
    ("spool_bytes",): 4096,
}


def test_the_port_tells_what_was_and_what_is() -> None:
    assert served(metrics(FULL)) == LASTING | MOMENTARY


def test_the_file_tells_only_what_stays_true(tmp_path: Path) -> None:
    assert filed(metrics(FULL), tmp_path / "agent.prom") == LASTING


def test_an_agent_that_has_done_nothing_yet_says_that(tmp_path: Path) -> None:
    found = filed(metrics(Snapshot()), tmp_path / "agent.prom")
    assert found[("backups_total", "completed")] == 0
    assert not [name for name in found if "last" in name[0]]


def test_what_an_agent_does_not_have_is_not_told() -> None:
    found = served(metrics(Snapshot(), Live(broker_connected=None, spool_bytes=None, phase=None)))
    assert ("broker_connected",) not in found
    assert ("spool_bytes",) not in found
    assert found[("outbox_oldest_age_seconds",)] == 0
    assert sum(value for (name, *_), value in found.items() if name == "running") == 0


def test_the_journal_itself_is_what_is_told(tmp_path: Path) -> None:
    journal = SqliteJournal(tmp_path / "journal.sqlite", outbox=True, now=lambda: BEGUN)
    backup_id = add(journal, EventType.STARTED)
    put(journal, event(EventType.COMPLETED, 2, backup_id, body=body(bytes_stored=7)))
    put(journal, event(EventType.REJECTED, 1, add(journal), body=FAILED.last_event or b""))
    subject = Metrics(Subject(INSTANCE, "1.2.3"), journal.snapshot, lambda: LIVE, now=lambda: NOW)
    found = served(subject)
    journal.close()

    assert found[("outbox_events",)] == 3
    assert found[("backups_total", "completed")] == found[("backups_total", "rejected")] == 1
    assert found[("last_completed_stored_bytes",)] == 7
    assert found[("last_completed_age_seconds",)] == timedelta(days=30).total_seconds()
    assert ("last_failed_timestamp_seconds", "store_full") in found


def unreadable() -> Remembered:
    raise JournalError(ErrorCode.JOURNAL_UNUSABLE, "the disk is gone", "plug it in")


def no_event() -> Remembered:
    return Snapshot(last_completed=Ended(NOW, b"[]"))


@pytest.mark.parametrize("journal", [unreadable, no_event])
def test_an_unreadable_journal_is_told_and_the_rest_all_the_same(journal: object) -> None:
    assert callable(journal)
    with capture_logs() as lines:
        found = served(Metrics(Subject(INSTANCE, "1.2.3"), journal, lambda: LIVE))
    assert found[("journal_readable",)] == 0
    assert found[("spool_bytes",)] == 4096
    assert ("outbox_events",) not in found
    assert [line["log_level"] for line in lines] == ["warning"]


def test_every_metric_is_explained_and_has_its_type(tmp_path: Path) -> None:
    metrics(FULL).write_textfile(tmp_path / "agent.prom")
    for family in text_string_to_metric_families((tmp_path / "agent.prom").read_text("utf-8")):
        assert family.documentation.endswith("."), family.name
        assert family.type in ("gauge", "counter"), family.name


def test_the_file_is_for_all_to_read_and_replaced_at_once(tmp_path: Path) -> None:
    path = tmp_path / "agent.prom"
    path.write_text("old")
    before = path.stat().st_ino
    previous = os.umask(0o077)
    try:
        metrics(FULL).write_textfile(path)
    finally:
        os.umask(previous)
    assert stat.S_IMODE(path.stat().st_mode) == 0o644
    assert path.stat().st_ino != before
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("name", ["absent/agent.prom", "."])
def test_a_file_that_can_not_be_written_is_an_error_with_a_hint(tmp_path: Path, name: str) -> None:
    path = tmp_path / "here" / name
    (tmp_path / "here").mkdir()
    with pytest.raises(ConfigError) as caught:
        metrics(FULL).write_textfile(path)
    assert caught.value.code is ErrorCode.METRICS_UNUSABLE
    assert "metrics.textfile" in caught.value.hint
    assert list(tmp_path.iterdir()) == [tmp_path / "here"]


def test_a_port_that_is_taken_is_an_error_with_a_hint() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        with pytest.raises(ConfigError) as caught:
            metrics(FULL).serve(taken.getsockname()[1])
    assert caught.value.code is ErrorCode.METRICS_UNUSABLE
    assert "metrics.port" in caught.value.hint


def test_a_closed_server_gives_its_port_back() -> None:
    first = metrics(FULL).serve(0)
    port = first.port
    first.close()
    first.close()
    second = metrics(FULL).serve(port)
    second.close()


def test_the_port_is_answered_on_the_loopback_address_alone() -> None:
    server = metrics(FULL).serve(0)
    try:
        with socket.socket() as other:
            other.settimeout(30)
            assert other.connect_ex(("127.0.0.2", server.port)) != 0
    finally:
        server.close()


def test_the_example_alerts_ask_only_for_metrics_there_are() -> None:
    asked = set(re.findall(r"backup_agent_(\w+)", ALERTS.read_text("utf-8")))
    told = {name for name, *_ in LASTING | MOMENTARY}
    assert asked
    assert asked <= told
