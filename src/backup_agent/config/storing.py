"""The stream of a backup and where it is kept."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, SecretStr, model_validator

from backup_agent.config.section import Section, Text
from backup_agent.domain.ids import ContainerName
from backup_agent.domain.layout import DEFAULT_CONTAINER


class StreamConfig(Section):
    """How the engine's stream is cut, sealed and moved."""

    chunk_mib: Annotated[int, Field(ge=1, le=1024)] = 32
    """Raw bytes in a chunk, in MiB. A chunk is held in memory whole."""
    memory_mib: Annotated[int, Field(ge=4, le=1 << 20)] = 160
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

    @model_validator(mode="after")
    def _both_keys(self) -> S3Config:
        if (self.access_key_id is None) != (self.secret_access_key is None):
            msg = "give both access_key_id and secret_access_key, or neither"
            raise ValueError(msg)
        return self


class StoreConfig(Section):
    """Where backups are kept."""

    url: Text
    """`file:///directory` or `s3://bucket[/prefix]`; `{account_id}` in it is replaced by the instance's account."""
    container: ContainerName = DEFAULT_CONTAINER
    """The container (a directory or a key prefix) below the URL."""
    create: bool = True
    """Make the bucket or directory when it is absent."""
    connect_timeout_s: Annotated[float, Field(gt=0, le=600)] = 10
    """Seconds to wait for a connection."""
    read_timeout_s: Annotated[float, Field(gt=0, le=3600)] = 60
    """Seconds to wait for the next byte."""
    retry_for_s: Annotated[float, Field(ge=0, le=86_400)] = 300
    """Seconds to go on trying a request that fails in a way that may pass; 0 tries once."""
    bandwidth_limit_mib_s: Annotated[float, Field(ge=0.01, le=1_000_000)] | None = None
    """MiB a second to and from the store, all transfers together. A slow store needs room in the spool."""
    s3: S3Config = S3Config()
