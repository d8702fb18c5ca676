"""The options that every command has."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from backup_agent.config.file import CONFIG_FILE_VARIABLE, DEFAULT_PATH

ConfigOption = Annotated[
    Path,
    typer.Option("--config", "-c", envvar=CONFIG_FILE_VARIABLE, help="The configuration file.", metavar="FILE"),
]
JsonOption = Annotated[
    bool, typer.Option("--json", help="Print JSON, and log JSON lines to standard error also on a terminal.")
]
BackupArgument = Annotated[
    str, typer.Argument(metavar="ID", help="The backup's id as `list` shows it, its first characters, or `latest`.")
]
IdentityOption = Annotated[
    list[Path] | None,
    typer.Option(
        "--identity",
        "-i",
        metavar="FILE",
        help="A file of age identities (age-keygen -o FILE) that read an encrypted backup; can be given again.",
    ),
]

DEFAULT_CONFIG = DEFAULT_PATH
