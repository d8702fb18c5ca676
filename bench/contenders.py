"""The contenders: pipelines around mariadb-backup as people write them.

Each takes a backup into a place of its own (`Run.prefix`), and can tell and remove what it stored. Options are the
tools' defaults but where their documentation asks for more; nothing is tuned for or against anybody.
"""

from __future__ import annotations

import shlex
import subprocess
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol

from bench.measure import Measured, clean_environment
from bench.stores import (
    BUCKET,
    CONTAINER,
    REGION,
    SWIFT_KEY,
    SWIFT_USER,
    S3Endpoint,
    SwiftEndpoint,
)
from bench.tools import find, path_of, why_missing
from tests.servers.juicefs import ACCESS_KEY, SECRET_KEY
from tests.servers.mariadb import PrivateMariaDB

StoreKind = Literal["none", "s3", "swift"]

SEGMENT_BYTES = 2 << 30
"""Of Trove's objects in Swift."""


class BrokenError(Exception):
    """A contender failed, or its result is not what it must be."""


@dataclass(frozen=True, slots=True)
class Stores:
    """The ways to the stores in one phase; None where there is none."""

    s3: S3Endpoint | None = None
    swift: SwiftEndpoint | None = None


@dataclass(frozen=True, slots=True)
class Run:
    """One backup that a contender is to take."""

    directory: Path
    """Fresh, removed after the run."""
    prefix: str
    """Under which it stores everything; nobody else's."""
    server: PrivateMariaDB
    stores: Stores
    since_lsn: int | None = None
    """An incremental of what changed after it."""

    @property
    def s3(self) -> S3Endpoint:
        if self.stores.s3 is None:
            raise RuntimeError("there is no S3 store")
        return self.stores.s3

    @property
    def swift(self) -> SwiftEndpoint:
        if self.stores.swift is None:
            raise RuntimeError("there is no Swift store")
        return self.stores.swift


class Contender(Protocol):
    """One way to take a backup."""

    @property
    def key(self) -> str: ...

    @property
    def title(self) -> str: ...

    @property
    def store(self) -> StoreKind: ...

    def missing(self) -> str | None:
        """Why it can't take part on this machine; None when it can."""

    def prepare(self, run: Run) -> None:
        """What its users do once and not for each backup; not measured."""

    def command(self, run: Run) -> list[str]: ...

    def environment(self, run: Run) -> Mapping[str, str]: ...

    def check(self, run: Run, measured: Measured) -> None:
        """Raises BrokenError unless the backup was taken."""

    def stored(self, run: Run, measured: Measured) -> int | None:
        """Bytes in the store; None without one."""

    def remove(self, run: Run, measured: Measured) -> None:
        """What it stored."""


def mariadb_backup(run: Run, *options: str) -> str:
    """The stock command line, its messages in a file of the run."""
    since = [] if run.since_lsn is None else [f"--incremental-lsn={run.since_lsn}"]
    words = [
        "mariadb-backup",
        f"--defaults-file={run.server.defaults_file}",
        "--backup",
        "--stream=mbstream",
        f"--socket={run.server.socket}",
        "--user=root",
        f"--target-dir={run.directory / 'target'}",
        *since,
        *options,
    ]
    return f"{shlex.join(words)} 2> {shlex.quote(str(run.directory / 'engine.log'))}"


@dataclass(frozen=True, slots=True)
class Pipeline:
    """`mariadb-backup ... | tail` in a shell."""

    key: str
    title: str
    tail: Callable[[Run], str]
    store: StoreKind = "none"
    programs: tuple[str, ...] = ()
    options: tuple[str, ...] = ()
    settings: Callable[[Run], Mapping[str, str]] | None = None
    setup: Callable[[Run], str] | None = None
    """A command that its users run once."""

    def missing(self) -> str | None:
        return next((why_missing(program) for program in self.programs if find(program) is None), None)

    def prepare(self, run: Run) -> None:
        if self.setup is None:
            return
        done = subprocess.run(
            shlex.split(self.setup(run)),
            env={**clean_environment(), **self.environment(run)},
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        if done.returncode != 0:
            raise BrokenError(f"{self.key} could not be set up:\n{done.stdout}{done.stderr}")

    def command(self, run: Run) -> list[str]:
        return ["bash", "-o", "pipefail", "-c", f"{mariadb_backup(run, *self.options)} {self.tail(run)}"]

    def environment(self, run: Run) -> Mapping[str, str]:
        return {} if self.settings is None else self.settings(run)

    def check(self, run: Run, measured: Measured) -> None:
        log = (run.directory / "engine.log").read_text("utf-8", "replace")
        if measured.status != 0 or "completed OK!" not in log:
            raise BrokenError(f"{self.key} ended with {measured.status}:\n{measured.stderr[-2000:]}\n{log[-2000:]}")

    def stored(self, run: Run, measured: Measured) -> int | None:
        del measured
        match self.store:
            case "none":
                return None
            case "s3":
                return sum(run.s3.sizes(run.prefix).values())
            case "swift":
                return sum(run.swift.sizes(run.prefix).values())

    def remove(self, run: Run, measured: Measured) -> None:
        del measured
        match self.store:
            case "none":
                return
            case "s3":
                run.s3.remove(run.prefix)
            case "swift":
                run.swift.remove(run.prefix)


def aws(run: Run) -> str:
    """The AWS command line for the S3 store."""
    return f"{shlex.quote(path_of('aws'))} --endpoint-url {run.s3.url}"


def aws_settings(run: Run) -> Mapping[str, str]:
    return {
        "AWS_ACCESS_KEY_ID": ACCESS_KEY,
        "AWS_SECRET_ACCESS_KEY": SECRET_KEY,
        "AWS_DEFAULT_REGION": REGION,
        "AWS_CONFIG_FILE": str(run.directory / "no-aws-config"),
    }


def _rclone_settings(run: Run) -> Mapping[str, str]:
    remote = {
        "TYPE": "s3",
        "PROVIDER": "Other",
        "ENDPOINT": run.s3.url,
        "ACCESS_KEY_ID": ACCESS_KEY,
        "SECRET_ACCESS_KEY": SECRET_KEY,
        "REGION": REGION,
    }
    named = {f"RCLONE_CONFIG_STORE_{key}": value for key, value in remote.items()}
    return {**named, "RCLONE_CONFIG": str(run.directory / "rclone.conf")}


def _restic_settings(run: Run) -> Mapping[str, str]:
    return {
        "AWS_ACCESS_KEY_ID": ACCESS_KEY,
        "AWS_SECRET_ACCESS_KEY": SECRET_KEY,
        "AWS_DEFAULT_REGION": REGION,
        "RESTIC_REPOSITORY": f"s3:{run.s3.url}/{BUCKET}/{run.prefix}",
        "RESTIC_PASSWORD": "a throw-away password",
        "RESTIC_CACHE_DIR": str(run.directory / "restic-cache"),
    }


def _swift(run: Run) -> str:
    login = f"-A {run.swift.auth_url} -U {SWIFT_USER} -K {SWIFT_KEY}"
    place = f"--segment-size {SEGMENT_BYTES} --object-name {run.prefix}backup.gz"
    return f"| gzip | {shlex.quote(path_of('swift'))} {login} upload {place} {CONTAINER} -"


ZSTD = "| zstd -q -1 -T0"
REFERENCE = "stock"
REFERENCE_FAST_LOG = "stock-interval"
COMPRESSED = "zstd"
AWS = "aws"
ENCRYPTED_AWS = "age"
OURS = "backup-agent"
OURS_ENCRYPTED = "backup-agent-age"
RECIPIENT = "age10s2rftd6nsjh5a2nj8l7k06g7l2rx044auwuqp79r4tv3umngu9qmdv8zd"
"""Of those who encrypt. Nobody has its identity."""

PIPELINES = (
    Pipeline(REFERENCE, "`mariadb-backup > /dev/null`", lambda _: "> /dev/null"),
    Pipeline(COMPRESSED, "`\\| zstd -1 -T0 > /dev/null`", lambda _: f"{ZSTD} > /dev/null", programs=("zstd",)),
    Pipeline(
        AWS,
        "`\\| zstd -1 -T0 \\| aws s3 cp -`",
        lambda run: f"{ZSTD} | {aws(run)} s3 cp - s3://{BUCKET}/{run.prefix}backup.zst",
        store="s3",
        programs=("zstd", "aws"),
        settings=aws_settings,
    ),
    Pipeline(
        ENCRYPTED_AWS,
        "`\\| zstd -1 -T0 \\| age \\| aws s3 cp -`",
        lambda run: f"{ZSTD} | age -r {RECIPIENT} | {aws(run)} s3 cp - s3://{BUCKET}/{run.prefix}backup.zst.age",
        store="s3",
        programs=("zstd", "age", "aws"),
        settings=aws_settings,
    ),
    Pipeline(
        "rclone",
        "`\\| zstd -1 -T0 \\| rclone rcat`",
        lambda run: f"{ZSTD} | rclone rcat store:{BUCKET}/{run.prefix}backup.zst",
        store="s3",
        programs=("zstd", "rclone"),
        settings=_rclone_settings,
    ),
    Pipeline(
        "restic",
        "`\\| restic backup --stdin`",
        lambda _: "| restic backup --quiet --stdin --stdin-filename backup.mbstream",
        store="s3",
        programs=("restic",),
        settings=_restic_settings,
        setup=lambda _: "restic init",
    ),
    Pipeline(
        "trove",
        "`\\| gzip \\| swift upload` (as Trove)",
        _swift,
        store="swift",
        programs=("gzip", "swift", "swift-proxy-server"),
    ),
    Pipeline(
        REFERENCE_FAST_LOG,
        "`mariadb-backup --log-copy-interval=10 > /dev/null`",
        lambda _: "> /dev/null",
        options=("--log-copy-interval=10",),
    ),
)
