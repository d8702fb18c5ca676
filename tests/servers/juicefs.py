"""A private S3 server that is not moto: JuiceFS's gateway, which is MinIO's front end on a file system.

It checks signatures and digests. Being a file system, it knows directories.
"""

from __future__ import annotations

import subprocess
from contextlib import ExitStack
from pathlib import Path
from typing import Self

from backup_agent.storage.s3_client import S3Options
from tests.servers.processes import free_port, listens, program, running

ACCESS_KEY = "access-key"
SECRET_KEY = "secret-key"


class PrivateJuiceFS:
    """Serves while its context is open, everything below `base`."""

    def __init__(self, base: Path, binary: str | None = None) -> None:
        """`binary` is another JuiceFS than that of setup/servers.sh."""
        self._base = base
        self._binary = binary or program("juicefs")
        self._stack = ExitStack()
        self.port = free_port()

    def __enter__(self) -> Self:
        environment = {
            "HOME": str(self._base),
            "MINIO_ROOT_USER": ACCESS_KEY,
            "MINIO_ROOT_PASSWORD": SECRET_KEY,
        }
        meta = f"sqlite3://{self._base}/meta.db"
        storage = ["--storage", "file", "--bucket", f"{self._base}/data/", "--trash-days", "0"]
        subprocess.run([self._binary, "format", *storage, meta, "test"], check=True, capture_output=True)
        options = ["--no-usage-report", "--no-banner", "--multi-buckets", "--keep-etag", "--object-meta"]
        cache = ["--cache-size", "0", "--cache-dir", f"{self._base}/cache"]
        self._stack.enter_context(
            running(
                [self._binary, "gateway", *options, *cache, meta, f"127.0.0.1:{self.port}"],
                self._base / "log",
                lambda: listens(self.port),
                environment=environment,
            )
        )
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def options(self) -> S3Options:
        return S3Options(
            endpoint_url=f"http://127.0.0.1:{self.port}",
            region="us-east-1",
            access_key_id=ACCESS_KEY,
            secret_access_key=SECRET_KEY,
            connect_timeout_s=60,
            read_timeout_s=60,
        )
