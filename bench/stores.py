"""The stores contenders write to: a real S3 server, a real Swift, and a slow line in front of either.

All are private processes on loopback that end with the one that started them.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote
from urllib.request import Request, urlopen

import boto3
import psutil
from botocore.config import Config

from bench.tools import path_of, python_of
from tests.servers.juicefs import ACCESS_KEY, SECRET_KEY, PrivateJuiceFS
from tests.servers.swift import PrivateSwift

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

BUCKET = "bench"
CONTAINER = "bench"
SEGMENTS = "bench_segments"
"""Where the client puts the pieces of what is too large for one object."""
REGION = "us-east-1"
SWIFT_USER = "test:tester"
SWIFT_KEY = "testing"
IN_MEMORY = Path("/dev/shm")
_MEMORY_SHARE = 3
"""Times the data that must be free before a store's files may be in memory: the database's are cached there as well."""


@dataclass(frozen=True, slots=True)
class S3Endpoint:
    """One way to the S3 store; `url` may lead over a slow line."""

    url: str

    def client(self) -> S3Client:
        return boto3.client(
            "s3",
            endpoint_url=self.url,
            region_name=REGION,
            aws_access_key_id=ACCESS_KEY,
            aws_secret_access_key=SECRET_KEY,
            config=Config(s3={"addressing_style": "path"}),
        )

    def sizes(self, prefix: str) -> dict[str, int]:
        """Bytes of each object whose key begins with `prefix`."""
        pages = self.client().get_paginator("list_objects_v2").paginate(Bucket=BUCKET, Prefix=prefix)
        return {stored["Key"]: stored["Size"] for page in pages for stored in page.get("Contents", ())}

    def remove(self, prefix: str) -> None:
        client = self.client()
        for key in self.sizes(prefix):
            client.delete_object(Bucket=BUCKET, Key=key)


@dataclass(frozen=True, slots=True)
class SwiftEndpoint:
    """One way to the Swift store; `url` may lead over a slow line."""

    url: str

    @property
    def auth_url(self) -> str:
        return f"{self.url}/auth/v1.0"

    def sizes(self, prefix: str, container: str = CONTAINER) -> dict[str, int]:
        """Bytes of each object whose name begins with `prefix`; a segmented one has those of all its segments. At
        most so many as Swift lists at once.
        """
        listed = json.loads(self._ask("GET", f"{container}?format=json&prefix={prefix}"))
        return {stored["name"]: stored["bytes"] for stored in listed}

    def remove(self, prefix: str) -> None:
        for container in (CONTAINER, SEGMENTS):
            for name in self.sizes(prefix, container):
                self._ask("DELETE", f"{container}/{quote(name)}")

    def create(self) -> None:
        for container in (CONTAINER, SEGMENTS):
            self._ask("PUT", container)

    def _ask(self, method: str, path: str) -> bytes:
        with urlopen(Request(self.auth_url, headers={"X-Auth-User": SWIFT_USER, "X-Auth-Key": SWIFT_KEY})) as answer:
            url, token = answer.headers["X-Storage-Url"], answer.headers["X-Auth-Token"]
        with urlopen(Request(f"{url}/{path}", method=method, headers={"X-Auth-Token": token})) as answer:
            body: bytes = answer.read()
            return body


def directory_in_memory(total: int) -> Path | None:
    """Where an S3 store of `total` bytes takes nothing of the database's disk, as one on another host; None without
    room for it.
    """
    if not os.access(IN_MEMORY, os.W_OK):
        return None
    roomy = shutil.disk_usage(IN_MEMORY).free > 2 * total and psutil.virtual_memory().available > _MEMORY_SHARE * total
    return IN_MEMORY if roomy else None


@contextmanager
def s3_server(base: Path) -> Iterator[S3Endpoint]:
    """JuiceFS's gateway, which is MinIO's front end, on files below `base`."""
    base.mkdir(parents=True)
    with PrivateJuiceFS(base, path_of("juicefs")) as server:
        endpoint = S3Endpoint(f"http://127.0.0.1:{server.port}")
        endpoint.client().create_bucket(Bucket=BUCKET)
        yield endpoint


@contextmanager
def swift_server(base: Path) -> Iterator[SwiftEndpoint]:
    """OpenStack's own servers, one of each, with one replica below `base`."""
    python = python_of("swift")
    if python is None:
        raise FileNotFoundError("swift is not installed")
    with PrivateSwift(base, python=python) as server:
        endpoint = SwiftEndpoint(server.url)
        endpoint.create()
        yield endpoint


@contextmanager
def slow_line(url: str, rate: int) -> Iterator[str]:
    """Another URL of the server at `url`, which is reached at `rate` bytes a second, each way, in all."""
    with _line("throttle.py", url, str(rate)) as other:
        yield other


@contextmanager
def broken_line(url: str, after: int, seconds: float) -> Iterator[str]:
    """Another URL of the server at `url`: when `after` bytes have gone there it hangs, then refuses, for `seconds`."""
    with _line("outage.py", url, str(after), str(seconds)) as other:
        yield other


@contextmanager
def _line(script: str, url: str, *arguments: str) -> Iterator[str]:
    port = url.rpartition(":")[2]
    process = subprocess.Popen(
        [sys.executable, str(Path(__file__).with_name(script)), port, *arguments],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    with process:
        if process.stdout is None or not (line := process.stdout.readline()):
            raise RuntimeError(f"{script} did not start")
        try:
            yield f"http://127.0.0.1:{int(line)}"
        finally:
            process.kill()
