"""Which backups stay and which expire. Decides only: pure values, and the time is passed in.

Nothing that a backup that stays is built on goes, the newest restorable backup always stays, and what can't be judged
stays. Deciding again about what has stayed changes nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from pydantic import PositiveInt

from backup_agent.domain.frozen import Frozen

CLOCK_TOLERANCE = timedelta(hours=1)
"""How far ahead of the deciding clock a backup's may be before its age is not believed."""


class Rules(Frozen):
    """What is kept; a backup stays if any rule says so. None: no such rule."""

    keep_fulls: PositiveInt | None = None
    """So many of the newest full backups, with all that is built on them."""
    keep_days: PositiveInt | None = None
    """All that finished within so many days."""
    keep_weekly: PositiveInt | None = None
    """Of so many of the newest weeks (ISO, UTC) that have backups, the newest one of each."""
    keep_monthly: PositiveInt | None = None
    """The same with months."""

    @property
    def any(self) -> bool:
        return any((self.keep_fulls, self.keep_days, self.keep_weekly, self.keep_monthly))


@dataclass(frozen=True, slots=True)
class Candidate:
    """A backup, as far as it can be told. `finished` has its zone; None where the manifest can't be read."""

    id: str
    parent_id: str | None
    finished: datetime | None
    whole: bool = True
    """Whether its own manifest is sound and fits its parent's."""
    pinned: bool = False


@dataclass(frozen=True, slots=True)
class Verdict:
    """Why a backup stays, or, without `reasons` to stay, that it expires and `why`."""

    id: str
    kept: bool
    why: str


def decide(candidates: Sequence[Candidate], rules: Rules, now: datetime) -> tuple[Verdict, ...]:
    """In the order of the candidates, whose ids are unique. `now` has its zone.

    Where no backup is restorable, nothing expires.
    """
    known = {one.id: one for one in candidates}
    restorable = [one for one in _newest_first(candidates) if _is_restorable(one, known)]
    if not restorable:
        return tuple(Verdict(one.id, kept=True, why="no backup is restorable: nothing expires") for one in candidates)
    reasons: dict[str, str] = {}
    for backup_id, reason in _wanted(candidates, known, restorable, rules, now):
        reasons.setdefault(backup_id, reason)
    for one in [*_newest_first(candidates), *(one for one in candidates if one.finished is None)]:
        if one.id in reasons:
            for ancestor in _ancestors(one, known):
                reasons.setdefault(ancestor.id, f"backup {one.id} is built on it")
    return tuple(_verdict(one, reasons, known) for one in candidates)


def _wanted(
    candidates: Iterable[Candidate],
    known: Mapping[str, Candidate],
    restorable: Sequence[Candidate],
    rules: Rules,
    now: datetime,
) -> Iterable[tuple[str, str]]:
    """Backups that are to stay for their own sake, and why. Of several reasons for one, the first counts."""
    yield from ((one.id, "it is pinned") for one in candidates if one.pinned)
    yield from ((one.id, "its manifest can't be read") for one in candidates if one.finished is None)
    latest = now + CLOCK_TOLERANCE
    ahead = {one.id for one in candidates if one.finished is not None and one.finished > latest}
    yield from ((one.id, "its time lies in the future") for one in candidates if one.id in ahead)
    believed = [one for one in restorable if one.id not in ahead]
    newest = (believed or restorable)[0]
    yield newest.id, "it is the newest restorable backup"
    yield from _of_fulls(believed, known, rules.keep_fulls or 0)
    if rules.keep_days is not None:
        oldest = now - timedelta(days=rules.keep_days)
        for one in candidates:
            if one.finished is not None and one.finished >= oldest:
                yield one.id, f"it is younger than {rules.keep_days} days"
    yield from _of_periods(believed, rules.keep_weekly or 0, "week", _week)
    yield from _of_periods(believed, rules.keep_monthly or 0, "month", _month)


def _of_fulls(believed: Sequence[Candidate], known: Mapping[str, Candidate], count: int) -> Iterable[tuple[str, str]]:
    fulls = {one.id for one in [one for one in believed if one.parent_id is None][:count]}
    for one in believed:
        base = [one, *_ancestors(one, known)][-1]
        if base.id in fulls:
            of = "it is one" if base is one else f"it is built on {base.id}, one"
            yield one.id, f"{of} of the {count} newest full backups"


def _of_periods(
    believed: Sequence[Candidate], count: int, name: str, period_of: Callable[[datetime], str]
) -> Iterable[tuple[str, str]]:
    newest: dict[str, str] = {}
    for one in believed:  # the newest comes first
        if one.finished is not None:
            newest.setdefault(period_of(one.finished), one.id)
    for period, backup_id in list(newest.items())[:count]:
        yield backup_id, f"it is the newest of the {name} {period}"


def _week(moment: datetime) -> str:
    year, week, _ = moment.isocalendar()
    return f"{year}-W{week:02d}"


def _month(moment: datetime) -> str:
    return f"{moment:%Y-%m}"


def _verdict(one: Candidate, reasons: Mapping[str, str], known: Mapping[str, Candidate]) -> Verdict:
    if one.id in reasons:
        return Verdict(one.id, kept=True, why=reasons[one.id])
    why = "no rule keeps it" if _is_restorable(one, known) else "no rule keeps it, and it can't be restored"
    return Verdict(one.id, kept=False, why=why)


def _newest_first(candidates: Iterable[Candidate]) -> list[Candidate]:
    """Those whose time can be told; of the same time, by id, so that the order is always the same."""
    dated = [(one.finished, one.id, one) for one in candidates if one.finished is not None]
    return [one for _, _, one in sorted(dated, key=lambda entry: entry[:2], reverse=True)]


def _is_restorable(one: Candidate, known: Mapping[str, Candidate]) -> bool:
    """Whether it and all it is built on are there and sound."""
    chain = [one, *_ancestors(one, known)]
    return all(link.whole and link.finished is not None for link in chain) and chain[-1].parent_id is None


def _ancestors(one: Candidate, known: Mapping[str, Candidate]) -> list[Candidate]:
    """As far as they are there, the nearest first. A loop is gone round once."""
    found: list[Candidate] = []
    seen = {one.id}
    parent = known.get(one.parent_id) if one.parent_id is not None else None
    while parent is not None and parent.id not in seen:
        seen.add(parent.id)
        found.append(parent)
        parent = known.get(parent.parent_id) if parent.parent_id is not None else None
    return found
