"""The password of a user that is made reaches the server, as a hash, and nothing else."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from backup_agent.domain.administration import native_hash
from tests.administered import administered_agent, answer, ask, create_administrator, do, fresh, refusal
from tests.daemon import Daemon, Platform
from tests.faults.agents import ConfinedAgent
from tests.faults.waiting import until
from tests.servers.mariadb import PrivateMariaDB
from tests.servers.rabbitmq import PrivateRabbitMQ

pytestmark = pytest.mark.server

PASSWORD = "Plant3d-Pa55word"
HASH = native_hash(PASSWORD)
PLANTED = re.compile(rf"Plant3d|{re.escape(HASH)}", re.IGNORECASE)


@pytest.fixture
def server(tmp_path: Path) -> Iterator[PrivateMariaDB]:
    logging = ["general-log=1", f"general-log-file={tmp_path / 'general.log'}"]
    with PrivateMariaDB(tmp_path / "server", extra_options=logging) as server:
        create_administrator(server)
        yield server


@pytest.fixture
def agent(tmp_path: Path, server: PrivateMariaDB, shared_rabbitmq: PrivateRabbitMQ) -> ConfinedAgent:
    return administered_agent(tmp_path / "agent", server, shared_rabbitmq.url, extra={"log": {"level": "debug"}})


def files(base: Path) -> str:
    """All of what lies below `base`, as text."""
    return "".join(path.read_bytes().decode("latin-1") for path in base.rglob("*") if path.is_file())


def test_a_password_leaves_no_trace(
    agent: ConfinedAgent, server: PrivateMariaDB, shared_rabbitmq: PrivateRabbitMQ, tmp_path: Path
) -> None:
    user, other = fresh("user"), fresh("other")
    planted = {"name": user, "password": PASSWORD}
    with Platform(shared_rabbitmq, agent) as platform, Daemon(agent) as daemon:
        daemon.await_ready()
        platform.await_queue()
        made = do(platform, agent, "create_users", users=[planted])
        by_hash = do(platform, agent, "create_users", users=[{"name": other, "password_hash": HASH}])
        again = do(platform, agent, "create_users", users=[planted])
        refused = do(platform, agent, "create_users", users=[{**planted, "name": "root"}])
        bad = do(platform, agent, "create_users", users=[{**planted, "password": f"{PASSWORD}\n"}])
        broken = json.dumps(ask(agent, "create_users", users=[{**planted, "hosts": "%"}])).encode()
        platform.dead_letters()  # whatever tests of other modules have left there
        platform.send(broken, broken[:-20])
        letters = []

        def both_are_buried() -> bool:
            letters.extend(platform.dead_letters())
            return len(letters) == 2

        until(both_are_buried, "the dead letters")
        processes = [psutil.Process(daemon.process.pid), *psutil.Process(daemon.process.pid).children(recursive=True)]
        for process in processes:
            assert not PLANTED.search(f"{process.cmdline()} {process.environ()}")
        told = str([made, by_hash, again, refused, bad])
        assert daemon.stop().status == 0
        log = daemon.text
    assert [one["status"] for one in (made, by_hash, again, refused, bad)] == ["DONE", "DONE", *["REJECTED"] * 3]
    assert refusal(bad) == ("REJECTED", "name_refused", 400)
    for name in (user, other):
        server.connect(name, PASSWORD).close()
    assert not PLANTED.search(log)
    assert not PLANTED.search(told)
    assert not PLANTED.search(str(letters))
    assert [(headers["x-code"], body) for headers, body in letters] == [("invalid_message", b"")] * 2
    assert not PLANTED.search(files(agent.base)), "journal, spool, temporary files"
    general = (tmp_path / "general.log").read_text("utf-8", "replace")
    binlog = b"".join(path.read_bytes() for path in server.datadir.glob("binlog.0*")).decode("latin-1")
    assert "CREATE USER" in general
    assert "CREATE USER" in binlog
    assert "Plant3d" not in general + binlog


def test_a_password_that_waits_in_the_journal_is_a_hash_there(
    agent: ConfinedAgent, server: PrivateMariaDB, shared_rabbitmq: PrivateRabbitMQ
) -> None:
    message = ask(agent, "create_users", users=[{"name": "waiting", "password": PASSWORD}])
    server.kill()
    agent.with_config('power = "systemd"', 'power = "none"')
    with Platform(shared_rabbitmq, agent) as platform, Daemon(agent) as daemon:
        daemon.await_ready()
        platform.await_queue()
        platform.send(message)
        assert refusal(answer(platform, message)) == ("FAILED", "database_unreachable", None)
        assert "Plant3d" not in files(agent.base) + daemon.text
        assert refusal(do(platform, agent, "restart")) == ("REJECTED", "administration_unavailable", 501)
    server.start()
