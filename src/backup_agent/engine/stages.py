"""The engine's log, read as it comes: where the backup is, how long each lock stage took, and why it failed.

The log's lines arrive within a millisecond of being written, also with a slow sink (measured, design section 6).
"""

from __future__ import annotations

import re
import threading
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise

from backup_agent.domain.lock_window import LockWindow
from backup_agent.domain.state import Phase


@dataclass(frozen=True, slots=True)
class StageNames:
    """How an engine's log names its lock stages.

    `mention` has one group, the stage's name; the first line that mentions a stage is its start, whatever the verb
    (Starting, Started, Executing), so that waiting for the lock counts. `released` matches the line after which writers
    go on.
    """

    mention: re.Pattern[str]
    nontransactional: str
    frozen: str | None
    """The stage with whose lock the last writes of non-transactional tables have ended, and DDL. None when the log does
    not tell.
    """
    innodb: str
    copying: re.Pattern[str]
    released: re.Pattern[str]
    acquired: re.Pattern[str] | None
    """Has one group, the name of the stage whose lock was got. None when the log does not tell."""
    in_use: re.Pattern[str] | None
    """Has two groups, a database and a table that the engine found in use. None when the log does not tell."""
    in_use_listed: re.Pattern[str] | None
    """The first line after those; then the other tables are copied."""
    nearly: re.Pattern[str] | None
    """A line that comes shortly before the non-transactional stage, with little left to copy. None when none does."""


@dataclass(slots=True)
class StageClock:
    names: StageNames
    phase: Phase = Phase.LOCKING
    nearing: bool = False
    """Whether the non-transactional stage is near, or has come."""
    _starts: dict[str, float] = field(default_factory=dict)
    _wanted: str | None = None
    _acquired: set[str] = field(default_factory=set)
    _listed: float | None = None
    _in_use: set[tuple[str, str]] = field(default_factory=set)
    _released: float | None = None
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def read(self, line: str, at: float) -> None:
        """Takes one line of the log, read at the monotonic time `at`."""
        with self._lock:
            self._follow_tables(line, at)
            self._follow(line, at)

    def locked_since(self) -> float | None:
        """The monotonic time since which writers of non-transactional tables wait; None when they do not."""
        with self._lock:
            return self._starts.get(self.names.nontransactional) if self._released is None else None

    def wanted(self) -> str | None:
        """The stage whose lock the engine waits for; None when it does not wait."""
        with self._lock:
            return self._wanted if self._released is None else None

    def frozen(self) -> bool:
        """Whether nobody can write non-transactional tables any more, nor change any table by DDL."""
        return self._holds(self.names.frozen)

    def settled(self) -> bool:
        """Whether nobody can write anything: the last lock was got and none is released yet."""
        return self._holds(self.names.innodb)

    def in_use(self) -> tuple[float | None, frozenset[tuple[str, str]]]:
        """The tables in use when writers of non-transactional tables were locked out, and the monotonic time when the
        engine had listed them all; None before.
        """
        with self._lock:
            return self._listed, frozenset(self._in_use)

    def _holds(self, stage: str | None) -> bool:
        with self._lock:
            return stage in self._acquired and self._released is None

    def _follow_tables(self, line: str, at: float) -> None:
        if self.names.acquired and (acquired := self.names.acquired.search(line)):
            self._acquired.add(acquired[1])
        if self.names.in_use and (used := self.names.in_use.search(line)):
            self._in_use.add((used[1], used[2]))
        if self._listed is None and self.names.in_use_listed and self.names.in_use_listed.search(line):
            self._listed = at

    def _follow(self, line: str, at: float) -> None:
        if self.names.acquired and (acquired := self.names.acquired.search(line)) and acquired[1] == self._wanted:
            self._wanted = None
        if self.names.nearly and self.names.nearly.search(line):
            self.nearing = True
        if self._released is None and self.names.released.search(line):
            self._released = at
            self.phase = Phase.FINISHING
        elif mention := self.names.mention.search(line):
            name = mention[1]
            if name not in self._starts:
                self._starts[name] = at
                self._wanted = name if self.names.acquired else None
            if name in (self.names.nontransactional, self.names.innodb) and self._released is None:
                self.phase = Phase.BLOCKING
                self.nearing = True
        if self.phase is Phase.LOCKING and self.names.copying.search(line):
            self.phase = Phase.COPYING

    def window(self) -> LockWindow:
        """The windows so far, in whole milliseconds; a stage that never began took none."""
        with self._lock:
            end = self._released if self._released is not None else max(self._starts.values(), default=0.0)
            marks = [*self._starts.items(), ("", end)]
            stages = {name: _ms(until - start) for (name, start), (_, until) in pairwise(marks)}
            return LockWindow(
                innodb_ms=_ms(end - self._starts.get(self.names.innodb, end)),
                nontransactional_ms=_ms(end - self._starts.get(self.names.nontransactional, end)),
                stages_ms=stages,
            )


def _ms(seconds: float) -> int:
    return max(0, round(seconds * 1000))


@dataclass(slots=True)
class FailureSigns:
    """Remembers, for each kind of sign, the first line that tells why the engine is going to fail."""

    patterns: Sequence[tuple[re.Pattern[str], str]]
    found: dict[str, str] = field(default_factory=dict)

    def read(self, line: str) -> None:
        """A line counts for the first of the patterns that it matches."""
        for pattern, sign in self.patterns:
            if pattern.search(line):
                self.found.setdefault(sign, line)
                return
