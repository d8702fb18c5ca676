"""Results on standard output: JSON, or columns for people."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from rich.console import Console
from rich.table import Table

from backup_agent.domain.verification import Verification
from backup_agent.errors import BackupAgentError, ErrorCode

_WIDE = 1000
"""Columns of a table at most. The terminal wraps what it can't show: an id that is cut off can't be copied."""


@contextmanager
def _printing() -> Iterator[None]:
    try:
        yield
        sys.stdout.flush()
    except BrokenPipeError:
        raise
    except OSError as error:
        raise BackupAgentError(
            ErrorCode.OUTPUT_FAILED,
            f"the result can't be printed: {error.strerror}",
            "The operation itself ended well: `backup-agent list` shows the backups.",
        ) from error


def print_json(value: object) -> None:
    with _printing():
        sys.stdout.write(json.dumps(value, indent=2, ensure_ascii=False) + "\n")


def print_fields(fields: dict[str, Any]) -> None:
    """One line a field; nested ones by their path; what is None as a dash."""
    flat = list(_flatten(fields, ""))
    width = max(len(name) for name, _ in flat)
    with _printing():
        for name, value in flat:
            sys.stdout.write(f"{name:<{width}}  {_plain(value)}\n")


def _plain(value: object) -> str:
    match value:
        case None:
            return "-"
        case bool():
            return "yes" if value else "no"
        case list():
            return " ".join(map(_word, value)) or "-"
        case _:
            return "; ".join(str(value).splitlines())


def _word(value: object) -> str:
    if isinstance(value, dict):
        return "; ".join(f"{name}: {inner}" for name, inner in value.items())
    return str(value)


def _flatten(value: Any, name: str) -> Iterable[tuple[str, Any]]:  # noqa: ANN401 - any JSON value
    if isinstance(value, dict) and value:
        for key, inner in value.items():
            yield from _flatten(inner, f"{name}.{key}" if name else str(key))
    else:
        yield name, value


def print_table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    console = Console(width=_WIDE, highlight=False, markup=False, emoji=False)
    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in columns:
        table.add_column(column, no_wrap=True, justify="right" if column in ("SIZE", "RAW") else "left")
    for row in rows:
        table.add_row(*row)
    with console.capture() as printed:
        console.print(table, soft_wrap=True)
    with _printing():  # by ourselves: rich would end the process when the reader is gone
        sys.stdout.write(printed.get())


def verified_text(verifications: Sequence[Verification]) -> str:
    """What each of them found, how, and on which day."""
    words = (f"{one.level.value if one.passed else 'FAILED'} {one.time[:10]}" for one in verifications)
    return ", ".join(words) or "-"


def size_text(size: int) -> str:
    """`size` bytes in the unit that suits, powers of 1024."""
    value = float(size)
    for unit in ("B", "KiB", "MiB", "GiB"):
        if value < 1024:  # noqa: PLR2004 - the base of the units
            return f"{value:.0f} {unit}" if unit == "B" else f"{value:.1f} {unit}"
        value /= 1024
    return f"{value:.1f} TiB"
