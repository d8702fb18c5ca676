"""The agent as a service of a real systemd, with the units and restrictions that `make install` puts there."""

from __future__ import annotations

import json
import re
import time
import uuid
from collections.abc import Iterator
from contextlib import closing
from typing import Any

import pika
import pytest

from tests.daemon import FAST, command
from tests.faults.waiting import until
from tests.servers.agent_host import CONFIG, INSTANCE, STORE, backups, configure, notes_are_written, prepare
from tests.servers.mariadb import AGENT_PASSWORD
from tests.servers.nspawn import Host, why_not
from tests.servers.rabbitmq import PASSWORD, USER, PrivateRabbitMQ

pytestmark = [pytest.mark.server, pytest.mark.skipif(why_not() is not None, reason=f"no host boots here: {why_not()}")]

AGENT = "backup-agent.service"
FULL = "backup-agent-full.service"
DATABASE = "mariadb.service"
PROBE = "/run/systemd/system/probe.service"


def broker_section(broker: PrivateRabbitMQ) -> dict[str, dict[str, object]]:
    return {
        "broker": {"urls": [broker.url], "user": USER, "password": PASSWORD, **FAST},
        "stream": {"chunk_mib": 1, "memory_mib": 16},
    }


@pytest.fixture(scope="module")
def booted(tmp_path_factory: pytest.TempPathFactory, shared_rabbitmq: PrivateRabbitMQ) -> Iterator[Host]:
    base = tmp_path_factory.mktemp("host")
    with Host(base) as host:
        prepare(host, base, extra=broker_section(shared_rabbitmq))
        yield host


@pytest.fixture
def host(booted: Host, rabbitmq: PrivateRabbitMQ) -> Iterator[Host]:
    """No unit of the agent's runs, and no change that an earlier test made to one is left."""
    configure(booted, broker_section(rabbitmq))
    yield booted
    booted.systemctl("stop", AGENT, FULL)
    booted.sh("rm -rf /run/systemd/system/backup-agent*.d; systemctl daemon-reload; systemctl reset-failed")


def change(host: Host, unit: str, lines: str) -> None:
    host.write(f"/run/systemd/system/{unit}.d/90-test.conf", f"{lines}\n")
    host.systemctl("daemon-reload")


def said(host: Host, unit: str, event: str) -> bool:
    """In its run of now, not in an earlier test's."""
    identity = host.show(unit, "InvocationID")
    log = host.run("journalctl", "--no-pager", "--output=cat", f"_SYSTEMD_INVOCATION_ID={identity}", check=False)
    return f'"event": "{event}"' in log.stdout


def start(host: Host) -> None:
    host.systemctl("start", AGENT)
    until(lambda: said(host, AGENT, "the agent is ready"), "the agent's word that it is ready")


def ask(broker: PrivateRabbitMQ) -> str:
    """Sends a command for a backup; its id."""
    message: dict[str, Any] = command(
        "backup.create",
        {"backup": {"id": str(uuid.uuid4()), "name": "asked", "instance_id": INSTANCE, "account_id": "1234"}},
    )
    queue = f"backup.commands.{INSTANCE}"
    with closing(broker.connect()) as connection:
        channel = connection.channel()

        def consumed() -> int:
            return int(channel.queue_declare(queue, passive=True).method.consumer_count)

        until(consumed, "the agent at its queue")
        channel.basic_publish(
            "backup.commands",
            INSTANCE,
            json.dumps(message).encode(),
            pika.BasicProperties(  # type: ignore[no-untyped-call]
                content_type="application/cloudevents+json", delivery_mode=2
            ),
        )
    return str(message["data"]["backup"]["id"])


def test_the_service_is_started_when_the_agent_says_that_it_is_ready(host: Host) -> None:
    start(host)
    assert host.show(AGENT, "ActiveState") == "active"
    until(lambda: host.show(AGENT, "StatusText"), "a status line")
    pid = host.show(AGENT, "MainPID")
    status = host.run("cat", f"/proc/{pid}/status").stdout
    assert re.search(r"^CapEff:\t0000000000000004$", status, re.MULTILINE)  # CAP_DAC_READ_SEARCH and nothing else
    assert re.search(r"^NoNewPrivs:\t1$", status, re.MULTILINE)
    assert host.run("ps", "-o", "user:20=", "-p", pid).stdout.strip() == "backup-agent"


def test_a_command_becomes_a_backup_that_restores_under_all_restrictions(host: Host, rabbitmq: PrivateRabbitMQ) -> None:
    start(host)
    backup_id = ask(rabbitmq)
    until(lambda: said(host, AGENT, "backup.completed"), "the end of the backup")
    assert backup_id in [backup["id"] for backup in backups(host)]
    agent = ("/opt/backup-agent/bin/backup-agent", "restore", backup_id, "--config", CONFIG)
    host.run(*agent, "--target-dir", "/srv/restored", "--owner", "mysql:mysql")
    assert host.exists("/srv/restored/shop/orders.ibd")
    host.run("rm", "-r", "/srv/restored")


def test_the_engine_gets_its_priority_back_without_a_capability_for_that(host: Host, rabbitmq: PrivateRabbitMQ) -> None:
    start(host)
    with notes_are_written(host):
        ask(rabbitmq)
        until(lambda: "mariadb-backup" in host.run("ps", "-eo", "comm=").stdout, "the engine")
    until(lambda: said(host, AGENT, "backup.completed"), "the end of the backup")
    assert not said(host, AGENT, "can't change the engine's CPU priority")
    assert not said(host, AGENT, "can't change the engine's I/O priority")


def test_the_unit_reads_the_data_directory_and_writes_nothing_but_its_own(host: Host) -> None:
    host.sh(f"mkdir -p {PROBE}.d; cp /etc/systemd/system/{FULL}.d/10-hardening.conf {PROBE}.d/")
    script = """
        check() { if eval "$2" > /dev/null 2>&1; then echo "$1: yes"; else echo "$1: no"; fi; }
        check 'reads the data' 'head -c1 /var/lib/mysql/ibdata1'
        check 'reads a database' 'head -c1 /var/lib/mysql/shop/orders.ibd'
        check 'writes the data' 'touch /var/lib/mysql/shop/x'
        check 'writes its journal' 'touch /var/lib/backup-agent/x'
        check 'makes a lock' 'touch /run/backup-agent/x.lock'
        check 'writes /etc' 'touch /etc/x'
        check 'reads passwords' 'grep root /etc/shadow'
        check 'reads homes' 'ls /root/secret'
    """
    host.write("/run/probe.sh", script)
    host.write(
        PROBE, "[Service]\nType=oneshot\nUser=backup-agent\nGroup=backup-agent\nExecStart=/bin/sh /run/probe.sh\n"
    )
    host.sh("grep -q root /etc/shadow && touch /root/secret; systemctl daemon-reload; systemctl start probe.service")

    def said_by_the_probe() -> list[str]:
        log = host.run("journalctl", "--no-pager", "--output=cat", "--unit=probe.service").stdout.splitlines()
        return [line for line in log if line.endswith((": yes", ": no"))]

    until(lambda: len(said_by_the_probe()) == script.count("check '"), "the probe's words")
    assert said_by_the_probe() == [
        "reads the data: yes",
        "reads a database: yes",
        "writes the data: no",
        "writes its journal: yes",
        "makes a lock: yes",
        "writes /etc: no",
        "reads passwords: no",
        "reads homes: no",
    ]


def test_a_stop_cancels_the_running_backup_and_ends_with_status_0(host: Host, rabbitmq: PrivateRabbitMQ) -> None:
    start(host)
    with notes_are_written(host):
        backup_id = ask(rabbitmq)
        until(lambda: said(host, AGENT, "backup.started"), "the backup")
        host.systemctl("stop", AGENT)
    assert (host.show(AGENT, "Result"), host.show(AGENT, "ExecMainStatus")) == ("success", "0")
    assert host.run("find", STORE, "-path", f"*{backup_id}*", "-type", "f").stdout == ""
    assert "mariadb-backup" not in host.run("ps", "-eo", "comm=").stdout


def test_a_stop_waits_for_a_backup_that_is_to_be_finished_whatever_the_units_time_out(
    host: Host, rabbitmq: PrivateRabbitMQ
) -> None:
    change(host, AGENT, "[Service]\nTimeoutStopSec=8")  # the agent asks for more within a second, or a busy host's few
    configure(host, {**broker_section(rabbitmq), "service": {"on_stop": "finish"}})
    start(host)
    before = len(backups(host))
    with notes_are_written(host):
        ask(rabbitmq)
        until(lambda: said(host, AGENT, "backup.started"), "the backup")
        host.systemctl("stop", "--no-block", AGENT)
        past_its_time = time.monotonic() + 10
        until(lambda: time.monotonic() > past_its_time, "more than the unit's time-out")
        assert host.show(AGENT, "ActiveState") == "deactivating"
    until(lambda: host.show(AGENT, "ActiveState") == "inactive", "the end of the agent")
    assert (host.show(AGENT, "Result"), host.show(AGENT, "ExecMainStatus")) == ("success", "0")
    assert len(backups(host)) == before + 1


def test_a_reload_reads_the_configuration_and_goes_on(host: Host) -> None:
    start(host)
    pid = host.show(AGENT, "MainPID")
    host.systemctl("reload", AGENT)
    until(
        lambda: said(host, AGENT, "the configuration is reloaded; a running backup goes on with the old one"), "reload"
    )
    assert (host.show(AGENT, "ActiveState"), host.show(AGENT, "MainPID")) == ("active", pid)


def test_a_killed_agent_comes_back_and_reports_its_backup(host: Host, rabbitmq: PrivateRabbitMQ) -> None:
    change(host, AGENT, "[Service]\nRestartSec=100ms")
    start(host)
    with notes_are_written(host):
        ask(rabbitmq)
        until(lambda: said(host, AGENT, "backup.started"), "the backup")
        first = host.show(AGENT, "InvocationID")
        host.systemctl("kill", "--kill-whom=main", "--signal=KILL", AGENT)
        until(lambda: host.show(AGENT, "NRestarts") == "1", "the restart")
        until(lambda: host.show(AGENT, "InvocationID") not in {first, ""}, "the next run")
        until(lambda: said(host, AGENT, "the agent is ready"), "the agent's return")
    assert said(host, AGENT, "backup.failed")


def test_an_agent_that_stands_still_is_killed_by_the_watchdog_and_comes_back(host: Host) -> None:
    change(host, AGENT, "[Service]\nWatchdogSec=5\nRestartSec=100ms\nTimeoutStopSec=2")
    start(host)
    host.systemctl("kill", "--kill-whom=main", "--signal=STOP", AGENT)
    until(lambda: host.show(AGENT, "NRestarts") != "0", "the restart")
    until(lambda: said(host, AGENT, "the agent is ready"), "the agent's return")
    until(lambda: "Watchdog timeout" in host.journal(AGENT), "systemd's word of the watchdog")


def test_a_worker_that_hangs_at_the_database_is_killed_by_the_watchdog_too(
    host: Host, rabbitmq: PrivateRabbitMQ
) -> None:
    change(host, AGENT, "[Service]\nWatchdogSec=5\nRestartSec=100ms")
    start(host)
    host.systemctl("kill", "--signal=STOP", DATABASE)
    try:
        ask(rabbitmq)
        until(lambda: host.show(AGENT, "NRestarts") != "0", "the restart")
    finally:
        host.systemctl("kill", "--signal=CONT", DATABASE)
    until(lambda: said(host, AGENT, "the agent is ready"), "the agent's return")
    assert host.show(DATABASE, "NRestarts") == "0"


def test_a_configuration_that_is_invalid_is_not_tried_again(host: Host) -> None:
    configure(host, {"store": {"url": "ftp://nowhere"}})
    assert host.systemctl("start", AGENT, check=False).returncode != 0
    assert (host.show(AGENT, "ActiveState"), host.show(AGENT, "ExecMainStatus")) == ("failed", "3")
    assert host.show(AGENT, "NRestarts") == "0"


def test_a_timers_backup_completes_and_a_busy_instance_is_no_failure(host: Host) -> None:
    before = len(backups(host))
    host.systemctl("start", FULL)
    assert len(backups(host)) == before + 1
    lock = f"/run/backup-agent/{INSTANCE}.lock"
    host.sh(f"setsid flock --no-fork {lock} sleep 600 < /dev/null > /dev/null 2>&1 & echo $! > /run/holder")
    until(lambda: host.run("flock", "--nonblock", lock, "true", check=False).returncode == 1, "the lock's holder")
    host.systemctl("start", FULL)  # which fails if the unit does
    host.sh("kill $(cat /run/holder)")
    until(lambda: "instance_busy" in host.journal(FULL), "the agent's word that the instance is busy")
    assert host.systemctl("is-failed", FULL, check=False).stdout.strip() == "inactive"
    assert len(backups(host)) == before + 1


def test_a_credential_that_is_absent_is_no_failure_and_one_that_is_there_is_used(host: Host) -> None:
    credential = "/etc/credstore/backup-agent.database-password"
    host.write(credential, "not the password", mode=0o600)
    configure(host, {"instance": {"password_file": f"/run/credentials/{FULL}/database-password"}})
    host.sh(f"sed -i '/^password = /d' {CONFIG}")
    assert host.systemctl("start", FULL, check=False).returncode != 0
    until(lambda: "database_denied" in host.journal(FULL), "the agent's word that it was denied")
    host.run("rm", credential)


def test_an_encrypted_credential_is_used_as_the_documentation_says(host: Host) -> None:
    host.sh(f"sed -i '/^password = /d' {CONFIG}; mkdir -p /etc/credstore.encrypted")
    secret = "/etc/credstore.encrypted/backup-agent.database-password"
    host.sh(f"systemd-creds encrypt --with-key=host --name=database-password - {secret}", stdin=AGENT_PASSWORD)
    change(
        host,
        FULL,
        "[Service]\nLoadCredentialEncrypted=database-password:backup-agent.database-password\n"
        "Environment=BACKUP_AGENT_INSTANCE__PASSWORD_FILE=%d/database-password",
    )
    before = len(backups(host))
    host.systemctl("start", FULL)
    assert len(backups(host)) == before + 1
    host.run("rm", secret)
