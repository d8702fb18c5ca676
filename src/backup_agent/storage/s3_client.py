"""The connection to S3: what it takes, and how botocore is set up."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import boto3
from botocore.awsrequest import AWSRequest
from botocore.config import Config
from botocore.exceptions import BotoCoreError

from backup_agent.errors import ConfigError, ErrorCode

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client  # stubs, not installed with the program

CHECKSUM_HEADER = "x-amz-checksum-sha256"


@dataclass(frozen=True, slots=True, kw_only=True)
class S3Options:
    """None leaves a value to the environment or the usual AWS files and roles; time-outs in seconds."""

    endpoint_url: str | None = None
    region: str | None = None
    access_key_id: str | None = None
    secret_access_key: str | None = field(default=None, repr=False)
    path_style: bool = True
    ca_bundle: Path | None = None
    proxy: str | None = field(default=None, repr=False)
    """For the requests to the store; None leaves it to the environment. It may hold credentials."""
    connect_timeout_s: float = 10
    """Also how long one write to the connection may take."""
    read_timeout_s: float = 60
    """How long the store may stay silent."""
    connections: int = 16
    """Kept open at most; more threads than that open connections for one request."""


def connect(options: S3Options) -> S3Client:
    """A client that is safe to share between threads and never retries. Opens no connection yet.

    Raises ConfigError when the options can't be used.
    """
    _check(options)
    config = Config(
        connect_timeout=options.connect_timeout_s,
        read_timeout=options.read_timeout_s,
        max_pool_connections=options.connections,
        tcp_keepalive=True,
        retries={"total_max_attempts": 1},
        # By default uploads get a trailing checksum, which many S3-compatible stores refuse. Content-MD5, which all
        # know, does its work.
        request_checksum_calculation="when_required",
        response_checksum_validation="when_required",
        # `payload_signing_enabled` stays unset: then bodies with Content-MD5 go unsigned over TLS, and only there;
        # False would leave them unsigned without TLS too. For those with a SHA-256 see _leave_unsigned.
        s3={"addressing_style": "path" if options.path_style else "virtual"},
        proxies=None if options.proxy is None else dict.fromkeys(("http", "https"), options.proxy),
    )
    try:
        client = boto3.session.Session().client(
            "s3",
            endpoint_url=options.endpoint_url,
            region_name=options.region,
            aws_access_key_id=options.access_key_id,
            aws_secret_access_key=options.secret_access_key,
            verify=None if options.ca_bundle is None else str(options.ca_bundle),
            config=config,
        )
    except (BotoCoreError, ValueError) as error:
        raise ConfigError(
            ErrorCode.CONFIG_INVALID,
            f"the S3 options can't be used: {error}",
            "Check store.s3, the AWS_... environment variables and the AWS configuration files.",
        ) from error
    client.meta.events.register("before-sign.s3", _leave_unsigned)
    return client


def _leave_unsigned(request: AWSRequest, **_: object) -> None:
    """A body whose SHA-256 stands in a header, which is signed, is not hashed once more for the signature.

    That header stands alone, without Content-MD5, only where the store is known to compare it with what it got.
    """
    if CHECKSUM_HEADER in request.headers and "Content-MD5" not in request.headers:
        usual: Config = request.context["client_config"]
        request.context["client_config"] = usual.merge(Config(s3={"payload_signing_enabled": False}))


def _check(options: S3Options) -> None:
    """Finds what botocore would only complain of at the first request, or would put into its messages."""
    if options.ca_bundle is not None and not options.ca_bundle.is_file():
        raise ConfigError(
            ErrorCode.CONFIG_INVALID,
            f"store.s3.ca_bundle {options.ca_bundle} is not a file",
            "Name a file of CA certificates in PEM format.",
        )
    if options.endpoint_url is not None and "@" in urlsplit(options.endpoint_url).netloc:
        raise ConfigError(
            ErrorCode.CONFIG_INVALID,
            "store.s3.endpoint_url holds credentials",
            "Put them into store.s3.access_key_id and store.s3.secret_access_key.",
        )
    if options.proxy is not None and urlsplit(options.proxy).scheme not in {"http", "https"}:
        raise ConfigError(
            ErrorCode.CONFIG_INVALID,
            "store.s3.proxy is not a URL of a proxy",  # which may hold credentials, and so is not repeated
            "Write it as http://[user:password@]host:port.",
        )
