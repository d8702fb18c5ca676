"""What the answers of CHECK TABLE mean."""

from __future__ import annotations

import pytest

from backup_agent.instance.table_check import Finding, Table, judge

T = ("shop.t", "check")


@pytest.mark.parametrize(
    "said",
    [
        [(*T, "status", "OK")],
        [(*T, "status", "Table is already up to date")],
        [(*T, "warning", "1 client is using or hasn't closed the table properly"), (*T, "status", "OK")],
    ],
)
def test_a_table_in_order_is_no_finding(said: list[tuple[str, ...]]) -> None:
    assert judge(said) == Finding()


@pytest.mark.parametrize(
    ("said", "words"),
    [
        (
            [(*T, "Warning", "InnoDB: Index 'what' is corrupted"), (*T, "error", "Corrupt")],
            "InnoDB: Index 'what' is corrupted; Corrupt",
        ),
        ([(*T, "error", "Found wrong record"), (*T, "status", "OK")], "Found wrong record"),
        ([(*T, "status", "Operation failed")], "Operation failed"),
        ([], "the server does not say that it is in order"),
    ],
)
def test_anything_else_is_broken_and_told_in_the_servers_words(said: list[tuple[str, ...]], words: str) -> None:
    assert judge(said) == Finding(broken=words)


@pytest.mark.parametrize(
    "words", ["Unknown storage engine 'SPIDER'", "The storage engine for the table doesn't support check"]
)
def test_a_table_of_an_engine_that_is_not_there_is_not_broken(words: str) -> None:
    assert judge([(*T, "note", words)]) == Finding(unchecked=words)


def test_odd_names_are_quoted() -> None:
    assert Table("a`b", "c.d", 0).quoted == "`a``b`.`c.d`"
