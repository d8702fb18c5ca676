from __future__ import annotations

import pytest

from backup_agent.instance.grants import (
    MYSQL_STATEMENTS,
    account_literal,
    create_user_statements,
    grant_statements,
    missing,
)

LTS = (10, 11)
TO = "TO `backup_agent`@`localhost`"


def lacks(
    *lines: str, datastore: str = "mariadb", series: tuple[int, ...] = LTS, replica: bool = False
) -> tuple[str, ...]:
    return missing(lines, datastore=datastore, series=series, replica=replica)


def test_the_documented_user_lacks_nothing() -> None:
    assert lacks(f"GRANT RELOAD, PROCESS, BINLOG MONITOR ON *.* {TO} IDENTIFIED BY PASSWORD '*AB'") == ()


def test_a_user_without_any_privilege_lacks_all_three() -> None:
    assert lacks(f"GRANT USAGE ON *.* {TO}") == ("RELOAD", "PROCESS", "BINLOG MONITOR")


def test_a_replica_also_needs_slave_monitor() -> None:
    granted = f"GRANT RELOAD, PROCESS, BINLOG MONITOR ON *.* {TO}"
    assert lacks(granted, replica=True) == ("SLAVE MONITOR",)
    assert lacks(granted, f"GRANT REPLICA MONITOR ON *.* {TO}", replica=True) == ()


def test_all_privileges_include_everything() -> None:
    assert lacks(f"GRANT ALL PRIVILEGES ON *.* {TO} WITH GRANT OPTION", replica=True) == ()


def test_all_privileges_on_one_database_include_nothing_global() -> None:
    assert lacks(f"GRANT ALL PRIVILEGES ON `app`.* {TO}") == ("RELOAD", "PROCESS", "BINLOG MONITOR")


def test_super_includes_the_monitoring_until_mariadb_11() -> None:
    granted = f"GRANT RELOAD, PROCESS, SUPER ON *.* {TO}"
    assert lacks(granted, replica=True) == ()
    assert lacks(granted, series=(11, 4), replica=True) == ("BINLOG MONITOR", "SLAVE MONITOR")


def test_the_old_name_of_binlog_monitor_counts() -> None:
    assert lacks(f"GRANT RELOAD, PROCESS, REPLICATION CLIENT ON *.* {TO}", series=(10, 4)) == ()


def test_privileges_of_an_active_role_count() -> None:
    assert lacks("GRANT `backup` TO `u`@`%`", "GRANT RELOAD, PROCESS, BINLOG MONITOR ON *.* TO `backup`") == ()


def test_a_user_whose_name_looks_like_a_grant_is_understood() -> None:
    assert lacks("GRANT RELOAD, PROCESS, BINLOG MONITOR ON *.* TO `x ON y TO z`@`localhost`") == ()


@pytest.mark.parametrize("select", ["`performance_schema`.`log_status`", "`performance_schema`.*", "*.*"])
def test_mysql_needs_the_log_status_and_any_scope_that_holds_it_will_do(select: str) -> None:
    everywhere = f"GRANT RELOAD, PROCESS, LOCK TABLES, REPLICATION CLIENT ON *.* {TO}"
    found = lacks(everywhere, f"GRANT SELECT ON {select} {TO}", datastore="mysql", series=(8, 0))
    assert found[0] == "BACKUP_ADMIN"
    assert "SELECT ON performance_schema.log_status" not in found


def test_the_documented_mysql_user_lacks_nothing() -> None:
    lines = [statement.format(account="`u`@`%`", password="''") for statement in MYSQL_STATEMENTS[1:]]
    assert lacks(*lines, datastore="mysql", series=(8, 0)) == ()


def test_the_statements_are_what_an_administrator_would_type() -> None:
    assert create_user_statements("backup_agent", "pa'ss\\", replica=True) == (
        r"CREATE USER 'backup_agent'@'localhost' IDENTIFIED BY 'pa\'ss\\'",
        "GRANT RELOAD, PROCESS, BINLOG MONITOR ON *.* TO 'backup_agent'@'localhost'",
        "GRANT SLAVE MONITOR ON *.* TO 'backup_agent'@'localhost'",
    )


def test_what_is_missing_can_be_granted_as_it_is_named() -> None:
    account = account_literal("u", "%")
    assert grant_statements(("RELOAD", "BACKUP_ADMIN", "SELECT ON performance_schema.log_status"), account) == (
        "GRANT RELOAD, BACKUP_ADMIN ON *.* TO 'u'@'%'",
        "GRANT SELECT ON performance_schema.log_status TO 'u'@'%'",
    )
