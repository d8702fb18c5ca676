"""A private Swift, which also answers S3 requests: Debian's, or with Keystone that of setup/servers.sh."""

from __future__ import annotations

import json
import uuid
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any, Self
from urllib.error import HTTPError
from urllib.request import Request, urlopen

from backup_agent.storage.s3_client import S3Options
from backup_agent.storage.swift_client import SwiftOptions
from tests.servers.keystone import PrivateKeystone
from tests.servers.processes import free_port, program, running

CROWD_ACCOUNT = "AUTH_crowded"
CROWD_BUCKET = "crowded"
KEY = "serving"
"""Of the service user, who may do everything in all accounts."""


def new_account() -> str:
    """The name of an account that nobody has used yet."""
    return f"AUTH_{uuid.uuid4().hex}"


class PrivateSwift:
    """Serves while its context is open."""

    def __init__(
        self,
        base: Path,
        *,
        token_life: int = 86400,
        crowd: int = 0,
        keystone: Mapping[str, str] | None = None,
        python: str | None = None,
    ) -> None:
        """`crowd` objects are listed in CROWD_ACCOUNT, and in CROWD_BUCKET. With `keystone`, the user to check tokens
        by, it takes those of Keystone; without, it gives tokens that are good for `token_life` seconds. `python` is an
        interpreter that has another Swift.
        """
        self._base = base
        self._python = python
        self._settings = {"token_life": token_life, "crowd": crowd, "keystone": keystone}
        self._stack = ExitStack()
        self._ports = {name: free_port() for name in ("proxy", "account", "container", "object")}
        self.port = self._ports["proxy"]

    def __enter__(self) -> Self:
        self._base.mkdir(parents=True, exist_ok=True)
        python = self._python or (program("python") if self._settings["keystone"] else "/usr/bin/python3")
        script = Path(__file__).with_name("swift_node.py")
        self._stack.enter_context(
            running(
                [python, "-P", str(script), str(self._base), json.dumps(self._ports), json.dumps(self._settings)],
                self._base / "log",
                (self._base / "ready").exists,
                environment={"HOME": str(self._base), "PYTHONPATH": ""},
            )
        )
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def options(self, *, url: str | None = None, timeout_s: float = 60, **changes: Any) -> SwiftOptions:
        """For a store on this server, or on one that stands in front of it, as the service user."""
        options = SwiftOptions(
            auth="v1",
            auth_url=f"{url or self.url}/auth/v1.0",
            user="service:agent",
            key=KEY,
            connect_timeout_s=timeout_s,
            read_timeout_s=timeout_s,
        )
        return replace(options, **changes)

    def s3_options(self, *, url: str | None = None) -> S3Options:
        return S3Options(
            endpoint_url=url or self.url,
            region="us-east-1",
            access_key_id="test:tester",
            secret_access_key="testing",
            connect_timeout_s=60,
            read_timeout_s=60,
        )

    def ask(self, method: str, path: str, **headers: str) -> int:
        """The status of what the service user asks for below `/v1/`. Underscores in `headers` are hyphens."""
        login = {"X-Auth-User": "service:agent", "X-Auth-Key": KEY}
        with urlopen(Request(f"{self.url}/auth/v1.0", headers=login)) as answer:
            token = answer.headers["X-Auth-Token"]
        more = {name.replace("_", "-"): value for name, value in headers.items()}
        request = Request(f"{self.url}/v1/{path}", method=method, headers={"X-Auth-Token": token, **more})
        try:
            with urlopen(request) as answer:
                return int(answer.status)
        except HTTPError as error:
            return error.code

    def forget_tokens(self) -> None:
        """Revokes all that it has given, with the next request."""
        (self._base / "forget").touch()


class Cloud:
    """A Keystone, and a Swift that it knows; everything below `base`."""

    def __init__(self, base: Path) -> None:
        self._stack = ExitStack()
        self.keystone = PrivateKeystone(base / "keystone")
        self.swift = PrivateSwift(base / "swift", keystone=self.keystone.middleware)

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            stack.enter_context(self.keystone)
            stack.enter_context(self.swift)
            self.keystone.add_swift(RegionOne=self.swift.url, Elsewhere="http://127.0.0.1:1")
            self.project_id = self.keystone.add_project()
            self.member = self.keystone.add_user(self.project_id)
            """Of the project: its account is his."""
            self.keeper = self.keystone.add_user(self.keystone.add_project(), role="ResellerAdmin")
            """The service user, who may do everything in all accounts."""
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()
