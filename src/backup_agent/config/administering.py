"""Operations on the instance itself: databases, users, restart and stop."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, SecretStr, model_validator

from backup_agent.config.section import Section, Text


class AdministrationConfig(Section):
    """Operations on the instance itself, for a platform: databases, users, restart, stop; see docs/administration.md.
    Off by default: they need a database user as good as root.
    """

    enabled: bool = False
    """Carry out `instance.*` commands; otherwise they are rejected."""
    user: Text = "backup_administrator"
    """The database user for them, at the place that [instance] names; another one than that for backups."""
    password: SecretStr | None = None
    """Its password. Leave it out for unix_socket authentication."""
    password_file: Path | None = None
    """A file that holds the password (such as a systemd credential); its last line break is ignored."""
    statement_s: Annotated[float, Field(ge=1, le=60)] = 30
    """How long a statement waits for those who use what it changes."""
    power: Literal["none", "systemd", "command"] = "none"
    """Who restarts and stops the server: nobody, root's `backup-agent-power@INSTANCE_ID.path`, or commands of yours."""
    restart_command: tuple[Text, ...] = ()
    """A program and its arguments, run without a shell; ends with 0 when the server runs again."""
    stop_command: tuple[Text, ...] = ()
    """The same, to stop the server."""
    delete_command: tuple[Text, ...] = ()
    """The same, to stop it for good: it must not start by itself any more."""
    power_s: Annotated[float, Field(ge=1, le=3600)] = 120
    """How long that may take, until the server is seen to run again, or to be stopped."""
    backup_wait_s: Annotated[float, Field(ge=0, le=86_400)] = 60
    """How long a backup that comes during an operation waits for its end before it is refused."""
    protected_users: tuple[Text, ...] = ()
    """Users that are never shown, made or deleted, beside the system's, this agent's and those with global powers."""
    protected_databases: tuple[Text, ...] = ()
    """The same for databases, beside the system's."""

    @model_validator(mode="after")
    def _whole(self) -> AdministrationConfig:
        if self.password is not None and self.password_file is not None:
            msg = "give either password or password_file, not both"
            raise ValueError(msg)
        if (self.power == "command") != any((self.restart_command, self.stop_command, self.delete_command)):
            msg = 'power = "command" goes with at least one of restart_command, stop_command, delete_command'
            raise ValueError(msg)
        return self
