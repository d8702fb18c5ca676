"""`backup-agent keys generate`: a pair of keys to sign backups with."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from backup_agent.cli.options import JsonOption
from backup_agent.cli.output import print_fields, print_json
from backup_agent.cli.session import reported


def generate_keys(
    out: Annotated[
        Path, typer.Option("--out", metavar="FILE", help="Where the secret key goes; a file that is there stays.")
    ] = Path("/etc/backup-agent/signing.key"),
    json: JsonOption = False,
) -> None:
    """Make a pair of keys to sign backups with: write the secret one to a file (0600), print the public one.

    Set signing.key_file to the file on the host that takes backups, and put the public key into signing.verify_keys
    wherever they are restored. (The keys of encryption are age's: `age-keygen`.)

    \b
    Examples:
      backup-agent keys generate
      backup-agent keys generate --out ./signing.key --json | jq -r .keys.verify_key
    """
    with reported(json=json):
        from backup_agent.operations.signatures import generate  # noqa: PLC0415 - with a library others need not load

        key = generate(out)
        made = {"key_file": str(out.absolute()), "key_id": key.key_id, "verify_key": key.text}
        if json:
            print_json({"keys": made})
        else:
            print_fields(made)
