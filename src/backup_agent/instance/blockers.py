"""Who makes a backup's locks wait: connections that hold what of the server's backup lock the engine asks for.

The plugin METADATA_LOCK_INFO, where it is installed, tells exactly who holds what. Without it the texts of the running
statements tell most of it; not that a sleeping session has locked tables, nor what a view, a stored function or an
event of row-based replication writes. Judges what it is shown; `blocker_search` asks the server.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import NamedTuple

from backup_agent.instance.statement_text import shown
from backup_agent.instance.statements import Effect, Holds, TableName, read_statement

_REPLICATION = ("Binlog Dump", "Slave_")
_SYSTEM_USERS = frozenset({"system user", "event_scheduler"})
_SYSTEM_COMMANDS = frozenset({"Daemon", "Delayed insert"})

_VICTIM = "Waiting for backup lock"
_METADATA = "Waiting for table metadata lock"
_FLUSHED = "Waiting for table flush"

_BACKUP_LOCK = "Backup lock"
_IN_THE_WAY = frozenset({"MDL_BACKUP_DML", "MDL_BACKUP_DDL"})
_TABLE_LOCK = "Table metadata lock"
_LOCKED_TABLES = "MDL_SHARED_NO_READ_WRITE"
_CHANGING = frozenset(
    {"MDL_SHARED_WRITE", "MDL_SHARED_UPGRADABLE", "MDL_SHARED_NO_WRITE", "MDL_EXCLUSIVE", _LOCKED_TABLES}
)
_NAMED_TABLES = 3


@dataclass(frozen=True, slots=True)
class Blocker:
    """A connection that makes a backup's locks wait, or would."""

    id: int
    """The connection's."""
    query_id: int
    user: str
    """As the server shows it: while a stored routine, trigger or event runs, its definer."""
    host: str
    age_s: float
    """How long its statement has run; of an idle connection, how long it has been idle."""
    statement: str
    """In one line, at most 200 characters, passwords blanked; '' when idle."""
    why: str
    """`writes shop.sessions (MyISAM)`."""
    protected: str | None
    """Why it must not be killed; None when KILL QUERY is allowed."""

    def __str__(self) -> str:
        what = self.statement or "idle"
        return f"connection {self.id} of {self.user}@{self.host}, {self.age_s:.1f} s: {what} ({self.why})"


class Connection(NamedTuple):
    """A row of the process list. `age_s` is of the statement or of the idleness."""

    id: int
    query_id: int
    user: str
    host: str
    database: str
    command: str
    age_s: float
    state: str
    statement: str
    own: bool

    @property
    def idle(self) -> bool:
        return self.command == "Sleep"

    @property
    def doing(self) -> str:
        """An event of row-based replication, for one, has no text."""
        return "" if self.idle else shown(self.statement) or f"[{self.command}: {self.state or 'running'}]"


class Lock(NamedTuple):
    """A granted lock as METADATA_LOCK_INFO names it."""

    connection: int
    mode: str
    kind: str
    table: TableName


@dataclass(frozen=True, slots=True)
class Suspect:
    """A connection that is in the way, or, where `only_nontransactional`, is when one of `tables` is of that kind."""

    connection: Connection
    action: str
    tables: tuple[TableName, ...]
    only_nontransactional: bool = False
    keeps_locks: bool = False
    """It has locked tables: the end of a statement releases nothing."""


def suspects_by_locks(connections: Iterable[Connection], locks: Iterable[Lock]) -> list[Suspect]:
    held: dict[int, list[Lock]] = {}
    for lock in locks:
        held.setdefault(lock.connection, []).append(lock)
    return [
        _by_locks(connection, held[connection.id])
        for connection in connections
        if connection.state != _VICTIM
        and any(lock.kind == _BACKUP_LOCK and lock.mode in _IN_THE_WAY for lock in held.get(connection.id, ()))
    ]


def suspects_by_statements(connections: Iterable[Connection], *, fold: bool) -> list[Suspect]:
    """`fold` where the server takes names of tables in small letters."""
    return [
        Suspect(
            connection,
            effect.action,
            _folded(effect.tables) if fold else effect.tables,
            only_nontransactional=effect.holds in {Holds.WRITES, Holds.ALTERS},
        )
        for connection in connections
        if (effect := read_statement(connection.statement, connection.database)) is not None
        and _holds_something(effect.holds, connection.state)
    ]


def judge(
    suspects: Iterable[Suspect], engines: Mapping[TableName, str], supers: Mapping[str, bool | None]
) -> tuple[Blocker, ...]:
    """Those in the way, longest first. `engines` names that of each table that is not transactional, `supers` says of
    each user whether it has SUPER, None when that can't be told.
    """
    found = [
        _blocker(suspect, engines, supers)
        for suspect in suspects
        if not suspect.only_nontransactional or any(table in engines for table in suspect.tables)
    ]
    return tuple(sorted(found, key=lambda blocker: -blocker.age_s))


def protected_by_kind(connection: Connection) -> str | None:
    """What needs no look at privileges."""
    if connection.command.startswith(_REPLICATION):
        return "a replication thread"
    if connection.user in _SYSTEM_USERS or connection.command in _SYSTEM_COMMANDS:
        return "a system thread"
    return "our own" if connection.own else None


def _by_locks(connection: Connection, held: list[Lock]) -> Suspect:
    effect = read_statement(connection.statement, connection.database)
    locked = [lock.table for lock in held if lock.kind == _TABLE_LOCK and lock.mode == _LOCKED_TABLES]
    if locked and (effect is None or effect.holds is Holds.WRITES):
        return Suspect(connection, "holds LOCK TABLES ... WRITE on", tuple(locked), keeps_locks=True)
    changed = tuple(lock.table for lock in held if lock.kind == _TABLE_LOCK and lock.mode in _CHANGING)
    return Suspect(connection, _action(effect, held), changed or (effect.tables if effect else ()))


def _action(effect: Effect | None, held: list[Lock]) -> str:
    if effect is not None:
        return effect.action
    return "changes" if any(lock.mode == "MDL_BACKUP_DDL" for lock in held) else "writes"


def _holds_something(holds: Holds, state: str) -> bool:
    if state in {_VICTIM, _FLUSHED}:
        return False
    return state != _METADATA or holds in {Holds.ALTERS, Holds.WAITING_DDL}


def _folded(tables: Iterable[TableName]) -> tuple[TableName, ...]:
    return tuple(TableName(table.database.lower(), table.table.lower()) for table in tables)


def _blocker(suspect: Suspect, engines: Mapping[TableName, str], supers: Mapping[str, bool | None]) -> Blocker:
    connection = suspect.connection
    return Blocker(
        id=connection.id,
        query_id=connection.query_id,
        user=connection.user,
        host=connection.host,
        age_s=connection.age_s,
        statement=connection.doing,
        why=_why(suspect, engines),
        protected=_protected(suspect, supers),
    )


def _why(suspect: Suspect, engines: Mapping[TableName, str]) -> str:
    if suspect.keeps_locks:
        names = [str(table) for table in suspect.tables]
    else:
        names = [f"{table} ({engines[table]})" for table in suspect.tables if table in engines]
        names = names or [str(table) for table in suspect.tables]
    more = len(names) - _NAMED_TABLES
    listed = ", ".join(names[:_NAMED_TABLES]) + (f" and {more} more" if more > 0 else "")
    return f"{suspect.action} {listed or 'something'}"


def _protected(suspect: Suspect, supers: Mapping[str, bool | None]) -> str | None:
    connection = suspect.connection
    if kind := protected_by_kind(connection):
        return kind
    if connection.idle:
        return "is idle: KILL QUERY would not release its locks"
    if suspect.keeps_locks:
        return "has locked tables: KILL QUERY would not release them"
    match supers.get(connection.user):
        case None:
            return "its privileges can't be told"
        case True:
            return "has SUPER"
        case False:
            return None
