"""The API's benchmark runs to its end with a small fleet, and its report holds every figure; how it judges them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from bench.api.__main__ import main
from bench.api.results import Backlog, Measured, Waits, Watch, judge, waits_of
from tests.servers.rabbitmq import PrivateRabbitMQ

AGENTS = 10
FEW, MANY = 60, 200
BACKLOG = 3000
"""Of a few hundred, which are taken in a few tenths of a second, a busy host may see none."""
SIZES = ["--agents", str(AGENTS), "--few", str(FEW), "--backups", str(MANY), "--rate", "50", "--seconds", "1"]


@pytest.fixture(scope="module")
def directories(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    base = tmp_path_factory.mktemp("bench")
    (base / "work").mkdir()
    return base / "out", base / "work"


@pytest.fixture(scope="module")
def results(broker: PrivateRabbitMQ, directories: tuple[Path, Path]) -> dict[str, Any]:
    out, work = directories
    where = ["--out", str(out), "--directory", str(work)]
    assert main([*SIZES, "--backlog", str(BACKLOG), "--databases", "sqlite", *where], broker=broker) == 0
    loaded: dict[str, Any] = json.loads((out / "api.json").read_text())
    return loaded


@pytest.mark.server
def test_users_are_watched_beside_the_fleet_with_few_backups_and_with_many(results: dict[str, Any]) -> None:
    (sqlite,) = results["measured"]

    assert sqlite["few"]["backups"] >= FEW
    assert sqlite["many"]["backups"] >= sqlite["calm"]["backups"] >= MANY
    for watch in (sqlite["few"], sqlite["calm"], sqlite["many"]):
        assert {waits["kind"] for waits in watch["waits"]} == {
            "list, the newest",
            "list, from the middle",
            "list, of an instance",
            "create",
        }
        for waits in watch["waits"]:
            assert waits["count"] or waits["kind"] == "create", "few instances are busy most of the time"
            assert 0 <= waits["p50_ms"] <= waits["p99_ms"] <= waits["max_ms"]
        assert {"relay", "workers", "fleet", "broker"} <= watch["cpu"].keys()
    creates = [
        waits for name in ("few", "calm", "many") for waits in sqlite[name]["waits"] if waits["kind"] == "create"
    ]
    assert sum(waits["count"] + waits["refused"] for waits in creates) > 0
    assert sqlite["many"]["told"] >= 50
    assert sqlite["many"]["taken"] > 0


@pytest.mark.server
def test_a_backlog_is_taken_in(results: dict[str, Any]) -> None:
    backlog = results["measured"][0]["backlog"]

    assert backlog["events"] > 0
    assert backlog["seconds"] > 0


@pytest.mark.server
def test_the_report_says_of_each_target_whether_it_was_met(
    results: dict[str, Any], directories: tuple[Path, Path]
) -> None:
    text = (directories[0] / "api.md").read_text()

    assert len(results["targets"]) == 6
    for target in results["targets"]:
        assert target["what"] in text
    assert results["versions"]["RabbitMQ"] in text
    assert results["machine"]["cores"] in text


@pytest.mark.server
def test_nothing_is_left_behind(results: dict[str, Any], directories: tuple[Path, Path]) -> None:
    assert results["measured"]
    assert list(directories[1].iterdir()) == []


def test_a_wait_that_few_had_is_not_the_99th_percentile_of_many() -> None:
    waits = waits_of("list", [0.001] * 990 + [0.002] * 5 + [1.0] * 5, refused=0)

    assert (waits.p50_ms, waits.p99_ms, waits.max_ms) == (1.0, 1.0, 1000.0)


def watch(list_ms: float, create_ms: float, *, taken: int = 30_000) -> Watch:
    waits = (
        Waits("list", 1000, 0, list_ms, list_ms, list_ms),
        Waits("create", 500, 0, create_ms, create_ms, create_ms),
    )
    return Watch("sqlite", 50_000, 30.0, 30_000, taken, {}, waits)


def verdicts(few: Watch, many: Watch, per_s: float) -> list[str]:
    backlog = Backlog("sqlite", 50_000, 10_000, 10_000 / per_s, {})
    return [target.verdict for target in judge([Measured("sqlite", "3", few, few, many, backlog)])]


def test_what_is_fast_enough_meets_all_targets() -> None:
    assert verdicts(watch(5, 20), watch(6, 99), 1000.0) == ["met"] * 6


def test_each_target_that_is_missed_is_named() -> None:
    assert verdicts(watch(5, 20), watch(101, 101, taken=29_000), 999.0) == ["**not met**"] * 5 + ["met"]
