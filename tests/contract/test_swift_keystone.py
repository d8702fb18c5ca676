"""A store in a Swift whose users are Keystone's."""

from __future__ import annotations

from dataclasses import replace

import pytest

from backup_agent.errors import ErrorCode, StoreError, TransientStoreError
from backup_agent.storage.swift import SwiftStore
from backup_agent.storage.swift_client import SwiftOptions, open_session
from backup_agent.storage.swift_login import login_of
from tests.contract.line import KEY, SMALL
from tests.contract.swift_line import noting
from tests.servers.faultproxy import FaultProxy
from tests.servers.keystone import TOKEN_LIFE
from tests.servers.swift import Cloud, new_account

pytestmark = pytest.mark.server


def log_in(store: SwiftStore) -> StoreError | None:
    try:
        store.prepare("box")
    except StoreError as error:
        return error
    finally:
        store.close()
    return None


def test_keystone_lets_in_by_password_and_by_application_credential(cloud: Cloud) -> None:
    credential = cloud.keystone.application_credential(cloud.member)
    project = f"AUTH_{cloud.project_id}"
    for number, (account, options) in enumerate(
        [
            (None, replace(cloud.member, region="RegionOne", auth_url=cloud.keystone.url.removesuffix("/v3"))),
            (None, credential),
            (project, cloud.keeper),
        ]
    ):
        store = SwiftStore(account, create=True, options=options)
        store.prepare("box")
        store.put(f"box/{number}", b"x")
        assert len(list(store.list("box/"))) == number + 1
        store.close()


def test_keystone_says_who_is_not_let_in_and_what_is_not_there(cloud: Cloud) -> None:
    credential = cloud.keystone.application_credential(cloud.member)
    cases: list[tuple[SwiftOptions, ErrorCode, str]] = [
        (replace(cloud.member, key="wrong"), ErrorCode.STORE_DENIED, "store.swift"),
        (replace(credential, key="wrong"), ErrorCode.STORE_DENIED, "application credential"),
        (replace(cloud.member, project_id=None, project="nowhere"), ErrorCode.STORE_DENIED, "project"),
        (replace(cloud.member, region="Mars"), ErrorCode.STORE_FAILED, "region"),
        (replace(cloud.member, interface="admin"), ErrorCode.STORE_FAILED, "interface"),
        (replace(cloud.member, auth_url=cloud.swift.url), ErrorCode.STORE_FAILED, "store.swift.auth_url"),
    ]
    for options, code, hint in cases:
        error = log_in(SwiftStore(None, create=True, options=options))
        assert error is not None
        assert (error.code, isinstance(error, TransientStoreError)) == (code, False)
        assert hint in error.hint
        assert cloud.member.key not in error.message
    stranger = log_in(SwiftStore(new_account(), create=True, options=cloud.member))
    assert stranger is not None
    assert stranger.code is ErrorCode.STORE_DENIED


def test_a_token_that_keystone_revokes_is_replaced(cloud: Cloud) -> None:
    with FaultProxy(cloud.swift.port) as proxy:
        heads: list[dict[str, str]] = []
        proxy.otherwise = noting(heads)
        options = replace(cloud.member, storage_url=f"{proxy.url}/v1/AUTH_{cloud.project_id}")
        store = SwiftStore(None, create=True, options=options)
        store.prepare("box")
        cloud.keystone.revoke(heads[-1]["x-auth-token"])
        cloud.swift.forget_tokens()

        store.put(KEY, SMALL)

        assert store.get(KEY, limit=len(SMALL)) == SMALL
        store.close()
    assert len({head["x-auth-token"] for head in heads}) == 2


def test_how_long_a_token_is_good_is_told_by_keystones_own_clock(cloud: Cloud) -> None:
    with open_session(cloud.member) as session:
        login = login_of(cloud.member, session)()

    assert login.lifetime == TOKEN_LIFE
    assert login.storage_url == f"{cloud.swift.url}/v1/AUTH_{cloud.project_id}"
    assert login.token not in repr(login)
