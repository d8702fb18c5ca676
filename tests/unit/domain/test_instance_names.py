"""What is refused for its name by the agent and by the control plane, in the same words."""

from __future__ import annotations

import pytest
from pydantic import SecretStr

from backup_agent.domain.administration import Reserved, native_hash
from backup_agent.domain.instance_command import DatabaseName, NewDatabase, NewUser
from backup_agent.domain.instance_names import (
    database_refusal,
    new_databases_refusal,
    new_users_refusal,
    user_refusal,
)

OURS = Reserved(databases=frozenset({"operators"}), users=frozenset({"operator"}))
HASH = native_hash("a secret")


def user(name: str = "clerk", *databases: str, host: str = "%", password_hash: str | None = HASH) -> NewUser:
    granted = tuple(DatabaseName(name=one) for one in databases)
    return NewUser(name=name, host=host, password_hash=password_hash, databases=granted)


@pytest.mark.parametrize(
    ("databases", "why"),
    [
        ([NewDatabase(name="shop"), NewDatabase(name="Operators")], "the database 'Operators' is reserved"),
        ([NewDatabase(name="shop"), NewDatabase(name="shop")], "the database 'shop' is given twice"),
        ([NewDatabase(name="shop", character_set="a b")], "the character set 'a b' must be 1 to 64 letters"),
        ([NewDatabase(name="shop", collate="")], "the collation '' must be 1 to 64 letters"),
        ([NewDatabase(name="shop"), NewDatabase(name="blog", collate="utf8mb4_bin")], None),
    ],
)
def test_new_databases(databases: list[NewDatabase], why: str | None) -> None:
    refusal = new_databases_refusal(databases, OURS)
    assert refusal == why if why is None else (refusal or "").startswith(why)


@pytest.mark.parametrize(
    ("users", "why"),
    [
        ([user("operator")], "the user 'operator' is reserved"),
        ([user(host="a b")], "the host 'a b' must be"),
        ([user(), user(host="%")], "the user 'clerk' is given twice"),
        ([user(host="DB1"), user(host="db1")], "the user 'clerk' is given twice"),
        ([user("clerk", "shop", "sys")], "the database 'sys' is reserved"),
        ([user("clerk", "_" * 40)], f"the database '{'_' * 40}' is too long for a grant"),
        ([user(password_hash="*ABC")], "the password of user 'clerk' must be * and 40"),
        ([user(), user(host="10.0.0.1"), user("other", "shop")], None),
    ],
)
def test_new_users(users: list[NewUser], why: str | None) -> None:
    refusal = new_users_refusal(users, OURS)
    assert refusal == why if why is None else (refusal or "").startswith(why)


def test_a_password_is_never_repeated() -> None:
    planted = NewUser(name="clerk", password=SecretStr("Plant3d\n"))
    refusal = new_users_refusal([planted], OURS)
    assert refusal == "the password of user 'clerk' must not contain control characters"


def test_what_is_there_may_be_named_unless_it_is_reserved() -> None:
    assert database_refusal("it's", OURS) is None
    assert user_refusal("a@b", OURS) is None
    assert database_refusal("operators", OURS) == "the database 'operators' is reserved"
    assert user_refusal("root", OURS) == "the user 'root' is reserved"
