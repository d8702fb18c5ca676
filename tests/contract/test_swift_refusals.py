"""What a store in Swift makes of refusals: by the cluster, its limits and access lists; and of options."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from backup_agent.errors import ConfigError, ErrorCode, MissingError, TransientStoreError
from backup_agent.storage.swift import SwiftStore
from backup_agent.storage.swift_client import SwiftOptions
from tests.contract.line import KEY, LARGE, SMALL, failure
from tests.contract.swift_line import SwiftLine, noting, refused
from tests.servers.certificate import write_certificate
from tests.servers.faultproxy import FaultProxy
from tests.servers.mariadb import free_port

pytestmark = pytest.mark.server


@pytest.mark.parametrize(
    ("status", "code"),
    [
        (403, ErrorCode.STORE_DENIED),
        (413, ErrorCode.STORE_FULL),
        (507, ErrorCode.STORE_FULL),
        (301, ErrorCode.STORE_FAILED),
        (307, ErrorCode.STORE_FAILED),
        (400, ErrorCode.STORE_FAILED),
        (411, ErrorCode.STORE_FAILED),
        (412, ErrorCode.STORE_FAILED),
        (501, ErrorCode.STORE_FAILED),
    ],
)
def test_a_lasting_refusal_is_named_and_not_tried_again(swift_line: SwiftLine, status: int, code: ErrorCode) -> None:
    swift_line.proxy.otherwise = refused(status, Location=f"{swift_line.server.url}/elsewhere")
    store = swift_line.retrying()
    for request in (
        lambda: store.prepare("box"),
        lambda: store.put(KEY, LARGE),
        lambda: store.get(KEY, limit=1),
        lambda: list(store.list("box/")),
        lambda: store.delete(KEY),
    ):
        error = failure(request)
        assert error.code is code
        assert not isinstance(error, (TransientStoreError, MissingError))
        assert f"{swift_line.direct.url}/box" in error.message
        assert f"HTTP {status}" in error.message
    assert swift_line.retries == []


def test_a_container_that_is_deleted_under_the_store_is_missing(swift_line: SwiftLine) -> None:
    assert swift_line.ask("DELETE", "box") == 204

    for request in (
        lambda: swift_line.retrying().put(KEY, SMALL),
        lambda: swift_line.retrying().get(KEY, limit=1),
        lambda: swift_line.retrying().delete(KEY),
        lambda: list(swift_line.retrying().list("box/")),
        lambda: swift_line.store(swift_line.options(), create=False).prepare("box"),
    ):
        error = failure(request)
        assert error.code is ErrorCode.STORE_MISSING
        assert "store.create" in error.hint
    assert swift_line.retries == []


def test_a_quota_that_is_reached_is_a_full_store(swift_line: SwiftLine) -> None:
    assert swift_line.ask("PUT", "small", X_Container_Meta_Quota_Bytes="1500") == 201
    store = swift_line.retrying()
    store.put("small/a", SMALL)

    error = failure(lambda: store.put("small/b", LARGE))

    assert error.code is ErrorCode.STORE_FULL
    assert "quota" in error.message
    assert [entry.key for entry in swift_line.direct.list("small/")] == ["small/a"]
    store.delete("small/a")
    assert swift_line.ask("DELETE", "small") == 204
    assert swift_line.retries == []


def test_a_user_who_may_only_read_is_denied_the_rest(swift_line: SwiftLine) -> None:
    swift_line.direct.put(KEY, SMALL)
    assert swift_line.ask("POST", "box", X_Container_Read="test:reader") == 204
    reader = swift_line.store(swift_line.options(user="test:reader", key="reading"))

    reader.prepare("box")
    assert reader.get(KEY, limit=len(SMALL)) == SMALL
    assert [entry.key for entry in reader.list("box/")] == [KEY]
    for request in (
        lambda: reader.put(KEY, SMALL),
        lambda: reader.delete(KEY),
        lambda: reader.prepare("other"),
        lambda: list(reader.list("")),
    ):
        error = failure(request)
        assert error.code is ErrorCode.STORE_DENIED
        assert "an ACL" in error.hint


def test_without_an_account_in_the_url_the_store_is_where_the_login_leads(swift_line: SwiftLine) -> None:
    options = swift_line.options(user="test:tester", key="testing")
    own = SwiftStore(None, create=True, options=options)
    elsewhere = swift_line.server.url + f"/v1/{swift_line.account}"
    named = SwiftStore(None, create=True, options=replace(swift_line.options(), storage_url=elsewhere))

    own.prepare("box")
    own.put(KEY, SMALL)
    named.put(KEY, LARGE)

    assert own.url == "swift://"
    assert swift_line.store(swift_line.options(), "AUTH_test").get(KEY, limit=len(SMALL)) == SMALL
    assert swift_line.direct.get(KEY, limit=len(LARGE)) == LARGE
    own.close()
    named.close()


def test_an_account_can_only_take_the_place_of_another(swift_line: SwiftLine) -> None:
    for path in ("/swift/v1", "/v1/", ""):
        store = swift_line.store(swift_line.options(storage_url=f"{swift_line.server.url}{path}"))
        error = failure(lambda store=store: store.prepare("box"))  # type: ignore[misc]  # of a default
        assert error.code is ErrorCode.STORE_FAILED
        assert "names no account" in error.message
        assert "store.swift.storage_url" in error.hint


@pytest.mark.parametrize(("user", "key"), [("service:agent", "wrong"), ("nobody:here", "serving"), ("nobody", "x")])
def test_a_wrong_key_is_denied_with_a_hint_at_where_it_goes(swift_line: SwiftLine, user: str, key: str) -> None:
    store = swift_line.store(swift_line.options(user=user, key=key))

    error = failure(lambda: swift_line.retrying(store).prepare("box"))

    assert error.code is ErrorCode.STORE_DENIED
    assert "store.swift" in error.hint
    assert "auth/v1.0" in error.message
    assert swift_line.retries == []


def test_nobody_listening_is_unreachable(swift_line: SwiftLine) -> None:
    port = free_port()
    for options in (
        swift_line.options(auth_url=f"http://127.0.0.1:{port}/auth/v1.0"),
        swift_line.options(auth="v3", auth_url=f"http://127.0.0.1:{port}"),
        swift_line.options(storage_url=f"http://127.0.0.1:{port}/v1/AUTH_test"),
    ):
        error = failure(lambda options=options: swift_line.store(options).put(KEY, SMALL))  # type: ignore[misc]  # of a default
        assert isinstance(error, TransientStoreError)
        assert str(port) in error.message


def test_a_certificate_that_is_not_trusted_is_named_and_not_tried_again(swift_line: SwiftLine, tmp_path: Path) -> None:
    certificate = write_certificate(tmp_path / "certificate.pem")
    with FaultProxy(swift_line.server.port, certificate=certificate) as proxy:
        options = swift_line.options(url=proxy.url, storage_url=f"{proxy.url}/v1/{swift_line.account}")
        doubting = swift_line.store(options)
        keystone = swift_line.store(replace(options, auth="v3", auth_url=proxy.url))
        errors = [failure(lambda store=store: store.put(KEY, SMALL)) for store in (doubting, keystone)]  # type: ignore[misc]  # of a default
        trusting = swift_line.store(replace(options, ca_bundle=certificate))
        trusting.put(KEY, LARGE)
        assert trusting.get(KEY, limit=len(LARGE)) == LARGE
        trusting.close()

    for error in errors:
        assert error.code is ErrorCode.STORE_FAILED
        assert not isinstance(error, TransientStoreError)
        assert "store.swift.ca_bundle" in error.hint


def test_the_environment_names_the_proxy_and_netrc_is_not_read(
    swift_line: SwiftLine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "netrc").write_text("machine 127.0.0.1 login somebody password else\n")
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    monkeypatch.setenv("http_proxy", swift_line.proxy.url)
    for name in ("no_proxy", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
    heads: list[dict[str, str]] = []
    swift_line.proxy.otherwise = noting(heads)

    swift_line.store(swift_line.server.options()).put(KEY, SMALL)

    assert len(heads) == 2
    assert not any("authorization" in head for head in heads)


SECRET = "Plant3d"


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"auth_url": f"http://me:{SECRET}@127.0.0.1/v3"}, "auth_url holds credentials"),
        ({"storage_url": f"http://127.0.0.1/v1/x?key={SECRET}"}, "storage_url holds credentials"),
        ({"auth_url": "keystone.example.org"}, "auth_url is no http"),
        ({"auth_url": f"https://keystone:{SECRET}/v3"}, "auth_url can't be read"),
        ({"storage_url": "http://127.0.0.1/v1/AUTH_{tenant}"}, "storage_url has a placeholder"),
        ({"key": ""}, "key is missing"),
        ({"key": f"{SECRET}\n"}, "key begins or ends with a space"),
        ({"key": f"{SECRET}\x01{SECRET}"}, "key begins or ends with a space"),
        ({"ca_bundle": Path("/nowhere.pem")}, "ca_bundle /nowhere.pem is not a file"),
    ],
)
def test_options_that_can_not_be_used_are_found_before_the_first_request(
    changes: dict[str, object], words: str
) -> None:
    options = SwiftOptions(auth_url="http://127.0.0.1/v3", key=SECRET)
    store = SwiftStore(None, create=True, options=replace(options, **changes))  # type: ignore[arg-type]  # of several types

    with pytest.raises(ConfigError) as caught:
        store.prepare("box")

    assert words in caught.value.message
    assert SECRET not in f"{caught.value.message} {caught.value.hint} {options!r}"
