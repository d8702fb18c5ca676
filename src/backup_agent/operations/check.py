"""Looks at everything a backup needs, one thing after the other, and says what to do about what is amiss."""

from __future__ import annotations

import os
import uuid
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

from backup_agent.cancellation import Cancellation
from backup_agent.domain.layout import container_prefix
from backup_agent.errors import BackupAgentError, ErrorCode, InstanceError, MissingError, StoreError
from backup_agent.instance.interface import Facts
from backup_agent.operations import admission
from backup_agent.operations.services import Services
from backup_agent.stream import spool

_STORE_SECONDS = 5.0
"""How long the check goes on trying a store that fails: long enough for a hiccup, short enough to wait for."""


@dataclass(frozen=True, slots=True)
class Finding:
    """`error` is None when all is well; `detail` says what was seen."""

    subject: str
    detail: str
    error: BackupAgentError | None = None


def check(services: Services, cancellation: Cancellation, more: Mapping[str, Callable[[], str]]) -> Iterator[Finding]:
    """One finding for each thing looked at, as soon as it is known; at last those of `more`, by subject: each call
    returns what was seen, or raises what is amiss.
    """
    yield _look("store", lambda: _probe_store(services, cancellation))
    facts: list[Facts] = []
    yield _look("database", lambda: _probe_database(services, facts))
    if facts:
        yield _look("grants", lambda: _probe_grants(services, facts[0]))
        yield _look("policy", lambda: _probe_policy(services, facts[0]))
        yield _look("spool", lambda: _probe_spool(services, facts[0]))
    yield _look("engine", lambda: _probe_engine(services, facts[0] if facts else None))
    yield _look("lock", lambda: _probe_lock(services, cancellation))
    for subject, probe in more.items():
        yield _look(subject, probe)


def _look(subject: str, probe: Callable[[], str]) -> Finding:
    try:
        return Finding(subject, probe())
    except BackupAgentError as error:
        return Finding(subject, error.message, error)


def _probe_store(services: Services, cancellation: Cancellation) -> str:
    store = services.connect_store(cancellation, _STORE_SECONDS)
    store.prepare(services.container)
    key = f"{container_prefix(services.container)}probe-{uuid.uuid4()}"
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
        return f"{store.url}/{services.container}: wrote, read and deleted a probe"
    return f"{store.url}/{services.container}: wrote and read a probe; a deleted object stays readable for a while"


def _probe_database(services: Services, facts: list[Facts]) -> str:
    try:
        found = services.instance.facts()
    except InstanceError as error:
        if error.code is ErrorCode.GRANT_MISSING:  # it names one; all at once save a round for each
            admission.check_grants(services.missing_grants(replica=False))
        raise
    facts.append(found)
    role = "replica" if found.replica else "primary"
    return f"{found.datastore} {found.version}, {role}, datadir {found.datadir} ({found.datadir_bytes / 1e9:.2f} GB)"


def _probe_grants(services: Services, facts: Facts) -> str:
    admission.check_grants(services.missing_grants(replica=facts.replica))
    return "the database user has what a backup needs"


def _probe_policy(services: Services, facts: Facts) -> str:
    warning = admission.check_instance(facts, services.policy)
    encryption = (
        "; data is encrypted at rest: restore needs the key plugin's settings (engine.include)"
        if facts.data_at_rest_encryption
        else ""
    )
    size = facts.nontransactional_bytes / admission.MIB
    return (warning or f"{size:.1f} MiB of non-transactional tables, within the policy") + encryption


def _probe_spool(services: Services, facts: Facts) -> str:
    room = spool.bounds(services.spool, facts.datadir, facts.nontransactional_bytes)
    warning = admission.check_spool(facts, room, services.policy)
    size, reserve = room.limit / admission.MIB, room.reserve / admission.MIB
    return warning or f"{services.spool.directory}: up to {size:.0f} MiB, {reserve:.0f} of them kept for locked tables"


def _probe_engine(services: Services, facts: Facts | None) -> str:
    version = services.engine.version()
    if facts is None:
        return f"{version.name} {version.version} (not compared with the server: see database)"
    admission.check_engine(version, facts.version)
    return f"{version.name} {version.version} fits the server"


def _probe_lock(services: Services, cancellation: Cancellation) -> str:
    with services.lock("config check", None, cancellation):
        return "the instance's lock is free and can be taken"
