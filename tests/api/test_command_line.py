"""What operators type: `backup-agent api ...`."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.api.service import Api

INSTANCE = "44b277eb-39be-4921-be31-3d61b43651d7"


@pytest.fixture
def api(tmp_path: Path) -> Api:
    """Not started; no broker is needed."""
    return Api(tmp_path, "amqp://127.0.0.1:1")


def test_instances_are_added_changed_listed_and_removed(api: Api) -> None:
    add = ("instance", "add", "--account", "1234", "--id", INSTANCE.upper())
    made = api.done(*add, "--name", "shop")["instances"]
    assert made == [
        {
            "id": INSTANCE,
            "account": "1234",
            "name": "shop",
            "datastore": "mariadb",
            "version": None,
            "agent": None,
            "heard": None,
        }
    ]
    api.done(*add, "--name", "renamed", "--datastore-version", "10.11")
    (listed,) = api.done("instance", "list", "--account", "1234")["instances"]
    assert (listed["name"], listed["version"]) == ("renamed", "10.11")
    refused = api.command("instance", "add", "--account", "4321", "--id", INSTANCE, "--name", "stolen")
    assert (refused.status, refused.error["code"]) == (4, "wrong_instance")
    assert api.command("instance", "remove", INSTANCE).status == 0
    assert api.done("instance", "list")["instances"] == []
    assert api.command("instance", "remove", INSTANCE).error["code"] == "instance_unknown"


@pytest.mark.parametrize(
    "words",
    [
        ("--account", "12/34", "--id", INSTANCE, "--name", "x"),
        ("--account", "1234", "--id", "db1", "--name", "x"),
        ("--account", "1234", "--id", INSTANCE, "--name", " "),
    ],
)
def test_what_can_not_be_registered_is_refused_in_words(api: Api, words: tuple[str, ...]) -> None:
    refused = api.command("instance", "add", *words)
    assert (refused.status, refused.error["code"]) == (4, "invalid_request")


def test_tokens_are_listed_without_what_they_are(api: Api) -> None:
    made = api.done("token", "add", "--account", "1234", "--admin", "--comment", "ops")["token"]
    (listed,) = api.done("token", "list")["tokens"]
    assert listed == {key: value for key, value in made.items() if key != "token"}
    assert (listed["account"], listed["admin"], listed["comment"]) == ("1234", True, "ops")
    assert api.command("token", "revoke", made["id"]).status == 0
    assert api.done("token", "list")["tokens"] == []


def test_it_does_not_start_with_what_can_not_work(api: Api, tmp_path: Path) -> None:
    (tmp_path / "tokens.json").write_text("no tokens")
    refused = api.command("run")
    assert (refused.status, refused.error["code"]) == (3, "config_invalid")
    assert "tokens.json" in refused.error["event"]


def test_without_the_extra_it_says_what_to_install_and_the_agent_runs_all_the_same(api: Api, tmp_path: Path) -> None:
    (tmp_path / "sitecustomize.py").write_text(
        "import sys\nfor name in ('fastapi', 'sqlalchemy', 'alembic', 'uvicorn', 'starlette'):\n"
        "    sys.modules[name] = None\n"
    )
    environment = {**os.environ, "PYTHONPATH": f"{tmp_path}:{os.environ.get('PYTHONPATH', '')}"}

    def run(*words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "backup_agent", *words],
            env=environment,
            capture_output=True,
            text=True,
            timeout=240,
            check=False,
        )

    refused = run("api", "run", "--config", str(api.config_file))
    assert refused.returncode == 3
    assert "requirements/api.lock" in refused.stderr
    assert run("--version").returncode == 0
