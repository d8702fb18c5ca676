"""Puts the parts together: configuration in, wired services out. The only place that names implementations."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager

import structlog

from backup_agent import __version__
from backup_agent.cancellation import Cancellation
from backup_agent.config.database import EngineConfig, InstanceConfig, LocksConfig
from backup_agent.config.file import Config, read_password
from backup_agent.config.storing import SpoolConfig, StoreConfig, StreamConfig
from backup_agent.domain.manifest import Compression
from backup_agent.engine.interface import Engine
from backup_agent.engine.mariadb_backup import MARIADB_BACKUP
from backup_agent.engine.options import Login
from backup_agent.engine.priority import Priority
from backup_agent.engine.streaming import EngineSettings, StreamingEngine
from backup_agent.engine.xtrabackup import XTRABACKUP
from backup_agent.instance.connection import Endpoint
from backup_agent.instance.lock import InstanceLock, LockHolder
from backup_agent.instance.mariadb import MariaDBInstance
from backup_agent.operations.admission import Policy
from backup_agent.operations.clock import SystemClock
from backup_agent.operations.lock_watch import LockPolicy
from backup_agent.operations.services import Services
from backup_agent.report.interface import Reporter
from backup_agent.storage.interface import Store
from backup_agent.storage.local import LocalStore
from backup_agent.storage.retry import Retry, RetryingStore
from backup_agent.storage.throttle import Bandwidth, ThrottledStore
from backup_agent.storage.urls import FileUrl, S3Url, parse_store_url
from backup_agent.stream.settings import StreamSettings
from backup_agent.stream.spool import SpoolSettings

log = structlog.get_logger(__name__)

MIB = 1 << 20
_DIALECTS = {"mariadb-backup": MARIADB_BACKUP, "xtrabackup": XTRABACKUP}


def wire(config: Config, reporter: Reporter) -> Services:
    """Raises ConfigError (`config_invalid`, `store_url`). Connects to nothing yet."""
    instance, engine = config.instance, config.engine
    password = read_password(instance, "instance")
    endpoint = Endpoint(instance.socket, instance.host, instance.port, instance.user, password)
    login = Login(instance.user, instance.socket, instance.host, instance.port, password)
    return Services(
        agent_version=__version__,
        policy=Policy(
            instance_id=instance.id,
            account_id=instance.account_id,
            nontransactional=instance.nontransactional,
            nontransactional_threshold=instance.nontransactional_threshold_mib * MIB,
            allow_galera=instance.allow_galera,
            allow_unproven_lineage=instance.allow_unproven_lineage,
        ),
        container=config.store.container,
        stream=_stream(config.stream),
        spool=_spool(config.spool, instance),
        locks=_locks(config.locks),
        instance=MariaDBInstance(endpoint),
        engine=_engine(engine, login, instance, standstill=config.locks.standstill_s),
        reporter=reporter,
        clock=SystemClock(),
        lock=_lock(instance),
        connect_store=_store(config),
    )


def _stream(stream: StreamConfig) -> StreamSettings:
    return StreamSettings(
        chunk_size=stream.chunk_mib * MIB,
        memory=stream.memory_mib * MIB,
        threads=stream.threads,
        transfers=stream.transfers,
        compression=Compression(algorithm="none", level=0)
        if stream.compression == "none"
        else Compression(algorithm="zstd", level=stream.zstd_level),
        adaptive=stream.compression == "auto",
    )


def _spool(spool: SpoolConfig, instance: InstanceConfig) -> SpoolSettings:
    return SpoolSettings(
        directory=spool.dir / instance.id,
        limit=None if spool.max_mib is None else spool.max_mib * MIB,
        floor=None if spool.min_free_mib is None else spool.min_free_mib * MIB,
    )


def _locks(locks: LocksConfig) -> LockPolicy:
    return LockPolicy(
        max_lock=locks.max_lock_seconds,
        blocker_wait=locks.blocker_wait_s,
        stall_wait=locks.stall_wait_s,
        on_blocker=locks.on_blocker,
        standstill=locks.standstill_s,
    )


def _engine(engine: EngineConfig, login: Login, instance: InstanceConfig, *, standstill: float) -> Engine:
    dialect = _DIALECTS[engine.kind]
    settings = EngineSettings(
        binary=engine.binary or dialect.binary,
        stream_binary=engine.stream_binary or dialect.stream_binary,
        parallel=engine.parallel,
        log_copy_interval_ms=engine.log_copy_interval_ms,
        prepare_memory=engine.prepare_memory_mib * MIB,
        priority=Priority(engine.nice, engine.ionice),
        standstill=standstill,
        extra_args=engine.extra_args,
        include=engine.include,
        throttle=engine.throttle,
    )
    return StreamingEngine(dialect, settings, login, instance.runtime_dir / f"{instance.id}.work")


def _lock(instance: InstanceConfig) -> Callable[[str, str | None, Cancellation], AbstractContextManager[object]]:
    lock = InstanceLock(instance.runtime_dir, instance.id)
    clock = SystemClock()

    def acquire(command: str, backup_id: str | None, cancellation: Cancellation) -> AbstractContextManager[object]:
        return lock.acquire(LockHolder.here(command, backup_id, clock.now()), cancellation)

    return acquire


def _store(config: Config) -> Callable[[Cancellation, float | None], Store]:
    bare = _bare_store(config.store, config.instance.account_id, connections=2 * config.stream.transfers + 8)

    limit = config.store.bandwidth_limit_mib_s
    bandwidth = None if limit is None else Bandwidth(limit * MIB)

    def connect(cancellation: Cancellation, give_up_after: float | None) -> Store:
        seconds = config.store.retry_for_s if give_up_after is None else min(give_up_after, config.store.retry_for_s)
        if bandwidth is None:
            return RetryingStore(bare, give_up_after=seconds, cancellation=cancellation, on_retry=_tell_retry)
        throttled = ThrottledStore(bare, bandwidth, cancellation=cancellation)
        return RetryingStore(
            throttled,
            give_up_after=seconds,
            cancellation=cancellation,
            on_retry=_tell_retry,
            clock=throttled.clock,
        )

    return connect


def _tell_retry(retry: Retry) -> None:
    log.warning(
        "the store does not do as asked, trying again",
        operation=retry.operation,
        key=retry.key,
        attempt=retry.attempt,
        wait_s=round(retry.wait_s, 1),
        reason=retry.error.message,
    )


def _bare_store(store: StoreConfig, account_id: str, connections: int) -> Store:
    match parse_store_url(store.url, account_id=account_id):
        case FileUrl(directory):
            return LocalStore(directory, create=store.create)
        case S3Url(bucket, prefix):
            return _s3_store(bucket, prefix, store, connections)


def _s3_store(bucket: str, prefix: str, store: StoreConfig, connections: int) -> Store:
    # Imported here because boto3 takes 20 MB and a tenth of a second, which other stores need not pay for.
    from backup_agent.storage.s3 import S3Store  # noqa: PLC0415
    from backup_agent.storage.s3_client import S3Options  # noqa: PLC0415

    s3 = store.s3
    options = S3Options(
        endpoint_url=s3.endpoint_url,
        region=s3.region,
        access_key_id=s3.access_key_id,
        secret_access_key=s3.secret_access_key.get_secret_value() if s3.secret_access_key else None,
        path_style=s3.path_style,
        ca_bundle=s3.ca_bundle,
        connect_timeout_s=store.connect_timeout_s,
        read_timeout_s=store.read_timeout_s,
        connections=connections,
    )
    return S3Store(bucket, prefix, create=store.create, options=options)
