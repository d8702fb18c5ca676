"""`backup-agent api`: the control plane, an optional part of the program. Imports it only when it is asked for."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from datetime import UTC, datetime
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from pydantic import TypeAdapter, ValidationError

from backup_agent.cli import output
from backup_agent.cli.options import JsonOption
from backup_agent.cli.session import reported
from backup_agent.domain.ids import AccountId, is_uuid
from backup_agent.domain.validation import explain
from backup_agent.errors import ConfigError, ErrorCode, RejectedError

if TYPE_CHECKING:
    from backup_agent.api.catalogue.database import Database
    from backup_agent.api.catalogue.values import Instance
    from backup_agent.api.settings import ApiConfig
    from backup_agent.api.tokens import Token

_DEFAULT = Path("/etc/backup-agent/backup-api.toml")
_NEEDED = ("alembic", "fastapi", "sqlalchemy", "uvicorn")
_COUNTS = "PROMETHEUS_MULTIPROC_DIR"

api = typer.Typer(no_args_is_help=True, help="The control plane (extra [api]).", rich_markup_mode=None)
instance = typer.Typer(no_args_is_help=True, help="The instances that the API knows.", rich_markup_mode=None)
token = typer.Typer(no_args_is_help=True, help="Who may use the API.", rich_markup_mode=None)
database = typer.Typer(no_args_is_help=True, help="The API's database.", rich_markup_mode=None)
api.add_typer(instance, name="instance")
api.add_typer(token, name="token")
api.add_typer(database, name="db")

ConfigOption = Annotated[
    Path,
    typer.Option("--config", "-c", envvar="BACKUP_API_CONFIG_FILE", help="The configuration file.", metavar="FILE"),
]
AccountOption = Annotated[str, typer.Option("--account", help="The account (tenant, project).", metavar="ID")]


@api.command("run")
def run(config: ConfigOption = _DEFAULT, json: JsonOption = False) -> None:
    """Serve the API, send commands to agents and follow what they tell, until stopped.

    \b
    Examples:
      backup-agent api run
      backup-agent api run --config /etc/backup-agent/backup-api.toml
    """
    with _configured(config, json=json) as settings, tempfile.TemporaryDirectory(prefix="backup-api-") as counts:
        # Prometheus's library decides when it is first imported whether processes count together.
        os.environ[_COUNTS] = counts
        from backup_agent.api.serving import serve  # noqa: PLC0415 - see above, and it is an extra

        serve(settings, os.environ, counts)


@instance.command("add")
def instance_add(
    account: AccountOption,
    instance_id: Annotated[str, typer.Option("--id", help="The instance's id (a UUID), as its agent has it.")],
    name: Annotated[str, typer.Option("--name", help="What users call it.")],
    datastore: Annotated[str, typer.Option("--datastore", help="mariadb, mysql or percona.")] = "mariadb",
    datastore_version: Annotated[
        str | None, typer.Option("--datastore-version", help="Such as 10.11; without it, what the agent tells.")
    ] = None,
    config: ConfigOption = _DEFAULT,
    json: JsonOption = False,
) -> None:
    """Register an instance with the account that owns it, or change its name or datastore.

    \b
    Examples:
      backup-agent api instance add --account 1234 --id 6f1c2c9e-31a4-4d2b-9a57-0d4b4f8f3b11 --name shop
    """
    with _catalogue(config, json=json) as found:
        from backup_agent.api.catalogue.registering import Registration, add_instance  # noqa: PLC0415 - an extra

        registration = Registration(
            _instance_id(instance_id),
            _account(account),
            _word(name, "name", 255),
            _word(datastore, "datastore", 64),
            datastore_version,
        )
        _print_instances([add_instance(found, registration, datetime.now(UTC))], json=json)


@instance.command("list")
def instance_list(
    account: Annotated[str | None, typer.Option("--account", help="Of this account alone.", metavar="ID")] = None,
    config: ConfigOption = _DEFAULT,
    json: JsonOption = False,
) -> None:
    """List the instances.

    \b
    Examples:
      backup-agent api instance list
      backup-agent api instance list --account 1234 --json
    """
    with _catalogue(config, json=json) as found:
        from backup_agent.api.catalogue.registering import list_instances  # noqa: PLC0415 - an extra

        _print_instances(list(list_instances(found, account)), json=json)


@instance.command("remove")
def instance_remove(
    instance_id: Annotated[str, typer.Argument(metavar="ID")],
    config: ConfigOption = _DEFAULT,
    json: JsonOption = False,
) -> None:
    """Remove an instance. Its backups stay, and can be deleted by their owner.

    \b
    Examples:
      backup-agent api instance remove 6f1c2c9e-31a4-4d2b-9a57-0d4b4f8f3b11
    """
    with _catalogue(config, json=json) as found:
        from backup_agent.api.catalogue.registering import remove_instance  # noqa: PLC0415 - an extra

        remove_instance(found, instance_id.lower(), datetime.now(UTC))


@token.command("add")
def token_add(
    account: AccountOption,
    admin: Annotated[bool, typer.Option("--admin", help="May ask for all accounts.")] = False,
    comment: Annotated[str, typer.Option("--comment", help="Whose it is, for the list.")] = "",
    config: ConfigOption = _DEFAULT,
    json: JsonOption = False,
) -> None:
    """Make a token, and print it: this once, for only its digest is kept.

    \b
    Examples:
      backup-agent api token add --account 1234 --comment "the shop's deployment"
      backup-agent api token add --account operators --admin
    """
    with _configured(config, json=json) as settings:
        from backup_agent.api.tokens import TokenFile  # noqa: PLC0415 - an extra

        created = f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}"
        entry, secret = TokenFile(settings.auth.tokens_file).add(
            _account(account), admin=admin, comment=comment[:200], created=created
        )
        shown = {**_token_fields(entry), "token": secret}
        output.print_json({"token": shown}) if json else output.print_fields(shown)


@token.command("list")
def token_list(config: ConfigOption = _DEFAULT, json: JsonOption = False) -> None:
    """List the tokens, without what they are.

    \b
    Examples:
      backup-agent api token list
    """
    with _configured(config, json=json) as settings:
        from backup_agent.api.tokens import TokenFile  # noqa: PLC0415 - an extra

        tokens = [_token_fields(entry) for entry in TokenFile(settings.auth.tokens_file).tokens()]
        if json:
            output.print_json({"tokens": tokens})
        else:
            columns = ("id", "account", "admin", "created", "comment")
            rows = [[str(entry[column]) for column in columns] for entry in tokens]
            output.print_table([column.upper() for column in columns], rows)


@token.command("revoke")
def token_revoke(
    token_id: Annotated[str, typer.Argument(metavar="ID", help="As `list` shows it.")],
    config: ConfigOption = _DEFAULT,
    json: JsonOption = False,
) -> None:
    """Revoke a token: it ends at once.

    \b
    Examples:
      backup-agent api token revoke 3b9f4c1d
    """
    with _configured(config, json=json) as settings:
        from backup_agent.api.tokens import TokenFile  # noqa: PLC0415 - an extra

        TokenFile(settings.auth.tokens_file).revoke(token_id)


@database.command("upgrade")
def database_upgrade(config: ConfigOption = _DEFAULT, json: JsonOption = False) -> None:
    """Make the tables, or bring them to this program's version. SQLite needs no asking.

    \b
    Examples:
      backup-agent api db upgrade
    """
    with _configured(config, json=json) as settings, closing(_open(settings)) as found:
        from backup_agent.api.catalogue.migrate import upgrade  # noqa: PLC0415 - an extra

        version = upgrade(found)
        output.print_json({"version": version}) if json else output.print_fields({"version": version})


@contextmanager
def _configured(file: Path, *, json: bool) -> Iterator[ApiConfig]:
    with reported(json=json) as use_level:
        missing = [name for name in _NEEDED if find_spec(name) is None]
        if missing:
            raise ConfigError(
                ErrorCode.EXTRA_MISSING,
                f"the control plane is not installed: {', '.join(missing)} can't be imported",
                "Install its extra: pip install 'backup-agent[api]'.",
            )
        from backup_agent.api.settings import load  # noqa: PLC0415 - an extra

        settings = load(file)
        use_level(settings.log.level)
        yield settings


@contextmanager
def _catalogue(file: Path, *, json: bool) -> Iterator[Database]:
    with _configured(file, json=json) as settings, closing(_open(settings)) as found:
        from backup_agent.api.catalogue.migrate import make_ready  # noqa: PLC0415 - an extra

        make_ready(found)
        yield found


def _open(settings: ApiConfig) -> Database:
    from backup_agent.api.parts import open_database  # noqa: PLC0415 - an extra

    return open_database(settings)


def _instance_id(text: str) -> str:
    if not is_uuid(text.lower()):
        raise _invalid("the instance's id must be a UUID", "Give the instance.id of its agent's configuration.")
    return text.lower()


def _account(text: str) -> str:
    try:
        return str(TypeAdapter(AccountId).validate_python(text))
    except ValidationError as error:
        raise _invalid(
            f"the account can't be used: {explain(error, 'it')}", "It is the instance.account_id of the agents."
        ) from error


def _word(text: str, what: str, longest: int) -> str:
    if not text.strip() or not text.isprintable() or len(text) > longest:
        raise _invalid(f"the {what} must be 1 to {longest} printable characters", "Choose another.")
    return text


def _invalid(message: str, hint: str) -> RejectedError:
    return RejectedError(ErrorCode.INVALID_REQUEST, message, hint)


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


def _token_fields(entry: Token) -> dict[str, object]:
    return {
        "id": entry.id,
        "account": entry.account_id,
        "admin": entry.admin,
        "created": entry.created,
        "comment": entry.comment,
    }
