"""`instance.create_databases`, `instance.list_databases` and `instance.delete_database`.

What is there already is refused, unless it may be the work of an attempt that was interrupted. Nothing is taken back
when one of several fails: the error names it, and those before it are made.
"""

from __future__ import annotations

from backup_agent.domain.administration import Reserved
from backup_agent.domain.instance_command import (
    CreateDatabases,
    DeleteDatabase,
    InstanceCommandType,
    ListDatabases,
    NewDatabase,
)
from backup_agent.domain.instance_names import database_refusal, new_databases_refusal
from backup_agent.instance.administration_refusals import (
    database_exists,
    database_not_found,
    name_refused,
    refused,
)
from backup_agent.operations.instance_operation import Operation, Result, Work, no_names
from backup_agent.operations.instance_pages import page


def create(command: CreateDatabases, work: Work) -> Result:
    if not work.again:
        there = {database.name for database in work.server.databases()}
        for database in command.databases:
            if database.name in there:
                raise database_exists(database.name)
        _check_collations(command, work)
        work.begin()
    for database in command.databases:
        work.server.create_database(
            database.name, character_set=database.character_set, collate=database.collate, again=work.again
        )
    return {"databases": [{"name": database.name} for database in command.databases]}


def listed(command: ListDatabases, work: Work) -> Result:
    ours = [one for one in work.server.databases() if not work.reserved.has_database(one.name)]
    shown_now, marker = page(ours, lambda one: one.name, command)
    databases = [{"name": one.name, "character_set": one.character_set, "collate": one.collate} for one in shown_now]
    return {"databases": databases, "next_marker": marker}


def delete(command: DeleteDatabase, work: Work) -> Result:
    if not work.again:
        if command.name not in {database.name for database in work.server.databases()}:
            raise database_not_found(command.name)
        work.begin()
    work.server.drop_database(command.name, again=work.again)
    return {}


def _check_collations(command: CreateDatabases, work: Work) -> None:
    wanting = [one for one in command.databases if one.character_set is not None or one.collate is not None]
    if not wanting:
        return
    known = {(charset.lower(), collation.lower()) for charset, collation in work.server.collations()}
    for one in wanting:
        if not any(_fits(one, charset, collation) for charset, collation in known):
            raise name_refused(
                "character set", f"{one.character_set or ''} {one.collate or ''}".strip(), "is not one of the server's"
            )


def _fits(wanted: NewDatabase, charset: str, collation: str) -> bool:
    """`utf8` is the server's other name for `utf8mb3`."""
    asked = [one.lower().replace("utf8_", "utf8mb3_") if one else one for one in (wanted.character_set, wanted.collate)]
    asked_charset = "utf8mb3" if asked[0] == "utf8" else asked[0]
    return asked_charset in {None, charset} and asked[1] in {None, collation}


def _check_new(command: CreateDatabases, reserved: Reserved) -> None:
    if why := new_databases_refusal(command.databases, reserved):
        raise refused(why)


def _check_delete(command: DeleteDatabase, reserved: Reserved) -> None:
    if why := database_refusal(command.name, reserved):
        raise refused(why)


CREATE_DATABASES = Operation(InstanceCommandType.CREATE_DATABASES, CreateDatabases, _check_new, create)
LIST_DATABASES = Operation(InstanceCommandType.LIST_DATABASES, ListDatabases, no_names, listed)
DELETE_DATABASE = Operation(InstanceCommandType.DELETE_DATABASE, DeleteDatabase, _check_delete, delete)
