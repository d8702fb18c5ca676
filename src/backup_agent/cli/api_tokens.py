"""`backup-agent api token`: who may use the API."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated

import typer

from backup_agent.cli import output
from backup_agent.cli.api_session import DEFAULT, AccountOption, ConfigOption, account_id, configured
from backup_agent.cli.options import JsonOption

if TYPE_CHECKING:
    from backup_agent.api.tokens import Token

token = typer.Typer(no_args_is_help=True, help="Who may use the API.", rich_markup_mode=None)


@token.command("add")
def token_add(
    account: AccountOption,
    admin: Annotated[bool, typer.Option("--admin", help="May ask for all accounts.")] = False,
    comment: Annotated[str, typer.Option("--comment", help="Whose it is, for the list.")] = "",
    config: ConfigOption = DEFAULT,
    json: JsonOption = False,
) -> None:
    """Make a token, and print it: this once, for only its digest is kept.

    \b
    Examples:
      backup-agent api token add --account 1234 --comment "the shop's deployment"
      backup-agent api token add --account operators --admin
    """
    with configured(config, json=json) as settings:
        from backup_agent.api.tokens import TokenFile  # noqa: PLC0415 - an extra

        created = f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}"
        entry, secret = TokenFile(settings.auth.tokens_file).add(
            account_id(account), admin=admin, comment=comment[:200], created=created
        )
        shown = {**_token_fields(entry), "token": secret}
        output.print_json({"token": shown}) if json else output.print_fields(shown)


@token.command("list")
def token_list(config: ConfigOption = DEFAULT, json: JsonOption = False) -> None:
    """List the tokens, without what they are.

    \b
    Examples:
      backup-agent api token list
    """
    with configured(config, json=json) as settings:
        from backup_agent.api.tokens import TokenFile  # noqa: PLC0415 - an extra

        tokens = [_token_fields(entry) for entry in TokenFile(settings.auth.tokens_file).tokens()]
        if json:
            output.print_json({"tokens": tokens})
        else:
            columns = ("id", "account", "admin", "created", "comment")
            rows = [[str(entry[column]) for column in columns] for entry in tokens]
            output.print_table([column.upper() for column in columns], rows)


@token.command("revoke")
def token_revoke(
    token_id: Annotated[str, typer.Argument(metavar="ID", help="As `list` shows it.")],
    config: ConfigOption = DEFAULT,
    json: JsonOption = False,
) -> None:
    """Revoke a token: it ends at once.

    \b
    Examples:
      backup-agent api token revoke 3b9f4c1d
    """
    with configured(config, json=json) as settings:
        from backup_agent.api.tokens import TokenFile  # noqa: PLC0415 - an extra

        TokenFile(settings.auth.tokens_file).revoke(token_id)


def _token_fields(entry: Token) -> dict[str, object]:
    return {
        "id": entry.id,
        "account": entry.account_id,
        "admin": entry.admin,
        "created": entry.created,
        "comment": entry.comment,
    }
