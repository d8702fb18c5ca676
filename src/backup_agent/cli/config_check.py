"""`backup-agent config check`: is everything there that a backup needs?"""

from __future__ import annotations

import stat
from contextlib import closing

import typer
from pydantic import BaseModel, SecretStr

from backup_agent.app.administration import probe_administration
from backup_agent.app.protecting import describe
from backup_agent.app.wiring import journal_path, open_journal, wire
from backup_agent.cli.options import DEFAULT_CONFIG, ConfigOption, JsonOption
from backup_agent.cli.output import print_json
from backup_agent.cli.session import session
from backup_agent.config.file import Config
from backup_agent.operations.check import check
from backup_agent.report.log import LogReporter


def config_check(config: ConfigOption = DEFAULT_CONFIG, json: JsonOption = False) -> None:
    """Check the configuration, store, database, grants, engine, lock, keys, journal and broker.

    Writes, reads and deletes a small object in the store, makes the journal, and the queues where broker.declare is
    set; changes nothing else. Ends with the status of the first failure.

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
        more = {
            "keys": lambda: describe(state.config.encryption, state.config.signing),
            "journal": lambda: _probe_journal(state.config),
        }
        if state.config.administration.enabled:
            more["administration"] = lambda: probe_administration(state.config)
        if state.config.broker.urls:
            more["broker"] = lambda: _probe_broker(state.config)
        for finding in check(wire(state.config, LogReporter()), state.cancellation, more):
            state.cancellation.check()
            findings.append(finding)
            if not json:
                typer.echo(f"{'FAILED' if finding.error else 'ok':<7} {finding.subject:<9} {finding.detail}")
                if finding.error:
                    typer.echo(f"{'':<18}{finding.error.hint} [{finding.error.code}]")
        if json:
            print_json(
                {
                    "checks": [
                        {
                            "subject": finding.subject,
                            "ok": finding.error is None,
                            "detail": finding.detail,
                            "code": finding.error.code.value if finding.error else None,
                            "hint": finding.error.hint if finding.error else None,
                        }
                        for finding in findings
                    ]
                }
            )
        failed = [finding.error for finding in findings if finding.error]
        if failed:
            raise typer.Exit(failed[0].exit_status)


def _holds_a_secret(section: BaseModel) -> bool:
    return any(
        isinstance(value, SecretStr) or (isinstance(value, BaseModel) and _holds_a_secret(value))
        for _, value in section
    )


def _probe_broker(config: Config) -> str:
    from backup_agent.app.serving import probe_broker  # noqa: PLC0415 - with a library that others need not load

    return probe_broker(config)


def _probe_journal(config: Config) -> str:
    with closing(open_journal(config)) as journal:
        waiting = journal.depth()
    return f"{journal_path(config)}: {waiting} events to be told"
