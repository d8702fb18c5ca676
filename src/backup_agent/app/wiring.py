"""The services of the operations, as the configuration wants them."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import fields
from pathlib import Path

from backup_agent.app.protecting import signer, trust
from backup_agent.app.stores import store
from backup_agent.cancellation import Cancellation
from backup_agent.config.database import InstanceConfig, LocksConfig
from backup_agent.config.file import Config, read_password
from backup_agent.config.protecting import EncryptionConfig
from backup_agent.config.storing import SpoolConfig, StreamConfig
from backup_agent.config.verifying import VerifyConfig
from backup_agent.domain.manifest import Compression
from backup_agent.engine.interface import Engine
from backup_agent.engine.mariadb_backup import MARIADB_BACKUP
from backup_agent.engine.options import Login
from backup_agent.engine.priority import Priority
from backup_agent.engine.private_server import PrivateServers, PrivateServerSettings
from backup_agent.engine.streaming import EngineSettings, StreamingEngine
from backup_agent.engine.xtrabackup import XTRABACKUP
from backup_agent.instance.connection import Endpoint
from backup_agent.instance.guard import STANDING_DIRECTORY, Guard
from backup_agent.instance.interface import Instance
from backup_agent.instance.lock import InstanceLock, LockHolder
from backup_agent.instance.mariadb import MariaDBInstance
from backup_agent.instance.reading import ReadingLock
from backup_agent.journal.interface import Journal
from backup_agent.journal.sqlite import SqliteJournal
from backup_agent.operations.admission import Policy
from backup_agent.operations.clock import SystemClock
from backup_agent.operations.lock_watch import LockPolicy
from backup_agent.operations.scratch import ScratchSettings
from backup_agent.operations.services import BackupServices, Retries, Services, Verifying
from backup_agent.report.interface import Reporter
from backup_agent.stream.settings import StreamSettings
from backup_agent.stream.spool_bounds import SpoolSettings
from backup_agent.version import __version__

MIB = 1 << 20
_DIALECTS = {"mariadb-backup": MARIADB_BACKUP, "xtrabackup": XTRABACKUP}


def wire(config: Config, reporter: Reporter) -> Services:
    """Raises ConfigError (`config_invalid`, `store_url`). Connects to nothing yet."""
    instance = config.instance
    password = read_password(instance, "instance")
    return Services(
        agent_version=__version__,
        policy=policy_of(instance),
        trust=trust(config.signing, journal_path(config)),
        container=config.store.container,
        stream=_stream(config.stream, config.encryption),
        spool=spool_of(config.spool, instance),
        locks=locks_of(config.locks),
        instance=database_of(instance, password),
        engine=engine_of(config, password),
        reporter=reporter,
        clock=SystemClock(),
        lock=lock_of(instance),
        lock_holder=InstanceLock(instance.runtime_dir, instance.id).holder,
        readers=ReadingLock(instance.runtime_dir, instance.id),
        verifying=_verifying(config.verify),
        connect_store=store(config),
    )


def for_backups(services: Services, config: Config, journal: Journal) -> BackupServices:
    """What those who take backups work with."""
    return BackupServices(
        **{field.name: getattr(services, field.name) for field in fields(services)},
        signer=signer(config.signing),
        journal=journal,
        retries=Retries(wanted=config.service.retry_interrupted, at_most=config.service.max_attempts),
        guard=_guard(config),
        operation_wait=config.administration.backup_wait_s if config.administration.enabled else 0.0,
    )


def _guard(config: Config) -> Callable[[Cancellation], AbstractContextManager[str | None]]:
    if not config.guard.enabled:
        return lambda _: nullcontext()
    request = config.instance.runtime_dir / f"{config.instance.id}.guard"
    return Guard(request, STANDING_DIRECTORY / config.instance.id, config.guard.wait_s).stand


def open_journal(config: Config) -> SqliteJournal:
    """Raises JournalError. Events are kept for a broker where there is one."""
    return SqliteJournal(journal_path(config), outbox=bool(config.broker.urls))


def journal_path(config: Config) -> Path:
    return config.journal.dir / f"{config.instance.id}.journal"


def _verifying(verify: VerifyConfig) -> Verifying:
    server = PrivateServerSettings(
        verify.server_binary, verify.buffer_pool_mib * MIB, verify.include, verify.server_args
    )
    return Verifying(
        scratch=ScratchSettings(verify.scratch_dir, verify.user),
        servers=PrivateServers(server),
        lower_priority=Priority(verify.nice, verify.ionice).lower_this_thread,
    )


def _stream(stream: StreamConfig, encryption: EncryptionConfig) -> StreamSettings:
    return StreamSettings(
        chunk_size=stream.chunk_mib * MIB,
        memory=stream.memory_mib * MIB,
        threads=stream.threads,
        transfers=stream.transfers,
        compression=Compression(algorithm="none", level=0)
        if stream.compression == "none"
        else Compression(algorithm="zstd", level=stream.zstd_level),
        adaptive=stream.compression == "auto",
        recipients=encryption.parsed(),
    )


def spool_of(spool: SpoolConfig, instance: InstanceConfig) -> SpoolSettings:
    return SpoolSettings(
        directory=spool.dir / instance.id,
        limit=None if spool.max_mib is None else spool.max_mib * MIB,
        floor=None if spool.min_free_mib is None else spool.min_free_mib * MIB,
    )


def locks_of(locks: LocksConfig) -> LockPolicy:
    return LockPolicy(
        max_lock=locks.max_lock_seconds,
        blocker_wait=locks.blocker_wait_s,
        stall_wait=locks.stall_wait_s,
        on_blocker=locks.on_blocker,
        standstill=locks.standstill_s,
    )


def database_of(instance: InstanceConfig, password: str | None) -> Instance:
    """`password` is what we log in with. Connects to nothing yet."""
    return MariaDBInstance(Endpoint(instance.socket, instance.host, instance.port, instance.user, password))


def policy_of(instance: InstanceConfig) -> Policy:
    return Policy(
        instance_id=instance.id,
        account_id=instance.account_id,
        nontransactional=instance.nontransactional,
        nontransactional_threshold=instance.nontransactional_threshold_mib * MIB,
        allow_galera=instance.allow_galera,
        allow_unproven_lineage=instance.allow_unproven_lineage,
    )


def engine_of(config: Config, password: str | None) -> Engine:
    """`password` is what it logs in with."""
    engine, instance = config.engine, config.instance
    dialect = _DIALECTS[engine.kind]
    login = Login(instance.user, instance.socket, instance.host, instance.port, password)
    settings = EngineSettings(
        binary=engine.binary or dialect.binary,
        stream_binary=engine.stream_binary or dialect.stream_binary,
        parallel=engine.parallel,
        log_copy_interval_ms=engine.log_copy_interval_ms,
        prepare_memory=engine.prepare_memory_mib * MIB,
        priority=Priority(engine.nice, engine.ionice),
        standstill=config.locks.standstill_s,
        extra_args=engine.extra_args,
        include=engine.include,
        throttle=engine.throttle,
    )
    return StreamingEngine(dialect, settings, login, instance.runtime_dir / f"{instance.id}.work")


def lock_of(instance: InstanceConfig) -> Callable[[str, str | None, Cancellation], AbstractContextManager[object]]:
    lock = InstanceLock(instance.runtime_dir, instance.id)
    clock = SystemClock()

    def acquire(command: str, backup_id: str | None, cancellation: Cancellation) -> AbstractContextManager[object]:
        return lock.acquire(LockHolder.here(command, backup_id, clock.now()), cancellation)

    return acquire
