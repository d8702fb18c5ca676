"""Identifiers are parts of paths: what is not one must not be taken for one."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import TypeAdapter, ValidationError

from backup_agent.domain.ids import AccountId, ContainerName, Uuid, is_uuid

GOOD = "61f12fef-edb1-4561-8122-e7c00ef26a82"


def accepts(kind: Any, text: str) -> bool:
    try:
        TypeAdapter(kind).validate_python(text)
    except ValidationError:
        return False
    return True


@pytest.mark.parametrize(
    "text",
    [
        "",
        GOOD[:-1],
        GOOD + "0",
        GOOD.upper(),
        GOOD.replace("-", ""),
        f"{{{GOOD}}}",
        f"urn:uuid:{GOOD}",
        GOOD + "\n",
        "\n" + GOOD,
        GOOD.replace("6", "\u0666"),
        GOOD.replace("-", "/"),
        "../" + GOOD[3:],
    ],
)
def test_only_the_canonical_form_is_a_uuid(text: str) -> None:
    assert not is_uuid(text)
    assert not accepts(Uuid, text)


def test_any_version_of_uuid_will_do() -> None:
    assert is_uuid(GOOD)
    assert accepts(Uuid, GOOD)
    assert accepts(Uuid, "00000000-0000-0000-0000-000000000000")


@pytest.mark.parametrize("text", ["1234", "a", "AUTH_test", "x" * 64, "a-b_c"])
def test_account_ids(text: str) -> None:
    assert accepts(AccountId, text)


@pytest.mark.parametrize("text", ["", ".", "..", "a/b", "a.b", "-a", "_a", "x" * 65, "a\n", "\u00e9", "a b", "a\0"])
def test_what_is_no_account_id(text: str) -> None:
    assert not accepts(AccountId, text)


@pytest.mark.parametrize("text", ["z_CLOUDDB_BACKUPS", "_x", "a.b-c", "x" * 255])
def test_container_names(text: str) -> None:
    assert accepts(ContainerName, text)


@pytest.mark.parametrize("text", ["", ".", "..", ".x", "a/b", "-a", "x" * 256, "a\n", "a b", "a\\b"])
def test_what_is_no_container_name(text: str) -> None:
    assert not accepts(ContainerName, text)
