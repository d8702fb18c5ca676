"""What `config check` looks at, as the configuration has it: what one part lacks keeps none of the others from it."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

from backup_agent.app.stores import store
from backup_agent.app.wiring import (
    database_of,
    engine_of,
    journal_path,
    lock_of,
    locks_of,
    open_journal,
    policy_of,
    spool_of,
)
from backup_agent.cancellation import Cancellation
from backup_agent.config.file import Config, read_password
from backup_agent.instance import lock_file
from backup_agent.instance.lock import InstanceLock
from backup_agent.journal import file as journal_file
from backup_agent.operations.check import Checked
from backup_agent.storage import local
from backup_agent.storage.interface import Store
from backup_agent.storage.urls import FileUrl, parse_store_url


def to_check(config: Config) -> Checked:
    """Connects to nothing, and finds nothing amiss: each part does when it is looked at."""
    instance = config.instance
    lock_path = InstanceLock(instance.runtime_dir, instance.id).path

    def connect_store(cancellation: Cancellation, give_up_after: float) -> Store:
        return store(config)(cancellation, give_up_after)

    return Checked(
        container=config.store.container,
        unmade_store=lambda: _unmade_store(config),
        connect_store=connect_store,
        database=lambda: database_of(instance, read_password(instance, "instance")),
        locks=locks_of(config.locks),
        policy=policy_of(instance),
        spool=spool_of(config.spool, instance),
        engine=engine_of(config, password=None),  # it is asked for its version alone
        lock_path=lock_path,
        lock_is_made=lambda: lock_file.is_made(lock_path),
        lock=lock_of(instance),
    )


def probe_journal(config: Config) -> str:
    """What is in it; one that is not there is not made. Raises JournalError."""
    path = journal_path(config)
    if not journal_file.is_made(path):
        return f"{path}: not there yet; it is made with the first backup, or as the agent starts"
    with closing(open_journal(config)) as journal:
        return f"{path}: {journal.depth()} events to be told"


def _unmade_store(config: Config) -> Path | None:
    """The directory that the first backup will make. Raises StoreError when it can't be made, and ConfigError."""
    match parse_store_url(config.store.url, account_id=config.instance.account_id):
        case FileUrl(directory) if config.store.create and not local.is_made(directory):
            return directory
        case _:
            return None
