"""The stores contenders write to: a real S3 server, a real Swift, and a slow line in front of either.

All are private processes on loopback that end with the one that started them.
"""

from __future__ import annotations

import http.client
import json
import os
import shutil
import socket
import subprocess
import sys
import time
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
from tests.servers.mariadb import free_port

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

BUCKET = "bench"
CONTAINER = "bench"
SEGMENTS = "bench_segments"
"""Where the client puts the pieces of what is too large for one object."""
ACCESS_KEY = "access-key"
SECRET_KEY = "secret-key-of-the-bench"
REGION = "us-east-1"
SWIFT_USER = "test:tester"
SWIFT_KEY = "testing"
START_SECONDS = 60.0
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
        """Bytes of each object whose name begins with `prefix`; a segmented one has those of all its segments."""
        listed = json.loads(self._ask("GET", f"{container}?format=json&limit=10000&prefix={prefix}"))
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
    program = path_of("juicefs")
    base.mkdir(parents=True)
    environment = {
        "PATH": os.environ["PATH"],
        "HOME": str(base),
        "MINIO_ROOT_USER": ACCESS_KEY,
        "MINIO_ROOT_PASSWORD": SECRET_KEY,
    }
    meta = f"sqlite3://{base}/meta.db"
    subprocess.run(
        [program, "format", "--storage", "file", "--bucket", f"{base}/data/", "--trash-days", "0", meta, "bench"],
        env=environment,
        check=True,
        capture_output=True,
    )
    port = free_port()
    options = ["--no-usage-report", "--no-banner", "--multi-buckets", "--keep-etag", "--object-meta"]
    cache = ["--cache-size", "0", "--cache-dir", f"{base}/cache"]
    command = [program, "gateway", *options, *cache, meta, f"127.0.0.1:{port}"]
    with _running(command, environment, base / "gateway.log") as process:
        _wait_for(port, process, base / "gateway.log")
        endpoint = S3Endpoint(f"http://127.0.0.1:{port}")
        endpoint.client().create_bucket(Bucket=BUCKET)
        yield endpoint


@contextmanager
def swift_server(base: Path) -> Iterator[SwiftEndpoint]:
    """OpenStack's own servers, one of each, with one replica below `base`."""
    python = python_of("swift")
    if python is None:
        raise FileNotFoundError("swift is not installed")
    base.mkdir(parents=True)
    ports = {name: free_port() for name in ("proxy", "account", "container", "object")}
    script = Path(__file__).with_name("swift_node.py")
    with _running(
        [python, str(script), str(base), json.dumps(ports)], {**os.environ, "HOME": str(base)}, base / "log"
    ) as process:
        _wait_for_swift(ports["proxy"], process, base / "log")
        endpoint = SwiftEndpoint(f"http://127.0.0.1:{ports['proxy']}")
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


@contextmanager
def _running(command: list[str], environment: dict[str, str], log: Path) -> Iterator[subprocess.Popen[bytes]]:
    """With its children gone at the end, and should this process be killed."""
    with log.open("wb") as out:
        process = subprocess.Popen(
            [path_of("setpriv"), "--pdeathsig", "KILL", *command],
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=subprocess.STDOUT,
        )
        try:
            yield process
        finally:
            process.terminate()
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def _wait_for(port: int, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + START_SECONDS
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
        except OSError as error:
            if process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"a store did not start:\n{log.read_text('utf-8', 'replace')[-4000:]}") from error
            time.sleep(0.05)
        else:
            return


def _wait_for_swift(port: int, process: subprocess.Popen[bytes], log: Path) -> None:
    """The node makes the file `ready` when all four of its servers listen."""
    _wait_for(port, process, log)
    deadline = time.monotonic() + START_SECONDS
    while not (log.parent / "ready").exists():
        if process.poll() is not None or time.monotonic() > deadline:
            raise RuntimeError(f"swift did not start:\n{log.read_text('utf-8', 'replace')[-4000:]}")
        time.sleep(0.05)
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    connection.request("GET", "/healthcheck")
    connection.getresponse().read()
    connection.close()
