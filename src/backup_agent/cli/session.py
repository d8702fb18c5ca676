"""What surrounds every command: configuration, logs, signals, and the one place where errors become exit statuses."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import structlog
import typer

from backup_agent.cancellation import Cancellation
from backup_agent.cli import logs
from backup_agent.cli.signals import heeded
from backup_agent.config.file import Config, load
from backup_agent.errors import BackupAgentError, ErrorCode, InterruptedByOperator

log = structlog.get_logger(__name__)

INTERNAL_ERROR = 1
BROKEN_PIPE = 128 + signal.SIGPIPE
_PATIENCE = 15.0


@dataclass(frozen=True, slots=True)
class Configured:
    config: Config
    json: bool
    terminal: bool
    """Whether a person reads standard error: progress bars and readable logs."""


@dataclass(frozen=True, slots=True)
class Session(Configured):
    """A command that does one thing, and then ends."""

    cancellation: Cancellation
    """Cancelled by the first signal."""
    hurry: Cancellation
    """Cancelled by the second signal: clean-up is cut short."""

    @property
    def patience(self) -> float | None:
        """Seconds for which a store that fails is tried again where a person waits for an answer; None: for as long as
        store.retry_for_s has it.
        """
        return _PATIENCE if self.terminal else None


@contextmanager
def session(config_file: Path, *, json: bool) -> Iterator[Session]:
    """`configured`, and signals cancel the work."""
    with configured(config_file, json=json) as state:
        cancellation, hurry = Cancellation(), Cancellation()
        received: Sequence[int] = ()
        try:
            with heeded(cancellation, hurry) as received:
                yield Session(state.config, state.json, state.terminal, cancellation, hurry)
        except InterruptedByOperator as error:
            if not received:
                raise
            say(error, terminal=state.terminal)
            raise typer.Exit(128 + received[0]) from error


@contextmanager
def configured(config_file: Path, *, json: bool) -> Iterator[Configured]:
    """`reported`, with the agent's configuration."""
    with reported(json=json) as use_level:
        config = load(config_file)
        use_level(config.log.level)
        yield Configured(config, json, sys.stderr.isatty() and not json)


@contextmanager
def reported(*, json: bool) -> Iterator[Callable[[str], None]]:
    """Ends the process with the exit status of what was raised, after saying it on standard error. Yields what sets
    the level of the log.
    """
    terminal = sys.stderr.isatty() and not json
    logs.configure("info", readable=terminal)
    try:
        yield lambda level: logs.configure(level, readable=terminal)
    except BackupAgentError as error:
        say(error, terminal=terminal)
        raise typer.Exit(error.exit_status) from error
    except (typer.Exit, SystemExit):
        raise
    except BrokenPipeError:
        os.dup2(
            os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno()
        )  # the interpreter flushes it once more at its end
        raise typer.Exit(BROKEN_PIPE) from None
    except Exception as error:
        log.exception("internal error", code=ErrorCode.INTERNAL)
        raise typer.Exit(INTERNAL_ERROR) from error


def say(error: BackupAgentError, *, terminal: bool) -> None:
    """An error with its code and its hint: two lines for a person, a JSON line otherwise."""
    if terminal:
        with suppress(OSError):  # the terminal is gone; the exit status still tells
            typer.echo(f"error: {error}\n hint: {error.hint}", err=True)
    else:
        log.error(error.message, code=error.code.value, hint=error.hint)


def warn(error: BackupAgentError, *, terminal: bool) -> None:
    """Of what the command goes on in spite of."""
    if terminal:
        with suppress(OSError):
            typer.echo(f"warning: {error}\n   hint: {error.hint}", err=True)
    else:
        log.warning(error.message, code=error.code.value, hint=error.hint)


def tell_peak_memory() -> None:
    """What this process took at most, the engine not counted.

    Not by getrusage, whose figure a process inherits from the one that started it.
    """
    status = Path("/proc/self/status").read_text("utf-8")
    peak = next(line for line in status.splitlines() if line.startswith("VmHWM:"))
    log.info("peak memory", agent_bytes=int(peak.split()[1]) * 1024)
