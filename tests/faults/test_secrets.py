"""Passwords, keys and identities reach whom they are for, and nothing else: everything else is searched for them."""

from __future__ import annotations

import re
from base64 import b64encode
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import pytest
import structlog
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from backup_agent.app.wiring import wire
from backup_agent.cancellation import Cancellation
from backup_agent.cli import logs
from backup_agent.config.file import load
from backup_agent.operations.signatures import generate
from backup_agent.report.log import LogReporter
from tests.age_keys import age_key
from tests.faults.agents import SMALL_CHUNKS, ConfinedAgent, Running, Sections
from tests.faults.stalls import notes_are_written
from tests.faults.waiting import until
from tests.servers.mariadb import AGENT_PASSWORD, PrivateMariaDB, create_agent_user, free_port
from tests.servers.s3 import S3Server

pytestmark = pytest.mark.server

PASSWORD = "Plant3d-Pa55word"
SECRET_KEY = "Plant3d-S3cret-Key"
PLANTED = re.compile("Plant3d")
DEBUG = {**SMALL_CHUNKS, "log": {"level": "debug"}}


@pytest.fixture(scope="module")
def s3() -> Iterator[S3Server]:
    with S3Server() as server:
        yield server


@pytest.fixture(scope="module")
def user(shop: PrivateMariaDB) -> Iterator[str]:
    """A least-privilege user with the planted password."""
    create_agent_user(shop, "careful", PASSWORD)
    yield "careful"
    shop.execute("DROP USER careful@localhost, careful@127.0.0.1")


def with_secrets(
    base: Path, shop: PrivateMariaDB, user: str, port: int, more: Sections | None = None, **instance: object
) -> ConfinedAgent:
    store: dict[str, Any] = {
        "retry_for_s": 1,
        "s3": {
            "endpoint_url": f"http://127.0.0.1:{port}",
            "region": "us-east-1",
            "access_key_id": "key-id",
            "secret_access_key": SECRET_KEY,
        },
    }
    extra = {**DEBUG, "store": store, "instance": instance, **(more or {})}
    return ConfinedAgent(base, shop, store_url="s3://bucket", user=user, password=PASSWORD, extra=extra)


@dataclass(frozen=True)
class Planted:
    """An agent all of whose secrets are known here, and every form in which they could show."""

    agent: ConfinedAgent
    identity: Path
    forms: tuple[bytes, ...]
    holders: tuple[Path, ...]
    """The files that hold secrets because they are to."""

    def shows(self, content: bytes | str) -> bool:
        data = content.encode() if isinstance(content, str) else content
        return any(form in data for form in self.forms)

    def look_at(self, agent: psutil.Process, *others: psutil.Process) -> int:
        """How many others there were whose command line and environment show nothing."""
        seen, its_own = 0, agent.cmdline()
        for process in others:
            with suppress(psutil.NoSuchProcess):
                words, environment = process.cmdline(), process.environ()
                if words == its_own:
                    continue  # it was born, and is not yet what it will be: what it has is still the agent's
                assert not self.shows(" ".join(words))
                assert not self.shows(repr(environment))
                seen += 1
        return seen


@pytest.fixture
def planted(tmp_path: Path, shop: PrivateMariaDB, s3: S3Server, user: str) -> Planted:
    """Encrypted and signed backups to S3, events for a broker, and as much in the log as there is."""
    identity, signing = age_key(tmp_path / "identity"), tmp_path / "signing.key"
    generate(signing)
    tokens: Sections = {
        "broker": {"urls": ["amqp://127.0.0.1:1/"], "user": "agent", "password": "Plant3d-Br0ker"},
        "encryption": {"recipients": [identity.recipient]},
        "signing": {"key_file": str(signing), "required": True},
    }
    agent = with_secrets(tmp_path / "agent", shop, user, s3.port, more=tokens)
    agent.environment["AWS_SESSION_TOKEN"] = "Plant3d-T0ken"
    pem = signing.read_bytes()
    key = load_pem_private_key(pem, None)
    assert isinstance(key, Ed25519PrivateKey)
    raw = key.private_bytes_raw()
    forms = (b"Plant3d", identity.secret.encode(), pem.splitlines()[1], raw, raw.hex().encode(), b64encode(raw))
    return Planted(agent, identity.file, forms, (identity.file, signing, agent.config_file))


def test_no_secret_of_any_kind_is_left_anywhere(tmp_path: Path, shop: PrivateMariaDB, planted: Planted) -> None:
    agent, children = planted.agent, 0
    with notes_are_written(shop) as release, Running(agent, "run-once", "--json") as running:
        running.await_word("backup.progress", phase="blocking")
        children += planted.look_at(*family(running.pid))
        release()
        taken = running.end()
    assert (taken.status, children > 0) == (0, True)
    backup_id = taken.json["backup"]["id"]
    agent.with_config("[store]\n", "[store]\nbandwidth_limit_mib_s = 4\n")
    restore = ("restore", backup_id, "--target-dir", tmp_path / "target", "--identity", planted.identity)
    children = 0
    with Running(agent, *restore) as running:
        while not running.ended:
            with suppress(psutil.NoSuchProcess):
                children += planted.look_at(*family(running.pid))
        restored = running.end()
    assert (restored.status, children > 0) == (0, True)
    outcomes = [taken, restored, agent.run("list"), agent.run("show", backup_id), agent.run("config", "check")]
    for outcome in outcomes:
        assert not planted.shows(outcome.stdout + outcome.stderr)
    for path in tmp_path.rglob("*"):  # the journal with its outbox, the spool, what was restored
        assert not (path.is_file() and path not in planted.holders and planted.shows(path.read_bytes())), path
    services = wire(load(agent.config_file), LogReporter())
    store = services.connect_store(Cancellation(), None)
    keys = [stored.key for stored in store.list(f"{services.container}/{agent.instance_id}/")]
    assert {key.rsplit("/", 1)[1] for key in keys} > {"manifest.json", "manifest.json.sig", "chunk-00000000.zst.age"}
    for key in keys:
        assert not planted.shows(store.get(key, limit=1 << 30)), key


def test_wrong_keys_and_identities_are_not_shown(tmp_path: Path, planted: Planted) -> None:
    agent = planted.agent
    backup_id = agent.backup()["id"]
    broken = tmp_path / "broken"
    broken.write_bytes(planted.identity.read_bytes().replace(b"AGE-SECRET-KEY-1", b"AGE-SECRET-KEY-1Q"))
    others = age_key(tmp_path / "others")
    codes = []
    for file in (broken, others.file, planted.holders[1]):
        outcome = agent.run("restore", backup_id, "--target-dir", tmp_path / "target", "--identity", file)
        codes.append(outcome.error["code"])
        shown = outcome.stdout + outcome.stderr
        assert not planted.shows(shown)
        assert others.secret not in shown
        assert planted.identity.read_text().splitlines()[-1].removeprefix("AGE-SECRET-KEY-1") not in shown
    agent.with_config("[encryption]\nrecipients = [", f'[encryption]\nrecipients = ["{others.secret}", ')
    outcome = agent.run("list")
    codes.append(outcome.error["code"])
    assert others.secret not in outcome.stderr
    assert codes == ["identity_unusable", "identity_wrong", "identity_unusable", "config_invalid"]


@pytest.mark.parametrize("readable", [True, False])
def test_a_traceback_shows_no_variable(capsys: pytest.CaptureFixture[str], *, readable: bool) -> None:
    def fail(secret: str) -> None:
        raise RuntimeError(str(len(secret)))

    logs.configure("debug", readable=readable)
    try:
        fail(PASSWORD)
    except RuntimeError:
        structlog.get_logger().exception("internal error")
    finally:
        structlog.reset_defaults()
    shown = capsys.readouterr().err
    assert "fail(PASSWORD)" in shown
    assert not PLANTED.search(shown)


def family(pid: int) -> list[psutil.Process]:
    return [psutil.Process(pid), *psutil.Process(pid).children(recursive=True)]


def test_a_backup_and_a_restore_show_no_secret(tmp_path: Path, shop: PrivateMariaDB, s3: S3Server, user: str) -> None:
    agent = with_secrets(tmp_path / "agent", shop, user, s3.port)
    outcomes = [
        agent.run("config", "check"),
        agent.run("run-once", "--json"),
        agent.run("list", "--json"),
    ]
    (backup,) = outcomes[-1].json["backups"]
    outcomes += [
        agent.run("show", backup["id"]),
        agent.run("restore", backup["id"], "--target-dir", tmp_path / "target"),
    ]
    for outcome in outcomes:
        assert outcome.status == 0
        assert not PLANTED.search(outcome.stdout + outcome.stderr)
    for path in (tmp_path / "target").rglob("*"):
        assert not (path.is_file() and PLANTED.search(path.read_bytes().decode("latin-1")))


@pytest.mark.parametrize("given", ["in the file", "in the environment"])
def test_the_engine_gets_the_password_neither_by_argument_nor_by_environment(
    tmp_path: Path, shop: PrivateMariaDB, user: str, given: str
) -> None:
    agent = ConfinedAgent(tmp_path / "agent", shop, user=user, password=PASSWORD, extra=DEBUG)
    if given == "in the environment":
        agent.with_config(PASSWORD, "wrong")
        agent.environment["BACKUP_AGENT_INSTANCE__PASSWORD"] = PASSWORD
        agent.environment["AWS_SECRET_ACCESS_KEY"] = SECRET_KEY
    with notes_are_written(shop) as release, Running(agent, "run-once") as running:
        running.await_word("backup.progress", phase="blocking")
        until(agent.stored_files, "a chunk in the store")
        agent_process, *children = family(running.pid)
        assert children
        for process in (agent_process, *children):
            assert not PLANTED.search(" ".join(process.cmdline()))
        for child in children:
            assert not PLANTED.search(repr(child.environ()))
            assert "PATH" in child.environ()
        for path in (tmp_path / "agent").rglob("*"):
            with suppress(FileNotFoundError):  # it was being written, and has its final name by now
                if path.is_file() and path != agent.config_file:
                    assert not PLANTED.search(path.read_bytes().decode("latin-1")), path
        release()
        outcome = running.end()
    assert outcome.status == 0
    assert not PLANTED.search(outcome.stdout + outcome.stderr)
    for name in agent.stored_files():
        assert not PLANTED.search((agent.store / name).read_bytes().decode("latin-1")), name


def test_no_failure_shows_a_secret(tmp_path: Path, shop: PrivateMariaDB, s3: S3Server, user: str) -> None:
    unreachable = with_secrets(tmp_path / "unreachable", shop, user, free_port())
    denied = with_secrets(tmp_path / "denied", shop, "nobody_here", s3.port)
    twice = with_secrets(tmp_path / "twice", shop, user, s3.port, password_file="/nowhere")
    in_url = ConfinedAgent(tmp_path / "url", shop, store_url=f"s3://key-id:{SECRET_KEY}@bucket", extra=DEBUG)
    misspelt = ConfinedAgent(tmp_path / "misspelt", shop, password=PASSWORD, extra={"instance": {"pasword": PASSWORD}})
    broken = ConfinedAgent(tmp_path / "broken", shop, password=PASSWORD)
    broken.with_config(f'password = "{PASSWORD}"', f'password = "{PASSWORD}')
    environment = ConfinedAgent(tmp_path / "environment", shop)
    environment.environment["BACKUP_AGENT_INSTANCE"] = f'{{"password": "{PASSWORD}"'
    refusing = ConfinedAgent(
        tmp_path / "refusing",
        shop,
        user=user,
        password=PASSWORD,
        extra={"engine": {"extra_args": ["--no-such-option"]}},
    )
    codes = []
    for agent in (unreachable, denied, twice, in_url, misspelt, broken, environment, refusing):
        for arguments in (("run-once",), ("config", "check")):
            outcome = agent.run(*arguments)
            assert not PLANTED.search(outcome.stdout + outcome.stderr), outcome
        codes.append(agent.run("run-once").error["code"])
    assert codes == [
        "store_unreachable",
        "database_denied",
        "config_invalid",
        "store_url",
        "config_invalid",
        "config_invalid",
        "config_invalid",
        "engine_failed",
    ]


def test_a_password_file_is_as_good(tmp_path: Path, shop: PrivateMariaDB) -> None:
    secret = tmp_path / "password"
    secret.write_text(f"{AGENT_PASSWORD}\n")
    agent = ConfinedAgent(tmp_path / "agent", shop)
    text = agent.config_file.read_text()
    agent.config_file.write_text(re.sub(r"(?m)^password = .*$", lambda _: f'password_file = "{secret}"', text))
    assert agent.backup()["status"] == "COMPLETED"
