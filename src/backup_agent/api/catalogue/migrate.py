"""Brings a database to this program's version of the tables, or says that it is not there."""

from __future__ import annotations

import os
from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from alembic.util.exc import CommandError
from sqlalchemy import Connection

from backup_agent.api.catalogue.database import Database, sqlite_file
from backup_agent.errors import CatalogueError, ErrorCode

_MIGRATIONS = Path(__file__).parent / "migrations"


def upgrade(database: Database) -> str:
    """To the newest version, from whichever; the version. Raises CatalogueError.

    One at a time where the database allows: SQLite and PostgreSQL change tables in a transaction, MariaDB does not.
    """
    _make_file(database)

    def work(connection: Connection) -> str:
        configuration = _configuration()
        configuration.attributes["connection"] = connection
        try:
            command.upgrade(configuration, "head")
        except CommandError as error:
            raise _newer() from error
        return _newest()

    return database.write(work)


def make_ready(database: Database) -> None:
    """Upgrades SQLite, which one host alone uses; others must have been. Raises CatalogueError."""
    if sqlite_file(database.engine.url) is not None:
        upgrade(database)
    else:
        check(database)


def check(database: Database) -> None:
    """Raises CatalogueError (`catalogue_outdated`, `catalogue_newer`) when the tables are of another version."""
    with database.reading() as connection:
        found = MigrationContext.configure(connection).get_current_revision()
    if found == _newest():
        return
    known = {script.revision for script in ScriptDirectory.from_config(_configuration()).walk_revisions()}
    if found is not None and found not in known:
        raise _newer()
    raise CatalogueError(
        ErrorCode.CATALOGUE_OUTDATED,
        f"the catalogue's tables are of version {found or 'none'}, this program's of {_newest()}",
        "Stop all who use it, and run `backup-agent api db upgrade`.",
    )


def _newest() -> str:
    return str(ScriptDirectory.from_config(_configuration()).get_current_head())


def _configuration() -> Config:
    configuration = Config()
    configuration.set_main_option("script_location", str(_MIGRATIONS).replace("%", "%%"))
    configuration.set_main_option("path_separator", "os")
    return configuration


def _make_file(database: Database) -> None:
    """Of SQLite. Root makes it for the one whose directory it is: the service could not write it otherwise."""
    file = sqlite_file(database.engine.url)
    if file is None:
        return
    try:
        file.parent.mkdir(mode=0o750, parents=True, exist_ok=True)
        if not file.exists():
            file.touch(mode=0o640)
            if os.geteuid() == 0:
                owner = file.parent.stat()
                os.chown(file, owner.st_uid, owner.st_gid)
    except OSError as error:
        raise CatalogueError(
            ErrorCode.CATALOGUE_UNUSABLE,
            f"{file} can't be made: {error.strerror}",
            "Let database.url name a file in a directory that the API's user may write to.",
        ) from error


def _newer() -> CatalogueError:
    return CatalogueError(
        ErrorCode.CATALOGUE_NEWER,
        "the catalogue's tables were made by a newer version of this program",
        "Use that version, or a database of its own.",
    )
