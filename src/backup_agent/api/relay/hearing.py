"""What agents tell, read from the wire: JSON CloudEvents 1.0 as `report.wire` writes them. Decides nothing.

Unknown fields are allowed: an agent may be newer than the control plane.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Annotated, Any, Literal

from pydantic import AwareDatetime, BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from backup_agent.domain.ids import BackupId, InstanceId
from backup_agent.domain.state import State
from backup_agent.domain.validation import explain
from backup_agent.errors import ErrorCode, RejectedError

HEARTBEAT = "agent.heartbeat"
VERIFIED = "backup.verified"
RESTORED = "backup.restored"
REJECTED = "backup.rejected"
DELETE_FAILED = "backup.delete_failed"
ABOUT_BACKUPS = frozenset(
    f"backup.{what}"
    for what in (
        *("accepted", "rejected", "started", "progress", "warning", "completed", "failed"),
        *("deleted", "delete_failed", "verified", "restored"),
    )
)
ANSWERS = frozenset({"instance.done", "instance.failed", "instance.rejected"})
LIMIT = 1 << 20
"""Bytes of a message at most."""
_LONGEST = 4000
"""Characters of an error's words that are kept."""


def _a_time(value: object) -> object:
    """RFC 3339, or without zone as the resource has its times: UTC."""
    if not isinstance(value, str):
        msg = "must be a time as text"
        raise ValueError(msg)  # noqa: TRY004 - pydantic takes a ValueError for what is wrong with the input
    moment = datetime.fromisoformat(value)
    return moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)


def _shortened(value: object) -> object:
    if not isinstance(value, str):
        return value
    # A file's name in an error need not be Unicode.
    return value[:_LONGEST].replace("\0", "").encode("utf-8", "replace").decode("utf-8")


Time = Annotated[AwareDatetime, Field(strict=False), BeforeValidator(_a_time)]
Words = Annotated[str, BeforeValidator(_shortened)]
Version = Annotated[str, Field(max_length=64, pattern=r"^[^\x00]*$")]
Text = Annotated[str, Field(max_length=128, pattern=r"^[^\x00]*$")]


class _Told(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore", strict=True)


class Trouble(_Told):
    code: Version
    message: Words
    hint: Words
    status: int | None = None
    """As HTTP has it: it was refused, and nothing was begun."""


class Datastore(_Told):
    type: Version
    version: Version
    version_id: Text


class BackupTold(_Told):
    """The resource as the agent has it, and what is new."""

    id: BackupId
    instance_id: InstanceId
    name: Annotated[str, Field(min_length=1, max_length=64, pattern=r"^[^\x00]*$")] | None
    """None when the agent has forgotten all of it but its id."""
    description: Annotated[str, Field(max_length=512, pattern=r"^[^\x00]*$")] | None = None
    parent_id: BackupId | None = None
    status: Annotated[State, Field(strict=False)]
    created: Time | None
    size: Annotated[float, Field(ge=0, allow_inf_nan=False)] | None = None
    location: Annotated[str | None, Field(alias="locationRef", max_length=2048, pattern=r"^[^\x00]*$")] = None
    checksum: Text | None = None
    datastore: Datastore | None = None
    sequence: Annotated[int, Field(ge=1, lt=1 << 53)]
    phase: Annotated[str, Field(max_length=16)] | None = None
    percent: Annotated[int, Field(ge=0, le=100)] = 0
    error: Trouble | None = None
    verified_at: Time | None = None
    verification: dict[str, Any] | None = None
    """What a verification found; None also when it could not be carried out."""


class AgentTold(_Told):
    """A heartbeat."""

    instance_id: InstanceId
    agent_version: Version | None = None
    engine_version: Text | None = None
    server_version: Text | None = None
    job: BackupId | None = None
    server_running: bool | None = None
    """Whether it was seen to run since the agent has last stopped it."""


class AnswerTold(_Told):
    """What became of an operation on the instance. `result` is not looked at here."""

    request_id: Annotated[str, Field(min_length=1, max_length=255)]
    """The id of the command's message."""
    command: Version
    instance_id: InstanceId
    status: Literal["DONE", "FAILED", "REJECTED"]
    finished: Time
    result: dict[str, Any] | None = None
    error: Trouble | None = None
    backup_id: BackupId | None = None


Told = BackupTold | AgentTold | AnswerTold


class _Envelope(BaseModel):
    model_config = ConfigDict(frozen=True, extra="allow", strict=True)

    specversion: Literal["1.0"]
    id: str
    source: str
    type: str
    time: Time
    dataschema: Literal["urn:backup-agent:event:v1"]
    data: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Heard:
    """`time` is the agent's."""

    type: str
    time: datetime
    data: Told


def parse_event(body: bytes, routing_key: str) -> Heard:
    """Raises RejectedError (`invalid_message`, `wrong_instance`) saying what is wrong, never with the content.

    The routing key is what a broker can hold an agent to: the instance in the message must be the one in it.
    """
    if len(body) > LIMIT:
        raise _invalid(f"it has more than {LIMIT} bytes")
    try:
        envelope = _Envelope.model_validate(json.loads(body.decode("utf-8")))
        data = _model_of(envelope.type).model_validate(envelope.data)
    except ValidationError as error:
        raise _invalid(explain(error, "the message")) from error
    except (ValueError, RecursionError) as error:
        raise _invalid(f"it is not JSON in UTF-8: {type(error).__name__}") from error
    if not routing_key.startswith(f"{data.instance_id}."):
        raise RejectedError(
            ErrorCode.WRONG_INSTANCE,
            "the event's routing key does not name the instance that it tells of",
            "Let each agent's user at the broker publish with its own instance's id alone.",
        )
    return Heard(envelope.type, envelope.time, data)


def _model_of(kind: str) -> type[Told]:
    if kind == HEARTBEAT:
        return AgentTold
    if kind in ANSWERS:
        return AnswerTold
    if kind not in ABOUT_BACKUPS:
        raise _invalid(f"its type is {kind[:64]!r}")
    return BackupTold


def _invalid(why: str) -> RejectedError:
    return RejectedError(
        ErrorCode.INVALID_MESSAGE,
        f"the message is not an event this program understands: {why}",
        "Events are CloudEvents 1.0 JSON messages as docs/messages.md shows them.",
    )
