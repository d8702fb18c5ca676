"""What the commands say of themselves."""

from __future__ import annotations

import re
import shlex
from typing import Any

import pytest
import typer.main
from typer.testing import CliRunner

from backup_agent.cli import app
from backup_agent.version import __version__

COMMANDS = [
    "run",
    "run-once",
    "status",
    "list",
    "show",
    "restore",
    "verify",
    "delete",
    "expire",
    "gc",
    "pin",
    "unpin",
    "config check",
    "keys generate",
    "api run",
    "api instance add",
    "api instance list",
    "api instance remove",
    "api token add",
    "api token list",
    "api token revoke",
    "api db upgrade",
]
WITHOUT_CONFIGURATION = ["keys generate"]
"""It comes before the configuration that names its files."""


def run(*arguments: str) -> tuple[int, str]:
    result = CliRunner().invoke(app, arguments, terminal_width=200)
    return result.exit_code, result.output


def command_of(name: str) -> Any:
    """As Click knows it: typer brings its own Click, whose classes have no public name."""
    found: Any = typer.main.get_command(app)
    for word in name.split():
        found = found.commands[word]
    return found


def test_every_command_is_known() -> None:
    assert sorted(command_of("").commands) == sorted({name.split()[0] for name in COMMANDS})


@pytest.mark.parametrize("name", COMMANDS)
def test_the_help_of_a_command_has_examples_that_parse(name: str) -> None:
    status, text = run(*name.split(), "--help")
    assert status == 0
    examples = re.findall(
        r"(?m)^\s+backup-agent (.+?)(?: \|.*)?$", text.partition("Examples:")[2].partition("Options:")[0]
    )
    assert examples
    command = command_of(name)
    for example in examples:
        words = shlex.split(example)
        assert " ".join(words).startswith(name)
        command.make_context(name, words[len(name.split()) :], resilient_parsing=False).close()


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_takes_a_configuration_and_prints_json(name: str) -> None:
    text = run(*name.split(), "--help")[1]
    assert ("--config" in text) == (name not in WITHOUT_CONFIGURATION)
    assert "--json" in text


@pytest.mark.parametrize("name", COMMANDS)
def test_every_option_is_explained(name: str) -> None:
    for parameter in command_of(name).params:
        if parameter.param_type_name == "option":
            assert parameter.help, parameter.name


def test_the_version_is_told() -> None:
    assert run("--version") == (0, f"backup-agent {__version__}\n")


def test_without_a_command_the_commands_are_shown() -> None:
    text = run()[1]
    assert all(name.split()[0] in text for name in COMMANDS)


@pytest.mark.parametrize(
    "arguments", [("backup",), ("run-once", "--nope"), ("run-once", "extra"), ("show",), ("restore", "ID")]
)
def test_wrong_usage_has_a_status_of_its_own(arguments: tuple[str, ...]) -> None:
    status, text = run(*arguments)
    assert status == 2
    assert "Usage:" in text
