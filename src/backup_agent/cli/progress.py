"""Progress for a person at a terminal."""

from __future__ import annotations

import sys
from contextlib import suppress
from types import TracebackType
from typing import IO, Any, Self, TextIO, cast

from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn, TransferSpeedColumn

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


class ProgressBar:
    """A bar on standard error, drawn as long as the context lasts. Takes events (as a Reporter) and restore steps."""

    def __init__(self) -> None:
        self._progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            DownloadColumn(binary_units=True),
            TransferSpeedColumn(),
            TimeRemainingColumn(),
            console=Console(file=cast("IO[str]", _Unfailing(sys.stderr))),
            transient=True,
        )
        self._task = self._progress.add_task("starting", total=None)

    def publish(self, event: BackupEvent) -> None:
        if event.type is EventType.WARNING:
            self._progress.console.print(f"warning: {event.notice}", style="yellow", markup=False)
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
        self._progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._progress.stop()
