"""Which database users have SUPER, as far as our user may know: nobody kills their statements.

It may know with SELECT on mysql.global_priv, or with as little as READABLE on the view mysql.user, which shows no
password hashes.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

READABLE = "SELECT (User, Super_priv, is_role) ON mysql.user"
"""As GRANT names it."""
ACCOUNTS = (
    "SELECT User, Super_priv = 'Y', is_role = 'Y' FROM mysql.user",
    """
    SELECT User, JSON_VALUE(Priv, '$.access') & 32768 <> 0, COALESCE(JSON_VALUE(Priv, '$.is_role'), 0) <> 0
    FROM mysql.global_priv
    """,
)
"""Either gives an Account for each row; which one our user may ask is to be tried."""

_ANYBODY = ""
"""The name of anonymous accounts: anyone may be logged in as one."""


class Account(NamedTuple):
    user: str
    has_super: bool
    is_role: bool


def has_super(user: str, accounts: Iterable[Account]) -> bool | None:
    """None when that can't be told. The accounts of one name at several hosts count as one."""
    known = list(accounts)
    rows = [account for account in known if not account.is_role and account.user in {user, _ANYBODY}]
    if any(account.has_super for account in rows):
        return True
    # Which roles a session has switched on is not to be seen; nor is an account by which it logged in, when none fits.
    if not rows or any(account.has_super for account in known if account.is_role):
        return None
    return False
