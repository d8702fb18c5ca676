"""The benchmark runs to its end on what the tests have anyway, and its report holds every contender's figures."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from bench.contenders import AWS, OURS
from bench.results import Row, medians
from bench.targets import judge
from tests.faults.waiting import until

pytestmark = pytest.mark.server

ROOT = Path(__file__).parents[2]
SIZE_MB = 60
SECONDS = 900.0
CONTENDERS = ["stock", "stock-interval", "backup-agent", "backup-agent-age"]


def bench(out: Path, directory: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """On servers of its own, without a store that would have to be installed; its pictures need what is not there."""
    directory.mkdir()
    return subprocess.run(
        command(out, directory, *arguments), cwd=ROOT, capture_output=True, text=True, timeout=SECONDS, check=False
    )


def command(out: Path, directory: Path, *arguments: str) -> list[str]:
    program = [sys.executable, "-W", "error", "-m", "bench"]
    size = [
        "--size-mb",
        str(SIZE_MB),
        "--rounds",
        "1",
        "--idle-s",
        "1",
        "--daemon-s",
        "1",
        "--fill",
        "sql",
        "--stores",
        "none",
    ]
    return [*program, *size, "--no-plots", "--out", str(out), "--directory", str(directory), *arguments]


@pytest.fixture(scope="module")
def directories(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    base = tmp_path_factory.mktemp("bench")
    return base / "out", base / "work"


@pytest.fixture(scope="module")
def done(directories: tuple[Path, Path]) -> subprocess.CompletedProcess[str]:
    out, work = directories
    return bench(out, work, "--contenders", ",".join(CONTENDERS))


@pytest.fixture
def results(done: subprocess.CompletedProcess[str], directories: tuple[Path, Path]) -> dict[str, Any]:
    assert done.returncode == 0, done.stderr
    loaded: dict[str, Any] = json.loads((directories[0] / "results.json").read_text())
    return loaded


def rows(results: dict[str, Any], phase: str) -> dict[str, dict[str, Any]]:
    return {row["contender"]: row for row in results["medians"] if row["phase"] == phase}


def test_every_contender_has_a_row_with_sane_figures(results: dict[str, Any]) -> None:
    full = rows(results, "full")

    assert list(full) == ["idle", *CONTENDERS]
    for contender in CONTENDERS:
        row = full[contender]
        assert row["seconds"] > 0
        assert 0 < row["cpu_s"] < 2 * row["seconds"] * (os.cpu_count() or 1)
        assert row["raw_bytes"] > SIZE_MB * 1_000_000 * 0.8
        assert 0 < row["innodb_p99_ms"] <= row["innodb_ms"]
        assert 0 < row["myisam_p99_ms"] <= row["myisam_ms"]
        assert row["tps"] >= 0
        assert row["rest_cpu_s"] > 0
    assert full["stock"]["peak_bytes"] > 1 << 20, "it waits a second for the redo log: long enough to be looked at"
    ours = full["backup-agent"]
    assert ours["peak_bytes"] > 1 << 20
    assert 1 << 20 < ours["stored_bytes"] < ours["raw_bytes"]
    assert ours["agent_bytes"] > 1 << 20
    assert 0 < ours["innodb_lock_ms"] < 1000 * ours["seconds"]
    assert 0 < ours["myisam_lock_ms"] < 1000 * ours["seconds"]
    assert full["backup-agent-age"]["stored_bytes"] > 1 << 20


def test_the_incremental_copies_less_than_the_full(results: dict[str, Any]) -> None:
    incremental = rows(results, "incremental")

    assert list(incremental) == ["idle", "stock", "backup-agent"]
    assert incremental["backup-agent"]["stored_bytes"] < rows(results, "full")["backup-agent"]["stored_bytes"]
    assert incremental["stock"]["raw_bytes"] < rows(results, "full")["stock"]["raw_bytes"]


def test_the_restore_served_the_right_rows(results: dict[str, Any]) -> None:
    restored = rows(results, "restore")

    assert list(restored) == ["backup-agent"]
    assert 0 < restored["backup-agent"]["serve_s"] < restored["backup-agent"]["seconds"]


def test_the_idle_daemon_is_watched(results: dict[str, Any]) -> None:
    idle = rows(results, "idle")["backup-agent"]

    assert idle["seconds"] >= 1
    assert 0 <= idle["cpu_s"] < idle["seconds"]
    assert idle["agent_bytes"] > 1 << 20


def test_what_is_missing_is_left_out_with_its_reason(results: dict[str, Any]) -> None:
    assert results["omissions"] == [
        {"phase": "slow", "contender": "all", "reason": "no S3 store was asked for", "broken": False},
        {"phase": "outage", "contender": "backup-agent", "reason": "no S3 store was asked for", "broken": False},
    ]


def test_the_targets_stand_beside_what_was_reached(results: dict[str, Any], directories: tuple[Path, Path]) -> None:
    verdicts = {target["what"].split(":")[0]: target["verdict"] for target in results["targets"]}

    assert verdicts["incremental"] in {"met", "not met"}
    assert verdicts["restore to a serving database"] == "not measured"
    report = (directories[0] / "README.md").read_text()
    assert all(row["title"] in report for row in results["medians"])


def test_nothing_is_left_behind(results: dict[str, Any], directories: tuple[Path, Path]) -> None:
    assert results["medians"]
    assert list(directories[1].iterdir()) == []
    assert sorted(path.name for path in directories[0].iterdir()) == ["README.md", "results.json"]


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_benchmark_stops_and_removes_everything(tmp_path: Path, how: signal.Signals) -> None:
    work = tmp_path / "work"
    work.mkdir()
    running = subprocess.Popen(
        command(tmp_path / "out", work, "--contenders", "stock", "--only", "full"),
        cwd=ROOT,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    assert running.stderr is not None
    with running:
        while "round" not in json.loads(running.stderr.readline()):
            pass
        os.killpg(running.pid, how)
        running.communicate(timeout=SECONDS)

    assert running.returncode == 128 + how
    assert list(work.iterdir()) == []
    assert not (tmp_path / "out").exists()
    until(lambda: not is_there(running.pid), "the end of all that it had started")


def is_there(group: int) -> bool:
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    return True


def test_a_contender_that_breaks_fails_the_benchmark_and_is_named(tmp_path: Path) -> None:
    programs, work, out = (tmp_path / name for name in ("bin", "work", "out"))
    programs.mkdir()
    work.mkdir()
    (programs / "zstd").write_text("#!/bin/sh\ncat > /dev/null\nexit 3\n")
    (programs / "zstd").chmod(0o755)
    done = subprocess.run(
        command(out, work, "--contenders", "zstd", "--only", "full"),
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=False,
        env={**os.environ, "PATH": f"{programs}:{os.environ['PATH']}"},
    )

    assert done.returncode == 1, done.stderr
    assert "full: zstd: zstd ended with 3" in done.stderr
    assert "- full, zstd: **failed**: zstd ended with 3" in (out / "README.md").read_text()
    assert list(work.iterdir()) == []


def row(contender: str, seconds: float) -> Row:
    return Row("full", contender, contender, seconds, cpu_s=1, rest_cpu_s=1, peak_bytes=1, raw_bytes=1)


def test_a_target_is_judged_by_the_medians_of_all_rounds() -> None:
    rows = [row(AWS, 10), row(OURS, 5), row(AWS, 10), row(OURS, 9), row(AWS, 40), row(OURS, 1)]

    target = judge(medians(rows), cores=2)[0]

    assert (target.reached, target.verdict) == (0.5, "met")


def test_a_target_over_its_bound_is_not_met() -> None:
    target = judge([row(AWS, 10), row(OURS, 7.5)], cores=2)[0]

    assert (target.reached, target.verdict) == (0.75, "not met")
