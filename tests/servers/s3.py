"""A private S3 server: moto, in a process of its own that ends with its parent.

It checks neither signatures nor Content-MD5, and holds everything in memory: for small data.
"""

from __future__ import annotations

import subprocess
import sys
import uuid
from pathlib import Path
from typing import Self

from backup_agent.storage.s3_client import S3Options

CROWD_BUCKET = "crowded"
CROWD_KEY = "crowd/chunk-{:08d}"


class S3Server:
    """Serves while its context is open. `crowd` objects stand in CROWD_BUCKET from the start: putting them is slow."""

    def __init__(self, *, crowd: int = 0) -> None:
        self._crowd = crowd

    def __enter__(self) -> Self:
        self._process = subprocess.Popen(
            [
                sys.executable,
                str(Path(__file__).with_name("moto_process.py")),
                CROWD_BUCKET,
                CROWD_KEY,
                str(self._crowd),
            ],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        assert line, f"moto ended with {self._process.wait()} before it was ready; its standard error says why"
        self.port = int(line)
        return self

    def __exit__(self, *_: object) -> None:
        self._process.communicate()  # closes its standard input, which ends it

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def options(self, *, endpoint_url: str | None = None, timeout_s: float = 60) -> S3Options:
        """For a store on this server, or on one that stands in front of it."""
        return S3Options(
            endpoint_url=endpoint_url or self.url,
            region="us-east-1",
            access_key_id="access-key",
            secret_access_key="secret-key",
            connect_timeout_s=timeout_s,
            read_timeout_s=timeout_s,
        )

    def new_bucket(self) -> str:
        """The name of a bucket nobody else has. It does not exist yet."""
        return f"bucket-{uuid.uuid4()}"
