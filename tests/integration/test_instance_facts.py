"""Facts of a real server, asked as the least-privilege user."""

from __future__ import annotations

from pathlib import Path

import pytest

from backup_agent.domain.lineage import differences
from backup_agent.instance.connection import Endpoint
from backup_agent.instance.identity import RESTORE_ID_FILE
from backup_agent.instance.interface import Instance
from backup_agent.instance.mariadb import MariaDBInstance
from tests.faults.waiting import until
from tests.servers.mariadb import AGENT_PASSWORD, AGENT_USER, PrivateMariaDB, create_agent_user, free_port

pytestmark = pytest.mark.server

WRITES = ("CREATE DATABASE app", "CREATE TABLE app.t (n INT PRIMARY KEY) ENGINE=InnoDB", "INSERT INTO app.t VALUES (1)")


def instance_of(server: PrivateMariaDB) -> Instance:
    return MariaDBInstance(Endpoint(server.socket, user=AGENT_USER, password=AGENT_PASSWORD))


def changes(before: PrivateMariaDB, after: PrivateMariaDB) -> tuple[str, ...]:
    return differences(instance_of(before).facts().lineage, instance_of(after).facts().lineage)


def test_the_facts_are_the_server_s(mariadb: PrivateMariaDB) -> None:
    mariadb.execute(*WRITES)
    facts = instance_of(mariadb).facts()
    ((version, gtids),) = mariadb.query("SELECT @@version, @@gtid_binlog_state")
    assert facts.version == version
    assert facts.datastore == "mariadb"
    assert facts.datadir == mariadb.datadir.resolve()
    assert (facts.replica, facts.galera, facts.data_at_rest_encryption) == (False, False, False)
    assert facts.lineage.server_id == 1
    assert facts.lineage.aria_uuid == (mariadb.datadir / "aria_log_control").read_bytes()[4:20].hex()
    assert facts.lineage.system_tablespace.inode == (mariadb.datadir / "ibdata1").stat().st_ino
    assert facts.lineage.binlog_file == "binlog.000001"
    assert facts.lineage.gtid_binlog_state == gtids != ""


def test_the_lsn_goes_forward_with_writes(mariadb: PrivateMariaDB) -> None:
    before = instance_of(mariadb).facts().lsn
    mariadb.execute(*WRITES)
    assert 0 < before < instance_of(mariadb).facts().lsn


def test_it_answers_over_tcp_too(shared_mariadb: PrivateMariaDB) -> None:
    endpoint = Endpoint(None, "127.0.0.1", shared_mariadb.port, AGENT_USER, AGENT_PASSWORD)
    assert MariaDBInstance(endpoint).facts().datadir == shared_mariadb.datadir.resolve()


def test_other_connections_of_the_same_user_are_seen_and_nobody_else_s(shared_mariadb: PrivateMariaDB) -> None:
    instance = instance_of(shared_mariadb)
    until(lambda: not instance.connections(), "the end of those that were closed just now")
    with (
        shared_mariadb.connect(),
        shared_mariadb.connect(AGENT_USER, AGENT_PASSWORD) as ours,
        ours.cursor() as cursor,
    ):
        cursor.execute("SELECT CONNECTION_ID()")
        ((number,),) = cursor.fetchall()
        until(lambda: instance.connections() == {number}, "ours alone")


def test_a_restart_keeps_the_lineage(mariadb: PrivateMariaDB) -> None:
    mariadb.execute(*WRITES)
    before = instance_of(mariadb).facts().lineage
    mariadb.stop()
    mariadb.start()
    after = instance_of(mariadb).facts().lineage
    assert after.binlog_file == "binlog.000002"
    assert differences(before, after) == ()


def test_two_fresh_servers_have_different_lineages(mariadb: PrivateMariaDB, tmp_path: Path) -> None:
    with PrivateMariaDB(tmp_path / "second") as second:
        create_agent_user(second)
        found = " ".join(changes(mariadb, second))
    assert "aria_log_control's UUID" in found
    assert "ibdata1 is another file" in found


def test_a_copied_data_directory_is_another_lineage(mariadb: PrivateMariaDB, tmp_path: Path) -> None:
    before = instance_of(mariadb).facts().lineage
    mariadb.stop()
    copy = mariadb.copy_data(tmp_path / "copy")
    with PrivateMariaDB(tmp_path / "second", datadir=copy) as second:
        found = differences(before, instance_of(second).facts().lineage)
    assert found == ("ibdata1 is another file: the data directory was copied, restored or rebuilt",)


def test_reset_master_is_another_lineage(mariadb: PrivateMariaDB) -> None:
    mariadb.execute(*WRITES)
    before = instance_of(mariadb).facts().lineage
    mariadb.execute("RESET MASTER")
    assert differences(before, instance_of(mariadb).facts().lineage) == ("GTIDs of 0-1 that the parent knows are gone",)


def test_a_restore_is_another_lineage(mariadb: PrivateMariaDB) -> None:
    before = instance_of(mariadb).facts().lineage
    (mariadb.datadir / RESTORE_ID_FILE).write_text("one restore\n")
    after = instance_of(mariadb).facts().lineage
    assert differences(before, after) == ("the data directory was restored from a backup since",)


def test_a_server_without_a_binary_log_has_none_in_its_lineage(tmp_path: Path) -> None:
    with PrivateMariaDB(tmp_path / "server", extra_options=["skip-log-bin"]) as server:
        create_agent_user(server)
        lineage = instance_of(server).facts().lineage
    assert (lineage.binlog_file, lineage.gtid_binlog_state) == (None, "")


@pytest.mark.parametrize("may_monitor", [True, False])
def test_a_replica_is_recognised_with_and_without_the_privilege_to_ask(
    mariadb: PrivateMariaDB, *, may_monitor: bool
) -> None:
    if may_monitor:
        mariadb.execute(f"GRANT SLAVE MONITOR ON *.* TO {AGENT_USER}@localhost")
    instance = instance_of(mariadb)
    assert instance.missing_grants(replica=True) == (() if may_monitor else ("SLAVE MONITOR",))
    for connection in ("", "'named' "):
        assert not instance.facts().replica
        mariadb.execute(f"CHANGE MASTER {connection}TO master_host='127.0.0.1', master_port=1")
        assert instance.facts().replica
        mariadb.execute(f"RESET SLAVE {connection}ALL")
    assert not instance.facts().replica


def test_a_galera_node_is_recognised(tmp_path: Path) -> None:
    options = {
        "wsrep-on": "ON",
        "wsrep-provider": "/usr/lib/galera/libgalera_smm.so",
        "wsrep-cluster-address": "gcomm://",
        "wsrep-provider-options": f"base_host=127.0.0.1;gmcast.listen_addr=tcp://127.0.0.1:{free_port()}",
        "wsrep-node-address": "127.0.0.1",
        "binlog-format": "ROW",
    }
    with PrivateMariaDB(tmp_path / "server", extra_options=options) as server:
        create_agent_user(server)
        assert instance_of(server).facts().galera


def test_encryption_is_noticed_by_its_key_plugin_alone(tmp_path: Path) -> None:
    keys = tmp_path / "keys"
    keys.write_text("1;" + "a7" * 32 + "\n")
    options = {"plugin-load-add": "file_key_management", "file-key-management-filename": str(keys)}
    with PrivateMariaDB(tmp_path / "server", extra_options=options) as server:
        create_agent_user(server)
        assert instance_of(server).facts().data_at_rest_encryption
