"""What of a backup's events reaches the log."""

from __future__ import annotations

import pytest
from structlog.testing import capture_logs

from backup_agent.domain.event import BackupEvent, EventType
from backup_agent.domain.state import Phase, State
from backup_agent.report.log import LogReporter


def event(kind: EventType, sequence: int, phase: Phase | None = None) -> BackupEvent:
    return BackupEvent(
        type=kind,
        backup_id="61f12fef-edb1-4561-8122-e7c00ef26a82",
        instance_id="44b277eb-39be-4921-be31-3d61b43651d7",
        sequence=sequence,
        status=State.BUILDING,
        time="2026-11-25T15:00:00.000Z",
        backup={},
        phase=phase,
        bytes_read=100 * sequence,
    )


def test_progress_is_told_at_a_new_phase_and_every_ten_seconds() -> None:
    now = [0.0]
    reporter = LogReporter(monotonic=lambda: now[0])

    with capture_logs() as lines:
        for sequence in range(61):
            now[0] = sequence / 2
            reporter.publish(event(EventType.PROGRESS, sequence, Phase.COPYING if sequence < 31 else Phase.BLOCKING))

    assert [(line["phase"], line["bytes_read"]) for line in lines] == [
        ("copying", 0),
        ("copying", 2000),
        ("blocking", 3100),
        ("blocking", 5100),
    ]


@pytest.mark.parametrize(
    ("kind", "level"),
    [
        (EventType.STARTED, "info"),
        (EventType.WARNING, "warning"),
        (EventType.COMPLETED, "info"),
        (EventType.FAILED, "error"),
        (EventType.REJECTED, "error"),
    ],
)
def test_every_other_event_is_told_by_its_weight(kind: EventType, level: str) -> None:
    reporter = LogReporter(monotonic=lambda: 0.0)

    with capture_logs() as lines:
        reporter.publish(event(kind, 1))
        reporter.publish(event(kind, 2))

    assert [(line["event"], line["log_level"], line["sequence"]) for line in lines] == [
        (kind.value, level, 1),
        (kind.value, level, 2),
    ]
