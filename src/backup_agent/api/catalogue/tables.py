"""The tables. What makes them is in `migrations`; a test holds both to be the same.

Times are microseconds since 1970 (UTC) in all databases: exact, so that they can order pages.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Dialect,
    Double,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    Text,
    TypeDecorator,
)
from sqlalchemy.dialects.mysql import MEDIUMTEXT

from backup_agent.domain.state import State

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
UUID_LENGTH = 36
ACCOUNT_LENGTH = 64

metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "fk": "fk_%(table_name)s_%(column_0_name)s",
        "pk": "pk_%(table_name)s",
    }
)


class Moment(TypeDecorator[datetime]):
    """A time with its zone."""

    impl = BigInteger
    cache_ok = True

    def bind_processor(self, dialect: Dialect) -> Callable[[datetime | None], int | None]:
        del dialect
        return lambda value: None if value is None else to_microseconds(value)

    def result_processor(self, dialect: Dialect, coltype: object) -> Callable[[int | None], datetime | None]:
        del dialect, coltype
        return lambda value: None if value is None else from_microseconds(value)


class Status(TypeDecorator[State]):
    """A state of a backup, by its name."""

    impl = String(16)
    cache_ok = True

    def bind_processor(self, dialect: Dialect) -> Callable[[State | None], str | None]:
        del dialect
        return lambda value: None if value is None else value.value

    def result_processor(self, dialect: Dialect, coltype: object) -> Callable[[str | None], State | None]:
        del dialect, coltype
        return lambda value: None if value is None else _STATES[value]


_STATES = {state.value: state for state in State}


def to_microseconds(moment: datetime) -> int:
    return (moment - _EPOCH) // _MICROSECOND


def from_microseconds(value: int) -> datetime:
    """Raises OverflowError when there is no such time."""
    return _EPOCH + value * _MICROSECOND


_OPTIONS: dict[str, Any] = {"mysql_charset": "utf8mb4", "mariadb_charset": "utf8mb4"}


def _id(*arguments: ForeignKey, primary: bool = False, nullable: bool = False, name: str = "id") -> Column[str]:
    # Ids are ASCII, and what is not the same is another id: MariaDB would compare without regard to case.
    kind = String(UUID_LENGTH).with_variant(String(UUID_LENGTH, collation="ascii_bin"), "mysql", "mariadb")
    return Column(name, kind, *arguments, primary_key=primary, nullable=nullable)


def _account(*arguments: ForeignKey, primary: bool = False, name: str = "account_id") -> Column[str]:
    kind = String(ACCOUNT_LENGTH).with_variant(String(ACCOUNT_LENGTH, collation="ascii_bin"), "mysql", "mariadb")
    return Column(name, kind, *arguments, primary_key=primary, nullable=False)


accounts = Table(
    "accounts",
    metadata,
    _account(primary=True, name="id"),
    Column("created", Moment, nullable=False),
    **_OPTIONS,
)
"""Each is a row to lock: what is decided by what an account has is decided one request at a time."""

instances = Table(
    "instances",
    metadata,
    _id(primary=True),
    _account(ForeignKey("accounts.id")),
    Column("name", String(255), nullable=False),
    Column("datastore_type", String(64), nullable=False),
    Column("datastore_version", String(64)),
    Column("created", Moment, nullable=False),
    Column("removed", Moment),
    Column("heard", Moment),
    Column("agent_version", String(64)),
    Column("server_version", String(128)),
    Column("engine_version", String(128)),
    Column("stopped", Moment),
    Index(None, "account_id", "created", "id"),
    **_OPTIONS,
)
"""`removed`: no longer there for users; kept, for its backups and their late events. `heard`: its agent's last word.
`stopped`: when its server was stopped as a user asked, by its agent's clock; null when that has seen it run since.
"""

backups = Table(
    "backups",
    metadata,
    _id(primary=True),
    _account(ForeignKey("accounts.id")),
    _id(ForeignKey("instances.id"), name="instance_id"),
    _id(name="active_instance", nullable=True),
    _id(name="parent_id", nullable=True),
    Column("name", String(64), nullable=False),
    Column("description", String(512)),
    Column("status", Status, nullable=False),
    Column("former_status", Status),
    Column("created", Moment, nullable=False),
    Column("updated", Moment, nullable=False),
    Column("heard", Moment, nullable=False),
    Column("sequence", BigInteger, nullable=False),
    Column("told", Moment),
    Column("phase", String(16)),
    Column("progress", Integer, nullable=False),
    Column("size", Double),
    Column("location", Text),
    Column("checksum", String(128)),
    Column("datastore_type", String(64)),
    Column("datastore_version", String(64)),
    Column("datastore_version_id", String(128)),
    Column("error_code", String(64)),
    Column("error_message", Text),
    Column("error_hint", Text),
    Column("verified", Moment),
    Index("uq_backups_active_instance", "active_instance", unique=True),
    Index(None, "account_id", "created", "id"),
    Index(None, "instance_id", "created", "id"),
    Index(None, "created", "id"),
    Index(None, "parent_id"),
    Index(None, "status"),
    **_OPTIONS,
)
"""`active_instance` is the instance's id while the backup is NEW or BUILDING, and else null: its unique index lets an
instance have one such backup. `former_status` is what DELETING shows as, and what a refused deletion has left.
`sequence` and `told` are the last event's number and time, `heard` is when anything was heard of the backup. What an
event of progress changes is in no index: PostgreSQL would write to all of them for it. Deleted backups are not here.
"""

tombstones = Table(
    "tombstones",
    metadata,
    _id(primary=True),
    _id(name="instance_id"),
    Column("deleted", Moment, nullable=False),
    Index(None, "deleted"),
    **_OPTIONS,
)
"""Backups that were deleted: a late event must not bring them back."""

outbox = Table(
    "outbox",
    metadata,
    Column("id", BigInteger().with_variant(Integer, "sqlite"), primary_key=True, autoincrement=True),
    _id(name="instance_id"),
    _id(name="backup_id"),
    Column("type", String(32), nullable=False),
    Column("message_id", String(36), nullable=False),
    Column("body", LargeBinary, nullable=False),
    Column("created", Moment, nullable=False),
    Index(None, "backup_id"),
    sqlite_autoincrement=True,
    **_OPTIONS,
)
"""Commands that the broker has not confirmed yet, oldest first. No number is given twice. `backup_id` is that of the
backup, or of the operation, that the command is about.
"""

operations = Table(
    "operations",
    metadata,
    _id(primary=True),
    _account(ForeignKey("accounts.id")),
    _id(ForeignKey("instances.id"), name="instance_id"),
    Column("command", String(32), nullable=False),
    Column("status", String(16), nullable=False),
    Column("asked", Moment, nullable=False),
    Column("finished", Moment),
    Column("result", Text().with_variant(MEDIUMTEXT(), "mysql", "mariadb")),
    Column("error_code", String(64)),
    Column("error_message", Text),
    Column("error_hint", Text),
    Column("error_status", Integer),
    _id(name="backup_id", nullable=True),
    Index(None, "instance_id", "status"),
    Index(None, "status", "asked"),
    **_OPTIONS,
)
"""What users have asked of instances, and what the agents have answered; forgotten after a while. `id` is that of the
command's message, `result` is JSON, `backup_id` the backup that it was rejected for.
"""

relay = Table(
    "relay",
    metadata,
    Column("name", String(64), primary_key=True),
    Column("connected", Boolean, nullable=False),
    Column("seen", Moment, nullable=False),
    Column("beat", Moment, nullable=False),
    **_OPTIONS,
)
"""Of each relay: whether it has a connection to the broker, when it last had one, and when it last wrote this."""
