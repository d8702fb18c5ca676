"""What operations on the instance work with, as the configuration wants it."""

from __future__ import annotations

import shutil

from backup_agent.config.administering import AdministrationConfig
from backup_agent.config.file import Config, read_password
from backup_agent.domain.administration import Action, Reserved
from backup_agent.engine.power_command import CommandPower
from backup_agent.errors import ErrorCode, InstanceError
from backup_agent.instance.administration import Power
from backup_agent.instance.administration_grants import GRANT_OPTION, administrator_statements
from backup_agent.instance.administration_sighting import SightedVitals, Sighting
from backup_agent.instance.administration_sql import MariaDBAdministration
from backup_agent.instance.administration_vitals import ServerVitals
from backup_agent.instance.connection import Endpoint
from backup_agent.instance.power_request import NoPower, RequestedPower
from backup_agent.operations.services import Administered


def administered(config: Config, sighting: Sighting) -> Administered | None:
    """None where they are not enabled. Raises ConfigError. Connects to nothing yet.

    `sighting` is told whether the server is seen to run.
    """
    section = config.administration
    if not section.enabled:
        return None
    endpoint = _endpoint(config)
    return Administered(
        server=MariaDBAdministration(endpoint, section.statement_s),
        vitals=SightedVitals(ServerVitals(endpoint), sighting),
        power=_power(config),
        reserved=Reserved(
            databases=frozenset(section.protected_databases),
            users=frozenset({*section.protected_users, config.instance.user, section.user}),
        ),
        power_within=section.power_s,
    )


def probe_administration(config: Config) -> str:
    """Whether its user may do what it has to, and its commands are there. Raises InstanceError, and ConfigError."""
    section = config.administration
    lacking = ServerVitals(_endpoint(config)).missing_grants()
    if lacking:
        statement = administrator_statements(section.user, None)[-1]
        raise InstanceError(
            ErrorCode.GRANT_MISSING,
            f"the database user {section.user} lacks {', '.join(lacking)}",
            f"Run as an administrator: {statement};"
            if GRANT_OPTION in lacking
            else f"Run as an administrator: GRANT {', '.join(lacking)} ON *.* TO the user {section.user};",
        )
    for argv in _commands(section).values():
        if argv and shutil.which(argv[0]) is None:
            raise InstanceError(
                ErrorCode.POWER_FAILED,
                f"{argv[0]} is not there, or not executable",
                "Mend the commands in [administration].",
            )
    return f"user {section.user} has what operations on the instance need; restart and stop: {section.power}"


def _endpoint(config: Config) -> Endpoint:
    instance, section = config.instance, config.administration
    password = read_password(section, "administration")
    return Endpoint(instance.socket, instance.host, instance.port, section.user, password, "administration")


def _power(config: Config) -> Power:
    match config.administration.power:
        case "systemd":
            return RequestedPower(config.instance.runtime_dir, config.instance.id)
        case "command":
            return CommandPower(_commands(config.administration))
        case "none":
            return NoPower()


def _commands(section: AdministrationConfig) -> dict[Action, tuple[str, ...]]:
    return {
        Action.RESTART: section.restart_command,
        Action.STOP: section.stop_command,
        Action.DELETE: section.delete_command,
    }
