"""Tokens of OpenStack's Keystone, looked up by keystonemiddleware, which is made for WSGI and is called as such."""

from __future__ import annotations

import hashlib
import threading
import time
from collections.abc import Callable, Iterable
from typing import Any

import structlog
from keystoneauth1.exceptions import ClientException

from backup_agent.api import faults
from backup_agent.api.callers import Caller
from backup_agent.api.settings import KeystoneConfig, read_secret
from backup_agent.errors import ConfigError, ErrorCode

log = structlog.get_logger(__name__)

_KEPT = 10_000
"""Answers remembered at most."""
StartResponse = Callable[..., object]


class KeystoneAuthenticator:
    """Remembers valid tokens for `cache_s`, by their digest; invalid ones never. Safe from any thread."""

    def __init__(self, config: KeystoneConfig) -> None:
        """Raises ConfigError (`extra_missing`) when keystonemiddleware is not installed."""
        try:
            from keystonemiddleware.auth_token import AuthProtocol  # noqa: PLC0415 - an extra
        except ImportError as error:
            raise ConfigError(
                ErrorCode.EXTRA_MISSING,
                "keystonemiddleware is not installed",
                "Install the extra for it: pip install 'backup-agent[api,keystone]'.",
            ) from error
        self._protocol = AuthProtocol(_found, _options(config))
        self._admin_role = config.admin_role.lower()
        self._cache_s = config.cache_s
        self._lock = threading.Lock()
        self._known: dict[bytes, tuple[float, Caller]] = {}

    def remembered(self, token: str) -> Caller | None:
        with self._lock:
            until, known = self._known.get(_key(token), (0.0, None))
        return known if until > time.monotonic() else None

    def caller(self, token: str) -> Caller | None:
        known = self.remembered(token)
        if known is not None:
            return known
        found = self._ask(token)
        if found is not None:
            with self._lock:
                while len(self._known) >= _KEPT:
                    del self._known[next(iter(self._known))]
                self._known[_key(token)] = (time.monotonic() + self._cache_s, found)
        return found

    def _ask(self, token: str) -> Caller | None:
        environment: dict[str, Any] = {
            "REQUEST_METHOD": "GET",
            "PATH_INFO": "/",
            "SERVER_NAME": "localhost",
            "SERVER_PORT": "80",
            "wsgi.url_scheme": "http",
            "HTTP_X_AUTH_TOKEN": token,
        }
        statuses: list[str] = []
        try:
            for _ in self._protocol(environment, lambda status, *_: statuses.append(status)):
                pass
        except ClientException as error:  # the middleware's own login, which it does not translate
            log.warning("Keystone can't be asked", reason=str(error)[:300])
            raise _unavailable() from error
        if statuses and statuses[0].startswith("200"):
            return self._caller(environment)
        if statuses and statuses[0].startswith("401"):
            return None
        raise _unavailable()

    def _caller(self, environment: dict[str, Any]) -> Caller | None:
        """A token without a project belongs to no account."""
        account_id = environment.get("HTTP_X_PROJECT_ID")
        if not account_id:
            return None
        roles = {role.strip().lower() for role in environment.get("HTTP_X_ROLES", "").split(",")}
        return Caller(account_id, self._admin_role in roles)


def _key(token: str) -> bytes:
    return hashlib.sha256(token.encode("utf-8", "surrogatepass")).digest()


def _unavailable() -> faults.Fault:
    return faults.unavailable("Tokens can't be checked at the moment. Try again later.")


def _found(environment: dict[str, Any], start_response: StartResponse) -> Iterable[bytes]:
    """Called for valid tokens alone; what was found out about them is in the environment."""
    del environment
    start_response("200 OK", [])
    return [b""]


def _options(config: KeystoneConfig) -> dict[str, Any]:
    return {
        "www_authenticate_uri": config.auth_url,
        "auth_url": config.auth_url,
        "auth_type": "password",
        "username": config.username,
        "password": read_secret(config.password, config.password_file, "keystone.password_file"),
        "user_domain_name": config.user_domain_name,
        "project_name": config.project_name,
        "project_domain_name": config.project_domain_name,
        "cafile": None if config.ca_file is None else str(config.ca_file),
        "delay_auth_decision": False,
        "include_service_catalog": False,
        "service_token_roles_required": True,
        "http_connect_timeout": 10,
        "http_request_max_retries": 1,  # who asks tries again sooner than it would
        "token_cache_time": -1,  # it would believe a revoked token for five minutes more than we do
    }
