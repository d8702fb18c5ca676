"""Progress for a person at a terminal, which the bar shares with the log: what is logged stands above it."""

from __future__ import annotations

import sys
import threading
from contextlib import suppress
from types import TracebackType
from typing import Any, Self, TextIO, cast

from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn, TransferSpeedColumn
from rich.table import Column
from rich.text import Text

from backup_agent.domain.event import BackupEvent, EventType
from backup_agent.operations.restore import RestoreProgress


class _Unfailing:
    """A text stream whose writes don't fail: a terminal that was closed must not cost a backup its orderly end."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        with suppress(OSError):
            self._stream.write(text)
        return len(text)

    def flush(self) -> None:
        with suppress(OSError):
            self._stream.flush()

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401 - whatever the stream has
        return getattr(self._stream, name)


class _AboveBar:
    """Standard error while a bar is drawn there: whole lines are put above it, and never broken into several.

    Not by rich's own stand-in, which breaks lines at the terminal's width, and lets those that are logged while the
    bar is removed run into it. Safe from any thread.
    """

    def __init__(self, stream: TextIO, console: Console) -> None:
        self._before = sys.stderr
        self._stream = stream
        self._console: Console | None = console
        self._begun = ""
        self._lock = threading.RLock()  # what is written may be logged about

    def write(self, text: str) -> int:
        with self._lock:
            if self._console is None:
                return self._stream.write(text)
            lines, end, rest = (self._begun + text).rpartition("\n")
            self._begun = rest
            if end:
                self._console.print(Text.from_ansi(lines), soft_wrap=True)
        return len(text)

    def flush(self) -> None:
        with self._lock:
            if self._console is None:
                self._stream.flush()

    def enter(self, progress: Progress) -> None:
        """Draws the bar."""
        with self._lock:
            sys.stderr = cast("TextIO", self)
            progress.start()

    def leave(self, progress: Progress) -> None:
        """Removes the bar; what is written from then on goes to the terminal as it is."""
        with self._lock:
            progress.stop()
            sys.stderr = self._before
            self._console = None
            self._stream.write(self._begun)

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401 - whatever the stream has
        return getattr(self._stream, name)


class ProgressBar:
    """A bar on standard error, drawn as long as the context lasts. Takes events (as a Reporter) and restore steps.

    It is one line, whatever the terminal's width: of several, threads that draw at once would leave some behind.
    """

    def __init__(self) -> None:
        stream = cast("TextIO", _Unfailing(sys.stderr))
        self._progress = Progress(
            TextColumn("{task.description}", table_column=_unbroken()),
            BarColumn(),
            DownloadColumn(binary_units=True, table_column=_unbroken()),
            TransferSpeedColumn(table_column=_unbroken()),
            TimeRemainingColumn(table_column=_unbroken()),
            console=Console(file=stream),
            transient=True,
            redirect_stdout=False,
            redirect_stderr=False,
        )
        self._task = self._progress.add_task("starting", total=None)
        self._above = _AboveBar(stream, self._progress.console)

    def publish(self, event: BackupEvent) -> None:
        if event.type is EventType.WARNING:
            self._progress.console.print(f"warning: {event.notice}", style="yellow", markup=False, soft_wrap=True)
        elif event.phase is not None:
            stored = event.bytes_stored / (1 << 20)
            self._progress.update(
                self._task,
                description=f"{event.phase.value}, {stored:.0f} MiB stored",
                completed=event.bytes_read,
                total=max(event.bytes_expected, event.bytes_read) if event.bytes_expected else None,
            )

    def step(self, progress: RestoreProgress) -> None:
        self._progress.update(
            self._task, description=progress.step, completed=progress.bytes_done, total=progress.bytes_total
        )

    def __enter__(self) -> Self:
        self._above.enter(self._progress)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._above.leave(self._progress)


def _unbroken() -> Column:
    return Column(no_wrap=True)
