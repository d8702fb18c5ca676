"""Looks at everything a backup needs, one thing after the other, and says what to do about what is amiss.

Makes no directories and no files of the host's: of what is not there yet it says that, and whether it can be made.
Root's check would leave root's directories to a service that has another user.
"""

from __future__ import annotations

import os
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path

from backup_agent.cancellation import Cancellation
from backup_agent.domain.layout import container_prefix
from backup_agent.engine.interface import Engine
from backup_agent.errors import BackupAgentError, ErrorCode, InstanceError, MissingError, StoreError
from backup_agent.instance.interface import Facts, Instance
from backup_agent.operations import admission
from backup_agent.operations.admission import Policy
from backup_agent.operations.lock_watch import LockPolicy
from backup_agent.storage.interface import Store
from backup_agent.stream import spool_bounds
from backup_agent.stream.spool_bounds import SpoolSettings

_STORE_SECONDS = 5.0
"""How long the check goes on trying a store that fails: long enough for a hiccup, short enough to wait for."""
_LATER = "not there yet; it is made with the first backup"
_NOT_CHECKED = "not checked, because the check of the database failed"


@dataclass(frozen=True, slots=True)
class Checked:
    """What is looked at. What is called raises what keeps it from being used, also by its configuration."""

    container: str
    unmade_store: Callable[[], Path | None]
    """The directory that the first backup will make to be the store."""
    connect_store: Callable[[Cancellation, float], Store]
    """The store, whose retries end after so many seconds."""
    database: Callable[[], Instance]
    locks: LockPolicy
    policy: Policy
    spool: SpoolSettings
    engine: Engine
    lock_path: Path
    lock_is_made: Callable[[], bool]
    lock: Callable[[str, str | None, Cancellation], AbstractContextManager[object]]
    """Raises BusyError, and InstanceError."""


@dataclass(frozen=True, slots=True)
class Finding:
    """`error` is None when nothing was found amiss; `detail` says what was seen."""

    subject: str
    detail: str
    error: BackupAgentError | None = None
    complete: bool = True
    """False: something else has to be mended before (all of) it can be looked at; `detail` says what."""


@dataclass(frozen=True, slots=True)
class _Part:
    """What a probe has seen that could not look at everything."""

    detail: str


@dataclass(frozen=True, slots=True)
class _Database:
    """The server, once it has answered."""

    instance: Instance
    facts: Facts


def check(checked: Checked, cancellation: Cancellation, more: Mapping[str, Callable[[], str]]) -> Iterator[Finding]:
    """One finding for each thing looked at, as soon as it is known; at last those of `more`, by subject: each call
    returns what was seen, or raises what is amiss. None keeps another from being looked at, unless it has to.
    """
    yield _look("store", lambda: _probe_store(checked, cancellation))
    found: list[_Database] = []
    yield _look("database", lambda: _probe_database(checked, found))
    database = found[0] if found else None
    yield _look("grants", lambda: _probe_grants(checked, database))
    yield _look("policy", lambda: _probe_policy(checked, database))
    yield _look("spool", lambda: _probe_spool(checked, database))
    yield _look("engine", lambda: _probe_engine(checked, database))
    yield _look("lock", lambda: _probe_lock(checked, cancellation))
    for subject, probe in more.items():
        yield _look(subject, probe)


def _look(subject: str, probe: Callable[[], str | _Part]) -> Finding:
    try:
        match probe():
            case _Part(detail):
                return Finding(subject, detail, complete=False)
            case str(detail):
                return Finding(subject, detail)
    except BackupAgentError as error:
        return Finding(subject, error.message, error)


def _probe_store(checked: Checked, cancellation: Cancellation) -> str:
    unmade = checked.unmade_store()
    if unmade is not None:
        return f"{unmade}: {_LATER}"
    store = checked.connect_store(cancellation, _STORE_SECONDS)
    store.prepare(checked.container)
    key = f"{container_prefix(checked.container)}probe-{uuid.uuid4()}"
    body = os.urandom(64)
    store.put(key, body)
    try:
        if store.get(key, limit=len(body) + 1) != body:
            raise StoreError(
                ErrorCode.STORE_FAILED,
                f"{store.url} returned other bytes than were written",
                "Do not use this store for backups.",
            )
    finally:
        store.delete(key)
    try:
        store.get(key, limit=1)
    except MissingError:
        return f"{store.url}/{checked.container}: wrote, read and deleted a probe"
    return f"{store.url}/{checked.container}: wrote and read a probe; a deleted object stays readable for a while"


def _probe_database(checked: Checked, found: list[_Database]) -> str:
    instance = checked.database()
    try:
        facts = instance.facts()
    except InstanceError as error:
        if error.code is ErrorCode.GRANT_MISSING:  # it names one; all at once save a round for each
            admission.check_grants(instance.missing_grants(replica=False, kill=checked.locks.kills))
        raise
    found.append(_Database(instance, facts))
    role = "replica" if facts.replica else "primary"
    return f"{facts.datastore} {facts.version}, {role}, datadir {facts.datadir} ({facts.datadir_bytes / 1e9:.2f} GB)"


def _probe_grants(checked: Checked, database: _Database | None) -> str | _Part:
    if database is None:
        return _Part(_NOT_CHECKED)
    admission.check_grants(database.instance.missing_grants(replica=database.facts.replica, kill=checked.locks.kills))
    return "the database user has what a backup needs"


def _probe_policy(checked: Checked, database: _Database | None) -> str | _Part:
    if database is None:
        return _Part(_NOT_CHECKED)
    facts = database.facts
    warning = admission.check_instance(facts, checked.policy)
    encryption = (
        "; data is encrypted at rest: restore needs the key plugin's settings (engine.include)"
        if facts.data_at_rest_encryption
        else ""
    )
    size = facts.nontransactional_bytes / admission.MIB
    return (warning or f"{size:.1f} MiB of non-transactional tables, within the policy") + encryption


def _probe_spool(checked: Checked, database: _Database | None) -> str | _Part:
    directory = checked.spool.directory
    there = spool_bounds.place(checked.spool)
    kept = directory.parent  # each backup makes and removes its own directory in it
    seen = f"{directory}" if there in (directory, kept) else f"{kept}: {_LATER}"
    if database is None:
        return _Part(f"{seen}; whether there is room is {_NOT_CHECKED}")
    facts = database.facts
    room = spool_bounds.foreseen(checked.spool, facts.datadir, facts.nontransactional_bytes)
    warning = admission.check_spool(facts, room, checked.policy)
    size, reserve = room.limit / admission.MIB, room.reserve / admission.MIB
    return warning or f"{seen}: up to {size:.0f} MiB, {reserve:.0f} of them kept for locked tables"


def _probe_engine(checked: Checked, database: _Database | None) -> str | _Part:
    version = checked.engine.version()
    if database is None:
        return _Part(f"{version.name} {version.version}; whether it fits the server is {_NOT_CHECKED}")
    admission.check_engine(version, database.facts.version)
    return f"{version.name} {version.version} fits the server"


def _probe_lock(checked: Checked, cancellation: Cancellation) -> str:
    if not checked.lock_is_made():
        return f"{checked.lock_path}: {_LATER}"
    with checked.lock("config check", None, cancellation):
        return "the instance's lock is free and can be taken"
