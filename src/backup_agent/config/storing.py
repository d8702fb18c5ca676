"""The stream of a backup and where it is kept."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, SecretStr, model_validator

from backup_agent.config.section import Section, Text
from backup_agent.domain.ids import ContainerName
from backup_agent.domain.layout import DEFAULT_CONTAINER

StorageClass = Literal[
    "STANDARD",
    "STANDARD_IA",
    "ONEZONE_IA",
    "INTELLIGENT_TIERING",
    "REDUCED_REDUNDANCY",
    "GLACIER_IR",
    "GLACIER",
    "DEEP_ARCHIVE",
]
MetadataName = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9-]{0,63}$")]
PrintableText = Annotated[str, Field(pattern=r"^[ -~]{1,1024}$")]


class StreamConfig(Section):
    """How the engine's stream is cut, sealed and moved."""

    chunk_mib: Annotated[int, Field(ge=1, le=1024)] = 32
    """Raw bytes in a chunk, in MiB. A chunk is held in memory whole."""
    memory_mib: Annotated[int, Field(ge=4, le=1 << 20)] = 144
    """Bound on the chunks in memory, raw and sealed together, in MiB; at least (2 + threads) chunks."""
    threads: Annotated[int, Field(ge=1, le=64)] = 2
    """Chunks compressed at a time."""
    transfers: Annotated[int, Field(ge=1, le=64)] = 4
    """Chunks moved to or from the store at a time."""
    compression: Literal["zstd", "auto", "none"] = "zstd"
    """`auto` is zstd whose level rises, up to 9, while the store is slower than the CPU. `none` stores the stream as it
    is: for data that is compressed or encrypted already."""
    zstd_level: Annotated[int, Field(ge=1, le=19)] = 1
    """zstd compression level; with `auto` the lowest."""

    @model_validator(mode="after")
    def _memory_holds_the_chunks(self) -> StreamConfig:
        least = (2 + self.threads) * self.chunk_mib
        if self.memory_mib < least:
            msg = f"memory_mib must be at least (2 + threads) * chunk_mib = {least}"
            raise ValueError(msg)
        return self


class SpoolConfig(Section):
    """Disk space that keeps a slow store from slowing the database; used when the memory for chunks is full."""

    dir: Path = Path("/var/lib/backup-agent/spool")
    """Best on another disk than the data directory's. Files in it are private, and gone when a backup has ended."""
    max_mib: Annotated[int, Field(ge=0)] | None = None
    """The most it may take; 0 for no spool. By default a quarter of the free space; on the data directory's file system
    at most 2 GiB more than the tables that are locked while they are copied."""
    min_free_mib: Annotated[int, Field(ge=0)] | None = None
    """What has to stay free on its file system. By default, on the data directory's, the larger of 10% and 5 GiB."""


class S3Config(Section):
    """Only for s3:// stores. What is left out comes from the environment or the usual AWS files and roles."""

    endpoint_url: Text | None = None
    """For any S3-compatible store; AWS by default."""
    region: Text | None = None
    """The bucket's region."""
    access_key_id: Text | None = None
    """With secret_access_key; otherwise the usual AWS credential chain is used."""
    secret_access_key: SecretStr | None = None
    """With access_key_id."""
    path_style: bool = True
    """https://host/bucket/key, which every store knows; false for https://bucket.host/key."""
    ca_bundle: Path | None = None
    """A file of CA certificates to trust for the endpoint."""
    proxy: SecretStr | None = None
    """`http://[user:password@]host:port`; by default what HTTPS_PROXY, HTTP_PROXY and NO_PROXY say."""
    encryption: Literal["AES256", "aws:kms", "aws:kms:dsse"] | None = None
    """How the store shall encrypt; by default as the bucket says."""
    kms_key_id: Text | None = None
    """The KMS key, with encryption by KMS; by default the bucket's, or AWS's own."""
    bucket_key: bool | None = None
    """Whether KMS is asked once per bucket and not once per object."""
    storage_class: StorageClass | None = None
    """Of the chunks, such as `STANDARD_IA`; manifests stay readable at once."""
    tags: Annotated[dict[Text, str], Field(max_length=10)] | None = None
    """Of every object."""
    metadata: dict[MetadataName, PrintableText] | None = None
    """Of every object, beside `backup-id` and `instance-id`."""
    lock_mode: Literal["GOVERNANCE", "COMPLIANCE"] | None = None
    """Object Lock of chunks, manifests and signatures, with lock_days; the bucket must have it enabled."""
    lock_days: Annotated[int, Field(ge=1, le=36_500)] | None = None
    """Days for which the store keeps what was put, with lock_mode."""
    part_mib: Annotated[int, Field(ge=5, le=5120)] = 1024
    """Objects beyond this size are put in several parts of it (multipart upload)."""

    @model_validator(mode="after")
    def _both_keys(self) -> S3Config:
        if (self.access_key_id is None) != (self.secret_access_key is None):
            msg = "give both access_key_id and secret_access_key, or neither"
            raise ValueError(msg)
        return self

    @model_validator(mode="after")
    def _belonging_together(self) -> S3Config:
        if (self.lock_mode is None) != (self.lock_days is None):
            msg = "give both lock_mode and lock_days, or neither"
            raise ValueError(msg)
        by_kms = self.encryption is not None and self.encryption.startswith("aws:kms")
        if not by_kms and (self.kms_key_id is not None or self.bucket_key is not None):
            msg = "kms_key_id and bucket_key need encryption by KMS (aws:kms or aws:kms:dsse)"
            raise ValueError(msg)
        return self


class SwiftConfig(Section):
    """Only for swift:// stores: how to log in, and where to go then. Proxies come from the environment."""

    auth_url: Text | None = None
    """Keystone's URL, with or without `/v3`; for `v1` the whole URL, such as `https://swift.example.org/auth/v1.0`."""
    auth: Literal["v1", "v3"] = "v3"
    """`v3` is Keystone, `v1` the login of Swift itself (tempauth) and of many providers."""
    user: Text | None = None
    """The user's name; for `v1` as the cluster has it, often `account:user`."""
    key: SecretStr | None = None
    """The user's key (`v1`) or password (`v3`), or the application credential's secret."""
    key_file: Path | None = None
    """A file that holds it (such as a systemd credential); its last line break is ignored."""
    user_domain: Text = "Default"
    """The user's domain, by name (`v3`)."""
    project: Text | None = None
    """The project to log in to, by name (`v3`): the one whose account is used, or the service user's own."""
    project_id: Text | None = None
    """The same by id; then project and project_domain are not looked at."""
    project_domain: Text = "Default"
    """The project's domain, by name (`v3`)."""
    application_credential_id: Text | None = None
    """Log in with this application credential (`v3`), instead of a user and a project."""
    region: Text | None = None
    """The region whose endpoint is taken from Keystone's catalogue; the first one by default."""
    interface: Literal["public", "internal", "admin"] = "public"
    """The interface whose endpoint is taken from Keystone's catalogue."""
    storage_url: Text | None = None
    """The account's storage URL, instead of the one the login gives; `{account_id}` in it is replaced."""
    ca_bundle: Path | None = None
    """A file of CA certificates to trust, for the login and the storage."""

    @model_validator(mode="after")
    def _one_way_to_log_in(self) -> SwiftConfig:
        if self.key is not None and self.key_file is not None:
            msg = "give either key or key_file, not both"
            raise ValueError(msg)
        if self.application_credential_id is not None and (self.user or self.project or self.project_id):
            msg = "an application credential has its user and its project: leave out user, project and project_id"
            raise ValueError(msg)
        if self.application_credential_id is not None and self.auth == "v1":
            msg = 'application credentials are Keystone\'s: leave out auth, or set it to "v3"'
            raise ValueError(msg)
        return self


class StoreConfig(Section):
    """Where backups are kept."""

    url: Text
    """`file:///directory`, `s3://bucket[/prefix]` or `swift://[account]`; `{account_id}` in it is replaced by the
    instance's account. Without an account, `swift://` is the one that the login leads to."""
    container: ContainerName = DEFAULT_CONTAINER
    """The container (in S3 a key prefix, otherwise a directory) below the URL."""
    create: bool = True
    """Make the bucket, container or directory when it is absent."""
    connect_timeout_s: Annotated[float, Field(gt=0, le=600)] = 10
    """Seconds to wait for a connection."""
    read_timeout_s: Annotated[float, Field(gt=0, le=3600)] = 60
    """Seconds to wait for the next byte."""
    retry_for_s: Annotated[float, Field(ge=0, le=86_400)] = 300
    """Seconds to go on trying a request that fails in a way that may pass; 0 tries once."""
    bandwidth_limit_mib_s: Annotated[float, Field(ge=0.01, le=1_000_000)] | None = None
    """MiB a second to and from the store, all transfers together. A slow store needs room in the spool."""
    s3: S3Config = S3Config()
    swift: SwiftConfig = SwiftConfig()
