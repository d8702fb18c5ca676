"""Tokens of a real Keystone: the project is the account, a role makes an administrator."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from keystoneauth1.identity import v3
from keystoneauth1.session import Session

from tests.api.service import Api, Sections, User, get
from tests.api.test_requests import fault
from tests.servers.keystone import PrivateKeystone
from tests.servers.rabbitmq import PrivateRabbitMQ

pytestmark = pytest.mark.server


@pytest.fixture(scope="module")
def keystone(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PrivateKeystone]:
    with PrivateKeystone(tmp_path_factory.mktemp("keystone")) as keystone:
        yield keystone


@pytest.fixture(scope="module")
def api(broker: PrivateRabbitMQ, keystone: PrivateKeystone, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Api]:
    service = keystone.middleware
    section: dict[str, object] = {
        "auth_url": service["url"],
        "username": service["user"],
        "password": service["password"],
        "project_name": service["project"],
        "cache_s": 0.0,
    }
    extra: Sections = {"auth": {"kind": "keystone"}, "keystone": section, "http": {"workers": 1}}
    with Api(tmp_path_factory.mktemp("api"), broker.url, extra=extra) as api:
        yield api
        assert [line for line in api.log if line["level"] == "error"] == []
        assert service["password"] not in api.text


def login(keystone: PrivateKeystone, project_id: str, role: str = "member") -> str:
    """A token of a new user of the project."""
    options = keystone.add_user(project_id, role=role)
    auth = v3.Password(
        keystone.url, options.key, username=options.user, user_domain_id="default", project_id=project_id
    )
    session = Session(auth=auth)
    token = str(session.get_token())
    session.session.close()
    return token


def test_a_token_of_keystone_is_its_projects_until_it_is_revoked(api: Api, keystone: PrivateKeystone) -> None:
    project = keystone.add_project()
    user = User(api, login(keystone, project), project)
    backup = user.created(api.add_instance("shop", project))
    assert backup["project_id"] == project
    assert user.status(backup["id"]) == "NEW"
    other = get(f"{api.url}/v1.0/{keystone.add_project()}/backups", headers={"X-Auth-Token": user.token})
    assert fault(other) == (403, "forbidden")
    assert fault(user.http.get("/backups", params={"all_projects": "True"})) == (403, "forbidden")
    keystone.revoke(user.token)
    assert fault(user.http.get("/backups")) == (401, "unauthorized")
    user.http.close()


def test_the_admin_role_may_ask_for_all_projects(api: Api, keystone: PrivateKeystone) -> None:
    mine, theirs = keystone.add_project(), keystone.add_project()
    user = User(api, login(keystone, theirs), theirs)
    backup = user.created(api.add_instance("shop", theirs))
    admin = User(api, login(keystone, mine, role="admin"), mine)
    listed = admin.http.get("/backups", params={"all_projects": "True"}).json()["backups"]
    assert backup["id"] in [one["id"] for one in listed]
    user.http.close()
    admin.http.close()


@pytest.mark.parametrize("token", ["", "nonsense", "gAAAAA" + "x" * 200, "é"])
def test_what_is_no_token_is_unauthorized(api: Api, keystone: PrivateKeystone, token: str) -> None:
    project = keystone.add_project()
    answer = get(f"{api.url}/v1.0/{project}/backups", headers=[(b"X-Auth-Token", token.encode("latin-1"))])
    assert fault(answer) == (401, "unauthorized")
