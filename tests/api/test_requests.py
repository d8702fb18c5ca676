"""What a request is answered that can't be done: the right fault, and nothing else."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote

import httpx
import pytest

from tests.api.service import Api, User, get

pytestmark = pytest.mark.server
UNKNOWN = "61f12fef-edb1-4561-8122-e7c00ef26a82"
JSON = {"Content-Type": "application/json"}


def fault(answer: httpx.Response) -> tuple[int, str]:
    """Its status and name, after a look at its shape."""
    (name, details), *more = answer.json().items()
    assert not more
    assert details["code"] == answer.status_code
    assert "Traceback" not in answer.text
    assert answer.headers["X-OpenStack-Request-ID"].startswith("req-")
    return answer.status_code, name


def message(answer: httpx.Response) -> str:
    (details,) = answer.json().values()
    return str(details["message"])


@pytest.fixture(scope="module")
def known(api: Api) -> str:
    """An instance that no test of this module leaves busy."""
    return api.add_instance("known")


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"name": None}, "backup.name"),
        ({"name": ""}, "backup.name"),
        ({"name": "x" * 65}, "backup.name"),
        ({"name": 7}, "backup.name"),
        ({"name": ["a"]}, "backup.name"),
        ({"name": "..."}, "letter or a digit"),
        ({"name": "a\0b"}, "control characters"),
        ({"name": "\ud800"}, "backup.name"),
        ({"description": ""}, "backup.description"),
        ({"description": "x" * 513}, "backup.description"),
        ({"description": 1}, "backup.description"),
        ({"instance": "db1"}, "backup.instance"),
        ({"instance": 5}, "backup.instance"),
        ({"instance": {"id": UNKNOWN}}, "backup.instance"),
        ({"instance": "'; DROP TABLE backups; --"}, "backup.instance"),
        ({"parent_id": "newest"}, "backup.parent_id"),
        ({"parent_id": 1}, "backup.parent_id"),
        ({"incremental": 2}, "backup.incremental"),
        ({"incremental": "yes"}, "backup.incremental"),
        ({"incremental": None}, "backup.incremental"),
    ],
)
def test_a_backup_that_is_not_described_well_is_a_bad_request(
    user: User, known: str, fields: dict[str, Any], said: str
) -> None:
    body = json.dumps({"backup": {"name": "fine", "instance": known, **fields}})
    answer = user.http.post("/backups", content=body, headers=JSON)
    assert fault(answer) == (400, "badRequest")
    assert said in message(answer)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{}",
        b"[]",
        b"null",
        b'"backup"',
        b"{",
        b"\xff\xfe",
        b'{"backup": null}',
        b'{"backup": []}',
        b'{"backup": {}}',
        b'{"backup": {"name": "a", "name": "b"}}',
        b'{"backup": {"name": NaN}}',
        b"[" * 10_000,
        b'{"a": ' * 50 + b"1" + b"}" * 50,
        b'{"backup": ' + b"[" * 60_000,
        b"9" * 10_000,
    ],
)
def test_a_body_that_is_no_such_json_is_a_bad_request(user: User, body: bytes) -> None:
    assert fault(user.http.post("/backups", content=body, headers=JSON)) == (400, "badRequest")


def test_without_an_instance_it_says_so_as_trove_does(user: User) -> None:
    answer = user.http.post("/backups", json={"backup": {"name": "fine"}})
    assert "instance is missing." in message(answer)


def test_unknown_keys_are_ignored(user: User, known: str) -> None:
    answer = user.create(known, storage_driver="swift", incremental=1, nobody="knows")
    assert fault(answer) == (400, "badRequest")  # only because there is nothing yet to continue
    assert "no completed backup" in message(answer)


@pytest.mark.parametrize("kind", [None, "text/plain", "application/xml", "application/json; charset=latin-1", "\x80"])
def test_anything_but_json_is_a_bad_media_type(user: User, known: str, kind: str | None) -> None:
    body = json.dumps({"backup": {"name": "fine", "instance": known}}).encode()
    headers = {} if kind is None else {"Content-Type": kind.encode("latin-1")}
    answer = user.http.post("/backups", content=body, headers=headers)  # type: ignore[arg-type]
    assert fault(answer) == (415, "badMediaType")


def test_a_body_of_ten_megabytes_is_over_the_limit_however_it_comes(user: User) -> None:
    huge = b'{"backup": "' + b"x" * 10_000_000 + b'"}'
    assert fault(user.http.post("/backups", content=huge, headers=JSON)) == (413, "overLimit")

    def parts() -> Iterator[bytes]:
        for start in range(0, len(huge), 1 << 16):
            yield huge[start : start + (1 << 16)]

    try:
        answer = user.http.post("/backups", content=parts(), headers=JSON)
    except httpx.WriteError:
        return  # it was told before it had sent all
    assert fault(answer) == (413, "overLimit")


def test_an_instance_or_parent_that_is_not_there_is_not_found(user: User, known: str) -> None:
    answer = user.create(UNKNOWN)
    assert fault(answer) == (404, "itemNotFound")
    assert message(answer) == f"Resource {UNKNOWN} cannot be found."
    assert fault(user.create(known, parent_id=UNKNOWN)) == (404, "itemNotFound")


def test_a_datastore_that_has_no_backups_is_not_implemented(api: Api, user: User) -> None:
    instance = api.add_instance("cache", datastore="redis")
    assert fault(user.create(instance)) == (501, "notImplemented")


@pytest.mark.parametrize("token", [None, "", "wrong", "x" * 5000, "' OR 1=1 --", "\xe9\xff"])
def test_without_a_valid_token_nothing_below_an_account_is_told(api: Api, token: str | None) -> None:
    headers = {} if token is None else {"X-Auth-Token": token.encode("latin-1")}
    for path in ("backups", f"backups/{UNKNOWN}", "instances", "limits", "nowhere", ""):
        answer = get(f"{api.url}/v1.0/1234/{path}", headers=headers)
        assert fault(answer) == (401, "unauthorized")


def test_another_account_in_the_path_is_forbidden(api: Api, user: User) -> None:
    headers = {"X-Auth-Token": user.token}
    for account in ("4321", "1234x", "%34321", "..", "*", "1234%00"):
        answer = get(f"{api.url}/v1.0/{account}/backups", headers=headers)
        assert fault(answer) in ((403, "forbidden"), (404, "itemNotFound"))


def test_another_accounts_things_are_not_there(api: Api, user: User) -> None:
    other = User(api, api.add_token("4321"), "4321")
    instance = api.add_instance("theirs", "4321")
    backup = other.created(instance)
    for path in (f"/backups/{backup['id']}", f"/instances/{instance}", f"/instances/{instance}/backups"):
        assert fault(user.http.get(path)) == (404, "itemNotFound")
    assert fault(user.http.delete(f"/backups/{backup['id']}")) == (404, "itemNotFound")
    assert fault(user.create(instance)) == (404, "itemNotFound")
    assert user.http.get("/backups", params={"instance_id": instance}).json() == {"backups": []}
    assert other.backup(backup["id"]) is not None
    other.http.close()


def test_a_revoked_token_ends_at_once(api: Api) -> None:
    made = api.done("token", "add", "--account", "1234")["token"]
    url, headers = f"{api.url}/v1.0/1234/backups", {"X-Auth-Token": made["token"]}
    assert get(url, headers=headers).status_code == 200
    assert made["token"] not in (api.base / "tokens.json").read_text()
    api.done("token", "revoke", made["id"])
    assert fault(get(url, headers=headers)) == (401, "unauthorized")


@pytest.mark.parametrize("limit", ["0", "-1", "abc", "1e3", "٣", " 1", "", "9" * 2000, "1;DROP TABLE backups"])
def test_a_limit_that_is_no_number_from_one_up_is_a_bad_request(user: User, limit: str) -> None:
    for path in ("/backups", "/instances"):
        assert fault(user.http.get(path, params={"limit": limit})) == (400, "badRequest")


def test_a_huge_limit_is_the_largest_page(user: User) -> None:
    assert user.http.get("/backups", params={"limit": "99999999999999999999"}).status_code == 200


@pytest.mark.parametrize(
    "marker", ["x", UNKNOWN, "A" * 5000, "é", "\0", "MTIz", "OTk5OTk5OTk5OTk5OTk5OTk5LjYxZjEy", "' OR 1=1 --", ""]
)
def test_a_marker_that_no_list_has_given_is_a_bad_request(user: User, marker: str) -> None:
    for path in ("/backups", "/instances"):
        assert fault(user.http.get(path, params={"marker": marker})) == (400, "badRequest")


@pytest.mark.parametrize("nasty", ["' OR 1=1 --", "\0", "../../etc/passwd", "x" * 3000, "é🙂", "%", "*", "null"])
def test_hostile_text_in_any_field_of_a_query_finds_nothing(user: User, nasty: str) -> None:
    assert user.http.get("/backups", params={"datastore": nasty}).json() == {"backups": []}
    assert fault(user.http.get("/backups", params={"instance_id": nasty})) == (400, "badRequest")
    assert fault(user.http.get("/backups", params={"project_id": nasty})) == (403, "forbidden")
    assert fault(user.http.get(f"/backups/{quote(nasty, safe='')}")) == (404, "itemNotFound")
    assert fault(user.http.delete(f"/backups/{quote(nasty, safe='')}")) == (404, "itemNotFound")
    assert fault(user.http.get(f"/instances/{quote(nasty, safe='')}")) == (404, "itemNotFound")
    assert fault(user.http.get(f"/instances/{quote(nasty, safe='')}/backups")) == (404, "itemNotFound")


def test_an_id_that_is_no_uuid_is_not_found(user: User) -> None:
    answer = user.http.get("/backups/snapshot")
    assert (fault(answer), message(answer)) == ((404, "itemNotFound"), "Resource snapshot cannot be found.")


def test_only_administrators_may_ask_for_all_accounts(api: Api, user: User) -> None:
    assert fault(user.http.get("/backups", params={"all_projects": "True"})) == (403, "forbidden")
    assert fault(user.http.get("/backups", params={"all_projects": "perhaps"})) == (400, "badRequest")
    admin = User(api, api.add_token("ops", admin=True), "ops")
    theirs = User(api, api.add_token("9999"), "9999")
    backup = theirs.created(api.add_instance("theirs", "9999"))
    assert admin.http.get("/backups").json() == {"backups": []}
    shown = admin.http.get("/backups", params={"all_projects": "True"}).json()["backups"]
    assert backup["id"] in [one["id"] for one in shown]
    one = admin.http.get("/backups", params={"project_id": "9999"}).json()["backups"]
    assert [(found["id"], found["project_id"]) for found in one] == [(backup["id"], "9999")]
    assert admin.backup(backup["id"]) is not None
    admin.http.close()
    theirs.http.close()


@pytest.mark.parametrize(
    ("path", "allowed"),
    [
        ("/backups", "GET, POST"),
        (f"/backups/{UNKNOWN}", "DELETE, GET"),
        ("/instances", "GET"),
        (f"/instances/{UNKNOWN}", "DELETE, GET"),
        (f"/instances/{UNKNOWN}/databases", "GET, POST"),
        (f"/instances/{UNKNOWN}/databases/shop", "DELETE"),
        (f"/instances/{UNKNOWN}/users", "GET, POST"),
        (f"/instances/{UNKNOWN}/users/clerk%40%25", "DELETE"),
        (f"/instances/{UNKNOWN}/action", "POST"),
        (f"/instances/{UNKNOWN}/operations/{UNKNOWN}", "GET"),
        (f"/mgmt/instances/{UNKNOWN}/action", "POST"),
        ("/limits", "GET"),
    ],
)
def test_a_method_that_a_resource_does_not_have_is_a_bad_method(user: User, path: str, allowed: str) -> None:
    for method in ("PUT", "PATCH", "OPTIONS", "TRACE", "PROPFIND"):
        answer = user.http.request(method, path)
        assert fault(answer) == (405, "badMethod")
        assert answer.headers["Allow"] == allowed
    head = user.http.head(path)
    assert (head.status_code, head.content, head.headers["Allow"]) == (405, b"", allowed)


@pytest.mark.parametrize(
    "path",
    ["/nowhere", "/backups/", "/backups/a/b", "/../../../etc/passwd", "/..%2f..%2fetc%2fpasswd", "//", "/backups%00"],
)
def test_an_unknown_path_is_not_found(api: Api, user: User, path: str) -> None:
    answer = raw_get(api, f"/v1.0/1234{path}", user.token)
    assert answer.startswith(b"HTTP/1.1 404 ")
    assert b'{"itemNotFound":{"code":404,' in answer


def raw_get(api: Api, path: str, token: str) -> bytes:
    """Without a client that would tidy up the path."""
    host, port = api.url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), 60) as connection:
        head = f"GET {path} HTTP/1.1\r\nHost: x\r\nX-Auth-Token: {token}\r\nConnection: close\r\n\r\n"
        connection.sendall(head.encode())
        received = b""
        while part := connection.recv(4096):
            received += part
        return received


def test_the_versions_need_no_token(api: Api) -> None:
    version = get(f"{api.url}/").json()["versions"][0]
    assert (version["id"], version["status"]) == ("v1.0", "CURRENT")
    assert version["links"] == [{"rel": "self", "href": f"{api.url}/v1.0/"}]
    for path in ("/v1.0", "/v1.0/"):
        assert get(f"{api.url}{path}").json() == {"version": version}
    odd = get(f"{api.url}/", headers={"Host": 'evil"><script>'}).json()["versions"][0]
    assert odd["links"][0]["href"] == "http://localhost/v1.0/"


def test_a_request_keeps_the_id_that_it_came_with(user: User) -> None:
    given = "req-61f12fef-edb1-4561-8122-e7c00ef26a82"
    answer = user.http.get("/backups", headers={"X-OpenStack-Request-ID": given})
    assert answer.headers["X-OpenStack-Request-ID"] == given
    answer = user.http.get("/backups", headers={"X-OpenStack-Request-ID": "evil"})
    assert answer.headers["X-OpenStack-Request-ID"].startswith("req-")


def test_no_token_is_ever_logged(api: Api, user: User) -> None:
    assert user.http.get("/backups").status_code == 200
    assert user.token not in api.text


def test_the_page_for_people_and_the_document_for_programs_have_the_first_documentations_examples(api: Api) -> None:
    document = get(f"{api.url}/openapi.json").json()
    create = document["paths"]["/v1.0/{account_id}/backups"]["post"]
    assert create["requestBody"]["content"]["application/json"]["examples"]["full"]["value"] == {
        "backup": {
            "description": "My Backup",
            "instance": "d4603f69-ec7e-4e9b-803f-600b9205576f",
            "name": "snapshot",
        }
    }
    answered = create["responses"]["202"]["content"]["application/json"]["examples"]["full"]["value"]["backup"]
    assert answered["locationRef"] is None
    page = get(f"{api.url}/docs")
    assert page.headers["Content-Type"].startswith("text/html")
    assert "POST /v1.0/{account_id}/backups" in page.text
    assert "My Incremental Backup" in page.text
