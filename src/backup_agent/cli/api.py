"""`backup-agent api`: the control plane, an optional part of the program; serves it, and upgrades its database."""

from __future__ import annotations

import os
import tempfile
from contextlib import closing

import typer

from backup_agent.cli import output
from backup_agent.cli.api_instances import instance
from backup_agent.cli.api_session import DEFAULT, ConfigOption, configured, open_catalogue_of
from backup_agent.cli.api_tokens import token
from backup_agent.cli.options import JsonOption

_COUNTS = "PROMETHEUS_MULTIPROC_DIR"

api = typer.Typer(no_args_is_help=True, help="The control plane (extra [api]).", rich_markup_mode=None)
database = typer.Typer(no_args_is_help=True, help="The API's database.", rich_markup_mode=None)
api.add_typer(instance, name="instance")
api.add_typer(token, name="token")
api.add_typer(database, name="db")


@api.command("run")
def run(config: ConfigOption = DEFAULT, json: JsonOption = False) -> None:
    """Serve the API, send commands to agents and follow what they tell, until stopped.

    \b
    Examples:
      backup-agent api run
      backup-agent api run --config /etc/backup-agent/backup-api.toml
    """
    with configured(config, json=json) as settings, tempfile.TemporaryDirectory(prefix="backup-api-") as counts:
        # Prometheus's library decides when it is first imported whether processes count together.
        os.environ[_COUNTS] = counts
        from backup_agent.api.serving import serve  # noqa: PLC0415 - see above, and it is an extra

        serve(settings, os.environ, counts)


@database.command("upgrade")
def database_upgrade(config: ConfigOption = DEFAULT, json: JsonOption = False) -> None:
    """Make the tables, or bring them to this program's version. SQLite needs no asking.

    \b
    Examples:
      backup-agent api db upgrade
    """
    with configured(config, json=json) as settings, closing(open_catalogue_of(settings)) as found:
        from backup_agent.api.catalogue.migrate import upgrade  # noqa: PLC0415 - an extra

        version = upgrade(found)
        output.print_json({"version": version}) if json else output.print_fields({"version": version})
