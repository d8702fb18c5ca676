"""The store of a configuration, with what is wrapped around it."""

from __future__ import annotations

from collections.abc import Callable

import structlog

from backup_agent.cancellation import Cancellation
from backup_agent.config.file import Config
from backup_agent.config.loading import read_secret
from backup_agent.config.storing import StoreConfig
from backup_agent.errors import ConfigError, ErrorCode
from backup_agent.storage.interface import Store
from backup_agent.storage.local import LocalStore
from backup_agent.storage.retry import Retry, RetryingStore
from backup_agent.storage.throttle import Bandwidth, ThrottledStore
from backup_agent.storage.urls import FileUrl, S3Url, SwiftUrl, parse_store_url

log = structlog.get_logger(__name__)

_MIB = 1 << 20


def store(config: Config) -> Callable[[Cancellation, float | None], Store]:
    bare = _bare_store(config.store, config.instance.account_id, connections=2 * config.stream.transfers + 8)

    limit = config.store.bandwidth_limit_mib_s
    bandwidth = None if limit is None else Bandwidth(limit * _MIB)

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


def _bare_store(section: StoreConfig, account_id: str, connections: int) -> Store:
    match parse_store_url(section.url, account_id=account_id):
        case FileUrl(directory):
            return LocalStore(directory, create=section.create)
        case S3Url(bucket, prefix):
            return _s3_store(bucket, prefix, section, connections)
        case SwiftUrl(account):
            return _swift_store(account, section, account_id, connections)


def _swift_store(account: str | None, section: StoreConfig, account_id: str, connections: int) -> Store:
    # Imported here because requests and keystoneauth1 take time and memory, which other stores need not pay for.
    from backup_agent.storage.swift import SwiftStore  # noqa: PLC0415
    from backup_agent.storage.swift_client import SwiftOptions  # noqa: PLC0415

    swift = section.swift
    if swift.auth_url is None:
        raise ConfigError(
            ErrorCode.CONFIG_INVALID,
            "store.swift.auth_url is missing",
            "Set it to Keystone's URL; or, with store.swift.auth = \"v1\", to that of Swift's own login.",
        )
    if account is not None and swift.storage_url is not None:
        raise ConfigError(
            ErrorCode.CONFIG_INVALID,
            "the account is named in store.url and by store.swift.storage_url",
            "Set store.url to swift://, or leave out store.swift.storage_url.",
        )
    options = SwiftOptions(
        auth_url=swift.auth_url,
        auth=swift.auth,
        user=swift.user,
        key=read_secret(swift.key, swift.key_file, "store.swift.key_file") or "",
        user_domain=swift.user_domain,
        project=swift.project,
        project_id=swift.project_id,
        project_domain=swift.project_domain,
        application_credential_id=swift.application_credential_id,
        region=swift.region,
        interface=swift.interface,
        storage_url=swift.storage_url and swift.storage_url.replace("{account_id}", account_id),
        ca_bundle=swift.ca_bundle,
        connect_timeout_s=section.connect_timeout_s,
        read_timeout_s=section.read_timeout_s,
        connections=connections,
    )
    return SwiftStore(account, create=section.create, options=options)


def _s3_store(bucket: str, prefix: str, section: StoreConfig, connections: int) -> Store:
    # Imported here because boto3 takes 20 MB and a tenth of a second, which other stores need not pay for.
    from backup_agent.storage.s3 import S3Store  # noqa: PLC0415
    from backup_agent.storage.s3_client import S3Options  # noqa: PLC0415
    from backup_agent.storage.s3_objects import S3Objects  # noqa: PLC0415

    s3 = section.s3
    options = S3Options(
        endpoint_url=s3.endpoint_url,
        region=s3.region,
        access_key_id=s3.access_key_id,
        secret_access_key=s3.secret_access_key.get_secret_value() if s3.secret_access_key else None,
        path_style=s3.path_style,
        ca_bundle=s3.ca_bundle,
        proxy=s3.proxy.get_secret_value() if s3.proxy else None,
        connect_timeout_s=section.connect_timeout_s,
        read_timeout_s=section.read_timeout_s,
        connections=connections,
    )
    objects = S3Objects(
        encryption=s3.encryption,
        kms_key_id=s3.kms_key_id,
        bucket_key=s3.bucket_key,
        storage_class=s3.storage_class,
        tags=s3.tags or {},
        metadata=s3.metadata or {},
        lock_mode=s3.lock_mode,
        lock_days=s3.lock_days or 0,
        part_size=s3.part_mib * _MIB,
    )
    return S3Store(bucket, prefix, create=section.create, options=options, objects=objects)
