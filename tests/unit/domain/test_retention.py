"""Which backups stay: by example, and what must hold for any set of backups."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backup_agent.domain.retention import CLOCK_TOLERANCE, Candidate, Rules, decide

NOW = datetime(2026, 11, 25, 12, tzinfo=UTC)


def backup(name: str, days: float, parent: str | None = None, **fields: bool) -> Candidate:
    """Which finished so many days ago."""
    return Candidate(name, parent, NOW - timedelta(days=days), **fields)


def kept(candidates: list[Candidate], **rules: int) -> str:
    """The names of those that stay, in their order."""
    return "".join(verdict.id for verdict in decide(candidates, Rules(**rules), NOW) if verdict.kept)


def why(candidates: list[Candidate], name: str, **rules: int) -> str:
    return next(verdict.why for verdict in decide(candidates, Rules(**rules), NOW) if verdict.id == name)


CHAINS = [
    backup("A", 30),
    backup("b", 29, "A"),
    backup("C", 20),
    backup("d", 19, "C"),
    backup("e", 18, "d"),
    backup("F", 10),
    backup("g", 9, "F"),
]
"""Capital letters are full backups."""


@pytest.mark.parametrize(
    ("rules", "expected"),
    [
        ({"keep_fulls": 1}, "Fg"),
        ({"keep_fulls": 2}, "CdeFg"),
        ({"keep_fulls": 9}, "AbCdeFg"),
        ({"keep_days": 1}, "Fg"),
        ({"keep_days": 18}, "CdeFg"),
        ({"keep_days": 29}, "AbCdeFg"),
        ({"keep_fulls": 1, "keep_days": 19}, "CdeFg"),
        ({"keep_monthly": 1}, "Fg"),
        ({"keep_monthly": 2}, "AbFg"),
        ({"keep_weekly": 2}, "Fg"),
        ({"keep_weekly": 3}, "CdeFg"),
        ({}, "Fg"),
    ],
)
def test_a_backup_stays_with_what_it_is_built_on_if_any_rule_wants_it(rules: dict[str, int], expected: str) -> None:
    assert kept(CHAINS, **rules) == expected


def test_of_a_period_the_newest_stays_with_its_chain() -> None:
    week = [backup("A", 16), backup("b", 15, "A"), backup("C", 14), backup("d", 8, "b"), backup("E", 1)]
    assert kept(week, keep_weekly=2) == "AbdE"
    assert why(week, "d", keep_weekly=2) == "it is the newest of the week 2026-W47"
    assert why(week, "A", keep_weekly=2) == "backup d is built on it"


def test_a_pinned_backup_stays_with_what_it_is_built_on_and_without_what_is_built_on_it() -> None:
    pinned = [backup("A", 30), backup("b", 29, "A", pinned=True), backup("c", 28, "b"), backup("D", 1)]
    assert kept(pinned, keep_fulls=1) == "AbD"
    assert why(pinned, "b", keep_fulls=1) == "it is pinned"


def test_what_can_not_be_read_stays_and_counts_for_nothing() -> None:
    unreadable = Candidate("X", None, None, whole=False)
    assert kept([*CHAINS, unreadable], keep_fulls=1) == "FgX"
    assert kept([unreadable, Candidate("Y", None, None)], keep_fulls=1) == "XY"
    assert why([unreadable], "X", keep_fulls=1) == "no backup is restorable: nothing expires"


def test_a_chain_that_is_broken_does_not_count_as_one_that_can_be_restored() -> None:
    broken = [
        backup("A", 20),
        backup("b", 19, "A"),
        backup("C", 3, whole=False),
        backup("d", 2, "C"),
        backup("e", 1, "?"),
    ]
    assert kept(broken, keep_fulls=1) == "Ab"
    assert "can't be restored" in why(broken, "e", keep_fulls=1)
    assert kept(broken, keep_days=5) == "AbCde"


def test_if_nothing_can_be_restored_nothing_expires() -> None:
    assert kept([backup("a", 100, "?"), backup("b", 99, "a")], keep_fulls=1) == "ab"


def test_a_backup_from_the_future_stays_and_drives_no_other_out() -> None:
    skewed = [backup("A", 20), backup("B", 10), backup("Z", -400)]
    assert kept(skewed, keep_fulls=1) == "BZ"
    assert why(skewed, "Z", keep_fulls=1) == "its time lies in the future"
    assert kept([backup("Z", -400)], keep_days=1) == "Z"


def test_clocks_may_differ_a_little() -> None:
    ahead = Candidate("B", None, NOW + CLOCK_TOLERANCE)
    assert kept([backup("A", 20), ahead], keep_fulls=1) == "B"


@st.composite
def shelves(draw: st.DrawFn) -> list[Candidate]:
    """Any backups: chains, broken ones, unreadable ones, times that make no sense, even loops."""
    count = draw(st.integers(0, 12))
    names = [f"{number:02d}" for number in range(count)]
    times = st.one_of(st.none(), st.integers(-100_000, 5_000_000).map(lambda minutes: NOW - timedelta(minutes=minutes)))
    return [
        Candidate(
            name,
            draw(st.one_of(st.none(), st.sampled_from([*names, "gone"]))),
            draw(times),
            whole=draw(st.integers(0, 5)) > 0,
            pinned=draw(st.integers(0, 9)) == 0,
        )
        for name in names
    ]


LIMITS = st.one_of(st.none(), st.integers(1, 6))
RULES = st.builds(
    Rules,
    keep_fulls=LIMITS,
    keep_days=st.one_of(st.none(), st.integers(1, 900)),
    keep_weekly=LIMITS,
    keep_monthly=LIMITS,
)


def staying(shelf: list[Candidate], rules: Rules) -> list[Candidate]:
    verdicts = decide(shelf, rules, NOW)
    assert [verdict.id for verdict in verdicts] == [one.id for one in shelf]
    assert all(verdict.why for verdict in verdicts)
    return [one for one, verdict in zip(shelf, verdicts, strict=True) if verdict.kept]


def whole_chain(one: Candidate, shelf: list[Candidate]) -> bool:
    known = {other.id: other for other in shelf}
    seen: set[str] = set()
    while one.whole and one.finished is not None and one.id not in seen:
        if one.parent_id is None:
            return True
        seen.add(one.id)
        if one.parent_id not in known:
            return False
        one = known[one.parent_id]
    return False


@given(shelves(), RULES)
def test_nothing_that_one_that_stays_is_built_on_goes(shelf: list[Candidate], rules: Rules) -> None:
    stay = {one.id for one in staying(shelf, rules)}
    there = {one.id for one in shelf}
    for one in shelf:
        if one.id in stay and one.parent_id in there:
            assert one.parent_id in stay


@given(shelves(), RULES)
def test_a_restorable_backup_always_stays_if_there_was_one(shelf: list[Candidate], rules: Rules) -> None:
    stay = staying(shelf, rules)
    if any(whole_chain(one, shelf) for one in shelf):
        assert any(whole_chain(one, stay) for one in stay)
    else:
        assert stay == shelf


@given(shelves(), RULES)
def test_deciding_again_changes_nothing(shelf: list[Candidate], rules: Rules) -> None:
    stay = staying(shelf, rules)
    assert staying(stay, rules) == stay


@given(shelves(), RULES)
def test_pinned_and_unreadable_ones_always_stay(shelf: list[Candidate], rules: Rules) -> None:
    stay = {one.id for one in staying(shelf, rules)}
    assert {one.id for one in shelf if one.pinned or one.finished is None} <= stay


@given(shelves(), RULES, RULES)
def test_another_rule_only_keeps_more(shelf: list[Candidate], rules: Rules, more: Rules) -> None:
    both = Rules(**{**more.model_dump(exclude_none=True), **rules.model_dump(exclude_none=True)})
    assert {one.id for one in staying(shelf, rules)} <= {one.id for one in staying(shelf, both)}
