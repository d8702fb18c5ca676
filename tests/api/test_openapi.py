"""The API against its own description, with what schemathesis makes up: no 500, and everything has its shape."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.api.service import Api, User

pytestmark = pytest.mark.server

CHECKS = (
    "not_a_server_error",
    "status_code_conformance",
    "content_type_conformance",
    "response_headers_conformance",
    "response_schema_conformance",
    "unsupported_method",
    "ignored_auth",
    "use_after_free",
)
EXAMPLES = 10
"""For each operation and each way of making them up."""


def test_it_answers_as_it_says_whatever_is_asked(api: Api, user: User, instance: str, tmp_path: Path) -> None:
    user.created(instance)
    done = subprocess.run(
        [
            *(sys.executable, "-m", "schemathesis.cli", "run", f"{api.url}/openapi.json"),
            *("--header", f"X-Auth-Token: {user.token}", "--checks", ",".join(CHECKS)),
            *("--max-examples", str(EXAMPLES), "--seed", "1", "--phases", "examples,coverage,fuzzing"),
            *("--exclude-path", "/healthcheck", "--no-color", "--workers", "2"),
        ],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=280,
        check=False,
    )
    print(done.stdout)
    assert done.returncode == 0, done.stdout[-8000:] + done.stderr[-2000:]
