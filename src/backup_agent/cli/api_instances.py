"""`backup-agent api instance`: the instances that the API knows."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated

import typer

from backup_agent.cli import output
from backup_agent.cli.api_session import DEFAULT, AccountOption, ConfigOption, account_id, catalogue, invalid
from backup_agent.cli.options import JsonOption
from backup_agent.domain.ids import is_uuid

if TYPE_CHECKING:
    from backup_agent.api.catalogue.values import Instance

instance = typer.Typer(no_args_is_help=True, help="The instances that the API knows.", rich_markup_mode=None)


@instance.command("add")
def instance_add(
    account: AccountOption,
    instance_id: Annotated[str, typer.Option("--id", help="The instance's id (a UUID), as its agent has it.")],
    name: Annotated[str, typer.Option("--name", help="What users call it.")],
    datastore: Annotated[str, typer.Option("--datastore", help="mariadb, mysql or percona.")] = "mariadb",
    datastore_version: Annotated[
        str | None, typer.Option("--datastore-version", help="Such as 10.11; without it, what the agent tells.")
    ] = None,
    config: ConfigOption = DEFAULT,
    json: JsonOption = False,
) -> None:
    """Register an instance with the account that owns it, or change its name or datastore.

    \b
    Examples:
      backup-agent api instance add --account 1234 --id 6f1c2c9e-31a4-4d2b-9a57-0d4b4f8f3b11 --name shop
    """
    with catalogue(config, json=json) as found:
        from backup_agent.api.catalogue.registering import Registration, add_instance  # noqa: PLC0415 - an extra

        registration = Registration(
            _instance_id(instance_id),
            account_id(account),
            _word(name, "name", 255),
            _word(datastore, "datastore", 64),
            datastore_version,
        )
        _print_instances([add_instance(found, registration, datetime.now(UTC))], json=json)


@instance.command("list")
def instance_list(
    account: Annotated[str | None, typer.Option("--account", help="Of this account alone.", metavar="ID")] = None,
    config: ConfigOption = DEFAULT,
    json: JsonOption = False,
) -> None:
    """List the instances.

    \b
    Examples:
      backup-agent api instance list
      backup-agent api instance list --account 1234 --json
    """
    with catalogue(config, json=json) as found:
        from backup_agent.api.catalogue.registering import list_instances  # noqa: PLC0415 - an extra

        _print_instances(list(list_instances(found, account)), json=json)


@instance.command("remove")
def instance_remove(
    instance_id: Annotated[str, typer.Argument(metavar="ID")],
    config: ConfigOption = DEFAULT,
    json: JsonOption = False,
) -> None:
    """Remove an instance. Its backups stay, and can be deleted by their owner.

    \b
    Examples:
      backup-agent api instance remove 6f1c2c9e-31a4-4d2b-9a57-0d4b4f8f3b11
    """
    with catalogue(config, json=json) as found:
        from backup_agent.api.catalogue.registering import remove_instance  # noqa: PLC0415 - an extra

        remove_instance(found, instance_id.lower(), datetime.now(UTC))


def _instance_id(text: str) -> str:
    if not is_uuid(text.lower()):
        raise invalid("the instance's id must be a UUID", "Give the instance.id of its agent's configuration.")
    return text.lower()


def _word(text: str, what: str, longest: int) -> str:
    if not text.strip() or not text.isprintable() or len(text) > longest:
        raise invalid(f"the {what} must be 1 to {longest} printable characters", "Choose another.")
    return text


def _print_instances(found: Sequence[Instance], *, json: bool) -> None:
    shown = [
        {
            "id": one.id,
            "account": one.account_id,
            "name": one.name,
            "datastore": one.datastore_type,
            "version": one.version,
            "agent": one.agent_version,
            "heard": None if one.heard is None else f"{one.heard:%Y-%m-%dT%H:%M:%S}",
        }
        for one in found
    ]
    if json:
        output.print_json({"instances": shown})
    else:
        columns = ("id", "account", "name", "datastore", "version", "agent", "heard")
        rows = [[str(one[column] or "-") for column in columns] for one in shown]
        output.print_table([column.upper() for column in columns], rows)
