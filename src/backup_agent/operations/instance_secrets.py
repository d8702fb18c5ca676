"""Commands without their passwords, as they are written down; the hashes that take their place are kept apart, and
forgotten with the end of the command.
"""

from __future__ import annotations

import json
from typing import Any

from backup_agent.domain.administration import native_hash
from backup_agent.domain.instance_command import CreateUsers, InstanceCommand, NewUser


def concealed(command: InstanceCommand) -> tuple[str, tuple[str, ...]]:
    """JSON without any secret, and the hashes of its passwords in their order."""
    if not isinstance(command, CreateUsers):
        return command.model_dump_json(), ()
    document = command.model_dump(mode="json", exclude={"users": {"__all__": {"password", "password_hash"}}})
    return json.dumps(document), tuple(map(hash_of, command.users))


def revealed(model: type[InstanceCommand], text: str, hashes: tuple[str, ...]) -> InstanceCommand:
    """The command again, with hashes for its passwords. Raises ValueError when they do not fit."""
    document: dict[str, Any] = json.loads(text)
    if issubclass(model, CreateUsers):
        document["users"] = [
            {**user, "password_hash": password_hash}
            for user, password_hash in zip(document["users"], hashes, strict=True)
        ]
    return model.model_validate_json(json.dumps(document))


def hash_of(user: NewUser) -> str:
    if user.password is not None:
        return native_hash(user.password.get_secret_value())
    return user.password_hash or ""
