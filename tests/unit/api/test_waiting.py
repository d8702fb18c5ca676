"""Those who wait for agents' answers: each gets its own, in time, by few looks into the catalogue."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Sequence
from datetime import UTC, datetime

import pytest

from backup_agent.api.catalogue.operation import Operation, Standing
from backup_agent.api.waiting import Waiters
from backup_agent.errors import CatalogueError, ErrorCode

NOW = datetime(2026, 11, 25, tzinfo=UTC)


def ended(operation_id: str) -> Operation:
    return Operation(operation_id, "1234", "i", "c", Standing.DONE, NOW, NOW, *[None] * 6)


class Answers:
    """Instead of the catalogue: what has ended at each look."""

    def __init__(self) -> None:
        self.ended: set[str] = set()
        self.looks: list[Collection[str]] = []
        self.away = False

    def find_ended(self, ids: Collection[str]) -> Sequence[Operation]:
        self.looks.append(ids)
        if self.away:
            raise CatalogueError(ErrorCode.CATALOGUE_UNUSABLE, "it is away", "Wait.")
        return [ended(one) for one in ids if one in self.ended]


@pytest.fixture
def answers() -> Answers:
    return Answers()


@pytest.fixture
def waiters(answers: Answers) -> Waiters:
    return Waiters(answers.find_ended)


def test_each_hears_its_own_answer_and_who_has_none_hears_so_in_time(waiters: Waiters, answers: Answers) -> None:
    async def ask() -> list[Operation | None]:
        answers.ended = {"a", "c"}
        first = await asyncio.gather(*(waiters.answered(one, 0.05 if one == "b" else 60) for one in "abc"))
        answers.ended.add("b")
        return [*first, await waiters.answered("b", 60)]

    assert asyncio.run(ask()) == [ended("a"), None, ended("c"), ended("b")]


def test_however_many_wait_one_look_is_for_all(waiters: Waiters, answers: Answers) -> None:
    names = [str(number) for number in range(500)]

    async def ask() -> int:
        answers.ended.update(names)
        found = await asyncio.gather(*(waiters.answered(one, 60) for one in names))
        return len([one for one in found if one is not None])

    assert asyncio.run(ask()) == 500
    assert set(answers.looks[0]) == set(names)
    assert len(answers.looks) == 1


def test_nobody_is_looked_for_when_nobody_waits(waiters: Waiters, answers: Answers) -> None:
    async def ask() -> list[Operation | None]:
        return [await waiters.answered("a", 0), await waiters.answered("a", 0.01)]

    assert asyncio.run(ask()) == [None, None]
    assert len(answers.looks) <= 2


def test_who_waits_hears_that_the_catalogue_is_away_and_the_next_is_looked_for_again(
    waiters: Waiters, answers: Answers
) -> None:
    async def ask() -> Operation | None:
        answers.away = True
        with pytest.raises(CatalogueError):
            await waiters.answered("a", 60)
        answers.away, answers.ended = False, {"a"}
        return await waiters.answered("a", 60)

    assert asyncio.run(ask()) == ended("a")
