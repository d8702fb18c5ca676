"""The API against its own description, with what schemathesis makes up: no 500, and everything has its shape."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.api.fleet import new_id
from tests.api.operated import OperatedAgent
from tests.api.service import Api, User, get
from tests.servers.rabbitmq import PrivateRabbitMQ

pytestmark = pytest.mark.server

CHECKS = (
    "not_a_server_error",
    "status_code_conformance",
    "content_type_conformance",
    "response_headers_conformance",
    "response_schema_conformance",
    "negative_data_rejection",
    "unsupported_method",
    "ignored_auth",
)
EXAMPLES = 5
"""For each operation."""


def narrowed(document: dict[str, Any], instance_id: str, backup_id: str) -> dict[str, Any]:
    """The description, with our own account and things that are there: made-up accounts are refused at the gate."""
    known = {
        "account_id": ["1234"],
        "instance_id": [instance_id, new_id()],
        "backup_id": [backup_id, new_id()],
        "operation_id": [new_id()],
        "database": ["shop", "a%2Fb", "mysql"],
        "user": ["clerk", "clerk%4010.0.0.1", "root"],
    }
    for operations in document["paths"].values():
        for operation in operations.values():
            for parameter in operation.get("parameters", []):
                if parameter["in"] == "path":
                    parameter["schema"] = {"type": "string", "enum": known[parameter["name"]]}
    backup = document["components"]["schemas"]["CreateBackup"]["properties"]["backup"]["properties"]
    backup["instance"] = {"type": "string", "enum": [instance_id]}
    return document


@pytest.fixture
def agent(broker: PrivateRabbitMQ, instance: str) -> Iterator[OperatedAgent]:
    with OperatedAgent(broker, instance) as agent:
        yield agent


def test_it_answers_as_it_says_whatever_is_asked(api: Api, user: User, agent: OperatedAgent, tmp_path: Path) -> None:
    backup_id = new_id()
    agent.kept = True
    agent.completed(backup_id)
    user.await_status(backup_id, "COMPLETED")
    document = narrowed(get(f"{api.url}/openapi.json").json(), agent.instance_id, backup_id)
    (tmp_path / "openapi.json").write_text(json.dumps(document))
    done = subprocess.run(
        [
            *(sys.executable, "-m", "schemathesis.cli", "run", "openapi.json", "--url", api.url),
            *("--header", f"X-Auth-Token: {user.token}", "--checks", ",".join(CHECKS)),
            *("--max-examples", str(EXAMPLES), "--seed", "1", "--phases", "examples,coverage,fuzzing"),
            # Python 3.11's ast.parse fails now and then when two threads are in it, and hypothesis uses it.
            *("--exclude-path", "/healthcheck", "--no-color", "--workers", "1", "--continue-on-failure"),
        ],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=550,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-12000:] + done.stderr[-2000:]
    assert "Authentication failed" not in done.stdout
    assert "internal error" not in api.text
