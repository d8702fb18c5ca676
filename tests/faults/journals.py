"""Processes that work on a journal, and what they leave."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path


@contextmanager
def worker(mode: str, path: Path, *, user: int | None = None) -> Iterator[subprocess.Popen[str]]:
    arguments = [] if user is None else [str(user)]
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.faults.journal_process", mode, str(path), *arguments],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def said(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline().strip()


def obeyed(process: subprocess.Popen[str]) -> str:
    """What it says when it has done its part once more."""
    assert process.stdin is not None
    process.stdin.write("\n")
    process.stdin.flush()
    return said(process)


def sound(path: Path) -> bool:
    with closing(sqlite3.connect(path)) as raw:
        checks = [*raw.execute("PRAGMA integrity_check"), *raw.execute("PRAGMA foreign_key_check")]
        return checks == [("ok",)]


def run(mode: str, path: Path, *before: str, user: int | None = None) -> list[str]:
    arguments = [] if user is None else [str(user)]
    done = subprocess.run(
        [*before, sys.executable, "-m", "tests.faults.journal_process", mode, str(path), *arguments],
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
    )
    return done.stdout.splitlines()
