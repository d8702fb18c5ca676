"""A platform as its users have it: Trove's own client, the API, a broker, an agent beside a MariaDB, and a Swift."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from keystoneauth1 import session, token_endpoint
from troveclient.apiclient import exceptions

from backup_agent.errors import ErrorCode, StoreError
from backup_agent.storage.swift import SwiftStore
from tests.agent import ACCOUNT, checksums
from tests.api.service import Api
from tests.daemon import Daemon, daemon_agent
from tests.e2e.judging import serving
from tests.faults.agents import ConfinedAgent
from tests.faults.conftest import CREATE_SHOP
from tests.faults.stalls import notes_are_written
from tests.faults.waiting import until
from tests.servers.mariadb import PrivateMariaDB, create_agent_user
from tests.servers.rabbitmq import PrivateRabbitMQ
from tests.servers.swift import KEY, PrivateSwift

pytestmark = pytest.mark.server

SERVICE_USER = "service:agent"
KILLPOINT = str(Path(__file__).parents[1] / "faults" / "killpoint.py")


@pytest.fixture(scope="module")
def swift(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PrivateSwift]:
    with PrivateSwift(tmp_path_factory.mktemp("swift")) as swift:
        yield swift


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PrivateMariaDB]:
    with PrivateMariaDB(tmp_path_factory.mktemp("mariadb")) as server:
        create_agent_user(server)
        server.execute(*CREATE_SHOP)
        yield server


@pytest.fixture(scope="module")
def api(shared_rabbitmq: PrivateRabbitMQ, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Api]:
    if not shared_rabbitmq.running:
        shared_rabbitmq.start()
    shared_rabbitmq.forget_topology()
    with Api(tmp_path_factory.mktemp("api"), shared_rabbitmq.url) as api:
        yield api
        assert [line for line in api.log if line["level"] in ("error", "warning")] == []


@dataclass(frozen=True)
class Platform:
    """What a user has: Trove's client, with a token."""

    api: Api
    swift: PrivateSwift
    token: str
    trove: Any

    def status(self, backup_id: str) -> str:
        return str(self.trove.backups.get(backup_id).status)

    def await_status(self, backup_id: str, *wanted: str) -> Any:
        until(lambda: self.status(backup_id) in wanted, f"the backup {' or '.join(wanted)}")
        return self.trove.backups.get(backup_id)

    def completed(self, name: str, agent: ConfinedAgent, **options: Any) -> Any:
        """A backup that the user asked for, when it has ended."""
        backup = self.trove.backups.create(name, agent.instance_id, **options)
        ended = self.await_status(backup.id, "COMPLETED", "FAILED")
        assert ended.status == "COMPLETED", ended.error
        return ended

    def is_gone(self, backup_id: str) -> bool:
        try:
            self.trove.backups.get(backup_id)
        except exceptions.NotFound:
            return True
        return False

    def stored(self, backup_id: str) -> list[str]:
        """Objects of a backup, in the account's own Swift."""
        store = SwiftStore(f"AUTH_{ACCOUNT}", create=False, options=self.swift.options())
        try:
            return [one.key for one in store.list("z_CLOUDDB_BACKUPS/") if f"/{backup_id}/" in one.key]
        except StoreError as error:
            if error.code is ErrorCode.STORE_MISSING:  # nobody has put anything there yet
                return []
            raise
        finally:
            store.close()

    def openstack(self, *words: str) -> Any:
        """What the command `openstack database ...` prints, as JSON."""
        done = subprocess.run(
            [Path(sys.executable).with_name("openstack"), "database", *words, "-f", "json"],
            env={
                **os.environ,
                "OS_AUTH_TYPE": "admin_token",
                "OS_ENDPOINT": f"{self.api.url}/v1.0/{ACCOUNT}",
                "OS_TOKEN": self.token,
                "HOME": str(self.api.base),
            },
            capture_output=True,
            timeout=120,
            check=False,
        )
        assert done.returncode == 0, done.stderr.decode()
        return json.loads(done.stdout)


@pytest.fixture(scope="module")
def platform(api: Api, swift: PrivateSwift) -> Platform:
    token = api.add_token()
    endpoint = token_endpoint.Token(f"{api.url}/v1.0/{ACCOUNT}", token)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # theirs
        from troveclient import client  # noqa: PLC0415 - it warns when it is imported

        return Platform(api, swift, token, client.Client("1.0", session=session.Session(auth=endpoint)))


@pytest.fixture(scope="module")
def new_agent(
    api: Api,
    swift: PrivateSwift,
    shop: PrivateMariaDB,
    shared_rabbitmq: PrivateRabbitMQ,
    tmp_path_factory: pytest.TempPathFactory,
) -> Callable[[], ConfinedAgent]:
    """Each is of an instance of its own, which is registered, and keeps its backups in the account's Swift."""

    def make() -> ConfinedAgent:
        base = tmp_path_factory.mktemp("agent")
        (base / "swift-key").write_text(f"{KEY}\n")
        login = {"auth": "v1", "auth_url": swift.options().auth_url, "user": SERVICE_USER}
        store = {"retry_for_s": 30, "swift": {**login, "key_file": str(base / "swift-key")}}
        agent = daemon_agent(
            base, shop, [shared_rabbitmq.url], extra={"store": store}, store_url="swift://AUTH_{account_id}"
        )
        api.add_instance("shop", instance_id=agent.instance_id)
        return agent

    return make


@pytest.fixture(scope="module")
def agent(new_agent: Callable[[], ConfinedAgent]) -> Iterator[ConfinedAgent]:
    """Its daemon runs."""
    agent = new_agent()
    with Daemon(agent) as daemon:
        daemon.await_ready()
        yield agent


@contextmanager
def in_the_middle(platform: Platform, agent: ConfinedAgent, shop: PrivateMariaDB, name: str) -> Iterator[Any]:
    """A full backup that stands still, with chunks in the store; it goes on when the context is left."""
    with notes_are_written(shop):
        backup = platform.trove.backups.create(name, agent.instance_id)
        assert backup.status == "NEW"
        platform.await_status(backup.id, "BUILDING")
        until(lambda: platform.stored(backup.id), "chunks in Swift")
        yield backup


@dataclass(frozen=True)
class Chain:
    full: str
    second: str
    third: str
    contents: dict[str, tuple[int, int | None]]
    """Of the database when the third was taken."""
    refusals: tuple[str, ...]
    """What was said while the full ran: to another create, and to its deletion."""


@pytest.fixture(scope="module")
def chain(platform: Platform, agent: ConfinedAgent, shop: PrivateMariaDB) -> Chain:
    trove = platform.trove
    with in_the_middle(platform, agent, shop, "sunday") as full:
        with pytest.raises(exceptions.UnprocessableEntity) as busy:
            trove.backups.create("too early", agent.instance_id)
        with pytest.raises(exceptions.UnprocessableEntity) as running:
            trove.backups.delete(full.id)
        assert platform.status(full.id) == "BUILDING"
        assert trove.instances.get(agent.instance_id).status == "BACKUP"
    platform.await_status(full.id, "COMPLETED")
    shop.execute("INSERT INTO shop.orders (what) SELECT 'monday' FROM mysql.seq_1_to_500")
    second = platform.completed("monday", agent, parent_id=full.id)
    shop.execute("DELETE FROM shop.orders WHERE id % 7 = 0", "INSERT INTO shop.notes (what) VALUES ('tuesday')")
    third = platform.completed("tuesday", agent, incremental=True)
    contents = checksums(shop, ["shop"])
    return Chain(full.id, second.id, third.id, contents, (str(busy.value), str(running.value)))


def test_a_running_backup_keeps_its_instance_and_can_not_be_deleted(chain: Chain) -> None:
    assert "instance status was BACKUP" in chain.refusals[0]
    assert "cannot be deleted because it is running" in chain.refusals[1]


def test_incrementals_know_their_parents_and_say_where_they_are(
    platform: Platform, chain: Chain, agent: ConfinedAgent
) -> None:
    known = {one["id"]: one for one in agent.run("list", "--json").json["backups"]}
    for backup_id, parent_id in ((chain.full, None), (chain.second, chain.full), (chain.third, chain.second)):
        shown = platform.trove.backups.get(backup_id)
        assert (shown.status, shown.parent_id, shown.instance_id) == ("COMPLETED", parent_id, agent.instance_id)
        assert (shown.progress, shown.error, shown.datastore["type"]) == (100, None, "mariadb")
        place = f"z_CLOUDDB_BACKUPS/{agent.instance_id}/{backup_id}/manifest.json"
        assert shown.locationRef == f"swift://AUTH_{ACCOUNT}/{place}"
        assert place in platform.stored(backup_id)
        assert (shown.checksum, shown.size) == (known[backup_id]["checksum"], known[backup_id]["size"])


def test_lists_have_pages_and_are_of_an_instance(platform: Platform, chain: Chain, agent: ConfinedAgent) -> None:
    newest_first = [one.id for one in platform.trove.instances.backups(agent.instance_id)]
    seen: list[str] = []
    marker: str | None = None
    while marker or not seen:
        page = platform.trove.backups.list(limit=2, marker=marker, instance_id=agent.instance_id, datastore="mariadb")
        assert 1 <= len(page) <= 2
        seen, marker = [*seen, *(one.id for one in page)], page.next
    assert seen == newest_first
    assert [one for one in seen if one in {chain.full, chain.second, chain.third}] == [
        chain.third,
        chain.second,
        chain.full,
    ]


def test_the_command_line_shows_a_backup_by_its_name(platform: Platform, chain: Chain) -> None:
    shown = platform.openstack("backup", "show", "monday")
    assert (shown["id"], shown["parent_id"], shown["status"]) == (chain.second, chain.full, "COMPLETED")


def test_what_was_made_through_the_api_restores(chain: Chain, agent: ConfinedAgent, tmp_path: Path) -> None:
    agent.restore(chain.third, tmp_path / "restored")
    with serving(tmp_path / "restored") as restored:
        assert checksums(restored, ["shop"]) == chain.contents


def test_deleted_with_its_children_a_backup_is_gone_from_swift_too(
    platform: Platform, chain: Chain, agent: ConfinedAgent
) -> None:
    full = platform.completed("to be deleted", agent)
    child = platform.completed("its child", agent, parent_id=full.id)
    assert platform.stored(full.id)
    platform.trove.backups.delete(full.id)
    for one in (full, child):
        until(partial(platform.is_gone, one.id), "the deletion")
        assert platform.stored(one.id) == []
    assert platform.stored(chain.full)
    assert platform.status(chain.third) == "COMPLETED"


def test_a_backup_whose_agent_was_killed_has_failed_when_the_agent_is_back(
    platform: Platform, new_agent: Callable[[], ConfinedAgent], shop: PrivateMariaDB
) -> None:
    agent = new_agent()
    with Daemon(agent) as first, in_the_middle(platform, agent, shop, "killed") as backup:
        first.kill()
        assert platform.status(backup.id) == "BUILDING"
        with pytest.raises(exceptions.UnprocessableEntity, match="instance status was BACKUP"):
            platform.trove.backups.create("too early", agent.instance_id)
    with Daemon(agent):
        failed = platform.await_status(backup.id, "FAILED", "COMPLETED")
        assert (failed.status, failed.error["code"]) == ("FAILED", "interrupted")
        assert platform.stored(backup.id) == []
        platform.completed("the next", agent)


def test_a_backup_that_was_whole_when_its_agent_was_killed_has_completed(
    platform: Platform, new_agent: Callable[[], ConfinedAgent], shop: PrivateMariaDB, tmp_path: Path
) -> None:
    agent = new_agent()
    with Daemon(agent, prefix=[KILLPOINT, "the manifest is in Swift", str(tmp_path / "killed")]) as first:
        with in_the_middle(platform, agent, shop, "whole") as backup:
            pass  # it has told that it began
        assert first.end().status == -9, first.text
    assert platform.status(backup.id) == "BUILDING"
    with Daemon(agent):
        completed = platform.await_status(backup.id, "FAILED", "COMPLETED")
    assert (completed.status, completed.progress) == ("COMPLETED", 100)
    assert f"{agent.instance_id}/{backup.id}/manifest.json" in completed.locationRef
