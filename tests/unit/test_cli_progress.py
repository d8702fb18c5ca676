"""The progress bar and the log share a terminal: lines stand whole above the bar, which is one line."""

from __future__ import annotations

import io
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr

import pytest
import structlog

from backup_agent.cli import logs
from backup_agent.cli.progress import ProgressBar
from backup_agent.operations.restore import RestoreProgress
from tests.faults.waiting import until
from tests.screen import shown

BAR = "\u2501"
KEY = "z_CLOUDDB_BACKUPS/44b277eb-39be-4921-be31-3d61b43651d7/46b378fe-971e-458a-9650-c6f381cc6af0/chunk-00000000.zst"
STEP = RestoreProgress("starting a server on the restored files", 31 << 20, 32 << 20)


class Terminal(io.StringIO):
    def __init__(self, columns: int) -> None:
        super().__init__()
        self._columns = columns

    def isatty(self) -> bool:
        return True

    def lines(self) -> list[str]:
        return shown(self.getvalue().replace("\n", "\r\n"), self._columns)


@contextmanager
def at_a_terminal(monkeypatch: pytest.MonkeyPatch, columns: int = 80) -> Iterator[Terminal]:
    """Standard error is one, and gets a readable log."""
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.setenv("COLUMNS", str(columns))
    before = structlog.get_config()
    logs.configure("info", readable=True)
    try:
        with redirect_stderr(Terminal(columns)) as terminal:
            yield terminal
    finally:
        structlog.configure(**before)


def say(event: str, **fields: object) -> None:
    structlog.get_logger("test").warning(event, **fields)


def test_a_log_line_wider_than_the_terminal_stands_whole_above_the_bar(monkeypatch: pytest.MonkeyPatch) -> None:
    with at_a_terminal(monkeypatch) as terminal:
        with ProgressBar() as bar:
            bar.step(STEP)
            say("trying again", key=KEY, reason="refused")
            line, *more = terminal.lines()
        assert line.endswith(f"key={KEY} reason=refused")
        assert len(more) == 1
        assert BAR in more[0]
        assert terminal.lines() == [line]


@pytest.mark.parametrize("columns", [20, 40, 60, 80, 100])
def test_the_bar_is_one_line_at_any_width(monkeypatch: pytest.MonkeyPatch, columns: int) -> None:
    with at_a_terminal(monkeypatch, columns) as terminal, ProgressBar() as bar:
        bar.step(STEP)
        until(lambda: STEP.step[: columns // 2] in terminal.lines()[-1], "the step")
        assert len(terminal.lines()) == 1
        assert "\n" not in terminal.getvalue()


def test_a_log_that_comes_as_the_bar_goes_does_not_hang_on_to_it(monkeypatch: pytest.MonkeyPatch) -> None:
    def chatter(name: str, over: threading.Event) -> None:
        while not over.is_set():
            say("words", who=name, key=KEY)
        say("words", who=name, key=KEY)

    with at_a_terminal(monkeypatch) as terminal:
        for _ in range(5):
            over = threading.Event()
            threads = [threading.Thread(target=chatter, args=(name, over)) for name in ("one", "other")]
            with ProgressBar() as bar:
                for thread in threads:
                    thread.start()
                bar.step(STEP)
                until(lambda: STEP.step in terminal.getvalue()[-1000:], "the step")
            over.set()
            for thread in threads:
                thread.join()
        lines = terminal.lines()
    assert [line for line in lines if not line.endswith((f"key={KEY} who=one", f"key={KEY} who=other"))] == []
    assert [line for line in lines if BAR in line or line.count("words") != 1] == []


def test_what_is_written_in_pieces_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    with at_a_terminal(monkeypatch) as terminal:
        with ProgressBar():
            sys.stderr.write("half a ")
            sys.stderr.write("line\nand the ")
            during = terminal.lines()
            sys.stderr.write("rest")
        assert during[0] == "half a line"
        assert BAR in during[1]
        assert terminal.lines() == ["half a line", "and the rest"]
