"""A private Keystone, and what an operator would do with it. Begins as setup/servers.sh has left its database."""

from __future__ import annotations

import base64
import os
import secrets
import shutil
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any, Self

from keystoneauth1.identity import v3
from keystoneauth1.session import Session

from backup_agent.storage.swift_client import SwiftOptions
from tests.servers.processes import SERVERS, free_port, listens, program, running

_DATABASE = SERVERS.parent / "keystone.db"
_ADMIN_PASSWORD = "throw-away"
"""setup/servers.sh sets it too."""
_CONFIGURATION = """[DEFAULT]
log_file = {base}/keystone.log
use_stderr = false
[database]
connection = sqlite:///{base}/keystone.db
[token]
provider = fernet
expiration = {token_life}
[fernet_tokens]
key_repository = {base}/keys
[credential]
key_repository = {base}/keys
[cache]
enabled = false
[identity]
# The weakest: every request of every server would wait for a hash.
password_hash_rounds = 4
"""
_KEYS = 2
TOKEN_LIFE = 1200
"""In seconds. One that an overloaded host can outlive would end the tokens of Swift itself too."""


class PrivateKeystone:
    """Serves while its context is open."""

    def __init__(self, base: Path) -> None:
        self._base = base
        self._stack = ExitStack()
        self.port = free_port()

    def __enter__(self) -> Self:
        keys = self._base / "keys"
        keys.mkdir(parents=True, mode=0o700)
        for number in range(_KEYS):
            (keys / str(number)).write_bytes(base64.urlsafe_b64encode(os.urandom(32)))
            (keys / str(number)).chmod(0o600)
        shutil.copy(_DATABASE, self._base / "keystone.db")
        (self._base / "keystone.conf").write_text(_CONFIGURATION.format(base=self._base, token_life=TOKEN_LIFE))
        script = Path(__file__).with_name("keystone_process.py")
        self._stack.enter_context(
            running(
                [program("python"), "-P", str(script), str(self._base), str(self.port)],
                self._base / "log",
                lambda: listens(self.port),
                environment={"HOME": str(self._base), "PYTHONPATH": ""},
            )
        )
        admin = v3.Password(
            self.url,
            _ADMIN_PASSWORD,
            username="admin",
            project_name="admin",
            user_domain_id="default",
            project_domain_id="default",
        )
        self._admin = Session(auth=admin)
        self._stack.callback(self._admin.session.close)
        identity = self._post("services", "service", {"type": "identity", "name": "keystone"})
        self._add_endpoint(identity, "internal", "RegionOne", self.url.removesuffix("/v3"))
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/v3"

    @property
    def middleware(self) -> dict[str, str]:
        """For the servers that let it check tokens."""
        return {"url": self.url, "user": "admin", "password": _ADMIN_PASSWORD, "project": "admin"}

    def add_swift(self, **urls: str) -> None:
        """Into the catalogue: the URLs of clusters, by region."""
        service = self._post("services", "service", {"type": "object-store", "name": "swift"})
        for region, url in urls.items():
            if region != "RegionOne":
                self._post("regions", "region", {"id": region})
            self._add_endpoint(service, "public", region, f"{url}/v1/AUTH_%(tenant_id)s")

    def add_project(self) -> str:
        """Its id."""
        added = self._post("projects", "project", {"name": secrets.token_hex(8), "domain_id": "default"})
        return str(added["id"])

    def add_user(self, project_id: str, *, role: str = "member") -> SwiftOptions:
        """How he logs in to the project, in which he has the role."""
        user, password = f"user-{secrets.token_hex(4)}", secrets.token_hex(12)
        added = self._post("users", "user", {"name": user, "password": password, "domain_id": "default"})
        found = self._admin.get(f"{self.url}/roles", params={"name": role}).json()["roles"]
        role_id = found[0]["id"] if found else self._post("roles", "role", {"name": role})["id"]
        self._admin.put(f"{self.url}/projects/{project_id}/users/{added['id']}/roles/{role_id}")
        return SwiftOptions(auth_url=self.url, user=user, key=password, project_id=project_id)

    def application_credential(self, options: SwiftOptions) -> SwiftOptions:
        """Another way for the same user to log in."""
        session = Session(auth=self._auth(options))
        try:
            user_id = session.get_user_id()
            answer = session.post(
                f"{self.url}/users/{user_id}/application_credentials",
                json={"application_credential": {"name": secrets.token_hex(4)}},
            ).json()["application_credential"]
        finally:
            session.session.close()
        return replace(
            options, user=None, project_id=None, key=answer["secret"], application_credential_id=answer["id"]
        )

    def revoke(self, token: str) -> None:
        self._admin.delete(f"{self.url}/auth/tokens", headers={"X-Subject-Token": token})

    def _auth(self, options: SwiftOptions) -> v3.Password:
        return v3.Password(
            self.url,
            options.key,
            username=options.user,
            user_domain_id="default",
            project_id=options.project_id,
        )

    def _add_endpoint(self, service: dict[str, Any], interface: str, region: str, url: str) -> None:
        endpoint = {"service_id": service["id"], "interface": interface, "region_id": region, "url": url}
        self._post("endpoints", "endpoint", endpoint)

    def _post(self, path: str, name: str, body: dict[str, str]) -> dict[str, Any]:
        made: dict[str, Any] = self._admin.post(f"{self.url}/{path}", json={name: body}).json()[name]
        return made
