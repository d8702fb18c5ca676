"""`backup-agent config check`: is everything there that a backup needs?"""

from __future__ import annotations

import stat
from collections.abc import Callable
from typing import Any

import typer
from pydantic import BaseModel, SecretStr

from backup_agent.app.administration import probe_administration
from backup_agent.app.checking import probe_journal, to_check
from backup_agent.app.protecting import describe
from backup_agent.cli.options import DEFAULT_CONFIG, ConfigOption, JsonOption
from backup_agent.cli.output import print_json
from backup_agent.cli.session import session
from backup_agent.config.file import Config
from backup_agent.operations.check import Finding, check


def config_check(config: ConfigOption = DEFAULT_CONFIG, json: JsonOption = False) -> None:
    """Check the configuration, store, database, grants, engine, lock, keys, journal and broker.

    Writes, reads and deletes a small object in the store; makes the store's container or bucket, and the queues where
    broker.declare is set; leaves the host as it is. What depends on something that failed is told as not checked.
    Ends with the status of the first failure.

    \b
    Examples:
      backup-agent config check
      backup-agent config check --config /etc/backup-agent/shop.toml --json
    """
    with session(config, json=json) as state:
        findings = []
        if not json:
            typer.echo(f"ok      config    {config}")
            if config.stat().st_mode & stat.S_IROTH and _holds_a_secret(state.config):
                typer.echo(f"{'':<18}Every user of this host can read it, and it holds a secret: chmod 600 {config}")
        for finding in check(to_check(state.config), state.cancellation, _more(state.config)):
            state.cancellation.check()
            findings.append(finding)
            if not json:
                _print(finding)
        if json:
            print_json({"checks": [_as_json(finding) for finding in findings]})
        failed = [finding.error for finding in findings if finding.error]
        if failed:
            raise typer.Exit(failed[0].exit_status)


def _more(config: Config) -> dict[str, Callable[[], str]]:
    more = {
        "keys": lambda: describe(config.encryption, config.signing),
        "journal": lambda: probe_journal(config),
    }
    if config.administration.enabled:
        more["administration"] = lambda: probe_administration(config)
    if config.broker.urls:
        more["broker"] = lambda: _probe_broker(config)
    return more


def _print(finding: Finding) -> None:
    verdict = "FAILED" if finding.error else "ok" if finding.complete else "?"
    typer.echo(f"{verdict:<7} {finding.subject:<9} {finding.detail}")
    if finding.error:
        typer.echo(f"{'':<18}{finding.error.hint} [{finding.error.code}]")


def _as_json(finding: Finding) -> dict[str, Any]:
    """`ok` is null for what could not be looked at, or only in part: it is neither well nor amiss."""
    return {
        "subject": finding.subject,
        "ok": finding.error is None if finding.complete else None,
        "detail": finding.detail,
        "code": finding.error.code.value if finding.error else None,
        "hint": finding.error.hint if finding.error else None,
    }


def _holds_a_secret(section: BaseModel) -> bool:
    return any(
        isinstance(value, SecretStr) or (isinstance(value, BaseModel) and _holds_a_secret(value))
        for _, value in section
    )


def _probe_broker(config: Config) -> str:
    from backup_agent.app.serving import probe_broker  # noqa: PLC0415 - with a library that others need not load

    return probe_broker(config)
