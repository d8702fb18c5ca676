"""`config check` names what is amiss, what to do, and fails."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.administered import ADMINISTRATOR, ADMINISTRATOR_PASSWORD, create_administrator
from tests.agent import Outcome
from tests.daemon import daemon_agent
from tests.faults.agents import SMALL_CHUNKS, ConfinedAgent, without_powers
from tests.faults.outcomes import refused
from tests.faults.traces import nothing_left_behind
from tests.servers.mariadb import AGENT_PASSWORD, PrivateMariaDB, create_agent_user, free_port
from tests.servers.rabbitmq import PASSWORD, PrivateRabbitMQ

pytestmark = pytest.mark.server

SUBJECTS = ["store", "database", "grants", "policy", "spool", "engine", "lock", "keys", "journal"]


def failures(outcome: Outcome) -> dict[str, str]:
    """The code of each check that failed; every one of them must say what happened and what to do."""
    found = {}
    for finding in outcome.json["checks"]:
        assert finding.keys() == {"subject", "ok", "detail", "code", "hint"}
        assert finding["detail"]
        assert (finding["ok"] is False) == (finding["code"] is not None) == (finding["hint"] is not None)
        if finding["ok"] is False:
            found[finding["subject"]] = finding["code"]
    return found


def unchecked(outcome: Outcome) -> list[str]:
    """What could not be looked at, or not at all of it, for something else that failed."""
    found = [finding for finding in outcome.json["checks"] if finding["ok"] is None]
    assert [finding for finding in found if "not checked, because" not in finding["detail"]] == []
    return [finding["subject"] for finding in found]


def everything(directory: Path) -> list[str]:
    return sorted(str(path) for path in directory.rglob("*"))


def test_all_is_well_for_the_least_privileged_user(agent: ConfinedAgent, shop: PrivateMariaDB) -> None:
    with nothing_left_behind(agent, shop):
        outcome = agent.run("config", "check", "--json")
        assert (outcome.status, failures(outcome)) == (0, {})
        assert [finding["subject"] for finding in outcome.json["checks"]] == SUBJECTS
        told = agent.run("config", "check")
    assert told.status == 0
    lines = told.stdout.splitlines()
    assert [line.split()[:2] for line in lines] == [["ok", subject] for subject in ["config", *SUBJECTS]]
    assert "mariadb 1" in lines[2]
    assert str(shop.datadir) in lines[2]
    assert "4 of them kept for locked tables" in lines[5]
    assert "fits the server" in lines[6]


def test_every_failure_is_found_at_once(tmp_path: Path, shop: PrivateMariaDB) -> None:
    agent = ConfinedAgent(
        tmp_path / "agent",
        shop,
        password="wrong",
        extra={
            **SMALL_CHUNKS,
            "store": {"url": "s3://bucket", "s3": {"endpoint_url": f"http://127.0.0.1:{free_port()}"}},
            "engine": {"binary": "/nowhere/mariadb-backup"},
        },
    )
    agent.environment |= {"AWS_ACCESS_KEY_ID": "key-id", "AWS_SECRET_ACCESS_KEY": "key"}
    with nothing_left_behind(agent):
        outcome = agent.run("config", "check", "--json")
        assert failures(outcome) == {
            "store": "store_unreachable",
            "database": "database_denied",
            "engine": "engine_missing",
        }
        assert unchecked(outcome) == ["grants", "policy", "spool"]
        assert outcome.status == 8
        told = agent.run("config", "check")
    assert told.status == 8
    assert "FAILED  store" in told.stdout
    assert "?       grants    not checked, because" in told.stdout
    assert "[engine_missing]" in told.stdout
    assert "ok      lock" in told.stdout


def test_a_store_url_that_can_not_be_used_keeps_nothing_else_from_being_looked_at(
    tmp_path: Path, shop: PrivateMariaDB
) -> None:
    agent = ConfinedAgent(tmp_path / "agent", shop, store_url="s3:/bucket")
    outcome = agent.run("config", "check", "--json")
    assert (outcome.status, failures(outcome), unchecked(outcome)) == (3, {"store": "store_url"}, [])
    assert [finding["subject"] for finding in outcome.json["checks"]] == SUBJECTS
    refused(agent.run("run-once"), "store_url", "config")


def test_files_of_secrets_that_are_not_there_are_found_with_all_else(tmp_path: Path, shop: PrivateMariaDB) -> None:
    extra = {**SMALL_CHUNKS, "signing": {"key_file": "/nowhere/key"}}
    agent = ConfinedAgent(tmp_path / "agent", shop, extra=extra)
    agent.with_config(f"password = {json.dumps(AGENT_PASSWORD)}\n", 'password_file = "/nowhere/password"\n')
    outcome = agent.run("config", "check", "--json")
    assert failures(outcome) == {"database": "config_invalid", "keys": "signing_key_unusable"}
    assert unchecked(outcome) == ["grants", "policy", "spool", "engine"]
    assert outcome.status == 3


def test_a_check_makes_no_directories_and_no_files(agent: ConfinedAgent) -> None:
    before = everything(agent.base)
    outcome = agent.run("config", "check", "--json")
    assert (outcome.status, everything(agent.base)) == (0, before)
    later = [finding["subject"] for finding in outcome.json["checks"] if "not there yet" in finding["detail"]]
    assert later == ["store", "spool", "lock", "journal"]
    agent.backup()
    before = everything(agent.base)
    outcome = agent.run("config", "check", "--json")
    assert (outcome.status, everything(agent.base)) == (0, before)
    assert "not there yet" not in outcome.stdout
    assert "wrote, read and deleted a probe" in outcome.stdout


def checked_without(privileges: str, shop: PrivateMariaDB, base: Path) -> Outcome:
    """By a database user who lacks them."""
    create_agent_user(shop, "lacking")
    shop.execute(f"REVOKE {privileges} ON *.* FROM lacking@localhost")
    outcome = ConfinedAgent(base, shop, user="lacking").run("config", "check", "--json")
    shop.execute("DROP USER lacking@localhost, lacking@127.0.0.1")
    return outcome


def test_a_missing_grant_comes_with_its_statement(tmp_path: Path, shop: PrivateMariaDB) -> None:
    outcome = checked_without("RELOAD", shop, tmp_path / "agent")
    assert (outcome.status, failures(outcome)) == (6, {"grants": "grant_missing"})
    (grants,) = (finding for finding in outcome.json["checks"] if finding["subject"] == "grants")
    assert grants["hint"].startswith("GRANT RELOAD ON *.* TO")


def test_all_missing_grants_come_at_once(tmp_path: Path, shop: PrivateMariaDB) -> None:
    outcome = checked_without("ALL", shop, tmp_path / "agent")
    assert (outcome.status, failures(outcome)) == (6, {"database": "grant_missing"})
    (database,) = (finding for finding in outcome.json["checks"] if finding["subject"] == "database")
    assert database["hint"].startswith("GRANT RELOAD, PROCESS, BINLOG MONITOR ON *.* TO")


def test_secrets_that_everybody_can_read_are_told_of(agent: ConfinedAgent) -> None:
    agent.config_file.chmod(0o644)
    told = agent.run("config", "check")
    assert told.status == 0
    assert f"holds a secret: chmod 600 {agent.config_file}" in told.stdout


def test_who_logs_in_by_the_socket_is_told_whose_name_to_have(tmp_path: Path, shop: PrivateMariaDB) -> None:
    agent = ConfinedAgent(tmp_path / "agent", shop)
    agent.with_config(f"password = {json.dumps(AGENT_PASSWORD)}\n", "")
    outcome = agent.run("run-once")
    refused(outcome, "database_denied", "instance", "refused the user backup_agent")
    assert "unix_socket" in outcome.error["hint"]


def test_a_directory_that_may_not_be_written_is_found(agent: ConfinedAgent) -> None:
    agent.prefix = without_powers()
    agent.store.mkdir(mode=0o500)
    agent.runtime_dir.mkdir(mode=0o500)
    with nothing_left_behind(agent):
        outcome = agent.run("config", "check", "--json")
        assert failures(outcome) == {"store": "store_denied", "lock": "lock_unusable"}
        assert outcome.status == 8


def test_a_container_that_may_be_written_is_enough(agent: ConfinedAgent) -> None:
    agent.prefix = without_powers()
    (agent.store / "z_CLOUDDB_BACKUPS").mkdir(parents=True)
    agent.store.chmod(0o500)
    outcome = agent.run("config", "check", "--json")
    agent.store.chmod(0o700)
    assert (outcome.status, failures(outcome)) == (0, {})
    assert "wrote, read and deleted a probe" in outcome.stdout


def test_directories_that_can_not_be_made_are_found_before_they_are_wanted(agent: ConfinedAgent) -> None:
    agent.prefix = without_powers()
    agent.base.chmod(0o500)
    outcome = agent.run("config", "check", "--json")
    agent.base.chmod(0o700)
    assert failures(outcome) == {
        "store": "store_denied",
        "spool": "spool_unusable",
        "lock": "lock_unusable",
        "journal": "journal_unusable",
    }
    assert outcome.status == 8


def test_an_invalid_configuration_is_the_only_finding(agent: ConfinedAgent) -> None:
    agent.with_config("[stream]", "[stream]\nchunk_size = 3")
    for arguments in (("config", "check"), ("run-once",), ("list",)):
        refused(agent.run(*arguments), "config_invalid", "config", "stream.chunk_size: Extra inputs are not permitted")
    agent.config_file.unlink()
    refused(agent.run("config", "check"), "config_invalid", "config", str(agent.config_file), "No such file")


def test_the_broker_is_looked_at_where_there_is_to_be_one(
    tmp_path: Path, shop: PrivateMariaDB, shared_rabbitmq: PrivateRabbitMQ
) -> None:
    agent = daemon_agent(tmp_path / "agent", shop, [shared_rabbitmq.url])
    outcome = agent.run("config", "check", "--json")
    assert (outcome.status, failures(outcome)) == (0, {})
    assert outcome.json["checks"][-1]["subject"] == "broker"
    agent.with_config(f'"{PASSWORD}"', '"another"')
    outcome = agent.run("config", "check", "--json")
    assert (outcome.status, failures(outcome)) == (13, {"broker": "broker_denied"})
    agent.with_config(shared_rabbitmq.url, f"amqp://127.0.0.1:{free_port()}")
    outcome = agent.run("config", "check", "--json")
    assert (outcome.status, failures(outcome)) == (13, {"broker": "broker_unreachable"})


def test_the_user_of_operations_on_the_instance_is_looked_at_where_they_are_enabled(
    tmp_path: Path, shop: PrivateMariaDB
) -> None:
    create_administrator(shop)
    section = {"enabled": True, "user": ADMINISTRATOR, "password": ADMINISTRATOR_PASSWORD}
    agent = ConfinedAgent(tmp_path / "agent", shop, extra={"administration": section})
    outcome = agent.run("config", "check", "--json")
    shop.execute(f"REVOKE TRIGGER ON *.* FROM {ADMINISTRATOR}@localhost")
    lacking = agent.run("config", "check", "--json")
    shop.execute(f"DROP USER {ADMINISTRATOR}@localhost")
    gone = agent.run("config", "check", "--json")
    assert (outcome.status, failures(outcome)) == (0, {})
    assert outcome.json["checks"][-1]["subject"] == "administration"
    assert failures(lacking) == {"administration": "grant_missing"}
    assert failures(gone) == {"administration": "database_denied"}
    assert "administration.user" in gone.json["checks"][-1]["hint"]


def test_a_journal_that_can_not_be_made_is_named(agent: ConfinedAgent) -> None:
    agent.journal_dir.write_text("no directory")
    outcome = agent.run("config", "check", "--json")
    assert (outcome.status, failures(outcome)) == (12, {"journal": "journal_unusable"})
    refused_backup = agent.run("run-once")
    assert (refused_backup.status, refused_backup.error["code"]) == (12, "journal_unusable")
    assert not agent.store.exists() or agent.stored_files() == []
