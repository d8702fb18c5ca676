"""What the agent can be asked to do, as validated values. How a command travels is the inbox's business."""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping
from typing import Annotated

from pydantic import AfterValidator, StringConstraints, model_validator

from backup_agent.domain.frozen import Frozen
from backup_agent.domain.ids import AccountId, BackupId, ContainerName, InstanceId
from backup_agent.domain.instance_command import InstanceCommand
from backup_agent.domain.verification import Level


def printable(text: str) -> str:
    """`text`, if it can be shown on one line. Raises ValueError."""
    if any(unicodedata.category(character) in ("Cc", "Cs", "Zl", "Zp") for character in text):
        msg = "must not contain control characters or line breaks"
        raise ValueError(msg)
    return text


def _has_letter_or_digit(text: str) -> str:
    if not any(character.isalnum() for character in text):
        msg = "must contain a letter or a digit"
        raise ValueError(msg)
    return text


BackupName = Annotated[
    str,
    StringConstraints(min_length=1, max_length=64),
    AfterValidator(printable),
    AfterValidator(_has_letter_or_digit),
]
Description = Annotated[str, StringConstraints(max_length=512), AfterValidator(printable)]


class BackupRequest(Frozen):
    """The backup as its creator describes it. `parent_id` wins nothing over `incremental`: only one may be given."""

    id: BackupId
    name: BackupName
    description: Description | None = None
    instance_id: InstanceId
    account_id: AccountId
    parent_id: BackupId | None = None
    incremental: bool = False
    """Use the newest completed backup as the parent."""

    @model_validator(mode="after")
    def _one_way_to_name_the_parent(self) -> BackupRequest:
        if self.incremental and self.parent_id is not None:
            msg = "give either parent_id or incremental, not both"
            raise ValueError(msg)
        if self.parent_id == self.id:
            msg = "a backup can't be its own parent"
            raise ValueError(msg)
        return self


class CreateBackup(Frozen):
    """`backup.create`."""

    backup: BackupRequest
    container: ContainerName | None = None
    """None: the container of the configuration."""


class CancelBackup(Frozen):
    """`backup.cancel`: ends the backup that runs or waits, which is then FAILED; nothing of it is kept."""

    backup_id: BackupId


class DeleteBackup(Frozen):
    """`backup.delete`: the backup goes, and before it everything that is built on it."""

    backup_id: BackupId
    account_id: AccountId


class VerifyBackup(Frozen):
    """`backup.verify`: whether the backup can be relied on, with the chain it needs."""

    backup_id: BackupId
    level: Level = Level.DIGEST


TaskCommand = DeleteBackup | VerifyBackup
"""What is asked about a backup that is there."""
TASK_COMMANDS: Mapping[str, type[TaskCommand]] = {"backup.delete": DeleteBackup, "backup.verify": VerifyBackup}
"""By their types."""
Command = CreateBackup | CancelBackup | TaskCommand | InstanceCommand
