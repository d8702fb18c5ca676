"""Who may end what the worker has in hand."""

from __future__ import annotations

from backup_agent.report.log import LogReporter
from backup_agent.service.at_work import AtWork, Running
from backup_agent.service.following import Following

BACKUP = "61f12fef-edb1-4561-8122-e7c00ef26a82"


def begun(at_work: AtWork, backup_id: str | None) -> Running:
    running = at_work.begin(backup_id)
    assert running is not None
    return running


def test_a_backup_is_cancelled_by_its_own_id_alone() -> None:
    at_work = AtWork()
    at_work.cancel(BACKUP)
    running = begun(at_work, BACKUP)
    at_work.cancel("44b277eb-39be-4921-be31-3d61b43651d7")
    assert not running.cancellation.cancelled
    at_work.cancel(BACKUP)
    assert running.cancellation.cancelled
    assert not running.hurry.cancelled
    at_work.end()
    assert at_work.running is None


def test_a_stop_lets_a_backup_be_finished_but_not_begun_and_ends_a_recovery() -> None:
    at_work = AtWork()
    backup = begun(at_work, BACKUP)
    at_work.stop(cancel=False)
    assert not backup.cancellation.cancelled
    at_work.stop(cancel=True)
    assert backup.cancellation.cancelled
    at_work.hurry()
    assert backup.hurry.cancelled
    assert at_work.begin(BACKUP) is None
    other = AtWork()
    recovery = begun(other, None)
    other.stop(cancel=False)
    assert recovery.cancellation.cancelled


def test_the_status_line_names_an_operation_which_is_about_no_backup() -> None:
    following = Following(LogReporter())
    assert following.describe(None, "instance.restart") == "instance.restart"
    assert following.describe(None, "recovering") == "idle"
    assert following.describe(BACKUP, "backup.verify") == f"backup {BACKUP}: backup.verify"
