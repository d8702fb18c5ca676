"""How commands travel: JSON CloudEvents 1.0 in structured mode; the same bytes from the queue and by `--message`.

What it does not do: decide whether the command may be carried out.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import AwareDatetime, BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from backup_agent.domain.command import TASK_COMMANDS, CancelBackup, Command, CreateBackup, TaskCommand
from backup_agent.domain.instance_command import INSTANCE_COMMANDS, InstanceCommand
from backup_agent.domain.validation import explain
from backup_agent.errors import ErrorCode, RejectedError

COMMANDS: dict[str, type[CreateBackup | CancelBackup | TaskCommand | InstanceCommand]] = {
    "backup.create": CreateBackup,
    "backup.cancel": CancelBackup,
    **TASK_COMMANDS,
    **INSTANCE_COMMANDS,
}
LIMIT = 1 << 20
"""Bytes of a message at most; a command has some hundred."""
_LONGEST_REQUEST = 255


@dataclass(frozen=True, slots=True)
class Received:
    """A command as it came. After `expires` it is not to be carried out any more."""

    command: Command
    expires: datetime | None
    type: str = "backup.create"
    id: str = ""
    """The message's source and id, by which it is known again."""
    request: str = ""
    """Its id alone, by which the one who sent it knows the answer."""


def may_hold_secret(body: bytes) -> bool:
    """Whether a message, perhaps one that nobody understands, may show a password to those who read it."""
    return b"password" in body.lower()


def _a_string(value: object) -> object:
    if not isinstance(value, str):
        msg = "must be a time as in RFC 3339, such as 2026-01-31T12:00:00Z"
        raise ValueError(msg)  # noqa: TRY004 - pydantic takes a ValueError for what is wrong with the input
    return value


class Envelope(BaseModel):
    """The CloudEvents attributes; extension attributes are allowed, as the standard has it."""

    model_config = ConfigDict(frozen=True, extra="allow", strict=True)

    specversion: Literal["1.0"]
    id: str
    source: str
    type: str
    dataschema: Literal["urn:backup-agent:command:v1"]
    datacontenttype: Literal["application/json"] = "application/json"
    expires: Annotated[AwareDatetime, Field(strict=False), BeforeValidator(_a_string)] | None = None
    data: dict[str, Any]


def parse_command(body: bytes) -> Received:
    """Raises RejectedError (`invalid_message`) saying what is wrong and where; never with the message's content."""
    if len(body) > LIMIT:
        raise _invalid(f"it has more than {LIMIT} bytes")
    try:
        document = json.loads(body.decode("utf-8"), object_pairs_hook=_without_duplicates)
    except (ValueError, RecursionError) as error:
        raise _invalid(f"it is not JSON in UTF-8: {type(error).__name__}") from error
    try:
        envelope = Envelope.model_validate(document)
    except ValidationError as error:
        raise _invalid(explain(error, "the message")) from error
    if envelope.type in INSTANCE_COMMANDS and not 1 <= len(envelope.id) <= _LONGEST_REQUEST:
        raise _invalid(f"id: must have 1 to {_LONGEST_REQUEST} characters, to be answered by")
    kind = COMMANDS.get(envelope.type)
    if kind is None:
        raise _invalid(f"its type is {envelope.type[:64]!r}; this program carries out {', '.join(COMMANDS)}")
    try:
        command = kind.model_validate_json(json.dumps(envelope.data))
        return Received(command, envelope.expires, envelope.type, f"{envelope.source} {envelope.id}", envelope.id)
    except RecursionError as error:
        raise _invalid("its data is nested too deeply") from error
    except ValidationError as error:
        raise _invalid(explain(error, "data", "data")) from error


def _without_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    result = dict(pairs)
    if len(result) != len(pairs):
        msg = "a key is given twice"
        raise ValueError(msg)
    return result


def _invalid(why: str) -> RejectedError:
    return RejectedError(
        ErrorCode.INVALID_MESSAGE,
        f"the message is not a command this agent understands: {why}",
        "Send a CloudEvents 1.0 JSON message as docs/messages.md shows it.",
    )
