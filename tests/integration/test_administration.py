"""What operations on the instance do to a real server, and what a thousand hostile names do not."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing
from typing import Any

import pymysql
import pytest

from backup_agent.domain.administration import Reserved, database_fault, host_fault, native_hash, user_fault
from backup_agent.errors import BackupAgentError, ErrorCode, InstanceError
from backup_agent.instance.administration_grants import ADMINISTRATION_GRANTS
from backup_agent.instance.administration_sql import MariaDBAdministration
from backup_agent.instance.administration_vitals import ServerVitals
from backup_agent.instance.connection import Endpoint
from tests.administered import ADMINISTRATOR, ADMINISTRATOR_PASSWORD, create_administrator, names, users
from tests.hostile import HOSTILE
from tests.servers.mariadb import PrivateMariaDB

pytestmark = pytest.mark.server

NOTHING_RESERVED = Reserved(users=frozenset({ADMINISTRATOR}))
HASH = native_hash("password")


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PrivateMariaDB]:
    with PrivateMariaDB(tmp_path_factory.mktemp("administered"), extra_options=["skip-log-bin"]) as server:
        create_administrator(server)
        server.execute("CREATE DATABASE kept", "CREATE TABLE kept.t (i INT)", "CREATE USER kept")
        yield server


@pytest.fixture(scope="module")
def administration(server: PrivateMariaDB) -> MariaDBAdministration:
    return MariaDBAdministration(endpoint(server), 5)


def endpoint(server: PrivateMariaDB) -> Endpoint:
    return Endpoint(server.socket, user=ADMINISTRATOR, password=ADMINISTRATOR_PASSWORD, section="administration")


def everything(server: PrivateMariaDB) -> tuple[Any, ...]:
    grants = server.query("SELECT Host, Db, User FROM mysql.db")
    tables = server.query("SELECT TABLE_SCHEMA, TABLE_NAME FROM information_schema.TABLES WHERE TABLE_SCHEMA = 'kept'")
    return names(server), users(server), sorted(map(str, grants)), tables


def test_a_thousand_hostile_names_of_databases_become_just_these_or_are_refused(
    server: PrivateMariaDB, administration: MariaDBAdministration
) -> None:
    before = everything(server)
    made = set()
    for name in HOSTILE:
        try:
            administration.create_database(name)
        except (BackupAgentError, UnicodeEncodeError):
            continue
        made.add(name)
    assert names(server) == before[0] | made
    allowed = {name for name in HOSTILE if database_fault(name, NOTHING_RESERVED, new=True) is None}
    assert allowed - made == {"kept", "\u5099" * 64}, "it makes what the rules allow, but for long names of directories"
    assert len(allowed) > 50
    for name in made:
        administration.drop_database(name)
    assert everything(server) == before


def test_a_thousand_hostile_names_of_users_and_databases_grant_just_this_or_nothing(
    server: PrivateMariaDB, administration: MariaDBAdministration
) -> None:
    before = everything(server)
    made: dict[str, str] = {}
    for name, database in zip(HOSTILE, reversed(HOSTILE), strict=True):
        if name in made:
            continue
        try:
            administration.create_user(name, "%", HASH, [database])
        except (BackupAgentError, UnicodeEncodeError):
            continue
        made[name] = database
    found = {user.name: user for user in administration.users() if (user.name, user.host) not in before[1]}
    assert made.keys() - found.keys() == set(), "under another name"
    assert {name: user.databases for name, user in found.items() if name in made} == {
        name: (database,) for name, database in made.items()
    }
    half_made = found.keys() - made.keys()
    assert all(found[name].databases == () for name in half_made), "the server refused the grant"
    allowed = {name for name in made if user_fault(name, NOTHING_RESERVED, new=True) is None}
    assert len(allowed) > 30
    for name in found:
        administration.drop_user(name, "%")
    assert everything(server) == before


def test_hostile_hosts_are_refused_before_they_reach_the_server() -> None:
    for host in HOSTILE:
        if host_fault(host) is None:
            assert host in {"%", "localhost", "a", "B", "0"} or host.replace(".", "").replace("%", "").isalnum(), host


def test_a_grant_on_a_name_with_wildcards_covers_no_other_database(
    server: PrivateMariaDB, administration: MariaDBAdministration
) -> None:
    for name in ("a_b", "axb", "50%", "50x", "5"):
        administration.create_database(name)
    administration.create_user("careful", "%", HASH, ["a_b", "50%"])
    with closing(server.connect("careful", "password")) as connection, connection.cursor() as cursor:
        cursor.execute("SHOW DATABASES")
        assert {row[0] for row in cursor.fetchall()} == {"a_b", "50%", "information_schema"}
        with pytest.raises(pymysql.err.OperationalError, match="denied"):
            cursor.execute("GRANT SELECT ON `a\\_b`.* TO careful")
    administration.drop_user("careful", "%")
    for name in ("a_b", "axb", "50%", "50x", "5"):
        administration.drop_database(name)


def test_what_is_done_again_after_a_crash_is_no_error_and_keeps_what_was_done(
    server: PrivateMariaDB, administration: MariaDBAdministration
) -> None:
    for again in (False, True):
        administration.create_database("again", character_set="latin1", again=again)
        administration.create_user("again", "%", HASH, ["again"] if again else [], again=again)
    assert [user.databases for user in administration.users() if user.name == "again"] == [("again",)]
    for again in (False, True):
        administration.drop_user("again", "%", again=again)
        administration.drop_database("again", again=again)
    codes = []
    wrongs: tuple[Callable[[], None], ...] = (
        lambda: administration.drop_user("again", "%"),
        lambda: administration.drop_database("again"),
        lambda: administration.create_user("kept", "%", HASH, []),
        lambda: administration.create_database("kept"),
        lambda: administration.create_database("x", character_set="klingon"),
    )
    for wrong in wrongs:
        with pytest.raises(BackupAgentError) as caught:
            wrong()
        codes.append(caught.value.code)
    assert codes == ["user_not_found", "database_not_found", "user_exists", "database_exists", "statement_failed"]
    assert names(server) >= {"kept"}


def test_a_database_that_somebody_uses_is_waited_for_and_no_longer(server: PrivateMariaDB) -> None:
    impatient = MariaDBAdministration(endpoint(server), 1)
    with closing(server.connect()) as connection, connection.cursor() as cursor:
        cursor.execute("LOCK TABLES kept.t READ")
        with pytest.raises(InstanceError) as caught:
            impatient.drop_database("kept")
    assert caught.value.code is ErrorCode.STATEMENT_FAILED
    assert "1205" in caught.value.message
    assert names(server) >= {"kept"}


def test_the_hash_is_not_in_what_an_operator_is_told(administration: MariaDBAdministration) -> None:
    with pytest.raises(BackupAgentError) as caught:
        administration.create_user("x", "%", f"{HASH}' oops", [])
    assert HASH not in f"{caught.value} {caught.value.hint}"


def test_each_lacking_privilege_of_the_administrator_is_named(server: PrivateMariaDB) -> None:
    vitals = ServerVitals(endpoint(server))
    assert vitals.missing_grants() == ()
    account = f"{ADMINISTRATOR}@localhost"
    server.execute(f"REVOKE GRANT OPTION, TRIGGER, CREATE USER ON *.* FROM {account}")
    assert set(vitals.missing_grants()) == {"CREATE USER", "TRIGGER", "GRANT OPTION"}
    server.execute(f"GRANT {', '.join(ADMINISTRATION_GRANTS)} ON *.* TO {account} WITH GRANT OPTION")
    assert vitals.missing_grants() == ()
    assert vitals.listens()
    assert vitals.started() == int(
        server.query("SELECT UNIX_TIMESTAMP() - VARIABLE_VALUE FROM information_schema.GLOBAL_STATUS"
                     " WHERE VARIABLE_NAME = 'UPTIME'")[0][0]
    )  # fmt: skip
