"""Identifiers as the API and the object layout use them.

A backup's and an instance's id is a lower-case UUID; an account's id is what the platform calls its tenant. All three
are parts of object keys and file names, so their alphabets allow neither separators nor dots-only names.
"""

from __future__ import annotations

import re
from typing import Annotated

from pydantic import AfterValidator, StringConstraints

_UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")


def is_uuid(text: str) -> bool:
    """Whether `text` can be a backup's or an instance's id."""
    return _UUID.fullmatch(text) is not None


def _canonical_uuid(text: str) -> str:
    if not is_uuid(text):
        msg = "must be a UUID in lower case with hyphens, such as 61f12fef-edb1-4561-8122-e7c00ef26a82"
        raise ValueError(msg)
    return text


Uuid = Annotated[str, AfterValidator(_canonical_uuid)]
BackupId = Uuid
InstanceId = Uuid
AccountId = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]{0,63}$")]
ContainerName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_][A-Za-z0-9._-]{0,254}$")]
