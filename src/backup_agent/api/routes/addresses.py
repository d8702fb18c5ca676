"""Where clients find this API, for links."""

from __future__ import annotations

import re

from starlette.requests import Request

from backup_agent.api.services import services

_HOST = re.compile(r"[A-Za-z0-9._:\[\]-]{1,255}")


def base_url(request: Request) -> str:
    """As configured, or as the request has it; without a slash at the end."""
    configured = services(request).public_url
    if configured:
        return configured.rstrip("/")
    host = request.headers.get("host", "")
    return f"{request.scope['scheme']}://{host if _HOST.fullmatch(host) else 'localhost'}"


def own_url(request: Request) -> str:
    """Of the resource asked for, without its query."""
    raw: bytes = request.scope.get("raw_path") or request.scope["path"].encode()
    return base_url(request) + raw.split(b"?", 1)[0].decode("ascii", "replace")
