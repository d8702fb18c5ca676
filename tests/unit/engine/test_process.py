"""Children of ours: how they end, how they are ended, and what becomes of what they say."""

from __future__ import annotations

import os
import signal
import threading
import time
from pathlib import Path

import psutil
import pytest

from backup_agent.cancellation import Cancellation
from backup_agent.engine.extraction import StreamExtraction
from backup_agent.engine.interface import BackupPlan
from backup_agent.engine.process import EngineProcess
from backup_agent.engine.workdir import WorkDir
from backup_agent.errors import EngineError, ErrorCode, InterruptedByOperator, TakeAgainError
from tests.unit.engine.scripts import engine_of, script

FULL = BackupPlan(Path("/var/lib/mysql"), incremental_lsn=None, replica=False, galera=False)
STOP = InterruptedByOperator(ErrorCode.INTERRUPTED, "stop", "hint")


def gone(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


def wait_for(process: EngineProcess, line: str) -> None:
    deadline = time.monotonic() + 20
    while line not in process.last_lines:
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_the_status_and_the_last_words_are_kept(tmp_path: Path) -> None:
    process = EngineProcess([str(script(tmp_path, "seq 1 50 >&2; printf 'no line break' >&2; exit 7"))])
    assert process.wait() == 7
    assert process.last_lines == (*map(str, range(32, 51)), "no line break")
    process.close()


def test_words_that_are_no_text_do_no_harm(tmp_path: Path) -> None:
    process = EngineProcess(
        [str(script(tmp_path, "printf '\\377\\n\\n   \\n' >&2; head -c 300000 /dev/zero | tr '\\0' x >&2"))]
    )
    assert process.wait() == 0
    replaced, long = process.last_lines
    assert replaced == "\ufffd"
    assert set(long) == {"x"}
    assert len(long) <= 1 << 16
    process.close()


def test_a_program_that_can_not_be_run_says_so(tmp_path: Path) -> None:
    process = EngineProcess([str(tmp_path / "nowhere")])
    assert process.wait() == 126
    assert process.last_lines == (f"can't run {tmp_path}/nowhere: No such file or directory",)
    process.close()


def test_a_kill_works_on_what_ignores_signals(tmp_path: Path) -> None:
    process = EngineProcess(
        [str(script(tmp_path, "trap '' TERM INT HUP; echo ready >&2; while :; do sleep 0.05; done"))]
    )
    wait_for(process, "ready")
    process.kill()
    process.kill()
    assert process.wait() == -signal.SIGKILL
    process.kill()
    process.close()
    assert gone(process.pid)


def test_bytes_pass_to_and_from_the_child_until_an_end_is_closed(tmp_path: Path) -> None:
    process = EngineProcess([str(script(tmp_path, "exec tr a b"))], stdin=True, stdout=True)
    writing = threading.Thread(target=_write_all, args=(process, b"a" * 5_000_000))
    writing.start()

    assert process.stdout.read() == b"b" * 5_000_000

    writing.join()
    assert process.wait() == 0
    process.close()


def _write_all(process: EngineProcess, data: bytes) -> None:
    with process.stdin as file, memoryview(data) as view:
        written = 0
        while written < len(data):
            written += file.write(view[written:])


def test_a_child_whose_reader_has_gone_ends(tmp_path: Path) -> None:
    process = EngineProcess([str(script(tmp_path, "exec cat /dev/zero"))], stdout=True)
    assert process.stdout.read(1)

    process.stdout.close()

    assert process.wait() != 0
    process.close()


def _write_without_end(extraction: StreamExtraction, data: bytes) -> None:
    while True:
        extraction.write(data)


@pytest.mark.parametrize("data", [b"x", bytes(1 << 20)], ids=["byte by byte", "much"])
def test_a_child_that_ends_before_it_has_read_all_is_noticed(tmp_path: Path, data: bytes) -> None:
    go = tmp_path / "go"
    process = EngineProcess(
        [str(script(tmp_path, f"until [ -e {go} ]; do sleep 0.01; done; echo no >&2; exit 3"))], stdin=True
    )
    os.set_blocking(process.stdin.fileno(), False)
    while process.stdin.write(data):
        pass
    os.set_blocking(process.stdin.fileno(), True)
    go.touch()

    with pytest.raises(EngineError) as caught:
        _write_without_end(StreamExtraction(process), data)

    assert caught.value.code is ErrorCode.EXTRACT_FAILED
    assert "status 3" in caught.value.message
    assert "no" in caught.value.message
    process.close()


def test_the_child_dies_with_the_thread_that_started_it(tmp_path: Path) -> None:
    started: list[EngineProcess] = []
    binary = script(tmp_path, "echo ready >&2; exec sleep 600")

    def start() -> None:
        started.append(EngineProcess([str(binary)]))
        wait_for(started[0], "ready")

    thread = threading.Thread(target=start)
    thread.start()
    thread.join()
    (process,) = started
    assert process.wait() == -signal.SIGKILL
    process.close()


def test_the_child_hears_no_secrets_and_no_terminal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BACKUP_AGENT_INSTANCE__PASSWORD", "secret")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    monkeypatch.setenv("LC_ALL", "C.UTF-8")
    process = EngineProcess([str(script(tmp_path, "env >&2"))])
    session = os.getsid(process.pid)
    process.wait()
    environment = dict(line.partition("=")[::2] for line in process.last_lines)
    assert "secret" not in environment.values()
    assert session == process.pid != os.getsid(0)
    process.close()


@pytest.mark.parametrize(
    ("says", "error", "code"),
    [
        ("Was only able to copy log from 1 to 2, not 3", EngineError, ErrorCode.ENGINE_REDO_OVERWRITTEN),
        ("Can't handle DDL", TakeAgainError, ErrorCode.DDL_DURING_BACKUP),
        ("Access denied for user", EngineError, ErrorCode.ENGINE_FAILED),
        ("something else", EngineError, ErrorCode.ENGINE_FAILED),
    ],
)
def test_a_failure_is_told_by_what_the_engine_said(
    tmp_path: Path, says: str, error: type[EngineError], code: ErrorCode
) -> None:
    binary = script(tmp_path, f'echo "{says}" >&2; seq 1 30 >&2; exit 1')
    with engine_of(tmp_path, binary).start(FULL) as run:
        run.stdout.read()
        with pytest.raises(error) as caught:
            run.finish()
    assert type(caught.value) is error
    assert caught.value.code is code
    assert "mariadb-backup ended with status 1" in caught.value.message
    assert (says in caught.value.message) == (says != "something else")
    assert caught.value.message.endswith("26 | 27 | 28 | 29 | 30")
    assert ("config check" in caught.value.hint) == ("denied" in says)


def test_leaving_a_run_ends_the_engine_and_removes_its_directory(tmp_path: Path) -> None:
    binary = script(tmp_path, "echo first; exec sleep 600")
    with engine_of(tmp_path, binary).start(FULL) as run:
        assert run.stdout.read(6) == b"first\n"
        assert (tmp_path / "work" / "lsn").is_dir()
    assert not (tmp_path / "work").exists()


def test_a_missing_engine_leaves_no_directory(tmp_path: Path) -> None:
    with pytest.raises(EngineError, match="is not installed"), engine_of(tmp_path, tmp_path / "no").start(FULL):
        pass
    assert not (tmp_path / "work").exists()


def test_a_cancelled_prepare_raises_its_reason(tmp_path: Path) -> None:
    binary = script(tmp_path, "exec sleep 600")
    cancellation = Cancellation()
    timer = threading.Timer(0.2, cancellation.cancel, [STOP])
    timer.start()
    with pytest.raises(InterruptedByOperator):
        engine_of(tmp_path, binary).prepare(tmp_path, None, last=True, cancellation=cancellation)
    timer.join()


@pytest.mark.parametrize("text", ["exit 0", "echo 'completed OK!' >&2; exit 1", "echo 'completed OK!'; exit 0"])
def test_a_prepare_is_judged_by_status_and_last_line(tmp_path: Path, text: str) -> None:
    with pytest.raises(EngineError) as caught:
        engine_of(tmp_path, script(tmp_path, text)).prepare(tmp_path, None, last=True, cancellation=Cancellation())
    assert caught.value.code is ErrorCode.PREPARE_FAILED


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("cat >/dev/null; echo 'mbstream: Can not create file: File exists' >&2; exit 0", "status 0.*File exists"),
        ("cat >/dev/null; exit 3", "status 3.*nothing on its stderr"),
        ("exec <&-; sleep 0.2; exit 0", "could not extract the stream .status 0.: nothing on its stderr"),
    ],
)
def test_an_extraction_is_judged_by_what_it_says(tmp_path: Path, text: str, words: str) -> None:
    def extract() -> None:
        with engine_of(tmp_path, script(tmp_path, text)).extract(tmp_path) as extraction:
            for _ in range(100):
                extraction.write(bytes(1 << 20))
            extraction.finish()

    with pytest.raises(EngineError, match=words) as caught:
        extract()
    assert caught.value.code is ErrorCode.EXTRACT_FAILED


def test_the_work_directory_is_private_and_made_afresh(tmp_path: Path) -> None:
    (tmp_path / "run" / "work" / "old").mkdir(parents=True)
    with WorkDir(tmp_path / "run" / "work") as work:
        assert [path.name for path in work.path.iterdir()] == ["lsn"]
        assert work.path.stat().st_mode & 0o777 == 0o700
        (work.lsn / "xtrabackup_checkpoints").touch()
    assert not work.path.exists()


def test_a_link_in_place_of_the_work_directory_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "precious").mkdir()
    (tmp_path / "precious" / "file").touch()
    (tmp_path / "work").symlink_to(tmp_path / "precious")
    with pytest.raises(EngineError, match="can't make the engine's temporary directory"), WorkDir(tmp_path / "work"):
        pass
    assert (tmp_path / "precious" / "file").exists()
