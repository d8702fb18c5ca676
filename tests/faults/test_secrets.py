"""Passwords and keys reach the server and the store, and nothing else."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.faults.agents import SMALL_CHUNKS, ConfinedAgent, Running
from tests.faults.stalls import notes_are_written
from tests.faults.waiting import until
from tests.servers.mariadb import AGENT_PASSWORD, PrivateMariaDB, create_agent_user, free_port
from tests.servers.s3 import S3Server

pytestmark = pytest.mark.server

PASSWORD = "Plant3d-Pa55word"
SECRET_KEY = "Plant3d-S3cret-Key"
PLANTED = re.compile("Plant3d")
DEBUG = {**SMALL_CHUNKS, "log": {"level": "debug"}}


@pytest.fixture(scope="module")
def s3() -> Iterator[S3Server]:
    with S3Server() as server:
        yield server


@pytest.fixture(scope="module")
def user(shop: PrivateMariaDB) -> Iterator[str]:
    """A least-privilege user with the planted password."""
    create_agent_user(shop, "careful", PASSWORD)
    yield "careful"
    shop.execute("DROP USER careful@localhost, careful@127.0.0.1")


def with_secrets(base: Path, shop: PrivateMariaDB, user: str, port: int, **instance: object) -> ConfinedAgent:
    store: dict[str, Any] = {
        "retry_for_s": 1,
        "s3": {
            "endpoint_url": f"http://127.0.0.1:{port}",
            "region": "us-east-1",
            "access_key_id": "key-id",
            "secret_access_key": SECRET_KEY,
        },
    }
    extra = {**DEBUG, "store": store, "instance": instance}
    return ConfinedAgent(base, shop, store_url="s3://bucket", user=user, password=PASSWORD, extra=extra)


def family(pid: int) -> list[psutil.Process]:
    return [psutil.Process(pid), *psutil.Process(pid).children(recursive=True)]


def test_a_backup_and_a_restore_show_no_secret(tmp_path: Path, shop: PrivateMariaDB, s3: S3Server, user: str) -> None:
    agent = with_secrets(tmp_path / "agent", shop, user, s3.port)
    outcomes = [
        agent.run("config", "check"),
        agent.run("run-once", "--json"),
        agent.run("list", "--json"),
    ]
    (backup,) = outcomes[-1].json["backups"]
    outcomes += [
        agent.run("show", backup["id"]),
        agent.run("restore", backup["id"], "--target-dir", tmp_path / "target"),
    ]
    for outcome in outcomes:
        assert outcome.status == 0
        assert not PLANTED.search(outcome.stdout + outcome.stderr)
    for path in (tmp_path / "target").rglob("*"):
        assert not (path.is_file() and PLANTED.search(path.read_bytes().decode("latin-1")))


@pytest.mark.parametrize("given", ["in the file", "in the environment"])
def test_the_engine_gets_the_password_neither_by_argument_nor_by_environment(
    tmp_path: Path, shop: PrivateMariaDB, user: str, given: str
) -> None:
    agent = ConfinedAgent(tmp_path / "agent", shop, user=user, password=PASSWORD, extra=DEBUG)
    if given == "in the environment":
        agent.with_config(PASSWORD, "wrong")
        agent.environment["BACKUP_AGENT_INSTANCE__PASSWORD"] = PASSWORD
        agent.environment["AWS_SECRET_ACCESS_KEY"] = SECRET_KEY
    with notes_are_written(shop) as release, Running(agent, "run-once") as running:
        running.await_word("backup.progress", phase="blocking")
        until(agent.stored_files, "a chunk in the store")
        agent_process, *children = family(running.pid)
        assert children
        for process in (agent_process, *children):
            assert not PLANTED.search(" ".join(process.cmdline()))
        for child in children:
            assert not PLANTED.search(repr(child.environ()))
            assert "PATH" in child.environ()
        for path in (tmp_path / "agent").rglob("*"):
            if path.is_file() and path != agent.config_file:
                assert not PLANTED.search(path.read_bytes().decode("latin-1")), path
        release()
        outcome = running.end()
    assert outcome.status == 0
    assert not PLANTED.search(outcome.stdout + outcome.stderr)
    for name in agent.stored_files():
        assert not PLANTED.search((agent.store / name).read_bytes().decode("latin-1")), name


def test_no_failure_shows_a_secret(tmp_path: Path, shop: PrivateMariaDB, s3: S3Server, user: str) -> None:
    unreachable = with_secrets(tmp_path / "unreachable", shop, user, free_port())
    denied = with_secrets(tmp_path / "denied", shop, "nobody_here", s3.port)
    twice = with_secrets(tmp_path / "twice", shop, user, s3.port, password_file="/nowhere")
    in_url = ConfinedAgent(tmp_path / "url", shop, store_url=f"s3://key-id:{SECRET_KEY}@bucket", extra=DEBUG)
    misspelt = ConfinedAgent(tmp_path / "misspelt", shop, password=PASSWORD, extra={"instance": {"pasword": PASSWORD}})
    broken = ConfinedAgent(tmp_path / "broken", shop, password=PASSWORD)
    broken.with_config(f'password = "{PASSWORD}"', f'password = "{PASSWORD}')
    environment = ConfinedAgent(tmp_path / "environment", shop)
    environment.environment["BACKUP_AGENT_INSTANCE"] = f'{{"password": "{PASSWORD}"'
    refusing = ConfinedAgent(
        tmp_path / "refusing",
        shop,
        user=user,
        password=PASSWORD,
        extra={"engine": {"extra_args": ["--no-such-option"]}},
    )
    codes = []
    for agent in (unreachable, denied, twice, in_url, misspelt, broken, environment, refusing):
        for arguments in (("run-once",), ("config", "check")):
            outcome = agent.run(*arguments)
            assert not PLANTED.search(outcome.stdout + outcome.stderr), outcome
        codes.append(agent.run("run-once").error["code"])
    assert codes == [
        "store_unreachable",
        "database_denied",
        "config_invalid",
        "store_url",
        "config_invalid",
        "config_invalid",
        "config_invalid",
        "engine_failed",
    ]


def test_a_password_file_is_as_good(tmp_path: Path, shop: PrivateMariaDB) -> None:
    secret = tmp_path / "password"
    secret.write_text(f"{AGENT_PASSWORD}\n")
    agent = ConfinedAgent(tmp_path / "agent", shop)
    text = agent.config_file.read_text()
    agent.config_file.write_text(re.sub(r"(?m)^password = .*$", lambda _: f'password_file = "{secret}"', text))
    assert agent.backup()["status"] == "COMPLETED"
