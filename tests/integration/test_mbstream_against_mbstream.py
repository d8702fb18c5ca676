"""The parser's verdicts and the stock tool's deeds, on written streams and on those of real backups.

Accepted must mean: `mbstream -x` ends with status 0, says nothing, and leaves exactly the files the parser lists.
Refused must mean: the tool complains, or the reason is one of those documented as stricter than the tool.
"""

from __future__ import annotations

import os
import subprocess
import tempfile
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from copy import deepcopy
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import pymysql
import pytest

from backup_agent.errors import TakeAgainError
from backup_agent.stream.mbstream import StreamParser
from backup_agent.stream.mbstream_refusal import NotExtractableError, Refusal
from tests.integration.mbstream_random import random_stream
from tests.servers.mariadb import PrivateMariaDB
from tests.unit.stream.records import INFO, boundaries, kinds
from tests.unit.stream.streams import EXTRACTABLE, INFO_SIZE, REFUSED

pytestmark = pytest.mark.server

RANDOM_STREAMS = 300
BACKUPS_UNDER_DDL = 50
"""At most: a few until one with renames and removals ends well. So many that chance decides nothing."""
BACKUPS_UNTIL_A_SEEK = 50
SMALL_FILES = frozenset({INFO, "xtrabackup_checkpoints", "backup-my.cnf", "d1/db.opt", "absent"})
NEVER_SILENT = {Refusal.PAYLOAD_TOO_LARGE, Refusal.CAPTURE_TOO_LARGE}
"""Stricter than the tool, but the examples would need more than a gibibyte, or are not about the tool."""


@dataclass(frozen=True)
class Extracted:
    """`files` also holds what was written beside the directory, by its relative path."""

    status: int
    said: str
    files: dict[str, int]

    @property
    def clean(self) -> bool:
        return self.status == 0 and not self.said


def extract(stream: bytes | Path, directory: Path) -> Extracted:
    directory.mkdir(parents=True)
    command = ["mbstream", "-x", "-C", str(directory)]
    if isinstance(stream, Path):
        with stream.open("rb") as source:
            done = subprocess.run(command, stdin=source, capture_output=True, timeout=120, check=False)
    else:
        done = subprocess.run(command, input=stream, capture_output=True, timeout=60, check=False)
    files = {
        os.path.relpath(Path(place) / name, directory): (Path(place) / name).stat().st_size
        for place, _, names in os.walk(directory.parent)
        for name in names
    }
    return Extracted(done.returncode, done.stderr.decode("utf-8", "replace"), files)


def extract_apart(stream: bytes) -> Extracted:
    with tempfile.TemporaryDirectory() as directory:
        return extract(stream, Path(directory) / "x")


def judge(stream: bytes | memoryview) -> dict[str, int] | Refusal:
    parser = StreamParser()
    try:
        parser.feed(stream)
        return {file.path: file.size for file in parser.finish()}
    except TakeAgainError as error:
        cause = error.__cause__
        assert isinstance(cause, NotExtractableError)
        return cause.refusal


def disagreement(verdict: dict[str, int] | Refusal, extracted: Extracted) -> str | None:
    if isinstance(verdict, dict):
        agreed = extracted.clean and extracted.files == verdict
    else:
        agreed = verdict.stricter or not extracted.clean
    return None if agreed else f"{verdict!r}, but {extracted}"


@pytest.mark.parametrize("name", EXTRACTABLE)
def test_the_tool_extracts_what_the_parser_accepts(name: str) -> None:
    extracted = extract_apart(EXTRACTABLE[name].stream)
    assert extracted == Extracted(0, "", {**EXTRACTABLE[name].files, INFO: INFO_SIZE})


@pytest.mark.parametrize("name", [name for name in REFUSED if not REFUSED[name].refusal.stricter])
def test_the_tool_complains_of_what_the_parser_refuses(name: str) -> None:
    assert not extract_apart(REFUSED[name].stream).clean


def test_the_reasons_stricter_than_the_tool_are_those_it_can_pass_over_in_silence() -> None:
    silent = {example.refusal for example in REFUSED.values() if extract_apart(example.stream).clean}
    assert silent == {refusal for refusal in Refusal if refusal.stricter} - NEVER_SILENT


def test_parser_and_tool_agree_on_random_streams() -> None:
    accepted, disagreements = 0, {}
    for seed in range(RANDOM_STREAMS):
        stream = random_stream(seed)
        verdict = judge(stream)
        accepted += isinstance(verdict, dict)
        if (wrong := disagreement(verdict, extract_apart(stream))) is not None:
            disagreements[seed] = wrong
    assert disagreements == {}
    assert RANDOM_STREAMS // 3 < accepted < RANDOM_STREAMS * 2 // 3


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PrivateMariaDB]:
    """With every kind of table, and Aria logs so small that a backup meets the change from one to the next."""
    options = {"aria-log-file-size": "8M", "innodb-data-file-path": "ibdata1:4M:autoextend"}
    with PrivateMariaDB(tmp_path_factory.mktemp("streamed"), extra_options=options) as server:
        server.execute(
            "CREATE DATABASE d1",
            "CREATE DATABASE `odd base`",
            "CREATE TABLE `odd base`.`t/x` (a INT) ENGINE=MyISAM",
            "CREATE TABLE d1.inno (a INT PRIMARY KEY, b TEXT) ENGINE=InnoDB",
            "CREATE TABLE d1.squeezed (a INT PRIMARY KEY, b TEXT) ENGINE=InnoDB PAGE_COMPRESSED=1",
            "CREATE TABLE d1.parts (a INT) ENGINE=InnoDB PARTITION BY HASH (a) PARTITIONS 3",
            "CREATE TABLE d1.my (a INT) ENGINE=MyISAM",
            "CREATE TABLE d1.csv (a INT NOT NULL) ENGINE=CSV",
            "CREATE TABLE d1.aria (a INT PRIMARY KEY AUTO_INCREMENT, b VARCHAR(2000)) ENGINE=Aria TRANSACTIONAL=1",
            "INSERT INTO d1.aria (b) VALUES ('first')",
            "USE d1",
            "INSERT INTO inno SELECT seq, REPEAT(MD5(seq), 20) FROM seq_1_to_5000",
            "INSERT INTO squeezed SELECT seq, REPEAT('a', 3000) FROM seq_1_to_500",
            "INSERT INTO my SELECT seq FROM seq_1_to_1000",
        )
        yield server


@dataclass(frozen=True)
class Backup:
    stream: Path
    succeeded: bool
    to_lsn: str


def back_up(server: PrivateMariaDB, directory: Path, *options: str) -> Backup:
    directory.mkdir(parents=True)
    stream = directory / "stream"
    command = ["mariadb-backup", f"--defaults-file={server.defaults_file}", "--backup", "--stream=mbstream"]
    command += ["--user=root", f"--socket={server.socket}", f"--extra-lsndir={directory / 'lsn'}", *options]
    with stream.open("wb") as sink:
        done = subprocess.run(command, stdout=sink, stderr=subprocess.PIPE, timeout=120, check=False)
    succeeded = done.returncode == 0 and done.stderr.rstrip().endswith(b"completed OK!")
    to_lsn = ""
    if succeeded:
        lines = (directory / "lsn" / "xtrabackup_checkpoints").read_text().splitlines()
        to_lsn = dict(line.split(" = ") for line in lines)["to_lsn"]
    return Backup(stream, succeeded, to_lsn)


@pytest.fixture(scope="module")
def full(server: PrivateMariaDB, tmp_path_factory: pytest.TempPathFactory) -> Backup:
    return back_up(server, tmp_path_factory.mktemp("full") / "backup")


@pytest.fixture(scope="module")
def incremental(server: PrivateMariaDB, full: Backup, tmp_path_factory: pytest.TempPathFactory) -> Backup:
    server.execute("UPDATE d1.inno SET b = 'changed' WHERE a % 100 = 0", "CREATE TABLE d1.later (a INT)")
    directory = tmp_path_factory.mktemp("incremental") / "backup"
    return back_up(server, directory, f"--incremental-lsn={full.to_lsn}", "--parallel=2", "--slave-info")


@pytest.mark.parametrize("kind", ["full", "incremental"])
def test_a_real_backup_is_accepted_with_the_files_the_tool_extracts(
    kind: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    backup: Backup = request.getfixturevalue(kind)
    assert backup.succeeded
    parser = StreamParser(capture=SMALL_FILES)
    with backup.stream.open("rb") as source:
        while piece := source.read(100_003):
            parser.feed(piece)
    files = {file.path: file.size for file in parser.finish()}
    extracted = extract(backup.stream, tmp_path / "base" / "x")
    assert extracted == Extracted(0, "", files)
    assert parser.captured == {
        name: (tmp_path / "base" / "x" / name).read_bytes() for name in SMALL_FILES if name in files
    }
    assert {"d1/my.MYD", "odd@0020base/t@002fx.MYI", "ib_logfile0"} <= set(files)
    assert ("ibdata1.delta" in files) == (kind == "incremental")


@pytest.mark.parametrize("kind", ["full", "incremental"])
def test_a_real_backup_cut_between_any_two_records_is_refused(kind: str, request: pytest.FixtureRequest) -> None:
    backup: Backup = request.getfixturevalue(kind)
    stream = memoryview(backup.stream.read_bytes())
    cuts = boundaries(stream)
    assert len(cuts) > 400
    assert stream[cuts[-1] + 14 :] == INFO.encode()
    parser = StreamParser()
    for start, stop in pairwise(cuts):
        parser.feed(stream[start:stop])
        with pytest.raises(TakeAgainError):
            deepcopy(parser).finish()


DDL = (
    "CREATE DATABASE IF NOT EXISTS {own}",
    "CREATE TABLE IF NOT EXISTS {own}.t (a INT PRIMARY KEY AUTO_INCREMENT, b VARCHAR(200)) ENGINE={engine}",
    "INSERT INTO {own}.t (b) SELECT REPEAT('z', 150) FROM d1.my LIMIT 200",
    "CREATE TABLE IF NOT EXISTS {own}.u LIKE {own}.t",
    "RENAME TABLE {own}.u TO {own}.s, {own}.t TO {own}.u, {own}.s TO {own}.t",
    "ALTER TABLE {own}.u FORCE, ALGORITHM=COPY",
    "RENAME TABLE {own}.u TO d1.moved_{engine}",
    "TRUNCATE TABLE {own}.t",
    "CREATE TABLE {own}.u LIKE {own}.t",
    "DROP TABLE d1.moved_{engine}",
    "RENAME TABLE {own}.t TO {own}.v",
    "DROP TABLE {own}.v",
    "DROP DATABASE {own}",
)


@contextmanager
def repeated(server: PrivateMariaDB, *loops: Sequence[str]) -> Iterator[None]:
    """Runs each loop of statements on a connection and thread of its own; what fails is passed over."""
    stop = threading.Event()

    def run(statements: Sequence[str]) -> None:
        with server.connect() as connection, connection.cursor() as cursor:
            while not stop.is_set():
                for statement in statements:
                    with suppress(pymysql.err.MySQLError):
                        cursor.execute(statement)

    threads = [threading.Thread(target=run, args=(statements,)) for statements in loops]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        stop.set()
        for thread in threads:
            thread.join()


def test_parser_and_tool_agree_on_backups_taken_under_ddl(server: PrivateMariaDB, tmp_path: Path) -> None:
    engines = ("InnoDB", "MyISAM", "Aria")
    loops = [[line.format(own=f"own_{engine}", engine=engine) for line in DDL] for engine in engines]
    seen: set[str] = set()
    disagreements: list[object] = []
    with repeated(server, *loops):
        for number in range(BACKUPS_UNDER_DDL):
            backup = back_up(server, tmp_path / str(number))
            stream = backup.stream.read_bytes()
            verdict = judge(stream)
            extracted = extract(backup.stream, tmp_path / f"{number}.base" / "x")
            if backup.succeeded:
                seen.update(kinds(stream))
                # Of a backup that ended well, none may be refused that the tool extracts without complaint.
                agreed = isinstance(verdict, Refusal) != extracted.clean and not disagreement(verdict, extracted)
            else:
                agreed = isinstance(verdict, Refusal)
            disagreements += [] if agreed else [(backup, verdict, extracted)]
            if {"D", "R"} <= seen:
                break
    assert disagreements == []
    assert seen >= {"D", "R"}


def test_a_backup_that_meets_a_new_aria_log_seeks_and_is_extractable(server: PrivateMariaDB, tmp_path: Path) -> None:
    server.execute("USE d1", "INSERT INTO aria (b) SELECT REPEAT('x', 1500) FROM my")
    with repeated(server, ["UPDATE d1.aria SET b = CONCAT(SUBSTR(b, 2), a % 10) LIMIT 50"]):
        for number in range(BACKUPS_UNTIL_A_SEEK):
            backup = back_up(server, tmp_path / str(number))
            assert backup.succeeded
            stream = backup.stream.read_bytes()
            if "S" in kinds(stream):
                break
        else:
            pytest.fail(f"none of {BACKUPS_UNTIL_A_SEEK} backups met a new Aria log")
    files = judge(stream)
    assert isinstance(files, dict)
    assert extract(backup.stream, tmp_path / "base" / "x") == Extracted(0, "", files)
