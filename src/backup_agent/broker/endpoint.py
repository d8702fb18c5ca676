"""Where a broker is and who asks: each URL of the settings, read and completed.

`amqp://` or `amqps://[user[:password]@]host[:port][/vhost]`, percent-encoded; nothing else is taken. Error messages
never repeat a URL, because a refused one may hold a secret.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from urllib.parse import SplitResult, unquote, urlsplit

from backup_agent.broker.settings import BrokerSettings
from backup_agent.errors import ConfigError, ErrorCode

_PORTS = {"amqp": 5672, "amqps": 5671}
_HINT = "Set broker.urls to amqp://host:port/vhost or amqps://host:port/vhost, special characters percent-encoded."


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One broker. Without a user it is asked by certificate (SASL EXTERNAL)."""

    host: str
    port: int
    vhost: str
    tls: bool
    user: str | None
    password: str = field(repr=False)

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.port}"


def endpoints(settings: BrokerSettings) -> tuple[Endpoint, ...]:
    """In the order of the URLs. Raises ConfigError (`config_invalid`) naming the URL by its place."""
    if not settings.urls:
        raise _error("holds no URL")
    return tuple(_endpoint(url, settings, place) for place, url in enumerate(settings.urls))


def _endpoint(url: str, settings: BrokerSettings, place: int) -> Endpoint:
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError:
        raise _error("can't be read", place) from None  # its message repeats a part of the URL
    if parts.scheme not in _PORTS:
        raise _error("is of no known kind", place)
    if not host:
        raise _error("names no host", place)
    if "?" in url or "#" in url:
        raise _error("has a query or a fragment", place, "Options have keys of their own in the section broker.")
    tls = parts.scheme == "amqps"
    user, password = _credentials(parts, settings)
    if user is None and not (tls and settings.cert_file):
        raise _error(
            "is without a user", place, "Set broker.user and a password; or amqps and broker.cert_file for EXTERNAL."
        )
    return Endpoint(unquote(host), port or _PORTS[parts.scheme], _vhost(parts, place), tls, user, password)


def _credentials(parts: SplitResult, settings: BrokerSettings) -> tuple[str | None, str]:
    if not parts.username:
        return settings.user, settings.password or ""
    password = settings.password or "" if parts.password is None else unquote(parts.password)
    return unquote(parts.username), password


def _vhost(parts: SplitResult, place: int) -> str:
    name = parts.path.removeprefix("/")
    if "/" in name:
        raise _error("has a virtual host with a slash", place, "Write %2F for a slash in a virtual host's name.")
    return unquote(name) or "/"


def _error(what: str, place: int | None = None, hint: str = _HINT) -> ConfigError:
    where = "broker.urls" if place is None else f"broker.urls.{place}"
    return ConfigError(ErrorCode.CONFIG_INVALID, f"{where} {what}", hint)
