"""Messages as they may arrive: the good one is understood, everything else is refused with a reason, never a fault."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import pytest

from backup_agent.domain.command import BackupRequest, CancelBackup, CreateBackup, DeleteBackup
from backup_agent.errors import ErrorCode, RejectedError
from backup_agent.inbox.wire import LIMIT, Received, parse_command

ID = "61f12fef-edb1-4561-8122-e7c00ef26a82"
INSTANCE = "44b277eb-39be-4921-be31-3d61b43651d7"
PARENT = "a9832168-7541-4536-b8d9-a8a9b79cf1b4"
BACKUP: dict[str, Any] = {"id": ID, "name": "snapshot", "instance_id": INSTANCE, "account_id": "1234"}
MESSAGE: dict[str, Any] = {
    "specversion": "1.0",
    "id": "6f7c2a0e-6df1-4b3c-8c5f-0e2f0a4f6b11",
    "source": "urn:example:control-plane",
    "type": "backup.create",
    "dataschema": "urn:backup-agent:command:v1",
    "data": {"backup": BACKUP},
}


def body(message: dict[str, Any]) -> bytes:
    return json.dumps(message).encode()


def with_backup(**changes: Any) -> bytes:
    return body({**MESSAGE, "data": {"backup": {**BACKUP, **changes}}})


def without(*path: str) -> bytes:
    message = json.loads(body(MESSAGE))
    inner = message
    for key in path[:-1]:
        inner = inner[key]
    del inner[path[-1]]
    return body(message)


def asked(content: bytes) -> BackupRequest:
    command = parse_command(content).command
    assert isinstance(command, CreateBackup)
    return command.backup


def refusal(content: bytes) -> str:
    """The message of the error; what was received must not make it long."""
    with pytest.raises(RejectedError) as caught:
        parse_command(content)
    assert caught.value.code is ErrorCode.INVALID_MESSAGE
    assert "docs/messages.md" in caught.value.hint
    assert len(caught.value.message) < 2000
    return caught.value.message


def test_a_good_message_is_understood() -> None:
    known_by = f"{MESSAGE['source']} {MESSAGE['id']}"
    expected = Received(CreateBackup(backup=BackupRequest(**BACKUP)), None, "backup.create", known_by, MESSAGE["id"])
    assert parse_command(body(MESSAGE)) == expected
    full = {**BACKUP, "description": "My Backup", "parent_id": PARENT}
    assert parse_command(body({**MESSAGE, "data": {"backup": full, "container": "monthly"}})).command == CreateBackup(
        backup=BackupRequest(**BACKUP, description="My Backup", parent_id=PARENT), container="monthly"
    )
    assert asked(with_backup(incremental=True)).incremental


def test_a_cancellation_names_its_backup() -> None:
    message = {**MESSAGE, "type": "backup.cancel", "data": {"backup_id": ID}}
    assert parse_command(body(message)).command == CancelBackup(backup_id=ID)
    assert "data.backup_id: must be a UUID" in refusal(body({**message, "data": {"backup_id": "../x"}}))


def test_a_deletion_names_its_backup_and_the_account() -> None:
    message = {**MESSAGE, "type": "backup.delete", "data": {"backup_id": ID, "account_id": "1234"}}
    assert parse_command(body(message)).command == DeleteBackup(backup_id=ID, account_id="1234")
    assert "data.account_id: Field required" in refusal(body({**message, "data": {"backup_id": ID}}))
    assert "data.cascade: Extra inputs" in refusal(
        body({**message, "data": {"backup_id": ID, "account_id": "1", "cascade": True}})
    )


def test_a_command_may_expire() -> None:
    expires = parse_command(body({**MESSAGE, "expires": "2026-11-25T16:00:00+01:00"})).expires
    assert expires == datetime(2026, 11, 25, 15, tzinfo=UTC)


@pytest.mark.parametrize("expires", ["2026-11-25T16:00:00", "soon", 1764086400, True, "", {}])
def test_an_expiry_that_is_no_moment_is_refused(expires: object) -> None:
    assert "expires: " in refusal(body({**MESSAGE, "expires": expires}))


def test_the_standard_lets_the_envelope_have_more_attributes() -> None:
    extended = {
        **MESSAGE,
        "time": "2026-11-23T19:17:52Z",
        "subject": "x",
        "traceparent": "00-1",
        "datacontenttype": "application/json",
    }
    assert parse_command(body(extended)) == parse_command(body(MESSAGE))


def test_text_of_any_script_is_text() -> None:
    name = "s\u00e4kerhetskopia \u5099\u4efd \U0001f4be"
    assert asked(json.dumps(MESSAGE).replace("snapshot", name).encode()).name == name
    assert asked(with_backup(name=name)).name == name


@pytest.mark.parametrize("path", [("specversion",), ("id",), ("source",), ("type",), ("dataschema",), ("data",)])
def test_a_missing_attribute_is_named(path: tuple[str, ...]) -> None:
    assert f"{path[0]}: Field required" in refusal(without(*path))


@pytest.mark.parametrize("name", ["id", "name", "instance_id", "account_id"])
def test_a_missing_field_is_named_by_its_path(name: str) -> None:
    assert f"data.backup.{name}: Field required" in refusal(without("data", "backup", name))


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"specversion": "0.3"}, "specversion: Input should be '1.0'"),
        (
            {"type": "backup.destroy"},
            "its type is 'backup.destroy'; this program carries out backup.create, backup.cancel",
        ),
        ({"type": "x" * 100_000}, "its type is 'xxx"),
        ({"type": 7}, "type: Input should be a valid string"),
        ({"dataschema": "urn:backup-agent:command:v2"}, "dataschema: Input should be 'urn:backup-agent:command:v1'"),
        ({"datacontenttype": "text/xml"}, "datacontenttype: Input should be 'application/json'"),
        ({"data": "backup"}, "data: Input should be a valid dictionary"),
        ({"data": {}}, "data.backup: Field required"),
        ({"data": {"backup": BACKUP, "force": True}}, "data.force: Extra inputs are not permitted"),
        ({"data": {"backup": BACKUP, "container": "../x"}}, "data.container: String should match pattern"),
        ({"data": {"backup": BACKUP, "container": ""}}, "data.container: String should match pattern"),
    ],
)
def test_a_wrong_attribute_is_named(changes: dict[str, Any], words: str) -> None:
    assert words in refusal(body({**MESSAGE, **changes}))


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"size": 1}, "data.backup.size: Extra inputs are not permitted"),
        ({"id": "../x"}, "data.backup.id: must be a UUID in lower case"),
        ({"id": ID.upper()}, "data.backup.id: must be a UUID in lower case"),
        ({"id": f"{{{ID}}}"}, "data.backup.id: must be a UUID in lower case"),
        ({"id": f"{ID}\n"}, "data.backup.id: must be a UUID in lower case"),
        ({"id": None}, "data.backup.id: Input should be a valid string"),
        ({"id": 7}, "data.backup.id: Input should be a valid string"),
        ({"instance_id": "../../etc"}, "data.backup.instance_id: must be a UUID"),
        ({"account_id": "../x"}, "data.backup.account_id: String should match pattern"),
        ({"account_id": 1234}, "data.backup.account_id: Input should be a valid string"),
        ({"name": ""}, "data.backup.name: String should have at least 1 character"),
        ({"name": "n" * 65}, "data.backup.name: String should have at most 64 characters"),
        ({"name": "a\nb"}, "data.backup.name: must not contain control characters or line breaks"),
        ({"name": "a\u2028b"}, "data.backup.name: must not contain control characters or line breaks"),
        ({"name": "a\u0000b"}, "data.backup.name: must not contain control characters or line breaks"),
        ({"name": "\u0085a"}, "data.backup.name: must not contain control characters or line breaks"),
        ({"name": " . "}, "data.backup.name: must contain a letter or a digit"),
        ({"name": ["n"]}, "data.backup.name: Input should be a valid string"),
        ({"description": "d" * 513}, "data.backup.description: String should have at most 512 characters"),
        ({"description": "a\tb"}, "data.backup.description: must not contain control characters"),
        ({"incremental": 1}, "data.backup.incremental: Input should be a valid boolean"),
        ({"incremental": "yes"}, "data.backup.incremental: Input should be a valid boolean"),
        ({"parent_id": ""}, "data.backup.parent_id: must be a UUID"),
        ({"parent_id": ID}, "data.backup: a backup can't be its own parent"),
        ({"parent_id": PARENT, "incremental": True}, "data.backup: give either parent_id or incremental, not both"),
    ],
)
def test_a_wrong_field_is_named_by_its_path(changes: dict[str, Any], words: str) -> None:
    assert words in refusal(with_backup(**changes))


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"backup!",
        b"\x00",
        b"null ,",
        b'{"specversion": "1.0"',
        body(MESSAGE) + b"x",
        body(MESSAGE).replace(b"snapshot", b"snap\xffshot"),
        body(MESSAGE).replace(b"snapshot", b"snap\x00shot"),
        body(MESSAGE).decode().encode("utf-16"),
        b"\xef\xbb\xbf" + body(MESSAGE),
        b'{"specversion": ' + b"9" * 10_000 + b"}",
    ],
)
def test_what_is_no_json_in_utf_8_is_refused(content: bytes) -> None:
    assert "it is not JSON in UTF-8" in refusal(content)


@pytest.mark.parametrize("content", [b"null", b"[]", b"7", b'"text"', b"NaN", b"[[[[]]]]"])
def test_json_that_is_no_object_is_refused(content: bytes) -> None:
    assert "the message: Input should be a valid dictionary" in refusal(content)


def test_a_key_given_twice_is_refused() -> None:
    assert "it is not JSON in UTF-8" in refusal(body(MESSAGE).replace(b'"name"', b'"name": "other", "name"'))
    assert "it is not JSON in UTF-8" in refusal(body(MESSAGE)[:-1] + b', "data": {}}')


@pytest.mark.parametrize("place", [b'"snapshot"', b'"account_id"', b'"backup"', b'"1234"', b'"backup.create"'])
def test_half_a_character_is_refused(place: bytes) -> None:
    assert refusal(body(MESSAGE).replace(place, b'"\\ud800"'))


def test_a_message_may_have_a_mebibyte_and_no_more() -> None:
    padded = body({**MESSAGE, "padding": ""})
    fitting = padded.replace(b'"padding": "', b'"padding": "' + b"x" * (LIMIT - len(padded)))
    assert len(fitting) == LIMIT
    assert parse_command(fitting) == parse_command(body(MESSAGE))
    assert f"it has more than {LIMIT} bytes" in refusal(fitting + b" ")


@pytest.mark.parametrize("brackets", [b"[]", (b'{"a":', b"}")])
def test_deep_nesting_is_refused_at_any_depth(brackets: bytes | tuple[bytes, bytes]) -> None:
    opening, closing = (brackets[:1], brackets[1:]) if isinstance(brackets, bytes) else brackets
    for depth in (*range(1, 1100, 7), *range(920, 1000), 10_000, 100_000):
        nested = opening * depth + (b"1" if opening != b"[" else b"") + closing * depth
        refusal(nested)
        refusal(body(MESSAGE).replace(b'"snapshot"', nested))
        extended = body(MESSAGE)[:-1] + b', "extension": ' + nested + b"}"
        try:
            parse_command(extended)
        except RejectedError as error:
            assert "RecursionError" in error.message  # noqa: PT017 - up to some depth it is a good message


def test_a_hundred_thousand_wrong_fields_make_no_long_error() -> None:
    many = {f"field{number}": 1 for number in range(50_000)}
    assert "and 49990 more" in refusal(with_backup(**many))
    assert refusal(with_backup(**{"k" * 500_000: 1}))


def test_a_refusal_never_repeats_a_value() -> None:
    for name in BACKUP:
        assert "secret" not in refusal(with_backup(**{name: ["secret"]}))
        assert "secret\n" not in refusal(with_backup(**{name: "secret\n" * 30}))
