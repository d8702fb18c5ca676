"""The body of a request, judged as bytes before anything else looks at it, and what may stand in it."""

from __future__ import annotations

import json
import re
from typing import Annotated, Any, TypeVar

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, ValidationError
from starlette.requests import Request

from backup_agent.api import faults
from backup_agent.domain.command import BackupName, Description
from backup_agent.domain.ids import Uuid
from backup_agent.domain.validation import explain

M = TypeVar("M", bound=BaseModel)

_DEPTH = 20
"""Levels of nesting; ours has two."""
_MEDIA_TYPE = re.compile(r"application/json(\s*;\s*charset\s*=\s*\"?utf-?8\"?)?\s*;?", re.IGNORECASE)


def _lower(value: object) -> object:
    return value.lower() if isinstance(value, str) else value


def _not_empty(text: str) -> str:
    if not text:
        msg = "must not be empty; leave it out instead"
        raise ValueError(msg)
    return text


def _flag(value: object) -> object:
    """Trove's client sends 0 or 1."""
    if isinstance(value, bool) or (isinstance(value, int) and value in (0, 1)):
        return bool(value)
    msg = "must be true, false, 1 or 0"
    raise ValueError(msg)


Id = Annotated[Uuid, BeforeValidator(_lower)]


class Asked(BaseModel):
    """What is not known is ignored, as Trove does."""

    model_config = ConfigDict(frozen=True, extra="ignore", strict=True)


class BackupAsked(Asked):
    name: BackupName = Field(description="1 to 64 characters, at least one letter or digit.")
    instance: Id = Field(description="The id of the database instance.")
    description: Annotated[Description, AfterValidator(_not_empty)] | None = None
    parent_id: Id | None = Field(None, description="Take an incremental backup of this one, which must be COMPLETED.")
    incremental: Annotated[bool, BeforeValidator(_flag)] = Field(
        False, description="Take an incremental of the newest COMPLETED backup; parent_id wins over it."
    )


class CreateBackupAsked(Asked):
    backup: BackupAsked


async def read(request: Request, limit: int) -> bytes:
    """Raises Fault: 415 for anything but JSON, 413 past `limit` bytes, declared or sent."""
    if not _MEDIA_TYPE.fullmatch(request.headers.get("content-type", "").strip()):
        raise faults.bad_media_type()
    declared = request.headers.get("content-length", "")
    if declared.isdecimal() and len(declared) < 20 and int(declared) > limit:  # noqa: PLR2004 - digits of any real size
        raise faults.too_large(limit)
    body = bytearray()
    async for part in request.stream():
        body += part
        if len(body) > limit:
            raise faults.too_large(limit)
    return bytes(body)


def parse(body: bytes) -> BackupAsked:
    """Raises Fault (400) saying what is wrong and where, never repeating it."""
    document = parse_json(body)
    if isinstance(document, dict) and isinstance(document.get("backup"), dict) and "instance" not in document["backup"]:
        raise faults.bad_request("The body can't be used: backup.instance: instance is missing.")
    return validated(CreateBackupAsked, document).backup


def parse_json(body: bytes) -> Any:  # noqa: ANN401 - what JSON can hold
    """Raises Fault (400)."""
    try:
        document = json.loads(body.decode("utf-8"), object_pairs_hook=_without_duplicates, parse_constant=_no_number)
        _check_depth(document)
    except (ValueError, RecursionError) as error:
        why = str(error) if isinstance(error, _UnfitError) else "it is not JSON in UTF-8"
        raise faults.bad_request(f"The body can't be used: {why}.") from error
    return document


def validated(model: type[M], document: object) -> M:
    """Raises Fault (400)."""
    try:
        return model.model_validate(document)
    except ValidationError as error:
        raise faults.bad_request(f"The body can't be used: {explain(error, 'the body')}.") from error


class _UnfitError(ValueError):
    """JSON that we do not take."""


def _without_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    result = dict(pairs)
    if len(result) != len(pairs):
        msg = "a key is given twice"
        raise _UnfitError(msg)
    return result


def _no_number(_: str) -> Any:  # noqa: ANN401 - what the hook is to return
    msg = "NaN and Infinity are no JSON"
    raise _UnfitError(msg)


def _check_depth(document: object) -> None:
    level: list[object] = [document]
    for _ in range(_DEPTH):
        level = [
            child
            for value in level
            if isinstance(value, dict | list)
            for child in (value.values() if isinstance(value, dict) else value)
        ]
        if not level:
            return
    msg = f"it is nested deeper than {_DEPTH} levels"
    raise _UnfitError(msg)
