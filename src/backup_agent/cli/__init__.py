"""The command line: one file per command."""

from __future__ import annotations

import signal

import typer

from backup_agent.cli.api import api
from backup_agent.cli.config_check import config_check
from backup_agent.cli.delete import delete
from backup_agent.cli.expire import expire
from backup_agent.cli.gc import gc
from backup_agent.cli.keys import generate_keys
from backup_agent.cli.list import list_backups
from backup_agent.cli.pin import pin, unpin
from backup_agent.cli.restore import restore
from backup_agent.cli.run import run
from backup_agent.cli.run_once import run_once
from backup_agent.cli.show import show
from backup_agent.cli.signals import SIGNALS, until_heeded
from backup_agent.cli.status import status
from backup_agent.cli.verify import verify
from backup_agent.stream.memory import return_freed_memory
from backup_agent.version import __version__

app = typer.Typer(
    name="backup-agent",
    no_args_is_help=True,
    add_completion=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    help="Back up a MariaDB or MySQL instance to S3, Swift or a directory, and restore it.",
)
config = typer.Typer(no_args_is_help=True, help="Look at the configuration.", rich_markup_mode=None)

keys = typer.Typer(no_args_is_help=True, help="Make keys.", rich_markup_mode=None)


def _version(value: bool) -> None:  # noqa: FBT001 - typer calls it so
    if value:
        typer.echo(f"backup-agent {__version__}")
        raise typer.Exit


@app.callback()
def _root(
    version: bool = typer.Option(False, "--version", callback=_version, is_eager=True, help="Show the version."),  # noqa: FBT001 - an option
) -> None:
    del version


app.command("run")(run)
app.command("run-once")(run_once)
app.command("status")(status)
app.command("list")(list_backups)
app.command("show")(show)
app.command("restore")(restore)
app.command("delete")(delete)
app.command("expire")(expire)
app.command("gc")(gc)
app.command("pin")(pin)
app.command("unpin")(unpin)
app.command("verify")(verify)
config.command("check")(config_check)
app.add_typer(config, name="config")
keys.command("generate")(generate_keys)
app.add_typer(keys, name="keys")
app.add_typer(api, name="api")


def main() -> None:
    """Carries out a command line. A signal that comes when all is done does not change the exit status any more; those
    that come before a command heeds them are `__main__`'s business.
    """
    for number in SIGNALS:
        if signal.getsignal(number) is signal.SIG_DFL:
            signal.signal(number, until_heeded)
    return_freed_memory()
    try:
        app()
    finally:
        for number in SIGNALS:
            signal.signal(number, signal.SIG_IGN)
