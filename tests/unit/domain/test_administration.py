"""The names that databases, users and hosts may have, and how a password is kept."""

from __future__ import annotations

import pytest

from backup_agent.domain.administration import (
    Reserved,
    charset_fault,
    database_fault,
    grant_pattern,
    grantable,
    granted_database,
    hash_fault,
    host_fault,
    native_hash,
    password_fault,
    user_fault,
)

OURS = Reserved(databases=frozenset({"Inventory"}), users=frozenset({"backup_agent"}))


@pytest.mark.parametrize(
    "name", ["shop", "x", "n" * 64, "a_b", "50%", "sommer\u00e4pfel", "\u5099\u4efd", "a b", "a-b.c"]
)
def test_an_ordinary_name_is_a_database_s(name: str) -> None:
    assert database_fault(name, OURS, new=True) is None


@pytest.mark.parametrize(
    ("name", "fault"),
    [
        ("", "1 to 64 characters"),
        ("n" * 65, "1 to 64 characters"),
        (" a", "space"),
        ("a ", "space"),
        ("a\u00a0", "space"),
        ("a\0b", "NUL"),
        ("\U0001f4be", "emoji"),
        ("\ud800", "halves"),
        ("mysql", "reserved"),
        ("MySQL", "reserved"),
        ("sys", "reserved"),
        ("information_schema", "reserved"),
        ("Performance_Schema", "reserved"),
        ("lost+found", "reserved"),
        ("#mysql50#mysql", "reserved"),
        ("inventory", "reserved"),
        ("..", "not a name"),
    ],
)
def test_no_command_may_name_such_a_database(name: str, fault: str) -> None:
    assert fault in (database_fault(name, OURS, new=True) or "")
    if name != "..":
        assert fault in (database_fault(name, OURS, new=False) or "")


@pytest.mark.parametrize("name", ["a'b", 'a"b', "a`b", "a;b", "a,b", "a/b", "a\\b", "a\nb", "a\u2028b", "a\u200bb"])
def test_what_breaks_careless_programs_is_not_made_but_may_be_deleted(name: str) -> None:
    assert database_fault(name, OURS, new=True) is not None
    assert database_fault(name, OURS, new=False) is None
    assert user_fault(name, OURS, new=True) is not None
    assert user_fault(name, OURS, new=False) is None


@pytest.mark.parametrize("name", ["root", "ROOT", "mariadb.sys", "backup_agent", "PUBLIC", "current_user", ""])
def test_a_reserved_user_is_refused(name: str) -> None:
    assert user_fault(name, OURS, new=True)
    assert user_fault(name, OURS, new=False)


def test_a_user_has_up_to_eighty_characters_and_no_at() -> None:
    assert user_fault("u" * 80, OURS, new=True) is None
    assert "1 to 80" in (user_fault("u" * 81, OURS, new=True) or "")
    assert "@" in (user_fault("a@b", OURS, new=True) or "")


@pytest.mark.parametrize(
    "host",
    ["%", "localhost", "10.0.0.1", "10.%", "10.0.%.%", "10.0.0.0/255.255.255.0", "::1", "2001:db8::%",
     "db-1.example.org", "%.example.org"],
)  # fmt: skip
def test_addresses_and_names_are_hosts(host: str) -> None:
    assert host_fault(host) is None


@pytest.mark.parametrize(
    "host",
    ["", " ", "a b", "a_b", "10.0.0.1'", "%%", "-a", "a..b", "a@b", "h" * 61, "10.0.0.0/8", "\u00e4", "a\n", "a\0"],
)
def test_what_is_none_is_refused(host: str) -> None:
    assert host_fault(host)


@pytest.mark.parametrize(
    ("database", "pattern"), [("shop", "shop"), ("a_b", r"a\_b"), ("50%", r"50\%"), ("a\\b", r"a\\b"), ("\\_", r"\\\_")]
)
def test_a_grant_names_one_database_and_no_pattern(database: str, pattern: str) -> None:
    assert grant_pattern(database) == pattern
    assert granted_database(pattern) == database


@pytest.mark.parametrize("pattern", ["%", "shop%", r"a\\%"])
def test_a_pattern_of_many_is_no_database(pattern: str) -> None:
    assert granted_database(pattern) is None


def test_a_name_that_is_too_long_as_a_pattern_can_not_be_granted() -> None:
    assert grantable("_" * 32)
    assert not grantable("_" * 33)
    assert grantable("n" * 64)


def test_a_password_s_hash_is_the_server_s() -> None:
    assert native_hash("secret") == "*14E65567ABDB5135D0CFD9A70B3032C179A49EE7"
    assert hash_fault(native_hash("p\u00e4ss")) is None
    assert hash_fault("*14e65567ABDB5135D0CFD9A70B3032C179A49EE7")
    assert hash_fault("secret")


@pytest.mark.parametrize("password", ["", "a\0", "a\n", "p" * 257, "\ud800"])
def test_a_password_that_nobody_could_type_is_refused(password: str) -> None:
    assert password_fault(password)


def test_any_other_password_will_do() -> None:
    assert password_fault(" '\"`\\;, \U0001f511") is None


def test_a_character_set_is_a_word() -> None:
    assert charset_fault("utf8mb4") is None
    assert charset_fault("utf8mb4'; DROP")
    assert charset_fault("")
