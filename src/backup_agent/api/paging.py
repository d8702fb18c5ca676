"""`limit` and `marker` of a list, and the link to its next page: of what is in the catalogue, and of names.

A marker is opaque to clients, and made of characters that need no quoting, because Trove's client sends it as it is.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from urllib.parse import urlencode

from backup_agent.api import faults
from backup_agent.api.catalogue.reading import Place
from backup_agent.api.catalogue.tables import from_microseconds, to_microseconds
from backup_agent.domain.ids import is_uuid

DEFAULT_LIMIT = 20
MOST = 100
_NUMBER = re.compile(r"[0-9]{1,1000}")
_MARKER = re.compile(r"([0-9]{1,18})\.([0-9a-f-]{36})")
_LONGEST_MARKER = 128
_LONGEST_NAME_MARKER = 1360
"""Stands for 1020 bytes: fewer characters than a command may have in a name."""


@dataclass(frozen=True, slots=True)
class Page:
    limit: int
    after: Place | None


@dataclass(frozen=True, slots=True)
class PageOfNames:
    limit: int
    after: str | None


def asked(limit: str | None, marker: str | None) -> Page:
    """Raises Fault (400) for what is no limit from 1 up, and no marker of ours. More than MOST is MOST."""
    return Page(DEFAULT_LIMIT if limit is None else _limit(limit), None if marker is None else _place(marker))


def names_asked(limit: str | None, marker: str | None) -> PageOfNames:
    """The same, of a list whose order is that of names."""
    return PageOfNames(DEFAULT_LIMIT if limit is None else _limit(limit), None if marker is None else _name(marker))


def marker_of_name(name: str) -> str:
    return base64.urlsafe_b64encode(name.encode()).decode().rstrip("=")


def marker_of(created: datetime, row_id: str) -> str:
    return base64.urlsafe_b64encode(f"{to_microseconds(created)}.{row_id}".encode()).decode().rstrip("=")


def next_link(url: str, query: Mapping[str, str], marker: str) -> dict[str, str]:
    """`query` is what the page was asked for with."""
    kept = {key: value for key, value in query.items() if key != "marker"}
    return {"rel": "next", "href": f"{url}?{urlencode({**kept, 'marker': marker})}"}


def _limit(text: str) -> int:
    if not _NUMBER.fullmatch(text) or (number := int(text)) < 1:
        raise faults.bad_request("limit must be a whole number from 1 up.")
    return min(number, MOST)


def _place(marker: str) -> Place:
    if len(marker) > _LONGEST_MARKER:
        raise _not_ours()
    try:
        found = _MARKER.fullmatch(_decoded(marker).decode("ascii"))
        place = None if found is None else Place(from_microseconds(int(found[1])), found[2])
    except (ValueError, OverflowError) as error:
        raise _not_ours() from error
    if place is None or not is_uuid(place.id):
        raise _not_ours()
    return place


def _name(marker: str) -> str:
    if not 1 <= len(marker) <= _LONGEST_NAME_MARKER:
        raise _not_ours()
    try:
        return _decoded(marker).decode("utf-8")
    except ValueError as error:
        raise _not_ours() from error


def _decoded(marker: str) -> bytes:
    """Raises ValueError."""
    return base64.b64decode(marker + "=" * (-len(marker) % 4), altchars=b"-_", validate=True)


def _not_ours() -> faults.Fault:
    return faults.bad_request("marker is not one that a list of this API has given.")
