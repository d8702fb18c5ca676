"""What the commands of `backup-agent api` have in common: their options, configuration and catalogue.

The control plane is an optional part of the program: it is imported only when it is asked for.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from pydantic import TypeAdapter, ValidationError

from backup_agent.cli.session import reported
from backup_agent.domain.ids import AccountId
from backup_agent.domain.validation import explain
from backup_agent.errors import ConfigError, ErrorCode, RejectedError

if TYPE_CHECKING:
    from backup_agent.api.catalogue.database import Database
    from backup_agent.api.settings import ApiConfig

DEFAULT = Path("/etc/backup-agent/backup-api.toml")
_NEEDED = ("alembic", "fastapi", "sqlalchemy", "uvicorn")

ConfigOption = Annotated[
    Path,
    typer.Option("--config", "-c", envvar="BACKUP_API_CONFIG_FILE", help="The configuration file.", metavar="FILE"),
]
AccountOption = Annotated[str, typer.Option("--account", help="The account (tenant, project).", metavar="ID")]


@contextmanager
def configured(file: Path, *, json: bool) -> Iterator[ApiConfig]:
    """The API's configuration. What goes wrong inside, or when the extra is not installed, ends the program."""
    with reported(json=json) as use_level:
        missing = [name for name in _NEEDED if find_spec(name) is None]
        if missing:
            raise ConfigError(
                ErrorCode.EXTRA_MISSING,
                f"the control plane is not installed: {', '.join(missing)} can't be imported",
                "Install its extra, where the program is: pip install --require-hashes -r requirements/api.lock.",
            )
        from backup_agent.api.settings import load  # noqa: PLC0415 - an extra

        settings = load(file)
        use_level(settings.log.level)
        yield settings


@contextmanager
def catalogue(file: Path, *, json: bool) -> Iterator[Database]:
    """The catalogue of that configuration, with its tables."""
    with configured(file, json=json) as settings, closing(open_catalogue_of(settings)) as found:
        from backup_agent.api.catalogue.migrate import make_ready  # noqa: PLC0415 - an extra

        make_ready(found)
        yield found


def open_catalogue_of(settings: ApiConfig) -> Database:
    from backup_agent.api.parts import open_database  # noqa: PLC0415 - an extra

    return open_database(settings)


def account_id(text: str) -> str:
    try:
        return str(TypeAdapter(AccountId).validate_python(text))
    except ValidationError as error:
        raise invalid(
            f"the account can't be used: {explain(error, 'it')}", "It is the instance.account_id of the agents."
        ) from error


def invalid(message: str, hint: str) -> RejectedError:
    return RejectedError(ErrorCode.INVALID_REQUEST, message, hint)
