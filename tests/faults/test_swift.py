"""A Swift that refuses, forgets its tokens or loses its container while a backup is written to it."""

from __future__ import annotations

from collections.abc import Iterator
from http import HTTPStatus
from pathlib import Path
from typing import Any

import pytest

from backup_agent.errors import ErrorCode, StoreError
from backup_agent.storage.swift import SwiftStore
from backup_agent.storage.swift_client import SwiftOptions
from tests.contract.swift_line import LOGIN
from tests.faults.agents import SMALL_CHUNKS, ConfinedAgent, Running
from tests.faults.outcomes import refused
from tests.faults.stalls import notes_are_written
from tests.faults.traces import nothing_left_behind
from tests.faults.waiting import until
from tests.servers.faultproxy import FaultProxy
from tests.servers.mariadb import PrivateMariaDB
from tests.servers.swift import PrivateSwift, new_account

pytestmark = pytest.mark.server

CONTAINER = "z_CLOUDDB_BACKUPS"
SECRET = "Plant3d-Swift-Key"


@pytest.fixture(scope="module")
def swift(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PrivateSwift]:
    with PrivateSwift(tmp_path_factory.mktemp("swift")) as server:
        yield server


@pytest.fixture
def account(swift: PrivateSwift) -> Iterator[SwiftStore]:
    """One of its own for each test, as the service user sees it."""
    store = SwiftStore(new_account(), create=True, options=swift.options())
    yield store
    store.close()


def on_swift(
    base: Path, server: PrivateMariaDB, account: SwiftStore, options: SwiftOptions, **swift: object
) -> ConfinedAgent:
    login = {"auth": "v1", "auth_url": options.auth_url, "user": options.user, "key": options.key, **swift}
    store: dict[str, Any] = {"retry_for_s": 5, "swift": {name: value for name, value in login.items() if value}}
    extra = {**SMALL_CHUNKS, "log": {"level": "debug"}, "store": store}
    return ConfinedAgent(base, server, store_url=account.url, extra=extra)


def chunks(account: SwiftStore) -> list[str]:
    """Whatever is stored so far; nothing while there is no container yet."""
    try:
        return [stored.key for stored in account.list(f"{CONTAINER}/")]
    except StoreError as error:
        if error.code is not ErrorCode.STORE_MISSING:
            raise
        return []


def remove_container(swift: PrivateSwift, account: SwiftStore) -> None:
    """With all that is in it; again, while something is just being written there."""
    path = f"{account.url.removeprefix('swift://')}/{CONTAINER}"

    def gone() -> bool:
        for key in chunks(account):
            account.delete(key)
        return swift.ask("DELETE", path) == HTTPStatus.NO_CONTENT

    until(gone, "a container without objects, and its end")


def test_a_wrong_key_is_told_with_what_to_look_at_and_asked_once(
    tmp_path: Path, shop: PrivateMariaDB, swift: PrivateSwift, account: SwiftStore
) -> None:
    with FaultProxy(swift.port) as proxy:
        agent = on_swift(tmp_path / "agent", shop, account, swift.options(url=proxy.url), key=SECRET)
        with nothing_left_behind(agent, shop):
            outcome = agent.run("run-once")
            refused(outcome, "store_denied", "store", "can't log in at", "/auth/v1.0", "HTTP 401")
        assert proxy.requests == [LOGIN]
        check = agent.run("config", "check", "--json")
    assert "store.swift" in outcome.error["hint"]
    (found,) = (finding for finding in check.json["checks"] if finding["subject"] == "store")
    assert (check.status, found["code"]) == (8, "store_denied")
    assert SECRET not in outcome.stderr + check.stdout + check.stderr


def test_a_container_that_may_not_be_made_is_missing(
    tmp_path: Path, shop: PrivateMariaDB, swift: PrivateSwift, account: SwiftStore
) -> None:
    agent = on_swift(tmp_path / "agent", shop, account, swift.options())
    agent.environment["BACKUP_AGENT_STORE__CREATE"] = "false"
    with nothing_left_behind(agent, shop):
        refused(agent.run("run-once"), "store_missing", "store", f"there is no container {CONTAINER}")
        refused(agent.run("list"), "store_missing", "store", f"there is no container {CONTAINER}")
    account.prepare(CONTAINER)
    assert agent.backup()["status"] == "COMPLETED"


def test_a_token_that_is_revoked_in_the_middle_is_replaced_and_not_felt(
    tmp_path: Path, shop: PrivateMariaDB, swift: PrivateSwift, account: SwiftStore
) -> None:
    with FaultProxy(swift.port) as proxy:
        agent = on_swift(tmp_path / "agent", shop, account, swift.options(url=proxy.url))
        with notes_are_written(shop) as release, Running(agent, "run-once", "--json") as running:
            until(lambda: len(chunks(account)) >= 2, "two chunks")
            swift.forget_tokens()
            release()
            outcome = running.end()
        assert outcome.status == 0, outcome.stderr
        assert outcome.json["backup"]["status"] == "COMPLETED"
        assert outcome.events("the store does not do as asked, trying again") == []
        assert proxy.requests.count(LOGIN) == 2
    assert "AUTH_tk" not in outcome.stderr


def test_a_container_that_is_removed_in_the_middle_fails_the_backup(
    tmp_path: Path, shop: PrivateMariaDB, swift: PrivateSwift, account: SwiftStore
) -> None:
    agent = on_swift(tmp_path / "agent", shop, account, swift.options())
    with (
        nothing_left_behind(agent, shop),
        notes_are_written(shop) as release,
        Running(agent, "run-once") as running,
    ):
        until(lambda: len(chunks(account)) >= 3, "three chunks")
        remove_container(swift, account)
        release()
        refused(running.end(), "store_missing", "store", f"there is no container {CONTAINER}")
    assert chunks(account) == []
    assert agent.backup()["status"] == "COMPLETED"
